/* fold.c: elementwise ops on plain numbers, in double: what lowering does to numbers that the
 * user writes and what simplify does to constant nodes. One place, so that both mean the same.
 * The caller decides what becomes of a result that is not finite; NaN stands for an op that has
 * no such value here (casts, fma and select, which need more than one or two numbers). */
#include <math.h>

#include "compiler/ir/node.h"

double mvs_op_fold_unary(mvs_op op, double a) {
  switch (op) {
    case MVS_OP_neg:
      return -a;
    case MVS_OP_exp:
      return exp(a);
    case MVS_OP_log:
      return log(a);
    case MVS_OP_sqrt:
      return sqrt(a);
    case MVS_OP_rsqrt:
      return 1 / sqrt(a);
    case MVS_OP_sin:
      return sin(a);
    case MVS_OP_cos:
      return cos(a);
    case MVS_OP_tanh:
      return tanh(a);
    case MVS_OP_sigmoid:
      return 1 / (1 + exp(-a));
    case MVS_OP_abs:
      return fabs(a);
    case MVS_OP_floor:
      return floor(a);
    default:
      return NAN;
  }
}

double mvs_op_fold_binary(mvs_op op, double a, double b) {
  switch (op) {
    case MVS_OP_add:
      return a + b;
    case MVS_OP_sub:
      return a - b;
    case MVS_OP_mul:
      return a * b;
    case MVS_OP_div:
      return a / b;
    case MVS_OP_max:
      return fmax(a, b);
    case MVS_OP_min:
      return fmin(a, b);
    case MVS_OP_less:
      return a < b;
    case MVS_OP_equal:
      return a == b;
    default:
      return NAN;
  }
}
