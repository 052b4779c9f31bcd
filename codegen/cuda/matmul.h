/* matmul.h: what the generated products share. Private to codegen/cuda. */
#ifndef MVS_CODEGEN_CUDA_MATMUL_H
#define MVS_CODEGEN_CUDA_MATMUL_H

#include "codegen/cuda/printer.h"

/* Rows and columns of a block's tile. */
#define MVS_CUDA_TILE 128

/* The texts of a product of bf16 operands, and of any others: functions, and the kernel behind
 * its sizes M, N, K. Defined before them: A_BY_K, A_VECTOR (elements of one access), the same
 * of B, C_VECTOR, BIAS(n). */
extern const char mvs_cuda_tensor_helpers[], mvs_cuda_tensor_body[];
extern const char mvs_cuda_f32_helpers[], mvs_cuda_f32_body[];

#endif
