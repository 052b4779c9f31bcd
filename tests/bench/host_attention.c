/* host_attention.c: nanoseconds a head of the host's attention, forward and backward, on one
 * core: `host_attention [LEVEL]`, LEVEL 0 for AVX2, 1 for AVX-512, 3 for AMX (the default is
 * the best that runs).
 *
 * A figure is the thread's own time, the median of 21 turns of some milliseconds. Operations
 * are those of the products, 4 and 10 times tokens^2 x head_dim: what padding, exponentials and
 * moving things cost shows as missing speed. v and dv lie as in a packed product, rows of
 * three operands apart. */
#include "../unit/host_harness.h"
#include "tests/bench/timing.h"

enum { Q, K, V, O, LSE, DO, DQ, DK, DV, OPERANDS };

#define TURNS 21
/* Operations of a turn: milliseconds, long beside the clock. */
#define LEAST_OPERATIONS 5e8

/* A line of the table. */
typedef struct line {
  int64_t tokens, heads, dim, batch;
  mvs_dtype dtype;
} line;

/* Compiles the kernel of a line. */
static void open_kernel(harness *h, const line *l, bool gradient, int level) {
  harness_open(h, "k0_attention", gradient ? MVS_KERNEL_ATTENTION_GRAD : MVS_KERNEL_ATTENTION);
  h->kernel.attention = (mvs_attention_shape){
      l->tokens, l->heads, l->heads, l->dim, 1 / sqrt((double)l->dim), l->dtype, {0}};
  for (int i = 0; i < (gradient ? OPERANDS : DO); ++i) {
    add_operand(h, i == LSE ? MVS_F32 : l->dtype, gradient ? i >= DQ : i >= O);
    int64_t width = l->heads * l->dim * (i == V || i == DV ? 3 : 1);
    h->kernel.attention.strides[i] = i == LSE ? 0 : width;
  }
  harness_compile(h, level, false);
}

/* Operands of random numbers; the logarithms such that weights add up to about 1. */
static void fill(const line *l, void **operands) {
  uint64_t seed = 1;
  for (int i = 0; i < OPERANDS; ++i) {
    int64_t count = l->batch * l->tokens * l->heads * (i == LSE ? 1 : 3 * l->dim);
    operands[i] = make_array(i == LSE ? MVS_F32 : l->dtype, count, &seed);
    for (int64_t at = 0; i == LSE && at < count; ++at)
      put(operands[i], MVS_F32, at, log((double)l->tokens));
  }
}

/* Median nanoseconds a head. */
static double measure(const harness *h, const line *l, void **operands) {
  const Mvs__Nest *nest = h->table.stages[0]->nests[0];
  union {
    uintptr_t address;
    mvs_host_kernel *run;
  } entry = {(uintptr_t)h->code + nest->address};
  mvs_host_call call = {operands, l->batch, 0, scratch_of(h), 0, 0};
  int64_t units = mvs_nest_units(nest, l->batch), heads = l->batch * l->heads;
  double operations = 4.0 * (double)(l->tokens * l->tokens * l->dim * heads);
  int repeats = 1 + (int)(LEAST_OPERATIONS / operations);
  double times[TURNS];
  for (int turn = -1; turn < TURNS; ++turn) { /* the first one warms up */
    double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < repeats; ++i) entry.run(&call, 0, units);
    double time = seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
    if (turn >= 0) times[turn] = time * 1e9 / (double)(repeats * heads);
  }
  drop(call.scratch);
  return median(times, TURNS);
}

static void print_line(const line *l, bool gradient, int level) {
  harness h;
  void *operands[OPERANDS];
  open_kernel(&h, l, gradient, level);
  fill(l, operands);
  double time = measure(&h, l, operands);
  double operations = (gradient ? 10.0 : 4.0) * (double)(l->tokens * l->tokens * l->dim);
  printf("%-8s %4d tokens, heads of %3d %-4s %-9s %10.1f ns a head, %6.1f GFLOP/s\n",
         gradient ? "backward" : "forward", (int)l->tokens, (int)l->dim,
         mvs_dtype_name(l->dtype), mvs_cpu_name((mvs_cpu_level)level), time, operations / time);
  for (int i = 0; i < OPERANDS; ++i) drop(operands[i]);
  harness_close(&h);
}

int main(int count, char **arguments) {
  static const line table[] = {
      {20, 4, 16, 16, MVS_F32},  {80, 4, 32, 8, MVS_F32},    {320, 8, 64, 2, MVS_F32},
      {320, 4, 128, 2, MVS_F32}, {320, 8, 64, 2, MVS_BF16},  {20, 4, 16, 16, MVS_BF16},
      {80, 4, 32, 8, MVS_BF16},  {320, 4, 128, 2, MVS_BF16},
  };
  int level = count > 1 ? arguments[1][0] - '0' : (int)mvs_cpu_best();
  if (level < 0 || level >= MVS_CPU_LEVELS || !level_runs(level)) {
    printf("this machine does not run that level\n");
    return 1;
  }
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
    print_line(&table[i], false, level);
    print_line(&table[i], true, level);
  }
  return 0;
}
