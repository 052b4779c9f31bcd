/* simplify_means.c: the algebra of token means (docs/numerics.md): a mean or sum over the
 * tokens of a segment moves through everything that those tokens share.
 *
 * The backward pass of a merge asks for sums of beta * d, of (alpha - beta) * d and the like,
 * all of one cotangent d. With these rules they are one pass over d and arithmetic on S rows a
 * sample. Types: x [B, T, C] with a table of S segments, m [B, S, C]. */
#include "compiler/passes/simplify.h"

#define TOKEN_AXIS 1
/* Nesting of a linear combination; deeper ones are left alone. Both sides of a sum are walked,
 * so that sums of a value with itself (%2 = add %1, %1, ...) are walked 2^16 times at worst. */
#define MAX_TERMS 16

/* True when a value, right-aligned to `rank` axes, is the same for all tokens of a segment: it
 * has no token axis, or one of extent 1, or repeats its segment's row. The one token of a
 * segment is no such value: it has segments, which rows have not. */
static bool tokens_share(const mvs_graph *graph, mvs_id id, int rank) {
  const mvs_node *node = mvs_graph_node(graph, id);
  int own = TOKEN_AXIS - (rank - node->type.rank);
  if (own < 0) return true;
  mvs_dim tokens = node->type.dims[own];
  if (tokens.size == 1 && !tokens.per_batch && !node->type.segments) return true;
  return node->op == MVS_OP_segment_broadcast && node->type.rank == rank;
}

/* A shared value as it stands against rows of segments instead of tokens. */
static mvs_id shared_row(const mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  return node->op == MVS_OP_segment_broadcast ? node->inputs[0] : id;
}

/* The one value that a linear combination with shared factors is made of; the node itself when
 * there is no such value below it. Of (a * d - b * d) / c, with a, b, c shared, it is d. */
static mvs_id base_of(const mvs_graph *graph, mvs_id id, int depth) {
  const mvs_node *node = mvs_graph_node(graph, id);
  int rank = node->type.rank;
  if (depth > MAX_TERMS) return id;
  switch (node->op) {
    case MVS_OP_neg:
      return base_of(graph, node->inputs[0], depth + 1);
    case MVS_OP_add:
    case MVS_OP_sub: {
      mvs_id left = base_of(graph, node->inputs[0], depth + 1);
      mvs_id right = base_of(graph, node->inputs[1], depth + 1);
      return left == right ? left : id;
    }
    case MVS_OP_mul:
      if (tokens_share(graph, node->inputs[0], rank)) {
        return base_of(graph, node->inputs[1], depth + 1);
      }
      if (tokens_share(graph, node->inputs[1], rank)) {
        return base_of(graph, node->inputs[0], depth + 1);
      }
      return id;
    case MVS_OP_div:
      if (!tokens_share(graph, node->inputs[1], rank)) return id;
      return base_of(graph, node->inputs[0], depth + 1);
    default:
      return id;
  }
}

/* The combination with `row`, one per segment, in the place of its base; it has to tell factors
 * from terms exactly as base_of does. Of two shared factors the first is the factor. */
static mvs_id combine(mvs_graph *graph, mvs_id id, mvs_id base, mvs_id row) {
  if (id == base) return row;
  const mvs_node *node = mvs_graph_node(graph, id);
  if (node->op == MVS_OP_neg) {
    mvs_id inner = combine(graph, node->inputs[0], base, row);
    return mvs_build_unary(graph, MVS_OP_neg, inner, node->span);
  }
  mvs_id inputs[2];
  bool both = node->op == MVS_OP_add || node->op == MVS_OP_sub;
  for (int i = 0; i < 2; i++) {
    bool shared = !both && tokens_share(graph, node->inputs[i], node->type.rank);
    if (node->op == MVS_OP_div) shared = i == 1;
    if (node->op == MVS_OP_mul && i == 1) {
      shared = !tokens_share(graph, node->inputs[0], node->type.rank);
    }
    inputs[i] = shared ? shared_row(graph, node->inputs[i])
                       : combine(graph, node->inputs[i], base, row);
  }
  return mvs_build_binary(graph, node->op, inputs[0], inputs[1], node->span);
}

/* A combination of one value with shared factors, none of which stretches it: the mean of a
 * column d [B, T, 1] against a row [C] would be taken for C channels instead of one.
 *   segment_mean (sub (mul %d, %a), (mul %b, %d))   ->   %m = segment_mean %d
 *                                                        sub (mul %m, %a), (mul %b, %m)
 * A shared row m stretched over tokens counts as a factor and becomes m itself. */
static bool guard_scaled(mvs_match *match) {
  mvs_id input = match->node->inputs[0];
  match->a = base_of(match->graph, input, 0);
  if (match->a == input) return false;
  const mvs_type *base = mvs_graph_type(match->graph, match->a);
  const mvs_type *whole = mvs_graph_type(match->graph, input);
  return mvs_type_same_shape(base, whole) && base->segments == whole->segments;
}

/* The sum or mean of the base alone, combined as its tokens were. */
static mvs_id build_scaled(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id row = mvs_build_unary(graph, node->op, match->a, node->span);
  return combine(graph, node->inputs[0], match->a, row);
}

bool mvs_guard_mean_of_scaled(mvs_match *match) { return guard_scaled(match); }
mvs_id mvs_build_mean_of_scaled(mvs_graph *graph, const mvs_match *match) {
  return build_scaled(graph, match);
}
bool mvs_guard_sum_of_scaled(mvs_match *match) { return guard_scaled(match); }
mvs_id mvs_build_sum_of_scaled(mvs_graph *graph, const mvs_match *match) {
  return build_scaled(graph, match);
}

static bool input_is(mvs_match *match, mvs_op op) {
  const mvs_node *inner = mvs_match_input(match, 0);
  if (inner->op != op) return false;
  match->a = inner->inputs[0];
  return true;
}

bool mvs_guard_mean_of_rows(mvs_match *match) {
  return input_is(match, MVS_OP_segment_broadcast);
}
mvs_id mvs_build_mean_of_rows(mvs_graph *graph, const mvs_match *match) {
  return mvs_fit(graph, match->a, &match->node->type, match->node->span);
}
bool mvs_guard_sum_of_spread(mvs_match *match) {
  return input_is(match, MVS_OP_segment_spread);
}
mvs_id mvs_build_sum_of_spread(mvs_graph *graph, const mvs_match *match) {
  return mvs_fit(graph, match->a, &match->node->type, match->node->span);
}

/* --- work on rows --- */

/* An elementwise op on rows stretched to their tokens, and on values that tokens share:
 *   mul %alpha, (sub (segment_broadcast %f), (segment_broadcast %x))
 *     ->   segment_broadcast (mul %alpha, (sub %f, %x))
 * S rows are computed instead of T, and the gradient of a stretched row is one sum by segment,
 * where that of each token would be stored first. */
bool mvs_guard_rows_combined(mvs_match *match) {
  const mvs_node *node = match->node;
  if (!mvs_is_element(node) || node->op == MVS_OP_normalize || node->input_count > 3)
    return false;
  int rank = node->type.rank;
  bool any = false;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_node *input = mvs_match_input(match, i);
    if (input->op == MVS_OP_segment_broadcast && input->type.rank == rank) {
      any = true;
    } else if (!tokens_share(match->graph, node->inputs[i], rank)) {
      return false;
    }
  }
  return any && node->type.segments;
}

mvs_id mvs_build_rows_combined(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id inputs[3];
  for (int i = 0; i < node->input_count; i++) inputs[i] = shared_row(graph, node->inputs[i]);
  mvs_id row = mvs_again(graph, match, inputs);
  mvs_attr table = {.segments = {node->type.segments}};
  return mvs_graph_add(graph, MVS_OP_segment_broadcast, &row, 1, &table, node->span);
}

/* --- sums over tokens --- */

/* A sum over the token axis alone of a value with segments:
 *   sum axes(1) %x   ->   sum axes(1) (segment_sum %x)
 * The outer sum has S terms, which sum_of_few turns into additions. It fixes the order of the
 * sum too (docs/numerics.md, "Reduction trees"), so nothing but the type may decide it. Segment
 * ops are f32; the last axis is left to sums by rows. */
bool mvs_guard_sum_by_segment(mvs_match *match) {
  const mvs_type *type = &mvs_match_input(match, 0)->type;
  return match->node->attr.axes.mask == 1u << TOKEN_AXIS && type->segments &&
         type->dtype != MVS_F64 && type->dtype != MVS_I32 && type->rank > TOKEN_AXIS + 1;
}

mvs_id mvs_build_sum_by_segment(mvs_graph *graph, const mvs_match *match) {
  mvs_span span = match->node->span;
  mvs_id rows = mvs_build_unary(graph, MVS_OP_segment_sum, match->node->inputs[0], span);
  return mvs_build_sum(graph, rows, 1u << TOKEN_AXIS, span);
}
