/* Matmuls of every form and dtype against float64 loops, at odd sizes, on every level. */
#include "codegen/host/printed.h"
#include "tests/unit/host_harness.h"

typedef struct shape {
  mvs_matmul_form form;
  int64_t m, n, k;
  bool batched, bias;
  mvs_dtype a, b, c;
} shape;

static void build(harness *h, const shape *s) {
  harness_open(h, "k0_matmul", MVS_KERNEL_MATMUL);
  add_operand(h, s->a, false);
  add_operand(h, s->b, false);
  add_operand(h, s->c, true);
  if (s->bias) add_operand(h, s->c, false);
  h->kernel.matmul = (mvs_matmul_shape){.form = s->form,
                                        .m = {s->m, s->batched && s->form != MVS_MATMUL_TN},
                                        .k = {s->k, s->batched && s->form == MVS_MATMUL_TN},
                                        .n = s->n,
                                        .a = s->a,
                                        .b = s->b,
                                        .c = s->c,
                                        .bias = s->bias};
}

/* Element [i][j] of C. *chain adds up the sum as it was at each step, by size and at least 1:
 * every rounding on the way to nearest is off by at most 2^-24 of that. */
static double element_of(const shape *s, void **operands, int64_t m, int64_t k, int64_t i,
                         int64_t j, double *chain) {
  double sum = *chain = 0;
  bool tn = s->form == MVS_MATMUL_TN, nt = s->form == MVS_MATMUL_NT;
  for (int64_t p = 0; p < k; ++p) {
    sum += take(operands[0], s->a, tn ? p * m + i : i * k + p) *
           take(operands[1], s->b, nt ? j * k + p : p * s->n + j);
    *chain += fmax(1, fabs(sum));
  }
  return sum + (s->bias ? take(operands[3], s->c, j) : 0);
}

static void check(const shape *s, void **operands, int64_t m, int64_t k) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < s->n; ++j) {
      double chain, want = element_of(s, operands, m, k, i, j, &chain);
      double got = take(operands[2], s->c, i * s->n + j);
      /* The bias is one rounding more; bf16 adds half of 2^-8. */
      double allowed = chain * 0x1p-24 + 1e-6 + (s->c == MVS_BF16 ? fabs(want) * 0x1p-8 : 0);
      if (!(fabs(got - want) <= allowed)) {
        print_message("form %d m %ld n %ld k %ld at %ld,%ld: %g, not %g\n", s->form, (long)m,
                      (long)s->n, (long)k, (long)i, (long)j, got, want);
      }
      assert_true(fabs(got - want) <= allowed);
    }
  }
}

/* Units one by one, a few a call and all in one, as threads may get them: the same bits. C is
 * operand 2. */
static void run_product(harness *h, const shape *s, void **operands, int64_t batch, int64_t m,
                        int64_t k) {
  static const int64_t units[] = {1, 3, INT64_MAX};
  void *first = NULL;
  for (size_t i = 0; i < sizeof units / sizeof *units; ++i) {
    void *given[5] = {operands[0], operands[1], make_array(s->c, m * s->n, NULL), operands[3]};
    h->units = units[i];
    harness_run(h, given, batch, 0);
    if (!first) {
      first = given[2];
      check(s, given, m, k);
    } else {
      assert_memory_equal(given[2], first, (size_t)(m * s->n * mvs_dtype_size(s->c)));
      drop(given[2]);
    }
  }
  drop(first);
}

static void run_shape(const shape *s, int level, bool jit) {
  harness h;
  build(&h, s);
  harness_compile(&h, level, jit);
  for (int64_t batch = 1; level_runs(level) && batch <= (s->batched ? 3 : 1); batch += 2) {
    int64_t m = s->m * (s->form == MVS_MATMUL_TN ? 1 : batch);
    int64_t k = s->k * (s->form == MVS_MATMUL_TN ? batch : 1);
    uint64_t seed = 2;
    void *operands[4] = {make_array(s->a, m * k, &seed), make_array(s->b, s->n * k, &seed)};
    if (s->bias) operands[3] = make_array(s->c, s->n, &seed);
    run_product(&h, s, operands, batch, m, k);
    drop(operands[0]), drop(operands[1]);
    if (s->bias) drop(operands[3]);
  }
  harness_close(&h);
}

/* The last five have more rows than a block or more columns than one; sums in stretches of k,
 * of A read in place and copied; one block at one batch and several at another; a last block
 * of one row. */
static void odd_sizes(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{1, 1, 1},       {7, 15, 16},    {16, 17, 33},
                                     {33, 7, 1},      {15, 64, 64},   {57, 70, 31},
                                     {100, 33, 300},  {130, 40, 517}, {20, 1100, 1536},
                                     {300, 33, 1030}, {50, 260, 20},  {113, 260, 20}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form) {
      for (int level = (int)i % LEVELS; level < LEVELS; ++level) {
        shape s = {form,        sizes[i][0], sizes[i][1],
                   sizes[i][2], i % 2,       i % 3 == 0 && form != MVS_MATMUL_TN,
                   MVS_F32,     MVS_F32,     MVS_F32};
        run_shape(&s, level, i == 3);
      }
    }
  }
}

static void bf16(void **state) {
  (void)state;
  for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form) {
    for (int level = 0; level < LEVELS; ++level) {
      for (int mix = level ? 1 : 4; mix < 8; mix += 3) {
        shape s = {form,
                   29,
                   43,
                   270,
                   true,
                   form != MVS_MATMUL_TN,
                   mix & 1 ? MVS_BF16 : MVS_F32,
                   mix & 2 ? MVS_BF16 : MVS_F32,
                   mix & 4 ? MVS_BF16 : MVS_F32};
        run_shape(&s, level, false);
      }
    }
  }
}

/* Both operands bf16: each level has instructions of its own. Sizes leave rests of tiles, of
 * pairs and of stretches of k. Tiles read A of 96 and 1088 in place, with and without an
 * overlap, and not of 32800, which is too long. The last two are one block at one batch and
 * several at another, and end with a block of one row. */
static void pairs(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {
      {1, 1, 1},      {1, 70, 33},    {7, 15, 2},      {31, 33, 31},  {16, 17, 65},
      {45, 50, 129},  {29, 43, 270},  {130, 40, 1283}, {40, 300, 96}, {96, 33, 1088},
      {9, 20, 32800}, {100, 300, 64}, {257, 300, 64}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form) {
      for (int level = 0; level < MVS_CPU_LEVELS; ++level) {
        bool big = sizes[i][2] > 1000;
        if (big && level < MVS_CPU_BF16) continue;
        shape s = {form,
                   sizes[i][0],
                   sizes[i][1],
                   sizes[i][2],
                   i % 2 == 1 && !big,
                   (i + (size_t)level) % 2 == 0 && form != MVS_MATMUL_TN,
                   MVS_BF16,
                   MVS_BF16,
                   (i / 2 + (size_t)level) % 2 ? MVS_F32 : MVS_BF16};
        run_shape(&s, level, i == 3);
      }
    }
  }
}

/* A thread's scratch is bounded whatever k is: a panel for all of it, 128 bytes a step, would
 * be half a gigabyte here. */
static void scratch_is_bounded(void **state) {
  (void)state;
  for (int level = 0; level < MVS_CPU_LEVELS; ++level)
    for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form)
      for (int64_t m = 31; m <= 32; ++m) {
        mvs_dtype type = level < MVS_CPU_BF16 ? MVS_F32 : MVS_BF16;
        shape s = {form, m, 7, 1 << 22, false, false, type, type, type};
        harness h;
        build(&h, &s);
        harness_compile(&h, level, false);
        assert_true(h.table.scratch <= 4 << 20);
        harness_close(&h);
      }
}

/* Few rows by rows of weights have a form of their own, up to a number of rows that a batch of
 * 3 passes and a batch of 1 does not. */
static void few_rows(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{1, 1, 1},   {1, 37, 300},  {2, 4, 16},    {3, 70, 65},
                                     {5, 33, 2},  {7, 31, 32},   {8, 130, 257}, {4, 50, 129},
                                     {2, 40, 96}, {22, 150, 64}, {64, 131, 32}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    for (int level = 0; level < MVS_CPU_LEVELS; ++level) {
      for (int mix = (int)i * 3 % 4; mix < 8; mix += 4) {
        shape s = {MVS_MATMUL_NT,
                   sizes[i][0],
                   sizes[i][1],
                   sizes[i][2],
                   (i + (size_t)mix / 2) % 2 == 0,
                   (i + (size_t)level) % 2 == 0,
                   mix & 1 ? MVS_BF16 : MVS_F32,
                   mix & 2 ? MVS_BF16 : MVS_F32,
                   mix & 4 ? MVS_BF16 : MVS_F32};
        run_shape(&s, level, false);
      }
    }
  }
}

/* In tiles a few rows change sides with the weights, more do not: the same bits. */
static void swapped_bits(void **state) {
  (void)state;
  if (!level_runs(MVS_CPU_AMX)) skip();
  shape s = {MVS_MATMUL_NT, 22, 150, 96, true, true, MVS_BF16, MVS_BF16, MVS_F32};
  uint64_t seed = 6;
  void *a = make_array(s.a, 3 * s.m * s.k, &seed), *b = make_array(s.b, s.n * s.k, &seed);
  void *bias = make_array(s.c, s.n, &seed);
  void *few = make_array(s.c, s.m * s.n, NULL), *many = make_array(s.c, 3 * s.m * s.n, NULL);
  harness h;
  build(&h, &s);
  harness_compile(&h, MVS_CPU_AMX, false);
  harness_run(&h, (void *[]){a, b, few, bias, NULL}, 1, 0);
  harness_run(&h, (void *[]){a, b, many, bias, NULL}, 3, 0);
  harness_close(&h);
  assert_memory_equal(few, many, (size_t)(s.m * s.n) * 4);
  drop(a), drop(b), drop(bias), drop(few), drop(many);
}

/* Without instructions for bf16 both levels give the same bits: chains of one element, and of
 * 16 lanes where rows are few. */
static void same_bits(void **state) {
  (void)state;
  if (!level_runs(1)) skip();
  static const shape shapes[] = {
      {MVS_MATMUL_TN, 45, 50, 600, false, false, MVS_F32, MVS_F32, MVS_F32},
      {MVS_MATMUL_NT, 7, 50, 603, false, false, MVS_F32, MVS_F32, MVS_F32},
      {MVS_MATMUL_NT, 7, 50, 603, false, false, MVS_BF16, MVS_BF16, MVS_F32}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
    const shape *s = &shapes[i];
    uint64_t seed = 4;
    void *a = make_array(s->a, s->m * s->k, &seed), *b = make_array(s->b, s->n * s->k, &seed);
    void *c[LEVELS];
    for (int level = 0; level < LEVELS; ++level) {
      harness h;
      build(&h, s);
      harness_compile(&h, level, false);
      c[level] = make_array(s->c, s->m * s->n, NULL);
      harness_run(&h, (void *[]){a, b, c[level], NULL}, 1, 0);
      harness_close(&h);
    }
    assert_memory_equal(c[0], c[1], (size_t)(s->m * s->n) * 4);
    drop(a), drop(b), drop(c[0]), drop(c[1]);
  }
}

/* --- f32 from parts of bf16, at the level of AMX --- */

/* What a product of this file is made of. */
typedef struct product {
  harness h;
  shape s;
  float *a, *b, *c;
} product;

/* Compiles s.m x s.n x s.k of f32 for tiles; false where they do not run. */
static bool open_product(product *p, shape s) {
  s.a = s.b = s.c = MVS_F32;
  uint64_t seed = 9;
  *p = (product){.s = s};
  build(&p->h, &s);
  assert_true(mvs_matmul_in_parts(&p->h.kernel.matmul));
  harness_compile(&p->h, MVS_CPU_AMX, false);
  p->a = make_array(MVS_F32, s.m * s.k, &seed);
  p->b = make_array(MVS_F32, s.n * s.k, &seed);
  p->c = make_array(MVS_F32, s.m * s.n, NULL);
  return level_runs(MVS_CPU_AMX);
}

static void close_product(product *p) {
  drop(p->a), drop(p->b), drop(p->c);
  harness_close(&p->h);
}

static void compute(product *p) {
  harness_run(&p->h, (void *[]){p->a, p->b, p->c, NULL}, 1, 0);
}

/* Element [i][k] of A, and [k][j] of B. */
static float *left(product *p, int64_t i, int64_t k) {
  return &p->a[p->s.form == MVS_MATMUL_TN ? k * p->s.m + i : i * p->s.k + k];
}

static float *right(product *p, int64_t k, int64_t j) {
  return &p->b[p->s.form == MVS_MATMUL_NT ? j * p->s.k + k : k * p->s.n + j];
}

/* Rests of tiles, steps and stretches on every axis, and one of each alone. */
static const int64_t part_sizes[][3] = {
    {221, 515, 1031}, {517, 94, 600}, {300, 1059, 94}, {190, 190, 190}};

static void parts_at_odd_sizes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof part_sizes / sizeof *part_sizes; ++i) {
    for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form) {
      const int64_t *size = part_sizes[i];
      bool small = size[0] * size[2] < 50000, tn = form == MVS_MATMUL_TN;
      shape s = {form,         size[0], size[1], size[2], small,
                 !tn && i % 2, MVS_F32, MVS_F32, MVS_F32};
      harness h;
      build(&h, &s);
      assert_true(mvs_matmul_in_parts(&h.kernel.matmul));
      harness_close(&h);
      run_shape(&s, MVS_CPU_AMX, i == 3);
    }
  }
}

/* No element may be off by more than docs/numerics.md says (which has no terms of second order:
 * 1 more), and all together must be nearer than chains of fma. `cancel` makes each sum a
 * millionth of its terms. */
static void parts_beside_fma(bool cancel) {
  product p;
  if (open_product(&p, (shape){.form = MVS_MATMUL_NT, .m = 64, .n = 96, .k = 768})) {
    double roundings = 6 * (double)p.s.k / 32 + 21 + 1;
    for (int64_t k = 1; cancel && k < p.s.k; k += 2) {
      for (int64_t i = 0; i < p.s.m; ++i) *left(&p, i, k) = *left(&p, i, k - 1);
      for (int64_t j = 0; j < p.s.n; ++j)
        *right(&p, k, j) = -*right(&p, k - 1, j) * (1 + 1e-6F);
    }
    compute(&p);
    double ours = 0, chain = 0;
    for (int64_t i = 0; i < p.s.m; ++i) {
      for (int64_t j = 0; j < p.s.n; ++j) {
        double want = 0, size = 0;
        float fma = 0;
        for (int64_t k = 0; k < p.s.k; ++k) {
          double term = (double)*left(&p, i, k) * *right(&p, k, j);
          want += term, size += fabs(term);
          fma = fmaf(*left(&p, i, k), *right(&p, k, j), fma);
        }
        double off = p.c[i * p.s.n + j] - want;
        assert_true(fabs(off) <= 0x1p-24 * roundings * size);
        ours += off * off, chain += (fma - want) * (fma - want);
      }
    }
    print_message("error %g, a chain of fma %g\n", sqrt(ours), sqrt(chain));
    assert_true(ours < chain);
  }
  close_product(&p);
}

static void parts_are_nearer_than_fma(void **state) {
  (void)state;
  parts_beside_fma(false);
  parts_beside_fma(true);
}

/* One power of two in each row of A: columns of B scaled, all 24 bits of them. Values as large
 * as f32 has are not rounded up to infinity. */
static void powers_of_two_are_exact(void **state) {
  (void)state;
  for (mvs_matmul_form form = MVS_MATMUL_NT; form <= MVS_MATMUL_TN; ++form) {
    product p;
    if (open_product(&p, (shape){.form = form, .m = 190, .n = 187, .k = 190})) {
      memset(p.a, 0, (size_t)(p.s.m * p.s.k) * 4);
      for (int64_t i = 0; i < p.s.m; ++i)
        *left(&p, i, i * 7 % p.s.k) = ldexpf(i % 2 ? -1 : 1, (int)(i % 41) - 20);
      for (int64_t j = 0; j < p.s.n; ++j) *right(&p, 140, j) = 0x1.fffffep127F;
      compute(&p);
      for (int64_t i = 0; i < p.s.m; ++i) {
        for (int64_t j = 0; j < p.s.n; ++j) {
          int64_t k = i * 7 % p.s.k;
          assert_true(p.c[i * p.s.n + j] == *left(&p, i, k) * *right(&p, k, j));
        }
      }
    }
    close_product(&p);
  }
}

/* Integers whose sums stay below 2^24: all exact, as with fma. */
static void integers_are_exact(void **state) {
  (void)state;
  product p;
  if (open_product(&p, (shape){.form = MVS_MATMUL_NN, .m = 94, .n = 126, .k = 127})) {
    for (int64_t i = 0; i < p.s.m * p.s.k; ++i) p.a[i] = rintf(p.a[i] * 4095);
    for (int64_t i = 0; i < p.s.n * p.s.k; ++i) p.b[i] = rintf(p.b[i] * 31);
    compute(&p);
    for (int64_t i = 0; i < p.s.m; ++i) {
      for (int64_t j = 0; j < p.s.n; ++j) {
        double want = 0;
        for (int64_t k = 0; k < p.s.k; ++k) want += (double)*left(&p, i, k) * *right(&p, k, j);
        assert_true(p.c[i * p.s.n + j] == want);
      }
    }
  }
  close_product(&p);
}

/* What is not finite stays so, and in its own row. */
static void not_finite_stays(void **state) {
  (void)state;
  static const uint32_t patterns[] = {0x7f800000, 0xff800000, 0x7fc00000,
                                      0x7f800001, 0x7fffffff, 0xffffffff};
  product p;
  if (open_product(&p, (shape){.form = MVS_MATMUL_NT, .m = 96, .n = 96, .k = 96})) {
    for (int64_t i = 0; i < 6; ++i) memcpy(left(&p, 3 * i, 17 * i), &patterns[i], 4);
    compute(&p);
    for (int64_t i = 0; i < p.s.m; ++i)
      for (int64_t j = 0; j < p.s.n; ++j)
        assert_int_equal(isfinite(p.c[i * p.s.n + j]) != 0, i % 3 || i >= 18);
  }
  close_product(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(odd_sizes),
      cmocka_unit_test(bf16),
      cmocka_unit_test(pairs),
      cmocka_unit_test(scratch_is_bounded),
      cmocka_unit_test(few_rows),
      cmocka_unit_test(swapped_bits),
      cmocka_unit_test(same_bits),
      cmocka_unit_test(parts_at_odd_sizes),
      cmocka_unit_test(parts_are_nearer_than_fma),
      cmocka_unit_test(powers_of_two_are_exact),
      cmocka_unit_test(integers_are_exact),
      cmocka_unit_test(not_finite_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
