/* lower_builtin.c: the table of primitive functions, one row each, and the elementwise ones,
 * reductions over features and matrix products. docs/library.md describes each row. A row names
 * its formals and the function that computes it; rows of one shape share a function and differ
 * in their op. Arguments are matched to the formals before it runs, so it sees values by
 * position, ABSENT for those left out. Functions on tokens are in lower_tokens.c, those that
 * move values in lower_views.c. Numbers fold as operators do, and with the same care: what is
 * not finite is an error at the call. */
#include <math.h>

#include "compiler/ir/lowering.h"

/* --- elementwise: numbers fold, tensors make a node of the row's op --- */

/* Checks the first `count` arguments. */
static mvs_status need_numeric(mvs_lowering *lo, const mvs_builtin_call *call, int count) {
  for (int i = 0; i < count; i++) {
    mvs_value_kind kind = call->values[i].kind;
    if (kind == MVS_VALUE_NUMBER || kind == MVS_VALUE_TENSOR) continue;
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[i],
                           "%s needs a number or a tensor, not %s", call->builtin->name,
                           mvs_value_noun(&call->values[i]));
  }
  return MVS_OK;
}

/* log(0) and its like stop here. */
static mvs_status folded(mvs_lowering *lo, const mvs_builtin_call *call, double number,
                         mvs_value *out) {
  if (!isfinite(number)) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, call->span, "the result is not a finite number");
  }
  *out = mvs_value_number(number);
  return MVS_OK;
}

/* Rows of one operand. */
static mvs_status unary(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_numeric(lo, call, 1));
  const mvs_value *a = &call->values[0];
  if (a->kind == MVS_VALUE_NUMBER) {
    return folded(lo, call, mvs_op_fold_unary(call->builtin->op, a->number), out);
  }
  return mvs_lower_node1(lo, call->builtin->op, *a, call->span, out);
}

/* Rows of two. */
static mvs_status binary(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_numeric(lo, call, 2));
  const mvs_value *a = &call->values[0], *b = &call->values[1];
  if (a->kind == MVS_VALUE_NUMBER && b->kind == MVS_VALUE_NUMBER) {
    return folded(lo, call, mvs_op_fold_binary(call->builtin->op, a->number, b->number), out);
  }
  return mvs_lower_node2(lo, call->builtin->op, *a, *b, call->span, out);
}

/* A number as condition chooses while lowering. */
static mvs_status where(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_numeric(lo, call, 3));
  if (call->values[0].kind == MVS_VALUE_NUMBER) {
    *out = call->values[call->values[0].number != 0 ? 1 : 2];
    return MVS_OK;
  }
  return mvs_lower_node(lo, MVS_OP_select, call->values, 3, NULL, call->span, out);
}

/* The dtype is a word: f32 and its like are strings where no other name hides them. */
static mvs_status cast(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_numeric(lo, call, 1));
  mvs_dtype dtype;
  if (call->values[1].kind != MVS_VALUE_STRING ||
      !mvs_dtype_parse(call->values[1].text, &dtype)) {
    return mvs_lower_error(lo, MVS_ERR_NAME, call->spans[1],
                           "cast needs f32, bf16, f64 or i32");
  }
  return mvs_lower_cast(lo, call->values[0], dtype, call->span, out);
}

/* --- over the last axis, which stays with extent 1 --- */

/* The feature axis of the first argument, which must have one. Axis 0 of a batched tensor is
 * the batch, over which no function of the language reduces. */
static mvs_status last_axis(mvs_lowering *lo, const mvs_builtin_call *call, int *axis) {
  MVS_TRY(mvs_lower_need_tensor(lo, &call->values[0], call->builtin->name, call->spans[0]));
  const mvs_type *type = mvs_value_type(&call->values[0]);
  *axis = type->rank - 1;
  if (*axis >= 0 && !type->dims[*axis].per_batch) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0],
                         "%s needs a feature axis; %s has none", call->builtin->name,
                         mvs_lower_type_text(lo, type));
}

/* A reduction, by the row's op. */
static mvs_status over_features(mvs_lowering *lo, const mvs_builtin_call *call,
                                mvs_value *out) {
  int axis;
  MVS_TRY(last_axis(lo, call, &axis));
  mvs_attr attr = {.axes = {UINT32_C(1) << axis}};
  return mvs_lower_node(lo, call->builtin->op, call->values, 1, &attr, call->span, out);
}

/* [..., D] -> [..., 1]: the sum times 1/D. Not a division: it is exact for a power of two, and
 * what the norm's rewrite looks for. */
static mvs_status mean_features(mvs_lowering *lo, const mvs_builtin_call *call,
                                mvs_value *out) {
  MVS_TRY(over_features(lo, call, out));
  double share = 1.0 / (double)mvs_value_features(&call->values[0]);
  return mvs_lower_node2(lo, MVS_OP_mul, *out, mvs_value_number(share), call->span, out);
}

/* [..., n, ...] -> [..., ...]: over an axis, which goes. The batch is not counted. */
static mvs_status over_axis(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  int64_t axis;
  MVS_TRY(mvs_lower_need_tensor(lo, &call->values[0], call->builtin->name, call->spans[0]));
  const mvs_type *type = mvs_value_type(&call->values[0]);
  int batch = type->rank > 0 && type->dims[0].per_batch;
  if (type->rank == batch) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "%s has no axis but the batch",
                           mvs_lower_type_text(lo, type));
  }
  MVS_TRY(mvs_lower_whole(lo, &call->values[1], 0, type->rank - batch - 1, "the axis",
                          call->spans[1], &axis));
  mvs_attr attr = {.axes = {UINT32_C(1) << (axis + batch)}};
  MVS_TRY(mvs_lower_node(lo, call->builtin->op, call->values, 1, &attr, call->span, out));
  mvs_type left = *mvs_value_type(out);
  left.rank--;
  for (int i = (int)axis + batch; i < left.rank; i++) left.dims[i] = left.dims[i + 1];
  if (axis + batch <= 1) left.segments = NULL;
  return mvs_lower_reshape(lo, *out, &left, call->span, out);
}

/* --- products --- */

/* x [..., K], w [N, K], bias [N] -> [..., N]: x w^T (+ bias). Weights lie as checkpoints have
 * them. */
static mvs_status matmul(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  const mvs_value *bias = call->values[2].kind == MVS_VALUE_ABSENT ? NULL : &call->values[2];
  for (int i = 0; i < (bias ? 3 : 2); i++) {
    MVS_TRY(mvs_lower_need_tensor(lo, &call->values[i], "matmul", call->spans[i]));
  }
  return mvs_lower_matmul(lo, call->values[0], call->values[1], bias, call->span, out);
}

/* q [T, H, D], k, v [T, G, D] -> [T, H, D]. The scale is 1/sqrt(D) unless given; each of the G
 * key heads serves H/G query heads. */
static mvs_status sdpa(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  for (int i = 0; i < 3; i++) {
    MVS_TRY(mvs_lower_need_tensor(lo, &call->values[i], "sdpa", call->spans[i]));
  }
  double scale = 1 / sqrt((double)mvs_value_features(&call->values[0]));
  const mvs_value *given = &call->values[3];
  if (given->kind == MVS_VALUE_NUMBER)
    scale = given->number;
  else if (given->kind != MVS_VALUE_ABSENT) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[3],
                           "the scale must be a number, not %s", mvs_value_noun(given));
  }
  return mvs_lower_attention(lo, call->values, scale, call->span, out);
}

/* --- initial values --- */

/* A value for `param` and `init`; its number is 1 when left out. It is settled against a shape
 * later: fan_in divides by the root of the inputs of one output. */
static mvs_status initial(mvs_lowering *lo, const mvs_builtin_call *call, mvs_init_kind kind,
                          bool fan_in, mvs_value *out) {
  const mvs_value *given = &call->values[0];
  double number = given->kind == MVS_VALUE_ABSENT ? 1 : given->number;
  if (given->kind != MVS_VALUE_ABSENT && given->kind != MVS_VALUE_NUMBER) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0], "%s needs a number, not %s",
                           call->builtin->name, mvs_value_noun(given));
  }
  if (number < 0) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, call->spans[0], "%s needs a number of at least 0",
                           call->builtin->name);
  }
  *out = (mvs_value){.kind = MVS_VALUE_INIT, .init = {kind, number, fan_in}};
  return MVS_OK;
}

static mvs_status normal(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  return initial(lo, call, MVS_INIT_NORMAL, false, out);
}
static mvs_status uniform(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  return initial(lo, call, MVS_INIT_UNIFORM, false, out);
}
static mvs_status fan_in(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  return initial(lo, call, MVS_INIT_NORMAL, true, out);
}

/* --- the table --- */

static const mvs_builtin table[] = {
    {"exp", {"x"}, 1, unary, MVS_OP_exp},
    {"log", {"x"}, 1, unary, MVS_OP_log},
    {"sqrt", {"x"}, 1, unary, MVS_OP_sqrt},
    {"rsqrt", {"x"}, 1, unary, MVS_OP_rsqrt},
    {"sin", {"x"}, 1, unary, MVS_OP_sin},
    {"cos", {"x"}, 1, unary, MVS_OP_cos},
    {"tanh", {"x"}, 1, unary, MVS_OP_tanh},
    {"sigmoid", {"x"}, 1, unary, MVS_OP_sigmoid},
    {"abs", {"x"}, 1, unary, MVS_OP_abs},
    {"floor", {"x"}, 1, unary, MVS_OP_floor},
    {"max", {"a", "b"}, 2, binary, MVS_OP_max},
    {"min", {"a", "b"}, 2, binary, MVS_OP_min},
    {"less", {"a", "b"}, 2, binary, MVS_OP_less},
    {"equal", {"a", "b"}, 2, binary, MVS_OP_equal},
    {"where", {"condition", "yes", "no"}, 3, where, MVS_OP_select},
    {"cast", {"x", "dtype"}, 2, cast, MVS_OP_cast},
    {"sum_features", {"x"}, 1, over_features, MVS_OP_sum},
    {"max_features", {"x"}, 1, over_features, MVS_OP_max_over},
    {"mean_features", {"x"}, 1, mean_features, MVS_OP_sum},
    {"sum_over", {"x", "axis"}, 2, over_axis, MVS_OP_sum},
    {"max_over", {"x", "axis"}, 2, over_axis, MVS_OP_max_over},
    {"mean", {"x"}, 1, mvs_builtin_mean, MVS_OP_segment_mean},
    {"center", {"x"}, 1, mvs_builtin_center, MVS_OP_segment_mean},
    {"matmul", {"x", "w", "bias"}, 2, matmul, MVS_OP_matmul},
    {"sdpa", {"q", "k", "v", "scale"}, 3, sdpa, MVS_OP_attention},
    {"concat", {0}, -1, mvs_builtin_concat, MVS_OP_concat},
    {"streams", {"x", "count"}, 2, mvs_builtin_streams, MVS_OP_slice},
    {"sum", {"items"}, 1, mvs_builtin_sum, MVS_OP_add},
    {"earlier", {"x", "distance"}, 1, mvs_builtin_earlier, MVS_OP_COUNT},
    {"first", {"x"}, 1, mvs_builtin_first, MVS_OP_select},
    {"at_block", {"x", "block"}, 2, mvs_builtin_at_block, MVS_OP_select},
    {"history", {"x"}, 1, mvs_builtin_history, MVS_OP_select},
    {"concat_features", {0}, -1, mvs_builtin_concat_features, MVS_OP_concat},
    {"slice_features", {"x", "start", "length"}, 3, mvs_builtin_slice_features, MVS_OP_slice},
    {"reshape", {"x", "shape"}, 2, mvs_builtin_reshape, MVS_OP_reshape},
    {"transpose", {"x", "axes"}, 2, mvs_builtin_transpose, MVS_OP_transpose},
    {"grid", {"x", "rows", "columns"}, 3, mvs_builtin_grid, MVS_OP_reshape},
    {"index", {"count"}, 1, mvs_builtin_index, MVS_OP_iota},
    {"row_index", {"x"}, 1, mvs_builtin_row_index, MVS_OP_iota},
    {"column_index", {"x"}, 1, mvs_builtin_column_index, MVS_OP_iota},
    {"features", {"x"}, 1, mvs_builtin_features, MVS_OP_COUNT},
    {"tokens", {"x"}, 1, mvs_builtin_tokens, MVS_OP_COUNT},
    {"rows", {"x"}, 1, mvs_builtin_rows, MVS_OP_COUNT},
    {"columns", {"x"}, 1, mvs_builtin_columns, MVS_OP_COUNT},
    {"extent", {"x", "axis"}, 2, mvs_builtin_extent, MVS_OP_COUNT},
    {"normal", {"std"}, 1, normal, MVS_OP_COUNT},
    {"uniform", {"bound"}, 1, uniform, MVS_OP_COUNT},
    {"fan_in", {"gain"}, 0, fan_in, MVS_OP_COUNT},
};
#define ROWS (sizeof table / sizeof *table)

/* A walk over some forty rows, once for each call as it is lowered. */
const mvs_builtin *mvs_builtin_find(const char *name) {
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(table[i].name, name) == 0) return &table[i];
  }
  return NULL;
}

size_t mvs_builtin_names(const char **names, size_t room) {
  size_t count = ROWS < room ? ROWS : room;
  for (size_t i = 0; i < count; i++) names[i] = table[i].name;
  return count;
}

/* Pairs arguments with the formals of the row; those beyond `needed` may be missing. */
static mvs_status match_formals(mvs_lowering *lo, const mvs_actual *actuals, size_t count,
                                mvs_builtin_call *call) {
  const mvs_builtin *builtin = call->builtin;
  const mvs_actual *matched[MVS_MAX_FORMALS];
  size_t formals = 0;
  while (formals < MVS_MAX_FORMALS && builtin->formals[formals]) formals++;
  MVS_TRY(mvs_lower_match(lo, "function", builtin->name, builtin->formals, formals, actuals,
                          count, matched));
  for (size_t i = 0; i < formals; i++) {
    if (matched[i]) {
      call->values[i] = *matched[i]->value;
      call->spans[i] = matched[i]->span;
    } else if ((int)i < builtin->needed) {
      return mvs_lower_error(lo, MVS_ERR_NAME, call->span, "function '%s' needs '%s'",
                             builtin->name, builtin->formals[i]);
    }
  }
  return MVS_OK;
}

/* Functions of any number of arguments read `actuals` themselves, keywords included. */
mvs_status mvs_builtin_apply(mvs_lowering *lo, const mvs_builtin *builtin,
                             const mvs_actual *actuals, size_t count, mvs_span span,
                             mvs_value *out) {
  mvs_builtin_call call = {
      .builtin = builtin, .actuals = actuals, .count = count, .span = span};
  if (builtin->needed >= 0) MVS_TRY(match_formals(lo, actuals, count, &call));
  return builtin->run(lo, &call, out);
}
