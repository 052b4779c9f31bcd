/* cuda_blas.h: matmul kernels by cuBLASLt, loaded at run time. bf16 and f32 operands, f32 sums,
 * never TF32; bias as an epilogue. The algorithm is the fastest of the library's candidates, by
 * measurement, among those whose parts add up in f32 in a fixed order, so the bits are the same
 * run to run; it depends on the product alone, not on where operands lie. With
 * MVCC_GPU_ALGORITHMS=first it is the library's own first choice.
 * Owner: the device. */
#ifndef MVS_RUNTIME_CUDA_BLAS_H
#define MVS_RUNTIME_CUDA_BLAS_H

#include "runtime/cuda_algorithms.h"

/* Device memory that it keeps: its workspace, of the size that NVIDIA advises for Hopper. */
#define MVS_CUDA_BLAS_BYTES ((int64_t)32 << 20)

typedef struct mvs_cuda_blas mvs_cuda_blas;

/* Loads the library; NULL with a sentence in `why` [MVS_CUDA_WORDS] when it cannot be used. */
mvs_cuda_blas *mvs_cuda_blas_open(const mvs_cuda_place *place, char *why);
/* Gives back plans, workspace and the library; NULL is allowed. */
void mvs_cuda_blas_close(mvs_cuda_blas *blas);
/* Runs a matmul kernel in a lane's stream if the library has an algorithm for it. Lanes have a
 * workspace each: that of WORK is there from the start, another one from its first launch on.
 * words [MVS_CUDA_WORDS] : the reason of MVS_CUDA_FAILED */
mvs_cuda_taken mvs_cuda_blas_launch(mvs_cuda_blas *blas, const mvs_launch *launch,
                                    mvs_lane lane, void *stream, char *words);
/* Makes ready what the first launch of a kernel at a batch needs: it may measure, for which
 * there should be memory. */
void mvs_cuda_blas_prepare(mvs_cuda_blas *blas, uint32_t kernel, int64_t batch);
/* The table in use; the library's. */
mvs_cuda_algorithms *mvs_cuda_blas_algorithms(mvs_cuda_blas *blas);
/* "cuBLASLt 13.1.0, measured: choice 3 of 12", or "generated: ..." with the library's reason to
 * refuse. */
void mvs_cuda_blas_how(mvs_cuda_blas *blas, uint32_t kernel, int64_t batch, char *words);

#endif
