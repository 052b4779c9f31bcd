/* gemm.c: the host's generated matmuls beside oneDNN's, in pairs.
 *
 *   gemm_bench [--level LEVEL] [--threads N] [--pairs N] [--least RATIO] [--form nt|nn|tn]
 *              [--dtype f32|bf16] [--sizes M,N,K ...]
 *
 * nt: C = A W^T, A and C row-major, W a weight. Both sides have their weights packed
 * beforehand: ours in the kernel's workspace, oneDNN's in the layout that it picks for itself.
 * nn and tn, the gradients of x and of W: C = A B and C = A^T B, all row-major, nothing packed
 * beforehand on either side, so that the second figure is the first. A pair is one measurement
 * of each, in turn first; the ratio is the median of the pairs' ratios, so that what else the
 * machine does falls on both. The third column is ours with packing, as a training step has it.
 * Results are compared first: a fast wrong product is no result. With
 * --least a line is "ok" or "not ok" and the exit status tells. DNNL_MAX_CPU_ISA limits
 * oneDNN's instruction set. */
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codegen/host/host.h"
#include "runtime/pool.h"
#include "tests/bench/timing.h"

#define MOST_PAIRS 101
#define MOST_SIZES 16
/* One measurement lasts about this long: far above the clock's and the pool's own costs. */
#define MEASURE_SECONDS 0.02

typedef struct size {
  int64_t m, n, k;
} size;

/* NT gives both sides their weights beforehand. */
static mvs_matmul_form form = MVS_MATMUL_NT;

typedef struct ours {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_kernel kernel;
  mvs_program program;
  Mvs__Kernel table, *tables[1];
  mvs_build build;
  uint8_t *code, *scratch;
  void *operands[4]; /* a, b, c, workspace */
  mvs_pool *pool;
} ours;

typedef struct theirs {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t arguments[3];
  const char *how;
  void *weights;
} theirs;

/* Both sides over the same A, with results of their own. */
typedef struct match {
  ours own;
  theirs peer;
  void *c, *peer_c;
} match;

/* One thread's own time where there is one. */
static clockid_t clock_used = CLOCK_MONOTONIC;

static void stop(const char *why) {
  fprintf(stderr, "gemm_bench: %s\n", why);
  exit(2);
}

static void check(dnnl_status_t status, const char *call) {
  if (status != dnnl_success) stop(call);
}

/* As the runtime gives it: large pieces in huge pages. */
static void *memory(int64_t bytes) {
  size_t page = bytes >= 4 << 20 ? 2 << 20 : 64, whole = ((size_t)bytes / page + 1) * page;
  void *out = aligned_alloc(page, whole);
  if (!out) stop("no memory");
  if (page > 64) madvise(out, whole, MADV_HUGEPAGE);
  memset(out, 0, (size_t)bytes);
  return out;
}

/* Uniform in [-1, 1): sums of products stay small beside their rounding. */
static void *random_matrix(mvs_dtype dtype, int64_t count, uint32_t *state) {
  void *out = memory(count * mvs_dtype_size(dtype));
  for (int64_t i = 0; i < count; i++) {
    *state = *state * 1664525u + 1013904223u;
    float value = (float)(*state >> 8) * 0x1p-23f - 1;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (dtype == MVS_BF16)
      ((uint16_t *)out)[i] = (uint16_t)(bits >> 16);
    else
      ((float *)out)[i] = value;
  }
  return out;
}

static double element(const void *data, mvs_dtype dtype, int64_t at) {
  if (dtype != MVS_BF16) return ((const float *)data)[at];
  uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* --- ours --- */

typedef struct stage_run {
  const ours *own;
  const Mvs__Nest *nest;
} stage_run;

static void run_units(void *user, int thread, int64_t begin, int64_t end) {
  stage_run *run = user;
  const ours *own = run->own;
  void *scratch = own->scratch + thread * own->table.scratch;
  mvs_host_call call = {own->operands, 1, 0, scratch, 0, 0};
  union {
    uintptr_t address;
    mvs_host_kernel *function;
  } entry = {(uintptr_t)own->code + run->nest->address};
  entry.function(&call, begin, end);
}

static void run_stages(const ours *own, size_t from) {
  for (size_t s = from; s < own->table.n_stages; s++) {
    stage_run run = {own, own->table.stages[s]->nests[0]};
    mvs_pool_run(own->pool, mvs_nest_units(run.nest, 1), run_units, &run);
  }
}

static void open_ours(ours *own, mvs_dtype dtype, size s, const char *level, mvs_pool *pool) {
  *own = (ours){.arena = mvs_arena_new(), .pool = pool};
  own->diag = mvs_diag_new(own->arena);
  own->kernel = (mvs_kernel){.name = "k0_matmul", .kernel_class = MVS_KERNEL_MATMUL};
  own->kernel.operand_count = 3;
  for (int i = 0; i < 3; i++) own->kernel.operands[i] = dtype;
  own->kernel.matmul = (mvs_matmul_shape){.form = form,
                                          .m = {s.m, false},
                                          .k = {s.k, false},
                                          .n = s.n,
                                          .a = dtype,
                                          .b = dtype,
                                          .c = dtype};
  mvs__program__init(&own->program);
  mvs__kernel__init(&own->table);
  own->tables[0] = &own->table;
  own->program.kernels = own->tables;
  own->program.n_kernels = 1;
  own->build.program = &own->program;
  MVS_PUSH(own->arena, &own->build.kernels, &own->kernel);
  mvs_host_options options = {.cpu_level = level};
  if (mvs_host_compile(own->arena, own->diag, &own->build, &options) != MVS_OK)
    stop("the kernel does not compile");
  size_t bytes = own->program.host_code.len;
  own->code = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (own->code == MAP_FAILED) stop("no memory for code");
  memcpy(own->code, own->program.host_code.data, bytes);
  mprotect(own->code, bytes, PROT_READ | PROT_EXEC);
  own->table.scratch = (own->table.scratch + 63) / 64 * 64;
  own->scratch = memory(own->table.scratch * mvs_pool_threads(pool) + 64);
  own->operands[3] = memory(own->table.workspace_fixed + own->table.workspace_per_batch + 64);
}

static void close_ours(ours *own) {
  munmap(own->code, own->program.host_code.len);
  free(own->scratch);
  free(own->operands[3]);
  mvs_arena_free(own->arena);
}

/* --- theirs --- */

/* Puts our W, rows of k, into the layout that oneDNN wants. */
static void pack_theirs(theirs *peer, const dnnl_memory_desc_t *given,
                        const dnnl_memory_desc_t *want, void *w) {
  dnnl_primitive_desc_t how;
  dnnl_primitive_t primitive;
  dnnl_memory_t from, to;
  check(dnnl_memory_create(&from, given, peer->engine, w), "memory");
  check(dnnl_memory_create(&to, want, peer->engine, peer->weights), "memory");
  check(dnnl_reorder_primitive_desc_create(&how, given, peer->engine, want, peer->engine, NULL),
        "reorder");
  check(dnnl_primitive_create(&primitive, how), "reorder");
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  check(dnnl_primitive_execute(primitive, peer->stream, 2, arguments), "reorder");
  dnnl_stream_wait(peer->stream);
  dnnl_primitive_destroy(primitive);
  dnnl_primitive_desc_destroy(how);
  dnnl_memory_destroy(from);
  peer->arguments[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, to};
}

/* False where oneDNN has no such product on this processor. */
static bool open_theirs(theirs *peer, mvs_dtype dtype, size s, void *a, void *w, void *c) {
  dnnl_data_type_t type = dtype == MVS_BF16 ? dnnl_bf16 : dnnl_f32;
  check(dnnl_engine_create(&peer->engine, dnnl_cpu, 0), "engine");
  check(dnnl_stream_create(&peer->stream, peer->engine, dnnl_stream_default_flags), "stream");
  dnnl_memory_desc_t left, right, given, result;
  bool nt = form == MVS_MATMUL_NT;
  dnnl_memory_desc_init_by_tag(&left, 2, (dnnl_dims_t){s.m, s.k}, type,
                               form == MVS_MATMUL_TN ? dnnl_ba : dnnl_ab);
  dnnl_memory_desc_init_by_tag(&right, 2, (dnnl_dims_t){s.k, s.n}, type,
                               nt ? dnnl_format_tag_any : dnnl_ab);
  dnnl_memory_desc_init_by_tag(&given, 2, (dnnl_dims_t){s.k, s.n}, type,
                               nt ? dnnl_ba : dnnl_ab);
  dnnl_memory_desc_init_by_tag(&result, 2, (dnnl_dims_t){s.m, s.n}, type, dnnl_ab);
  dnnl_matmul_desc_t product;
  check(dnnl_matmul_desc_init(&product, &left, &right, NULL, &result), "matmul");
  dnnl_primitive_desc_t how;
  if (dnnl_primitive_desc_create(&how, &product, NULL, peer->engine, NULL) != dnnl_success)
    return false;
  dnnl_primitive_desc_query(how, dnnl_query_impl_info_str, 0, &peer->how);
  const dnnl_memory_desc_t *want = dnnl_primitive_desc_query_md(how, dnnl_query_weights_md, 0);
  check(dnnl_primitive_create(&peer->primitive, how), "matmul");
  peer->weights = memory((int64_t)dnnl_memory_desc_get_size(want));
  pack_theirs(peer, &given, want, w);
  dnnl_memory_t from, to;
  check(dnnl_memory_create(&from, &left, peer->engine, a), "memory");
  check(dnnl_memory_create(&to, &result, peer->engine, c), "memory");
  peer->arguments[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, from};
  peer->arguments[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, to};
  return true;
}

static void close_theirs(theirs *peer) {
  dnnl_primitive_destroy(peer->primitive);
  for (int i = 0; i < 3; i++) dnnl_memory_destroy(peer->arguments[i].memory);
  dnnl_stream_destroy(peer->stream);
  dnnl_engine_destroy(peer->engine);
  free(peer->weights);
}

/* --- pairs --- */

typedef enum side { OURS, PACKED_BY_US, THEIRS } side;

/* Seconds of one product, the mean of `turns`; one more goes before, which wakes threads. */
static double measure(match *m, side which, int turns) {
  double start = 0;
  for (int i = -1; i < turns; i++) {
    if (i == 0) start = seconds_of(clock_used);
    if (which == THEIRS)
      dnnl_primitive_execute(m->peer.primitive, m->peer.stream, 3, m->peer.arguments);
    else
      run_stages(&m->own,
                 which == OURS && form == MVS_MATMUL_NT ? m->own.table.n_stages - 1 : 0);
    if (which == THEIRS) dnnl_stream_wait(m->peer.stream);
  }
  return (seconds_of(clock_used) - start) / turns;
}

/* Chains of k terms of up to 1 in f32, either side's order, and bf16's half of 2^-8. */
static void compare(const match *m, mvs_dtype dtype, size s) {
  double bound = 0x1p-22 * (double)s.k + 1e-6;
  for (int64_t i = 0; i < s.m * s.n; i++) {
    double a = element(m->c, dtype, i), b = element(m->peer_c, dtype, i);
    if (!(fabs(a - b) <= bound + (dtype == MVS_BF16 ? fabs(b) * 0x1p-7 : 0)))
      stop("results differ");
  }
}

typedef struct figures {
  double ours, packing, theirs, ratio;
} figures;

static figures play(match *m, size s, int pairs) {
  double own[MOST_PAIRS], peer[MOST_PAIRS], ratios[MOST_PAIRS], packing[MOST_PAIRS];
  double flops = 2.0 * (double)s.m * (double)s.n * (double)s.k;
  int turns = (int)(MEASURE_SECONDS / measure(m, OURS, 1)) + 1;
  for (int i = 0; i < pairs; i++) {
    if (i % 2) peer[i] = measure(m, THEIRS, turns);
    own[i] = measure(m, OURS, turns);
    if (i % 2 == 0) peer[i] = measure(m, THEIRS, turns);
    packing[i] = measure(m, PACKED_BY_US, turns);
    ratios[i] = peer[i] / own[i];
  }
  return (figures){flops / median(own, pairs) * 1e-9, flops / median(packing, pairs) * 1e-9,
                   flops / median(peer, pairs) * 1e-9, median(ratios, pairs)};
}

/* One line; false when the ratio is below `least`. */
static bool contest(mvs_dtype dtype, size s, const char *level, mvs_pool *pool, int pairs,
                    double least) {
  match m;
  uint32_t state = 7;
  open_ours(&m.own, dtype, s, level, pool);
  void *a = random_matrix(dtype, s.m * s.k, &state);
  void *w = random_matrix(dtype, s.n * s.k, &state);
  m.c = memory(s.m * s.n * mvs_dtype_size(dtype));
  m.peer_c = memory(s.m * s.n * mvs_dtype_size(dtype));
  m.own.operands[0] = a, m.own.operands[1] = w, m.own.operands[2] = m.c;
  char name[64];
  snprintf(name, sizeof name, "%s %ldx%ldx%ld", mvs_dtype_name(dtype), (long)s.m, (long)s.n,
           (long)s.k);
  bool good = true;
  if (open_theirs(&m.peer, dtype, s, a, w, m.peer_c)) {
    run_stages(&m.own, 0);
    measure(&m, THEIRS, 1);
    compare(&m, dtype, s);
    figures f = play(&m, s, pairs);
    good = f.ratio >= least;
    printf("%s%s: %.0f GFLOP/s (%.0f with packing), oneDNN %.0f (%s), ratio %.3f\n",
           least > 0 ? good ? "ok " : "not ok " : "", name, f.ours, f.packing, f.theirs,
           m.peer.how, f.ratio);
    close_theirs(&m.peer);
  } else {
    printf("skipped 1 %s: oneDNN has no such product here\n", name);
  }
  fflush(stdout);
  close_ours(&m.own);
  free(a), free(w), free(m.c), free(m.peer_c);
  return good;
}

static mvs_matmul_form form_of(const char *name) {
  if (!strcmp(name, "nn")) return MVS_MATMUL_NN;
  if (!strcmp(name, "tn")) return MVS_MATMUL_TN;
  if (strcmp(name, "nt") != 0) stop("--form nt, nn or tn");
  return MVS_MATMUL_NT;
}

int main(int count, char **arguments) {
  const char *level = mvs_cpu_name(mvs_cpu_best());
  int threads = 0, pairs = 11;
  double least = 0;
  size sizes[MOST_SIZES] = {{2048, 3072, 1024}, {512, 512, 256}};
  int given = 0;
  const char *only = NULL;
  for (int i = 1; i + 1 < count; i += 2) {
    const char *name = arguments[i], *value = arguments[i + 1];
    if (!strcmp(name, "--level"))
      level = value;
    else if (!strcmp(name, "--threads"))
      threads = (int)strtol(value, NULL, 10);
    else if (!strcmp(name, "--pairs"))
      pairs = (int)strtol(value, NULL, 10);
    else if (!strcmp(name, "--least"))
      least = strtod(value, NULL);
    else if (!strcmp(name, "--form"))
      form = form_of(value);
    else if (!strcmp(name, "--dtype"))
      only = value;
    else if (!strcmp(name, "--sizes") && given < MOST_SIZES) {
      size *s = &sizes[given++];
      if (sscanf(value, "%ld,%ld,%ld", &s->m, &s->n, &s->k) != 3) stop("--sizes M,N,K");
    } else
      stop("unknown option");
  }
  if (pairs < 1 || pairs > MOST_PAIRS) stop("--pairs is from 1 to 101");
  mvs_cpu_level wanted = mvs_cpu_of_name(level);
  if (wanted == MVS_CPU_LEVELS || mvs_cpu_lacks(wanted)) stop("this level does not run here");
  mvs_pool *pool = mvs_pool_new(threads);
  if (mvs_pool_threads(pool) == 1) clock_used = CLOCK_THREAD_CPUTIME_ID;
  bool good = true;
  for (mvs_dtype dtype = MVS_F32; dtype <= MVS_BF16; dtype++) {
    if (only && strcmp(only, mvs_dtype_name(dtype)) != 0) continue;
    for (int i = 0; i < (given ? given : 2); i++)
      good = contest(dtype, sizes[i], level, pool, pairs, least) && good;
  }
  mvs_pool_free(pool);
  return good ? 0 : 1;
}
