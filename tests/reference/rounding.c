/* rounding.c: what rounding to f32, bf16 or float64 may do to a value, by trying. Each value
 * that its dtype cannot hold is moved by a random share of half its last place; values that it
 * holds stay, since correctly rounded operations give them exactly (indices, counts and what is
 * decided by them). Sums round once a term, and terms may cancel, so what goes into a sum of n
 * terms is moved too, by the root of n as much: roundings of either sign add up like steps of a
 * random walk (Higham and Mary, A new approach to probabilistic rounding error analysis, 2019).
 *
 * The share follows from the sample, the op, the place and the value. So a value that is
 * computed twice, as the backward pass computes again what it did not keep, is moved once:
 * programs get the same bits, and a maximum is found among what it was taken of. */
#include <math.h>
#include <string.h>

#include "tests/reference/rules.h"

#define F32_UNIT   0x1p-24 /* half of a last place, relative */
#define BF16_UNIT  0x1p-9
#define F64_UNIT   0x1p-52  /* a whole last place: half of one would mostly be rounded away */
#define F32_LEAST  0x1p-150 /* half of the smallest number */
#define POLYNOMIAL 4        /* units: transcendental functions are within two places */

/* A number in [-1, 1). splitmix64's last steps spread every bit over all. */
static double draw(const mvs_evaluate_call *call, int64_t place, double value) {
  uint64_t bits, parts[] = {(uint64_t)call->node->op + 1, (uint64_t)place};
  memcpy(&bits, &value, sizeof bits);
  bits ^= call->evaluation->options.noise * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 2; i++) {
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu + parts[i] * 0x9e3779b97f4a7c15u;
  }
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits ^= bits >> 31;
  return (double)(int32_t)(bits >> 32) * 0x1p-31;
}

static bool holds(mvs_dtype dtype, double value) {
  if (dtype == MVS_BF16) return mvs_reference_bf16(value) == value;
  return (double)(float)value == value;
}

static double unit_of(const mvs_reference_options *options, mvs_dtype dtype) {
  if (options->noise_f64) return F64_UNIT;
  return dtype == MVS_BF16 ? BF16_UNIT : F32_UNIT;
}

static double moved(const mvs_evaluate_call *call, int64_t place, mvs_dtype dtype, double units,
                    double value) {
  const mvs_reference_options *options = &call->evaluation->options;
  if (holds(dtype, value) || !isfinite(value)) return value;
  double least = options->noise_f64 ? 0 : F32_LEAST;
  double size = units * unit_of(options, dtype) * fabs(value) + least;
  return value + draw(call, place, value) * size;
}

static mvs_tensor moved_tensor(const mvs_evaluate_call *call, const mvs_tensor *tensor,
                               double units) {
  mvs_tensor copy = mvs_tensor_new(call->arena, &tensor->type, call->evaluation->batch);
  const mvs_reference_options *options = &call->evaluation->options;
  double unit = unit_of(options, MVS_F32); /* of the sum */
  int64_t count = mvs_tensor_count(tensor, call->evaluation->batch);
  for (int64_t i = 0; i < count; i++) {
    double value = tensor->data[i];
    copy.data[i] = value + draw(call, i, value) * units * unit * fabs(value);
  }
  return copy;
}

double mvs_evaluate_moved(const mvs_evaluate_call *call, double value, double size) {
  const mvs_reference_options *options = &call->evaluation->options;
  if (!options->noise) return value;
  return value + draw(call, 0, value) * unit_of(options, MVS_F32) * size;
}

/* How many terms a result of the node sums up; 0 for what is no sum. */
static double terms(const mvs_evaluate_call *call) {
  const mvs_tensor *a = call->inputs[0];
  int last = a->type.rank - 1;
  int64_t batch = call->evaluation->batch;
  switch (call->node->op) {
    case MVS_OP_sum:
    case MVS_OP_inv_rms:
    case MVS_OP_segment_sum:
    case MVS_OP_segment_mean:
      return (double)mvs_tensor_count(a, batch) / (double)mvs_evaluate_count(call);
    case MVS_OP_matmul:
      if (call->node->attr.matmul.form != MVS_MATMUL_TN) return (double)a->type.dims[last].size;
      return (double)mvs_tensor_count(a, batch) / (double)a->type.dims[last].size;
    case MVS_OP_attention:
    case MVS_OP_attention_grad: /* over keys, and over a head's features */
      return (double)(a->type.dims[1].size + a->type.dims[last].size);
    default:
      return 0;
  }
}

void mvs_evaluate_move_terms(mvs_evaluate_call *call) {
  double count = call->node->input_count ? terms(call) : 0;
  if (!count) return;
  const mvs_tensor **inputs =
      MVS_ARRAY(call->arena, call->node->input_count, const mvs_tensor *);
  for (int i = 0; i < call->node->input_count; i++) {
    mvs_tensor *copy = MVS_NEW(call->arena, mvs_tensor);
    *copy = moved_tensor(call, call->inputs[i], sqrt(count));
    inputs[i] = copy;
  }
  call->inputs = inputs;
}

/* In units: how far a result of the op may be from the exact one. */
static double units_of(mvs_op op) {
  switch (op) {
    case MVS_OP_exp:
    case MVS_OP_log:
    case MVS_OP_sin:
    case MVS_OP_cos:
    case MVS_OP_tanh:
    case MVS_OP_sigmoid:
      return POLYNOMIAL;
    case MVS_OP_rsqrt:
    case MVS_OP_inv_rms:
      return 2; /* two steps */
    case MVS_OP_neg:
    case MVS_OP_abs:
    case MVS_OP_floor:
    case MVS_OP_max:
    case MVS_OP_min:
    case MVS_OP_less:
    case MVS_OP_equal:
    case MVS_OP_select:
    case MVS_OP_broadcast:
    case MVS_OP_max_over:
    case MVS_OP_segment_broadcast:
    case MVS_OP_random:
    case MVS_OP_region:
      return 0;
    default:
      return 1;
  }
}

void mvs_evaluate_move_results(const mvs_evaluate_call *call, uint32_t count) {
  const mvs_node *node = call->node;
  mvs_op_class op_class = mvs_ops[node->op].op_class;
  bool computes = node->op == MVS_OP_constant ||
                  (op_class != MVS_CLASS_SOURCE && op_class != MVS_CLASS_VIEW);
  double units = computes ? units_of(node->op) : 0;
  for (uint32_t i = 0; i < count && units; i++) {
    mvs_tensor *result = &call->results[i];
    mvs_dtype dtype = result->type.dtype;
    if (dtype != MVS_F32 && dtype != MVS_BF16) continue;
    int64_t elements = mvs_tensor_count(result, call->evaluation->batch);
    double *largest = call->evaluation->options.largest;
    for (int64_t k = 0; k < elements; k++) {
      result->data[k] = moved(call, k, dtype, units, result->data[k]);
      if (largest && !(fabs(result->data[k]) <= *largest)) *largest = fabs(result->data[k]);
    }
  }
}
