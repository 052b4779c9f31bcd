/* test_device_memory.c: what a device's libraries work in counts where memory is planned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/memory.h"

#define KERNELS 3
#define HELD    (1000 << 20)

/* One step outside, one in a loop; kernel 2 is nobody's. */
typedef struct fixture {
  mvs_program program;
  Mvs__Function function, *functions[1];
  Mvs__Loop loop, *loops[1];
  Mvs__Step steps[3], *outside[2], *inside[1];
  Mvs__Kernel kernels[KERNELS], *kernel_list[KERNELS];
  Mvs__Stage stage, *stages[1];
  Mvs__Nest nest, *nests[1];
  Mvs__Settings settings;
  mvs_session session;
} fixture;

static int64_t prepared[KERNELS]; /* the batch that each kernel was prepared for */

static void prepare(mvs_device *device, uint32_t kernel, int64_t batch) {
  (void)device;
  prepared[kernel] = batch;
}

/* Known only once all is prepared. */
static int64_t held(mvs_device *device) {
  (void)device;
  return prepared[0] && prepared[1] ? HELD : 0;
}

static void build_program(fixture *here) {
  mvs__program__init(&here->program);
  mvs__settings__init(here->program.settings = &here->settings);
  mvs__function__init(here->functions[0] = &here->function);
  mvs__loop__init(here->loops[0] = &here->loop);
  mvs__stage__init(here->stages[0] = &here->stage);
  mvs__nest__init(here->nests[0] = &here->nest);
  here->nest.address = 16; /* as of code loaded by a JIT; nothing is run */
  here->stage.nests = here->nests, here->stage.n_nests = 1;
  for (int at = 0; at < KERNELS; at++) {
    mvs__kernel__init(here->kernel_list[at] = &here->kernels[at]);
    here->kernels[at].stages = here->stages, here->kernels[at].n_stages = 1;
    mvs__step__init(&here->steps[at]);
    here->steps[at].kernel = at;
  }
  here->steps[2].kernel = -1; /* runs the loop */
  here->outside[0] = &here->steps[0], here->outside[1] = &here->steps[2];
  here->inside[0] = &here->steps[1];
  here->function.name = (char *)(uintptr_t) "work";
  here->function.steps = here->outside, here->function.n_steps = 2;
  here->function.loops = here->loops, here->function.n_loops = 1;
  here->loop.steps = here->inside, here->loop.n_steps = 1;
  here->loop.count = 4, here->loop.forward = -1;
  here->program.functions = here->functions, here->program.n_functions = 1;
  here->program.kernels = here->kernel_list, here->program.n_kernels = KERNELS;
}

static mvs_status choose(fixture *here, const char *memory) {
  static const char *const functions[] = {"work", NULL};
  mvs_memory_use use = {.functions = functions, .batch = 7};
  char *words[] = {(char *)(uintptr_t) "--memory", (char *)(uintptr_t)memory};
  mvs_option_rows rows = {0};
  mvs_recompute chosen;
  memset(prepared, 0, sizeof prepared);
  mvs_session_rows(here->session.arena, &rows);
  assert_int_equal(mvs_options_parse(here->session.arena, here->session.diag, &rows, 2, words,
                                     &here->session.options),
                   MVS_OK);
  return mvs_memory_choose(&here->session, &use, "this", "less", &chosen);
}

static void libraries_count(void **state) {
  (void)state;
  static fixture here;
  build_program(&here);
  here.session.program = &here.program;
  here.session.arena = mvs_arena_new();
  here.session.diag = mvs_diag_new(here.session.arena);
  assert_int_equal(
      mvs_device_open_host(&here.program, 1, here.session.diag, &here.session.device), MVS_OK);
  here.session.executor = mvs_executor_new(here.session.arena, here.session.diag, &here.program,
                                           here.session.device);
  assert_int_equal(choose(&here, "999MiB"), MVS_OK);
  here.session.device->prepare = prepare;
  here.session.device->held = held;
  assert_int_equal(choose(&here, "1100MiB"), MVS_OK);
  assert_int_equal(prepared[0], 7);
  assert_int_equal(prepared[1], 7);
  assert_int_equal(prepared[2], 0);
  assert_int_equal(choose(&here, "999MiB"), MVS_ERR_MEMORY);
  mvs_text text = mvs_text_new(here.session.arena);
  mvs_diag_render(here.session.diag, &text);
  assert_non_null(strstr(mvs_text_string(&text), "this needs 1000 MiB, but --memory allows"));
  mvs_session_close(&here.session);
  mvs_arena_free(here.session.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(libraries_count)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
