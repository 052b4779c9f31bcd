/* heavy.c: matmul and attention. */
#include <math.h>

#include "tests/reference/rules.h"

/* --- matmul --- */

/* Rows and columns of a tensor seen as a matrix: all leading axes are rows. */
typedef struct matrix {
  const double *data;
  int64_t rows, columns;
} matrix;

static matrix as_matrix(const mvs_evaluate_call *call, const mvs_tensor *tensor) {
  int64_t columns = mvs_evaluate_extent(call, tensor, tensor->type.rank - 1);
  int64_t count = mvs_tensor_count(tensor, call->evaluation->batch);
  return (matrix){tensor->data, count / columns, columns};
}

static double element(matrix m, int64_t row, int64_t column) {
  return m.data[row * m.columns + column];
}

/* One element of the product, without bias. */
static double product(mvs_matmul_form form, matrix a, matrix b, int64_t row, int64_t column) {
  double total = 0;
  switch (form) {
    case MVS_MATMUL_NT: /* x W^T */
      for (int64_t k = 0; k < a.columns; k++)
        total += element(a, row, k) * element(b, column, k);
      return total;
    case MVS_MATMUL_NN: /* dY W */
      for (int64_t k = 0; k < a.columns; k++)
        total += element(a, row, k) * element(b, k, column);
      return total;
    case MVS_MATMUL_TN: /* dY^T X */
      for (int64_t k = 0; k < a.rows; k++) total += element(a, k, row) * element(b, k, column);
      return total;
  }
  return NAN;
}

mvs_status mvs_evaluate_matmul(const mvs_evaluate_call *call) {
  matrix a = as_matrix(call, call->inputs[0]), b = as_matrix(call, call->inputs[1]);
  matrix out = as_matrix(call, &call->results[0]);
  const double *bias = call->node->input_count > 2 ? call->inputs[2]->data : NULL;
  for (int64_t row = 0; row < out.rows; row++) {
    for (int64_t column = 0; column < out.columns; column++) {
      double value = product(call->node->attr.matmul.form, a, b, row, column);
      call->results[0].data[row * out.columns + column] = value + (bias ? bias[column] : 0);
    }
  }
  return MVS_OK;
}

/* --- attention: query head h uses key head h * G / H --- */

typedef struct heads {
  int64_t batch, tokens, heads, groups, width;
  double scale;
} heads;

static heads read_heads(const mvs_evaluate_call *call) {
  const mvs_tensor *q = call->inputs[0], *k = call->inputs[1];
  return (heads){mvs_evaluate_extent(call, q, 0), mvs_evaluate_extent(call, q, 1),
                 mvs_evaluate_extent(call, q, 2), mvs_evaluate_extent(call, k, 2),
                 mvs_evaluate_extent(call, q, 3), call->node->attr.attention.scale};
}

/* The vector of one token and query head in q, o and their gradients. */
static int64_t query_at(const heads *h, int64_t sample, int64_t token, int64_t head) {
  return ((sample * h->tokens + token) * h->heads + head) * h->width;
}

/* The vector of the key head that serves a query head, in k, v and their gradients. */
static int64_t key_at(const heads *h, int64_t sample, int64_t token, int64_t head) {
  int64_t group = head * h->groups / h->heads;
  return ((sample * h->tokens + token) * h->groups + group) * h->width;
}

static double dot(const double *a, const double *b, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; i++) total += a[i] * b[i];
  return total;
}

/* The same of sizes: what rounding errors of a dot product are measured by. */
static double sizes(const double *a, const double *b, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; i++) total += fabs(a[i] * b[i]);
  return total;
}

/* The weights of all keys for one query; returns the log of the sum of exponentials. */
static double softmax(const mvs_evaluate_call *call, const heads *h, int64_t sample,
                      int64_t token, int64_t head, double *weights) {
  const double *q = call->inputs[0]->data + query_at(h, sample, token, head);
  double largest = -INFINITY, total = 0;
  for (int64_t key = 0; key < h->tokens; key++) {
    const double *k = call->inputs[1]->data + key_at(h, sample, key, head);
    weights[key] = h->scale * dot(q, k, h->width);
    largest = weights[key] > largest ? weights[key] : largest;
  }
  for (int64_t key = 0; key < h->tokens; key++) total += exp(weights[key] - largest);
  double log_sum = largest + log(total);
  for (int64_t key = 0; key < h->tokens; key++) {
    double score = weights[key], size = fabs(score) + fabs(log_sum) + 2;
    weights[key] = exp(mvs_evaluate_moved(call, score - log_sum, size));
  }
  return log_sum;
}

/* A weight or slope as a sum over tokens takes it: of bf16 it may be rounded to that
 * (docs/numerics.md). */
static double term(const mvs_evaluate_call *call, double value) {
  bool rounded =
      call->inputs[0]->type.dtype == MVS_BF16 && !call->evaluation->options.noise_f64;
  return rounded ? mvs_evaluate_moved(call, value, 0x1p15 * fabs(value)) : value;
}

static void attend(const mvs_evaluate_call *call, const heads *h, int64_t sample, int64_t token,
                   int64_t head) {
  double *weights = MVS_ARRAY(call->arena, (size_t)h->tokens, double);
  double *o = call->results[0].data + query_at(h, sample, token, head);
  double *lse = call->results[1].data + (sample * h->heads + head) * h->tokens + token;
  *lse = softmax(call, h, sample, token, head, weights);
  for (int64_t key = 0; key < h->tokens; key++) {
    const double *v = call->inputs[2]->data + key_at(h, sample, key, head);
    double weight = term(call, weights[key]);
    for (int64_t i = 0; i < h->width; i++) o[i] += weight * v[i];
  }
}

/* Calls `each` for every sample, token and query head. */
static mvs_status for_queries(const mvs_evaluate_call *call,
                              void (*each)(const mvs_evaluate_call *, const heads *, int64_t,
                                           int64_t, int64_t)) {
  heads h = read_heads(call);
  for (int64_t sample = 0; sample < h.batch; sample++) {
    for (int64_t token = 0; token < h.tokens; token++) {
      for (int64_t head = 0; head < h.heads; head++) each(call, &h, sample, token, head);
    }
  }
  return MVS_OK;
}

mvs_status mvs_evaluate_attention(const mvs_evaluate_call *call) {
  return for_queries(call, attend);
}

/* With weights p, result o = p v and its gradient do:
 *   dp = do v^T,  ds = p * (dp - sum of p * dp),  dq = scale ds k,  dk = scale ds^T q,  dv =
 * p^T do. The inputs o and lse only spare work, so they are not looked at here. */
static void attend_back(const mvs_evaluate_call *call, const heads *h, int64_t sample,
                        int64_t token, int64_t head) {
  double *p = MVS_ARRAY(call->arena, (size_t)h->tokens, double);
  double *dp = MVS_ARRAY(call->arena, (size_t)h->tokens, double);
  int64_t query = query_at(h, sample, token, head);
  const double *q = call->inputs[0]->data + query, *d_o = call->inputs[5]->data + query;
  double *dq = call->results[0].data + query;
  softmax(call, h, sample, token, head, p);
  for (int64_t key = 0; key < h->tokens; key++) {
    dp[key] = dot(d_o, call->inputs[2]->data + key_at(h, sample, key, head), h->width);
  }
  double *span = MVS_ARRAY(call->arena, (size_t)h->tokens, double); /* of the terms of dp */
  for (int64_t key = 0; key < h->tokens; key++) {
    span[key] = sizes(d_o, call->inputs[2]->data + key_at(h, sample, key, head), h->width);
  }
  double mean = dot(p, dp, h->tokens), whole = dot(p, span, h->tokens), stored = 0;
  if (call->inputs[3]->type.dtype == MVS_BF16) /* the mean is taken as do o, of the rounded o */
    stored = 0x1p15 * sizes(call->inputs[3]->data + query, d_o, h->width);
  for (int64_t key = 0; key < h->tokens; key++) {
    int64_t at = key_at(h, sample, key, head);
    double size = sqrt((double)(h->width + h->tokens)) * (span[key] + whole) + stored;
    double ds = h->scale * p[key] * mvs_evaluate_moved(call, dp[key] - mean, size);
    double slope = term(call, ds), weight = term(call, p[key]);
    for (int64_t i = 0; i < h->width; i++) {
      dq[i] += slope * call->inputs[1]->data[at + i];
      call->results[1].data[at + i] += slope * q[i];
      call->results[2].data[at + i] += weight * d_o[i];
    }
  }
}

mvs_status mvs_evaluate_attention_grad(const mvs_evaluate_call *call) {
  return for_queries(call, attend_back);
}
