/* cuda_blas.c: row-major C = A B is told to the column-major library as C' = B' A'. */
#include "runtime/cuda_blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The library's constants, by value (cublasLt.h, cublas_api.h, library_types.h). */
enum { REAL_F32 = 0, REAL_BF16 = 14 }; /* cudaDataType */
enum { COMPUTE_F32 = 68 };             /* CUBLAS_COMPUTE_32F: no TF32 */
enum { PLAIN = 0, TRANSPOSED = 1 };    /* cublasOperation_t */
enum { DESC_A = 3, DESC_B = 4, DESC_EPILOGUE = 7, DESC_BIAS = 8, DESC_BIAS_TYPE = 26 };
enum { EPILOGUE_BIAS = 4 };
enum {
  PREFER_WORKSPACE = 1,
  PREFER_REDUCTION = 3,
  PREFER_ALIGNMENT = 5 /* of A; B, C, D follow */
};
enum {
  REDUCE_IN_F32 = 2
}; /* CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts kept, added in order */

/* NVIDIA's advice for Hopper. */
#define WORKSPACE_BYTES ((size_t)32 << 20)
#define MOST_ALIGNMENT  256
#define CHOICES         8

typedef struct algorithm {
  uint64_t data[8];
} algorithm;

/* cublasLtMatmulHeuristicResult_t */
typedef struct choice {
  algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
} choice;

/* Field, symbol without "cublasLt", arguments; all return a status, 0 for success. */
#define BLAS_CALLS(X)                                                                         \
  X(create, "Create", (void **handle))                                                        \
  X(destroy, "Destroy", (void *handle))                                                       \
  X(desc_new, "MatmulDescCreate", (void **desc, int compute, int scale))                      \
  X(desc_set, "MatmulDescSetAttribute", (void *desc, int name, const void *value, size_t n))  \
  X(desc_free, "MatmulDescDestroy", (void *desc))                                             \
  X(layout_new, "MatrixLayoutCreate",                                                         \
    (void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading))              \
  X(layout_free, "MatrixLayoutDestroy", (void *layout))                                       \
  X(prefer_new, "MatmulPreferenceCreate", (void **prefer))                                    \
  X(prefer_set, "MatmulPreferenceSetAttribute",                                               \
    (void *prefer, int name, const void *value, size_t n))                                    \
  X(prefer_free, "MatmulPreferenceDestroy", (void *prefer))                                   \
  X(choose, "MatmulAlgoGetHeuristic",                                                         \
    (void *handle, void *desc, void *a, void *b, void *c, void *d, void *prefer, int most,    \
     choice *found, int *count))                                                              \
  X(matmul, "Matmul",                                                                         \
    (void *handle, void *desc, const void *alpha, const void *a, void *a_layout,              \
     const void *b, void *b_layout, const void *beta, const void *c, void *c_layout, void *d, \
     void *d_layout, const algorithm *chosen, void *workspace, size_t bytes, void *stream))

/* A kernel at a batch. `desc` is NULL when the library refused. */
typedef struct plan {
  struct plan *next;
  int64_t batch;
  void *desc, *a, *b, *c;
  algorithm algorithm;
  char why[MVS_CUDA_WORDS];
} plan;

struct mvs_cuda_blas {
  mvs_cuda_place place;
  void *library, *handle;
  char name[64];
  mvs_cuda_address workspace;
  plan **plans; /* per kernel */
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

static int describe(mvs_cuda_blas *blas, const Mvs__Matmul *matmul, const sizes *size,
                    plan *out) {
  int first = size->b_transposed ? TRANSPOSED : PLAIN;
  int second = size->a_transposed ? TRANSPOSED : PLAIN;
  int epilogue = EPILOGUE_BIAS, bias = type_of(matmul->c);
  int status = blas->desc_new(&out->desc, COMPUTE_F32, REAL_F32);
  if (!status) status = blas->desc_set(out->desc, DESC_A, &first, sizeof first);
  if (!status) status = blas->desc_set(out->desc, DESC_B, &second, sizeof second);
  if (matmul->bias) {
    void *place = (void *)(uintptr_t)blas->workspace; /* stands for what each launch gives */
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

static int choose(mvs_cuda_blas *blas, const Mvs__Kernel *kernel, const sizes *size,
                  plan *out) {
  const Mvs__Matmul *matmul = kernel->matmul;
  uint32_t reduction = REDUCE_IN_F32;
  uint32_t c = alignment_of(kernel, 2, size->n, matmul->c);
  uint32_t alignment[4] = {alignment_of(kernel, 1, size->b_leading, matmul->b),
                           alignment_of(kernel, 0, size->a_leading, matmul->a), c, c};
  size_t workspace = WORKSPACE_BYTES;
  choice found[CHOICES];
  void *prefer = NULL;
  int count = 0, status = blas->prefer_new(&prefer);
  if (!status)
    status = blas->prefer_set(prefer, PREFER_WORKSPACE, &workspace, sizeof workspace);
  if (!status)
    status = blas->prefer_set(prefer, PREFER_REDUCTION, &reduction, sizeof reduction);
  for (int at = 0; at < 4 && !status; at++)
    status = blas->prefer_set(prefer, PREFER_ALIGNMENT + at, &alignment[at], sizeof *alignment);
  if (!status)
    status = blas->choose(blas->handle, out->desc, out->b, out->a, out->c, out->c, prefer,
                          CHOICES, found, &count);
  if (prefer) blas->prefer_free(prefer);
  if (status) return status;
  for (int at = 0; at < count; at++) {
    if (found[at].status) continue;
    out->algorithm = found[at].algorithm;
    return 0;
  }
  return -1;
}

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
  int status = describe(blas, kernel->matmul, &size, out);
  if (!status) status = choose(blas, kernel, &size, out);
  if (!status) return out;
  free_parts(blas, out);
  snprintf(out->why, sizeof out->why, "generated: %s has no algorithm for it (%s)", blas->name,
           status < 0 ? "none fits" : blas->status_text(status));
  return out;
}

/* --- opening and running --- */

mvs_cuda_taken mvs_cuda_blas_launch(mvs_cuda_blas *blas, const mvs_launch *launch,
                                    char *words) {
  static const float one = 1, zero = 0;
  const plan *use = find_plan(blas, launch->kernel, launch->batch);
  void *const *operands = launch->operands;
  int status = 0;
  if (!use || !use->desc) return MVS_CUDA_NOT_TAKEN;
  if (blas->place.program->kernels[launch->kernel]->matmul->bias)
    status = blas->desc_set(use->desc, DESC_BIAS, &operands[3], sizeof operands[3]);
  if (!status)
    status =
        blas->matmul(blas->handle, use->desc, &one, operands[1], use->b, operands[0], use->a,
                     &zero, operands[2], use->c, operands[2], use->c, &use->algorithm,
                     (void *)(uintptr_t)blas->workspace, WORKSPACE_BYTES, blas->place.stream);
  if (!status) return MVS_CUDA_TAKEN;
  snprintf(words, MVS_CUDA_WORDS, "cublasLtMatmul: %s", blas->status_text(status));
  return MVS_CUDA_FAILED;
}

void mvs_cuda_blas_how(mvs_cuda_blas *blas, uint32_t kernel, int64_t batch, char *words) {
  const plan *use = find_plan(blas, kernel, batch);
  snprintf(words, MVS_CUDA_WORDS, "%s",
           !use        ? "generated: out of memory"
           : use->desc ? blas->name
                       : use->why);
}

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

mvs_cuda_blas *mvs_cuda_blas_open(const mvs_cuda_place *place, char *why) {
  mvs_cuda_blas *blas = calloc(1, sizeof *blas);
  snprintf(why, MVS_CUDA_WORDS, "out of memory");
  if (!blas) return NULL;
  blas->place = *place;
  blas->plans = calloc(place->program->n_kernels + 1, sizeof *blas->plans);
  bool good = blas->plans && load(blas, why);
  if (good && place->driver->alloc(&blas->workspace, WORKSPACE_BYTES) != 0) {
    snprintf(why, MVS_CUDA_WORDS, "there is no memory for cuBLASLt's workspace");
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
  if (blas->workspace) blas->place.driver->release(blas->workspace);
  free(blas->plans);
  free(blas);
}
