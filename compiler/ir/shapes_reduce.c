/* shapes_reduce.c: shape rules of reductions, segment ops and views. A reduced axis stays with
 * extent 1, so that the result still broadcasts against the input; reducing the batch axis
 * makes a plain one of it. Reductions of bf16 give f32. Segment ops exchange the T tokens of
 * axis 1 for S rows, one for each segment, and back. Views keep the dtype; their segments are
 * those of the attribute along the token axis and those of the input along any other. */
#include <inttypes.h>

#include "compiler/ir/shapes.h"

#define TOKEN_AXIS 1

/* --- reductions --- */

/* Axes named by the mask keep extent 1, the batch too: {1, false}. Sums of bf16 are f32. */
static mvs_status reduce(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0);
  uint32_t mask = call->attr->axes.mask;
  if (mask == 0) return mvs_shape_error(call, "names no axis");
  if (mask >> x->rank) {
    return mvs_shape_mismatch(call, "names an axis that %s does not have",
                              mvs_shape_type_text(call, x));
  }
  *out = *x;
  if (x->dtype == MVS_BF16) out->dtype = MVS_F32;
  for (int i = 0; i < x->rank; i++) {
    if (mask >> i & 1) out->dims[i] = (mvs_dim){1, false};
  }
  if (mask >> TOKEN_AXIS & 1) out->segments = NULL;
  return MVS_OK;
}

/* x [..., n, ...] -> [..., 1, ...] for each axis of the mask */
mvs_status mvs_shape_of_sum(const mvs_shape_call *call, mvs_type *out) {
  return reduce(call, out);
}

/* x [..., n, ...] -> [..., 1, ...] for each axis of the mask; no rounding, but bf16 widens all
 * the same */
mvs_status mvs_shape_of_max_over(const mvs_shape_call *call, mvs_type *out) {
  return reduce(call, out);
}

/* x [..., C] -> f32[..., 1]. The mean is over a length known here: no norm is over samples. */
mvs_status mvs_shape_of_inv_rms(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0);
  MVS_TRY(mvs_shape_needs_float(call, 0));
  if (x->rank == 0) return mvs_shape_mismatch(call, "needs an axis to reduce");
  int last = x->rank - 1;
  if (x->dims[last].per_batch) {
    return mvs_shape_mismatch(call, "reduces the batch axis of %s",
                              mvs_shape_type_text(call, x));
  }
  *out = *x;
  out->dtype = MVS_F32;
  out->dims[last] = (mvs_dim){1, false};
  if (last == TOKEN_AXIS) out->segments = NULL;
  return MVS_OK;
}

/* --- segments --- */

/* x [B, T, ...] with S segments -> f32[B, S, ...] */
static mvs_status segment_reduce(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0);
  MVS_TRY(mvs_shape_needs_float(call, 0));
  if (!x->segments) {
    return mvs_shape_mismatch(call, "%s has no segments", mvs_shape_type_text(call, x));
  }
  *out = *x;
  out->dtype = MVS_F32;
  out->dims[TOKEN_AXIS] = (mvs_dim){x->segments->count, false};
  out->segments = NULL;
  return MVS_OK;
}

/* x [B, T, ...] -> f32[B, S, ...] */
mvs_status mvs_shape_of_segment_sum(const mvs_shape_call *call, mvs_type *out) {
  return segment_reduce(call, out);
}

/* x [B, T, ...] -> f32[B, S, ...]: the sums over the lengths of their segments */
mvs_status mvs_shape_of_segment_mean(const mvs_shape_call *call, mvs_type *out) {
  return segment_reduce(call, out);
}

/* m [B, S, ...] and a table of S segments -> [B, T, ...] with these segments. Rows have none of
 * their own: a value that has is one by token, even where a segment has one. */
static mvs_status segment_expand(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *m = mvs_shape_input(call, 0);
  const mvs_segments *table = call->attr->segments.table;
  MVS_TRY(mvs_shape_needs_float(call, 0));
  if (!table) return mvs_shape_error(call, "has no table of segments");
  if (m->rank < 2 || m->segments || m->dims[TOKEN_AXIS].per_batch ||
      m->dims[TOKEN_AXIS].size != table->count) {
    return mvs_shape_mismatch(call, "%s does not hold one row for each of %d segments",
                              mvs_shape_type_text(call, m), table->count);
  }
  *out = *m;
  out->dims[TOKEN_AXIS] = (mvs_dim){mvs_segments_length(table), false};
  out->segments = table;
  return MVS_OK;
}

/* Copies rows, so the dtype stays. */
mvs_status mvs_shape_of_segment_broadcast(const mvs_shape_call *call, mvs_type *out) {
  return segment_expand(call, out);
}

/* Divides, so the result is f32 like that of every computing op. */
mvs_status mvs_shape_of_segment_spread(const mvs_shape_call *call, mvs_type *out) {
  MVS_TRY(segment_expand(call, out));
  out->dtype = MVS_F32;
  return MVS_OK;
}

/* --- views --- */

/* The same elements in row-major order; the batch may join another axis but not vanish. */
mvs_status mvs_shape_of_reshape(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0), *to = &call->attr->shape.type;
  bool from_batch, to_batch;
  MVS_TRY(mvs_shape_check_type(call, to));
  int64_t from_count = mvs_type_elements(x, &from_batch);
  int64_t to_count = mvs_type_elements(to, &to_batch);
  if (from_count != to_count || from_batch != to_batch) {
    return mvs_shape_mismatch(call, "%s holds %" PRId64 "%s elements, %s holds %" PRId64 "%s",
                              mvs_shape_type_text(call, x), from_count, from_batch ? "*B" : "",
                              mvs_shape_type_text(call, to), to_count, to_batch ? "*B" : "");
  }
  *out = *to;
  out->dtype = x->dtype;
  return MVS_OK;
}

/* Result axis i is input axis order[i]; segments stay while the token axis does. */
mvs_status mvs_shape_of_transpose(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0);
  int rank = call->attr->permutation.rank;
  const uint8_t *axes = call->attr->permutation.axis;
  uint32_t seen = 0;
  *out = *x;
  bool valid = rank == x->rank;
  for (int i = 0; valid && i < rank; i++) {
    valid = axes[i] < rank && !(seen >> axes[i] & 1);
    if (!valid) break;
    seen |= 1u << axes[i];
    out->dims[i] = x->dims[axes[i]];
  }
  if (!valid) {
    return mvs_shape_mismatch(call, "does not name each axis of %s once",
                              mvs_shape_type_text(call, x));
  }
  if (rank > TOKEN_AXIS && axes[TOKEN_AXIS] != TOKEN_AXIS) out->segments = NULL;
  return MVS_OK;
}

/* The table after a change along `axis`: along the token axis it is the attribute's; along any
 * other the tokens stay as they were. */
static mvs_status view_segments(const mvs_shape_call *call, int axis,
                                const mvs_segments *wanted, mvs_type *out) {
  if (axis == TOKEN_AXIS) {
    out->segments = wanted;
  } else if (wanted && out->segments && wanted != out->segments) {
    return mvs_shape_mismatch(call, "segments differ from those of the input");
  } else if (wanted) {
    out->segments = wanted;
  }
  return MVS_OK;
}

/* Fails unless the axis exists and has the same extent for every batch. */
static mvs_status plain_axis(const mvs_shape_call *call, const mvs_type *x, int axis) {
  if (axis < 0 || axis >= x->rank) {
    return mvs_shape_mismatch(call, "%s has no axis %d", mvs_shape_type_text(call, x), axis);
  }
  if (x->dims[axis].per_batch) {
    return mvs_shape_mismatch(call, "axis %d of %s is the batch", axis,
                              mvs_shape_type_text(call, x));
  }
  return MVS_OK;
}

/* Fails unless [start, start + length) lies in [0, total) and is not empty. */
static mvs_status check_window(const mvs_shape_call *call) {
  int64_t start = call->attr->slice.start, length = call->attr->slice.length, end;
  int64_t total = call->attr->slice.total;
  if (start >= 0 && length >= 1 && mvs_add(start, length, &end) && end <= total) return MVS_OK;
  return mvs_shape_error(call,
                         "%" PRId64 " elements from %" PRId64 " on leave an axis of %" PRId64,
                         length, start, total);
}

/* A slice takes `total` elements to `length`, a pad the other way round. */
static mvs_status window(const mvs_shape_call *call, int64_t from, int64_t to, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0);
  int axis = call->attr->slice.axis;
  MVS_TRY(plain_axis(call, x, axis));
  MVS_TRY(check_window(call));
  if (x->dims[axis].size != from) {
    return mvs_shape_mismatch(call, "axis %d has %" PRId64 " elements, not %" PRId64, axis,
                              x->dims[axis].size, from);
  }
  *out = *x;
  out->dims[axis].size = to;
  return view_segments(call, axis, call->attr->slice.segments, out);
}

/* x [..., total, ...] -> [..., length, ...] from `start` on */
mvs_status mvs_shape_of_slice(const mvs_shape_call *call, mvs_type *out) {
  return window(call, call->attr->slice.total, call->attr->slice.length, out);
}

/* x [..., length, ...] -> [..., total, ...], zeros before `start` and behind the end */
mvs_status mvs_shape_of_pad(const mvs_shape_call *call, mvs_type *out) {
  return window(call, call->attr->slice.length, call->attr->slice.total, out);
}

/* Takes one more part of a concat into `out`. */
static mvs_status append_part(const mvs_shape_call *call, int index, mvs_type *out) {
  const mvs_type *part = mvs_shape_input(call, index);
  int axis = call->attr->concat.axis;
  MVS_TRY(plain_axis(call, part, axis));
  mvs_type rest = *part;
  rest.dims[axis] = out->dims[axis];
  if (part->dtype != out->dtype || !mvs_type_same_shape(&rest, out)) {
    return mvs_shape_mismatch(call, "parts differ outside of axis %d, %s and %s", axis,
                              mvs_shape_type_text(call, mvs_shape_input(call, 0)),
                              mvs_shape_type_text(call, part));
  }
  if (!mvs_add(out->dims[axis].size, part->dims[axis].size, &out->dims[axis].size)) {
    return mvs_shape_error(call, "axis %d is too long", axis);
  }
  if (axis == TOKEN_AXIS) return MVS_OK;
  return view_segments(call, axis, part->segments, out);
}

/* parts [..., n_i, ...] of one dtype -> [..., sum of n_i, ...]; along tokens the attribute has
 * the table */
mvs_status mvs_shape_of_concat(const mvs_shape_call *call, mvs_type *out) {
  int axis = call->attr->concat.axis;
  *out = *mvs_shape_input(call, 0);
  MVS_TRY(plain_axis(call, out, axis));
  for (int i = 1; i < call->count; i++) MVS_TRY(append_part(call, i, out));
  return view_segments(call, axis, call->attr->concat.segments, out);
}

/* Result `index` of an op that has several. */
mvs_status mvs_shape_of_get(const mvs_shape_call *call, mvs_type *out) {
  mvs_id tuple = call->inputs[0];
  mvs_op op = mvs_graph_node(call->graph, tuple)->op;
  if (!mvs_op_is_tuple(op)) {
    return mvs_shape_error(call, "%s has one result, which needs no get", mvs_ops[op].name);
  }
  uint32_t count = mvs_node_result_count(call->graph, tuple), index = call->attr->index.value;
  if (index >= count) {
    return mvs_shape_error(call, "result %" PRIu32 " of %" PRIu32, index, count);
  }
  *out = mvs_node_result_type(call->graph, tuple, index);
  return MVS_OK;
}
