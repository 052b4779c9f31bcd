/* gradient_rules.c: one gradient rule per op, reached by a table made from ops.def. In each,
 * `g` is the cotangent of the node and y its value; the comment gives what an input x receives.
 */
#include <assert.h>

#include "compiler/passes/gradients.h"

#define MVS_OP(id, least, most, class, attribute) mvs_gradient_rule mvs_gradient_of_##id;
#include "compiler/ir/ops.def"
#undef MVS_OP

mvs_gradient_rule *const mvs_gradient_rules[MVS_OP_COUNT] = {
#define MVS_OP(id, least, most, class, attribute) [MVS_OP_##id] = mvs_gradient_of_##id,
#include "compiler/ir/ops.def"
#undef MVS_OP
};

#define RULE(id) void mvs_gradient_of_##id(mvs_gradient *at, mvs_id node, mvs_id g)
/* Sources end the sweep: what was given to them stays for whoever asked. */
#define ENDS(id) \
  RULE(id) { (void)at, (void)node, (void)g; }
/* Ops whose results have no derivative; activity keeps the sweep away from them. */
#define NEVER_REACHED(id)                        \
  RULE(id) {                                     \
    (void)at, (void)node, (void)g;               \
    assert(!"an op without gradient is active"); \
  }

static const mvs_node *node_of(const mvs_gradient *at, mvs_id node) {
  return mvs_graph_node(at->forward, node);
}

static mvs_id input_of(const mvs_gradient *at, mvs_id node, int index) {
  return node_of(at, node)->inputs[index];
}

static const mvs_type *input_type(const mvs_gradient *at, mvs_id node, int index) {
  return mvs_graph_type(at->forward, input_of(at, node, index));
}

/* False also for an optional input that is not there. */
static bool wanted(const mvs_gradient *at, mvs_id node, int index) {
  return index < node_of(at, node)->input_count &&
         mvs_gradient_wanted(at, input_of(at, node, index));
}

static mvs_id input_value(mvs_gradient *at, mvs_id node, int index) {
  return mvs_gradient_value(at, input_of(at, node, index));
}

/* Adds to the cotangent of an input; the shape is fitted there. */
static void give(mvs_gradient *at, mvs_id node, int index, mvs_id cotangent) {
  mvs_gradient_give(at, input_of(at, node, index), cotangent);
}

/* Builders in the target graph, at the place in the source of the node being differentiated. */
typedef struct maker {
  mvs_graph *graph;
  mvs_span span;
} maker;

static maker maker_at(const mvs_gradient *at, mvs_id node) {
  return (maker){at->target, node_of(at, node)->span};
}
static mvs_id number(maker m, double value) { return mvs_build_constant(m.graph, value); }
static mvs_id unary(maker m, mvs_op op, mvs_id a) {
  return mvs_build_unary(m.graph, op, a, m.span);
}
static mvs_id binary(maker m, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(m.graph, op, a, b, m.span);
}
static mvs_id mul(maker m, mvs_id a, mvs_id b) { return binary(m, MVS_OP_mul, a, b); }
static mvs_id sub(maker m, mvs_id a, mvs_id b) { return binary(m, MVS_OP_sub, a, b); }
static mvs_id divide(maker m, mvs_id a, mvs_id b) { return binary(m, MVS_OP_div, a, b); }
static mvs_id neg(maker m, mvs_id a) { return unary(m, MVS_OP_neg, a); }
static mvs_id scale(maker m, mvs_id a, double by) { return mul(m, a, number(m, by)); }
static mvs_id select3(maker m, mvs_id condition, mvs_id then, mvs_id otherwise) {
  return mvs_graph_add(m.graph, MVS_OP_select, (mvs_id[]){condition, then, otherwise}, 3, NULL,
                       m.span);
}

/* --- sources --- */

ENDS(input)
ENDS(param)
ENDS(argument)
ENDS(constant)
ENDS(iota)

/* --- elements --- */

RULE(neg) { give(at, node, 0, neg(maker_at(at, node), g)); }

/* g y */
RULE(exp) { give(at, node, 0, mul(maker_at(at, node), g, mvs_gradient_value(at, node))); }

/* g / x */
RULE(log) { give(at, node, 0, divide(maker_at(at, node), g, input_value(at, node, 0))); }

/* g / (2 y) */
RULE(sqrt) {
  maker m = maker_at(at, node);
  give(at, node, 0, divide(m, scale(m, g, 0.5), mvs_gradient_value(at, node)));
}

/* -g y^3 / 2 */
RULE(rsqrt) {
  maker m = maker_at(at, node);
  mvs_id y = mvs_gradient_value(at, node);
  give(at, node, 0, mul(m, scale(m, g, -0.5), mul(m, y, mul(m, y, y))));
}

/* g cos x */
RULE(sin) {
  maker m = maker_at(at, node);
  give(at, node, 0, mul(m, g, unary(m, MVS_OP_cos, input_value(at, node, 0))));
}

/* -g sin x */
RULE(cos) {
  maker m = maker_at(at, node);
  give(at, node, 0, neg(m, mul(m, g, unary(m, MVS_OP_sin, input_value(at, node, 0)))));
}

/* g (1 - y^2) */
RULE(tanh) {
  maker m = maker_at(at, node);
  mvs_id y = mvs_gradient_value(at, node);
  give(at, node, 0, mul(m, g, sub(m, number(m, 1), mul(m, y, y))));
}

/* g y (1 - y) */
RULE(sigmoid) {
  maker m = maker_at(at, node);
  mvs_id y = mvs_gradient_value(at, node);
  give(at, node, 0, mul(m, g, mul(m, y, sub(m, number(m, 1), y))));
}

/* g where x > 0, -g where x < 0, 0 at 0 */
RULE(abs) {
  maker m = maker_at(at, node);
  mvs_id x = input_value(at, node, 0), zero = number(m, 0);
  mvs_id below = binary(m, MVS_OP_less, x, zero), above = binary(m, MVS_OP_less, zero, x);
  give(at, node, 0, mul(m, g, sub(m, above, below)));
}

NEVER_REACHED(floor)

/* g, unrounded: the rounding of a value is no reason to round its gradient */
RULE(cast) { give(at, node, 0, g); }

/* g, summed over what was stretched, as everywhere: mvs_gradient_give does it */
RULE(add) {
  give(at, node, 0, g);
  give(at, node, 1, g);
}

RULE(sub) {
  give(at, node, 0, g);
  if (wanted(at, node, 1)) give(at, node, 1, neg(maker_at(at, node), g));
}

/* a b: g b and g a */
RULE(mul) {
  maker m = maker_at(at, node);
  for (int i = 0; i < 2; i++) {
    if (wanted(at, node, i)) give(at, node, i, mul(m, g, input_value(at, node, 1 - i)));
  }
}

/* a / b: g / b and -(g / b) y */
RULE(div) {
  maker m = maker_at(at, node);
  mvs_id part = divide(m, g, input_value(at, node, 1));
  give(at, node, 0, part);
  if (wanted(at, node, 1)) {
    give(at, node, 1, neg(m, mul(m, part, mvs_gradient_value(at, node))));
  }
}

/* Where the condition holds the first input receives g, elsewhere the second. By select and not
 * by a product with 0 or 1, which would carry what is not finite to the side not taken. */
static void choose(mvs_gradient *at, mvs_id node, int first, mvs_id condition, mvs_id g) {
  maker m = maker_at(at, node);
  mvs_id zero = number(m, 0);
  if (wanted(at, node, first)) give(at, node, first, select3(m, condition, g, zero));
  if (wanted(at, node, first + 1)) give(at, node, first + 1, select3(m, condition, zero, g));
}

/* At equal inputs the first of max and min receives all: one subgradient, and the sum of what
 * is handed on is g. */
RULE(max) {
  maker m = maker_at(at, node);
  mvs_id a = input_value(at, node, 0), b = input_value(at, node, 1);
  mvs_id second = binary(m, MVS_OP_less, a, b);
  choose(at, node, 0, sub(m, number(m, 1), second), g);
}

RULE(min) {
  maker m = maker_at(at, node);
  mvs_id a = input_value(at, node, 0), b = input_value(at, node, 1);
  mvs_id second = binary(m, MVS_OP_less, b, a);
  choose(at, node, 0, sub(m, number(m, 1), second), g);
}

NEVER_REACHED(less)
NEVER_REACHED(equal)

/* The condition chooses; nothing flows to it. */
RULE(select) { choose(at, node, 1, input_value(at, node, 0), g); }

/* a b + c: g b, g a and g */
RULE(fma) {
  maker m = maker_at(at, node);
  for (int i = 0; i < 2; i++) {
    if (wanted(at, node, i)) give(at, node, i, mul(m, g, input_value(at, node, 1 - i)));
  }
  give(at, node, 2, g);
}

NEVER_REACHED(random)

RULE(broadcast) { give(at, node, 0, g); }

/* x r with r = inv_rms(x): r (g - y mean(g y)), from the output and r alone, exactly, eps
 * included: with r = (mean(x^2) + eps)^(-1/2), dr/dx = -r^3 x / D, so that
 *   dx = r g - r^3 x mean(g x) = r (g - y mean(g y))        y = r x
 * Where the output is stored rounded, the rounded one serves: keeping both would cost more
 * than the last bits are worth, and what is handed on is rounded alike: the residual stream,
 * the branch and the token sums then read one narrow tensor. Nothing flows through the edge r:
 * the formula has it. */
RULE(normalize) {
  maker m = maker_at(at, node);
  if (!wanted(at, node, 0)) return;
  mvs_id rounded = at->crossing->rounded[node];
  mvs_id y = mvs_gradient_value(at, rounded == MVS_NONE ? node : rounded);
  mvs_id r = input_value(at, node, 1);
  const mvs_type *type = mvs_graph_type(at->forward, node);
  int last = type->rank - 1;
  mvs_id along = mvs_build_sum(m.graph, mul(m, g, y), 1u << last, m.span);
  mvs_id mean = scale(m, along, 1.0 / (double)type->dims[last].size);
  mvs_id handed_on = mul(m, r, sub(m, g, mul(m, y, mean)));
  if (rounded != MVS_NONE) {
    handed_on = mvs_gradient_round(at, mvs_graph_type(at->forward, rounded), handed_on);
  }
  give(at, node, 0, handed_on);
}

/* --- reductions --- */

RULE(sum) { give(at, node, 0, g); }

/* g over the places that hold the maximum, in equal shares */
RULE(max_over) {
  maker m = maker_at(at, node);
  uint32_t mask = node_of(at, node)->attr.axes.mask;
  mvs_id top = mvs_gradient_value(at, node);
  mvs_id here = binary(m, MVS_OP_equal, input_value(at, node, 0), top);
  mvs_id shares = mvs_build_sum(m.graph, here, mask, m.span);
  give(at, node, 0, mul(m, here, divide(m, g, shares)));
}

/* -g y^3 x / D: reached where a norm was written in parts that no rule took for normalize. */
RULE(inv_rms) {
  maker m = maker_at(at, node);
  const mvs_type *type = input_type(at, node, 0);
  double share = -1.0 / (double)type->dims[type->rank - 1].size;
  mvs_id y = mvs_gradient_value(at, node);
  mvs_id factor = mul(m, scale(m, g, share), mul(m, y, mul(m, y, y)));
  give(at, node, 0, mul(m, factor, input_value(at, node, 0)));
}

/* --- segments --- */

/* Segment rows back to the tokens of the op's input. */
static mvs_id expand(mvs_gradient *at, mvs_id node, mvs_op op, mvs_id g) {
  mvs_attr table = {.segments = {input_type(at, node, 0)->segments}};
  maker m = maker_at(at, node);
  return mvs_graph_add(m.graph, op, &g, 1, &table, m.span);
}

/* Two pairs of transposes: what sums tokens hands its cotangent to each of them. */
RULE(segment_sum) { give(at, node, 0, expand(at, node, MVS_OP_segment_broadcast, g)); }
RULE(segment_mean) { give(at, node, 0, expand(at, node, MVS_OP_segment_spread, g)); }
RULE(segment_broadcast) { give(at, node, 0, unary(maker_at(at, node), MVS_OP_segment_sum, g)); }
RULE(segment_spread) { give(at, node, 0, unary(maker_at(at, node), MVS_OP_segment_mean, g)); }

/* --- views --- */

RULE(reshape) {
  maker m = maker_at(at, node);
  give(at, node, 0, mvs_build_reshape(m.graph, g, input_type(at, node, 0), m.span));
}

/* The inverse permutation. */
RULE(transpose) {
  maker m = maker_at(at, node);
  const mvs_attr *attr = &node_of(at, node)->attr;
  mvs_attr back = {.permutation = {.rank = attr->permutation.rank}};
  for (int i = 0; i < attr->permutation.rank; i++) {
    back.permutation.axis[attr->permutation.axis[i]] = (uint8_t)i;
  }
  give(at, node, 0, mvs_graph_add(m.graph, MVS_OP_transpose, &g, 1, &back, m.span));
}

/* Zeros around g, and the other way round for pad. */
RULE(slice) {
  maker m = maker_at(at, node);
  mvs_attr attr = node_of(at, node)->attr;
  attr.slice.segments = input_type(at, node, 0)->segments;
  give(at, node, 0, mvs_graph_add(m.graph, MVS_OP_pad, &g, 1, &attr, m.span));
}

RULE(pad) {
  maker m = maker_at(at, node);
  mvs_attr attr = node_of(at, node)->attr;
  attr.slice.segments = input_type(at, node, 0)->segments;
  give(at, node, 0, mvs_graph_add(m.graph, MVS_OP_slice, &g, 1, &attr, m.span));
}

/* Each part receives its piece of g. */
RULE(concat) {
  maker m = maker_at(at, node);
  int axis = node_of(at, node)->attr.concat.axis;
  int64_t start = 0;
  for (int i = 0; i < node_of(at, node)->input_count; i++) {
    const mvs_type *type = input_type(at, node, i);
    int64_t length = type->dims[axis].size;
    if (wanted(at, node, i)) {
      give(at, node, i,
           mvs_build_slice(m.graph, g, axis, start, length, type->segments, m.span));
    }
    start += length;
  }
}

/* The op with several results does the work once all of them were visited. */
RULE(get) {
  const mvs_type *type = mvs_graph_type(at->forward, node);
  mvs_id tuple = input_of(at, node, 0);
  at->results[tuple][node_of(at, node)->attr.index.value] = mvs_gradient_round(at, type, g);
}

/* --- heavy --- */

/* Cotangents enter a matmul in the type of the forward operands, so that backward products run
 * at the same speed; a weight's gradient is summed and stored in f32. */
static mvs_dtype summed_dtype(const mvs_type *operand) {
  return operand->dtype == MVS_F64 ? MVS_F64 : MVS_F32;
}

/* What a product of cotangents that flows on is stored as. */
static mvs_dtype flowing_dtype(const mvs_type *operand) {
  return operand->dtype == MVS_BF16 ? MVS_BF16 : summed_dtype(operand);
}

typedef struct product {
  mvs_matmul_form form;
  mvs_id a, b;
} product;

/* The products that give the gradients of A and of B, by form of the forward product; node.h
 * says what NT, NN and TN contract. With y = x W^T (NT): dX = g W is NN, dW = g^T x is TN. The
 * three forms are closed under this, so that a gradient needs no transpose in memory. */
static void matmul_gradients(mvs_matmul_form form, mvs_id a, mvs_id b, mvs_id g, product *for_a,
                             product *for_b) {
  switch (form) {
    case MVS_MATMUL_NT:
      *for_a = (product){MVS_MATMUL_NN, g, b};
      *for_b = (product){MVS_MATMUL_TN, g, a};
      return;
    case MVS_MATMUL_NN:
      *for_a = (product){MVS_MATMUL_NT, g, b};
      *for_b = (product){MVS_MATMUL_TN, a, g};
      return;
    case MVS_MATMUL_TN:
      *for_a = (product){MVS_MATMUL_NT, b, g};
      *for_b = (product){MVS_MATMUL_NN, a, g};
      return;
  }
}

/* The bias receives the rounded g: that is what lies in memory, and its rounding errors are
 * independent, so that their sum stays small. */
RULE(matmul) {
  maker m = maker_at(at, node);
  const mvs_type *a_type = input_type(at, node, 0), *b_type = input_type(at, node, 1);
  mvs_matmul_form form = node_of(at, node)->attr.matmul.form;
  g = mvs_gradient_round(at, a_type, g);
  if (wanted(at, node, 2)) give(at, node, 2, g);
  product for_a = {0}, for_b = {0};
  bool a_wanted = wanted(at, node, 0), b_wanted = wanted(at, node, 1);
  mvs_id a = b_wanted ? input_value(at, node, 0) : MVS_NONE;
  mvs_id b = a_wanted ? input_value(at, node, 1) : MVS_NONE;
  matmul_gradients(form, a, b, g, &for_a, &for_b);
  if (a_wanted) {
    mvs_dtype dtype = form == MVS_MATMUL_TN ? summed_dtype(a_type) : flowing_dtype(a_type);
    give(at, node, 0,
         mvs_build_matmul(m.graph, for_a.form, for_a.a, for_a.b, MVS_NONE, dtype, m.span));
  }
  if (b_wanted) {
    give(at, node, 1,
         mvs_build_matmul(m.graph, for_b.form, for_b.a, for_b.b, MVS_NONE, summed_dtype(b_type),
                          m.span));
  }
}

/* The log-sum is made for the gradient's use alone, so that no gradient comes by it. */
RULE(attention) {
  (void)g;
  maker m = maker_at(at, node);
  mvs_id cotangent = at->results[node][0];
  assert(cotangent != MVS_NONE && at->results[node][1] == MVS_NONE);
  mvs_id inputs[6];
  for (int i = 0; i < 3; i++) inputs[i] = input_value(at, node, i);
  for (uint32_t i = 0; i < 2; i++) {
    inputs[3 + i] = mvs_gradient_value(at, mvs_build_get(at->forward, node, i, m.span));
  }
  inputs[5] = mvs_gradient_round(at, input_type(at, node, 0), cotangent);
  mvs_id made = mvs_graph_add(m.graph, MVS_OP_attention_grad, inputs, 6,
                              &node_of(at, node)->attr, m.span);
  for (uint32_t i = 0; i < 3; i++) {
    if (wanted(at, node, (int)i)) {
      give(at, node, (int)i, mvs_build_get(m.graph, made, i, m.span));
    }
  }
}

/* The loss is differentiated once. */
NEVER_REACHED(attention_grad)
