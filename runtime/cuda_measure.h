/* cuda_measure.h: the fastest of several ways to compute the same, by trying them on the GPU.
 * Operands are scratch: random numbers, since zeros draw less power and so run at a higher
 * clock, and as many copies in turn as make them larger than the GPU's cache, as they are in a
 * step. Ways are timed in turns, so that a clock that falls meets all of them alike.
 * Only ways that give the bits of the first one count: which of them is fastest may change from
 * measurement to measurement, what they compute does not. */
#ifndef MVS_RUNTIME_CUDA_MEASURE_H
#define MVS_RUNTIME_CUDA_MEASURE_H

#include "runtime/cuda_library.h"

#define MVS_MEASURE_OPERANDS 4
#define MVS_MEASURE_WAYS     16

typedef struct mvs_measure {
  int operands, ways;
  int result;                          /* the operand that a way writes */
  int64_t bytes[MVS_MEASURE_OPERANDS]; /* of each operand */
  /* Launches way `way` on the operands; not 0 when it cannot run. */
  int (*run)(void *user, int way, void *const *operands);
  void *user;
} mvs_measure;

/* The number of the fastest way. The first one stays unless another is faster by more than two
 * measurements of it differ. -1 when there is no memory for operands, or none runs. */
int mvs_cuda_fastest(const mvs_cuda_place *place, const mvs_measure *of);

#endif
