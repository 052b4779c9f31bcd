/* lower_tokens.c: primitive functions on tokens. Axis 1 of a batched tensor of rank 3 or more
 * holds tokens; its segments say which are image, text, ... and which of them lie on a grid. A
 * tensor without a table counts as one segment, which gets a table where a function needs one:
 * that is a reshape, which moves nothing. Names of segments come from concat. Since tables are
 * part of a type, two tensors whose segments have other names do not meet in an operation,
 * except single segments of one length and grid, which lower_tensor.c renames. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

#define LONE_SEGMENT "tokens" /* name of a segment that no concat has named */

/* Tokens are [B, T, ...]. */
static mvs_status need_tokens(mvs_lowering *lo, const mvs_value *value, const char *what,
                              mvs_span span) {
  MVS_TRY(mvs_lower_need_tensor(lo, value, what, span));
  const mvs_type *type = mvs_value_type(value);
  if (type->rank >= 3 && type->dims[0].per_batch) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s needs tokens f32[B, T, ...], not %s", what,
                  mvs_lower_type_text(lo, type));
  if (strcmp(what, "mean") == 0 || strcmp(what, "center") == 0) {
    mvs_diag_hint(lo->diag, "%s averages over tokens; over features it is mean_features", what);
  }
  return MVS_ERR_SHAPE;
}

/* The segments of tokens, a single one without grid when nothing said more. A copy: the caller
 * may change it and intern what comes out. */
static mvs_segments segments_of(const mvs_value *value) {
  const mvs_type *type = mvs_value_type(value);
  if (type->segments) return *type->segments;
  return (mvs_segments){1, {{LONE_SEGMENT, type->dims[1].size, 0, 0}}};
}

/* The same tokens under another table. */
static mvs_status with_segments(mvs_lowering *lo, const mvs_value *value,
                                const mvs_segments *segments, mvs_span span, mvs_value *out) {
  mvs_type type = *mvs_value_type(value);
  type.segments = mvs_module_segments(lo->module, segments);
  return mvs_lower_reshape(lo, *value, &type, span, out);
}

mvs_status mvs_lower_segmented(mvs_lowering *lo, const mvs_value *value, mvs_span span,
                               mvs_value *out) {
  *out = *value;
  if (mvs_value_type(value)->segments) return MVS_OK;
  mvs_segments table = segments_of(value);
  return with_segments(lo, value, &table, span, out);
}

/* tokens [T, ...] -> the same with one segment of rows x columns = T on a grid. Earlier
 * segments are given up: what had parts is now one picture. */
mvs_status mvs_builtin_grid(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_tokens(lo, &call->values[0], "grid", call->spans[0]));
  int64_t length = mvs_value_type(&call->values[0])->dims[1].size, rows, columns;
  MVS_TRY(mvs_lower_whole(lo, &call->values[1], 1, length, "the rows", call->spans[1], &rows));
  MVS_TRY(mvs_lower_whole(lo, &call->values[2], 1, length, "the columns", call->spans[2],
                          &columns));
  if (rows * columns != length) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->span,
                           "%" PRId64 " tokens do not fill a grid of %" PRId64 " x %" PRId64,
                           length, rows, columns);
  }
  mvs_segments table = {1, {{LONE_SEGMENT, length, rows, columns}}};
  return with_segments(lo, &call->values[0], &table, call->span, out);
}

/* --- means over tokens --- */

/* [T, ...] -> [T, ...], f32: each token gets the mean of its segment, per sample. Two ops, so
 * that rewrites can move the mean through what follows. */
mvs_status mvs_builtin_mean(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_tokens(lo, &call->values[0], call->builtin->name, call->spans[0]));
  mvs_value tokens;
  MVS_TRY(mvs_lower_segmented(lo, &call->values[0], call->span, &tokens));
  mvs_attr attr = {.segments = {mvs_value_type(&tokens)->segments}};
  MVS_TRY(mvs_lower_node1(lo, MVS_OP_segment_mean, tokens, call->span, out));
  return mvs_lower_node(lo, MVS_OP_segment_broadcast, out, 1, &attr, call->span, out);
}

/* [T, ...] -> [T, ...]: x - mean(x). The mean is the node that `mean` makes, by interning. */
mvs_status mvs_builtin_center(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  mvs_value mean;
  MVS_TRY(mvs_builtin_mean(lo, call, &mean));
  return mvs_lower_node2(lo, MVS_OP_sub, call->values[0], mean, call->span, out);
}

/* --- joining and taking apart --- */

/* The name that a part of a concat gives its segment: keyword, identifier, member or label. */
static const char *part_name(const mvs_actual *actual) {
  if (actual->name) return actual->name;
  if (!actual->expr) return NULL;
  bool named = actual->expr->kind == MVS_EXPR_NAME || actual->expr->kind == MVS_EXPR_MEMBER;
  return named ? actual->expr->text : actual->expr->label;
}

/* Enters a segment under a name of its own. */
static mvs_status add_segment(mvs_lowering *lo, const mvs_segment *segment,
                              const mvs_actual *actual, mvs_segments *table) {
  if (table->count == MVS_MAX_SEGMENTS) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, actual->span, "more than %d segments",
                           MVS_MAX_SEGMENTS);
  }
  for (int i = 0; i < table->count; i++) {
    if (strcmp(table->items[i].name, segment->name) != 0) continue;
    mvs_lower_error(lo, MVS_ERR_NAME, actual->span, "two segments named '%s'", segment->name);
    mvs_diag_hint(lo->diag, "name this one: concat(..., other = ...)");
    return MVS_ERR_NAME;
  }
  table->items[table->count++] = *segment;
  return MVS_OK;
}

/* Adds the segments of one part. A single segment takes the argument's name; several keep the
 * names they have, which then must differ from those before. */
static mvs_status add_part(mvs_lowering *lo, const mvs_actual *actual, mvs_segments *table) {
  mvs_segments own = segments_of(actual->value);
  if (own.count == 1) {
    const char *name = part_name(actual);
    if (name) own.items[0].name = name;
    if (strcmp(own.items[0].name, LONE_SEGMENT) == 0 && !name) {
      mvs_lower_error(lo, MVS_ERR_NAME, actual->span, "this segment has no name");
      mvs_diag_hint(lo->diag, "give it one: concat(image = ...)");
      return MVS_ERR_NAME;
    }
  }
  for (int i = 0; i < own.count; i++) MVS_TRY(add_segment(lo, &own.items[i], actual, table));
  return MVS_OK;
}

/* [T_1, ...], [T_2, ...] -> [T_1 + T_2, ...]. A part of one segment is named by its argument, a
 * part of several keeps its names. */
mvs_status mvs_builtin_concat(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  if (call->count == 0) {
    return mvs_lower_error(lo, MVS_ERR_NAME, call->span, "concat needs tokens to join");
  }
  mvs_segments table = {0};
  mvs_value *parts = MVS_ARRAY(lo->arena, call->count, mvs_value);
  for (size_t i = 0; i < call->count; i++) {
    const mvs_actual *actual = &call->actuals[i];
    MVS_TRY(need_tokens(lo, actual->value, "concat", actual->span));
    MVS_TRY(add_part(lo, actual, &table));
    parts[i] = *actual->value;
  }
  if (call->count == 1) return with_segments(lo, &parts[0], &table, call->span, out);
  MVS_TRY(mvs_lower_same_dtype(lo, parts, call->count, call->span));
  mvs_attr attr = {.concat = {1, mvs_module_segments(lo->module, &table)}};
  return mvs_lower_node(lo, MVS_OP_concat, parts, (int)call->count, &attr, call->span, out);
}

/* x.NAME without such a segment. */
static mvs_status no_segment(mvs_lowering *lo, const mvs_expr *expr,
                             const mvs_segments *table) {
  const char *names[MVS_MAX_SEGMENTS];
  for (int i = 0; i < table->count; i++) names[i] = table->items[i].name;
  mvs_lower_error(lo, MVS_ERR_NAME, expr->text_span, "no segment '%s'", expr->text);
  const char *near = mvs_suggest(expr->text, names, (size_t)table->count);
  mvs_text all = mvs_text_new(lo->arena);
  for (int i = 0; i < table->count; i++) {
    mvs_text_addf(&all, "%s%s", i ? ", " : "", names[i]);
  }
  if (near)
    mvs_diag_hint(lo->diag, "did you mean '%s'?", near);
  else
    mvs_diag_hint(lo->diag, "there is: %s", mvs_text_string(&all));
  return MVS_ERR_NAME;
}

/* x.NAME: [T, ...] -> the tokens of that segment, with its grid; x itself when it is all of
 * x. */
mvs_status mvs_lower_member(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *of,
                            mvs_value *out) {
  MVS_TRY(mvs_lower_need_tensor(lo, of, "a segment", expr->a->span));
  const mvs_segments *table = mvs_value_type(of)->segments;
  if (!table) {
    return mvs_lower_error(lo, MVS_ERR_NAME, expr->a->span, "%s has no named segments",
                           mvs_lower_type_text(lo, mvs_value_type(of)));
  }
  int64_t start = 0;
  for (int i = 0; i < table->count; i++) {
    const mvs_segment *segment = &table->items[i];
    if (strcmp(segment->name, expr->text) == 0) {
      mvs_segments one = {1, {*segment}};
      int64_t total = mvs_value_type(of)->dims[1].size;
      mvs_attr attr = {
          .slice = {1, start, segment->length, total, mvs_module_segments(lo->module, &one)}};
      *out = *of;
      if (table->count == 1) return MVS_OK;
      return mvs_lower_node(lo, MVS_OP_slice, of, 1, &attr, expr->span, out);
    }
    start += segment->length;
  }
  return no_segment(lo, expr, table);
}

/* --- extents and positions --- */

/* The extent of the token axis as a number. */
mvs_status mvs_builtin_tokens(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_tokens(lo, &call->values[0], "tokens", call->spans[0]));
  *out = mvs_value_number((double)mvs_value_type(&call->values[0])->dims[1].size);
  return MVS_OK;
}

/* The one grid of a tensor's tokens. */
static mvs_status grid_of(mvs_lowering *lo, const mvs_builtin_call *call, mvs_segment *out) {
  MVS_TRY(need_tokens(lo, &call->values[0], call->builtin->name, call->spans[0]));
  mvs_segments table = segments_of(&call->values[0]);
  *out = table.items[0];
  if (table.count == 1 && out->rows > 0) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "%s has no single grid",
                         mvs_lower_type_text(lo, mvs_value_type(&call->values[0])));
}

/* Rows of the one grid on which all tokens lie. */
mvs_status mvs_builtin_rows(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  mvs_segment segment;
  MVS_TRY(grid_of(lo, call, &segment));
  *out = mvs_value_number((double)segment.rows);
  return MVS_OK;
}

/* Columns of the same. */
mvs_status mvs_builtin_columns(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  mvs_segment segment;
  MVS_TRY(grid_of(lo, call, &segment));
  *out = mvs_value_number((double)segment.columns);
  return MVS_OK;
}

/* The positions of one segment along an axis of its grid, f32[length, 1, ...]; zeros without a
 * grid, so that a rotation by them leaves text as it is. */
static mvs_status segment_positions(mvs_lowering *lo, const mvs_segment *segment, int axis,
                                    int rank, mvs_span span, mvs_value *out) {
  mvs_type flat = {.dtype = MVS_F32, .rank = (uint8_t)rank};
  flat.dims[0] = (mvs_dim){segment->length, false};
  for (int i = 1; i < rank; i++) flat.dims[i] = (mvs_dim){1, false};
  if (segment->rows == 0) {
    mvs_value none = mvs_value_number(0);
    mvs_attr attr = {.shape = {flat}};
    return mvs_lower_node(lo, MVS_OP_broadcast, &none, 1, &attr, span, out);
  }
  mvs_dim grid[] = {{segment->rows, false}, {segment->columns, false}};
  mvs_attr attr = {.iota = {mvs_type_make(MVS_F32, 2, grid), axis}};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_iota, NULL, 0, &attr, span, out));
  return mvs_lower_reshape(lo, *out, &flat, span, out);
}

/* Positions of all tokens, f32[T, 1, ...]: right-aligned with x [B, T, ...]. */
static mvs_status positions(mvs_lowering *lo, const mvs_builtin_call *call, int axis,
                            mvs_value *out) {
  MVS_TRY(need_tokens(lo, &call->values[0], call->builtin->name, call->spans[0]));
  mvs_segments table = segments_of(&call->values[0]);
  int rank = mvs_value_type(&call->values[0])->rank - 1;
  mvs_value parts[MVS_MAX_SEGMENTS];
  for (int i = 0; i < table.count; i++) {
    MVS_TRY(segment_positions(lo, &table.items[i], axis, rank, call->span, &parts[i]));
  }
  *out = parts[0];
  if (table.count == 1) return MVS_OK;
  mvs_attr attr = {.concat = {0, NULL}};
  return mvs_lower_node(lo, MVS_OP_concat, parts, table.count, &attr, call->span, out);
}

/* Constants of the model: they depend on shapes only, stand outside of every stack, and meet x
 * by broadcasting over the batch. */
mvs_status mvs_builtin_row_index(mvs_lowering *lo, const mvs_builtin_call *call,
                                 mvs_value *out) {
  return positions(lo, call, 0, out);
}

/* As mvs_builtin_row_index, along the other axis of the grid. */
mvs_status mvs_builtin_column_index(mvs_lowering *lo, const mvs_builtin_call *call,
                                    mvs_value *out) {
  return positions(lo, call, 1, out);
}
