/* compare_rules.c: what is compared: the product of what is varied.
 *
 * All --residual together are the first axis, every --vary is one more; the last changes
 * fastest. On an axis several lets (and the rule) may change together. So a grid takes one word
 * an axis and a hand-made list of configurations one --vary (docs/trainer.md has the other
 * spellings that were thought of). What is varied names a configuration everywhere: in the
 * table, on the page, and its folder. */
#include <ctype.h>

#include "compiler/base/checked.h"
#include "compiler/mvcc/compare.h"

/* Longer names are cut: file systems end at 255. */
#define MOST_FOLDER_NAME 80
/* A slip of the keyboard should not compile for a week. */
#define MOST_RULES 1000

typedef MVS_LIST(mvs_variation) axis_list;

/* How messages call it. */
static const char *noun(const char *name) { return name ? name : "residual"; }

/* The values of an axis: all that changes on it has as many. */
static size_t values_of(const mvs_variation *axis) {
  return axis->items[0].values->argument_count;
}

/* --- axes --- */

/* All --residual as one list. */
static mvs_variation residual_axis(mvs_arena *arena, const mvs_command_line *options) {
  mvs_variation axis = {0};
  mvs_expr *values = MVS_NEW(arena, mvs_expr);
  values->kind = MVS_EXPR_TUPLE;
  values->arguments = MVS_ARRAY(arena, options->overrides.count + 1, mvs_argument);
  for (size_t at = 0; at < options->overrides.count; at++) {
    const mvs_override *each = &options->overrides.items[at];
    if (each->name) continue;
    values->arguments[values->argument_count++] =
        (mvs_argument){.value = each->value, .span = each->value->span};
  }
  mvs_varied varied = {NULL, values};
  if (values->argument_count) MVS_PUSH(arena, &axis, varied);
  return axis;
}

/* "'NAME' WHY" */
static mvs_status refuse(const mvs_comparison *all, const char *name, const char *why) {
  mvs_diag_error(all->driver->diag, (mvs_span){0}, "'%s' %s", name, why);
  return MVS_ERR_NAME;
}

/* A let that is set and varied, or varied twice, would have two values at a time. */
static mvs_status check_name(const mvs_comparison *all, const char *name) {
  const mvs_command_line *options = all->driver->options;
  for (size_t at = 0; name && at < options->overrides.count; at++) {
    const char *set = options->overrides.items[at].name;
    if (set && strcmp(set, name) == 0)
      return refuse(all, name, "is set by --set and varied by --vary");
  }
  for (size_t at = 0; at < all->n_varied; at++) {
    if (strcmp(noun(all->varied[at]), noun(name)) == 0)
      return refuse(all, noun(name), "is varied twice");
  }
  return MVS_OK;
}

/* Names what the axes vary; the rule comes first. */
static mvs_status name_axes(mvs_comparison *all, const axis_list *axes) {
  size_t count = 0;
  for (size_t at = 0; at < axes->count; at++) count += axes->items[at].count;
  all->varied = MVS_ARRAY(all->driver->session, count + 1, const char *);
  for (size_t at = 0; at < axes->count; at++) {
    for (size_t k = 0; k < axes->items[at].count; k++) {
      const char *name = axes->items[at].items[k].name;
      MVS_TRY(check_name(all, name));
      all->varied[all->n_varied++] = name;
      for (size_t to = all->n_varied - 1; !name && to > 0; to--) {
        all->varied[to] = all->varied[to - 1];
        all->varied[to - 1] = NULL;
      }
    }
  }
  return MVS_OK;
}

/* --- names --- */

/* Letters, digits, '_' and '.' stay, all between them becomes one dash. */
static const char *folder_name(mvs_arena *arena, const char *rule) {
  char *out = mvs_arena_string(arena, rule);
  size_t length = 0;
  for (const char *at = rule; *at && length < MOST_FOLDER_NAME; at++) {
    bool plain = isalnum((unsigned char)*at) || *at == '_' || (*at == '.' && length > 0);
    if (!plain && (length == 0 || out[length - 1] == '-')) continue;
    out[length++] = plain ? *at : '-';
  }
  while (length > 0 && out[length - 1] == '-') length--;
  out[length] = '\0';
  return length ? out : "rule";
}

/* Two rules may differ in what a folder cannot be called. */
static const char *own_folder(const mvs_comparison *all, const char *rule) {
  mvs_arena *arena = all->driver->session;
  const char *base = folder_name(arena, rule), *name = base;
  for (int again = 2;; again++) {
    const char *folder = mvs_arena_format(arena, "%s/%s", all->folder, name);
    size_t at = 0;
    while (at < all->n_rules && strcmp(all->rules[at].folder, folder) != 0) at++;
    if (at == all->n_rules) return folder;
    name = mvs_arena_format(arena, "%s-%d", base, again);
  }
}

/* "mvsplit, width = 32" */
static const char *full_name(const mvs_comparison *all, const mvs_compared_rule *rule) {
  mvs_text out = mvs_text_new(all->driver->session);
  if (all->n_varied == 0) return "the model's own";
  for (size_t at = 0; at < all->n_varied; at++) {
    if (at) mvs_text_add(&out, ", ");
    if (all->varied[at]) mvs_text_addf(&out, "%s = ", all->varied[at]);
    mvs_text_add(&out, rule->values[at]);
  }
  return mvs_text_string(&out);
}

/* --- rules --- */

/* As it was written. */
static const char *value_text(mvs_arena *arena, const mvs_expr *value) {
  mvs_span span = value->span;
  return mvs_arena_copy(arena, span.source->text + span.begin, span.end - span.begin);
}

/* Takes value `index` of whatever changes on an axis. */
static void take_values(const mvs_comparison *all, const mvs_variation *axis, size_t index,
                        mvs_compared_rule *out) {
  for (size_t k = 0; k < axis->count; k++) {
    mvs_expr *value = axis->items[k].values->arguments[index].value;
    size_t at = 0;
    while (strcmp(noun(all->varied[at]), noun(axis->items[k].name)) != 0) at++;
    out->values[at] = value_text(all->driver->session, value);
    out->changes[at] = (mvs_override){axis->items[k].name, value};
  }
}

/* One that is given twice can only be a slip. */
static mvs_status add_rule(mvs_comparison *all, const axis_list *axes, size_t number) {
  mvs_arena *arena = all->driver->session;
  mvs_compared_rule *rule = &all->rules[all->n_rules];
  rule->values = MVS_ARRAY(arena, all->n_varied + 1, const char *);
  rule->changes = MVS_ARRAY(arena, all->n_varied + 1, mvs_override);
  for (size_t at = axes->count; at-- > 0; number /= values_of(&axes->items[at]))
    take_values(all, &axes->items[at], number % values_of(&axes->items[at]), rule);
  rule->name = full_name(all, rule);
  for (size_t at = 0; at < all->n_rules; at++) {
    if (strcmp(all->rules[at].name, rule->name) == 0)
      return refuse(all, rule->name, "is given twice");
  }
  rule->folder = own_folder(all, rule->name);
  rule->trainer = mvs_arena_format(arena, "%s/trainer", rule->folder);
  all->n_rules++;
  return MVS_OK;
}

mvs_status mvs_compare_rules(mvs_comparison *all) {
  const mvs_command_line *options = all->driver->options;
  mvs_arena *arena = all->driver->session;
  mvs_variation rules = residual_axis(arena, options);
  axis_list axes = {0};
  int64_t count = 1;
  if (rules.count) MVS_PUSH(arena, &axes, rules);
  for (size_t at = 0; at < options->variations.count; at++)
    MVS_PUSH(arena, &axes, options->variations.items[at]);
  MVS_TRY(name_axes(all, &axes));
  for (size_t at = 0; at < axes.count && count <= MOST_RULES; at++)
    if (!mvs_mul(count, (int64_t)values_of(&axes.items[at]), &count)) count = INT64_MAX;
  if (count > MOST_RULES) {
    mvs_diag_error(all->driver->diag, (mvs_span){0},
                   "more than %d configurations are too many to compare", MOST_RULES);
    return MVS_ERR_LIMIT;
  }
  all->rules = MVS_ARRAY(arena, (size_t)count, mvs_compared_rule);
  for (int64_t at = 0; at < count; at++) MVS_TRY(add_rule(all, &axes, (size_t)at));
  return MVS_OK;
}

/* --set holds for all. */
mvs_command_line mvs_compare_options(const mvs_comparison *all, const mvs_compared_rule *rule) {
  const mvs_driver *driver = all->driver;
  mvs_command_line options = *driver->options;
  options.output = rule->trainer;
  memset(&options.overrides, 0, sizeof options.overrides);
  for (size_t at = 0; at < driver->options->overrides.count; at++) {
    const mvs_override *set = &driver->options->overrides.items[at];
    if (set->name) MVS_PUSH(driver->session, &options.overrides, *set);
  }
  for (size_t at = 0; at < all->n_varied; at++)
    MVS_PUSH(driver->session, &options.overrides, rule->changes[at]);
  return options;
}
