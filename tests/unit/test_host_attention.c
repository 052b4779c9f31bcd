/* Attention and its gradient against float64 loops: odd sizes, grouped key-value heads, bf16.
 */
#include "codegen/host/printed.h"
#include "tests/unit/host_harness.h"

typedef struct shape {
  int64_t tokens, heads, kv_heads, dim;
  mvs_dtype dtype;
  int64_t gap; /* elements between tokens that belong to no head; another for each operand */
} shape;

enum { Q, K, V, O, LSE, DO, DQ, DK, DV, COUNT };

static bool is_keys(int operand) {
  return operand == K || operand == V || operand == DK || operand == DV;
}

/* Elements from one token to the next. */
static int64_t stride(const shape *s, int operand) {
  int64_t heads = is_keys(operand) ? s->kv_heads : s->heads;
  return heads * s->dim + (s->gap ? s->gap + operand : 0);
}

static void build(harness *h, const shape *s, bool gradient) {
  harness_open(h, "k0_attention", gradient ? MVS_KERNEL_ATTENTION_GRAD : MVS_KERNEL_ATTENTION);
  for (int i = 0; i < (gradient ? COUNT : DO); ++i) {
    bool written = gradient ? i >= DQ : i >= O;
    add_operand(h, i == LSE ? MVS_F32 : s->dtype, written);
  }
  h->kernel.attention = (mvs_attention_shape){
      s->tokens, s->heads, s->kv_heads, s->dim, 1 / sqrt((double)s->dim), s->dtype, {0}};
  for (int i = 0; i < (gradient ? COUNT : DO); ++i) {
    h->kernel.attention.strides[i] = i == LSE ? 0 : stride(s, i);
  }
}

/* --- the reference, one query of one head --- */

typedef struct reference {
  const shape *s;
  void **operands;
  double *sums[COUNT];  /* what O, LSE, DQ, DK, DV should be */
  double *sizes[COUNT]; /* the same sums of the sizes of their terms */
  double rounded; /* relative: how far weights and slopes are rounded, half a last place */
} reference;

/* A row of an operand: a token of a sample, one head of it. */
typedef struct row {
  int64_t b, t, head;
} row;

static int64_t at(const shape *s, int operand, row r) {
  return (r.b * s->tokens + r.t) * stride(s, operand) + r.head * s->dim;
}

static double dot(const reference *r, int a, row a_row, int b, row b_row) {
  double sum = 0;
  for (int64_t d = 0; d < r->s->dim; ++d) {
    sum += take(r->operands[a], r->s->dtype, at(r->s, a, a_row) + d) *
           take(r->operands[b], r->s->dtype, at(r->s, b, b_row) + d);
  }
  return sum;
}

/* sums[to] of one row += weight * that row of operand `from`. */
static void add_row(reference *r, int to, row to_row, double weight, int from, row from_row) {
  for (int64_t d = 0; d < r->s->dim; ++d) {
    double term = weight * take(r->operands[from], r->s->dtype, at(r->s, from, from_row) + d);
    r->sums[to][at(r->s, to, to_row) + d] += term;
    r->sizes[to][at(r->s, to, to_row) + d] += fabs(term);
  }
}

/* Weights of one query into p; returns the log of their sum. */
static double weights(const reference *r, int64_t b, int64_t head, int64_t q, double *p) {
  const shape *s = r->s;
  double scale = 1 / sqrt((double)s->dim), most = -INFINITY, total = 0;
  int64_t kv = head / (s->heads / s->kv_heads);
  for (int64_t j = 0; j < s->tokens; ++j) {
    p[j] = scale * dot(r, Q, (row){b, q, head}, K, (row){b, j, kv});
    most = fmax(most, p[j]);
  }
  for (int64_t j = 0; j < s->tokens; ++j) total += exp(p[j] - most);
  for (int64_t j = 0; j < s->tokens; ++j) p[j] = exp(p[j] - most) / total;
  return most + log(total);
}

static void forward_query(reference *r, int64_t b, int64_t head, int64_t q, const double *p) {
  const shape *s = r->s;
  int64_t kv = head / (s->heads / s->kv_heads);
  for (int64_t j = 0; j < s->tokens; ++j) {
    add_row(r, O, (row){b, q, head}, p[j], V, (row){b, j, kv});
  }
}

static void backward_query(reference *r, int64_t b, int64_t head, int64_t q, const double *p) {
  const shape *s = r->s;
  double scale = 1 / sqrt((double)s->dim);
  int64_t kv = head / (s->heads / s->kv_heads);
  row query = {b, q, head};
  double delta = dot(r, DO, query, O, query);
  for (int64_t j = 0; j < s->tokens; ++j) {
    row key = {b, j, kv};
    double slope = scale * p[j] * (dot(r, DO, query, V, key) - delta);
    add_row(r, DQ, query, slope, K, key);
    add_row(r, DK, key, slope, Q, query);
    add_row(r, DV, key, p[j], DO, query);
  }
}

static void expect(reference *r, int64_t batch, bool gradient) {
  const shape *s = r->s;
  double *p = calloc((size_t)s->tokens, sizeof *p);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t head = 0; head < s->heads; ++head) {
      for (int64_t q = 0; q < s->tokens; ++q) {
        double lse = weights(r, b, head, q, p);
        if (gradient) {
          backward_query(r, b, head, q, p);
        } else {
          r->sums[LSE][(b * s->heads + head) * s->tokens + q] = lse;
          forward_query(r, b, head, q, p);
        }
      }
    }
  }
  free(p);
}

/* --- comparison --- */

static int64_t size_of(const shape *s, int operand, int64_t batch) {
  if (operand == LSE) return batch * s->heads * s->tokens;
  return batch * s->tokens * stride(s, operand);
}

/* What lies between tokens belongs to others: it must stay as it was. */
static bool in_gap(const shape *s, int operand, int64_t i) {
  int64_t heads = is_keys(operand) ? s->kv_heads : s->heads;
  return operand != LSE && i % stride(s, operand) >= heads * s->dim;
}

static void compare(const reference *r, int operand, int64_t batch) {
  mvs_dtype dtype = operand == LSE ? MVS_F32 : r->s->dtype;
  for (int64_t i = 0; i < size_of(r->s, operand, batch); ++i) {
    double want = r->sums[operand][i], got = take(r->operands[operand], dtype, i);
    if (in_gap(r->s, operand, i)) {
      assert_true(isnan(got)); /* as make_array left it */
      continue;
    }
    /* The gradient reads an o that was rounded to bf16: 2^-9 of a few. In tiles each term has a
     * rounded weight. */
    double allowed = dtype == MVS_BF16 ? fabs(want) * 0x1p-8 + 1e-3 : 1e-5;
    if (operand != LSE) allowed += r->rounded * r->sizes[operand][i];
    if (!(fabs(got - want) <= allowed)) {
      print_message("operand %d at %ld: %g, not %g\n", operand, (long)i, got, want);
    }
    assert_true(fabs(got - want) <= allowed);
  }
}

static void run_kernel(const shape *s, int level, bool gradient, reference *r, int64_t batch) {
  harness h;
  build(&h, s, gradient);
  harness_compile(&h, level, false);
  void *operands[COUNT + 1];
  memcpy(operands, r->operands, COUNT * sizeof *operands);
  h.units = batch == 1 ? 1 : 3; /* the second of a call finds what the first left in scratch */
  if (level_runs(level)) harness_run(&h, operands, batch, 0);
  harness_close(&h);
}

static void run_shape(const shape *s, int level, int64_t batch) {
  void *operands[COUNT];
  bool tiles = mvs_attention_in_tiles(
      &(mvs_attention_shape){.tokens = s->tokens, .dtype = s->dtype}, (mvs_cpu_level)level);
  reference r = {.s = s, .operands = operands, .rounded = tiles ? 0x1p-9 : 0};
  uint64_t seed = 12;
  for (int i = 0; i < COUNT; ++i) {
    bool given = i <= V || i == DO;
    int64_t size = size_of(s, i, batch);
    operands[i] = make_array(i == LSE ? MVS_F32 : s->dtype, size, given ? &seed : NULL);
    r.sums[i] = calloc((size_t)size, sizeof(double));
    r.sizes[i] = calloc((size_t)size, sizeof(double));
  }
  for (int gradient = 0; gradient < 2 && level_runs(level); ++gradient) {
    run_kernel(s, level, gradient, &r, batch);
    expect(&r, batch, gradient);
    for (int i = gradient ? DQ : O; i < (gradient ? COUNT : DO); ++i) compare(&r, i, batch);
  }
  for (int i = 0; i < COUNT; ++i) drop(operands[i]), free(r.sums[i]), free(r.sizes[i]);
}

static void odd_shapes(void **state) {
  (void)state;
  static const shape shapes[] = {
      {1, 1, 1, 1, MVS_F32, 0},     {7, 2, 1, 15, MVS_F32, 0},    {20, 4, 4, 16, MVS_F32, 0},
      {33, 4, 2, 33, MVS_F32, 0},   {17, 6, 2, 8, MVS_BF16, 0},   {80, 2, 1, 64, MVS_BF16, 0},
      {49, 3, 3, 70, MVS_F32, 0},   {600, 1, 1, 16, MVS_F32, 0},  {33, 4, 2, 17, MVS_F32, 5},
      {20, 2, 2, 16, MVS_BF16, 32}, {20, 4, 2, 16, MVS_F32, 5},   {32, 2, 2, 48, MVS_F32, 3},
      {1, 2, 1, 1, MVS_BF16, 0},    {33, 1, 1, 1, MVS_BF16, 3},   {33, 4, 2, 70, MVS_BF16, 0},
      {64, 2, 1, 32, MVS_BF16, 2},  {545, 1, 1, 16, MVS_BF16, 0}, {96, 4, 2, 96, MVS_BF16, 0},
      {49, 6, 2, 33, MVS_BF16, 4},  {47, 2, 2, 64, MVS_BF16, 1},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
    int levels = shapes[i].dtype == MVS_BF16 ? MVS_CPU_LEVELS : LEVELS;
    for (int level = 0; level < levels; ++level)
      run_shape(&shapes[i], level, 1 + (int64_t)i % 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(odd_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
