/* printed.h: what printing a kernel yields: the functions of its stages and the memory it
 * needs. */
#ifndef MVS_HOST_PRINTED_H
#define MVS_HOST_PRINTED_H

#include "codegen/host/nest.h"

/* Batch to expect when choosing: a compiled program runs at any. */
#define MVS_EXPECTED_BATCH 16

typedef struct mvs_printed_nest {
  const char *symbol;
  mvs_division division;
} mvs_printed_nest;

typedef MVS_LIST(mvs_printed_nest) mvs_printed_stage; /* nests side by side */

typedef struct mvs_printed {
  MVS_LIST(mvs_printed_stage) stages;
  int64_t scratch;                              /* bytes per thread */
  int64_t workspace_fixed, workspace_per_batch; /* bytes */
} mvs_printed;

/* The level whose code a kernel has at `level`: many kernels have nothing from some level on
 * that would make their code another. */
mvs_cpu_level mvs_host_form(const mvs_kernel *kernel, mvs_cpu_level level);
/* Both operands are bf16, so that processors with products of pairs of bf16 can use them. */
bool mvs_matmul_in_pairs(const mvs_matmul_shape *shape);
/* A call that leaves out rows of a product leaves out a multiple of so many. */
int64_t mvs_matmul_row_step(const mvs_matmul_shape *shape);
/* Both are f32 and there is so much of them that products of bf16 parts in tiles (AMX) make it
 * faster than fma. */
bool mvs_matmul_in_parts(const mvs_matmul_shape *shape);
/* The level has tiles for all of its operands. */
bool mvs_attention_in_tiles(const mvs_attention_shape *shape, mvs_cpu_level level);

/* Prints a kernel of ROWS and COLUMNS nests: one stage, its nests side by side.
 * errors : MVS_ERR_INTERNAL, the reason in e->error */
mvs_status mvs_host_print_nests(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out);
/* Prints a matmul: packing B, then blocks of C. errors : as above */
mvs_status mvs_host_print_matmul(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out);
/* Prints attention: one stage over heads and runs of queries. errors : as above */
mvs_status mvs_host_print_attention(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out);
/* Prints its gradient: one stage over key-value heads. errors : as above */
mvs_status mvs_host_print_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                         mvs_printed *out);

/* Prints attention in tiles, where the level has them. errors : as above */
mvs_status mvs_host_print_amx_attention(mvs_emit *e, const mvs_kernel *kernel,
                                        mvs_printed *out);
/* Prints its gradient. errors : as above */
mvs_status mvs_host_print_amx_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                             mvs_printed *out);

/* Adds a stage of one nest. */
void mvs_printed_add(mvs_arena *arena, mvs_printed *out, const char *symbol,
                     mvs_division division);

#endif
