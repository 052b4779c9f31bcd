/* element.c: sources, elementwise ops and random numbers. */
#include <math.h>

#include "tests/reference/rules.h"

/* --- sources --- */

/* Takes a given tensor of the node's shape, whatever its dtype. */
static mvs_status take_given(const mvs_evaluate_call *call, const char *name) {
  const mvs_tensor *given = mvs_tensor_map_find(call->evaluation->given, name);
  mvs_diag *diag = call->evaluation->options.diag;
  if (!given) {
    if (diag) mvs_diag_error(diag, call->node->span, "'%s' is not given", name);
    return MVS_ERR_NAME;
  }
  if (!mvs_type_same_shape(&given->type, &call->node->type)) {
    if (diag) mvs_diag_error(diag, call->node->span, "'%s' has another shape", name);
    return MVS_ERR_SHAPE;
  }
  memcpy(call->results[0].data, given->data, (size_t)mvs_evaluate_count(call) * sizeof(double));
  return MVS_OK;
}

mvs_status mvs_evaluate_input(const mvs_evaluate_call *call) {
  return take_given(call, call->node->attr.input.name);
}

/* A pack is its parts, which are what is given, one below the other in each layer. */
static mvs_status take_parts(const mvs_evaluate_call *call, uint32_t pack) {
  const mvs_module *module = mvs_graph_module(call->graph);
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *part = &module->params.items[i];
    if (part->pack != pack) continue;
    const mvs_tensor *given = mvs_tensor_map_find(call->evaluation->given, part->name);
    mvs_diag *diag = call->evaluation->options.diag;
    if (!given) {
      if (diag) mvs_diag_error(diag, call->node->span, "'%s' is not given", part->name);
      return MVS_ERR_NAME;
    }
    mvs_reference_part(module, part, call->results[0].data, given->data, false);
  }
  return MVS_OK;
}

mvs_status mvs_evaluate_param(const mvs_evaluate_call *call) {
  const mvs_module *module = mvs_graph_module(call->graph);
  uint32_t index = call->node->attr.param.index;
  if (module->params.items[index].is_pack) return take_parts(call, index);
  return take_given(call, module->params.items[index].name);
}

mvs_status mvs_evaluate_constant(const mvs_evaluate_call *call) {
  call->results[0].data[0] = call->node->attr.constant.value;
  return MVS_OK;
}

mvs_status mvs_evaluate_iota(const mvs_evaluate_call *call) {
  int64_t index[MVS_MAX_RANK];
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    mvs_evaluate_unravel(call, &call->results[0], i, index);
    call->results[0].data[i] = (double)index[call->node->attr.iota.axis];
  }
  return MVS_OK;
}

/* --- elements --- */

/* Input `which` where the result has its element `flat`. */
static double operand(const mvs_evaluate_call *call, int which, int64_t flat) {
  int64_t index[MVS_MAX_RANK];
  const mvs_tensor *result = &call->results[0], *input = call->inputs[which];
  mvs_evaluate_unravel(call, result, flat, index);
  return input->data[mvs_evaluate_ravel(call, input, index, result->type.rank)];
}

/* A rule that computes `expression` of a, b and c, the operands at one place. */
#define ELEMENT(id, expression)                                         \
  mvs_status mvs_evaluate_##id(const mvs_evaluate_call *call) {         \
    mvs_dtype dtype = call->results[0].type.dtype;                      \
    (void)dtype;                                                        \
    for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {            \
      double a = operand(call, 0, i);                                   \
      double b = call->node->input_count > 1 ? operand(call, 1, i) : 0; \
      double c = call->node->input_count > 2 ? operand(call, 2, i) : 0; \
      (void)b, (void)c;                                                 \
      call->results[0].data[i] = (expression);                          \
    }                                                                   \
    return MVS_OK;                                                      \
  }
ELEMENT(neg, -a)
ELEMENT(exp, exp(a))
ELEMENT(log, log(a))
ELEMENT(sqrt, sqrt(a))
ELEMENT(rsqrt, 1 / sqrt(a))
ELEMENT(sin, sin(a))
ELEMENT(cos, cos(a))
ELEMENT(tanh, tanh(a))
ELEMENT(sigmoid, 1 / (1 + exp(-a)))
ELEMENT(abs, fabs(a))
ELEMENT(floor, floor(a))
ELEMENT(cast, dtype == MVS_I32 ? trunc(a) : a)
ELEMENT(add, a + b)
ELEMENT(sub, a - b)
ELEMENT(mul, a *b)
ELEMENT(div, dtype == MVS_I32 ? trunc(a / b) : a / b)
ELEMENT(max, a > b ? a : b)
ELEMENT(min, a < b ? a : b)
ELEMENT(less, a < b)
ELEMENT(equal, a == b)
ELEMENT(select, a != 0 ? b : c)
ELEMENT(fma, fma(a, b, c))
ELEMENT(broadcast, a)
ELEMENT(normalize, a *b)
#undef ELEMENT

double mvs_reference_bf16(double value) {
  float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  if (isnan(narrow)) return narrow;
  /* Adding half of the last kept bit, less one when that bit is 0, rounds ties to even. */
  bits += 0x7fffu + (bits >> 16 & 1);
  bits &= 0xffff0000u;
  memcpy(&narrow, &bits, sizeof narrow);
  return narrow;
}

/* --- random numbers --- */

void mvs_reference_philox(uint32_t counter[4], const uint32_t key[2]) {
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * counter[0], p1 = (uint64_t)0xCD9E8D57u * counter[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ counter[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ counter[3] ^ k1, (uint32_t)p0};
    memcpy(counter, next, sizeof next);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/* The sum is rounded to f32, as the contract says, so that uniform draws have the same bits. */
static double uniform(uint32_t word) {
  float middle = (float)(word >> 8) + 0.5f;
  return (double)(middle * 0x1p-24f);
}

double mvs_reference_random(mvs_random_kind kind, uint32_t seed, uint32_t stream,
                            uint32_t position, uint32_t sample, uint32_t step) {
  uint32_t words[4] = {position, sample, step, 0}, key[2] = {seed, stream};
  mvs_reference_philox(words, key);
  if (kind == MVS_RANDOM_UNIFORM) return uniform(words[0]);
  double pi = acos(-1.0);
  return sqrt(-2 * log(uniform(words[0]))) * cos(2 * pi * uniform(words[1]));
}

/* The row-major index over all axes but that of the batch. */
static uint32_t position_in_sample(const mvs_evaluate_call *call, int64_t flat) {
  const mvs_tensor *result = &call->results[0];
  int64_t index[MVS_MAX_RANK], position = 0;
  mvs_evaluate_unravel(call, result, flat, index);
  for (int axis = 0; axis < result->type.rank; axis++) {
    if (result->type.dims[axis].per_batch) continue;
    position = position * result->type.dims[axis].size + index[axis];
  }
  return (uint32_t)position;
}

static uint32_t word_of(double value) { return (uint32_t)(int64_t)value; }

mvs_status mvs_evaluate_random(const mvs_evaluate_call *call) {
  const mvs_attr *attr = &call->node->attr;
  uint32_t seed = word_of(call->inputs[0]->data[0]), step = word_of(call->inputs[1]->data[0]);
  for (int64_t i = 0; i < mvs_evaluate_count(call); i++) {
    call->results[0].data[i] =
        mvs_reference_random(attr->random.kind, seed, attr->random.stream,
                             position_in_sample(call, i), word_of(operand(call, 2, i)), step);
  }
  return MVS_OK;
}
