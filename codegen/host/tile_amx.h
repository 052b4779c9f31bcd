/* tile_amx.h: products by AMX (MVS_CPU_AMX): tiles of 16 x 16 sums, 16 places of two bf16
 * (tile.h) a step. A tile register must be configured before and released behind, so that the
 * system need not save 8 KiB for a thread that is done with them.
 *
 * An f32 is the sum of three bf16, exactly (pack.h), and a product of two f32 that of six
 * products of their parts, but for less than 2^-23 of it (docs/numerics.md). Operands in parts
 * lie in tiles, [step][part][row][place]; MVS_SPLIT_STEP is a step's. */
#ifndef MVS_HOST_TILE_AMX_H
#define MVS_HOST_TILE_AMX_H

#include "codegen/host/tile.h"

/* Places of 32 bits in a tile, and in those of all parts of a step. */
#define MVS_TILE_PLACES (MVS_LANES * MVS_LANES)
#define MVS_SPLIT_PARTS 3
#define MVS_SPLIT_STEP  (MVS_SPLIT_PARTS * MVS_TILE_PLACES)

typedef struct mvs_amx_call {
  bool split; /* A and B are in parts */
  /* Rows of places; the stride counts places. In parts: every 16 rows, all steps; the stride
   * counts a 16th of the places between two such. */
  LLVMValueRef a, a_stride;
  LLVMValueRef b;      /* a panel of places, [place][32]; in parts [step][half of 32] of them */
  LLVMValueRef places; /* a multiple of 16 */
  LLVMValueRef rows;   /* of C, at least 1 */
  LLVMValueRef room;   /* rows that A and the sums have room for, at least `rows` */
  /* f32, [room][32] where k comes in stretches and sums go on from where they were; else room
   * for [64][32]. */
  LLVMValueRef sums, sums_stride;
  bool in_stretches;
  LLVMValueRef first, last; /* i1: the first stretch starts from zeros, the last writes C */
  LLVMValueRef c, c_stride, width; /* width <= 32 */
  LLVMValueRef bias;               /* of dtype c_type [width], or null */
  bool far;                        /* C is in no near cache: its lines are asked for early */
} mvs_amx_call;

/* Configures the tiles for blocks that have room for `room` rows (i64, at least 1). */
void mvs_amx_open(mvs_emit *e, LLVMValueRef room);
/* C[rows, width] = start + A x B (+ bias), of dtype c_type (f32 or bf16). */
void mvs_amx_tile(mvs_emit *e, mvs_dtype c_type, const mvs_amx_call *call);
/* Gives the tiles back. */
void mvs_amx_close(mvs_emit *e);

#endif
