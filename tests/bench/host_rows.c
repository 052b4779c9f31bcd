/* host_rows.c: nanoseconds a row of the host's row kernels, beside copying the same bytes:
 * `host_rows [--gate]`.
 *
 * Rows lie in the first-level cache (16 KiB in, as much out), so that what counts is the code
 * and not the memory. Kernel and copy take turns; a figure is the median of 21 turns. With
 * --gate the exit status is 1 when a norm of 1024 floats takes more than 1 / 0.85 of what
 * docs/performance.md wants, on any machine: as a multiple of the copy. */
#include "../unit/host_harness.h"
#include "tests/bench/timing.h"

#define BYTES ((int64_t)16 << 10)
#define TURNS 21
/* A turn is some 50 us: long beside the clock, short beside what the system does in between. */
#define REPEATS 128
/* Wanted: 50 ns for a norm of 1024 floats where copying them takes 20, so 2.5 copies. */
#define MOST_COPIES (2.5 / 0.85)

/* One kernel of the table: rows of `size` elements of `dtype`. */
typedef struct row_kernel {
  const char *name;
  void (*build)(harness *h, mvs_nest *nest, uint16_t x, int y);
  mvs_dtype dtype;
  int64_t size;
} row_kernel;

static uint16_t arith(harness *h, mvs_nest *nest, mvs_op op, uint16_t a, uint16_t b,
                      uint8_t phase, mvs_level level) {
  mvs_instr instr = {
      .kind = MVS_INSTR_ARITH, .op = op, .dtype = MVS_F32, .level = level, .phase = phase};
  instr.arguments[0] = a;
  instr.arguments[1] = b;
  instr.keep = mvs_op_is_dear(op);
  return add_instr(h, nest, instr);
}

static uint16_t element(harness *h, mvs_nest *nest, mvs_op op, uint16_t a, uint16_t b,
                        uint8_t phase) {
  return arith(h, nest, op, a, b, phase, MVS_LEVEL_ELEMENT);
}

static uint16_t scalar(harness *h, mvs_nest *nest, mvs_op op, uint16_t a, uint16_t b,
                       uint8_t phase) {
  return arith(h, nest, op, a, b, phase, MVS_LEVEL_ROW);
}

static uint16_t number(harness *h, mvs_nest *nest, double value) {
  return add_instr(h, nest,
                   (mvs_instr){.kind = MVS_INSTR_CONSTANT,
                               .dtype = MVS_F32,
                               .level = MVS_LEVEL_ROW,
                               .value = value});
}

/* A LOAD or STORE along the rows. */
static uint16_t memory(harness *h, mvs_nest *nest, mvs_instr_kind kind, int operand,
                       uint16_t value, uint8_t phase) {
  mvs_instr instr = {
      .kind = kind, .dtype = MVS_F32, .level = MVS_LEVEL_ELEMENT, .phase = phase};
  instr.arguments[0] = value;
  instr.access.operand = (uint16_t)operand;
  instr.access.inner = 1;
  instr.access.outer[0] = nest->inner.size;
  return add_instr(h, nest, instr);
}

static uint16_t reduce(harness *h, mvs_nest *nest, mvs_op op, uint16_t a, uint8_t phase) {
  mvs_instr instr = {.kind = MVS_INSTR_REDUCE,
                     .op = op,
                     .dtype = MVS_F32,
                     .level = MVS_LEVEL_ROW,
                     .phase = phase};
  instr.arguments[0] = a;
  return add_instr(h, nest, instr);
}

/* y = x / sqrt(mean(x^2) + eps) */
static void build_norm(harness *h, mvs_nest *nest, uint16_t x, int y) {
  nest->phases = 2;
  uint16_t total = reduce(h, nest, MVS_OP_sum, element(h, nest, MVS_OP_mul, x, x, 0), 0);
  uint16_t mean =
      scalar(h, nest, MVS_OP_mul, total, number(h, nest, 1.0 / (double)nest->inner.size), 1);
  uint16_t r = scalar(h, nest, MVS_OP_rsqrt,
                      scalar(h, nest, MVS_OP_add, mean, number(h, nest, 1e-5), 1), 0, 1);
  memory(h, nest, MVS_INSTR_STORE, y, element(h, nest, MVS_OP_mul, x, r, 1), 1);
}

/* y = e^(x - max) / sum */
static void build_softmax(harness *h, mvs_nest *nest, uint16_t x, int y) {
  nest->phases = 3;
  uint16_t most = reduce(h, nest, MVS_OP_max_over, x, 0);
  uint16_t power = element(h, nest, MVS_OP_exp, element(h, nest, MVS_OP_sub, x, most, 1), 0, 1);
  uint16_t total = reduce(h, nest, MVS_OP_sum, power, 1);
  uint16_t factor = scalar(h, nest, MVS_OP_div, number(h, nest, 1), total, 2);
  memory(h, nest, MVS_INSTR_STORE, y, element(h, nest, MVS_OP_mul, power, factor, 2), 2);
}

/* y = x sigmoid(x) */
static void build_silu(harness *h, mvs_nest *nest, uint16_t x, int y) {
  memory(h, nest, MVS_INSTR_STORE, y,
         element(h, nest, MVS_OP_mul, x, element(h, nest, MVS_OP_sigmoid, x, 0, 0), 0), 0);
}

static void build_sin(harness *h, mvs_nest *nest, uint16_t x, int y) {
  memory(h, nest, MVS_INSTR_STORE, y, element(h, nest, MVS_OP_sin, x, 0, 0), 0);
}

static void build_exp(harness *h, mvs_nest *nest, uint16_t x, int y) {
  memory(h, nest, MVS_INSTR_STORE, y, element(h, nest, MVS_OP_exp, x, 0, 0), 0);
}

/* y = 2 x: what any kernel takes to get its elements in and out. */
static void build_double(harness *h, mvs_nest *nest, uint16_t x, int y) {
  memory(h, nest, MVS_INSTR_STORE, y, element(h, nest, MVS_OP_add, x, x, 0), 0);
}

/* All rows once, as the runtime would run them: all units in one call. */
static void run_rows(const harness *h, mvs_host_call *call, int64_t rows) {
  const Mvs__Nest *nest = h->table.stages[0]->nests[0];
  union {
    uintptr_t address;
    mvs_host_kernel *run;
  } entry = {(uintptr_t)h->code + nest->address};
  entry.run(call, 0, mvs_nest_units(nest, rows));
}

/* Medians of nanoseconds a row: the kernel's, and copying's. */
static void measure(const harness *h, const row_kernel *row, double *kernel, double *copy) {
  uint64_t seed = 1;
  int64_t rows = BYTES / (row->size * mvs_dtype_size(row->dtype));
  void *operands[2] = {make_array(row->dtype, rows * row->size, &seed),
                       make_array(row->dtype, rows * row->size, NULL)};
  mvs_host_call call = {operands, rows, 0, scratch_of(h), 0, 0};
  double kernels[TURNS], copies[TURNS];
  for (int turn = -1; turn < TURNS; ++turn) { /* turn -1 warms up */
    double begin = seconds_of(CLOCK_MONOTONIC);
    for (int i = 0; i < REPEATS; ++i) run_rows(h, &call, rows);
    double middle = seconds_of(CLOCK_MONOTONIC);
    for (int i = 0; i < REPEATS; ++i) {
      memcpy(operands[1], operands[0], (size_t)(rows * row->size * mvs_dtype_size(row->dtype)));
      __asm__ volatile("" ::: "memory");
    }
    double end = seconds_of(CLOCK_MONOTONIC);
    if (turn < 0) continue;
    kernels[turn] = middle - begin;
    copies[turn] = end - middle;
  }
  *kernel = median(kernels, TURNS) * 1e9 / (double)(REPEATS * rows);
  *copy = median(copies, TURNS) * 1e9 / (double)(REPEATS * rows);
  drop(operands[0]);
  drop(operands[1]);
  drop(call.scratch);
}

/* Compiles and measures one line of the table; the kernel's time over the copy's. */
static double line(const row_kernel *row, int level) {
  harness h;
  harness_open(&h, "rows", MVS_KERNEL_ROWS);
  int x = add_operand(&h, row->dtype, false), y = add_operand(&h, row->dtype, true);
  mvs_nest *nest = add_nest(&h, MVS_KERNEL_ROWS);
  nest->outer_count = 1;
  nest->outer[0] = (mvs_dim){1, true};
  nest->inner = (mvs_dim){row->size, false};
  row->build(&h, nest, memory(&h, nest, MVS_INSTR_LOAD, x, 0, 0), y);
  harness_compile(&h, level, false);
  double kernel, copy;
  measure(&h, row, &kernel, &copy);
  printf("%-8s %5d %-4s %-9s %8.2f ns a row, copying %7.2f, ratio %5.2f\n", row->name,
         (int)row->size, mvs_dtype_name(row->dtype), mvs_cpu_name((mvs_cpu_level)level), kernel,
         copy, kernel / copy);
  harness_close(&h);
  return kernel / copy;
}

int main(int count, char **arguments) {
  static const row_kernel table[] = {
      {"rmsnorm", build_norm, MVS_F32, 1024},   {"rmsnorm", build_norm, MVS_BF16, 1024},
      {"rmsnorm", build_norm, MVS_F32, 64},     {"rmsnorm", build_norm, MVS_F32, 16},
      {"softmax", build_softmax, MVS_F32, 320}, {"silu", build_silu, MVS_F32, 1024},
      {"exp", build_exp, MVS_F32, 1024},        {"sin", build_sin, MVS_F32, 1024},
      {"double", build_double, MVS_F32, 1024},  {"double", build_double, MVS_BF16, 1024},
  };
  bool gate = count > 1 && strcmp(arguments[1], "--gate") == 0;
  int best = level_runs(1) ? 1 : 0;
  double norm = 0;
  for (size_t i = 0; i < (gate ? 1 : sizeof table / sizeof *table); ++i) {
    double ratio = line(&table[i], best);
    if (i == 0) norm = ratio;
  }
  if (gate && norm > MOST_COPIES) {
    printf("a norm takes %.2f times a copy of its bytes, more than %.2f\n", norm, MOST_COPIES);
    return 1;
  }
  return 0;
}
