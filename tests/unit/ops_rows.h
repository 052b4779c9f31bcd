/* ops_rows.h: the test row of every op: which functions try it, in which range, how near the
 * results must be. A row is found by its op's name, so a forgotten one fails to link. */
#ifndef MVS_TESTS_OPS_ROWS_H
#define MVS_TESTS_OPS_ROWS_H

#include "tests/unit/ops_suite.h"

/* Roundings of f32, relative to the value. */
#define OPS_ROUNDED   0x1.01p-24 /* one; and a little, for the rounding of the reference */
#define OPS_ROUNDED_2 0x1.01p-23 /* two */
#define OPS_BF16      0x1.01p-8 /* an error of f32 next to a tie decides the last bit of bf16 */

typedef struct ops_row {
  /* Adds functions that use the op to the suite, which has the row's range and tolerance. */
  void (*build)(ops_suite *s, mvs_op op);
  double low, high; /* of inputs and parameters */
  ops_tolerance tolerance;
  bool passes; /* back ends never meet the op as it is: all passes run first */
} ops_row;

#define MVS_OP(id, least, most, class, attribute) extern const ops_row ops_row_##id;
#include "compiler/ir/ops.def"
#undef MVS_OP

#endif
