/* op_table.c: the op table, printed from ops.def. One row of ops.def is one entry here, its
 * name being the spelling in dumps and in error messages. What an op does is not here but in
 * tables built from the same rows: shape rules in shapes.c, gradients, references and kernels
 * to the right of this folder. */
#include "compiler/ir/node.h"

const mvs_op_info mvs_ops[MVS_OP_COUNT] = {
#define MVS_OP(id, least, most, class, attribute) \
  [MVS_OP_##id] = {#id, least, most, MVS_CLASS_##class, MVS_ATTR_##attribute},
#include "compiler/ir/ops.def"
#undef MVS_OP
};

bool mvs_op_is_tuple(mvs_op op) {
  return op == MVS_OP_attention || op == MVS_OP_attention_grad || op == MVS_OP_region;
}

bool mvs_op_is_dear(mvs_op op) {
  switch (op) {
    case MVS_OP_exp:
    case MVS_OP_log:
    case MVS_OP_sin:
    case MVS_OP_cos:
    case MVS_OP_tanh:
    case MVS_OP_sigmoid:
    case MVS_OP_random:
      return true;
    default:
      return false;
  }
}

bool mvs_op_parse(const char *name, mvs_op *out) {
  for (int op = 0; op < MVS_OP_COUNT; op++) {
    if (strcmp(mvs_ops[op].name, name) == 0) {
      *out = (mvs_op)op;
      return true;
    }
  }
  return false;
}
