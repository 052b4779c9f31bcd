/* cuda_blas_calls.h: cuBLASLt's calls and constants, by value, so that no header of NVIDIA's is
 * needed (cublasLt.h, cublas_api.h, library_types.h). Private to cuda_blas.c. */
#ifndef MVS_RUNTIME_CUDA_BLAS_CALLS_H
#define MVS_RUNTIME_CUDA_BLAS_CALLS_H

#include "runtime/cuda_algorithms.h"

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

/* cublasLtMatmulHeuristicResult_t */
typedef struct choice {
  mvs_cuda_algorithm algorithm;
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
  X(check, "MatmulAlgoCheck",                                                                 \
    (void *handle, void *desc, void *a, void *b, void *c, void *d,                            \
     const mvs_cuda_algorithm *algorithm, choice *found))                                     \
  X(matmul, "Matmul",                                                                         \
    (void *handle, void *desc, const void *alpha, const void *a, void *a_layout,              \
     const void *b, void *b_layout, const void *beta, const void *c, void *c_layout, void *d, \
     void *d_layout, const mvs_cuda_algorithm *chosen, void *workspace, size_t bytes,         \
     void *stream))

#endif
