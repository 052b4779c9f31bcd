/* test_placement.c: buffers that live at the same time do not overlap; others share memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/placement.h"

#define MOST 64

/* A function made by hand: two top-level kernels around a forward and a backward loop. */
typedef struct model {
  Mvs__Function function;
  Mvs__Buffer buffers[MOST], *buffer_list[MOST];
  Mvs__Step steps[4], *step_list[4], body_steps[8], *forward_list[4], *backward_list[4];
  Mvs__Operand operands[MOST], *operand_list[MOST];
  Mvs__Loop forward, backward, *loops[2];
  Mvs__Alternative alternative, *alternatives[1];
  uint32_t redone_step;
  Mvs__Kernel kernel, *kernels[1];
  mvs_program program;
} model;

static void init_model(model *all) {
  static const model empty;
  *all = empty;
  mvs__function__init(&all->function);
  mvs__program__init(&all->program);
  mvs__kernel__init(&all->kernel);
  all->kernels[0] = &all->kernel;
  all->program.kernels = all->kernels, all->program.n_kernels = 1;
  mvs__loop__init(&all->forward);
  mvs__loop__init(&all->backward);
  for (int at = 0; at < 8; at++) {
    mvs__step__init(&all->body_steps[at]);
    all->body_steps[at].kernel = 0;
    (at < 4 ? all->forward_list : all->backward_list)[at % 4] = &all->body_steps[at];
  }
  for (int at = 0; at < 4; at++) {
    mvs__step__init(&all->steps[at]);
    all->steps[at].kernel = at == 1 || at == 2 ? -1 : 0;
    all->steps[at].loop = at == 2;
    all->step_list[at] = &all->steps[at];
  }
  all->forward.count = all->backward.count = 10;
  all->forward.forward = -1;
  all->backward.reverse = 1;
  all->forward.steps = all->forward_list, all->forward.n_steps = 4;
  all->backward.steps = all->backward_list, all->backward.n_steps = 4;
  all->loops[0] = &all->forward, all->loops[1] = &all->backward;
  all->function.steps = all->step_list, all->function.n_steps = 4;
  all->function.loops = all->loops, all->function.n_loops = 2;
  all->function.buffers = all->buffer_list;
}

static Mvs__Buffer *add_buffer(model *all, int64_t fixed, int64_t per_batch, int first,
                               int last) {
  size_t at = all->function.n_buffers++;
  Mvs__Buffer *buffer = all->buffer_list[at] = &all->buffers[at];
  mvs__buffer__init(buffer);
  buffer->fixed = fixed, buffer->per_batch = per_batch;
  buffer->slots_kept = buffer->slots_least = 1;
  buffer->first_step = first, buffer->last_step = last;
  buffer->body_first = buffer->body_last = buffer->home = -1;
  return buffer;
}

/* A value of one body that lives from body step `from` to `to`. */
static Mvs__Buffer *add_local(model *all, int64_t fixed, int loop, int from, int to) {
  Mvs__Buffer *buffer = add_buffer(all, fixed, 0, loop + 1, loop + 1);
  buffer->home = loop, buffer->body_first = from, buffer->body_last = to;
  return buffer;
}

static mvs_placement *place(mvs_arena *arena, model *all, int64_t batch, mvs_recompute how) {
  mvs_placement *out;
  mvs_status status = mvs_placement_new(arena, mvs_diag_new(arena), &all->program,
                                        &all->function, batch, how, false, &out);
  assert_int_equal(status, MVS_OK);
  return out;
}

static bool overlap(const mvs_placement *at, size_t a, size_t b) {
  int64_t a_end = at->offsets[a] + at->slots[a] * at->slot_bytes[a];
  int64_t b_end = at->offsets[b] + at->slots[b] * at->slot_bytes[b];
  return at->offsets[a] < b_end && at->offsets[b] < a_end;
}

static void disjoint_lives_share(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all);
  add_buffer(&all, 1024, 0, 0, 1);
  add_buffer(&all, 1024, 0, 2, 3);
  add_buffer(&all, 512, 0, 1, 2);
  mvs_placement *at = place(arena, &all, 1, MVS_RECOMPUTE_NONE);
  assert_true(overlap(at, 0, 1));
  assert_false(overlap(at, 0, 2));
  assert_false(overlap(at, 1, 2));
  assert_int_equal(at->bytes, 1536);
  mvs_arena_free(arena);
}

static void body_values_share(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all);
  add_local(&all, 256, 0, 0, 1);
  add_local(&all, 256, 0, 2, 3);
  add_local(&all, 256, 0, 1, 2);
  add_local(&all, 256, 1, 0, 3);
  add_buffer(&all, 256, 0, 0, 3);
  mvs_placement *at = place(arena, &all, 1, MVS_RECOMPUTE_NONE);
  assert_true(overlap(at, 0, 1));
  assert_false(overlap(at, 0, 2));
  assert_false(overlap(at, 1, 2));
  for (size_t each = 0; each < 4; each++) assert_false(overlap(at, each, 4));
  assert_int_equal(at->bytes, 3 * 256);
  mvs_arena_free(arena);
}

/* Values of a body keep to themselves, where that takes an eighth more at most. */
static void body_values_apart(void **state) {
  (void)state;
  for (int large = 0; large < 2; large++) {
    mvs_arena *arena = mvs_arena_new();
    model all;
    init_model(&all);
    add_local(&all, 256, 0, 0, 1);
    add_local(&all, 256, 0, 2, 3);
    add_buffer(&all, large ? 8 * 256 : 256, 0, 0, 3);
    mvs_placement *at;
    assert_int_equal(mvs_placement_new(arena, mvs_diag_new(arena), &all.program, &all.function,
                                       1, MVS_RECOMPUTE_NONE, true, &at),
                     MVS_OK);
    assert_int_equal(overlap(at, 0, 1), !large);
    assert_false(overlap(at, 0, 2) || overlap(at, 1, 2));
    assert_int_equal(at->bytes, large ? 10 * 256 : 2 * 256);
    mvs_arena_free(arena);
  }
}

static void sizes_follow_the_batch(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all);
  add_buffer(&all, 100, 7, 0, 3);
  mvs_placement *at = place(arena, &all, 5, MVS_RECOMPUTE_NONE);
  assert_int_equal(at->slot_bytes[0], 135);
  mvs_placement *none;
  assert_int_equal(mvs_placement_new(arena, mvs_diag_new(arena), &all.program, &all.function,
                                     INT64_MAX / 3, MVS_RECOMPUTE_NONE, false, &none),
                   MVS_ERR_LIMIT);
  mvs_arena_free(arena);
}

/* The forward block's local is used again while the backward loop runs. */
static void redone_blocks(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  model all;
  init_model(&all);
  all.backward.forward = 0;
  Mvs__Buffer *crossing = add_buffer(&all, 1024, 0, 1, 2); /* 0 */
  crossing->crossing = 1, crossing->slots_kept = 10;
  Mvs__Buffer *carried = add_buffer(&all, 256, 0, 1, 2); /* 1: the blocks' inputs */
  carried->crossing = 1, carried->slots_kept = 11, carried->slots_least = 2;
  Mvs__Buffer *ring = add_buffer(&all, 256, 0, 1, 1); /* 2: nobody reads it later */
  ring->slots_kept = 11, ring->slots_least = 2;
  add_local(&all, 512, 0, 0, 2);  /* 3: of the forward body */
  add_local(&all, 512, 1, 0, 3);  /* 4: of the backward body */
  add_buffer(&all, 512, 0, 2, 2); /* 5: alive in the backward loop only */
  add_buffer(&all, 256, 0, 0, 1); /* 6: an invariant that the redone step reads */
  const uint32_t read[3] = {1, 3, 6};
  for (int at = 0; at < 3; at++) {
    mvs__operand__init(&all.operands[at]);
    all.operands[at].buffer = read[at];
    all.operand_list[at] = &all.operands[at];
  }
  mvs__alternative__init(&all.alternative);
  all.alternatives[0] = &all.alternative;
  all.alternative.steps = all.alternative.own_steps = &all.redone_step;
  all.alternative.n_steps = all.alternative.n_own_steps = 1;
  all.forward.alternatives = all.alternatives, all.forward.n_alternatives = 1;
  all.body_steps[0].operands = all.operand_list, all.body_steps[0].n_operands = 3;
  mvs_placement *kept = place(arena, &all, 1, MVS_RECOMPUTE_NONE);
  mvs_placement *redone = place(arena, &all, 1, MVS_RECOMPUTE_BLOCK);
  assert_int_equal(kept->slots[0], 10);
  assert_int_equal(redone->slots[0], 1);
  assert_int_equal(kept->slots[1], 11);
  assert_int_equal(redone->slots[1], 11);
  assert_int_equal(kept->slots[2], 2);
  assert_true(redone->bytes < kept->bytes);
  assert_false(overlap(redone, 3, 5));
  assert_false(overlap(redone, 6, 5));
  assert_false(overlap(redone, 6, 4));
  assert_true(overlap(kept, 3, 4) || overlap(kept, 3, 5));
  mvs_arena_free(arena);
}

/* The next number below `n` of a linear congruential generator. */
static int next(uint32_t *random, int n) {
  *random = *random * 1664525 + 1013904223;
  return (int)((*random >> 16) % (uint32_t)n);
}

/* 2,000 random sets of buffers: whatever lives at one time lies apart. */
static void random_lives(void **state) {
  (void)state;
  uint32_t random = 99;
  for (int round = 0; round < 2000; round++) {
    mvs_arena *arena = mvs_arena_new();
    model all;
    init_model(&all);
    int count = 2 + next(&random, 20);
    for (int at = 0; at < count; at++) {
      int first = next(&random, 4), last = first + next(&random, 4 - first);
      int fixed = 1 + next(&random, 2000);
      add_buffer(&all, fixed, next(&random, 5), first, last);
    }
    mvs_placement *at = place(arena, &all, 3, MVS_RECOMPUTE_NONE);
    for (int a = 0; a < count; a++) {
      assert_true(at->offsets[a] + at->slot_bytes[a] <= at->bytes);
      for (int b = 0; b < a; b++) {
        bool meet = all.buffers[a].first_step <= all.buffers[b].last_step &&
                    all.buffers[b].first_step <= all.buffers[a].last_step;
        if (meet) assert_false(overlap(at, (size_t)a, (size_t)b));
      }
    }
    mvs_arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(disjoint_lives_share), cmocka_unit_test(body_values_share),
      cmocka_unit_test(body_values_apart),    cmocka_unit_test(sizes_follow_the_batch),
      cmocka_unit_test(redone_blocks),        cmocka_unit_test(random_lives)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
