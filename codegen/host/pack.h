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
  LLVMValueRef scale; /* f32, NULL: 1 */
} mvs_pack_call;

/* target[i][j] = source[i][j] as f32; columns are filled with zeros to a multiple of 16. */
void mvs_pack_copy(mvs_emit *e, const mvs_pack_call *call);
/* target[j][i] = scale * source[i][j] as f32; both axes are filled with zeros to multiples
 * of 16. */
void mvs_pack_transpose(mvs_emit *e, const mvs_pack_call *call);
/* target[j][i] = source[i][j] for f32 source; writes exactly columns x rows elements. Reads
 * whole vectors of 16 source columns. */
void mvs_pack_restore(mvs_emit *e, const mvs_pack_call *call);
/* target[i][j] = source[i][j] for f32 source; writes exactly rows x columns elements. Reads
 * whole vectors of 16 source columns. */
void mvs_pack_round(mvs_emit *e, const mvs_pack_call *call);

#endif
