/* The polynomials of codegen/host/math.c against libm in float64, over a sweep of all floats,
 * and Philox against the published vectors and a plain C form. */
#include "tests/unit/host_harness.h"

/* Every STEP-th bit pattern: prime, so that all mantissas come up. 1 takes minutes. */
#define STEP  4093
#define COUNT ((int64_t)(UINT32_MAX / STEP))

static uint16_t load_or_store(harness *h, mvs_nest *nest, mvs_instr_kind kind, int operand,
                              uint16_t value, mvs_dtype dtype) {
  mvs_instr instr = {.kind = kind, .level = MVS_LEVEL_ELEMENT, .arguments = {value}};
  instr.dtype = dtype;
  instr.access.operand = (uint16_t)operand;
  instr.access.inner = 1;
  return add_instr(h, nest, instr);
}

static void build_unary(harness *h, mvs_op op, mvs_dtype to) {
  int x = add_operand(h, MVS_F32, false), y = add_operand(h, to, true);
  mvs_nest *nest = add_nest(h, MVS_KERNEL_ROWS);
  nest->inner = (mvs_dim){1, true};
  uint16_t value = load_or_store(h, nest, MVS_INSTR_LOAD, x, 0, MVS_F32);
  mvs_instr instr = {.kind = MVS_INSTR_ARITH,
                     .op = op,
                     .level = MVS_LEVEL_ELEMENT,
                     .arguments = {value},
                     .to = to,
                     .dtype = to == MVS_I32 ? to : MVS_F32};
  load_or_store(h, nest, MVS_INSTR_STORE, y, add_instr(h, nest, instr), instr.dtype);
}

/* The distance of a float from an exact value, in units of the last place of the float32
 * result. */
static double ulps(float got, double want) {
  if (isnan(want)) return isnan(got) ? 0 : INFINITY;
  if ((double)got == want || (float)want == got) return fabs((double)got - want) > 0 ? 0.5 : 0;
  if (isinf(got) || isinf((float)want)) return INFINITY;
  int exponent;
  frexp(want, &exponent);
  double unit = ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
  return fabs((double)got - want) / unit;
}

static double rsqrt_of(double x) { return 1 / (double)sqrtf((float)x); }
static double sigmoid_of(double x) {
  return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

typedef struct row {
  mvs_op op;
  double (*exact)(double);
  double limit; /* |x| beyond it is not checked */
  double allowed;
} row;

static const row table[] = {
    {MVS_OP_exp, exp, INFINITY, 2},     {MVS_OP_log, log, INFINITY, 2},
    {MVS_OP_sin, sin, INFINITY, 2},     {MVS_OP_cos, cos, INFINITY, 2},
    {MVS_OP_tanh, tanh, INFINITY, 2},   {MVS_OP_sigmoid, sigmoid_of, INFINITY, 2},
    {MVS_OP_sqrt, sqrt, INFINITY, 0.5}, {MVS_OP_rsqrt, rsqrt_of, INFINITY, 0.5},
    {MVS_OP_floor, floor, INFINITY, 0},
};

static void check_row(const row *r, const float *x, const float *y) {
  double worst = 0;
  float where = 0;
  for (int64_t i = 0; i < COUNT; ++i) {
    if (fabs((double)x[i]) > r->limit) continue;
    double error = ulps(y[i], r->exact(x[i]));
    if (error > worst) worst = error, where = x[i];
  }
  if (worst > r->allowed || getenv("MVS_TEST_ULPS")) {
    print_message("%s: %.3f ulp at %.9g\n", mvs_ops[r->op].name, worst, (double)where);
  }
  assert_true(worst <= r->allowed);
}

static void polynomials(void **state) {
  (void)state;
  float *x = make_array(MVS_F32, COUNT, NULL), *y[LEVELS];
  for (int64_t i = 0; i < COUNT; ++i) {
    uint32_t bits = (uint32_t)(i * STEP);
    memcpy(&x[i], &bits, 4);
  }
  for (size_t op = 0; op < sizeof table / sizeof *table; ++op) {
    for (int level = 0; level < LEVELS; ++level) {
      harness h;
      harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
      build_unary(&h, table[op].op, MVS_F32);
      harness_compile(&h, level, false);
      y[level] = make_array(MVS_F32, COUNT, NULL);
      if (level_runs(level)) harness_run(&h, (void *[]){x, y[level], NULL}, COUNT, 0);
      harness_close(&h);
    }
    check_row(&table[op], x, y[0]);
    for (int64_t i = 0; level_runs(1) && i < COUNT; ++i) {
      assert_true(memcmp(&y[0][i], &y[1][i], 4) == 0 || (isnan(y[0][i]) && isnan(y[1][i])));
    }
    drop(y[0]), drop(y[1]);
  }
  drop(x);
}

static void conversions(void **state) {
  (void)state;
  static const float values[] = {0,        -0.0f,     1.00390625f, 1.01171875f, 3.3895314e38f,
                                 1e-40f,   -2.7f,     2.7f,        3e9f,        -3e9f,
                                 INFINITY, -INFINITY, NAN};
  enum { N = sizeof values / sizeof *values };
  uint32_t low_nan = 0x7f800001u;
  float x[N + 1];
  memcpy(x, values, sizeof values);
  memcpy(&x[N], &low_nan, 4); /* plain truncation would make it infinity */
  for (int level = 0; level < LEVELS; ++level) {
    for (int integer = 0; integer < 2; ++integer) {
      harness h;
      harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
      build_unary(&h, MVS_OP_cast, integer ? MVS_I32 : MVS_BF16);
      harness_compile(&h, level, false);
      uint16_t half[N + 1];
      int32_t whole[N + 1];
      void *out = integer ? (void *)whole : (void *)half;
      if (level_runs(level)) {
        harness_run(&h, (void *[]){x, out, NULL}, N + 1, 0);
        for (int i = 0; i <= N; ++i) {
          double clamped = fmin(fmax(trunc((double)x[i]), INT32_MIN), INT32_MAX);
          if (integer) {
            assert_int_equal(whole[i], isnan(x[i]) ? 0 : (int32_t)clamped);
          } else {
            assert_int_equal(half[i], to_bf16(x[i]));
          }
        }
      }
      harness_close(&h);
    }
  }
}

/* --- Philox --- */

static void philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = (uint64_t)counter[0] * 0xD2511F53u, b = (uint64_t)counter[2] * 0xCD9E8D57u;
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key0, (uint32_t)b,
                        (uint32_t)(a >> 32) ^ counter[3] ^ key1, (uint32_t)a};
    memcpy(counter, next, sizeof next);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

static float uniform_of(uint32_t word) { return ((float)(word >> 8) + 0.5f) * 0x1p-24f; }

static void build_random(harness *h, mvs_random_kind kind, uint32_t stream) {
  int y = add_operand(h, MVS_F32, true);
  mvs_nest *nest = add_nest(h, MVS_KERNEL_ROWS);
  nest->inner = (mvs_dim){1, true};
  mvs_instr number = {.kind = MVS_INSTR_CONSTANT, .dtype = MVS_I32, .value = 7};
  uint16_t seed = add_instr(h, nest, number);
  number.value = 11;
  uint16_t step = add_instr(h, nest, number);
  number.value = 13;
  uint16_t sample = add_instr(h, nest, number);
  mvs_instr index = {
      .kind = MVS_INSTR_INDEX, .dtype = MVS_I32, .level = MVS_LEVEL_ELEMENT, .axis = MVS_INNER};
  uint16_t position = add_instr(h, nest, index);
  mvs_instr draw = {.kind = MVS_INSTR_RANDOM,
                    .op = MVS_OP_random,
                    .level = MVS_LEVEL_ELEMENT,
                    .arguments = {seed, step, sample, position},
                    .random = kind,
                    .stream = stream};
  load_or_store(h, nest, MVS_INSTR_STORE, y, add_instr(h, nest, draw), MVS_F32);
}

static void random_numbers(void **state) {
  (void)state;
  uint32_t known[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
  philox(known, 0xa4093822, 0x299f31d0); /* a published vector: the C form is Philox */
  assert_int_equal(known[0], 0xd16cfe09);
  assert_int_equal(known[1], 0x94fdcceb);
  enum { N = 40003 };
  for (int level = 0; level < LEVELS; ++level) {
    for (int kind = 0; kind < 2; ++kind) {
      harness h;
      harness_open(&h, "k0_rows", MVS_KERNEL_ROWS);
      build_random(&h, kind ? MVS_RANDOM_NORMAL : MVS_RANDOM_UNIFORM, 3000000000u);
      harness_compile(&h, level, false);
      float *y = make_array(MVS_F32, N, NULL);
      double sum = 0, squares = 0;
      if (level_runs(level)) harness_run(&h, (void *[]){y, NULL}, N, 0);
      for (uint32_t i = 0; i < N && level_runs(level); ++i) {
        uint32_t words[4] = {i, 13, 11, 0};
        philox(words, 7, 3000000000u);
        float u1 = uniform_of(words[0]), u2 = uniform_of(words[1]);
        double angle = (double)(6.2831853071795865f * u2);
        double want = kind ? sqrt(-2 * log(u1)) * cos(angle) : u1;
        assert_true(fabs(y[i] - want) <= (kind ? 2e-6 : 0));
        sum += y[i], squares += (double)y[i] * y[i];
      }
      if (kind && level_runs(level)) {
        assert_true(fabs(sum / N) < 0.02 && fabs(squares / N - 1) < 0.03);
      }
      drop(y);
      harness_close(&h);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(polynomials),
      cmocka_unit_test(conversions),
      cmocka_unit_test(random_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
