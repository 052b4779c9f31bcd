/* pack.h: moving matrices into the forms that tiles read, and out of the forms that they write.
 * Strides count elements. The functions are shared by all kernels of a module. */
#ifndef MVS_HOST_PACK_H
#define MVS_HOST_PACK_H

#include "codegen/host/emit.h"

typedef struct mvs_pack_call {
  mvs_dtype type; /* of the source (copy, transpose) or target */
  LLVMValueRef source, source_stride;
  LLVMValueRef rows, columns; /* of the source, i64 */
  LLVMValueRef target, target_stride;
  LLVMValueRef scale;        /* f32, NULL: 1 */
  LLVMValueRef target_panel; /* interleave: from 32 columns of the target to the next 32 */
} mvs_pack_call;

/* target[i][j] = source[i][j] as f32; columns are filled with zeros to a multiple of 16. */
void mvs_pack_copy(mvs_emit *e, const mvs_pack_call *call);
/* target[j][i] = scale * source[i][j] as f32; both axes are filled with zeros to multiples
 * of 16. */
void mvs_pack_transpose(mvs_emit *e, const mvs_pack_call *call);
/* target[i][j] = source[i][j] for f32 source; writes exactly rows x columns elements. Reads
 * whole vectors of 16 source columns. */
void mvs_pack_round(mvs_emit *e, const mvs_pack_call *call);

/* Transposes 16 vectors of 16 elements in place. */
void mvs_transpose_vectors(mvs_emit *e, LLVMValueRef *v);

/* --- pairs: a place of 32 bits holds two bf16, low half first (tile.h) ---
 * The source is bf16, its stride, rows and columns count elements; the target's stride counts
 * places. What lies outside the source becomes zeros. */

/* Place [i][p] = source[i][2p], source[i][2p+1]; places are filled to a multiple of 16. */
void mvs_pairs_copy(mvs_emit *e, const mvs_pack_call *call);
/* Place [p][i] = source[i][2p], source[i][2p+1]; both axes are filled to multiples of 16. */
void mvs_pairs_transpose(mvs_emit *e, const mvs_pack_call *call);
/* Place [p][j] = source[2p][j], source[2p+1][j]; places are filled to a multiple of 16, columns
 * to one of 32. */
void mvs_pairs_interleave(mvs_emit *e, const mvs_pack_call *call);
/* Place [i][p] = source[2p][i], source[2p+1][i]; both axes are filled to multiples of 16. */
void mvs_pairs_turn(mvs_emit *e, const mvs_pack_call *call);

/* --- f32 in three parts of bf16 (tile_amx.h) --- */

typedef struct mvs_split_call {
  LLVMValueRef source, source_stride; /* f32 */
  LLVMValueRef rows, columns;         /* of the source, i64 */
  LLVMValueRef target;
  /* Places between steps of 32 k, and a 16th of those between groups of 16 rows or columns. */
  LLVMValueRef step_stride, group_stride;
} mvs_split_call;

/* Tiles of 16 rows (not `across`) or columns (`across`: k runs down the rows) by 16 places, all
 * parts of a tile behind one another. A tile's rows are those of the source, k being along them
 * or not; `turned` its columns. Whole tiles are written. */
void mvs_split(mvs_emit *e, bool across, bool turned, const mvs_split_call *call);

#endif
