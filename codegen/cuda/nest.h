/* nest.h: what the files that print ROWS and COLUMNS nests share: names, and what a reduction
 * starts from and combines with. How a nest is spread over threads, its loops and its accesses
 * are each file's own.
 *
 * Names in the text: o0, o1, ... outer indices; segment; aN the address of access N at inner
 * index 0; i the first inner index of the vector at hand, e the element in it; s the sequential
 * index; qN the pack of access N; vN the value of instruction N; rN the accumulator of REDUCE
 * N; live whether the row is a row at all. */
#ifndef MVS_CUDA_NEST_H
#define MVS_CUDA_NEST_H

#include "codegen/cuda/printer.h"

/* The body of the device function, from `block` on, of a ROWS nest. */
void mvs_cuda_print_rows(const mvs_kernel *kernel, const mvs_nest *nest, mvs_text *out);
/* The same for a COLUMNS nest. */
void mvs_cuda_print_columns(const mvs_kernel *kernel, const mvs_nest *nest, mvs_text *out);

/* The C type of the elements that a LOAD or STORE moves. */
const char *mvs_cuda_nest_storage(const mvs_kernel *kernel, const mvs_instr *instr);
/* The struct of the prelude that combines two values of a REDUCE. */
const char *mvs_cuda_nest_combiner(const mvs_instr *instr);
/* What a REDUCE starts from, as an expression: +0, or minus infinity. */
const char *mvs_cuda_nest_identity(const mvs_instr *instr);

#endif
