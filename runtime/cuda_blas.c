/* cuda_blas.c: row-major C = A B is told to the column-major library as C' = B' A'. */
#include "runtime/cuda_blas.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/cuda_blas_calls.h"
#include "runtime/cuda_measure.h"

#define WORKSPACE_BYTES ((size_t)MVS_CUDA_BLAS_BYTES)
#define NO_WORKSPACE    "there is no memory for cuBLASLt's workspace"
#define MOST_ALIGNMENT  256
#define LONGEST_PRODUCT 128

/* A kernel at a batch. `desc` is NULL when the library refused. */
typedef struct plan {
  struct plan *next;
  int64_t batch;
  void *desc, *a, *b, *c;
  mvs_cuda_algorithm algorithm;
  char words[MVS_CUDA_WORDS]; /* what runs it */
} plan;

struct mvs_cuda_blas {
  mvs_cuda_place place;
  void *library, *handle;
  char name[64];
  mvs_cuda_address workspaces[MVS_LANES]; /* 0: not yet */
  plan **plans;                           /* per kernel */
  bool measures;
  mvs_cuda_algorithms *table;
  const char *(*status_text)(int status);
#define X(field, symbol, arguments) int(*field) arguments;
  BLAS_CALLS(X)
#undef X
};

/* --- plans --- */

typedef struct sizes {
  int64_t m, n, k;
  int64_t a_leading, b_leading; /* elements of a row of A and B as they lie in memory */
  bool a_transposed, b_transposed;
} sizes;

static int64_t extent(const Mvs__Extent *size, int64_t batch) {
  return size->size * (size->per_batch ? batch : 1);
}

/* "nn" and "nt" have A's rows in memory as they are multiplied; "tn" takes A turned. */
static sizes sizes_of(const Mvs__Matmul *matmul, int64_t batch) {
  sizes out = {
      extent(matmul->m, batch), matmul->n, extent(matmul->k, batch), 0, 0, false, false};
  out.a_transposed = strcmp(matmul->form, "tn") == 0; /* a[k, m] */
  out.b_transposed = strcmp(matmul->form, "nt") == 0; /* b[n, k] */
  out.a_leading = out.a_transposed ? out.m : out.k;
  out.b_leading = out.b_transposed ? out.k : out.n;
  return out;
}

static int type_of(const char *dtype) {
  return strcmp(dtype, "bf16") == 0 ? REAL_BF16 : REAL_F32;
}

static int bytes_of(const char *dtype) { return strcmp(dtype, "bf16") == 0 ? 2 : 4; }

/* What every launch promises: rows of `leading` elements lie behind one another, and slots too.
 */
static uint32_t alignment_of(const Mvs__Kernel *kernel, size_t operand, int64_t leading,
                             const char *dtype) {
  int64_t promised = kernel->arguments[operand]->alignment;
  int64_t row = mvs_cuda_power_of_two(leading * bytes_of(dtype), MOST_ALIGNMENT);
  return (uint32_t)(promised > 0 && promised < row ? promised : row);
}

/* Row-major memory is the transpose to a column-major library. So A and B change places, and
 * layouts have rows and columns exchanged; what is transposed here is transposed there.
 *
 *   ours        C[m, n] = A[m, k] B[k, n]       rows behind one another
 *   theirs      C'[n, m] = B'[n, k] A'[k, m]    columns behind one another: the same memory
 *
 * The bias lies along n, the library's rows, which is what its epilogue adds to. */
static int describe(mvs_cuda_blas *blas, const Mvs__Matmul *matmul, const sizes *size,
                    plan *out) {
  int first = size->b_transposed ? TRANSPOSED : PLAIN;
  int second = size->a_transposed ? TRANSPOSED : PLAIN;
  int epilogue = EPILOGUE_BIAS, bias = type_of(matmul->c);
  int status = blas->desc_new(&out->desc, COMPUTE_F32, REAL_F32);
  if (!status) status = blas->desc_set(out->desc, DESC_A, &first, sizeof first);
  if (!status) status = blas->desc_set(out->desc, DESC_B, &second, sizeof second);
  if (matmul->bias) {
    void *place = (void *)(uintptr_t)
                      blas->workspaces[MVS_LANE_WORK]; /* stands for what each launch gives */
    if (!status) status = blas->desc_set(out->desc, DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!status) status = blas->desc_set(out->desc, DESC_BIAS_TYPE, &bias, sizeof bias);
    if (!status) status = blas->desc_set(out->desc, DESC_BIAS, &place, sizeof place);
  }
  uint64_t m = (uint64_t)size->m, n = (uint64_t)size->n, k = (uint64_t)size->k;
  if (!status)
    status = blas->layout_new(&out->b, type_of(matmul->b), size->b_transposed ? k : n,
                              size->b_transposed ? n : k, size->b_leading);
  if (!status)
    status = blas->layout_new(&out->a, type_of(matmul->a), size->a_transposed ? m : k,
                              size->a_transposed ? k : m, size->a_leading);
  if (!status) status = blas->layout_new(&out->c, type_of(matmul->c), n, m, size->n);
  return status;
}

/* --- algorithms --- */

typedef struct search {
  mvs_cuda_blas *blas;
  const Mvs__Matmul *matmul;
  const sizes *size;
  uint32_t alignment[4]; /* of B, A, C, C: the library's order */
  const plan *use;
  choice found[MVS_MEASURE_WAYS];
  int count;
} search;

/* C stands twice in the library's formula, as what is added (times 0) and as the result. */
static search search_of(mvs_cuda_blas *blas, const Mvs__Kernel *kernel, const sizes *size,
                        const plan *use) {
  const Mvs__Matmul *matmul = kernel->matmul;
  uint32_t c = alignment_of(kernel, 2, size->n, matmul->c);
  return (search){.blas = blas,
                  .matmul = matmul,
                  .size = size,
                  .alignment = {alignment_of(kernel, 1, size->b_leading, matmul->b),
                                alignment_of(kernel, 0, size->a_leading, matmul->a), c, c},
                  .use = use};
}

/* Where rows do not start on so many bytes, cuBLASLt 13.1 adds the bias in a second pass, to a
 * result that it has rounded: 2 to 3e-3 of the norm away from one rounding, where aligned
 * products of the same sizes are exact. */
#define LEAST_ALIGNED 8

static bool rounds_twice(const search *s) {
  bool aligned = s->alignment[0] >= LEAST_ALIGNED && s->alignment[1] >= LEAST_ALIGNED &&
                 s->alignment[2] >= LEAST_ALIGNED;
  return s->matmul->bias && type_of(s->matmul->c) == REAL_BF16 && !aligned;
}

/* All that the choice may depend on, as a line of the table: where operands lie does not. */
static void name_product(const search *s, char *out) {
  const Mvs__Matmul *matmul = s->matmul;
  snprintf(out, LONGEST_PRODUCT,
           "%s %" PRId64 "x%" PRId64 "x%" PRId64 " %s %s %s%s aligned %u %u %u", matmul->form,
           s->size->m, s->size->n, s->size->k, matmul->a, matmul->b, matmul->c,
           matmul->bias ? " bias" : "", s->alignment[1], s->alignment[0], s->alignment[2]);
}

/* The library's own order, the likely best first. */
static int list_candidates(search *s) {
  mvs_cuda_blas *blas = s->blas;
  uint32_t reduction = REDUCE_IN_F32;
  size_t workspace = WORKSPACE_BYTES;
  choice found[MVS_MEASURE_WAYS];
  void *prefer = NULL;
  int count = 0, status = blas->prefer_new(&prefer);
  if (!status)
    status = blas->prefer_set(prefer, PREFER_WORKSPACE, &workspace, sizeof workspace);
  if (!status)
    status = blas->prefer_set(prefer, PREFER_REDUCTION, &reduction, sizeof reduction);
  for (int at = 0; at < 4 && !status; at++)
    status = blas->prefer_set(prefer, PREFER_ALIGNMENT + at, &s->alignment[at],
                              sizeof s->alignment[at]);
  if (!status)
    status = blas->choose(blas->handle, s->use->desc, s->use->b, s->use->a, s->use->c,
                          s->use->c, prefer, MVS_MEASURE_WAYS, found, &count);
  if (prefer) blas->prefer_free(prefer);
  if (status) return status;
  for (int at = 0; at < count; at++)
    if (!found[at].status) s->found[s->count++] = found[at];
  return s->count > 0 ? 0 : -1;
}

/* Where a product is computed. */
typedef struct spot {
  mvs_cuda_address workspace;
  void *stream;
} spot;

/* The bias's address is part of the description, so it is set before each launch; a launch that
 * is recorded keeps the one that it was given. */
static int run(const mvs_cuda_blas *blas, const Mvs__Matmul *matmul, const plan *use,
               const mvs_cuda_algorithm *algorithm, spot at, void *const *operands) {
  static const float one = 1, zero = 0;
  int status = 0;
  if (matmul->bias)
    status = blas->desc_set(use->desc, DESC_BIAS, &operands[3], sizeof operands[3]);
  if (status) return status;
  return blas->matmul(blas->handle, use->desc, &one, operands[1], use->b, operands[0], use->a,
                      &zero, operands[2], use->c, operands[2], use->c, algorithm,
                      (void *)(uintptr_t)at.workspace, WORKSPACE_BYTES, at.stream);
}

/* For mvs_cuda_fastest: the same launch by another algorithm. */
static int run_candidate(void *user, int way, void *const *operands) {
  const search *s = user;
  const spot at = {s->blas->workspaces[MVS_LANE_WORK], s->blas->place.stream};
  return run(s->blas, s->matmul, s->use, &s->found[way].algorithm, at, operands);
}

/* Bytes tell the measurement how many copies of the operands are larger than caches. */
static int fastest(search *s) {
  const Mvs__Matmul *matmul = s->matmul;
  const sizes *size = s->size;
  mvs_measure of = {
      .operands = matmul->bias ? 4 : 3,
      .ways = s->count,
      .result = 2,
      .bytes = {size->m * size->k * bytes_of(matmul->a),
                size->k * size->n * bytes_of(matmul->b),
                size->m * size->n * bytes_of(matmul->c), size->n * bytes_of(matmul->c)},
      .run = run_candidate,
      .user = s};
  return mvs_cuda_fastest(&s->blas->place, &of);
}

/* An entry is used when the library takes it: it may be another's. */
static bool is_known(search *s, const char *product, plan *out) {
  static const char *const words[] = {[MVS_CUDA_FIRST] = "first choice",
                                      [MVS_CUDA_MEASURED] = "measured",
                                      [MVS_CUDA_CACHED] = "measured before",
                                      [MVS_CUDA_OF_RUN] = "as the run began"};
  mvs_cuda_blas *blas = s->blas;
  mvs_cuda_origin origin;
  choice checked = {.status = 0};
  if (!mvs_cuda_algorithms_find(blas->table, product, &out->algorithm, &origin)) return false;
  if (origin == MVS_CUDA_CACHED && !blas->measures) return false;
  if (blas->check(blas->handle, out->desc, out->b, out->a, out->c, out->c, &out->algorithm,
                  &checked) != 0 ||
      checked.workspace > WORKSPACE_BYTES)
    return false;
  snprintf(out->words, sizeof out->words, "%s, %s", blas->name, words[origin]);
  mvs_cuda_algorithms_add(blas->table, product, &out->algorithm, origin);
  return true;
}

/* What a run began with or measured before comes first, since the bits of a product depend on
 * its algorithm. Without memory to measure in, the library's first choice is a good one. */
static int choose(search *s, plan *out) {
  mvs_cuda_blas *blas = s->blas;
  char product[LONGEST_PRODUCT];
  name_product(s, product);
  if (is_known(s, product, out)) return 0;
  int status = list_candidates(s);
  if (status) return status;
  int best = blas->measures ? fastest(s) : -1;
  out->algorithm = s->found[best < 0 ? 0 : best].algorithm;
  mvs_cuda_algorithms_add(blas->table, product, &out->algorithm,
                          best < 0 ? MVS_CUDA_FIRST : MVS_CUDA_MEASURED);
  if (best < 0) {
    snprintf(out->words, sizeof out->words, "%s, first choice%s", blas->name,
             blas->measures ? ": there was no memory to measure" : "");
  } else {
    snprintf(out->words, sizeof out->words, "%s, measured: choice %d of %d", blas->name,
             best + 1, s->count);
  }
  return 0;
}

/* A plan without `desc` is one that the library does not take. */
static void free_parts(mvs_cuda_blas *blas, plan *old) {
  if (old->desc) blas->desc_free(old->desc);
  if (old->a) blas->layout_free(old->a);
  if (old->b) blas->layout_free(old->b);
  if (old->c) blas->layout_free(old->c);
  old->desc = old->a = old->b = old->c = NULL;
}

/* The plan of a kernel at a batch, made at the first use; NULL when there is no memory. */
static plan *find_plan(mvs_cuda_blas *blas, uint32_t number, int64_t batch) {
  const Mvs__Kernel *kernel = blas->place.program->kernels[number];
  for (plan *at = blas->plans[number]; at; at = at->next)
    if (at->batch == batch) return at;
  plan *out = calloc(1, sizeof *out);
  if (!out) return NULL;
  out->batch = batch;
  out->next = blas->plans[number];
  blas->plans[number] = out;
  sizes size = sizes_of(kernel->matmul, batch);
  search s = search_of(blas, kernel, &size, out);
  if (rounds_twice(&s)) {
    snprintf(out->words, sizeof out->words,
             "generated: %s would round before it adds the bias, where rows lie so",
             blas->name);
    return out;
  }
  int status = describe(blas, kernel->matmul, &size, out);
  if (!status) status = choose(&s, out);
  if (!status) return out;
  free_parts(blas, out);
  snprintf(out->words, sizeof out->words, "generated: %s has no algorithm for it (%s)",
           blas->name, status < 0 ? "none fits" : blas->status_text(status));
  return out;
}

/* --- opening and running --- */

mvs_cuda_taken mvs_cuda_blas_launch(mvs_cuda_blas *blas, const mvs_launch *launch,
                                    mvs_lane lane, void *stream, char *words) {
  const plan *use = find_plan(blas, launch->kernel, launch->batch);
  const Mvs__Matmul *matmul = blas->place.program->kernels[launch->kernel]->matmul;
  mvs_cuda_address *workspace = &blas->workspaces[lane];
  if (!use || !use->desc) return MVS_CUDA_NOT_TAKEN;
  if (!*workspace && blas->place.driver->alloc(workspace, WORKSPACE_BYTES) != 0) {
    snprintf(words, MVS_CUDA_WORDS, NO_WORKSPACE);
    return MVS_CUDA_FAILED;
  }
  int status =
      run(blas, matmul, use, &use->algorithm, (spot){*workspace, stream}, launch->operands);
  if (!status) return MVS_CUDA_TAKEN;
  snprintf(words, MVS_CUDA_WORDS, "cublasLtMatmul: %s", blas->status_text(status));
  return MVS_CUDA_FAILED;
}

void mvs_cuda_blas_prepare(mvs_cuda_blas *blas, uint32_t kernel, int64_t batch) {
  find_plan(blas, kernel, batch);
}

void mvs_cuda_blas_how(mvs_cuda_blas *blas, uint32_t kernel, int64_t batch, char *words) {
  const plan *use = find_plan(blas, kernel, batch);
  snprintf(words, MVS_CUDA_WORDS, "%s", use ? use->words : "generated: out of memory");
}

mvs_cuda_algorithms *mvs_cuda_blas_algorithms(mvs_cuda_blas *blas) { return blas->table; }

/* The library stays loaded until the process ends: its kernels may be in a recording. */
static bool load(mvs_cuda_blas *blas, char *why) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
  const char *missing = NULL;
  blas->library = mvs_cuda_library(names);
  if (!blas->library) {
    snprintf(why, MVS_CUDA_WORDS, "libcublasLt.so.13 was not found");
    return false;
  }
#define X(field, symbol, arguments)                                   \
  *(void **)(&blas->field) = dlsym(blas->library, "cublasLt" symbol); \
  if (!blas->field) missing = "cublasLt" symbol;
  BLAS_CALLS(X)
#undef X
  size_t (*version)(void);
  *(void **)(&version) = dlsym(blas->library, "cublasLtGetVersion");
  *(void **)(&blas->status_text) = dlsym(blas->library, "cublasLtGetStatusString");
  if (!version || !blas->status_text) missing = "cublasLtGetStatusString";
  if (missing) {
    snprintf(why, MVS_CUDA_WORDS, "the cuBLASLt found has no %s", missing);
    return false;
  }
  /* 130100 is 13.1.0; before CUDA 13, 120805 is 12.8.5. */
  size_t number = version();
  snprintf(blas->name, sizeof blas->name, "cuBLASLt %zu.%zu.%zu", number / 10000,
           number % 10000 / 100, number % 100);
  return true;
}

/* Whatever was had before a failure is given back by the close. */
mvs_cuda_blas *mvs_cuda_blas_open(const mvs_cuda_place *place, char *why) {
  mvs_cuda_blas *blas = calloc(1, sizeof *blas);
  snprintf(why, MVS_CUDA_WORDS, "out of memory");
  if (!blas) return NULL;
  blas->place = *place;
  blas->plans = calloc(place->program->n_kernels + 1, sizeof *blas->plans);
  bool good = blas->plans && load(blas, why);
  const char *algorithms = getenv("MVCC_GPU_ALGORITHMS");
  blas->measures = !algorithms || strcmp(algorithms, "first") != 0;
  if (good) blas->table = mvs_cuda_algorithms_new(place, blas->name);
  if (good && !blas->table) {
    snprintf(why, MVS_CUDA_WORDS, "out of memory");
    good = false;
  }
  if (good && place->driver->alloc(&blas->workspaces[MVS_LANE_WORK], WORKSPACE_BYTES) != 0) {
    snprintf(why, MVS_CUDA_WORDS, NO_WORKSPACE);
    good = false;
  }
  int status = good ? blas->create(&blas->handle) : 0;
  if (status) snprintf(why, MVS_CUDA_WORDS, "cublasLtCreate: %s", blas->status_text(status));
  if (good && !status) return blas;
  mvs_cuda_blas_close(blas);
  return NULL;
}

void mvs_cuda_blas_close(mvs_cuda_blas *blas) {
  if (!blas) return;
  for (size_t at = 0; blas->plans && at < blas->place.program->n_kernels; at++) {
    for (plan *each = blas->plans[at], *next; each; each = next) {
      next = each->next;
      free_parts(blas, each);
      free(each);
    }
  }
  if (blas->handle) blas->destroy(blas->handle);
  for (int lane = 0; lane < MVS_LANES; lane++)
    if (blas->workspaces[lane]) blas->place.driver->release(blas->workspaces[lane]);
  mvs_cuda_algorithms_free(blas->table);
  free(blas->plans);
  free(blas);
}
