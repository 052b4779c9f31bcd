/* ROWS and COLUMNS nests against float64 loops, at odd sizes, on both instruction-set levels,
 * as a mapped block and through the JIT. */
#include "tests/unit/host_harness.h"

/* --- building instructions --- */

static mvs_instr constant(double value) {
  return (mvs_instr){.kind = MVS_INSTR_CONSTANT, .value = value};
}

static mvs_instr arith(mvs_op op, uint16_t a, uint16_t b, uint16_t c) {
  return (mvs_instr){
      .kind = MVS_INSTR_ARITH, .op = op, .level = MVS_LEVEL_ELEMENT, .arguments = {a, b, c}};
}

static mvs_instr reduce(mvs_op op, uint16_t a) {
  return (mvs_instr){.kind = MVS_INSTR_REDUCE, .op = op, .arguments = {a}};
}

static mvs_instr memory(mvs_instr_kind kind, int operand, uint16_t value, int64_t inner) {
  mvs_instr instr = {.kind = kind, .level = MVS_LEVEL_ELEMENT, .arguments = {value}};
  instr.access.operand = (uint16_t)operand;
  instr.access.inner = inner;
  return instr;
}

static mvs_instr in_phase(mvs_instr instr, mvs_level level, uint8_t phase) {
  instr.level = level;
  instr.phase = phase;
  return instr;
}

/* --- an RMS norm with a gain: two phases --- */

/* x [B, 3, size] -> y = x * rsqrt(mean x^2 + 1e-5) * g, inv [B, 3, 1]; exp kept for both phases
 * so that staging takes part: y += 0.001 exp(x), the sum is of x^2 + exp(x). */
static void build_norm(harness *h, mvs_dtype dtype, int64_t size) {
  int x = add_operand(h, dtype, false), g = add_operand(h, MVS_F32, false);
  int y = add_operand(h, dtype, true), inv = add_operand(h, MVS_F32, true);
  mvs_nest *nest = add_nest(h, MVS_KERNEL_ROWS);
  nest->outer_count = 2;
  nest->outer[0] = (mvs_dim){1, true};
  nest->outer[1] = (mvs_dim){3, false};
  nest->inner = (mvs_dim){size, false};
  nest->phases = 2;
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
  load.access.outer[0] = 3 * size;
  load.access.outer[1] = size;
  uint16_t vx = add_instr(h, nest, load);
  uint16_t square = add_instr(h, nest, arith(MVS_OP_mul, vx, vx, 0));
  mvs_instr power = arith(MVS_OP_exp, vx, 0, 0);
  power.keep = true;
  uint16_t vexp = add_instr(h, nest, power);
  uint16_t both = add_instr(h, nest, arith(MVS_OP_add, square, vexp, 0));
  uint16_t total = add_instr(h, nest, reduce(MVS_OP_sum, both));
  uint16_t scale = add_instr(h, nest, constant(1.0 / (double)size));
  uint16_t eps = add_instr(h, nest, constant(1e-5));
  uint16_t mean =
      add_instr(h, nest, in_phase(arith(MVS_OP_fma, total, scale, eps), MVS_LEVEL_ROW, 1));
  uint16_t r = add_instr(h, nest, in_phase(arith(MVS_OP_rsqrt, mean, 0, 0), MVS_LEVEL_ROW, 1));
  uint16_t vg = add_instr(h, nest, memory(MVS_INSTR_LOAD, g, 0, 1));
  uint16_t normal =
      add_instr(h, nest, in_phase(arith(MVS_OP_mul, vx, r, 0), MVS_LEVEL_ELEMENT, 1));
  uint16_t gained =
      add_instr(h, nest, in_phase(arith(MVS_OP_mul, normal, vg, 0), MVS_LEVEL_ELEMENT, 1));
  uint16_t tiny = add_instr(h, nest, constant(0.001));
  uint16_t out =
      add_instr(h, nest, in_phase(arith(MVS_OP_fma, vexp, tiny, gained), MVS_LEVEL_ELEMENT, 1));
  mvs_instr store = in_phase(memory(MVS_INSTR_STORE, y, out, 1), MVS_LEVEL_ELEMENT, 1);
  store.access.outer[0] = 3 * size;
  store.access.outer[1] = size;
  add_instr(h, nest, store);
  mvs_instr row = in_phase(memory(MVS_INSTR_STORE, inv, r, 0), MVS_LEVEL_ROW, 1);
  row.access.outer[0] = 3;
  row.access.outer[1] = 1;
  add_instr(h, nest, row);
}

static void check_norm(const harness *h, void **operands, mvs_dtype dtype, int64_t rows,
                       int64_t size) {
  (void)h;
  /* bf16: half an ulp of 2^-8; f32: some 2^-24 each of a dozen roundings. */
  double tolerance = dtype == MVS_BF16 ? 5e-3 : 2e-6;
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) {
      double x = take(operands[0], dtype, row * size + i);
      sum += x * x + exp(x);
    }
    double r = 1 / sqrt(sum / (double)size + 1e-5);
    assert_true(fabs(take(operands[3], MVS_F32, row) / r - 1) < 1e-6);
    for (int64_t i = 0; i < size; ++i) {
      double x = take(operands[0], dtype, row * size + i);
      double want = x * r * take(operands[1], MVS_F32, i) + 0.001 * exp(x);
      double got = take(operands[2], dtype, row * size + i);
      assert_true(fabs(got - want) <= tolerance * (fabs(want) + 0.01));
    }
  }
}

static void norm_rows(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 7, 15, 16, 17, 33, 64, 65, 1000};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
    for (int level = 0; level < LEVELS; ++level) {
      mvs_dtype dtype = s % 2 ? MVS_BF16 : MVS_F32;
      harness h;
      harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
      build_norm(&h, dtype, sizes[s]);
      harness_compile(&h, level, s == 3);
      if (level_runs(level)) {
        for (int64_t batch = 1; batch <= 5; batch += 4) {
          uint64_t seed = 1;
          int64_t rows = 3 * batch, size = sizes[s];
          void *operands[5] = {
              make_array(dtype, rows * size, &seed), make_array(MVS_F32, size, &seed),
              make_array(dtype, rows * size, NULL), make_array(MVS_F32, rows, NULL)};
          harness_run(&h, operands, batch, 0);
          check_norm(&h, operands, dtype, rows, size);
          for (int i = 0; i < 4; ++i) drop(operands[i]);
        }
      }
      harness_close(&h);
    }
  }
}

/* --- the same bits on both levels --- */

static void same_bits(void **state) {
  (void)state;
  if (!level_runs(1)) skip();
  uint64_t seed = 9;
  int64_t size = 1003;
  void *x = make_array(MVS_F32, 3 * size, &seed), *g = make_array(MVS_F32, size, &seed);
  void *y[LEVELS], *inv[LEVELS];
  for (int level = 0; level < LEVELS; ++level) {
    harness h;
    harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
    build_norm(&h, MVS_F32, size);
    harness_compile(&h, level, false);
    y[level] = make_array(MVS_F32, 3 * size, NULL);
    inv[level] = make_array(MVS_F32, 3, NULL);
    harness_run(&h, (void *[]){x, g, y[level], inv[level], NULL}, 1, 0);
    harness_close(&h);
  }
  assert_memory_equal(y[0], y[1], (size_t)(3 * size) * 4);
  assert_memory_equal(inv[0], inv[1], 12);
  for (int level = 0; level < LEVELS; ++level) drop(y[level]), drop(inv[level]);
  drop(x), drop(g);
}

/* --- the tree of a row's sum --- */

/* The sum of x as docs/numerics.md says it: 64 lanes in order, then halves. */
static float sum_by_lanes(const float *x, int64_t size) {
  float lanes[64] = {0};
  for (int64_t i = 0; i < size; ++i) lanes[i % 64] += x[i];
  for (int half = 32; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

/* y [B, 3, 1] = the sum and z = the maximum of x [B, 3, size]: bit for bit, for rows alone and
 * rows printed together, of every kind of rest. */
static void row_trees(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 16, 31, 64, 65, 80, 111, 128, 1003, 1024};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes * LEVELS; ++s) {
    int64_t size = sizes[s / LEVELS], rows = 15;
    int level = s % LEVELS;
    harness h;
    harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
    int x = add_operand(&h, MVS_F32, false);
    int y = add_operand(&h, MVS_F32, true), z = add_operand(&h, MVS_F32, true);
    mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
    nest->outer_count = 1;
    nest->outer[0] = (mvs_dim){3, true};
    nest->inner = (mvs_dim){size, false};
    nest->phases = 2;
    mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
    load.access.outer[0] = size;
    uint16_t value = add_instr(&h, nest, load);
    uint16_t total = add_instr(&h, nest, reduce(MVS_OP_sum, value));
    uint16_t most = add_instr(&h, nest, reduce(MVS_OP_max_over, value));
    for (int i = 0; i < 2; ++i) {
      mvs_instr store =
          in_phase(memory(MVS_INSTR_STORE, i ? z : y, i ? most : total, 0), MVS_LEVEL_ROW, 1);
      store.access.outer[0] = 1;
      add_instr(&h, nest, store);
    }
    harness_compile(&h, level, false);
    if (level_runs(level)) {
      uint64_t seed = s + 1;
      float *values = make_array(MVS_F32, rows * size, &seed);
      float *sums = make_array(MVS_F32, rows, NULL);
      float *greatest = make_array(MVS_F32, rows, NULL);
      harness_run(&h, (void *[]){values, sums, greatest, NULL}, rows / 3, 0);
      for (int64_t row = 0; row < rows; ++row) {
        float want = sum_by_lanes(values + row * size, size), top = -INFINITY;
        for (int64_t i = 0; i < size; ++i) top = fmaxf(top, values[row * size + i]);
        assert_memory_equal(&sums[row], &want, 4);
        assert_memory_equal(&greatest[row], &top, 4);
      }
      drop(values), drop(sums), drop(greatest);
    }
    harness_close(&h);
  }
}

/* --- segments, strides, indices --- */

static const mvs_segments two_segments = {2, {{"image", 5, 0, 0}, {"text", 2, 0, 0}}};

/* y[b, t, i] = x[b, t, 2 i] + mean[b, segment(t), i] + t + 100 layer + i; y stored with
 * stride 3. */
static void strided_segments(void **state) {
  (void)state;
  enum { T = 7, SIZE = 19, BATCH = 2 };
  harness h;
  harness_open(&h, "k1_rows", MVS_KERNEL_ROWS);
  int x = add_operand(&h, MVS_F32, false), m = add_operand(&h, MVS_BF16, false);
  int y = add_operand(&h, MVS_F32, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
  nest->outer_count = 2;
  nest->outer[0] = (mvs_dim){1, true};
  nest->outer[1] = (mvs_dim){T, false};
  nest->inner = (mvs_dim){SIZE, false};
  nest->segment_axis = 1;
  nest->segments = &two_segments;
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 2);
  load.access.outer[0] = T * SIZE * 2;
  load.access.outer[1] = SIZE * 2;
  uint16_t vx = add_instr(&h, nest, load);
  mvs_instr mean = memory(MVS_INSTR_LOAD, m, 0, 1);
  mean.access.outer[0] = 2 * SIZE;
  mean.access.segment = SIZE;
  uint16_t vm = add_instr(&h, nest, mean);
  mvs_instr index = {.kind = MVS_INSTR_INDEX, .dtype = MVS_I32, .axis = 1};
  uint16_t token = add_instr(&h, nest, index);
  index.axis = MVS_INNER;
  index.level = MVS_LEVEL_ELEMENT;
  uint16_t inner = add_instr(&h, nest, index);
  uint16_t layer = add_instr(&h, nest, (mvs_instr){.kind = MVS_INSTR_LAYER, .dtype = MVS_I32});
  uint16_t hundred = add_instr(&h, nest, constant(100));
  uint16_t sum = add_instr(&h, nest, arith(MVS_OP_add, vx, vm, 0));
  sum = add_instr(&h, nest, arith(MVS_OP_add, sum, token, 0));
  sum = add_instr(&h, nest, arith(MVS_OP_add, sum, inner, 0));
  mvs_instr cast = in_phase(arith(MVS_OP_cast, layer, 0, 0), MVS_LEVEL_ROW, 0);
  cast.to = MVS_F32;
  uint16_t real_layer = add_instr(&h, nest, cast);
  sum = add_instr(&h, nest, arith(MVS_OP_fma, hundred, real_layer, sum));
  mvs_instr store = memory(MVS_INSTR_STORE, y, sum, 3);
  store.access.outer[0] = T * SIZE * 3;
  store.access.outer[1] = SIZE * 3;
  add_instr(&h, nest, store);
  uint64_t seed = 3;
  void *operands[4] = {make_array(MVS_F32, BATCH * T * SIZE * 2, &seed),
                       make_array(MVS_BF16, BATCH * 2 * SIZE, &seed)};
  for (int level = 0; level < LEVELS; ++level) {
    harness_compile(&h, level, false);
    if (!level_runs(level)) continue;
    operands[2] = make_array(MVS_F32, BATCH * T * SIZE * 3, NULL);
    harness_run(&h, operands, BATCH, 4);
    for (int64_t row = 0; row < BATCH * T; ++row) {
      int64_t t = row % T, segment = row / T * 2 + (t >= 5);
      for (int64_t i = 0; i < SIZE; ++i) {
        double want = take(operands[0], MVS_F32, (row * SIZE + i) * 2) +
                      take(operands[1], MVS_BF16, segment * SIZE + i) + (double)t + (double)i +
                      400;
        assert_true(fabs(take(operands[2], MVS_F32, (row * SIZE + i) * 3) - want) < 1e-4);
      }
    }
    drop(operands[2]);
  }
  drop(operands[0]), drop(operands[1]);
  harness_close(&h);
}

/* --- columns: means of segments, and sums over the batch --- */

/* y[b, s, i] = half the sum of x[b, t, i] w[t] over the tokens t of segment s. */
static void build_means(harness *h, const mvs_segments *segments, int64_t size) {
  int64_t tokens = mvs_segments_length(segments);
  int x = add_operand(h, MVS_F32, false), w = add_operand(h, MVS_F32, false);
  int y = add_operand(h, MVS_F32, true);
  mvs_nest *nest = add_nest(h, MVS_KERNEL_COLUMNS);
  nest->outer_count = 2;
  nest->outer[0] = (mvs_dim){1, true};
  nest->outer[1] = (mvs_dim){2, false};
  nest->inner = (mvs_dim){size, false};
  nest->segment_axis = 1;
  nest->segments = segments;
  nest->phases = 2;
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
  load.access.outer[0] = tokens * size;
  load.access.sequential = size;
  uint16_t vx = add_instr(h, nest, load);
  mvs_instr weight = memory(MVS_INSTR_LOAD, w, 0, 0); /* one number per token */
  weight.access.sequential = 1;
  uint16_t vw = add_instr(h, nest, weight);
  uint16_t product = add_instr(h, nest, arith(MVS_OP_mul, vx, vw, 0));
  uint16_t total =
      add_instr(h, nest, in_phase(reduce(MVS_OP_sum, product), MVS_LEVEL_ELEMENT, 0));
  uint16_t half = add_instr(h, nest, constant(0.5));
  uint16_t out =
      add_instr(h, nest, in_phase(arith(MVS_OP_mul, total, half, 0), MVS_LEVEL_ELEMENT, 1));
  mvs_instr store = in_phase(memory(MVS_INSTR_STORE, y, out, 1), MVS_LEVEL_ELEMENT, 1);
  store.access.outer[0] = 2 * size;
  store.access.outer[1] = size;
  add_instr(h, nest, store);
}

static void check_means(const mvs_segments *segments, int64_t size, int64_t batch) {
  int64_t tokens = mvs_segments_length(segments), first = segments->items[0].length;
  harness h;
  harness_open(&h, "k2_columns", MVS_KERNEL_COLUMNS);
  build_means(&h, segments, size);
  uint64_t seed = 5;
  void *operands[4] = {make_array(MVS_F32, batch * tokens * size, &seed),
                       make_array(MVS_F32, tokens, &seed)};
  for (int level = 0; level < LEVELS; ++level) {
    harness_compile(&h, level, false);
    if (!level_runs(level)) continue;
    operands[2] = make_array(MVS_F32, batch * 2 * size, NULL);
    harness_run(&h, operands, batch, 0);
    for (int64_t at = 0; at < batch * 2 * size; ++at) {
      int64_t i = at % size, segment = at / size % 2, b = at / size / 2;
      double sum = 0;
      for (int64_t t = segment ? first : 0; t < (segment ? tokens : first); ++t) {
        sum += take(operands[0], MVS_F32, (b * tokens + t) * size + i) *
               take(operands[1], MVS_F32, t);
      }
      /* A sum of some tens below 1 in f32: a few roundings of 2^-24 of its size. */
      assert_true(fabs(take(operands[2], MVS_F32, at) - sum / 2) < 1e-6);
    }
    drop(operands[2]);
  }
  drop(operands[0]), drop(operands[1]);
  harness_close(&h);
}

/* A segment of one token, of fewer and of more than the 16 lanes; one sample and several. */
static void segment_means(void **state) {
  (void)state;
  static const mvs_segments lone = {2, {{"image", 39, 0, 0}, {"text", 1, 0, 0}}};
  static const int64_t sizes[] = {1, 7, 16, 33, 64, 100, 200};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
    check_means(&two_segments, sizes[s], 3);
    check_means(&lone, sizes[s], 1);
  }
}

/* --- columns: the tree, bit by bit --- */

/* One REDUCE over `length` elements `stride` apart: as docs/numerics.md has it. */
static double column_tree(const void *x, mvs_dtype stored, mvs_dtype sum, mvs_op op,
                          int lanes, int64_t length, int64_t stride) {
  double lane[1024];
  for (int j = 0; j < lanes; ++j) lane[j] = op == MVS_OP_sum ? 0 : -INFINITY;
  for (int64_t k = 0; k < length; ++k) {
    double *to = &lane[k % lanes], value = take(x, stored, k * stride);
    *to = op == MVS_OP_max_over ? fmax(*to, value) : *to + value;
    if (sum == MVS_F32) *to = (float)*to;
  }
  for (int step = lanes / 2; step > 0; step /= 2) {
    for (int j = 0; j < step; ++j) {
      double *to = &lane[j], value = lane[j + step];
      *to = op == MVS_OP_max_over ? fmax(*to, value) : *to + value;
      if (sum == MVS_F32) *to = (float)*to;
    }
  }
  return lane[0];
}

typedef struct column_case {
  mvs_dtype stored, sum;
  mvs_op op;
  int lanes;
  int64_t size, length;
} column_case;

/* y[i] = the reduction of x[b, i] over the batch; z[i] = y[i] + i is work behind the fold. */
static void build_columns(harness *h, const column_case *c) {
  int x = add_operand(h, c->stored, false), y = add_operand(h, c->sum, true);
  int z = add_operand(h, MVS_F32, true);
  mvs_nest *nest = add_nest(h, MVS_KERNEL_COLUMNS);
  nest->inner = (mvs_dim){c->size, false};
  nest->sequential_batch = true;
  nest->lanes = c->lanes;
  nest->phases = 2;
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
  load.access.sequential = c->size;
  uint16_t vx = add_instr(h, nest, load);
  mvs_instr wide = in_phase(arith(MVS_OP_cast, vx, 0, 0), MVS_LEVEL_ELEMENT, 0);
  wide.dtype = wide.to = c->sum;
  if (c->sum == MVS_F64) vx = add_instr(h, nest, wide);
  mvs_instr total = in_phase(reduce(c->op, vx), MVS_LEVEL_ELEMENT, 0);
  total.dtype = c->sum;
  uint16_t sum = add_instr(h, nest, total);
  add_instr(h, nest, in_phase(memory(MVS_INSTR_STORE, y, sum, 1), MVS_LEVEL_ELEMENT, 1));
  mvs_instr index = {.kind = MVS_INSTR_INDEX, .dtype = MVS_I32, .axis = MVS_INNER};
  uint16_t i = add_instr(h, nest, in_phase(index, MVS_LEVEL_ELEMENT, 0));
  mvs_instr narrow = in_phase(arith(MVS_OP_cast, sum, 0, 0), MVS_LEVEL_ELEMENT, 1);
  narrow.to = MVS_F32;
  uint16_t out = add_instr(h, nest, narrow);
  out = add_instr(h, nest, in_phase(arith(MVS_OP_add, out, i, 0), MVS_LEVEL_ELEMENT, 1));
  add_instr(h, nest, in_phase(memory(MVS_INSTR_STORE, z, out, 1), MVS_LEVEL_ELEMENT, 1));
}

static void check_columns(const column_case *c) {
  harness h;
  harness_open(&h, "k5_columns", MVS_KERNEL_COLUMNS);
  build_columns(&h, c);
  uint64_t seed = 11;
  void *operands[4] = {make_array(c->stored, c->length * c->size, &seed)};
  for (int level = 0; level < LEVELS; ++level) {
    harness_compile(&h, level, false);
    if (!level_runs(level)) continue;
    operands[1] = make_array(c->sum, c->size, NULL);
    operands[2] = make_array(MVS_F32, c->size, NULL);
    harness_run(&h, operands, c->length, 0);
    for (int64_t i = 0; i < c->size; ++i) {
      const char *column = (const char *)operands[0] + i * mvs_dtype_size(c->stored);
      double want =
          column_tree(column, c->stored, c->sum, c->op, c->lanes, c->length, c->size);
      double got = take(operands[1], c->sum, i);
      if (got != want) {
        print_message("%lld x %lld, %d lanes: column %lld is %.17g, not %.17g\n",
                      (long long)c->length, (long long)c->size, c->lanes, (long long)i, got,
                      want);
      }
      assert_true(got == want);
      assert_true(take(operands[2], MVS_F32, i) == (double)((float)want + (float)i));
    }
    drop(operands[1]), drop(operands[2]);
  }
  drop(operands[0]);
  harness_close(&h);
}

/* One column (the lanes are a vector's), less than a vector of them, several; shorter than the
 * lanes, ragged, long. */
static void column_trees(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 5, 70}, lengths[] = {1, 15, 16, 17, 1000, 100003};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; ++l) {
      column_case c = {MVS_F32, MVS_F32, MVS_OP_sum, 16, sizes[s], lengths[l]};
      check_columns(&c);
      c.lanes = 1024;
      c.stored = l % 2 ? MVS_BF16 : MVS_F32;
      c.sum = MVS_F64;
      check_columns(&c);
      if (lengths[l] <= 1000) c.sum = MVS_F32, c.op = MVS_OP_max_over, check_columns(&c);
    }
  }
}

/* A tree loses no more than log2 of the length and the steps of one lane: the error of a sum of
 * 100003 positive numbers is far below that of one chain. */
static void column_error(void **state) {
  (void)state;
  enum { LENGTH = 100003 };
  float *x = malloc(LENGTH * sizeof *x), chain = 0;
  uint64_t seed = 12;
  double exact = 0;
  assert_non_null(x);
  for (int64_t i = 0; i < LENGTH; ++i) x[i] = noise(&seed) + 1, exact += x[i], chain += x[i];
  for (int lanes = 16; lanes <= 1024; lanes *= 64) {
    double tree = column_tree(x, MVS_F32, MVS_F32, MVS_OP_sum, lanes, LENGTH, 1);
    /* Random roundings of half an ulp: sqrt(steps of a lane) 2^-24, ten times that. */
    assert_true(fabs(tree / exact - 1) < 10 * sqrt((double)LENGTH / lanes) * 0x1p-24);
    assert_true(fabs(tree / exact - 1) < fabs((double)chain / exact - 1));
  }
  free(x);
}

/* y[i] (f64) = sum over b of x[b, i]; z = the largest x over everything, in a second nest. */
static void batch_sums(void **state) {
  (void)state;
  enum { SIZE = 37, BATCH = 13 };
  harness h;
  harness_open(&h, "k3_columns", MVS_KERNEL_COLUMNS);
  int x = add_operand(&h, MVS_F32, false), y = add_operand(&h, MVS_F64, true);
  int z = add_operand(&h, MVS_F32, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_COLUMNS);
  nest->inner = (mvs_dim){SIZE, false};
  nest->sequential_batch = true;
  nest->phases = 2;
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
  load.access.sequential = SIZE;
  uint16_t vx = add_instr(&h, nest, load);
  mvs_instr wide = in_phase(reduce(MVS_OP_sum, vx), MVS_LEVEL_ELEMENT, 0);
  wide.dtype = MVS_F64;
  uint16_t total = add_instr(&h, nest, wide);
  add_instr(&h, nest, in_phase(memory(MVS_INSTR_STORE, y, total, 1), MVS_LEVEL_ELEMENT, 1));
  mvs_nest *rows = add_nest(&h, MVS_KERNEL_ROWS);
  rows->outer_count = 1;
  rows->outer[0] = (mvs_dim){1, true};
  rows->inner = (mvs_dim){SIZE, false};
  rows->phases = 2;
  load.access.sequential = 0;
  load.access.outer[0] = SIZE;
  vx = add_instr(&h, rows, load);
  uint16_t most = add_instr(&h, rows, reduce(MVS_OP_max_over, vx));
  mvs_instr store = in_phase(memory(MVS_INSTR_STORE, z, most, 0), MVS_LEVEL_ROW, 1);
  store.access.outer[0] = 1;
  add_instr(&h, rows, store);
  uint64_t seed = 6;
  void *operands[4] = {make_array(MVS_F32, BATCH * SIZE, &seed)};
  for (int level = 0; level < LEVELS; ++level) {
    harness_compile(&h, level, false);
    if (!level_runs(level)) continue;
    operands[1] = make_array(MVS_F64, SIZE, NULL);
    operands[2] = make_array(MVS_F32, BATCH, NULL);
    harness_run(&h, operands, BATCH, 0);
    for (int64_t i = 0; i < SIZE; ++i) {
      double sum = 0;
      for (int64_t b = 0; b < BATCH; ++b) sum += take(operands[0], MVS_F32, b * SIZE + i);
      assert_true(fabs(take(operands[1], MVS_F64, i) - sum) < 1e-14);
    }
    for (int64_t b = 0; b < BATCH; ++b) {
      double largest = -2;
      for (int64_t i = 0; i < SIZE; ++i) {
        largest = fmax(largest, take(operands[0], MVS_F32, b * SIZE + i));
      }
      assert_true(take(operands[2], MVS_F32, b) == largest);
    }
    drop(operands[1]), drop(operands[2]);
  }
  drop(operands[0]);
  harness_close(&h);
}

/* --- flat nests: the inner axis is the batch, divided over units --- */

static void flat(void **state) {
  (void)state;
  harness h;
  harness_open(&h, "k4_rows", MVS_KERNEL_ROWS);
  int x = add_operand(&h, MVS_F32, false), y = add_operand(&h, MVS_BF16, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
  nest->inner = (mvs_dim){29, true};
  uint16_t vx = add_instr(&h, nest, memory(MVS_INSTR_LOAD, x, 0, 1));
  uint16_t out = add_instr(&h, nest, arith(MVS_OP_sigmoid, vx, 0, 0));
  add_instr(&h, nest, memory(MVS_INSTR_STORE, y, out, 1));
  for (int level = 0; level < LEVELS; ++level) {
    harness_compile(&h, level, level == 0);
    if (!level_runs(level)) continue;
    for (int64_t batch = 1; batch < 2000; batch += 999) {
      uint64_t seed = 8;
      void *operands[3] = {make_array(MVS_F32, 29 * batch, &seed),
                           make_array(MVS_BF16, 29 * batch, NULL)};
      harness_run(&h, operands, batch, 0);
      for (int64_t i = 0; i < 29 * batch; ++i) {
        double want = 1 / (1 + exp(-take(operands[0], MVS_F32, i)));
        assert_true(fabs(take(operands[1], MVS_BF16, i) - want) < 0.002);
      }
      drop(operands[0]), drop(operands[1]);
    }
  }
  harness_close(&h);
}

/* A value of its own beside them, in place: a part of the elements must not add to it again. */
static void flat_with_a_scalar(void **state) {
  (void)state;
  harness h;
  harness_open(&h, "k6_rows", MVS_KERNEL_ROWS);
  int x = add_operand(&h, MVS_F32, true), count = add_operand(&h, MVS_F32, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
  nest->inner = (mvs_dim){29, true};
  uint16_t one = add_instr(&h, nest, constant(1));
  uint16_t had = add_instr(
      &h, nest, in_phase(memory(MVS_INSTR_LOAD, count, 0, 0), MVS_LEVEL_ROW, 0));
  uint16_t next =
      add_instr(&h, nest, in_phase(arith(MVS_OP_add, had, one, 0), MVS_LEVEL_ROW, 0));
  add_instr(&h, nest, in_phase(memory(MVS_INSTR_STORE, count, next, 0), MVS_LEVEL_ROW, 0));
  uint16_t vx = add_instr(&h, nest, memory(MVS_INSTR_LOAD, x, 0, 1));
  uint16_t out = add_instr(&h, nest, arith(MVS_OP_add, vx, one, 0));
  add_instr(&h, nest, memory(MVS_INSTR_STORE, x, out, 1));
  harness_compile(&h, 0, true);
  uint64_t seed = 9;
  void *operands[3] = {make_array(MVS_F32, 29 * 40, &seed), make_array(MVS_F32, 1, NULL)};
  *(float *)operands[1] = 4;
  harness_run(&h, operands, 40, 0);
  assert_true(*(float *)operands[1] == 5);
  drop(operands[0]), drop(operands[1]);
  harness_close(&h);
}

/* --- what has no host form is an error, not a crash --- */

static void refuses_f64_exp(void **state) {
  (void)state;
  harness h;
  harness_open(&h, "k5_rows", MVS_KERNEL_ROWS);
  int x = add_operand(&h, MVS_F64, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
  nest->inner = (mvs_dim){4, false};
  mvs_instr load = memory(MVS_INSTR_LOAD, x, 0, 1);
  load.dtype = MVS_F64;
  uint16_t vx = add_instr(&h, nest, load);
  mvs_instr power = arith(MVS_OP_exp, vx, 0, 0);
  power.dtype = MVS_F64;
  uint16_t out = add_instr(&h, nest, power);
  add_instr(&h, nest, memory(MVS_INSTR_STORE, x, out, 1));
  assert_int_equal(harness_try(&h, 0, false), MVS_ERR_INTERNAL);
  assert_non_null(strstr(harness_words(&h), "kernel k5_rows: exp of f64 has no host form"));
  harness_close(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(norm_rows),        cmocka_unit_test(same_bits),
      cmocka_unit_test(row_trees),
      cmocka_unit_test(strided_segments), cmocka_unit_test(segment_means),
      cmocka_unit_test(column_trees),
      cmocka_unit_test(column_error),
      cmocka_unit_test(batch_sums),       cmocka_unit_test(flat),
      cmocka_unit_test(flat_with_a_scalar),
      cmocka_unit_test(refuses_f64_exp),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
