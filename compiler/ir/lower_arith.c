/* lower_arith.c: operators. Numbers fold here, in double; tensors make nodes. A number that
 * meets a tensor becomes a constant of the graph. Folding refuses what is not finite: such a
 * number would surface far from its place, as an extent or in a kernel. Comparisons of tensors
 * give 1 and 0 in f32, so that they can be multiplied; the opposite of one is 1 minus it, as
 * there are ops for `less` and `equal` only. NaN compares as in IEEE 754: all but != are false.
 * `and`, `or` and `not` are for truth values, which tensors are not. */
#include <math.h>

#include "compiler/ir/lowering.h"

static const char *const spelling[] = {
    [MVS_ADD] = "+",   [MVS_SUB] = "-", [MVS_MUL] = "*",   [MVS_DIV] = "/",
    [MVS_MOD] = "%",   [MVS_POW] = "^", [MVS_LT] = "<",    [MVS_LE] = "<=",
    [MVS_GT] = ">",    [MVS_GE] = ">=", [MVS_EQ] = "==",   [MVS_NE] = "!=",
    [MVS_AND] = "and", [MVS_OR] = "or", [MVS_NOT] = "not", [MVS_NEG] = "-"};

/* A remainder with the sign of the divisor, so that layer % n counts 0 .. n-1 also below 0;
 * `modulo` is the same for tensors. */
static double remainder_of(double a, double b) { return a - b * floor(a / b); }

/* An operator on two numbers. A result that no tensor could hold is an error here, where its
 * place is known. */
static mvs_status fold(mvs_lowering *lo, const mvs_expr *expr, double a, double b,
                       mvs_value *out) {
  if ((expr->op == MVS_DIV || expr->op == MVS_MOD) && b == 0) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, expr->span, "division by zero");
  }
  switch (expr->op) {
    case MVS_ADD:
      *out = mvs_value_number(a + b);
      break;
    case MVS_SUB:
      *out = mvs_value_number(a - b);
      break;
    case MVS_MUL:
      *out = mvs_value_number(a * b);
      break;
    case MVS_DIV:
      *out = mvs_value_number(a / b);
      break;
    case MVS_MOD:
      *out = mvs_value_number(remainder_of(a, b));
      break;
    case MVS_POW:
      *out = mvs_value_number(pow(a, b));
      break;
    case MVS_LT:
      *out = mvs_value_bool(a < b);
      break;
    case MVS_LE:
      *out = mvs_value_bool(a <= b);
      break;
    case MVS_GT:
      *out = mvs_value_bool(a > b);
      break;
    case MVS_GE:
      *out = mvs_value_bool(a >= b);
      break;
    case MVS_EQ:
      *out = mvs_value_bool(a == b);
      break;
    case MVS_NE:
      *out = mvs_value_bool(a != b);
      break;
    default:
      return MVS_ERR_INTERNAL;
  }
  if (out->kind == MVS_VALUE_NUMBER && !isfinite(out->number)) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, expr->span, "the result is not a finite number");
  }
  return MVS_OK;
}

/* Whole powers up to here are products, at most two for each bit of the exponent. */
#define LARGEST_WHOLE_POWER (1 << 30)

/* x^n by squaring, n >= 1. */
static mvs_status whole_power(mvs_lowering *lo, mvs_value x, int n, mvs_span span,
                              mvs_value *out) {
  if (n == 1) {
    *out = x;
    return MVS_OK;
  }
  mvs_value half;
  MVS_TRY(whole_power(lo, x, n / 2, span, &half));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_mul, half, half, span, out));
  return n % 2 ? mvs_lower_node2(lo, MVS_OP_mul, *out, x, span, out) : MVS_OK;
}

/* Powers with a number as exponent: whole ones multiply, so that x may be negative; halves take
 * roots; the rest is exp(n log x), for positive x. x^0 is 1 for every x, as for numbers. */
static mvs_status power_of_tensor(mvs_lowering *lo, mvs_value x, double n, mvs_span span,
                                  mvs_value *out) {
  double size = fabs(n);
  if (n == 0.5) return mvs_lower_node1(lo, MVS_OP_sqrt, x, span, out);
  if (n == -0.5) return mvs_lower_node1(lo, MVS_OP_rsqrt, x, span, out);
  if (n == 0) {
    mvs_value one = mvs_value_number(1);
    mvs_attr attr = {.shape = {*mvs_value_type(&x)}};
    return mvs_lower_node(lo, MVS_OP_broadcast, &one, 1, &attr, span, out);
  }
  if (size == floor(size) && size <= LARGEST_WHOLE_POWER) {
    MVS_TRY(whole_power(lo, x, (int)size, span, out));
    return n > 0 ? MVS_OK
                 : mvs_lower_node2(lo, MVS_OP_div, mvs_value_number(1), *out, span, out);
  }
  MVS_TRY(mvs_lower_node1(lo, MVS_OP_log, x, span, out));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_mul, *out, mvs_value_number(n), span, out));
  return mvs_lower_node1(lo, MVS_OP_exp, *out, span, out);
}

/* a ^ b with a tensor among them; a tensor exponent goes through exp and log, so its base must
 * be positive. A number's logarithm is taken here, in double. */
static mvs_status power(mvs_lowering *lo, const mvs_expr *expr, mvs_value a, mvs_value b,
                        mvs_value *out) {
  if (b.kind == MVS_VALUE_NUMBER) return power_of_tensor(lo, a, b.number, expr->span, out);
  mvs_value log_of_base;
  if (a.kind == MVS_VALUE_NUMBER) {
    if (a.number <= 0) {
      return mvs_lower_error(lo, MVS_ERR_LIMIT, expr->a->span,
                             "the base of a power with a tensor exponent must be positive");
    }
    log_of_base = mvs_value_number(log(a.number));
  } else {
    MVS_TRY(mvs_lower_node1(lo, MVS_OP_log, a, expr->span, &log_of_base));
  }
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_mul, b, log_of_base, expr->span, out));
  return mvs_lower_node1(lo, MVS_OP_exp, *out, expr->span, out);
}

/* a % b = a - b floor(a / b) */
static mvs_status modulo(mvs_lowering *lo, const mvs_expr *expr, mvs_value a, mvs_value b,
                         mvs_value *out) {
  mvs_value quotient;
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_div, a, b, expr->span, &quotient));
  MVS_TRY(mvs_lower_node1(lo, MVS_OP_floor, quotient, expr->span, &quotient));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_mul, b, quotient, expr->span, &quotient));
  return mvs_lower_node2(lo, MVS_OP_sub, a, quotient, expr->span, out);
}

/* a != b: 1 where they are not equal, of which NaN is none. */
static mvs_status differ(mvs_lowering *lo, mvs_value a, mvs_value b, mvs_span span,
                         mvs_value *out) {
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_equal, a, b, span, out));
  return mvs_lower_node2(lo, MVS_OP_sub, mvs_value_number(1), *out, span, out);
}

/* a <= b: 1 where they are less or equal, never both. 1 - (b < a) would be true of NaN. */
static mvs_status at_most(mvs_lowering *lo, mvs_value a, mvs_value b, mvs_span span,
                          mvs_value *out) {
  mvs_value less;
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_less, a, b, span, &less));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_equal, a, b, span, out));
  return mvs_lower_node2(lo, MVS_OP_add, less, *out, span, out);
}

/* An operator with a tensor among its operands. */
static mvs_status tensor_binary(mvs_lowering *lo, const mvs_expr *expr, mvs_value a,
                                mvs_value b, mvs_value *out) {
  mvs_span span = expr->span;
  switch (expr->op) {
    case MVS_ADD:
      return mvs_lower_node2(lo, MVS_OP_add, a, b, span, out);
    case MVS_SUB:
      return mvs_lower_node2(lo, MVS_OP_sub, a, b, span, out);
    case MVS_MUL:
      return mvs_lower_node2(lo, MVS_OP_mul, a, b, span, out);
    case MVS_DIV:
      return mvs_lower_node2(lo, MVS_OP_div, a, b, span, out);
    case MVS_MOD:
      return modulo(lo, expr, a, b, out);
    case MVS_POW:
      return power(lo, expr, a, b, out);
    case MVS_LT:
      return mvs_lower_node2(lo, MVS_OP_less, a, b, span, out);
    case MVS_GT:
      return mvs_lower_node2(lo, MVS_OP_less, b, a, span, out);
    case MVS_LE:
      return at_most(lo, a, b, span, out);
    case MVS_GE:
      return at_most(lo, b, a, span, out);
    case MVS_EQ:
      return mvs_lower_node2(lo, MVS_OP_equal, a, b, span, out);
    case MVS_NE:
      return differ(lo, a, b, span, out);
    default:
      return MVS_ERR_INTERNAL;
  }
}

/* == and != of anything but two tensors: values of different kinds differ, tuples are compared
 * item by item, functions by what they run, whatever arguments are bound. */
static bool same(const mvs_value *a, const mvs_value *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == MVS_VALUE_NUMBER) return a->number == b->number;
  if (a->kind == MVS_VALUE_TENSOR) return a->graph == b->graph && a->id == b->id;
  if (a->kind == MVS_VALUE_TUPLE) {
    bool all = a->count == b->count;
    for (size_t i = 0; all && i < a->count; i++) all = same(&a->items[i], &b->items[i]);
    return all;
  }
  if (a->kind == MVS_VALUE_BOOL) return a->truth == b->truth;
  if (a->kind == MVS_VALUE_STRING) return strcmp(a->text, b->text) == 0;
  if (a->kind == MVS_VALUE_FUNCTION) {
    return a->function->definition == b->function->definition &&
           a->function->builtin == b->function->builtin;
  }
  return a->kind == MVS_VALUE_NONE;
}

/* A label of the model is compared with a text: one that no update has would silently choose
 * the other side everywhere. */
static mvs_status check_label(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *a,
                              const mvs_value *b) {
  if (a->kind != MVS_VALUE_STRING || b->kind != MVS_VALUE_STRING) return MVS_OK;
  if (a->is_label == b->is_label) return MVS_OK;
  return a->is_label ? mvs_lower_check_label(lo, b->text, expr->b->span)
                     : mvs_lower_check_label(lo, a->text, expr->a->span);
}

/* Whether arithmetic applies. */
static bool is_numeric(const mvs_value *value) {
  return value->kind == MVS_VALUE_NUMBER || value->kind == MVS_VALUE_TENSOR;
}

/* Numbers fold first, then tensors make nodes; what is left can only be compared for identity.
 * A tensor never equals a value of another kind: `bias == none` is how optional tensors are
 * tested. */
mvs_status mvs_lower_binary(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *a,
                            const mvs_value *b, mvs_value *out) {
  if (a->kind == MVS_VALUE_NUMBER && b->kind == MVS_VALUE_NUMBER) {
    return fold(lo, expr, a->number, b->number, out);
  }
  if (is_numeric(a) && is_numeric(b)) return tensor_binary(lo, expr, *a, *b, out);
  if (expr->op == MVS_EQ || expr->op == MVS_NE) {
    MVS_TRY(check_label(lo, expr, a, b));
    *out = mvs_value_bool(same(a, b) == (expr->op == MVS_EQ));
    return MVS_OK;
  }
  bool first = !is_numeric(a);
  return mvs_lower_error(lo, MVS_ERR_SHAPE, first ? expr->a->span : expr->b->span,
                         "'%s' needs numbers or tensors, not %s", spelling[expr->op],
                         mvs_value_noun(first ? a : b));
}

/* `-` on numbers and tensors, `not` on truth values: neither on the other's. */
mvs_status mvs_lower_unary(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *a,
                           mvs_value *out) {
  if (expr->op == MVS_NEG && a->kind == MVS_VALUE_NUMBER) {
    *out = mvs_value_number(-a->number);
    return MVS_OK;
  }
  if (expr->op == MVS_NEG && a->kind == MVS_VALUE_TENSOR) {
    return mvs_lower_node1(lo, MVS_OP_neg, *a, expr->span, out);
  }
  if (expr->op == MVS_NOT && a->kind == MVS_VALUE_BOOL) {
    *out = mvs_value_bool(!a->truth);
    return MVS_OK;
  }
  const char *wanted = expr->op == MVS_NOT ? "true or false" : "a number or a tensor";
  return mvs_lower_error(lo, MVS_ERR_SHAPE, expr->a->span, "'%s' needs %s, not %s",
                         spelling[expr->op], wanted, mvs_value_noun(a));
}
