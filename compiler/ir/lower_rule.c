/* lower_rule.c: residual rules. `x <- E as L` makes the branch f(u) = E with x replaced by u;
 * the rule in force says what the new x is. The branch is a closure over the stack's scope and
 * the labels at the update. It is run when the rule first reads f, and at most once: the
 * gradient of an update is then one gradient of E, and the parameters of E are declared once.
 * Parameters of the rule itself (gains, norms) are named by the rule's label and the number of
 * the update within the block. entry, exit and init of the rule run around the stack, where no
 * layer's value exists. Carrying x through the layers is lower_stack.c's. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"
#include "dsl/walk.h"

/* The branch of one update. It is applied once: a second use of the same value finds the first.
 */
struct mvs_branch {
  mvs_scope *scope;     /* of the stack's block */
  const mvs_stmt *stmt; /* the update */
  const char *prefix;   /* labels in force at the update */
  mvs_value x;          /* before the update */
  bool used, failed;
  mvs_value argument, result;
  mvs_span first; /* where it was applied */
  mvs_span value; /* the rule's: what becomes the new x */
};

/* --- which rule is in force --- */

/* A residual line that names no rule. */
static mvs_status unknown_rule(mvs_lowering *lo, const mvs_expr *expr) {
  if (mvs_lower_definition(lo, expr->text, false) || mvs_builtin_find(expr->text)) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span, "'%s' is not a residual rule",
                           expr->text);
  }
  MVS_LIST(const char *) rules = {0};
  for (size_t i = 0; i < lo->unit->definition_count; i++) {
    const mvs_definition *definition = lo->unit->definitions[i];
    if (definition->residual) MVS_PUSH(lo->arena, &rules, definition->name);
  }
  mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span, "unknown residual rule '%s'", expr->text);
  mvs_lower_suggest(lo, expr->text, rules.items, rules.count);
  return MVS_ERR_NAME;
}

/* Makes `expr` the rule in force. A choice by `if` is made here, once per residual line; the
 * arguments of the rule are evaluated later, where the stack stands. */
static mvs_status choose(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                         const char *label, const char *origin) {
  while (expr->kind == MVS_EXPR_IF) {
    bool truth;
    MVS_TRY(mvs_lower_truth(lo, scope, expr->a, &truth));
    expr = truth ? expr->b : expr->c;
  }
  if (expr->kind != MVS_EXPR_NAME && expr->kind != MVS_EXPR_CALL) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->span, "a residual line names a rule");
  }
  const mvs_definition *definition = mvs_lower_definition(lo, expr->text, true);
  if (!definition) return unknown_rule(lo, expr);
  if (!label) label = expr->label ? expr->label : expr->text;
  lo->rule = (mvs_rule){definition, expr, label, origin};
  lo->module->residual = mvs_lower_words(lo, expr->span);
  lo->module->residual_origin = origin;
  return MVS_OK;
}

/* An override takes the place of each residual line of the model, and keeps its label, which is
 * in the names of parameters. */
mvs_status mvs_lower_residual_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  const mvs_expr *override = lo->unit->residual;
  if (!override) {
    return choose(lo, scope, stmt->value, stmt->label, mvs_lower_place(lo, stmt->span));
  }
  const char *label = override->label ? override->label : stmt->label;
  return choose(lo, scope, override, label, lo->unit->residual_origin);
}

/* A later residual line of the model replaces this again, by the same rule under its own
 * label. */
mvs_status mvs_lower_override_rule(mvs_lowering *lo, mvs_scope *scope) {
  if (!lo->unit->residual) return MVS_OK;
  return choose(lo, scope, lo->unit->residual, NULL, lo->unit->residual_origin);
}

/* --- the rule's own scope --- */

/* How many updates the block has, where that is known before it is lowered. */
static mvs_value updates_value(const mvs_lowering *lo) {
  if (lo->block_updates < 0) return (mvs_value){.kind = MVS_VALUE_ABSENT};
  return mvs_value_number(lo->block_updates);
}

/* What a rule sees of its place beside `layer` and `depth`: which update of the block it makes,
 * by label and by number from 1, and how many there are. Outside of the layers `stmt` is NULL
 * and the first two stand for nothing. Formals may hide them. */
static void set_place(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  mvs_value branch = {.kind = MVS_VALUE_ABSENT}, update = branch;
  if (stmt) {
    branch = mvs_value_string(stmt->label ? stmt->label : "");
    branch.is_label = true;
    update = mvs_value_number(lo->stack->updates);
  }
  mvs_scope_set(lo, scope, "branch", branch);
  mvs_scope_set(lo, scope, "update", update);
  mvs_scope_set(lo, scope, "updates", updates_value(lo));
}

/* A use of the rule in force: its arguments paired with its formals, and the scope in which its
 * defaults and body are evaluated. */
typedef struct rule_call {
  mvs_scope *scope;           /* of the rule's body */
  const mvs_actual **matched; /* one for each formal */
  const mvs_definition *definition;
} rule_call;

/* Evaluates the arguments of the residual line where the stack stands: they see the model's
 * names, `depth` and `updates`. The rule's own scope sees its formals, the lets, `layer` and
 * `depth`. */
static mvs_status open_rule(mvs_lowering *lo, mvs_scope *outside, int64_t depth,
                            const mvs_stmt *stmt, rule_call *out) {
  const mvs_rule *rule = &lo->rule;
  mvs_scope *scope = mvs_scope_new(lo, outside);
  mvs_scope_set(lo, scope, "depth", mvs_value_number((double)depth));
  mvs_scope_set(lo, scope, "updates", updates_value(lo));
  mvs_actual *actuals = NULL;
  size_t count = rule->call->kind == MVS_EXPR_CALL ? rule->call->argument_count : 0;
  if (count > 0) MVS_TRY(mvs_lower_actuals(lo, scope, rule->call, &actuals));
  out->definition = rule->definition;
  out->matched = MVS_ARRAY(lo->arena, rule->definition->formal_count + 1, const mvs_actual *);
  MVS_TRY(mvs_lower_match(lo, "rule", rule->definition->name,
                          mvs_lower_formal_names(lo, rule->definition),
                          rule->definition->formal_count, actuals, count, out->matched));
  out->scope = mvs_lower_definition_scope(lo);
  mvs_scope_set(lo, out->scope, "depth", mvs_value_number((double)depth));
  set_place(lo, out->scope, stmt);
  return MVS_OK;
}

/* The value of formal `index`, given or by default. */
static mvs_status formal_value(mvs_lowering *lo, const rule_call *call, size_t index,
                               mvs_value *out, mvs_span *span) {
  const mvs_formal *formal = &call->definition->formals[index];
  *span = formal->span;
  if (call->matched[index]) {
    *out = *call->matched[index]->value;
    *span = call->matched[index]->span;
    return MVS_OK;
  }
  if (formal->value) return mvs_lower_expr(lo, call->scope, formal->value, out);
  mvs_lower_error(lo, MVS_ERR_NAME, lo->rule.call->span, "rule '%s' needs '%s'",
                  call->definition->name, formal->name);
  mvs_diag_note(lo->diag, formal->span, "it has no default here");
  return MVS_ERR_NAME;
}

/* `alpha: gain` is a parameter as wide as x, `alpha: scalar` one of a single element; both are
 * f32 and start where the line or the rule says. Each update has its own. */
static mvs_status bind_gain(mvs_lowering *lo, const rule_call *call, size_t index,
                            int64_t width, mvs_value *out) {
  const mvs_formal *formal = &call->definition->formals[index];
  mvs_value given;
  mvs_span span;
  mvs_init_value init;
  MVS_TRY(formal_value(lo, call, index, &given, &span));
  MVS_TRY(mvs_lower_init_value(lo, &given, span, &init));
  bool gain = strcmp(formal->kind, "gain") == 0;
  if (!gain && strcmp(formal->kind, "scalar") != 0) {
    return mvs_lower_error(lo, MVS_ERR_NAME, formal->span,
                           "a parameter of a rule is a gain or a scalar, not '%s'",
                           formal->kind);
  }
  mvs_type type = mvs_type_make(MVS_F32, 1, (mvs_dim[]){{gain ? width : 1, false}});
  const char *who = call->matched[index] ? "residual line" : "rule";
  const char *origin = mvs_arena_format(lo->arena, "%s, %s", who, mvs_lower_place(lo, span));
  return mvs_lower_param(lo, formal->name, &type, MVS_FAMILY_GAINS, &init, origin, formal->span,
                         out);
}

/* Binds the formals in order, for one update of a stream of `width` features. A gain that this
 * update does not read is none of its parameters, and a default that it does not read may be
 * made of such a gain. */
static mvs_status bind_formals(mvs_lowering *lo, const rule_call *call, const bool *reads,
                               int64_t width) {
  for (size_t i = 0; i < call->definition->formal_count; i++) {
    const mvs_formal *formal = &call->definition->formals[i];
    mvs_value value;
    mvs_span span;
    if (!reads[i] && (formal->kind || formal->value)) continue;
    if (formal->kind)
      MVS_TRY(bind_gain(lo, call, i, width, &value));
    else
      MVS_TRY(formal_value(lo, call, i, &value, &span));
    mvs_scope_set(lo, call->scope, formal->name, value);
  }
  return MVS_OK;
}

/* A search for names that stand for another value in each layer. */
typedef struct layer_search {
  const mvs_scope *scope;
  bool found;
} layer_search;

/* Notes a name that is `layer`, or bound to nothing because it depends on it. */
static void look_for_layer(void *context, const char *name) {
  layer_search *search = context;
  const mvs_value *bound = mvs_scope_find(search->scope, name);
  bool by_layer = bound && bound->kind == MVS_VALUE_ABSENT;
  search->found |= by_layer || strcmp(name, "layer") == 0;
}

/* Binds the formals for what stands outside of the layers: entry, exit and init. Gains, and
 * defaults that are made of gains or of `layer`, have no single value there: their names are
 * bound to nothing, which a reader is told. */
static mvs_status bind_outer_formals(mvs_lowering *lo, const rule_call *call) {
  for (size_t i = 0; i < call->definition->formal_count; i++) {
    const mvs_formal *formal = &call->definition->formals[i];
    layer_search search = {call->scope, formal->kind != NULL};
    if (!call->matched[i]) mvs_expr_names(formal->value, look_for_layer, &search);
    mvs_value value = {.kind = MVS_VALUE_ABSENT};
    mvs_span span;
    if (!search.found) MVS_TRY(formal_value(lo, call, i, &value, &span));
    mvs_scope_set(lo, call->scope, formal->name, value);
  }
  return MVS_OK;
}

/* --- updates --- */

/* The gradient of a branch is one branch: a rule that ran it twice would cost twice, unseen. */
static mvs_status second_application(mvs_lowering *lo, const mvs_branch *branch,
                                     mvs_span span) {
  mvs_lower_error(lo, MVS_ERR_NAME, span,
                  "the branch is applied to two different values; a rule applies it once");
  mvs_diag_note(lo->diag, branch->first, "it was first applied here");
  return MVS_ERR_NAME;
}

/* Evaluates the update's expression with its name standing for the argument. A label goes with
 * the call, as anywhere; on another expression it covers all the calls in it. */
static mvs_status run_branch(mvs_lowering *lo, mvs_branch *branch, mvs_value *out) {
  const mvs_expr *expr = branch->stmt->value;
  mvs_scope *scope = mvs_scope_new(lo, branch->scope);
  mvs_scope_set(lo, scope, branch->stmt->names[0], branch->argument);
  const char *prefix = lo->prefix;
  lo->prefix = branch->prefix;
  if (expr->kind != MVS_EXPR_CALL && branch->stmt->label) {
    lo->prefix = mvs_arena_format(lo->arena, "%s%s.", branch->prefix, branch->stmt->label);
  }
  mvs_status status = mvs_lower_expr(lo, scope, expr, out);
  if (status == MVS_OK) status = mvs_lower_need_tensor(lo, out, "an update", expr->span);
  lo->prefix = prefix;
  branch->failed = status != MVS_OK;
  return status;
}

/* `argument` NULL is the bare f, applied to x. The result is kept: naming f twice costs
 * nothing. */
mvs_status mvs_lower_branch(mvs_lowering *lo, mvs_branch *branch, const mvs_value *argument,
                            mvs_span span, mvs_value *out) {
  mvs_value value = argument ? *argument : branch->x;
  MVS_TRY(mvs_lower_need_tensor(lo, &value, "the branch", span));
  if (branch->used) {
    bool same = value.graph == branch->argument.graph && value.id == branch->argument.id;
    if (!same) return second_application(lo, branch, span);
    *out = branch->result;
    return MVS_OK;
  }
  branch->argument = value;
  branch->first = span;
  MVS_TRY(run_branch(lo, branch, &branch->result));
  branch->used = true;
  *out = branch->result;
  return MVS_OK;
}

/* Opens the rule for one update and binds its formals. Which gains it reads may depend on the
 * update, so that is asked first, with what is known before any gain is. */
static mvs_status open_update(mvs_lowering *lo, const mvs_branch *branch, rule_call *call) {
  mvs_scope *outside = lo->stack->scope;
  int64_t depth = lo->stack->region->count;
  rule_call known;
  MVS_TRY(open_rule(lo, outside, depth, branch->stmt, &known));
  MVS_TRY(bind_outer_formals(lo, &known));
  bool *reads = MVS_ARRAY(lo->arena, known.definition->formal_count + 1, bool);
  MVS_TRY(mvs_lower_reads(lo, known.scope, known.definition, known.matched, reads));
  MVS_TRY(open_rule(lo, outside, depth, branch->stmt, call));
  mvs_scope_set(lo, call->scope, "entered",
                *mvs_scope_find(lo->stack->entries, branch->stmt->names[0]));
  return bind_formals(lo, call, reads, mvs_value_features(&branch->x));
}

/* Runs the rule's body: x and f are what it sees of the update. */
static mvs_status run_rule(mvs_lowering *lo, mvs_branch *branch, mvs_value *out) {
  rule_call call;
  mvs_outcome outcome = {0};
  MVS_TRY(open_update(lo, branch, &call));
  mvs_scope_set(lo, call.scope, "x", branch->x);
  mvs_scope_set(lo, call.scope, "x0",
                *mvs_scope_find(lo->stack->starts, branch->stmt->names[0]));
  mvs_scope_set(lo, call.scope, "f", (mvs_value){.kind = MVS_VALUE_BRANCH, .branch = branch});
  MVS_TRY(mvs_lower_block(lo, call.scope, &call.definition->body, &outcome));
  MVS_TRY(mvs_lower_need_tensor(lo, &outcome.value, "an update", outcome.span));
  *out = outcome.value;
  branch->value = outcome.span;
  if (branch->used) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_NAME, call.definition->name_span,
                  "rule '%s' never uses the branch f", call.definition->name);
  return MVS_ERR_NAME;
}

/* The new x must fit where the old one stood, segments included: the next update, or the next
 * layer, starts from it. */
static mvs_status check_new(mvs_lowering *lo, const mvs_branch *branch, const mvs_value *new) {
  const mvs_type *was = mvs_value_type(&branch->x), *is = mvs_value_type(new);
  if (mvs_type_equal(was, is)) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_SHAPE, branch->stmt->span,
                  "the update changes '%s' from %s to %s", branch->stmt->names[0],
                  mvs_lower_type_text(lo, was), mvs_lower_type_text(lo, is));
  mvs_diag_note(lo->diag, branch->stmt->value->span, "the branch gives %s",
                mvs_lower_type_text(lo, mvs_value_type(&branch->result)));
  mvs_diag_note(lo->diag, branch->value, "rule '%s' makes %s of it", lo->rule.definition->name,
                mvs_lower_type_text(lo, is));
  bool reduced = is->rank == was->rank && is->rank > 0 && is->dims[is->rank - 1].size == 1;
  if (reduced) {
    mvs_diag_hint(lo->diag,
                  "mean_features and its like leave one feature; the mean over tokens "
                  "is mean(...)");
  }
  return MVS_ERR_SHAPE;
}

/* The rule's labels are in force while it runs, the block's own while the branch does. An error
 * in the branch is the user's own expression and needs no note on the rule. */
mvs_status mvs_lower_update(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  const mvs_value *x = mvs_scope_find(scope, stmt->names[0]);
  mvs_branch branch = {.scope = scope, .stmt = stmt, .prefix = lo->prefix, .x = *x};
  MVS_TRY(mvs_lower_need_tensor(lo, x, "'<-'", stmt->name_spans[0]));
  lo->prefix = mvs_arena_format(lo->arena, "%s%s%d.", branch.prefix, lo->rule.label,
                                ++lo->stack->updates);
  mvs_value value;
  mvs_id first = mvs_graph_size(lo->stack->region->body);
  mvs_status status = run_rule(lo, &branch, &value);
  lo->prefix = branch.prefix;
  if (status != MVS_OK && !branch.failed) {
    mvs_diag_note(lo->diag, stmt->span, "in this update, by rule '%s'",
                  lo->rule.definition->name);
  }
  MVS_TRY(status);
  MVS_TRY(mvs_lower_cast(lo, value, mvs_value_type(x)->dtype, stmt->span, &value));
  MVS_TRY(mvs_lower_renamed(lo, value, mvs_value_type(x)->segments, stmt->span, &value));
  MVS_TRY(check_new(lo, &branch, &value));
  mvs_scope_set(lo, scope, stmt->names[0], value);
  mvs_lower_sites(lo, stmt, &branch.x, &branch.result, first);
  return MVS_OK;
}

/* --- around the stack --- */

/* The rule's block of that kind, or NULL; two are an error. */
static mvs_status find_side(mvs_lowering *lo, const rule_call *call, mvs_stmt_kind side,
                            const char *word, const mvs_stmt **out) {
  mvs_stmts found = {0};
  MVS_TRY(mvs_lower_find(lo, call->scope, &call->definition->body, side, &found));
  *out = found.count > 0 ? found.items[0] : NULL;
  if (found.count < 2) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_NAME, found.items[1]->span, "rule '%s' has two `%s` blocks",
                  call->definition->name, word);
  mvs_diag_note(lo->diag, found.items[0]->span, "the first is here");
  return MVS_ERR_NAME;
}

/* Runs such a block on x: its bare expression, or else what it left in x, is the new x. */
static mvs_status run_side(mvs_lowering *lo, const rule_call *call, const mvs_stmt *stmt,
                           mvs_value *x) {
  mvs_outcome outcome = {0};
  mvs_scope_set(lo, call->scope, "x", *x);
  MVS_TRY(mvs_lower_block(lo, call->scope, &stmt->body, &outcome));
  *x = outcome.done ? outcome.value : *mvs_scope_find(call->scope, "x");
  return mvs_lower_need_tensor(lo, x, "x", stmt->span);
}

/* entry, and exit with what it sees of the stack */
static mvs_status run_border(mvs_lowering *lo, mvs_scope *scope, mvs_stmt_kind side,
                             int64_t depth, const mvs_scope *stack, mvs_value *x) {
  rule_call call;
  const mvs_stmt *stmt;
  const char *word = side == MVS_STMT_ENTRY ? "entry" : "exit";
  MVS_TRY(open_rule(lo, scope, depth, NULL, &call));
  for (size_t i = 0; stack && i < stack->names.count; i++) {
    mvs_scope_set(lo, call.scope, stack->names.items[i].name, stack->names.items[i].value);
  }
  MVS_TRY(bind_outer_formals(lo, &call));
  MVS_TRY(find_side(lo, &call, side, word, &stmt));
  return stmt ? run_side(lo, &call, stmt, x) : MVS_OK;
}

/* The stream must leave the block as the next one takes it. */
static mvs_status check_after(mvs_lowering *lo, const mvs_stmt *stmt, const char *name,
                              const mvs_type *was, const mvs_value *new) {
  const mvs_type *is = mvs_value_type(new);
  if (mvs_type_equal(was, is)) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_SHAPE, stmt->span, "`after` changes '%s' from %s to %s",
                         name, mvs_lower_type_text(lo, was), mvs_lower_type_text(lo, is));
}

/* Its parameters are those of a layer, under the rule's label without a number; and the name
 * when the block updates several. */
mvs_status mvs_lower_after(mvs_lowering *lo, const char *name, mvs_value *x) {
  rule_call call;
  const mvs_stmt *stmt;
  MVS_TRY(open_rule(lo, lo->stack->scope, lo->stack->region->count, NULL, &call));
  mvs_scope_set(lo, call.scope, "entered", *mvs_scope_find(lo->stack->entries, name));
  MVS_TRY(bind_outer_formals(lo, &call));
  MVS_TRY(find_side(lo, &call, MVS_STMT_AFTER, "after", &stmt));
  if (!stmt) return MVS_OK;
  bool several = lo->stack->starts->names.count > 1;
  const char *prefix = lo->prefix, *label = lo->rule.label;
  const mvs_type *was = mvs_value_type(x);
  mvs_scope_set(lo, call.scope, "x0", *mvs_scope_find(lo->stack->starts, name));
  lo->prefix = several ? mvs_arena_format(lo->arena, "%s%s.%s.", prefix, label, name)
                       : mvs_arena_format(lo->arena, "%s%s.", prefix, label);
  mvs_status status = run_side(lo, &call, stmt, x);
  lo->prefix = prefix;
  MVS_TRY(status);
  MVS_TRY(mvs_lower_cast(lo, *x, was->dtype, stmt->span, x));
  MVS_TRY(mvs_lower_renamed(lo, *x, was->segments, stmt->span, x));
  return check_after(lo, stmt, name, was, x);
}

/* Label: the stack's, so that a final norm is "blocks.final_norm" whatever the rule's own
 * label. */
mvs_status mvs_lower_border(mvs_lowering *lo, mvs_scope *scope, mvs_stmt_kind side,
                            const char *label, int64_t depth, const mvs_scope *seen,
                            mvs_value *x) {
  /* entry and exit stand outside: their parameters belong to no layer */
  mvs_stack_state *stack = lo->stack;
  const char *prefix = lo->prefix;
  lo->stack = NULL;
  lo->prefix = mvs_arena_format(lo->arena, "%s%s.", prefix, label);
  mvs_status status = run_border(lo, scope, side, depth, seen, x);
  lo->prefix = prefix;
  lo->stack = stack;
  return status;
}

/* Read once per stack, where the rule in force is known; gains have no part in it. */
mvs_status mvs_lower_rule_lines(mvs_lowering *lo, mvs_scope *scope, int64_t depth,
                                mvs_family_lines *list) {
  const mvs_definition *rule = lo->rule.definition;
  const char *who = mvs_arena_format(lo->arena, "rule %s", rule->name);
  rule_call call;
  MVS_TRY(open_rule(lo, scope, depth, NULL, &call));
  MVS_TRY(bind_outer_formals(lo, &call));
  return mvs_lower_family_lines(lo, call.scope, &rule->body, who, list);
}
