/* reach.h: which memory the rows of a kernel touch, as facts of the program's tables: by them
 * the runtime knows what may run on some rows of several kernels behind one another. */
#ifndef MVS_HOST_REACH_H
#define MVS_HOST_REACH_H

#include "codegen/host/printed.h"
#include "codegen/program.h"

/* Fills axes, row_step and accesses of the row of the program for nest `nest` of stage `stage`
 * of a printed kernel. What is said to be touched is never less than what is. */
void mvs_reach(mvs_arena *arena, const mvs_kernel *kernel, const mvs_printed *printed,
               size_t stage, size_t nest, Mvs__Nest *out);

#endif
