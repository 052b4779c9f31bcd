/* lower_call.c: calls. A call finds what its name stands for (a function value or branch in
 * scope, a layer, a primitive), pairs arguments with formals and runs it. A call that leaves
 * out the first argument is a function value, to be applied later: rms(eps = 1e-6). A layer
 * runs in a scope of its own that sees its formals and the lets, and nothing of the caller: a
 * function value therefore needs no captured scope, only its bound arguments. Recursion ends at
 * MVS_MAX_NESTING calls. A label goes in front of the names of the parameters that the call
 * declares; a call without one adds nothing. */
#include <assert.h>

#include "compiler/ir/lowering.h"

#define CALLS_SHOWN 4 /* innermost calls around an error; the outermost is always shown */

/* The unit has one visible definition per name and kind, so the first match is it. */
const mvs_definition *mvs_lower_definition(const mvs_lowering *lo, const char *name,
                                           bool residual) {
  for (size_t i = 0; i < lo->unit->definition_count; i++) {
    const mvs_definition *definition = lo->unit->definitions[i];
    if (definition->residual == residual && strcmp(definition->name, name) == 0) {
      return definition;
    }
  }
  return NULL;
}

/* Values are evaluated once here, even those that no formal takes: a wrong argument is told
 * before a wrong count. */
mvs_status mvs_lower_actuals(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                             mvs_actual **out) {
  mvs_actual *actuals = MVS_ARRAY(lo->arena, expr->argument_count + 1, mvs_actual);
  for (size_t i = 0; i < expr->argument_count; i++) {
    const mvs_argument *argument = &expr->arguments[i];
    mvs_value *value = MVS_NEW(lo->arena, mvs_value);
    MVS_TRY(mvs_lower_expr(lo, scope, argument->value, value));
    actuals[i] = (mvs_actual){argument->name, argument->value, value, argument->span};
  }
  *out = actuals;
  return MVS_OK;
}

/* The formal that a keyword names, or formal_count. */
static size_t formal_of(const char *name, const char *const *formals, size_t formal_count) {
  for (size_t i = 0; i < formal_count; i++) {
    if (strcmp(formals[i], name) == 0) return i;
  }
  return formal_count;
}

/* Too many arguments by position, or an unknown keyword. */
static mvs_status no_such_formal(mvs_lowering *lo, const char *kind, const char *name,
                                 const char *const *formals, size_t formal_count,
                                 const mvs_actual *actual) {
  if (!actual->name) {
    return mvs_lower_error(lo, MVS_ERR_NAME, actual->span, "%s '%s' takes %zu argument%s", kind,
                           name, formal_count, formal_count == 1 ? "" : "s");
  }
  mvs_lower_error(lo, MVS_ERR_NAME, actual->span, "%s '%s' has no argument '%s'", kind, name,
                  actual->name);
  mvs_lower_suggest(lo, actual->name, formals, formal_count);
  return MVS_ERR_NAME;
}

/* Arguments by position fill formals from the first on; a keyword may name any that is still
 * free. Missing ones are the caller's to judge: layers have defaults, primitives have optional
 * ones. */
mvs_status mvs_lower_match(mvs_lowering *lo, const char *kind, const char *name,
                           const char *const *formals, size_t formal_count,
                           const mvs_actual *actuals, size_t count,
                           const mvs_actual **matched) {
  size_t next = 0;
  for (size_t i = 0; i < formal_count; i++) matched[i] = NULL;
  for (size_t i = 0; i < count; i++) {
    const mvs_actual *actual = &actuals[i];
    size_t at = actual->name ? formal_of(actual->name, formals, formal_count) : next++;
    if (at >= formal_count) {
      return no_such_formal(lo, kind, name, formals, formal_count, actual);
    }
    if (matched[at]) {
      mvs_lower_error(lo, MVS_ERR_NAME, actual->span, "'%s' is given twice", formals[at]);
      mvs_diag_note(lo->diag, matched[at]->span, "it was given here");
      return MVS_ERR_NAME;
    }
    matched[at] = actual;
  }
  return MVS_OK;
}

const char *const *mvs_lower_formal_names(mvs_lowering *lo, const mvs_definition *definition) {
  const char **names = MVS_ARRAY(lo->arena, definition->formal_count + 1, const char *);
  for (size_t i = 0; i < definition->formal_count; i++) names[i] = definition->formals[i].name;
  return names;
}

/* Not the caller's scope: a layer means the same wherever it is called. `layer` and `depth` are
 * the exception, as the library's rules and layers may vary with depth. */
mvs_scope *mvs_lower_definition_scope(mvs_lowering *lo) {
  mvs_scope *scope = mvs_scope_new(lo, lo->globals);
  if (lo->stack) {
    mvs_scope_set(lo, scope, "layer", (mvs_value){.kind = MVS_VALUE_LAYER});
    mvs_scope_set(lo, scope, "depth", mvs_value_number((double)lo->stack->region->count));
  }
  return scope;
}

/* --- layers --- */

/* Gives each formal its argument or its default. A default is evaluated in the layer's scope,
 * after the formals before it, so it may use them: heads in `kv_heads = heads`. */
static mvs_status bind_formals(mvs_lowering *lo, const mvs_definition *definition,
                               const mvs_actual *const *matched, mvs_scope *scope,
                               mvs_span span) {
  for (size_t i = 0; i < definition->formal_count; i++) {
    const mvs_formal *formal = &definition->formals[i];
    mvs_value value;
    if (matched[i]) {
      value = *matched[i]->value;
    } else if (formal->value) {
      MVS_TRY(mvs_lower_expr(lo, scope, formal->value, &value));
    } else {
      mvs_lower_error(lo, MVS_ERR_NAME, span, "layer '%s' needs '%s'", definition->name,
                      formal->name);
      mvs_diag_note(lo->diag, formal->span, "it has no default here");
      return MVS_ERR_NAME;
    }
    mvs_scope_set(lo, scope, formal->name, value);
  }
  return MVS_OK;
}

/* Runs the body; an error inside is followed by notes on the calls that led there, innermost
 * first. A deep chain is shown by its CALLS_SHOWN innermost calls and the outermost, the user's
 * own. */
static mvs_status run_body(mvs_lowering *lo, const mvs_definition *definition, mvs_scope *scope,
                           mvs_span span, mvs_value *out) {
  mvs_outcome outcome = {0};
  mvs_status status = mvs_lower_block(lo, scope, &definition->body, &outcome);
  if (status != MVS_OK) {
    if (lo->nesting == 1 || lo->notes++ < CALLS_SHOWN) {
      mvs_diag_note(lo->diag, span, "in the call of layer '%s' here", definition->name);
    }
    return status;
  }
  assert(outcome.done); /* the parser saw that every way through a body ends in a value */
  *out = outcome.value;
  return MVS_OK;
}

/* Runs a layer in a scope of its own. Its label goes into the names of its parameters. */
static mvs_status apply_layer(mvs_lowering *lo, const mvs_definition *definition,
                              const mvs_actual *actuals, size_t count, const char *label,
                              mvs_span span, mvs_value *out) {
  if (lo->nesting >= MVS_MAX_NESTING) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span, "calls nest deeper than %d",
                           MVS_MAX_NESTING);
  }
  const mvs_actual **matched =
      MVS_ARRAY(lo->arena, definition->formal_count + 1, const mvs_actual *);
  MVS_TRY(mvs_lower_match(lo, "layer", definition->name, mvs_lower_formal_names(lo, definition),
                          definition->formal_count, actuals, count, matched));
  mvs_scope *scope = mvs_lower_definition_scope(lo);
  MVS_TRY(bind_formals(lo, definition, matched, scope, span));
  const char *prefix = lo->prefix;
  if (label) lo->prefix = mvs_arena_format(lo->arena, "%s%s.", prefix, label);
  lo->nesting++;
  mvs_status status = run_body(lo, definition, scope, span, out);
  lo->nesting--;
  lo->prefix = prefix;
  return status;
}

/* --- function values --- */

/* Whether a call of `function` lacks its first argument: nothing by position, nor its keyword.
 * Functions whose first argument is optional or that take any number are always applied. */
static bool lacks_input(const mvs_function_value *function, const mvs_actual *actuals,
                        size_t count) {
  const char *first = NULL;
  if (function->definition && function->definition->formal_count > 0 &&
      !function->definition->formals[0].value) {
    first = function->definition->formals[0].name;
  } else if (function->builtin && function->builtin->needed > 0) {
    first = function->builtin->formals[0];
  }
  if (!first) return false;
  for (size_t i = 0; i < count; i++) {
    if (!actuals[i].name || strcmp(actuals[i].name, first) == 0) return false;
  }
  return true;
}

/* The value of a call that leaves out the input: the rest of its arguments, kept. They are
 * evaluated now, in the caller's scope, and matched again when the function is applied. */
static mvs_status make_function(mvs_lowering *lo, const mvs_function_value *function,
                                const mvs_actual *actuals, size_t count, const mvs_expr *expr,
                                mvs_value *out) {
  if (expr->label) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->label_span,
                           "a label belongs on the call that has its input; '%s' has none here",
                           expr->text);
  }
  mvs_function_value *made = MVS_NEW(lo->arena, mvs_function_value);
  *made = *function;
  made->bound = actuals;
  made->bound_count = count;
  *out = (mvs_value){.kind = MVS_VALUE_FUNCTION, .function = made};
  if (!function->definition) return MVS_OK;
  /* Unknown names are told here, where the user wrote them. */
  const mvs_definition *definition = function->definition;
  const mvs_actual **matched =
      MVS_ARRAY(lo->arena, definition->formal_count + 1, const mvs_actual *);
  return mvs_lower_match(lo, "layer", definition->name, mvs_lower_formal_names(lo, definition),
                         definition->formal_count, actuals, count, matched);
}

/* A call of a layer or primitive, together with what was bound before. */
static mvs_status apply_function(mvs_lowering *lo, const mvs_function_value *function,
                                 mvs_actual *actuals, size_t count, const mvs_expr *expr,
                                 mvs_value *out) {
  size_t total = count + function->bound_count;
  mvs_actual *all = MVS_ARRAY(lo->arena, total + 1, mvs_actual);
  for (size_t i = 0; i < count; i++) all[i] = actuals[i];
  for (size_t i = count; i < total; i++) all[i] = function->bound[i - count];
  if (lacks_input(function, all, total)) {
    return make_function(lo, function, all, total, expr, out);
  }
  if (function->definition) {
    return apply_layer(lo, function->definition, all, total, expr->label, expr->span, out);
  }
  return mvs_builtin_apply(lo, function->builtin, all, total, expr->span, out);
}

/* f(x) in a rule. */
static mvs_status apply_branch(mvs_lowering *lo, mvs_branch *branch, const mvs_actual *actuals,
                               size_t count, const mvs_expr *expr, mvs_value *out) {
  if (count != 1 || actuals[0].name) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->span, "the branch takes one value: %s(x)",
                           expr->text);
  }
  return mvs_lower_branch(lo, branch, actuals[0].value, expr->span, out);
}

/* A name that stands for nothing that can be called. */
static mvs_status unknown_callee(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr) {
  const mvs_value *bound = mvs_scope_find(scope, expr->text);
  if (bound) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span, "'%s' is %s and cannot be called",
                           expr->text, mvs_value_noun(bound));
  }
  if (mvs_lower_definition(lo, expr->text, true)) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span,
                           "'%s' is a residual rule; name it in the model's residual line",
                           expr->text);
  }
  mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span, "unknown layer or function '%s'",
                  expr->text);
  MVS_LIST(const char *) all = {0};
  for (size_t i = 0; i < lo->unit->definition_count; i++) {
    const mvs_definition *definition = lo->unit->definitions[i];
    if (!definition->residual) MVS_PUSH(lo->arena, &all, definition->name);
  }
  const char *rows[128];
  size_t count = mvs_builtin_names(rows, sizeof rows / sizeof *rows);
  for (size_t i = 0; i < count; i++) MVS_PUSH(lo->arena, &all, rows[i]);
  mvs_lower_suggest(lo, expr->text, all.items, all.count);
  return MVS_ERR_NAME;
}

/* A value in scope is called only if it can be: a `let linear = 3` hides no layer. */
static const mvs_value *callable_in_scope(const mvs_scope *scope, const char *name) {
  const mvs_value *bound = mvs_scope_find(scope, name);
  if (!bound) return NULL;
  bool callable = bound->kind == MVS_VALUE_FUNCTION || bound->kind == MVS_VALUE_BRANCH;
  return callable ? bound : NULL;
}

/* What a name stands for, in this order: a function value or branch in scope, a layer (the
 * user's before the library's), a primitive. Arguments are evaluated after the callee is known,
 * so that a misspelt callee is told first. */
mvs_status mvs_lower_call(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out) {
  mvs_function_value named = {0};
  const mvs_function_value *function = &named;
  const mvs_value *bound = callable_in_scope(scope, expr->text);
  if (bound && bound->kind == MVS_VALUE_FUNCTION) function = bound->function;
  if (!bound) {
    named.definition = mvs_lower_definition(lo, expr->text, false);
    if (!named.definition) named.builtin = mvs_builtin_find(expr->text);
    if (!named.definition && !named.builtin) return unknown_callee(lo, scope, expr);
  }
  mvs_actual *actuals;
  MVS_TRY(mvs_lower_actuals(lo, scope, expr, &actuals));
  if (bound && bound->kind == MVS_VALUE_BRANCH) {
    return apply_branch(lo, bound->branch, actuals, expr->argument_count, expr, out);
  }
  return apply_function(lo, function, actuals, expr->argument_count, expr, out);
}
