/* build_reduce.c: reductions and segment ops of a nest.
 *
 * The trees of the sums are the printers' (kernel.h); here only the order of what lies between
 * them is fixed: pieces of a row are reduced each by its tree and added in order, as
 * docs/numerics.md says of rows of a concat. */
#include "codegen/build_walk.h"

static const mvs_axes *axes_of(const walker *w) { return &w->walk->draft.axes; }

static const mvs_type *input_type(const walker *w, const mvs_node *node) {
  return mvs_graph_type(w->graph, node->inputs[0]);
}

static uint16_t push_reduce(walker *w, mvs_op op, uint16_t value, mvs_span span) {
  if (value == NO_VALUE) return NO_VALUE;
  mvs_draft *draft = &w->walk->draft;
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_REDUCE,
                                     .op = op,
                                     .dtype = draft->instrs.items[value].instr.dtype,
                                     .arguments = {value},
                                     .span = span}};
  return mvs_walk_push(w, &instr);
}

/* --- over the row --- */

/* Sums (or takes the greatest) over the last axis of node's input; `square` multiplies each
 * element with itself first. A row in several pieces is reduced piece by piece, then the pieces
 * in order:  (reduce of piece 0) + (reduce of piece 1) + ..., each a REDUCE over inner. */
static uint16_t reduce_row(walker *w, mvs_id id, mvs_op op, const mvs_node *node,
                           const mvs_index *at, bool square) {
  const mvs_type *type = input_type(w, node);
  const mvs_axes *axes = axes_of(w);
  int last = type->rank - 1;
  int64_t length = type->dims[last].size, part = axes->slots[axes->inner].dim.size;
  for (int i = 0; i < last; i++) {
    if (at->axis[i].slot[axes->inner]) return mvs_walk_fail(w, id, "it reduces no whole rows");
  }
  if (length % part != 0) return mvs_walk_fail(w, id, "its rows are not those of the kernel");
  uint16_t total = NO_VALUE;
  for (int64_t begin = 0; begin < length; begin += part) {
    mvs_index inner = *at;
    inner.axis[last] = mvs_affine_constant(begin);
    if (part > 1) inner.axis[last].slot[axes->inner] = 1;
    uint16_t value = mvs_walk_value(w, node->inputs[0], &inner);
    if (square) value = mvs_walk_binary(w, MVS_OP_mul, value, value, node->span);
    uint16_t sum = length > 1 ? push_reduce(w, op, value, node->span) : value;
    mvs_op join = op == MVS_OP_sum ? MVS_OP_add : MVS_OP_max;
    total = begin == 0 ? sum : mvs_walk_binary(w, join, total, sum, node->span);
  }
  return total;
}

/* 1 / sqrt(sum(x * x) * (1 / D) + eps): rounded at each step, as docs/numerics.md says;
 * everything after the sum happens once per row. */
static uint16_t inv_rms(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  int64_t length = input_type(w, node)->dims[node->type.rank - 1].size;
  uint16_t sum = reduce_row(w, id, MVS_OP_sum, node, at, true);
  if (sum == NO_VALUE) return NO_VALUE;
  mvs_dtype dtype = w->walk->draft.instrs.items[sum].instr.dtype;
  uint16_t scale = mvs_walk_constant(w, 1.0 / (double)length, dtype);
  uint16_t mean = mvs_walk_binary(w, MVS_OP_mul, sum, scale, node->span);
  uint16_t epsilon = mvs_walk_constant(w, node->attr.epsilon.value, dtype);
  uint16_t inside = mvs_walk_binary(w, MVS_OP_add, mean, epsilon, node->span);
  return mvs_walk_arith(w, MVS_OP_rsqrt, dtype, &inside, node->span);
}

/* --- over outer axes --- */

/* The index of the reduced operand: its reduced axes follow the sequential slots, all others
 * are those of the result. */
static bool column_index(const walker *w, const mvs_type *type, uint32_t mask,
                         const mvs_index *at, mvs_index *out) {
  const mvs_nest_plan *plan = w->walk->plan;
  *out = *at;
  for (int i = 0; i < type->rank; i++) {
    bool moves = type->dims[i].size > 1 || type->dims[i].per_batch;
    if (!(mask >> i & 1)) continue;
    if (!moves) {
      out->axis[i] = mvs_affine_constant(0);
      continue;
    }
    if (type->rank != plan->space.rank || !mvs_dim_equal(type->dims[i], plan->space.dims[i]) ||
        !(plan->reduced_axes >> i & 1)) {
      return false;
    }
    out->axis[i] = mvs_axes_index(axes_of(w), i);
  }
  return true;
}

static uint16_t reduce_columns(walker *w, mvs_id id, const mvs_node *node,
                               const mvs_index *at) {
  mvs_index inner;
  if (!column_index(w, input_type(w, node), node->attr.axes.mask, at, &inner)) {
    return mvs_walk_fail(w, id, "it reduces other axes than the kernel");
  }
  uint16_t value = mvs_walk_value(w, node->inputs[0], &inner);
  if (value == NO_VALUE) return NO_VALUE;
  /* What is reduced already has one element left along the axis. */
  if (w->walk->draft.instrs.items[value].reduced) return value;
  return push_reduce(w, node->op, value, node->span);
}

static bool only_last_axis(const mvs_node *node, const mvs_type *type) {
  for (int i = 0; i + 1 < type->rank; i++) {
    bool moves = type->dims[i].size > 1 || type->dims[i].per_batch;
    if ((node->attr.axes.mask >> i & 1) && moves) return false;
  }
  return true;
}

/* True when no reduced axis has more than one element. */
static bool nothing_to_reduce(const mvs_node *node, const mvs_type *type) {
  int last = type->rank - 1;
  bool row = last >= 0 && (node->attr.axes.mask >> last & 1) &&
             (type->dims[last].size > 1 || type->dims[last].per_batch);
  return only_last_axis(node, type) && !row;
}

/* True for the reduction that a COLUMNS nest is there for, not for one along an axis that its
 * operand has only once. */
static bool is_nest_reduction(const walker *w, const mvs_node *node, const mvs_type *type) {
  const mvs_nest_plan *plan = w->walk->plan;
  if (w->walk->draft.nest_class != MVS_KERNEL_COLUMNS || plan->by_segment ||
      type->rank != plan->space.rank || node->attr.axes.mask != plan->reduced_axes) {
    return false;
  }
  for (int i = 0; i < type->rank; i++) {
    bool reduced = plan->reduced_axes >> i & 1;
    if (reduced && !mvs_dim_equal(type->dims[i], plan->space.dims[i])) return false;
  }
  return true;
}

/* Inside a nest of columns a reduction is either the one the nest is there for or one of an
 * axis with one element; in rows it runs along the row. */
static uint16_t reduce(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  const mvs_type *type = input_type(w, node);
  /* COLUMNS store what a REDUCE made, even of one element. */
  if (is_nest_reduction(w, node, type)) return reduce_columns(w, id, node, at);
  if (nothing_to_reduce(node, type)) return mvs_walk_value(w, node->inputs[0], at);
  if (w->walk->draft.nest_class == MVS_KERNEL_COLUMNS) return reduce_columns(w, id, node, at);
  if (!only_last_axis(node, type)) return mvs_walk_fail(w, id, "it reduces more than rows");
  return reduce_row(w, id, node->op, node, at, false);
}

/* --- segments --- */

/* The segment that holds `token`, or -1. */
static int segment_of(const mvs_segments *table, int64_t token, int64_t *start) {
  *start = 0;
  for (int i = 0; i < table->count; i++) {
    if (token < *start + table->items[i].length) return i;
    *start += table->items[i].length;
  }
  return -1;
}

/* The table as a nest sees it whose first token is `begin` and which has `length` tokens: of
 * {image:16, text:4} a nest over tokens 12..19 sees {image:4, text:4}, the first of which is
 * number 0 of the whole. */
static const mvs_segments *trim_table(walker *w, const mvs_segments *table, int64_t begin,
                                      int64_t length, int *first) {
  mvs_segments *part = MVS_NEW(w->walk->arena, mvs_segments);
  int64_t start;
  *first = segment_of(table, begin, &start);
  int64_t left = length, skipped = begin - start;
  for (int i = *first; i < table->count && left > 0; i++) {
    mvs_segment item = table->items[i];
    item.length -= skipped;
    if (item.length > left) item.length = left;
    left -= item.length;
    skipped = 0;
    part->items[part->count++] = item;
  }
  return part;
}

/* The number of the segment that holds a token, when the token moves through several: the nest
 * then carries the table, trimmed to the tokens that it runs over, and the number is an index
 * that printers derive from the token (MVS_SLOT_SEGMENT). One token axis and one table a nest.
 * */
static bool moving_segment(walker *w, const mvs_segments *table, const mvs_affine *token,
                           mvs_affine *number) {
  mvs_draft *draft = &w->walk->draft;
  int slot = mvs_affine_only_slot(token);
  if (draft->nest_class == MVS_KERNEL_COLUMNS) return false;
  if (slot < 0 || slot == draft->axes.inner || slot >= MVS_AXIS_SLOTS ||
      token->slot[slot] != 1 || draft->axes.slots[slot].dim.per_batch) {
    return false;
  }
  int first;
  const mvs_segments *part =
      trim_table(w, table, token->constant, draft->axes.slots[slot].dim.size, &first);
  if (draft->segments &&
      (draft->segment_slot != slot || !mvs_segments_equal(draft->segments, part))) {
    return false;
  }
  draft->segments = part;
  draft->segment_slot = slot;
  draft->axes.slots[MVS_SLOT_SEGMENT] = (mvs_slot){MVS_ROLE_PARALLEL, {part->count, false}, -1};
  *number = mvs_affine_constant(first);
  number->slot[MVS_SLOT_SEGMENT] = 1;
  return true;
}

/* The number of the segment that holds the token: a constant where the nest runs over tokens of
 * one segment, the parallel axis of a reduction by segments, or one that moves. Where it is
 * none of these, a cut at the first border would help. */
static bool segment_number(walker *w, const mvs_segments *table, const mvs_affine *token,
                           mvs_affine *number) {
  int64_t least, greatest, start, other;
  mvs_affine_range(token, axes_of(w), &least, &greatest);
  int low = segment_of(table, least, &start), high = segment_of(table, greatest, &other);
  if (low < 0 || high < 0) return false;
  if (low == high) {
    *number = mvs_affine_constant(low);
    return true;
  }
  if (w->walk->draft.nest_class == MVS_KERNEL_COLUMNS && w->walk->plan->by_segment &&
      mvs_affine_only_slot(token) == MVS_SLOT_TOKEN && token->slot[MVS_SLOT_TOKEN] == 1) {
    *number = mvs_axes_index(axes_of(w), 1);
    return true;
  }
  if (moving_segment(w, table, token, number)) return true;
  int64_t border = start + table->items[low].length;
  mvs_affine_below(token, border, axes_of(w), &w->walk->wish);
  return false;
}

/* 1 / length of segment `number`. Where the number moves it is chosen by comparing `measure`
 * (the token, or the number itself) with the segments' ends, which needs no table in memory:
 *   token < 24 ? 1/24 : 1/5                               from the last segment to the first */
static uint16_t inverse_length(walker *w, const mvs_segments *table, const mvs_affine *number,
                               const mvs_affine *measure, bool by_token, mvs_dtype dtype) {
  int64_t length = table->items[number->constant].length;
  bool same = true;
  for (int i = 0; i < table->count; i++) same = same && table->items[i].length == length;
  if (same || mvs_affine_only_slot(number) == -1) {
    return mvs_walk_constant(w, 1.0 / (double)length, dtype);
  }
  int64_t end = mvs_segments_length(table);
  int last = table->count - 1;
  uint16_t chosen = mvs_walk_constant(w, 1.0 / (double)table->items[last].length, dtype);
  uint16_t at = mvs_walk_affine(w, measure);
  for (int i = last - 1; i >= 0; i--) {
    end -= table->items[i + 1].length;
    uint16_t border = mvs_walk_constant(w, by_token ? (double)end : i + 1.0, MVS_I32);
    uint16_t below =
        mvs_walk_arith(w, MVS_OP_less, MVS_F32, (uint16_t[]){at, border}, (mvs_span){0});
    uint16_t scale = mvs_walk_constant(w, 1.0 / (double)table->items[i].length, dtype);
    chosen = mvs_walk_arith(w, MVS_OP_select, dtype, (uint16_t[]){below, scale, chosen},
                            (mvs_span){0});
  }
  return chosen;
}

static mvs_dtype dtype_of(const walker *w, uint16_t value) {
  return w->walk->draft.instrs.items[value].instr.dtype;
}

/* The sum (or mean) of a segment's tokens: the nest's parallel token axis counts segments, its
 * sequential one runs through the tokens. The mean is the sum times 1 / length, rounded once
 * more, as docs/numerics.md has it. */
static uint16_t segment_reduce(walker *w, mvs_id id, const mvs_node *node,
                               const mvs_index *at) {
  const mvs_segments *table = input_type(w, node)->segments;
  mvs_affine number = mvs_axes_index(axes_of(w), 1);
  if (!w->walk->plan->by_segment || !table || !mvs_affine_equal(&number, &at->axis[1])) {
    return mvs_walk_fail(w, id, "it reduces other segments than the kernel");
  }
  mvs_index inner = *at;
  inner.axis[1] = mvs_affine_constant(0);
  inner.axis[1].slot[MVS_SLOT_TOKEN] = 1;
  if (table->count > 1) {
    w->walk->draft.segments = table;
    for (int i = 0; i < axes_of(w)->count; i++) {
      if (axes_of(w)->slots[i].axis == 1) w->walk->draft.segment_slot = i;
    }
  }
  uint16_t sum =
      push_reduce(w, MVS_OP_sum, mvs_walk_value(w, node->inputs[0], &inner), node->span);
  if (sum == NO_VALUE || node->op == MVS_OP_segment_sum) return sum;
  uint16_t scale = inverse_length(w, table, &number, &number, false, dtype_of(w, sum));
  return mvs_walk_binary(w, MVS_OP_mul, sum, scale, node->span);
}

/* A token's value is its segment's row: an access with a stride per segment number, so that
 * nothing is stretched in memory. No reduction runs through several segments (fuse_levels.c).
 */
static uint16_t segment_expand(walker *w, mvs_id id, const mvs_node *node,
                               const mvs_index *at) {
  const mvs_segments *table = node->attr.segments.table;
  mvs_affine number;
  if (!segment_number(w, table, &at->axis[1], &number))
    return mvs_walk_fail(w, id, "its segments do not follow the kernel's axes");
  mvs_index inner = *at;
  inner.axis[1] = number;
  uint16_t value = mvs_walk_value(w, node->inputs[0], &inner);
  if (value == NO_VALUE || node->op == MVS_OP_segment_broadcast) return value;
  bool by_token = number.slot[MVS_SLOT_SEGMENT] != 0;
  uint16_t scale = inverse_length(w, table, &number, by_token ? &at->axis[1] : &number,
                                  by_token, dtype_of(w, value));
  return mvs_walk_binary(w, MVS_OP_mul, value, scale, node->span);
}

uint16_t mvs_walk_reduction(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  switch (node->op) {
    case MVS_OP_inv_rms:
      return inv_rms(w, id, node, at);
    case MVS_OP_segment_sum:
    case MVS_OP_segment_mean:
      return segment_reduce(w, id, node, at);
    case MVS_OP_segment_broadcast:
    case MVS_OP_segment_spread:
      return segment_expand(w, id, node, at);
    default:
      return reduce(w, id, node, at);
  }
}
