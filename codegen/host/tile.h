/* tile.h: the product that every matmul and attention is made of:
 *   C[rows, width] = start + A[rows, k] x B[k, width]  (+ bias), width <= 32
 * with B in whole vectors: a panel of 32 columns, or the rows of a matrix where width is a
 * multiple of 16. Sums are one fma chain per element, upwards in k from `start` (zeros when
 * absent): splitting k, rows or columns never changes the bits. */
#ifndef MVS_HOST_TILE_H
#define MVS_HOST_TILE_H

#include "codegen/host/emit.h"

/* Pairs: where the processor multiplies them (MVS_CPU_BF16), a place of 32 bits of A and of B
 * holds the elements 2k and 2k+1 of a row or column, low half first, and k counts such places.
 * The product of a place is added as two terms, each rounded, 2k+1 first; subnormals count as
 * zeros. */

/* Columns of a packed panel of B; element [k][j] lies at k * MVS_PANEL + j. */
#define MVS_PANEL 32
/* Rows of the largest tile with AVX-512: 28 sums, 2 of B and 2 of A fill the 32 registers. */
#define MVS_TILE_ROWS 14

/* How A lies in memory (f32): element [i][k] at i * stride + k, or at k * stride + i. */
typedef enum mvs_tile_layout { MVS_TILE_BY_ROWS, MVS_TILE_BY_COLUMNS } mvs_tile_layout;

typedef struct mvs_tile_call {
  LLVMValueRef a, a_stride;    /* strides in elements, i64 */
  LLVMValueRef b, b_stride, k; /* element [k][j] at k * b_stride + j; NULL: MVS_PANEL */
  LLVMValueRef c, c_stride;    /* C of dtype c_type, element [i][j] at i * c_stride + j */
  LLVMValueRef rows, width;
  LLVMValueRef start, start_stride; /* f32, NULL: zeros; may be C itself */
  LLVMValueRef bias;                /* of dtype c_type [width], NULL: none */
  bool pairs;                       /* A, B: an f32's place holds two bf16 of k, see below */
} mvs_tile_call;

/* Calls the shared function for that layout and dtype of C (f32 or bf16). */
void mvs_tile(mvs_emit *e, mvs_tile_layout layout, mvs_dtype c_type, const mvs_tile_call *call);

#endif
