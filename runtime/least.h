/* least.h: the least bytes that a function's light kernels (all but matmul and attention) must
 * move through memory, given the values that its plan has between them.
 *
 * A light kernel's level is the number of heavy kernels and loops that must have run before
 * it. Light kernels of one level could be one kernel, since nothing heavy stands between them:
 * so a level reads each value that comes from elsewhere once, writes each value that is needed
 * elsewhere once, and what only its own kernels use costs nothing. What is redone for lack of
 * memory is not counted, nor what heavy kernels move: their time is measured.
 * source : docs/performance.md#the-floor */
#ifndef MVS_RUNTIME_LEAST_H
#define MVS_RUNTIME_LEAST_H

#include "runtime/work.h"

/* Whether a kernel is one of those whose time the floor takes as measured. */
bool mvs_kernel_is_heavy(const Mvs__Kernel *kernel);
/* The bytes of all layers at a batch. Works in `scratch`, which it does not free. */
double mvs_function_least_bytes(mvs_arena *scratch, const mvs_program *program,
                                const Mvs__Function *function, int64_t batch);

#endif
