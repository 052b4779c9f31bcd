/* dots.h: C = A B^T of few rows, both operands read where they lie: every element of C is a dot
 * product along k. Nothing of B is turned, and each of its rows is read from memory once. */
#ifndef MVS_HOST_DOTS_H
#define MVS_HOST_DOTS_H

#include "codegen/host/emit.h"

/* The most rows of A: with more, panels of B pay. */
#define MVS_DOT_ROWS 8

typedef struct mvs_dots_call {
  mvs_dtype a_type, b_type, c_type;
  LLVMValueRef a, b;        /* [rows][k] and [columns][k] */
  LLVMValueRef k;           /* i64, as the other extents */
  LLVMValueRef rows;        /* any number, MVS_DOT_ROWS at a time */
  LLVMValueRef columns;     /* of C, rows of B */
  LLVMValueRef c, c_stride; /* element [i][j] at i * c_stride + j */
  LLVMValueRef bias;        /* of dtype c_type [columns], or null */
  bool pairs;               /* bf16 by the processor's products of pairs (tile.h) */
} mvs_dots_call;

/* Element k (pairs: place k of 32 bits) is added to lane k mod 16, upwards, by one fma (pairs:
 * the two of tile.h); then lanes fold by halves, 8, 4, 2, 1: the same on all processors. */
void mvs_dots(mvs_emit *e, const mvs_dots_call *call);

#endif
