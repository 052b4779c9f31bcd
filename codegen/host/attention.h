/* attention.h: what attention and its gradient share. Both take queries in blocks of 32, one to
 * a lane: a block's logits S[key][query] then need no operation across lanes, and every product
 * is a tile with the block as its panel. All arithmetic is f32; bf16 lives in memory alone. */
#ifndef MVS_HOST_ATTENTION_H
#define MVS_HOST_ATTENTION_H

#include "codegen/host/pack.h"
#include "codegen/host/printed.h"
#include "codegen/host/tile.h"

/* [tokens][head_dim] of one head of one sample, rows far apart. */
typedef struct mvs_head_matrix {
  LLVMValueRef base, stride; /* elements between rows */
} mvs_head_matrix;

/* One head of one sample being printed. */
typedef struct mvs_heads {
  mvs_emit *e;
  const mvs_attention_shape *shape;
  mvs_entry entry;
  int64_t scratch;          /* bytes given out so far */
  int64_t depth;            /* head_dim rounded up to whole vectors */
  LLVMValueRef tokens, dim; /* i64 */
  /* the block of queries */
  LLVMValueRef first, count; /* query number, at most 32 */
  LLVMValueRef lanes;        /* count rounded up to whole vectors */
} mvs_heads;

/* What a unit of the forward pass takes: a head of a sample, its queries from .. end - 1. */
typedef struct mvs_head_unit {
  LLVMValueRef sample, head, kv_head, from, end;
} mvs_head_unit;

/* Starts the kernel function. */
void mvs_heads_open(mvs_heads *h, const char *symbol);
/* Units of the forward pass: one a head for short sequences, several for long. */
mvs_division mvs_heads_division(const mvs_attention_shape *shape);
/* Unit `number` of those. */
mvs_head_unit mvs_heads_unit(mvs_heads *h, const mvs_division *division, LLVMValueRef number);
/* Takes `rows` x `columns` floats of scratch. */
LLVMValueRef mvs_heads_room(mvs_heads *h, int64_t rows, int64_t columns);
/* The matrix of a head in a sample of an operand. */
mvs_head_matrix mvs_heads_matrix(mvs_heads *h, int operand, LLVMValueRef sample,
                                 LLVMValueRef head);
/* A matrix of keys or values as f32: copied to `room` [tokens][depth], or where it lies. */
mvs_head_matrix mvs_heads_keys(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef room);
/* The block's rows as f32: copied to `room` [32][depth], or where they lie. */
mvs_head_matrix mvs_heads_queries(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef room);
/* The block's rows of a matrix. */
LLVMValueRef mvs_heads_rows(mvs_heads *h, mvs_head_matrix matrix);
/* Transposes the block's rows into a panel [depth][32], times scale. */
void mvs_heads_panel(mvs_heads *h, mvs_head_matrix matrix, double scale, LLVMValueRef to);
/* to[key][query] = keys x panel. */
void mvs_heads_logits(mvs_heads *h, mvs_head_matrix keys, LLVMValueRef panel, LLVMValueRef to);
/* to[query][dim] = sum over keys of weights[key][query] * values[key][dim], of dtype `type`. */
void mvs_heads_weighted(mvs_heads *h, LLVMValueRef weights, mvs_head_matrix values,
                        mvs_dtype type, mvs_head_matrix to);
/* Columns of head_dim in a product's panel: 32, or what is left for the last one. */
LLVMValueRef mvs_heads_width(mvs_heads *h, int64_t panel);
/* Pointer to float [row][column] of a matrix with 32 columns. */
LLVMValueRef mvs_heads_at(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row,
                          LLVMValueRef column);
/* Loads 16 queries of a row. */
LLVMValueRef mvs_heads_load(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row,
                            LLVMValueRef column);
/* Stores 16 queries of a row. */
void mvs_heads_store(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row, LLVMValueRef column,
                     LLVMValueRef value);
/* Sets the block that starts at query `first`. */
void mvs_heads_block(mvs_heads *h, LLVMValueRef first);
/* o = the block's rows of sums, each times its factor; what lies beyond o is not touched. */
void mvs_heads_finish(mvs_heads *h, mvs_head_matrix sums, LLVMValueRef factors,
                      mvs_head_matrix o);
/* delta of each query of the block: the sum over head_dim of dO * O, times scale. */
void mvs_heads_deltas(mvs_heads *h, mvs_head_matrix o, mvs_head_matrix d_o, double scale,
                      LLVMValueRef to);
/* Where the block's part of lse [B, H, T] begins, from lane `lane` on. */
LLVMValueRef mvs_heads_lse(mvs_heads *h, LLVMValueRef sample, LLVMValueRef head,
                           LLVMValueRef lane);

#endif
