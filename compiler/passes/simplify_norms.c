/* simplify_norms.c: RMS norms, recognised in their spellings.
 *
 *   %2 = mul %x, %x            %r = inv_rms eps %x
 *   %3 = sum axes(last) %2     %y = normalize %x, %r
 *   %4 = mul %3, 1/n
 *   %5 = add %4, eps     ->    The gradient of normalize needs y and r alone (arXiv 2605.06169:
 *   %r = rsqrt %5              r (g - y mean(g y)), eps included), so that x, the sum of the
 *   %y = mul %x, %r            merge, is not kept for it.
 *
 * Each of the two steps is a rule: a product with the r of another value is no norm, but its
 * inv_rms still is one reduction with one gradient. */
#include <math.h>

#include "compiler/passes/simplify.h"

/* How near 1/n, in parts of it, a factor counts as 1/n: covers its rounding, and no other
 * extent, whose share differs by 1/n at least (rows have less than 10^9 elements). */
#define SAME_SHARE 1e-9

static const mvs_node *input_node(const mvs_graph *graph, const mvs_node *node, int index) {
  return mvs_graph_node(graph, node->inputs[index]);
}

/* sum over the last axis of x * x: notes x and the extent. */
static bool square_sum(const mvs_graph *graph, const mvs_node *sum, mvs_id *x, double *extent) {
  if (sum->op != MVS_OP_sum) return false;
  const mvs_node *square = input_node(graph, sum, 0);
  if (square->op != MVS_OP_mul || square->inputs[0] != square->inputs[1]) return false;
  const mvs_type *type = mvs_graph_type(graph, square->inputs[0]);
  if (type->rank == 0 || sum->attr.axes.mask != 1u << (type->rank - 1)) return false;
  *x = square->inputs[0];
  *extent = (double)type->dims[type->rank - 1].size;
  return !type->dims[type->rank - 1].per_batch;
}

/* mean over the last axis of x^2, as sum * (1/n), (1/n) * sum or sum / n. A mean of other
 * elements than all of the row is no rms: so the factor is compared with the extent. */
static bool mean_square(const mvs_graph *graph, const mvs_node *mean, mvs_id *x) {
  double extent, factor;
  if (mean->op == MVS_OP_div) {
    return square_sum(graph, input_node(graph, mean, 0), x, &extent) &&
           mvs_constant_value(graph, mean->inputs[1], &factor) && factor == extent;
  }
  if (mean->op != MVS_OP_mul) return false;
  for (int i = 0; i < 2; i++) {
    if (mvs_constant_value(graph, mean->inputs[i], &factor) &&
        square_sum(graph, input_node(graph, mean, 1 - i), x, &extent)) {
      return fabs(factor * extent - 1) < SAME_SHARE;
    }
  }
  return false;
}

/* mean(x^2) + eps, either way round. A user may add any number; inv_rms has an eps that keeps
 * what is under the root from being negative (verify_rules.def). */
static bool stable_mean_square(const mvs_graph *graph, const mvs_node *add, mvs_id *x,
                               double *epsilon) {
  if (add->op != MVS_OP_add) return false;
  for (int i = 0; i < 2; i++) {
    if (mvs_constant_value(graph, add->inputs[i], epsilon) && *epsilon >= 0 &&
        isfinite(*epsilon) && mean_square(graph, input_node(graph, add, 1 - i), x)) {
      return add->type.dtype == MVS_F32;
    }
  }
  return false;
}

static mvs_id build_inv_rms(mvs_graph *graph, mvs_id x, double epsilon, mvs_span span) {
  mvs_attr attr = {.epsilon = {epsilon}};
  return mvs_graph_add(graph, MVS_OP_inv_rms, &x, 1, &attr, span);
}

/* Only f32: an f64 norm is no op of its own. */
bool mvs_guard_inverse_rms(mvs_match *match) {
  return stable_mean_square(match->graph, mvs_match_input(match, 0), &match->a, &match->value);
}
mvs_id mvs_build_inverse_rms(mvs_graph *graph, const mvs_match *match) {
  return build_inv_rms(graph, match->a, match->value, match->node->span);
}

/* a / sqrt(mean(x^2) + eps)   ->   a * inv_rms(x); with any numerator, since rms normalise then
 * looks at the product. One rounding more than a division, the same as rsqrt spelt out. */
bool mvs_guard_over_rms(mvs_match *match) {
  const mvs_node *root = mvs_match_input(match, 1);
  return root->op == MVS_OP_sqrt && match->node->type.dtype == MVS_F32 &&
         stable_mean_square(match->graph, input_node(match->graph, root, 0), &match->a,
                            &match->value);
}
mvs_id mvs_build_over_rms(mvs_graph *graph, const mvs_match *match) {
  mvs_span span = match->node->span;
  mvs_id scale = build_inv_rms(graph, match->a, match->value, span);
  return mvs_build_binary(graph, MVS_OP_mul, match->node->inputs[0], scale, span);
}

/* x * r where r is the inverse rms of that very x. */
bool mvs_guard_rms_normalize(mvs_match *match) {
  for (int i = 0; i < 2; i++) {
    const mvs_node *scale = mvs_match_input(match, i);
    match->a = match->node->inputs[1 - i];
    match->b = match->node->inputs[i];
    if (scale->op == MVS_OP_inv_rms && scale->inputs[0] == match->a) {
      return match->node->type.dtype == MVS_F32;
    }
  }
  return false;
}
mvs_id mvs_build_rms_normalize(mvs_graph *graph, const mvs_match *match) {
  return mvs_build_binary(graph, MVS_OP_normalize, match->a, match->b, match->node->span);
}

/* inv_rms (concat %a, %b)   ->   rsqrt ((sum(a a) + sum(b b)) * (1/n) + eps)
 * so that a rotated head, whose halves are computed apart, is never put together. Equal parts,
 * because then element_by_parts takes the norm itself apart too. Late: by now the gradient was
 * taken of the norm as a whole. */
bool mvs_guard_rms_by_parts(mvs_match *match) {
  return mvs_has_equal_parts(match->graph, mvs_match_input(match, 0));
}
mvs_id mvs_build_rms_by_parts(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *concat = mvs_match_input(match, 0);
  mvs_span span = match->node->span;
  int last = concat->type.rank - 1;
  mvs_id total = MVS_NONE;
  for (int i = 0; i < concat->input_count; i++) {
    mvs_id part = concat->inputs[i];
    mvs_id square = mvs_build_binary(graph, MVS_OP_mul, part, part, span);
    mvs_id sum = mvs_build_sum(graph, square, 1u << last, span);
    total = total == MVS_NONE ? sum : mvs_build_binary(graph, MVS_OP_add, total, sum, span);
  }
  mvs_id share = mvs_build_constant(graph, 1.0 / (double)concat->type.dims[last].size);
  mvs_id epsilon = mvs_build_constant(graph, match->node->attr.epsilon.value);
  mvs_id mean = mvs_build_binary(graph, MVS_OP_mul, total, share, span);
  mvs_id stable = mvs_build_binary(graph, MVS_OP_add, mean, epsilon, span);
  return mvs_build_unary(graph, MVS_OP_rsqrt, stable, span);
}
