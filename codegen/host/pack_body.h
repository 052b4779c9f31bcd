/* pack_body.h: how pack.c and pack_pairs.c write their functions, which all kernels of a module
 * share. Private to them. */
#ifndef MVS_HOST_PACK_BODY_H
#define MVS_HOST_PACK_BODY_H

#include "codegen/host/pack.h"

typedef struct mvs_packer mvs_packer;
/* Writes what the function does, with `p->given` as its parameters. */
typedef void mvs_pack_body(mvs_packer *p);
/* Writes one block that starts at a row and a column of the source. */
typedef void mvs_pack_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column);

struct mvs_packer {
  mvs_emit *e;
  mvs_dtype from, to; /* of an element of the source and of the target */
  bool exact;         /* writes no padding */
  bool whole;         /* the block being written lies inside the source */
  mvs_pack_body *write;
  mvs_pack_call given; /* within the function: its parameters */
};

/* Calls the shared function of that name and those dtypes, written when first asked for. It
 * takes every field of the call. */
void mvs_packer_call(mvs_packer *p, const char *name, const mvs_pack_call *call);
/* The address of an element of the source. */
LLVMValueRef mvs_packer_source(mvs_packer *p, LLVMValueRef row, LLVMValueRef column);
/* The address of an element of the target. */
LLVMValueRef mvs_packer_target(mvs_packer *p, LLVMValueRef row, LLVMValueRef column);
/* index + a constant. */
LLVMValueRef mvs_packer_plus(mvs_packer *p, LLVMValueRef index, int64_t more);
/* Covers rows up to `end` of the source with blocks of that many elements. The code of one
 * stands there twice: for those inside of the source, and for those at its edges. */
void mvs_packer_blocks(mvs_packer *p, LLVMValueRef end, int64_t height, int64_t width,
                       mvs_pack_block *block);

#endif
