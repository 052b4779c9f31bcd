/* recompute.c: which values a plan redoes: a greedy choice.
 *
 * A value costs the steps of its own that do not run again anyway; these take other values
 * that cross from where they are, kept or just redone. The value that saves most bytes for
 * its cost is taken first; its steps are then free for others. Taking them one by one gives
 * an order, and any number of values from its front is a plan: that is what a budget in
 * bytes picks from. */
#include "runtime/recompute.h"

#include "runtime/work.h"

/* Operations that take as long as moving a byte: about 10 on a processor's core, 300 on a GPU.
 * Only the order of values follows from it. */
#define OPERATIONS_PER_BYTE 32.0

/* What the search reads, and the plan it is writing. */
typedef struct choice {
  const mvs_program *program;
  const Mvs__Function *function;
  int64_t batch;
  mvs_redo *redo;
} choice;

/* Only a block that has a backward loop can be redone there. */
static bool has_backward(const Mvs__Function *function, size_t loop) {
  for (size_t at = 0; at < function->n_loops; at++)
    if (function->loops[at]->forward == (int64_t)loop) return true;
  return false;
}

/* Values that may be redone, over all stacks of the function. */
int mvs_redo_most(const Mvs__Function *function) {
  size_t count = 0;
  for (size_t at = 0; at < function->n_loops; at++)
    if (has_backward(function, at)) count += function->loops[at]->n_alternatives;
  return (int)count;
}

/* In bytes moved; operations are counted as the bytes that take as long. */
static double step_cost(const choice *all, const Mvs__Step *step) {
  if (step->kernel >= 0) {
    const Mvs__Kernel *kernel = all->program->kernels[step->kernel];
    return mvs_kernel_bytes(kernel, all->batch) +
           mvs_kernel_flops(kernel, all->batch) / OPERATIONS_PER_BYTE;
  }
  const Mvs__Loop *loop = all->function->loops[step->loop];
  double sum = 0;
  for (size_t at = 0; at < loop->n_steps; at++) sum += step_cost(all, loop->steps[at]);
  return sum * (double)loop->count;
}

/* What redoing the value adds to the steps that run again already. */
static double added_cost(const choice *all, size_t loop, const Mvs__Alternative *each) {
  const Mvs__Loop *body = all->function->loops[loop];
  double sum = 0;
  for (size_t at = 0; at < each->n_own_steps; at++) {
    uint32_t step = each->own_steps[at];
    if (!all->redo->steps[loop][step]) sum += step_cost(all, body->steps[step]);
  }
  return sum * (double)body->count;
}

/* All slots but the one that a redone value still needs. */
static double saved_bytes(const choice *all, const Mvs__Alternative *each) {
  const Mvs__Buffer *buffer = all->function->buffers[each->buffer];
  return ((double)buffer->fixed + (double)buffer->per_batch * (double)all->batch) *
         (double)(buffer->slots_kept - 1);
}

/* Its turn is its place in the order, counted from 1. */
static void take(const choice *all, size_t loop, const Mvs__Alternative *each) {
  all->redo->turns[each->buffer] = ++all->redo->count;
  for (size_t at = 0; at < each->n_own_steps; at++)
    all->redo->steps[loop][each->own_steps[at]] = true;
}

/* Takes the value that saves most for its cost; a free one before all others. False when none
 * is left. */
static bool take_best(const choice *all) {
  const Mvs__Alternative *best = NULL;
  size_t best_loop = 0;
  double best_saved = 0, best_cost = 0;
  for (size_t loop = 0; loop < all->function->n_loops; loop++) {
    const Mvs__Loop *body = all->function->loops[loop];
    for (size_t at = 0; all->redo->steps[loop] && at < body->n_alternatives; at++) {
      const Mvs__Alternative *each = body->alternatives[at];
      if (all->redo->turns[each->buffer]) continue;
      double saved = saved_bytes(all, each), cost = added_cost(all, loop, each);
      if (best && saved * best_cost <= best_saved * cost) continue;
      best = each, best_loop = loop, best_saved = saved, best_cost = cost;
    }
  }
  if (best) take(all, best_loop, best);
  return best != NULL;
}

/* A loop whose steps all stay as they are has no list, so that the executor skips it whole. */
mvs_redo *mvs_redo_choose(mvs_arena *arena, const mvs_program *program,
                          const Mvs__Function *function, int64_t batch,
                          mvs_recompute recompute) {
  mvs_redo *redo = MVS_NEW(arena, mvs_redo);
  choice all = {program, function, batch, redo};
  int most = mvs_redo_most(function);
  redo->turns = MVS_ARRAY(arena, function->n_buffers, int);
  redo->steps = MVS_ARRAY(arena, function->n_loops, bool *);
  if (recompute <= MVS_RECOMPUTE_NONE) return redo;
  for (size_t at = 0; at < function->n_loops; at++)
    if (has_backward(function, at) && function->loops[at]->n_alternatives)
      redo->steps[at] = MVS_ARRAY(arena, function->loops[at]->n_steps, bool);
  while (redo->count < most && redo->count < recompute && take_best(&all)) continue;
  for (size_t at = 0; at < function->n_loops; at++) {
    bool any = false;
    for (size_t step = 0; redo->steps[at] && step < function->loops[at]->n_steps; step++)
      any = any || redo->steps[at][step];
    if (!any) redo->steps[at] = NULL;
  }
  return redo;
}
