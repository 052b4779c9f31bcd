/* nest.h: what the files that print ROWS and COLUMNS nests share: names, indices, addresses and
 * single instructions. How a nest is spread over threads, and its loops, are each file's own.
 *
 * Names in the text: o0, o1, ... outer indices; segment; aN the address of access N at inner
 * index 0; i the first inner index of the vector at hand, e the element in it; s the sequential
 * index; qN the pack of access N; vN the value of instruction N; rN the accumulator of REDUCE
 * N; live whether the row is a row at all. */
#ifndef MVS_CUDA_NEST_H
#define MVS_CUDA_NEST_H

#include "codegen/cuda/printer.h"

/* A nest being printed. */
typedef struct mvs_cuda_nest {
  mvs_text *out;
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  /* COLUMNS alone; ROWS: spread.h */
  mvs_cuda_map map;
  mvs_phase_mask *needs; /* per instruction: the phases that need it */
} mvs_cuda_nest;

/* The body of the device function, from `block` on. */
void mvs_cuda_print_rows(mvs_cuda_nest *w);
/* The same for a COLUMNS nest. */
void mvs_cuda_print_columns(mvs_cuda_nest *w);

/* --- between the files --- */
const mvs_instr *mvs_cuda_nest_instr(const mvs_cuda_nest *w, size_t index);
/* A vector access: contiguous along inner, so moved as one pack. */
bool mvs_cuda_nest_packed(const mvs_cuda_nest *w, const mvs_instr *instr);
/* The C type of the elements that a LOAD or STORE moves. */
const char *mvs_cuda_nest_storage(const mvs_cuda_nest *w, const mvs_instr *instr);
/* Prints `rows`, the product of the outer extents. */
void mvs_cuda_nest_row_count(const mvs_cuda_nest *w);
/* Prints the outer indices from `row`, which is used up. */
void mvs_cuda_nest_indices(const mvs_cuda_nest *w);
/* Prints the address of every access at inner index 0. */
void mvs_cuda_nest_addresses(const mvs_cuda_nest *w);
/* Prints the ROW instructions of a phase, REDUCE excepted. */
void mvs_cuda_nest_row_phase(const mvs_cuda_nest *w, int phase);
/* Prints the packs that a phase needs: loads, and room for stores. */
void mvs_cuda_nest_pack_loads(const mvs_cuda_nest *w, int phase);
/* Prints one ELEMENT instruction other than REDUCE, for element e. */
void mvs_cuda_nest_element(const mvs_cuda_nest *w, size_t index);
/* Prints the stores of the packs that a phase filled. */
void mvs_cuda_nest_pack_stores(const mvs_cuda_nest *w, int phase);
/* The struct of the prelude that combines two values of a REDUCE. */
const char *mvs_cuda_nest_combiner(const mvs_instr *instr);
/* What a REDUCE starts from, as an expression: +0, or minus infinity. */
const char *mvs_cuda_nest_identity(const mvs_instr *instr);

#endif
