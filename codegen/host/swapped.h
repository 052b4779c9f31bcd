/* swapped.h: C = A B^T of few rows of bf16 in tiles of AMX, as C^T = B A^T: what tiles take as
 * rows is read where it lies, and that is B, the large operand. Only A is turned. */
#ifndef MVS_HOST_SWAPPED_H
#define MVS_HOST_SWAPPED_H

#include "codegen/host/dots.h"

/* Bytes of scratch for up to that many rows and k. */
int64_t mvs_swapped_scratch(int64_t rows, int64_t k);
/* Operands of bf16, k a multiple of 32, at least one row and column; the scratch 64-byte
 * aligned. The bits are those of the product as it stands: a term's factors change sides. */
void mvs_swapped(mvs_emit *e, const mvs_dots_call *call, LLVMValueRef scratch);

#endif
