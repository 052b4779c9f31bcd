/* lower_expr.c: from an expression of the tree to a value. Arguments and operands are evaluated
 * from left to right, which also numbers the nodes. Names are looked up in the scope, then
 * among layers and primitives (as function values), then among the few words that stand for
 * themselves. Two names are more than a lookup: `f` applies the branch and `layer` adds an
 * argument to the stack's body, both where they are read. The second half checks values for
 * what statements and primitives want: a number, a whole number, a list of extents. */
#include <inttypes.h>
#include <math.h>

#include "compiler/ir/lowering.h"

typedef MVS_LIST(const char *) names;

/* All names that may stand where a value is wanted, the innermost scope first: of equally near
 * spellings the nearest to the user is suggested. */
static names visible(mvs_lowering *lo, const mvs_scope *scope) {
  names all = {0};
  for (; scope; scope = scope->parent) {
    for (size_t i = 0; i < scope->names.count; i++) {
      MVS_PUSH(lo->arena, &all, scope->names.items[i].name);
    }
  }
  for (size_t i = 0; i < lo->unit->definition_count; i++) {
    const mvs_definition *definition = lo->unit->definitions[i];
    if (!definition->residual) MVS_PUSH(lo->arena, &all, definition->name);
  }
  const char *rows[128];
  size_t count = mvs_builtin_names(rows, sizeof rows / sizeof *rows);
  for (size_t i = 0; i < count; i++) MVS_PUSH(lo->arena, &all, rows[i]);
  return all;
}

/* A layer or primitive named without a call: a function value with nothing bound, such as `rope
 * = identity`. */
static bool as_function(mvs_lowering *lo, const char *name, mvs_value *out) {
  mvs_function_value *function = MVS_NEW(lo->arena, mvs_function_value);
  function->definition = mvs_lower_definition(lo, name, false);
  if (!function->definition) function->builtin = mvs_builtin_find(name);
  if (!function->definition && !function->builtin) return false;
  *out = (mvs_value){.kind = MVS_VALUE_FUNCTION, .function = function};
  return true;
}

/* Words that mean something where nothing else has their name. They are not reserved: a let
 * called `pi` is that let. */
static bool as_word(const char *name, mvs_value *out) {
  mvs_dtype dtype;
  if (strcmp(name, "none") == 0)
    *out = (mvs_value){.kind = MVS_VALUE_NONE};
  else if (strcmp(name, "zero") == 0)
    *out = mvs_value_number(0);
  else if (strcmp(name, "pi") == 0)
    *out = mvs_value_number(M_PI);
  else if (mvs_dtype_parse(name, &dtype))
    *out = mvs_value_string(mvs_dtype_name(dtype));
  else
    return false;
  return true;
}

/* A name that nothing has, with the nearest that something has. */
static mvs_status unknown_name(mvs_lowering *lo, mvs_scope *scope, const char *name,
                               mvs_span span) {
  mvs_lower_error(lo, MVS_ERR_NAME, span, "unknown name '%s'", name);
  if (strcmp(name, "layer") == 0 || strcmp(name, "depth") == 0) {
    mvs_diag_hint(lo->diag, "'%s' is known inside a stack only", name);
    return MVS_ERR_NAME;
  }
  names all = visible(lo, scope);
  mvs_lower_suggest(lo, name, all.items, all.count);
  return MVS_ERR_NAME;
}

/* A name that stands for nothing here: a gain outside of the layers, a word of one update
 * outside of all. */
static mvs_status no_single_value(mvs_lowering *lo, const char *name, mvs_span span) {
  if (strcmp(name, "updates") == 0) {
    return mvs_lower_error(lo, MVS_ERR_NAME, span,
                           "'updates' is not known: an `if` on the block's own names decides "
                           "which updates it has");
  }
  bool by_update = strcmp(name, "branch") == 0 || strcmp(name, "update") == 0;
  const char *unit = by_update ? "update" : "layer";
  return mvs_lower_error(
      lo, MVS_ERR_NAME, span,
      "'%s' differs from %s to %s: entry, exit, after, init and group cannot "
      "use it",
      name, unit, unit);
}

/* The value of a name as a reader sees it: `f` applied, `layer` as a tensor. */
static mvs_status read_name(mvs_lowering *lo, mvs_scope *scope, const char *name, mvs_span span,
                            mvs_value *out) {
  const mvs_value *bound = mvs_scope_find(scope, name);
  if (bound && bound->kind == MVS_VALUE_LAYER) return mvs_lower_layer(lo, span, out);
  if (bound && bound->kind == MVS_VALUE_BRANCH) {
    return mvs_lower_branch(lo, bound->branch, NULL, span, out);
  }
  if (bound && bound->kind == MVS_VALUE_ABSENT) return no_single_value(lo, name, span);
  if (bound) {
    *out = *bound;
    return MVS_OK;
  }
  if (as_function(lo, name, out) || as_word(name, out)) return MVS_OK;
  return unknown_name(lo, scope, name, span);
}

/* (a, b) and [a, b] */
static mvs_status list_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                            mvs_value *out) {
  mvs_value *items = MVS_ARRAY(lo->arena, expr->argument_count + 1, mvs_value);
  for (size_t i = 0; i < expr->argument_count; i++) {
    MVS_TRY(mvs_lower_expr(lo, scope, expr->arguments[i].value, &items[i]));
  }
  *out = (mvs_value){.kind = MVS_VALUE_TUPLE, .items = items, .count = expr->argument_count};
  return MVS_OK;
}

/* `and` and `or` look at their second side only when the first leaves it open, so a test may
 * guard what follows it. */
static mvs_status logic_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                             mvs_value *out) {
  bool truth;
  MVS_TRY(mvs_lower_truth(lo, scope, expr->a, &truth));
  if (truth == (expr->op == MVS_AND)) MVS_TRY(mvs_lower_truth(lo, scope, expr->b, &truth));
  *out = mvs_value_bool(truth);
  return MVS_OK;
}

/* Both sides first, then the operator. */
static mvs_status binary_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                              mvs_value *out) {
  if (expr->op == MVS_AND || expr->op == MVS_OR) return logic_expr(lo, scope, expr, out);
  mvs_value a, b;
  MVS_TRY(mvs_lower_expr(lo, scope, expr->a, &a));
  MVS_TRY(mvs_lower_expr(lo, scope, expr->b, &b));
  return mvs_lower_binary(lo, expr, &a, &b, out);
}

/* -a, not a */
static mvs_status unary_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                             mvs_value *out) {
  mvs_value a;
  MVS_TRY(mvs_lower_expr(lo, scope, expr->a, &a));
  return mvs_lower_unary(lo, expr, &a, out);
}

/* x.image */
static mvs_status member_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                              mvs_value *out) {
  mvs_value of;
  MVS_TRY(mvs_lower_expr(lo, scope, expr->a, &of));
  return mvs_lower_member(lo, expr, &of, out);
}

/* Only the chosen side is evaluated: the other makes no nodes and no parameters, and may even
 * be wrong for this choice. */
static mvs_status if_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out) {
  bool truth;
  MVS_TRY(mvs_lower_truth(lo, scope, expr->a, &truth));
  return mvs_lower_expr(lo, scope, truth ? expr->b : expr->c, out);
}

/* Trees are at most MVS_MAX_HEIGHT high and calls nest at most MVS_MAX_NESTING deep, which
 * bounds the recursion by their product. */
mvs_status mvs_lower_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out) {
  MVS_TRY(mvs_lower_spend(lo, expr->span));
  switch (expr->kind) {
    case MVS_EXPR_NUMBER:
      *out = mvs_value_number(expr->number);
      return MVS_OK;
    case MVS_EXPR_BOOL:
      *out = mvs_value_bool(expr->truth);
      return MVS_OK;
    case MVS_EXPR_STRING:
      *out = mvs_value_string(expr->text);
      return MVS_OK;
    case MVS_EXPR_NAME:
      return read_name(lo, scope, expr->text, expr->span, out);
    case MVS_EXPR_CALL:
      return mvs_lower_call(lo, scope, expr, out);
    case MVS_EXPR_UNARY:
      return unary_expr(lo, scope, expr, out);
    case MVS_EXPR_BINARY:
      return binary_expr(lo, scope, expr, out);
    case MVS_EXPR_MEMBER:
      return member_expr(lo, scope, expr, out);
    case MVS_EXPR_TUPLE:
    case MVS_EXPR_LIST:
      return list_expr(lo, scope, expr, out);
    case MVS_EXPR_EACH:
      return mvs_lower_each(lo, scope, expr, out);
    case MVS_EXPR_INDEX:
      return mvs_lower_index(lo, scope, expr, out);
    case MVS_EXPR_IF:
      return if_expr(lo, scope, expr, out);
  }
  return MVS_ERR_INTERNAL;
}

/* --- values of a wanted kind --- */

/* For what must be known while lowering: defaults of inputs, constants. */
mvs_status mvs_lower_number(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                            double *out) {
  mvs_value value;
  MVS_TRY(mvs_lower_expr(lo, scope, expr, &value));
  if (value.kind != MVS_VALUE_NUMBER) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, expr->span, "a number is needed here, not %s",
                           mvs_value_noun(&value));
  }
  *out = value.number;
  return MVS_OK;
}

/* Conditions choose what is lowered, so no tensor can be one. */
mvs_status mvs_lower_truth(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                           bool *out) {
  mvs_value value;
  MVS_TRY(mvs_lower_expr(lo, scope, expr, &value));
  if (value.kind != MVS_VALUE_BOOL) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, expr->span, "a condition is needed here, not %s",
                    mvs_value_noun(&value));
    if (value.kind == MVS_VALUE_TENSOR) {
      mvs_diag_hint(lo->diag, "choose between tensor elements with where(condition, a, b)");
    }
    return MVS_ERR_SHAPE;
  }
  *out = value.truth;
  return MVS_OK;
}

/* Numbers are doubles, so 6 / 2 is whole and 7 / 2 is not. Both bounds are below 2^53, where
 * every whole number is exact. */
mvs_status mvs_lower_whole(mvs_lowering *lo, const mvs_value *value, int64_t least,
                           int64_t most, const char *what, mvs_span span, int64_t *out) {
  if (value->kind != MVS_VALUE_NUMBER) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s must be a whole number, not %s", what,
                           mvs_value_noun(value));
  }
  double number = value->number;
  if (number != floor(number) || !isfinite(number)) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s must be a whole number, not %g", what,
                           number);
  }
  if (number < (double)least || number > (double)most) {
    bool low = number < (double)least;
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span, "%s must be at %s %" PRId64 ", not %.15g",
                           what, low ? "least" : "most", low ? least : most, number);
  }
  *out = (int64_t)number;
  return MVS_OK;
}

/* One axis is left for the batch, which is never written. */
mvs_status mvs_lower_extents(mvs_lowering *lo, const mvs_value *value, int64_t least,
                             mvs_span span, int64_t *extents, int *count) {
  if (value->kind != MVS_VALUE_TUPLE) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "a list such as [2, 3] is needed, not %s",
                           mvs_value_noun(value));
  }
  if (value->count >= MVS_MAX_RANK) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span, "more than %d axes", MVS_MAX_RANK - 1);
  }
  for (size_t i = 0; i < value->count; i++) {
    MVS_TRY(mvs_lower_whole(lo, &value->items[i], least, MVS_MAX_EXTENT, "an extent", span,
                            &extents[i]));
  }
  *count = (int)value->count;
  return MVS_OK;
}

mvs_status mvs_lower_need_tensor(mvs_lowering *lo, const mvs_value *value, const char *what,
                                 mvs_span span) {
  if (value->kind == MVS_VALUE_TENSOR) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s needs a tensor, not %s", what,
                         mvs_value_noun(value));
}
