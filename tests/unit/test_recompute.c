/* test_recompute.c: the order in which values are redone, and the steps that run again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/recompute.h"

#define VALUES 4
#define LAYERS 5

/* A forward loop whose step i makes value i, and a backward loop that needs them
 * all. Kernel i reads cost[i] bytes a sample. */
typedef struct model {
  Mvs__Function function;
  Mvs__Buffer buffers[VALUES], *buffer_list[VALUES];
  Mvs__Step steps[VALUES], *step_list[VALUES];
  Mvs__Kernel kernels[VALUES], *kernel_list[VALUES];
  Mvs__Alternative alternatives[VALUES], *alternative_list[VALUES];
  uint32_t own[VALUES];
  Mvs__Loop forward, backward, *loops[2];
  mvs_program program;
} model;

static void init_model(model *all, const int64_t *bytes, const int64_t *cost) {
  static const model empty;
  *all = empty;
  mvs__function__init(&all->function);
  mvs__program__init(&all->program);
  mvs__loop__init(&all->forward);
  mvs__loop__init(&all->backward);
  for (uint32_t at = 0; at < VALUES; at++) {
    mvs__buffer__init(all->buffer_list[at] = &all->buffers[at]);
    all->buffers[at].per_batch = bytes[at];
    all->buffers[at].slots_kept = LAYERS, all->buffers[at].slots_least = 1;
    all->buffers[at].crossing = 1;
    mvs__kernel__init(all->kernel_list[at] = &all->kernels[at]);
    all->kernels[at].read_per_batch = cost[at];
    mvs__step__init(all->step_list[at] = &all->steps[at]);
    all->steps[at].kernel = (int32_t)at;
    mvs__alternative__init(all->alternative_list[at] = &all->alternatives[at]);
    all->own[at] = at;
    all->alternatives[at].buffer = at;
    all->alternatives[at].own_steps = &all->own[at];
    all->alternatives[at].n_own_steps = 1;
  }
  all->forward.forward = -1;
  all->forward.count = all->backward.count = LAYERS;
  all->forward.steps = all->step_list, all->forward.n_steps = VALUES;
  all->forward.alternatives = all->alternative_list, all->forward.n_alternatives = VALUES;
  all->loops[0] = &all->forward, all->loops[1] = &all->backward;
  all->function.loops = all->loops, all->function.n_loops = 2;
  all->function.buffers = all->buffer_list, all->function.n_buffers = VALUES;
  all->program.kernels = all->kernel_list, all->program.n_kernels = VALUES;
}

static void most_saved_for_the_cost_first(void **state) {
  (void)state;
  const int64_t bytes[VALUES] = {100, 400, 100, 300}, cost[VALUES] = {100, 100, 50, 600};
  const int turns[VALUES] = {3, 1, 2, 4};
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all, bytes, cost);
  assert_int_equal(mvs_redo_most(&all.function), VALUES);
  for (mvs_recompute count = 0; count <= VALUES; count++) {
    mvs_redo *redo = mvs_redo_choose(arena, &all.program, &all.function, 3, count);
    assert_int_equal(redo->count, count);
    for (int at = 0; at < VALUES; at++) {
      bool redone = turns[at] <= count;
      assert_int_equal(redo->turns[at], redone ? turns[at] : 0);
      if (count) assert_int_equal(redo->steps[0][at], redone);
    }
    if (!count) assert_null(redo->steps[0]);
    assert_null(redo->steps[1]);
  }
  mvs_redo *block = mvs_redo_choose(arena, &all.program, &all.function, 3, MVS_RECOMPUTE_BLOCK);
  assert_int_equal(block->count, VALUES);
  mvs_arena_free(arena);
}

/* Two results of one kernel: the second costs nothing once the first is redone. */
static void shared_steps_cost_once(void **state) {
  (void)state;
  const int64_t bytes[VALUES] = {100, 10, 90, 80}, cost[VALUES] = {100, 100, 100, 100};
  const int turns[VALUES] = {1, 2, 3, 4};
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all, bytes, cost);
  all.alternatives[1].own_steps = &all.own[0];
  mvs_redo *redo = mvs_redo_choose(arena, &all.program, &all.function, 3, VALUES);
  for (int at = 0; at < VALUES; at++) assert_int_equal(redo->turns[at], turns[at]);
  assert_false(redo->steps[0][1]);
  mvs_arena_free(arena);
}

/* Without a backward loop nothing may be redone. */
static void no_backward(void **state) {
  (void)state;
  const int64_t ones[VALUES] = {1, 1, 1, 1};
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all, ones, ones);
  all.backward.forward = -1;
  assert_int_equal(mvs_redo_most(&all.function), 0);
  mvs_redo *redo = mvs_redo_choose(arena, &all.program, &all.function, 3, MVS_RECOMPUTE_BLOCK);
  assert_int_equal(redo->count, 0);
  assert_null(redo->steps[0]);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(most_saved_for_the_cost_first),
                                     cmocka_unit_test(shared_steps_cost_once),
                                     cmocka_unit_test(no_backward)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
