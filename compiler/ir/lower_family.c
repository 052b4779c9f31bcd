/* lower_family.c: `init` and `group` lines, which say how selected parameters start and how
 * fast they learn. A selector is a family (writers, weights, gains, vectors; inner: the weights
 * of blocks) or labels as they stand in the names of parameters, such as `v_proj` or
 * `operator.v_proj.weight`. Lines of a rule reach the parameters of its stack, those of the
 * last rule also what stands outside of all stacks, so that `init weights` reaches embeddings
 * and the final projection. Of the lines that select a parameter the model's count over the
 * rule's, and a later one over an earlier; all count over what the parameter's own declaration
 * says. They are settled at the end of the first run, when all parameters are known. */
#include "compiler/ir/lowering.h"

static const char *const families[] = {[MVS_FAMILY_WRITERS] = "writers",
                                       [MVS_FAMILY_WEIGHTS] = "weights",
                                       [MVS_FAMILY_GAINS] = "gains",
                                       [MVS_FAMILY_VECTORS] = "vectors"};
#define FAMILIES (int)(sizeof families / sizeof *families)

/* --- selectors --- */

/* The family that a word names, or FAMILIES. */
static int family_of(const char *selector) {
  int family = 0;
  while (family < FAMILIES && strcmp(families[family], selector) != 0) family++;
  return family;
}

/* Whether a selector is one of the words and not labels. */
static bool is_word(const char *selector) {
  return family_of(selector) < FAMILIES || strcmp(selector, "inner") == 0;
}

/* A parameter's name without the layer's number: "blocks.operator.v_proj.weight". */
static const char *plain_name(mvs_lowering *lo, const char *name) {
  const char *mark = strstr(name, "{i}.");
  if (!mark) return name;
  return mvs_arena_format(lo->arena, "%.*s%s", (int)(mark - name), name, mark + 4);
}

/* Whether `labels` stand in `name`, whole and one behind the other. */
static bool has_labels(const char *name, const char *labels) {
  size_t length = strlen(labels);
  for (const char *at = name; (at = strstr(at, labels)); at++) {
    bool begins = at == name || at[-1] == '.', ends = at[length] == 0 || at[length] == '.';
    if (begins && ends) return true;
  }
  return false;
}

static bool selects(mvs_lowering *lo, const char *selector, mvs_family family,
                    const mvs_param *param) {
  if (family_of(selector) < FAMILIES) return family_of(selector) == (int)family;
  if (is_word(selector)) return family == MVS_FAMILY_WEIGHTS && param->layers > 0;
  return has_labels(plain_name(lo, param->name), selector);
}

/* Whether a line selects the parameter; notes each selector that does. */
static bool line_selects(mvs_lowering *lo, const mvs_family_line *line,
                         const mvs_pending_param *pending) {
  const mvs_param *param = &lo->module->params.items[pending->param];
  bool any = false;
  for (size_t i = 0; i < line->stmt->name_count; i++) {
    if (!selects(lo, line->stmt->names[i], pending->family, param)) continue;
    MVS_PUSH(lo->arena, &lo->selected, line->stmt->names[i]);
    any = true;
  }
  return any;
}

/* --- reading the lines --- */

/* init SELECTORS = VALUE */
static mvs_status read_init(mvs_lowering *lo, mvs_scope *scope, mvs_family_line *line) {
  mvs_value value;
  const mvs_expr *expr = line->stmt->value;
  MVS_TRY(mvs_lower_expr(lo, scope, expr, &value));
  return mvs_lower_init_value(lo, &value, expr->span, &line->init);
}

/* One factor of a group. */
static mvs_status read_factor(mvs_lowering *lo, const char *name, const mvs_actual *given,
                              bool *has, double *out) {
  *has = given != NULL;
  if (!given) return MVS_OK;
  const mvs_value *value = given->value;
  if (value->kind == MVS_VALUE_NUMBER && value->number >= 0) {
    *out = value->number;
    return MVS_OK;
  }
  const char *is = value->kind == MVS_VALUE_NUMBER
                       ? mvs_arena_format(lo->arena, "%g", value->number)
                       : mvs_value_noun(value);
  mvs_lower_error(lo, MVS_ERR_LIMIT, given->span, "%s must be a number from 0 on, not %s", name,
                  is);
  mvs_diag_hint(lo->diag, "it is a factor of the optimizer's own; lr = 0 freezes");
  return MVS_ERR_LIMIT;
}

/* group SELECTORS : lr = NUMBER, decay = NUMBER */
static mvs_status read_group(mvs_lowering *lo, mvs_scope *scope, mvs_family_line *line) {
  static const char *const names[] = {"lr", "decay"};
  const mvs_expr *expr = line->stmt->value;
  const mvs_actual *matched[2];
  mvs_actual *actuals;
  MVS_TRY(mvs_lower_actuals(lo, scope, expr, &actuals));
  if (expr->argument_count > 0 && !actuals[0].name) {
    return mvs_lower_error(lo, MVS_ERR_NAME, actuals[0].span,
                           "a group says which factor it sets: lr = ... or decay = ...");
  }
  MVS_TRY(mvs_lower_match(lo, "group", line->stmt->names[0], names, 2, actuals,
                          expr->argument_count, matched));
  mvs_update_group *group = &line->group;
  MVS_TRY(read_factor(lo, "lr", matched[0], &group->has_rate, &group->rate));
  return read_factor(lo, "decay", matched[1], &group->has_decay, &group->decay);
}

/* Reads the lines of one kind. */
static mvs_status read_lines(mvs_lowering *lo, mvs_scope *scope, const mvs_block *body,
                             mvs_stmt_kind kind, const char *who, mvs_family_lines *list) {
  mvs_stmts found = {0};
  MVS_TRY(mvs_lower_find(lo, scope, body, kind, &found));
  for (size_t i = 0; i < found.count; i++) {
    mvs_family_line line = {.stmt = found.items[i], .of_rule = list != &lo->lines};
    MVS_TRY(kind == MVS_STMT_INIT ? read_init(lo, scope, &line) : read_group(lo, scope, &line));
    line.origin =
        mvs_arena_format(lo->arena, "%s, %s", who, mvs_lower_place(lo, found.items[i]->span));
    MVS_PUSH(lo->arena, list, line);
    if (lo->run == MVS_RUN_FORWARD) MVS_PUSH(lo->arena, &lo->first_lines, line);
  }
  return MVS_OK;
}

mvs_status mvs_lower_family_lines(mvs_lowering *lo, mvs_scope *scope, const mvs_block *body,
                                  const char *who, mvs_family_lines *list) {
  MVS_TRY(read_lines(lo, scope, body, MVS_STMT_INIT, who, list));
  return read_lines(lo, scope, body, MVS_STMT_GROUP, who, list);
}

/* --- settling --- */

/* Lets the lines of one list decide, in order. */
static void apply(mvs_lowering *lo, const mvs_family_lines *list,
                  const mvs_pending_param *pending) {
  mvs_param *param = &lo->module->params.items[pending->param];
  for (size_t i = 0; list && i < list->count; i++) {
    const mvs_family_line *line = &list->items[i];
    if (!line_selects(lo, line, pending)) continue;
    if (line->stmt->kind == MVS_STMT_INIT) {
      param->init = mvs_lower_settled(&line->init, &param->type, line->origin);
      continue;
    }
    if (line->group.has_rate) param->group.rate = line->group.rate;
    if (line->group.has_decay) param->group.decay = line->group.decay;
    param->group.has_rate |= line->group.has_rate;
    param->group.has_decay |= line->group.has_decay;
  }
}

/* A line that says what holds anyway, as a rule's `lr = rate` with its default, leaves no mark.
 */
static void forget_defaults(mvs_param *param) {
  const mvs_param plain = {.type = param->type};
  if (mvs_param_rate(param) == mvs_param_rate(&plain)) param->group.has_rate = false;
  if (mvs_param_decay(param) == mvs_param_decay(&plain)) param->group.has_decay = false;
}

/* A selector that found nothing is most likely misspelt: the word or label of a layer that it
 * is near to, or NULL. */
static const char *near_selector(mvs_lowering *lo, const char *selector) {
  MVS_LIST(const char *) words = {0};
  for (int i = 0; i < FAMILIES; i++) MVS_PUSH(lo->arena, &words, families[i]);
  const char *inner = "inner";
  MVS_PUSH(lo->arena, &words, inner);
  for (size_t i = 0; i < lo->module->params.count; i++) {
    const char *at = plain_name(lo, lo->module->params.items[i].name);
    for (size_t length; *at; at += length + (at[length] == '.')) {
      length = strcspn(at, ".");
      const char *label = mvs_arena_copy(lo->arena, at, length);
      MVS_PUSH(lo->arena, &words, label);
    }
  }
  return mvs_suggest(selector, words.items, words.count);
}

static mvs_status nothing_selected(mvs_lowering *lo, const char *selector, mvs_span span) {
  mvs_lower_error(lo, MVS_ERR_NAME, span, "'%s' selects no parameter", selector);
  const char *near = near_selector(lo, selector);
  if (near)
    mvs_diag_hint(lo->diag, "did you mean '%s'?", near);
  else
    mvs_diag_hint(lo->diag,
                  "writers, weights, gains, vectors, inner, or labels in the names of "
                  "parameters: operator.v_proj");
  return MVS_ERR_NAME;
}

/* Families may be empty. Of a rule's line that two stacks read, either may find one. */
static bool is_idle(const mvs_lowering *lo, const char *selector) {
  if (is_word(selector)) return false;
  for (size_t i = 0; i < lo->selected.count; i++) {
    if (lo->selected.items[i] == selector) return false;
  }
  return true;
}

/* A label of a rule may be that of a layer which this model lacks, so it is no error; but it
 * may be misspelt, too. */
static void note_idle(mvs_lowering *lo, const mvs_family_line *line) {
  mvs_idle_line idle = {.origin = line->origin};
  mvs_text labels = mvs_text_new(lo->arena);
  size_t count = 0;
  for (size_t i = 0; i < line->stmt->name_count; i++) {
    const char *label = line->stmt->names[i];
    if (!is_idle(lo, label)) continue;
    mvs_text_addf(&labels, "%s%s", count++ ? ", " : "", label);
    if (count == 1) idle.near = near_selector(lo, label);
  }
  if (!count) return;
  idle.labels = mvs_text_string(&labels);
  idle.whole = count == line->stmt->name_count;
  MVS_PUSH(lo->arena, &lo->module->idle_lines, idle);
}

/* Whether an earlier stack read the same line. */
static bool is_known(const mvs_lowering *lo, size_t index) {
  for (size_t i = 0; i < index; i++) {
    if (lo->first_lines.items[i].stmt == lo->first_lines.items[index].stmt) return true;
  }
  return false;
}

static mvs_status check_selectors(mvs_lowering *lo) {
  for (size_t i = 0; i < lo->first_lines.count; i++) {
    const mvs_family_line *line = &lo->first_lines.items[i];
    if (line->of_rule && !is_known(lo, i)) note_idle(lo, line);
    for (size_t n = 0; n < line->stmt->name_count && !line->of_rule; n++) {
      const char *selector = line->stmt->names[n];
      if (is_idle(lo, selector)) {
        return nothing_selected(lo, selector, line->stmt->name_spans[n]);
      }
    }
  }
  return MVS_OK;
}

mvs_status mvs_lower_settle_params(mvs_lowering *lo) {
  for (size_t i = 0; i < lo->pending.count; i++) {
    const mvs_pending_param *pending = &lo->pending.items[i];
    apply(lo, pending->rule ? pending->rule : lo->last_rule_lines, pending);
    apply(lo, &lo->lines, pending);
    forget_defaults(&lo->module->params.items[pending->param]);
  }
  return check_selectors(lo);
}
