/* node.h: the op table, attributes and nodes: what a graph is made of. Values only; graph.h
 * adds and finds them. */
#ifndef MVS_IR_NODE_H
#define MVS_IR_NODE_H

#include "compiler/ir/type.h"

#define MVS_MAX_INPUTS 512

/* The ops, in the order of their rows. */
typedef enum mvs_op {
#define MVS_OP(id, least, most, class, attribute) MVS_OP_##id,
#include "compiler/ir/ops.def"
#undef MVS_OP
  MVS_OP_COUNT
} mvs_op;

/* What passes ask of an op without knowing it; see the head of ops.def for what each means. */
typedef enum mvs_op_class {
  MVS_CLASS_SOURCE, MVS_CLASS_ELEMENT, MVS_CLASS_REDUCE, MVS_CLASS_SEGMENT, MVS_CLASS_VIEW,
  MVS_CLASS_HEAVY
} mvs_op_class;

/* Which member of mvs_attr an op carries. The names are the members', so a row of ops.def gives
 * both. */
typedef enum mvs_attr_kind {
  MVS_ATTR_none, MVS_ATTR_input, MVS_ATTR_param, MVS_ATTR_argument, MVS_ATTR_constant,
  MVS_ATTR_iota, MVS_ATTR_cast, MVS_ATTR_random, MVS_ATTR_shape, MVS_ATTR_axes,
  MVS_ATTR_epsilon, MVS_ATTR_segments, MVS_ATTR_permutation, MVS_ATTR_slice, MVS_ATTR_concat,
  MVS_ATTR_index, MVS_ATTR_matmul, MVS_ATTR_attention, MVS_ATTR_region
} mvs_attr_kind;

/* The row of an op. */
typedef struct mvs_op_info {
  const char *name;
  int least_inputs, most_inputs;
  mvs_op_class op_class;
  mvs_attr_kind attribute;
} mvs_op_info;
extern const mvs_op_info mvs_ops[MVS_OP_COUNT];

/* True for the ops whose results are taken with `get` only: attention, attention_grad,
 * region. */
bool mvs_op_is_tuple(mvs_op op);
/* True for functions that cost tens of operations an element: exp, log, sin, cos, tanh,
 * sigmoid, random. Worth a load, a hoist or a place in a register to do them once. */
bool mvs_op_is_dear(mvs_op op);
/* An elementwise op on numbers, in double. A comparison gives 1 or 0, as it does for tensors.
 * NaN for ops that are not folded. */
double mvs_op_fold_unary(mvs_op op, double a);
/* The same on two numbers. */
double mvs_op_fold_binary(mvs_op op, double a, double b);
/* Finds an op by name; false when there is none. */
bool mvs_op_parse(const char *name, mvs_op *out);

typedef uint32_t mvs_id; /* a node of one graph */
#define MVS_NONE UINT32_MAX

/* The parts of a region that its body sees. */
typedef enum mvs_argument_kind {
  MVS_ARG_CARRIED,   /* the value carried from layer to layer, index among the carried */
  MVS_ARG_INVARIANT, /* the same for all layers */
  MVS_ARG_STACKED,   /* this layer's slice of a stacked input */
  MVS_ARG_READ,      /* a stacked output of this region at an earlier layer, see region.h */
  MVS_ARG_LAYER      /* the layer's number, i32 rank 0 */
} mvs_argument_kind;

/* Which product, in terms of the trailing axes; A has any leading axes "...":
 *   NT: A[..., K] x B[N, K]   -> [..., N]       y = x W^T, with optional bias [N]
 *                                            in the dtype of the result
 *   NN: A[..., K] x B[K, N]   -> [..., N]       dX = dY W
 *   TN: A[..., M] x B[..., N] -> [M, N]         dW = dY^T X, contracts all leading axes */
typedef enum mvs_matmul_form { MVS_MATMUL_NT, MVS_MATMUL_NN, MVS_MATMUL_TN } mvs_matmul_form;

/* Numbers in [0, 1), or from N(0, 1). */
typedef enum mvs_random_kind { MVS_RANDOM_UNIFORM, MVS_RANDOM_NORMAL } mvs_random_kind;

struct mvs_region;
struct mvs_module;

/* Attributes: a tagged union; the tag is mvs_ops[op].attribute. */
typedef union mvs_attr {
  struct { const char *name; mvs_type type; } input;
  struct { uint32_t index; mvs_type type; } param;      /* index into the module's parameters */
  struct { mvs_argument_kind kind; uint32_t index; mvs_type type; } argument;
  struct { double value; mvs_dtype dtype; } constant;
  struct { mvs_type type; int axis; } iota;
  struct { mvs_dtype dtype; } cast;
  /* stream separates independent draws; the position is the element's index in its sample */
  struct { mvs_random_kind kind; uint32_t stream; mvs_type type; } random;
  struct { mvs_type type; } shape;                      /* its dtype is ignored: the input's */
  struct { uint32_t mask; } axes;                       /* bit i: axis i is reduced */
  struct { double value; } epsilon;
  struct { const mvs_segments *table; } segments;
  struct { int rank; uint8_t axis[MVS_MAX_RANK]; } permutation; /* result i = input axis[i] */
  /* slice: elements [start, start+length) of an axis whose extent is total; pad: the reverse.
   * `segments` is the table of the result's token axis or NULL */
  struct { int axis; int64_t start, length, total; const mvs_segments *segments; } slice;
  struct { int axis; const mvs_segments *segments; } concat;
  struct { uint32_t value; } index;
  struct { mvs_matmul_form form; mvs_dtype dtype; } matmul; /* dtype of the result */
  struct { double scale; } attention;
  struct { struct mvs_region *body; } region;
} mvs_attr;

/* A node. Values only: a node has no identity but its id, and two equal ones are the same. */
typedef struct mvs_node {
  mvs_op op;
  /* 0 in the forward pass; k > 0 marks a value recomputed in pass k. Part of interning, so that
   * common subexpressions are never shared across it. */
  uint8_t pass;
  uint16_t input_count;
  const mvs_id *inputs;
  mvs_attr attr;
  mvs_type type;  /* of the result; of result 0 of several (see mvs_node_result_type) */
  mvs_span span;  /* the first source place that asked for it */
  const char *rule; /* the named rewrite that made it, or NULL */
} mvs_node;

#endif
