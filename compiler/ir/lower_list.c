/* lower_list.c: lists. `[E for i in N]` and `for i in N { ... }` are unrolled while lowering,
 * `a[i]` takes an item of a list or a slice of a tensor along its first axis. Lists of tensors
 * are how a rule speaks of its streams, which lie side by side in the features of one tensor:
 * `streams` takes them apart and concat_features joins them. So a list leaves no node, and what
 * is done with its items is done to slices, which kernels read where they are. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

/* The items that `for` and a list by rule go through: those of a list, or 0 .. N-1 of a number.
 * Each is lowered on its own, so their number is bounded: a loop is for streams, not for depth.
 */
static mvs_status items_of(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *over,
                           mvs_value *out) {
  MVS_TRY(mvs_lower_expr(lo, scope, over, out));
  if (out->kind == MVS_VALUE_TUPLE) {
    if (out->count <= MVS_MAX_REPEATS) return MVS_OK;
    return mvs_lower_error(lo, MVS_ERR_LIMIT, over->span, "the list has more than %d items",
                           MVS_MAX_REPEATS);
  }
  if (out->kind != MVS_VALUE_NUMBER) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, over->span,
                           "`for` goes through a list or up to a number, not %s",
                           mvs_value_noun(out));
  }
  int64_t count;
  MVS_TRY(
      mvs_lower_whole(lo, out, 0, MVS_MAX_REPEATS, "the number of times", over->span, &count));
  mvs_value *items = MVS_ARRAY(lo->arena, (size_t)count + 1, mvs_value);
  for (int64_t i = 0; i < count; i++) items[i] = mvs_value_number((double)i);
  *out = (mvs_value){.kind = MVS_VALUE_TUPLE, .items = items, .count = (size_t)count};
  return MVS_OK;
}

/* [E for NAME in LIST]: the name is seen in E alone. */
mvs_status mvs_lower_each(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out) {
  mvs_value over;
  MVS_TRY(items_of(lo, scope, expr->b, &over));
  mvs_value *items = MVS_ARRAY(lo->arena, over.count + 1, mvs_value);
  for (size_t i = 0; i < over.count; i++) {
    mvs_scope *inner = mvs_scope_new(lo, scope);
    mvs_scope_set(lo, inner, expr->text, over.items[i]);
    MVS_TRY(mvs_lower_expr(lo, inner, expr->a, &items[i]));
  }
  *out = (mvs_value){.kind = MVS_VALUE_TUPLE, .items = items, .count = over.count};
  return MVS_OK;
}

/* for NAME in LIST { ... }: the block runs in the scope around it, so that what one turn names
 * the next one sees. */
mvs_status mvs_lower_for(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                         mvs_outcome *outcome) {
  mvs_value over;
  MVS_TRY(items_of(lo, scope, stmt->value, &over));
  for (size_t i = 0; i < over.count; i++) {
    MVS_TRY(mvs_lower_spend(lo, stmt->span));
    mvs_scope_set(lo, scope, stmt->names[0], over.items[i]);
    MVS_TRY(mvs_lower_block(lo, scope, &stmt->body, outcome));
  }
  return MVS_OK;
}

/* Item `at` of a tensor without batch: [n, ...] -> [...]. Tokens are not taken one by one:
 * their places are segments. */
static mvs_status tensor_item(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *of,
                              const mvs_value *at, mvs_value *out) {
  mvs_type type = *mvs_value_type(of);
  if (type.rank == 0 || mvs_type_has_batch(&type)) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, expr->a->span, "%s has no items to choose from",
                    mvs_lower_type_text(lo, &type));
    if (type.rank > 1) mvs_diag_hint(lo->diag, "parts of the features are streams(x, n)[i]");
    return MVS_ERR_SHAPE;
  }
  int64_t total = type.dims[0].size, index;
  MVS_TRY(mvs_lower_whole(lo, at, 0, total - 1, "the index", expr->b->span, &index));
  mvs_attr attr = {.slice = {0, index, 1, total, NULL}};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_slice, of, 1, &attr, expr->span, out));
  type.rank--;
  for (int i = 0; i < type.rank; i++) type.dims[i] = type.dims[i + 1];
  return mvs_lower_reshape(lo, *out, &type, expr->span, out);
}

/* a[i] */
mvs_status mvs_lower_index(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                           mvs_value *out) {
  mvs_value of, at;
  int64_t index;
  MVS_TRY(mvs_lower_expr(lo, scope, expr->a, &of));
  MVS_TRY(mvs_lower_expr(lo, scope, expr->b, &at));
  if (of.kind == MVS_VALUE_TENSOR) return tensor_item(lo, expr, &of, &at, out);
  if (of.kind != MVS_VALUE_TUPLE || of.count == 0) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, expr->a->span, "%s has no items to choose from",
                           of.kind == MVS_VALUE_TUPLE ? "an empty list" : mvs_value_noun(&of));
  }
  MVS_TRY(
      mvs_lower_whole(lo, &at, 0, (int64_t)of.count - 1, "the index", expr->b->span, &index));
  *out = of.items[index];
  return MVS_OK;
}

/* x [..., n D] -> the list of its n parts [..., D] */
mvs_status mvs_builtin_streams(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  int64_t count;
  MVS_TRY(mvs_lower_need_tensor(lo, &call->values[0], "streams", call->spans[0]));
  MVS_TRY(mvs_lower_whole(lo, &call->values[1], 1, MVS_MAX_REPEATS, "the number of streams",
                          call->spans[1], &count));
  const mvs_type *type = mvs_value_type(&call->values[0]);
  int64_t total = mvs_value_features(&call->values[0]);
  bool none = type->rank == 0 || type->dims[type->rank - 1].per_batch;
  if (none || total % count != 0) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, call->span,
                    "%s cannot be taken apart into %" PRId64 " streams",
                    mvs_lower_type_text(lo, type), count);
    mvs_diag_hint(lo->diag, "a rule makes them in its entry: entry { concat_features(x, x) }");
    return MVS_ERR_SHAPE;
  }
  int axis = type->rank - 1;
  const mvs_segments *segments = axis > 1 ? type->segments : NULL;
  mvs_value *items = MVS_ARRAY(lo->arena, (size_t)count, mvs_value);
  for (int64_t i = 0; i < count; i++) {
    int64_t length = total / count;
    mvs_attr attr = {.slice = {axis, i * length, length, total, segments}};
    items[i] = call->values[0];
    if (count == 1) continue;
    MVS_TRY(mvs_lower_node(lo, MVS_OP_slice, call->values, 1, &attr, call->span, &items[i]));
  }
  *out = (mvs_value){.kind = MVS_VALUE_TUPLE, .items = items, .count = (size_t)count};
  return MVS_OK;
}

/* The sum of a list's items, from the left. */
mvs_status mvs_builtin_sum(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  const mvs_value *list = &call->values[0];
  if (list->kind != MVS_VALUE_TUPLE) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "sum needs a list, not %s",
                    mvs_value_noun(list));
    if (list->kind == MVS_VALUE_TENSOR) {
      mvs_diag_hint(lo->diag, "sums of a tensor are sum_features(x) and mean(x)");
    }
    return MVS_ERR_SHAPE;
  }
  *out = mvs_value_number(0);
  for (size_t i = 0; i < list->count; i++) {
    const mvs_value *item = &list->items[i];
    bool number = item->kind == MVS_VALUE_NUMBER;
    if (!number) MVS_TRY(mvs_lower_need_tensor(lo, item, "sum", call->spans[0]));
    if (i == 0)
      *out = *item;
    else if (number && out->kind == MVS_VALUE_NUMBER)
      *out = mvs_value_number(out->number + item->number);
    else
      MVS_TRY(mvs_lower_node2(lo, MVS_OP_add, *out, *item, call->span, out));
  }
  return MVS_OK;
}
