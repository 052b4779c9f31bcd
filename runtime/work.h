/* work.h: how much kernels and functions do, by the program's own account. */
#ifndef MVS_RUNTIME_WORK_H
#define MVS_RUNTIME_WORK_H

#include "codegen/program.h"

/* Elements of a row of the flat buffers: the batch of functions over them counts rows. */
#define MVS_FLAT_ROW_ELEMENTS 1024

/* The function of that name, or NULL: a model without an objective has no "grad". */
const Mvs__Function *mvs_program_function(const mvs_program *program, const char *name);
/* The loop that a step runs, or NULL when it is a kernel. */
const Mvs__Loop *mvs_step_loop(const Mvs__Function *function, const Mvs__Step *step);
/* The bytes that a kernel reads and writes at a batch. */
double mvs_kernel_bytes(const Mvs__Kernel *kernel, int64_t batch);
/* The operations that it computes. */
double mvs_kernel_flops(const Mvs__Kernel *kernel, int64_t batch);
/* Floating-point operations of a function at a batch, all layers included. */
double mvs_function_flops(const mvs_program *program, const Mvs__Function *function,
                          int64_t batch);
/* Launches of a function, all layers included. */
int64_t mvs_function_launches(const Mvs__Function *function);

#endif
