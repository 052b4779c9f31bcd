/* movement.c: reductions, segments and views. */
#include <math.h>

#include "tests/reference/rules.h"

/* --- reductions --- */

/* Folds every element of the input into the element of the result it belongs to: a reduced axis
 * has extent 1 there, which broadcasting maps everything to. */
static void fold(const mvs_evaluate_call *call, double start, double (*join)(double, double)) {
  const mvs_tensor *x = call->inputs[0], *result = &call->results[0];
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) result->data[i] = start;
  for (int64_t i = 0; i < mvs_tensor_count(x, call->evaluation->batch); i++) {
    mvs_evaluate_unravel(call, x, i, index);
    double *into = &result->data[mvs_evaluate_ravel(call, result, index, x->type.rank)];
    *into = join(*into, x->data[i]);
  }
}

static double add(double a, double b) { return a + b; }
static double larger(double a, double b) { return a > b ? a : b; }
static double add_square(double a, double b) { return a + b * b; }

mvs_status mvs_evaluate_sum(const mvs_evaluate_call *call) {
  fold(call, 0, add);
  return MVS_OK;
}

mvs_status mvs_evaluate_max_over(const mvs_evaluate_call *call) {
  fold(call, -INFINITY, larger);
  return MVS_OK;
}

mvs_status mvs_evaluate_inv_rms(const mvs_evaluate_call *call) {
  const mvs_tensor *x = call->inputs[0];
  double length = (double)mvs_evaluate_extent(call, x, x->type.rank - 1);
  fold(call, 0, add_square);
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    double *value = &call->results[0].data[i];
    *value = 1 / sqrt(*value / length + call->node->attr.epsilon.value);
  }
  return MVS_OK;
}

/* --- segments --- */

/* The segment of a token. */
static int segment_of(const mvs_segments *table, int64_t token) {
  int segment = 0;
  for (int64_t end = table->items[0].length; token >= end;)
    end += table->items[++segment].length;
  return segment;
}

static double tokens_of(const mvs_segments *table, int segment) {
  return (double)table->items[segment].length;
}

/* Adds each token's row to its segment's, over `shared` when means are wanted. */
static mvs_status segment_reduce(const mvs_evaluate_call *call, bool mean) {
  const mvs_tensor *x = call->inputs[0], *result = &call->results[0];
  const mvs_segments *table = x->type.segments;
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_tensor_count(x, call->evaluation->batch); i++) {
    mvs_evaluate_unravel(call, x, i, index);
    int segment = segment_of(table, index[1]);
    index[1] = segment;
    int64_t into = mvs_evaluate_ravel(call, result, index, x->type.rank);
    result->data[into] += x->data[i] / (mean ? tokens_of(table, segment) : 1);
  }
  return MVS_OK;
}

mvs_status mvs_evaluate_segment_sum(const mvs_evaluate_call *call) {
  return segment_reduce(call, false);
}

mvs_status mvs_evaluate_segment_mean(const mvs_evaluate_call *call) {
  return segment_reduce(call, true);
}

static mvs_status segment_expand(const mvs_evaluate_call *call, bool spread) {
  const mvs_tensor *m = call->inputs[0], *result = &call->results[0];
  const mvs_segments *table = call->node->attr.segments.table;
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    mvs_evaluate_unravel(call, result, i, index);
    int segment = segment_of(table, index[1]);
    index[1] = segment;
    double value = m->data[mvs_evaluate_ravel(call, m, index, m->type.rank)];
    result->data[i] = value / (spread ? tokens_of(table, segment) : 1);
  }
  return MVS_OK;
}

mvs_status mvs_evaluate_segment_broadcast(const mvs_evaluate_call *call) {
  return segment_expand(call, false);
}

mvs_status mvs_evaluate_segment_spread(const mvs_evaluate_call *call) {
  return segment_expand(call, true);
}

/* --- views --- */

mvs_status mvs_evaluate_reshape(const mvs_evaluate_call *call) {
  call->results[0].data = call->inputs[0]->data;
  return MVS_OK;
}

mvs_status mvs_evaluate_get(const mvs_evaluate_call *call) {
  call->results[0].data = call->inputs[0][call->node->attr.index.value].data;
  return MVS_OK;
}

mvs_status mvs_evaluate_transpose(const mvs_evaluate_call *call) {
  const mvs_tensor *x = call->inputs[0];
  int64_t index[MVS_MAX_RANK], from[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    mvs_evaluate_unravel(call, &call->results[0], i, index);
    for (int axis = 0; axis < x->type.rank; axis++) {
      from[call->node->attr.permutation.axis[axis]] = index[axis];
    }
    call->results[0].data[i] = x->data[mvs_evaluate_ravel(call, x, from, x->type.rank)];
  }
  return MVS_OK;
}

mvs_status mvs_evaluate_slice(const mvs_evaluate_call *call) {
  const mvs_tensor *x = call->inputs[0];
  const mvs_attr *attr = &call->node->attr;
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    mvs_evaluate_unravel(call, &call->results[0], i, index);
    index[attr->slice.axis] += attr->slice.start;
    call->results[0].data[i] = x->data[mvs_evaluate_ravel(call, x, index, x->type.rank)];
  }
  return MVS_OK;
}

/* Writes a tensor into the result, `start` elements further along `axis`. */
static void place(const mvs_evaluate_call *call, const mvs_tensor *part, int axis,
                  int64_t start) {
  const mvs_tensor *result = &call->results[0];
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_tensor_count(part, call->evaluation->batch); i++) {
    mvs_evaluate_unravel(call, part, i, index);
    index[axis] += start;
    result->data[mvs_evaluate_ravel(call, result, index, result->type.rank)] = part->data[i];
  }
}

mvs_status mvs_evaluate_pad(const mvs_evaluate_call *call) {
  place(call, call->inputs[0], call->node->attr.slice.axis, call->node->attr.slice.start);
  return MVS_OK;
}

mvs_status mvs_evaluate_concat(const mvs_evaluate_call *call) {
  int axis = call->node->attr.concat.axis;
  int64_t start = 0;
  for (int i = 0; i < call->node->input_count; i++) {
    place(call, call->inputs[i], axis, start);
    start += mvs_evaluate_extent(call, call->inputs[i], axis);
  }
  return MVS_OK;
}
