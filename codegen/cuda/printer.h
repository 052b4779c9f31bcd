/* printer.h: what the files of the CUDA printer share. Private to codegen/cuda. */
#ifndef MVS_CODEGEN_CUDA_PRINTER_H
#define MVS_CODEGEN_CUDA_PRINTER_H

#include "codegen/cuda/cuda.h"

/* Threads of every block of a nest kernel. */
#define MVS_CUDA_BLOCK 256

/* How a COLUMNS nest is spread over threads. */
typedef struct mvs_cuda_map {
  int vector;  /* elements of one access: 8, 4, 2 or 1 (16 bytes at most) */
  int columns; /* vectors that a block sums, each by BLOCK / columns threads */
} mvs_cuda_map;

/* The blocks of a nest: work over per_block, rounded up, `times` over. */
typedef struct mvs_cuda_blocks {
  mvs_dim work;
  int64_t per_block, times;
} mvs_cuda_blocks;

/* The largest power of two up to `most` that divides `value` (0 counts as divisible). */
int64_t mvs_cuda_common_power(int64_t value, int64_t most);
/* Chooses the map of a COLUMNS nest from its accesses. */
mvs_cuda_map mvs_cuda_map_nest(const mvs_kernel *kernel, const mvs_nest *nest);
/* The blocks that the nest's text is written for. */
mvs_cuda_blocks mvs_cuda_nest_blocks(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest);
/* The C type of a computed value: float, double or int. */
const char *mvs_cuda_type(mvs_dtype dtype);
/* The C type of a stored element: float, double, int or bf16 (unsigned short bits). */
const char *mvs_cuda_storage(mvs_dtype dtype);
/* Prints the text that every source starts with: conversions, Philox, reductions. */
void mvs_cuda_print_prelude(mvs_text *out);
/* Prints one nest as a device function `NAME_nestI(operands, batch, layer, block)`. */
void mvs_cuda_print_nest(const mvs_kernel *kernel, int index, mvs_text *out);
/* Prints one instruction that computes (constant, arithmetic, random, index) as an
 * expression. */
void mvs_cuda_print_value(const mvs_nest *nest, const mvs_instr *instr, mvs_text *out);
/* Prints the operand list of a kernel's functions: "const float *p0, float *p1, ...". */
void mvs_cuda_print_operands(const mvs_kernel *kernel, mvs_text *out);
/* Prints the whole function of a matmul kernel; see matmul.h. */
void mvs_cuda_print_matmul(const mvs_kernel *kernel, mvs_text *out);
/* Prints the whole function of an attention kernel: a block takes eight queries of a head. */
void mvs_cuda_print_attention(const mvs_kernel *kernel, mvs_text *out);
/* Prints its gradient: blocks for queries, then blocks for keys; nothing is added
 * atomically. */
void mvs_cuda_print_attention_grad(const mvs_kernel *kernel, mvs_text *out);
/* Prints "N" or "N * batch". */
void mvs_cuda_print_dim(mvs_dim dim, mvs_text *out);

#endif
