/* simplify_writers.c: token means taken through the linear map that writes a branch, for
 * --means writer (docs/numerics.md, "Token means"; arXiv 2605.06169, section 2).
 *
 * With F = y W^T the branch and a merge that uses F and mean(F),
 *
 *   mean(F) = mean(y) W^T         F's cotangent is then r * Delta alone, r a row of factors
 *   r * F = y (r * W)^T           a gain that alone takes F moves into the weight
 *   dW = r * (Delta^T y) + ...    other factors: rows scaled after the product
 *   dy = Delta (r * W) + ...      and the weight scaled before it
 *
 * so Delta itself enters both products, no tensor of the branch's cotangent is ever formed, and
 * the gradient of a gain comes from Delta^T y, which the weight's gradient needs anyway.
 * What the means add comes in as products of one row per segment, in f32. */
#include "compiler/passes/simplify.h"

#define TOKEN_AXIS 1
#define PARTS      3 /* bf16 parts of an f32 number: 3 x 8 bits hold its 24 */

static const mvs_node *input_of(const mvs_graph *graph, const mvs_node *node, int index) {
  return mvs_graph_node(graph, node->inputs[index]);
}

/* --- the mean of a product is the product of the mean --- */

/* The product that is averaged, perhaps through a reshape that only names its segments: a
 * reshape to another shape could move elements from one token to another. */
static const mvs_node *averaged(const mvs_graph *graph, const mvs_node *mean) {
  const mvs_node *value = input_of(graph, mean, 0);
  if (value->op != MVS_OP_reshape) return value;
  const mvs_node *inner = input_of(graph, value, 0);
  return mvs_type_same_shape(&inner->type, &value->type) ? inner : value;
}

/* y [B, T, K] by tokens and a weight [N, K] that all samples share: with a weight by sample, or
 * with tokens contracted, the mean is no mean of y. */
bool mvs_guard_mean_of_product(mvs_match *match) {
  const mvs_node *product = averaged(match->graph, match->node);
  if (product->op != MVS_OP_matmul || product->attr.matmul.form != MVS_MATMUL_NT) return false;
  const mvs_type *y = mvs_graph_type(match->graph, product->inputs[0]);
  const mvs_type *weight = mvs_graph_type(match->graph, product->inputs[1]);
  return y->rank == 3 && y->dtype != MVS_F64 && !mvs_type_has_batch(weight) &&
         match->node->type.dtype == MVS_F32;
}

/* The mean stays f32, weight and bias are widened: rounding the mean would leave a part of it
 * in the centred signal, which matters most when tokens are nearly equal. */
mvs_id mvs_build_mean_of_product(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *product = averaged(graph, match->node);
  mvs_span span = match->node->span;
  mvs_type tokens = *mvs_graph_type(graph, product->inputs[0]);
  tokens.segments = mvs_match_input(match, 0)->type.segments;
  mvs_id y = mvs_build_reshape(graph, product->inputs[0], &tokens, span);
  mvs_id mean = mvs_build_unary(graph, MVS_OP_segment_mean, y, span);
  mvs_id weight = mvs_build_cast(graph, product->inputs[1], MVS_F32, span);
  mvs_id bias = MVS_NONE;
  if (product->input_count > 2) bias = mvs_build_cast(graph, product->inputs[2], MVS_F32, span);
  return mvs_build_matmul(graph, MVS_MATMUL_NT, mean, weight, bias, MVS_F32, span);
}

/* --- gains move into the weight --- */

/* A row of factors, the same for all samples and tokens, against a value of rank `rank`: [N],
 * [1, 1, N] or one number. */
static bool is_channel_row(const mvs_graph *graph, mvs_id id, int rank) {
  const mvs_type *type = mvs_graph_type(graph, id);
  if (mvs_type_has_batch(type) || type->rank > rank) return false;
  for (int i = 0; i + 1 < type->rank; i++) {
    if (type->dims[i].size != 1) return false;
  }
  return true;
}

/* The row as a column [N, 1] against a matrix of N rows; a single factor stays as it is. */
static mvs_id as_column(mvs_graph *graph, mvs_id row, mvs_span span) {
  const mvs_type *type = mvs_graph_type(graph, row);
  mvs_dim channels = type->rank ? type->dims[type->rank - 1] : (mvs_dim){1, false};
  mvs_dim dims[] = {channels, {1, false}};
  mvs_type column = mvs_type_make(type->dtype, 2, dims);
  return mvs_build_reshape(graph, row, &column, span);
}

/* The value that a product with factors is a part of: y W^T itself, or y W^T minus segment
 * rows. */
static const mvs_node *branch_of(const mvs_graph *graph, const mvs_node *value) {
  if (value->op == MVS_OP_sub && input_of(graph, value, 1)->op == MVS_OP_segment_broadcast) {
    value = input_of(graph, value, 0);
  }
  bool product = value->op == MVS_OP_matmul && value->attr.matmul.form == MVS_MATMUL_NT;
  return product && value->input_count == 2 ? value : NULL;
}

/* True when nothing but this multiplication takes the branch, in the graph that is rebuilt: the
 * one under construction has no users yet. With another user the branch would be computed
 * twice, with the weight as it is and with the scaled one. */
static bool taken_once(const mvs_match *match, int index) {
  if (match->copied == MVS_NONE) return false;
  const mvs_graph *from = match->source->graph;
  mvs_id value = mvs_graph_node(from, match->copied)->inputs[index];
  if (match->source->users[value] != 1) return false;
  const mvs_node *node = mvs_graph_node(from, value);
  return branch_of(from, node) &&
         (node->op == MVS_OP_matmul || match->source->users[node->inputs[0]] == 1);
}

/* Notes the row of factors in b and which input the branch is in number. */
bool mvs_guard_gain_of_writer(mvs_match *match) {
  int rank = match->node->type.rank;
  for (int i = 0; i < 2; i++) {
    match->b = match->node->inputs[1 - i];
    match->number = i;
    const mvs_node *branch = branch_of(match->graph, mvs_match_input(match, i));
    if (!branch) continue;
    if (mvs_type_has_batch(mvs_graph_type(match->graph, branch->inputs[1]))) continue;
    if (!mvs_type_same_shape(&branch->type, &match->node->type)) continue;
    if (is_channel_row(match->graph, match->b, rank) && taken_once(match, i)) return true;
  }
  return false;
}

/* The weight is scaled before it is rounded, so that it is rounded once. */
mvs_id mvs_build_gain_of_writer(mvs_graph *graph, const mvs_match *match) {
  mvs_span span = match->node->span;
  const mvs_node *value = mvs_match_input(match, (int)match->number);
  const mvs_node *branch = branch_of(graph, value);
  mvs_id weight = branch->inputs[1];
  mvs_dtype dtype = mvs_graph_type(graph, weight)->dtype;
  if (mvs_graph_node(graph, weight)->op == MVS_OP_cast) {
    weight = mvs_graph_node(graph, weight)->inputs[0];
  }
  mvs_id column = as_column(graph, match->b, span);
  mvs_id scaled = mvs_build_binary(graph, MVS_OP_mul, column, weight, span);
  scaled = mvs_build_cast(graph, scaled, dtype, span);
  mvs_id product = mvs_build_matmul(graph, MVS_MATMUL_NT, branch->inputs[0], scaled, MVS_NONE,
                                    branch->attr.matmul.dtype, span);
  /* r * (F - rows) = r * F - r * rows: what the means took from the branch is scaled apart. */
  if (value->op == MVS_OP_sub) {
    mvs_id rows =
        mvs_build_binary(graph, MVS_OP_mul, match->b, value->inputs[1], match->node->span);
    product = mvs_build_binary(graph, MVS_OP_sub, product, rows, span);
  }
  return mvs_fit(graph, product, &match->node->type, span);
}

/* --- factors of channels move from the cotangent to the weight --- */

/* cast(r * delta) to bf16 of a delta that is bf16 already: notes delta in a and r in b. Only
 * such a cast can go: delta itself enters the product with no rounding more, while of an f32
 * delta another value would be rounded. */
static bool scaled_cotangent(mvs_match *match, mvs_matmul_form form) {
  const mvs_node *node = match->node, *rounded = mvs_match_input(match, 0);
  if (node->attr.matmul.form != form || node->input_count > 2) return false;
  if (rounded->op != MVS_OP_cast || rounded->type.dtype != MVS_BF16) return false;
  const mvs_node *scaled = input_of(match->graph, rounded, 0);
  if (scaled->op != MVS_OP_mul) return false;
  for (int i = 0; i < 2; i++) {
    match->a = scaled->inputs[i];
    match->b = scaled->inputs[1 - i];
    const mvs_type *delta = mvs_graph_type(match->graph, match->a);
    if (delta->dtype == MVS_BF16 && mvs_type_same_shape(delta, &rounded->type) &&
        is_channel_row(match->graph, match->b, rounded->type.rank)) {
      return true;
    }
  }
  return false;
}

/* matmul NN (cast bf16 (mul %r, %delta)), %w
 *   ->   matmul NN %delta, (cast bf16 (mul %column, %w))        %column = %r as [N, 1]
 * delta has tokens x N elements and is written once for both products, w has N x K. */
bool mvs_guard_scaled_back(mvs_match *match) {
  return scaled_cotangent(match, MVS_MATMUL_NN) &&
         mvs_match_input(match, 1)->type.dtype == MVS_BF16;
}
mvs_id mvs_build_scaled_back(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id column = as_column(graph, match->b, node->span);
  mvs_id scaled = mvs_build_binary(graph, MVS_OP_mul, column, node->inputs[1], node->span);
  mvs_id weight = mvs_build_cast(graph, scaled, MVS_BF16, node->span);
  return mvs_build_matmul(graph, MVS_MATMUL_NN, match->a, weight, MVS_NONE,
                          node->attr.matmul.dtype, node->span);
}

/* matmul TN (cast bf16 (mul %r, %delta)), %y   ->   mul %column, (matmul TN %delta, %y)
 * f32 results alone, so that the factor meets the sum before anything rounds it. */
bool mvs_guard_scaled_weight(mvs_match *match) {
  return scaled_cotangent(match, MVS_MATMUL_TN) && match->node->type.dtype == MVS_F32;
}
mvs_id mvs_build_scaled_weight(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id product = mvs_build_matmul(graph, MVS_MATMUL_TN, match->a, node->inputs[1], MVS_NONE,
                                    MVS_F32, node->span);
  return mvs_build_binary(graph, MVS_OP_mul, as_column(graph, match->b, node->span), product,
                          node->span);
}

/* --- products of segment rows --- */

/* Rows of segments [B, S, K] in f32 against a weight that was widened from bf16. Rows without a
 * table of segments are such rows: S is a few, so that three times as many are still few. */
bool mvs_guard_rows_in_parts(mvs_match *match) {
  const mvs_node *node = match->node;
  const mvs_type *rows = mvs_graph_type(match->graph, node->inputs[0]);
  const mvs_node *weight = mvs_match_input(match, 1);
  if (node->attr.matmul.form == MVS_MATMUL_TN || node->input_count > 2) return false;
  if (rows->rank != 3 || rows->segments || rows->dtype != MVS_F32) return false;
  if (weight->op != MVS_OP_cast || node->type.dtype != MVS_F32) return false;
  match->a = weight->inputs[0];
  return mvs_graph_type(match->graph, match->a)->dtype == MVS_BF16;
}

/* x = hi + mid + lo, each bf16 and the rest exact: three products of bf16 in one, summed in
 * f32, have the precision of f32 operands at the speed of bf16. */
mvs_id mvs_build_rows_in_parts(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id parts[PARTS], rest = node->inputs[0], sum = MVS_NONE;
  int64_t count = mvs_graph_type(graph, rest)->dims[TOKEN_AXIS].size;
  for (int i = 0; i < PARTS; i++) {
    parts[i] = mvs_build_cast(graph, rest, MVS_BF16, node->span);
    if (i + 1 < PARTS) rest = mvs_build_binary(graph, MVS_OP_sub, rest, parts[i], node->span);
  }
  mvs_id rows = mvs_build_concat(graph, parts, PARTS, TOKEN_AXIS, NULL, node->span);
  mvs_id product = mvs_build_matmul(graph, node->attr.matmul.form, rows, match->a, MVS_NONE,
                                    MVS_F32, node->span);
  for (int i = PARTS - 1; i >= 0; i--) {
    mvs_id part =
        mvs_build_slice(graph, product, TOKEN_AXIS, i * count, count, NULL, node->span);
    sum = sum == MVS_NONE ? part
                          : mvs_build_binary(graph, MVS_OP_add, sum, part, node->span);
  }
  return sum;
}
