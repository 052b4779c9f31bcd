/* attention_amx.h: what attention and its gradient share where both are AMX's (bf16 alone).
 * Products are those of tile_block.h: A in rows of places, where it lies or copied; B in
 * panels. Tokens and features are filled up to blocks of 32. Where they are what a product sums
 * over, both operands are zeros there; elsewhere anything, which nothing reads. */
#ifndef MVS_HOST_ATTENTION_AMX_H
#define MVS_HOST_ATTENTION_AMX_H

#include "codegen/host/attention.h"
#include "codegen/host/tile_amx.h"
#include "codegen/host/tile_block.h"

/* The next multiple of 32. */
int64_t mvs_tiled(int64_t extent);
/* Takes `rows` rows of `places` places and the space that keeps rows from the same sets of the
 * cache: the stride counts places. Of f32, as many floats. */
mvs_head_matrix mvs_tiled_room(mvs_heads *h, int64_t rows, int64_t places);
/* Rows of bf16 as rows of places, features filled with zeros: where they lie, or `rows` of them
 * copied to room for as many. */
mvs_head_matrix mvs_tiled_rows(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef rows,
                               mvs_head_matrix room);
/* Panels for products that sum over features: [32 tokens][pair of features][token]. */
void mvs_tiled_across(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef to);
/* Panels for products that sum over tokens: [32 features][pair of tokens][feature]. */
void mvs_tiled_along(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef to);
/* Places of a panel that sums over so many tokens or features. */
LLVMValueRef mvs_tiled_panel(mvs_heads *h, int64_t extent);
/* Where place [row][place] of a matrix lies. */
LLVMValueRef mvs_tiled_at(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef row,
                          LLVMValueRef place);
/* The factor of logits that makes their exponential a power of two: scale / ln 2, or without
 * its sign. */
double mvs_tiled_scale(const mvs_heads *h);

#endif
