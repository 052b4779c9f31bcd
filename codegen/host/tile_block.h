/* tile_block.h: a block of 32 x 32 sums in AMX's registers, step by step, so that whoever adds
 * it up can do other work between the steps: a step takes the tiles 64 cycles and the rest of
 * the processor hardly any. All 32 rows and columns are read and written; tiles are configured
 * for 16 rows by mvs_amx_open (tile_amx.h), which says what a place is. */
#ifndef MVS_HOST_TILE_BLOCK_H
#define MVS_HOST_TILE_BLOCK_H

#include "codegen/host/emit.h"

/* Rows and columns of a block. */
#define MVS_BLOCK 32
/* Places of a step. */
#define MVS_BLOCK_STEP 16

typedef struct mvs_amx_block {
  LLVMValueRef a, a_stride; /* 32 rows of places */
  LLVMValueRef b;           /* [place][32] */
  LLVMValueRef c, c_stride; /* f32 */
} mvs_amx_block;

/* Sums start from zeros, or from C where `go_on` (i1, NULL: never) holds. */
void mvs_block_begin(mvs_emit *e, const mvs_amx_block *block, LLVMValueRef go_on);
/* Adds the products of 16 places from `place` on. */
void mvs_block_step(mvs_emit *e, const mvs_amx_block *block, LLVMValueRef place);
/* Writes the sums to C. */
void mvs_block_end(mvs_emit *e, const mvs_amx_block *block);

typedef struct mvs_amx_product {
  LLVMValueRef a, a_stride;   /* rows of places */
  LLVMValueRef b, b_stride;   /* panels [place][32], and places from one to the next */
  LLVMValueRef c, c_stride;   /* f32 */
  LLVMValueRef rows, columns; /* multiples of 32 */
  LLVMValueRef places;        /* a multiple of 16 */
  LLVMValueRef go_on;         /* i1: sums start from C */
} mvs_amx_product;

/* C = (C +) A x B by a function that all kernels of the module share. */
void mvs_amx_multiply(mvs_emit *e, const mvs_amx_product *product);

#endif
