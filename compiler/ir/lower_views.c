/* lower_views.c: primitive functions that move values without changing them, and extents. The
 * batch is never written: shapes, axes and permutations speak of the other axes, and are
 * shifted by one here when axis 0 is the batch. Segments belong to the token axis, so a view
 * keeps the table exactly when that axis stays in its place with its extent. Views cost nothing
 * later: a permutation that moves only axes of one element becomes a reshape here, so that no
 * pass has to see through it. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

/* Views move tensors only. */
static mvs_status need_tensor(mvs_lowering *lo, const mvs_builtin_call *call) {
  return mvs_lower_need_tensor(lo, &call->values[0], call->builtin->name, call->spans[0]);
}

/* 1 when axis 0 is the batch. */
static int batch_axes(const mvs_type *type) {
  return type->rank > 0 && type->dims[0].per_batch;
}

/* x of n elements a sample, shape [a, b, ...] of as many -> the same elements in row-major
 * order. An extent that is no whole number, such as features(x) / 3 of 8, is an error here. */
mvs_status mvs_builtin_reshape(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_tensor(lo, call));
  int64_t extents[MVS_MAX_RANK];
  int count;
  MVS_TRY(mvs_lower_extents(lo, &call->values[1], 1, call->spans[1], extents, &count));
  const mvs_type *from = mvs_value_type(&call->values[0]);
  mvs_type to = {.dtype = from->dtype};
  int batch = batch_axes(from);
  if (batch) to.dims[0] = from->dims[0];
  for (int i = 0; i < count; i++) to.dims[batch + i] = (mvs_dim){extents[i], false};
  to.rank = (uint8_t)(batch + count);
  /* Tokens that stay tokens keep their segments. */
  bool tokens = from->segments && to.rank >= 2 && to.dims[1].size == from->dims[1].size;
  if (tokens) to.segments = from->segments;
  mvs_attr attr = {.shape = {to}};
  mvs_type checked;
  MVS_TRY(mvs_graph_infer(call->values[0].graph, MVS_OP_reshape, &call->values[0].id, 1, &attr,
                          call->span, lo->diag, &checked));
  return mvs_lower_reshape(lo, call->values[0], &to, call->span, out);
}

/* A permutation that keeps the order of all axes longer than 1 moves nothing: a reshape. Tokens
 * of one head, or a grid of one row, are such cases. */
static bool moves_nothing(const mvs_type *type, const int64_t *axes, int count) {
  int64_t last = -1;
  int batch = batch_axes(type);
  for (int i = 0; i < count; i++) {
    if (type->dims[batch + axes[i]].size == 1) continue;
    if (axes[i] < last) return false;
    last = axes[i];
  }
  return true;
}

/* Reads the axes of a transpose, each of which must stand there once. Axes are numbers from 0
 * and do not count the batch. */
static mvs_status read_permutation(mvs_lowering *lo, const mvs_builtin_call *call,
                                   int64_t *axes, int *count) {
  const mvs_type *type = mvs_value_type(&call->values[0]);
  int wanted = type->rank - batch_axes(type);
  MVS_TRY(mvs_lower_extents(lo, &call->values[1], 0, call->spans[1], axes, count));
  uint32_t seen = 0;
  for (int i = 0; i < *count; i++) {
    if (axes[i] < wanted) seen |= UINT32_C(1) << axes[i];
  }
  if (*count == wanted && seen == (UINT32_C(1) << wanted) - 1) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[1],
                  "transpose needs each of the axes 0 to %d once (the batch is not counted)",
                  wanted - 1);
  mvs_diag_note(lo->diag, call->spans[0], "the tensor is %s", mvs_lower_type_text(lo, type));
  return MVS_ERR_SHAPE;
}

/* x [d_0, d_1, ...], axes a permutation -> [d_axes[0], d_axes[1], ...] */
mvs_status mvs_builtin_transpose(mvs_lowering *lo, const mvs_builtin_call *call,
                                 mvs_value *out) {
  MVS_TRY(need_tensor(lo, call));
  int64_t axes[MVS_MAX_RANK];
  int count;
  MVS_TRY(read_permutation(lo, call, axes, &count));
  const mvs_type *from = mvs_value_type(&call->values[0]);
  int batch = batch_axes(from);
  mvs_attr attr = {.permutation = {from->rank, {0}}};
  mvs_type to = {.dtype = from->dtype, .rank = from->rank};
  if (batch) to.dims[0] = from->dims[0];
  if (batch && count > 0 && axes[0] == 0) to.segments = from->segments;
  for (int i = 0; i < count; i++) {
    attr.permutation.axis[batch + i] = (uint8_t)(batch + axes[i]);
    to.dims[batch + i] = from->dims[batch + axes[i]];
  }
  if (moves_nothing(from, axes, count)) {
    return mvs_lower_reshape(lo, call->values[0], &to, call->span, out);
  }
  return mvs_lower_node(lo, MVS_OP_transpose, call->values, 1, &attr, call->span, out);
}

/* x [..., total] -> [..., length]: features start to start + length - 1 */
mvs_status mvs_builtin_slice_features(mvs_lowering *lo, const mvs_builtin_call *call,
                                      mvs_value *out) {
  MVS_TRY(need_tensor(lo, call));
  const mvs_type *type = mvs_value_type(&call->values[0]);
  int64_t total = mvs_value_features(&call->values[0]), start, length;
  if (type->rank == batch_axes(type)) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "%s has no feature axis",
                           mvs_lower_type_text(lo, type));
  }
  MVS_TRY(
      mvs_lower_whole(lo, &call->values[1], 0, total - 1, "the start", call->spans[1], &start));
  MVS_TRY(mvs_lower_whole(lo, &call->values[2], 1, total - start, "the length", call->spans[2],
                          &length));
  int axis = type->rank - 1;
  const mvs_segments *segments = axis > 1 ? type->segments : NULL;
  mvs_attr attr = {.slice = {axis, start, length, total, segments}};
  return mvs_lower_node(lo, MVS_OP_slice, call->values, 1, &attr, call->span, out);
}

/* Adds what one argument of concat_features joins: a tensor, or the items of a list. */
typedef MVS_LIST(mvs_value) parts_list;
static mvs_status add_parts(mvs_lowering *lo, const mvs_value *value, mvs_span span,
                            parts_list *parts) {
  bool list = value->kind == MVS_VALUE_TUPLE;
  size_t count = list ? value->count : 1;
  for (size_t i = 0; i < count; i++) {
    const mvs_value *item = list ? &value->items[i] : value;
    MVS_TRY(mvs_lower_need_tensor(lo, item, "concat_features", span));
    MVS_PUSH(lo->arena, parts, *item);
  }
  return MVS_OK;
}

/* [..., n_1], [..., n_2], ... -> [..., n_1 + n_2 + ...], lists by their items; parts of several
 * dtypes widen to f32. */
mvs_status mvs_builtin_concat_features(mvs_lowering *lo, const mvs_builtin_call *call,
                                       mvs_value *out) {
  parts_list parts = {0};
  for (size_t i = 0; i < call->count; i++) {
    const mvs_actual *actual = &call->actuals[i];
    if (actual->name) {
      return mvs_lower_error(lo, MVS_ERR_NAME, actual->span,
                             "concat_features has no argument '%s'", actual->name);
    }
    MVS_TRY(add_parts(lo, actual->value, actual->span, &parts));
  }
  if (parts.count == 0 || parts.count > MVS_MAX_INPUTS) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, call->span,
                           "concat_features takes 1 to %d tensors", MVS_MAX_INPUTS);
  }
  MVS_TRY(mvs_lower_same_dtype(lo, parts.items, parts.count, call->span));
  const mvs_type *type = mvs_value_type(&parts.items[0]);
  if (type->rank == batch_axes(type)) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->actuals[0].span, "%s has no feature axis",
                           mvs_lower_type_text(lo, type));
  }
  mvs_attr attr = {.concat = {type->rank - 1, type->rank > 2 ? type->segments : NULL}};
  return mvs_lower_node(lo, MVS_OP_concat, parts.items, (int)parts.count, &attr, call->span,
                        out);
}

/* 0, 1, ..., count-1 */
mvs_status mvs_builtin_index(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  int64_t count;
  MVS_TRY(mvs_lower_whole(lo, &call->values[0], 1, MVS_MAX_EXTENT, "the count", call->spans[0],
                          &count));
  mvs_attr attr = {.iota = {mvs_type_make(MVS_F32, 1, (mvs_dim[]){{count, false}}), 0}};
  return mvs_lower_node(lo, MVS_OP_iota, NULL, 0, &attr, call->span, out);
}

/* The extent of the last axis as a number; 1 where there is none but the batch. */
mvs_status mvs_builtin_features(mvs_lowering *lo, const mvs_builtin_call *call,
                                mvs_value *out) {
  MVS_TRY(need_tensor(lo, call));
  *out = mvs_value_number((double)mvs_value_features(&call->values[0]));
  return MVS_OK;
}

/* The extent of an axis as a number, the batch not counted. */
mvs_status mvs_builtin_extent(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_tensor(lo, call));
  const mvs_type *type = mvs_value_type(&call->values[0]);
  int batch = batch_axes(type);
  int64_t axis;
  if (type->rank == batch) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "%s has no axis but the batch",
                           mvs_lower_type_text(lo, type));
  }
  MVS_TRY(mvs_lower_whole(lo, &call->values[1], 0, type->rank - batch - 1, "the axis",
                          call->spans[1], &axis));
  *out = mvs_value_number((double)type->dims[batch + axis].size);
  return MVS_OK;
}
