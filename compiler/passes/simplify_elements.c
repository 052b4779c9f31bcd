/* simplify_elements.c: rules on numbers and elementwise ops.
 *
 * They are here for what other code makes (the language's loops, gradients, the rules
 * themselves) rather than for what users write. All but two keep every finite value exactly,
 * but for the sign of a zero; fold and scale_scale save roundings to f32, since numbers are
 * known in double. docs/numerics.md promises bits to the graph that comes out of the rules. */
#include <math.h>

#include "compiler/passes/simplify.h"

/* --- constants --- */

/* A cast to bf16 is not folded: no constant is bf16, and rounding stays a node as everywhere
 * (docs/numerics.md, "Rounding is in the graph"). */
static double fold_cast(mvs_dtype from, mvs_dtype to, double a) {
  /* From f64 a cast rounds; a number that is already f32 is kept in double until it is used. */
  if (from == MVS_F64 && to == MVS_F32) return (float)a;
  if (to == MVS_I32) return trunc(a);
  return to == MVS_BF16 ? NAN : a;
}

/* The value of an op on numbers; NaN where it is left to run time. */
static double fold_node(const mvs_match *match, const double *in) {
  const mvs_node *node = match->node;
  if (node->op == MVS_OP_cast) {
    return fold_cast(mvs_match_input(match, 0)->type.dtype, node->attr.cast.dtype, in[0]);
  }
  if (node->op == MVS_OP_fma) return fma(in[0], in[1], in[2]);
  if (node->input_count == 1) return mvs_op_fold_unary(node->op, in[0]);
  return node->input_count == 2 ? mvs_op_fold_binary(node->op, in[0], in[1]) : NAN;
}

/* What a constant of that dtype may be (verify_rules.def): integers beyond 32 bits are left to
 * run time, as division of integers is. */
static bool is_constant(double value, mvs_dtype dtype) {
  return isfinite(value) && (dtype != MVS_I32 || (value >= INT32_MIN && value <= INT32_MAX));
}

/* An elementwise op on numbers alone, with a result that a constant can hold. */
bool mvs_guard_fold(mvs_match *match) {
  const mvs_node *node = match->node;
  double in[3];
  if (!mvs_is_element(node) || node->input_count > 3) return false;
  if (node->op == MVS_OP_div && node->type.dtype == MVS_I32) return false;
  for (int i = 0; i < node->input_count; i++) {
    if (mvs_match_input(match, i)->op != MVS_OP_constant) return false;
    in[i] = mvs_match_input(match, i)->attr.constant.value;
  }
  match->value = fold_node(match, in);
  return is_constant(match->value, node->type.dtype);
}

mvs_id mvs_build_fold(mvs_graph *graph, const mvs_match *match) {
  mvs_attr attr = {.constant = {match->value, match->node->type.dtype}};
  return mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &attr, match->node->span);
}

/* Builders shared by rules whose replacement is the value a, fitted to the node's type. */
static mvs_id becomes_a(mvs_graph *graph, const mvs_match *match) {
  return mvs_fit(graph, match->a, &match->node->type, match->node->span);
}

static mvs_id becomes_minus_a(mvs_graph *graph, const mvs_match *match) {
  mvs_id negated = mvs_build_unary(graph, MVS_OP_neg, match->a, match->node->span);
  return mvs_fit(graph, negated, &match->node->type, match->node->span);
}

/* A condition with one known value: select 1, %a, %b   ->   %a. So a mixture that depends on
 * `layer` leaves nothing behind in a body where the layer does not matter. */
bool mvs_guard_choice(mvs_match *match) {
  double condition;
  if (!mvs_constant_value(match->graph, match->node->inputs[0], &condition)) return false;
  match->a = match->node->inputs[condition != 0 ? 1 : 2];
  return true;
}
mvs_id mvs_build_choice(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* --- neutral elements --- */

bool mvs_guard_times_one(mvs_match *match) { return mvs_other_than_constant(match, 1); }
mvs_id mvs_build_times_one(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

bool mvs_guard_times_zero(mvs_match *match) { return mvs_other_than_constant(match, 0); }
mvs_id mvs_build_times_zero(mvs_graph *graph, const mvs_match *match) {
  return mvs_filled(graph, 0, &match->node->type, match->node->span);
}

bool mvs_guard_times_minus_one(mvs_match *match) { return mvs_other_than_constant(match, -1); }
mvs_id mvs_build_times_minus_one(mvs_graph *graph, const mvs_match *match) {
  return becomes_minus_a(graph, match);
}

/* Division and subtraction are not symmetric: notes the first operand in a. */
static bool second_is(mvs_match *match, double value) {
  double found;
  match->a = match->node->inputs[0];
  return mvs_constant_value(match->graph, match->node->inputs[1], &found) && found == value;
}

bool mvs_guard_over_one(mvs_match *match) { return second_is(match, 1); }
mvs_id mvs_build_over_one(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

bool mvs_guard_plus_zero(mvs_match *match) { return mvs_other_than_constant(match, 0); }
mvs_id mvs_build_plus_zero(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* Zero on either side; number says that it is on the left. */
bool mvs_guard_minus_zero(mvs_match *match) {
  match->number = 0;
  if (second_is(match, 0)) return true;
  double found;
  match->number = 1;
  match->a = match->node->inputs[1];
  return mvs_constant_value(match->graph, match->node->inputs[0], &found) && found == 0;
}
mvs_id mvs_build_minus_zero(mvs_graph *graph, const mvs_match *match) {
  return match->number ? becomes_minus_a(graph, match) : becomes_a(graph, match);
}

/* --- signs and scales --- */

/* The negation of a negation. */
bool mvs_guard_neg_neg(mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  match->a = inner->op == MVS_OP_neg ? inner->inputs[0] : MVS_NONE;
  return inner->op == MVS_OP_neg;
}
mvs_id mvs_build_neg_neg(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* One of the two is negated: a - b with b the one under the minus. */
bool mvs_guard_add_neg(mvs_match *match) {
  for (int i = 1; i >= 0; i--) {
    const mvs_node *input = mvs_match_input(match, i);
    if (input->op != MVS_OP_neg) continue;
    match->a = match->node->inputs[1 - i];
    match->b = input->inputs[0];
    return true;
  }
  return false;
}
mvs_id mvs_build_add_neg(mvs_graph *graph, const mvs_match *match) {
  return mvs_build_binary(graph, MVS_OP_sub, match->a, match->b, match->node->span);
}

/* What is subtracted is negated. */
bool mvs_guard_sub_neg(mvs_match *match) {
  const mvs_node *second = mvs_match_input(match, 1);
  if (second->op != MVS_OP_neg) return false;
  match->a = match->node->inputs[0];
  match->b = second->inputs[0];
  return true;
}
mvs_id mvs_build_sub_neg(mvs_graph *graph, const mvs_match *match) {
  return mvs_build_binary(graph, MVS_OP_add, match->a, match->b, match->node->span);
}

/* Splits x * c with a number c; false when the node is no such product. */
static bool scaled(const mvs_graph *graph, const mvs_node *node, mvs_id *x, double *by) {
  if (node->op != MVS_OP_mul) return false;
  for (int i = 0; i < 2; i++) {
    const mvs_node *factor = mvs_graph_node(graph, node->inputs[i]);
    if (factor->op != MVS_OP_constant) continue;
    *by = factor->attr.constant.value;
    *x = node->inputs[1 - i];
    return true;
  }
  return false;
}

/* A product with a number of a product with a number, both floats:
 *   mul (mul %x, 0.5), 0.25   ->   mul %x, 0.125 */
bool mvs_guard_scale_scale(mvs_match *match) {
  mvs_id inner;
  double first, second;
  if (match->node->type.dtype == MVS_I32) return false;
  if (!scaled(match->graph, match->node, &inner, &second)) return false;
  if (!scaled(match->graph, mvs_graph_node(match->graph, inner), &match->a, &first))
    return false;
  match->value = first * second;
  return isfinite(match->value);
}
mvs_id mvs_build_scale_scale(mvs_graph *graph, const mvs_match *match) {
  mvs_attr attr = {.constant = {match->value, match->node->type.dtype}};
  mvs_id by = mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &attr, match->node->span);
  mvs_id made = mvs_build_binary(graph, MVS_OP_mul, match->a, by, match->node->span);
  return mvs_fit(graph, made, &match->node->type, match->node->span);
}

/* --- casts --- */

/* The dtype stays. */
bool mvs_guard_cast_same(mvs_match *match) {
  match->a = match->node->inputs[0];
  return mvs_match_input(match, 0)->type.dtype == match->node->type.dtype;
}
mvs_id mvs_build_cast_same(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* True for casts that keep every value exactly: bf16 is f32 without its last 16 bits. */
static bool widens(const mvs_graph *graph, const mvs_node *cast) {
  if (cast->op != MVS_OP_cast) return false;
  mvs_dtype from = mvs_graph_type(graph, cast->inputs[0])->dtype;
  if (from == MVS_BF16) return cast->type.dtype == MVS_F32 || cast->type.dtype == MVS_F64;
  return from == MVS_F32 && cast->type.dtype == MVS_F64;
}

/* The input was widened only to be cast again:
 *   cast bf16 (cast f32 x)   ->   x            by "cast to itself", in the next step */
bool mvs_guard_cast_widened(mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  if (!widens(match->graph, inner)) return false;
  match->a = inner->inputs[0];
  return true;
}
mvs_id mvs_build_cast_widened(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* An op that computes, one of whose inputs is a bf16 value cast to f32, and whose type stays
 * the same without the cast:
 *   %2 = cast %x : f32,  %3 = mul %2, %y : f32   ->   %3 = mul %x, %y : f32
 * The value then has one node and one place, in 2 bytes an element, whoever reads it. */
bool mvs_guard_widening(mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_op_class op_class = mvs_ops[node->op].op_class;
  bool computes =
      (op_class == MVS_CLASS_ELEMENT && mvs_is_element(node) && node->op != MVS_OP_cast) ||
      op_class == MVS_CLASS_REDUCE || op_class == MVS_CLASS_SEGMENT;
  if (!computes) return false;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_node *cast = mvs_match_input(match, i);
    mvs_type type;
    if (!widens(match->graph, cast) || cast->type.dtype != MVS_F32) continue;
    if (!mvs_type_with_input(match, i, cast->inputs[0], &type)) continue;
    if (!mvs_type_equal(&type, &node->type)) continue;
    match->a = cast->inputs[0];
    match->number = i;
    return true;
  }
  return false;
}

/* The node with input `number` replaced by a. */
static mvs_id with_input(mvs_graph *graph, const mvs_match *match) {
  mvs_id inputs[3];
  for (int i = 0; i < match->node->input_count; i++) {
    inputs[i] = i == match->number ? match->a : match->node->inputs[i];
  }
  return mvs_again(graph, match, inputs);
}

mvs_id mvs_build_widening(mvs_graph *graph, const mvs_match *match) {
  return with_input(graph, match);
}

/* --- stretches --- */

/* An elementwise op whose type stays the same when one operand is not stretched first:
 *   mul (broadcast %row), %x   ->   mul %row, %x
 * One operand has to keep the result's shape, which the type says. normalize is left alone, as
 * everywhere in these rules: its two inputs belong together (verify_rules.def). */
bool mvs_guard_stretch_implied(mvs_match *match) {
  const mvs_node *node = match->node;
  if (!mvs_is_element(node) || node->input_count < 2 || node->op == MVS_OP_normalize) {
    return false;
  }
  for (int i = 0; i < node->input_count; i++) {
    const mvs_node *stretch = mvs_match_input(match, i);
    mvs_type type;
    if (stretch->op != MVS_OP_broadcast) continue;
    if (!mvs_type_with_input(match, i, stretch->inputs[0], &type)) continue;
    if (!mvs_type_equal(&type, &node->type)) continue;
    match->a = stretch->inputs[0];
    match->number = i;
    return true;
  }
  return false;
}
mvs_id mvs_build_stretch_implied(mvs_graph *graph, const mvs_match *match) {
  return with_input(graph, match);
}

/* A stretch of a stretch, or to the type there is. */
bool mvs_guard_stretch_same(mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  match->a = inner->op == MVS_OP_broadcast ? inner->inputs[0] : match->node->inputs[0];
  return inner->op == MVS_OP_broadcast || mvs_type_equal(&inner->type, &match->node->type);
}
mvs_id mvs_build_stretch_same(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* An elementwise op all of whose inputs are stretched or numbers:
 *   exp (broadcast %row) : f32[B, T, C]   ->   broadcast (exp %row)
 * Work is done once per element of the row; the stretch goes on upwards until some op implies
 * it. */
bool mvs_guard_stretch_last(mvs_match *match) {
  const mvs_node *node = match->node;
  if (!mvs_is_element(node) || node->op == MVS_OP_normalize) return false;
  bool any = false;
  for (int i = 0; i < node->input_count; i++) {
    mvs_op op = mvs_match_input(match, i)->op;
    if (op != MVS_OP_broadcast && op != MVS_OP_constant) return false;
    any = any || op == MVS_OP_broadcast;
  }
  return any && node->input_count <= 3;
}
mvs_id mvs_build_stretch_last(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id inputs[3];
  for (int i = 0; i < node->input_count; i++) {
    const mvs_node *input = mvs_match_input(match, i);
    inputs[i] = input->op == MVS_OP_broadcast ? input->inputs[0] : node->inputs[i];
  }
  return mvs_fit(graph, mvs_again(graph, match, inputs), &node->type, node->span);
}
