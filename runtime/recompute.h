/* recompute.h: which values that a backward pass needs are kept for every layer, and which are
 * made again by the steps that made them first. The kernels are the same, so the bits are.
 * Owner: the arena given. */
#ifndef MVS_RUNTIME_RECOMPUTE_H
#define MVS_RUNTIME_RECOMPUTE_H

#include <stdbool.h>

#include "codegen/program.h"

/* How many of these values are redone. They are taken in the order of bytes saved per cost,
 * each given those before it: the order depends on the program and the batch alone. */
typedef int32_t mvs_recompute;
#define MVS_RECOMPUTE_NONE  0         /* all are kept */
#define MVS_RECOMPUTE_BLOCK INT32_MAX /* only what blocks hand on is kept */

/* One choice for a function. */
typedef struct mvs_redo {
  int count;    /* values redone */
  int *turns;   /* per buffer: 0: kept; else redone, so that it needs one slot: 1 for the value
                   taken first */
  bool **steps; /* per loop, per step of its body: runs again; NULL when none does */
} mvs_redo;

/* How many values of a function may be redone. */
int mvs_redo_most(const Mvs__Function *function);
/* Works out the choice at a batch. */
mvs_redo *mvs_redo_choose(mvs_arena *arena, const mvs_program *program,
                          const Mvs__Function *function, int64_t batch,
                          mvs_recompute recompute);

#endif
