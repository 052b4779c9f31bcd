/* lower_reads.c: which formals of a rule an update reads. A rule may treat the updates of a
 * block differently (`if branch == "operator"`), and a gain that an update never reads would be
 * a parameter without a gradient, stored and loaded for nothing. So the body is looked through
 * before its gains are declared: all names of its statements, and of an `if` the chosen side
 * alone where the condition is known by then. Where it is not, both sides count: a gain too
 * many does no harm. */
#include "compiler/ir/lowering.h"
#include "dsl/walk.h"

/* The search, with what it found so far. */
typedef struct read_search {
  mvs_lowering *lo;
  mvs_scope *known;
  const mvs_definition *rule;
  bool *reads; /* one for each formal */
} read_search;

static void note_name(const read_search *search, const char *name) {
  for (size_t i = 0; i < search->rule->formal_count; i++) {
    if (strcmp(search->rule->formals[i].name, name) == 0) search->reads[i] = true;
  }
}

/* A condition, and whether it can be evaluated now. */
typedef struct decision {
  const read_search *search;
  bool open;
} decision;

/* x, f, names that the body sets and gains are not known before the body runs. */
static void look_for_open(void *context, const char *name) {
  decision *made = context;
  const mvs_value *bound = mvs_scope_find(made->search->known, name);
  bool unbound = !bound && !mvs_lower_definition(made->search->lo, name, false) &&
                 !mvs_builtin_find(name) && strcmp(name, "none") != 0;
  bool later = bound && (bound->kind == MVS_VALUE_ABSENT || bound->kind == MVS_VALUE_LAYER);
  made->open |= unbound || later;
}

/* Whether the sides of an `if` with this condition count. */
static mvs_status decide(const read_search *search, const mvs_expr *condition, bool *yes,
                         bool *no) {
  decision made = {search, false};
  bool truth = false;
  mvs_expr_names(condition, look_for_open, &made);
  if (!made.open) MVS_TRY(mvs_lower_truth(search->lo, search->known, condition, &truth));
  *yes = made.open || truth;
  *no = made.open || !truth;
  return MVS_OK;
}

/* Recursion is bounded as in walk.c. */
static mvs_status read_expr(const read_search *search, const mvs_expr *expr) {
  if (!expr) return MVS_OK;
  bool yes = true, no = true;
  if (expr->kind == MVS_EXPR_NAME || expr->kind == MVS_EXPR_CALL) {
    note_name(search, expr->text);
  }
  if (expr->kind == MVS_EXPR_IF) MVS_TRY(decide(search, expr->a, &yes, &no));
  MVS_TRY(read_expr(search, expr->a));
  if (yes) MVS_TRY(read_expr(search, expr->b));
  if (no) MVS_TRY(read_expr(search, expr->c));
  for (size_t i = 0; i < expr->argument_count; i++) {
    MVS_TRY(read_expr(search, expr->arguments[i].value));
  }
  return MVS_OK;
}

/* init, group, entry, exit and after stand outside of the layers and cannot read a gain. */
static mvs_status read_block(const read_search *search, const mvs_block *block) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    bool outside = stmt->kind == MVS_STMT_INIT || stmt->kind == MVS_STMT_GROUP ||
                   stmt->kind == MVS_STMT_ENTRY || stmt->kind == MVS_STMT_EXIT ||
                   stmt->kind == MVS_STMT_AFTER;
    if (outside) continue;
    bool yes = true, no = true;
    if (stmt->kind == MVS_STMT_IF) MVS_TRY(decide(search, stmt->value, &yes, &no));
    MVS_TRY(read_expr(search, stmt->value));
    MVS_TRY(read_expr(search, stmt->shape));
    MVS_TRY(read_expr(search, stmt->writer_if));
    if (yes) MVS_TRY(read_block(search, &stmt->body));
    if (no) MVS_TRY(read_block(search, &stmt->orelse));
  }
  return MVS_OK;
}

/* A default may use the formals before it, so the last come first. */
mvs_status mvs_lower_reads(mvs_lowering *lo, mvs_scope *known, const mvs_definition *rule,
                           const mvs_actual *const *matched, bool *reads) {
  read_search search = {lo, known, rule, reads};
  MVS_TRY(read_block(&search, &rule->body));
  for (size_t i = rule->formal_count; i-- > 0;) {
    if (reads[i] && !matched[i]) MVS_TRY(read_expr(&search, rule->formals[i].value));
  }
  return MVS_OK;
}

typedef MVS_LIST(const char *) label_list;

/* The labels of all updates of a block, whichever side of an `if` they stand on. */
static void collect_labels(mvs_lowering *lo, const mvs_block *block, label_list *out) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    if (stmt->kind == MVS_STMT_UPDATE && stmt->label) MVS_PUSH(lo->arena, out, stmt->label);
    collect_labels(lo, &stmt->body, out);
    collect_labels(lo, &stmt->orelse, out);
  }
}

/* "" is the label of an update without one. The whole model counts, not the stack alone: one
 * rule may serve stacks with different updates. */
mvs_status mvs_lower_check_label(mvs_lowering *lo, const char *label, mvs_span span) {
  label_list labels = {0};
  if (*label == 0) return MVS_OK;
  collect_labels(lo, lo->unit->model, &labels);
  for (size_t i = 0; i < labels.count; i++) {
    if (strcmp(labels.items[i], label) == 0) return MVS_OK;
  }
  mvs_lower_error(lo, MVS_ERR_NAME, span, "no update of the model is labelled '%s'", label);
  mvs_lower_suggest(lo, label, labels.items, labels.count);
  return MVS_ERR_NAME;
}
