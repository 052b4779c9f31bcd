/* test_least.c: the least bytes of light kernels, on functions small enough to count by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/least.h"

#define MOST 16

/* Every step has a kernel of its own, since what it moves of an operand is the kernel's. */
typedef struct model {
  Mvs__Function function;
  mvs_program program;
  Mvs__Buffer buffers[MOST], *buffer_list[MOST];
  Mvs__Kernel kernels[MOST], *kernel_list[MOST];
  Mvs__Step steps[MOST], *top[MOST], *body[MOST];
  Mvs__Matmul matmul;
  Mvs__Loop loop, *loops[1];
  Mvs__Operand operands[MOST][4], *operand_lists[MOST][4];
  Mvs__Traffic traffic[MOST][4], *traffic_lists[MOST][4];
} model;

/* What a step does with a buffer: bytes of one sample, times the batch. */
typedef struct use {
  uint32_t buffer;
  int64_t read, written;
  int64_t shift;
} use;

static void init_model(model *all) {
  static const model empty;
  *all = empty;
  mvs__function__init(&all->function);
  mvs__program__init(&all->program);
  mvs__matmul__init(&all->matmul);
  mvs__loop__init(&all->loop);
  all->loops[0] = &all->loop;
  all->loop.steps = all->body;
  all->function.steps = all->top;
  all->function.loops = all->loops;
  all->function.buffers = all->buffer_list;
  all->program.kernels = all->kernel_list;
  for (int at = 0; at < MOST; at++) {
    mvs__buffer__init(&all->buffers[at]);
    all->buffer_list[at] = &all->buffers[at];
  }
  all->function.n_buffers = MOST;
}

static Mvs__Step *new_step(model *all, bool heavy, const use *uses, size_t count) {
  size_t at = all->program.n_kernels++;
  Mvs__Kernel *kernel = all->kernel_list[at] = &all->kernels[at];
  Mvs__Step *step = &all->steps[at];
  mvs__kernel__init(kernel);
  mvs__step__init(step);
  step->kernel = (int32_t)at;
  step->operands = all->operand_lists[at];
  kernel->traffic = all->traffic_lists[at];
  kernel->matmul = heavy ? &all->matmul : NULL;
  for (size_t each = 0; each < count; each++) {
    Mvs__Operand *operand = all->operand_lists[at][each] = &all->operands[at][each];
    Mvs__Traffic *traffic = all->traffic_lists[at][each] = &all->traffic[at][each];
    mvs__operand__init(operand);
    mvs__traffic__init(traffic);
    operand->buffer = uses[each].buffer;
    operand->shift = uses[each].shift;
    operand->per_layer = uses[each].shift != 0 || uses[each].buffer >= 8;
    traffic->read_per_batch = uses[each].read;
    traffic->write_per_batch = uses[each].written;
  }
  step->n_operands = kernel->n_traffic = count;
  return step;
}

#define USES(...) (const use[]){__VA_ARGS__}, sizeof((const use[]){__VA_ARGS__}) / sizeof(use)
#define TOP(all, heavy, ...) \
  ((all)->top[(all)->function.n_steps++] = new_step((all), (heavy), USES(__VA_ARGS__)))
#define BODY(all, heavy, ...) \
  ((all)->body[(all)->loop.n_steps++] = new_step((all), (heavy), USES(__VA_ARGS__)))

static double least(const model *all, int64_t batch) {
  mvs_arena *arena = mvs_arena_new();
  double bytes = mvs_function_least_bytes(arena, &all->program, &all->function, batch);
  mvs_arena_free(arena);
  return bytes;
}

/* in (0) -> a -> 1 -> b -> out (2): what is between them need not be stored. */
static void neighbours_are_one(void **state) {
  model all;
  (void)state;
  init_model(&all);
  all.buffers[0].kind = MVS__BUFFER__KIND__INPUT;
  all.buffers[2].kind = MVS__BUFFER__KIND__OUTPUT;
  TOP(&all, false, {0, 100, 0, 0}, {1, 0, 70, 0});
  TOP(&all, false, {1, 70, 0, 0}, {0, 100, 0, 0}, {2, 0, 10, 0});
  assert_true(least(&all, 1) == 110);
  assert_true(least(&all, 3) == 330);
}

/* The same with a matmul between them that takes 1 and gives 3, and b wants both: 1 is stored
 * for the matmul and read again behind it. What the matmul moves is not counted. */
static void heavy_kernels_part_levels(void **state) {
  model all;
  (void)state;
  init_model(&all);
  all.buffers[0].kind = MVS__BUFFER__KIND__INPUT;
  all.buffers[2].kind = MVS__BUFFER__KIND__OUTPUT;
  TOP(&all, false, {0, 100, 0, 0}, {1, 0, 70, 0});
  TOP(&all, true, {1, 70, 0, 0}, {3, 0, 1000, 0});
  TOP(&all, false, {1, 70, 0, 0}, {3, 1000, 0, 0}, {2, 0, 10, 0});
  assert_true(least(&all, 1) == 100 + 70 + 70 + 1000 + 10);
}

/* Nothing reads 1, and 2 is a gradient of the flat buffers. */
static void only_what_is_needed_is_written(void **state) {
  model all;
  (void)state;
  init_model(&all);
  all.buffers[2].kind = MVS__BUFFER__KIND__GRAD;
  TOP(&all, false, {0, 100, 0, 0}, {1, 0, 70, 0}, {2, 0, 30, 0});
  assert_true(least(&all, 1) == 130);
}

/* The body's 8 is carried to the next layer (written at shift 1), so it is stored and read in
 * each of five; 1 stays within the level. */
static void layers_hand_on_through_memory(void **state) {
  model all;
  (void)state;
  init_model(&all);
  all.loop.count = 5;
  Mvs__Step *loop = new_step(&all, false, NULL, 0);
  loop->kernel = -1;
  all.top[all.function.n_steps++] = loop;
  BODY(&all, false, {8, 100, 0, 0}, {1, 0, 70, 0});
  BODY(&all, false, {1, 70, 0, 0}, {8, 0, 100, 1});
  assert_true(least(&all, 1) == 5 * 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(neighbours_are_one),
      cmocka_unit_test(heavy_kernels_part_levels),
      cmocka_unit_test(only_what_is_needed_is_written),
      cmocka_unit_test(layers_hand_on_through_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
