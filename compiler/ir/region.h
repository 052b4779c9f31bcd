/* region.h: the stack as one op. Depth is a region, never copies.
 *
 * A region node runs its body `count` times, for layer = 0, 1, ... or, when `reverse`, for
 * layer = count-1, ..., 0. In the outer graph its inputs are, in this order:
 *     carried initial values [carried_count], invariants [invariant_count],
 *     stacked inputs [stacked_count], each with a leading plain axis of extent `count`.
 * Inside the body, MVS_OP_argument nodes name them (index within their kind; stacked ones
 * without the leading axis). The results of the body graph are, in this order:
 *     carried values for the next layer run [carried_count],
 *     stacked outputs [output_count] (collected over layers).
 * The results of the region node, taken with `get`, are in the same order: final carried
 * values, then stacked outputs with a leading axis of extent `count`, ordered by layer number.
 *
 * A read is a stacked output of this same region at an earlier iteration: reads[i] names output
 * o and distance d >= 1; in the body, argument {READ, i} is output o of layer - d (layer + d
 * when reverse), and zeros where that layer does not exist. Gradients of a read at distance d
 * are again a read at distance d of the reverse region, so the form is closed under
 * differentiation.
 *
 * Gradient rule by part: carried -> carried; invariant -> a carried sum; stacked input ->
 * stacked output; stacked output -> stacked input; read -> a stacked output of the reverse
 * region that the reverse region reads at the same distance and adds to that output's
 * gradient. */
#ifndef MVS_IR_REGION_H
#define MVS_IR_REGION_H

#include "compiler/ir/graph.h"

/* Twice what a stack may ask for: the gradient of a read is sometimes two. */
#define MVS_MAX_READS 128

typedef struct mvs_read {
  uint32_t output;  /* among the stacked outputs */
  int64_t distance; /* in layers, >= 1 */
} mvs_read;

typedef struct mvs_region {
  const char *label; /* "blocks" */
  int64_t count;
  bool reverse;
  uint32_t carried_count, invariant_count, stacked_count, output_count, read_count;
  mvs_read reads[MVS_MAX_READS];
  mvs_graph *body;
  /* Set on a backward region: the forward region whose values it may redo (see recompute). */
  const struct mvs_region *forward;
  mvs_span span;
} mvs_region;

/* Makes a region with an empty body graph in the arena of `outer`. */
mvs_region *mvs_region_new(mvs_graph *outer, const char *label, int64_t count, bool reverse,
                           mvs_span span);
/* Adds an argument node to a body. `type` is the type inside. Counts in the region are the
 * caller's to keep up to date. */
mvs_id mvs_region_argument(mvs_region *region, mvs_argument_kind kind, uint32_t index,
                           const mvs_type *type, mvs_span span);
/* Makes the outer type of a stacked value (leading axis `count`) from its inner type. Segments
 * describe axis 1 only, so a stacked type has none; the argument inside says its own again. */
mvs_type mvs_region_stack_type(const mvs_region *region, const mvs_type *inner);
/* The inner type of a stacked outer type, without segments. */
mvs_type mvs_region_slice_type(const mvs_type *outer);

#endif
