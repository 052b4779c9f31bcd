/* test_aside.c: work beside other work. A host device whose lane ASIDE is as late as the events
 * allow does each piece only when something waits for it: what is overwritten before shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "codegen/host/host.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/pass.h"
#include "runtime/aside.h"
#include "runtime/init.h"
#include "runtime/training.h"

#define OPERANDS 128 /* most of a launch */
#define STEPS    3
#define LAYERS   3

/* A launch that was put off. */
typedef struct waiting {
  mvs_launch launch;
  void *operands[OPERANDS];
} waiting;

typedef struct mark {
  mvs_lane lane; /* of its last signal */
} mark;

typedef struct late_device {
  mvs_device table;
  mvs_device *host;
  mvs_lane lane;
  struct {
    waiting **items;
    size_t count, capacity;
  } late;
  mvs_arena *arena;
  int joins;   /* that had something to wait for */
  int awaited;         /* how often WORK waited for ASIDE */
} late_device;

static size_t operands_of(const mvs_program *program, uint32_t number) {
  const Mvs__Kernel *kernel = program->kernels[number];
  return kernel->n_traffic + (kernel->workspace_fixed || kernel->workspace_per_batch);
}

/* --- the late device --- */

static const mvs_program *looked_at;

static void late_launch(mvs_device *table, const mvs_launch *launch) {
  late_device *device = (late_device *)table;
  if (device->lane == MVS_LANE_WORK) {
    device->host->launch(device->host, launch);
    return;
  }
  waiting *one = MVS_NEW(device->arena, waiting);
  one->launch = *launch;
  memcpy(one->operands, launch->operands,
         operands_of(looked_at, launch->kernel) * sizeof *one->operands);
  one->launch.operands = one->operands;
  MVS_PUSH(device->arena, &device->late, one);
}

static void catch_up(late_device *device) {
  for (size_t at = 0; at < device->late.count; at++)
    device->host->launch(device->host, &device->late.items[at]->launch);
  device->joins += device->late.count > 0;
  device->late.count = 0;
}

static void late_set_lane(mvs_device *table, mvs_lane lane) {
  ((late_device *)table)->lane = lane;
}

static mvs_status late_event_new(mvs_device *table, mvs_diag *diag, void **out) {
  (void)diag;
  *out = MVS_NEW(((late_device *)table)->arena, mark);
  return MVS_OK;
}

static void late_event_free(mvs_device *table, void *event) { (void)table, (void)event; }

static void late_signal(mvs_device *table, void *event, mvs_lane lane) {
  (void)table;
  ((mark *)event)->lane = lane;
}

static void late_await(mvs_device *table, void *event, mvs_lane lane) {
  late_device *device = (late_device *)table;
  if (((mark *)event)->lane != MVS_LANE_ASIDE || lane != MVS_LANE_WORK) return;
  device->awaited++;
  catch_up(device);
}

/* As a GPU, it gives memory back when nothing is under way. */
static void late_release(mvs_device *table, void *memory) {
  late_device *device = (late_device *)table;
  catch_up(device);
  device->host->release(device->host, memory);
}

static mvs_status late_synchronize(mvs_device *table, mvs_diag *diag) {
  catch_up((late_device *)table);
  return ((late_device *)table)->host->synchronize(((late_device *)table)->host, diag);
}

static void late_close(mvs_device *table) {
  late_device *device = (late_device *)table;
  device->host->close(device->host);
}

/* Copies and marks of the host need nothing of the device. */
static mvs_device *open_late(mvs_arena *arena, mvs_device *host, late_device **out) {
  late_device *device = MVS_NEW(arena, late_device);
  *device = (late_device){.table = *host, .host = host, .arena = arena};
  device->table.release = late_release;
  device->table.launch = late_launch;
  device->table.launch_all = NULL; /* of the host's own */
  device->table.set_lane = late_set_lane;
  device->table.event_new = late_event_new;
  device->table.event_free = late_event_free;
  device->table.signal = late_signal;
  device->table.await = late_await;
  device->table.synchronize = late_synchronize;
  device->table.close = late_close;
  *out = device;
  return &device->table;
}

/* --- a model that is looked at --- */

static const mvs_program *compile(mvs_arena *arena, mvs_diag *diag) {
  const mvs_host_options options = {0};
  mvs_unit *unit;
  mvs_module *module;
  mvs_build *build;
  assert_int_equal(
      mvs_load_unit(arena, diag, MVS_SOURCE_DIR "/models/digits.mvs", NULL, 0, &unit), MVS_OK);
  assert_int_equal(mvs_lower(arena, diag, unit, &module), MVS_OK);
  mvs_compilation compilation = {.arena = arena, .diag = diag, .module = module};
  assert_int_equal(mvs_pipeline_run(&compilation, NULL), MVS_OK);
  assert_int_equal(mvs_build_program(arena, diag, module, compilation.plan, &build), MVS_OK);
  assert_int_equal(mvs_host_load(arena, diag, build, &options), MVS_OK);
  return build->program;
}

/* The lines of diagnostics of some steps. */
static const char *watched_run(mvs_arena *arena, bool late, mvs_recompute recompute,
                               int *joins) {
  mvs_diag *diag = mvs_diag_new(arena);
  const mvs_program *program = compile(arena, diag);
  mvs_session session = {
      .arena = arena, .diag = diag, .program = program, .whole = program, .name = "test"};
  int64_t anchors[LAYERS] = {0, 3, 7};
  const mvs_training_settings settings = {
      .optimizer = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1},
      .diagnostics = {.every = 1, .anchors = anchors, .anchor_count = LAYERS},
      .batch = 4,
      .micro_batch = 4};
  late_device *device = NULL;
  mvs_training *training;
  mvs_data *data;
  mvs_text lines = mvs_text_new(arena);
  looked_at = program;
  assert_int_equal(mvs_device_open_host(program, 1, diag, &session.device), MVS_OK);
  if (late) session.device = open_late(arena, session.device, &device);
  session.executor = mvs_executor_new(arena, diag, program, session.device);
  mvs_executor_set_recompute(session.executor, recompute);
  assert_int_equal(mvs_training_new(&session, &settings, &training), MVS_OK);
  assert_int_equal(mvs_data_open_digits(&session, &data), MVS_OK);
  assert_int_equal(mvs_training_use_data(training, data), MVS_OK);
  mvs_optimizer *optimizer = mvs_training_optimizer(training);
  assert_int_equal(mvs_init_params(&session, 3, optimizer->params), MVS_OK);
  mvs_optimizer_start(optimizer);
  for (int64_t step = 0; step < STEPS; step++) {
    mvs_step_result result;
    mvs_observation seen = mvs_observation_at(step + 1);
    assert_int_equal(mvs_training_queue(training, step), MVS_OK);
    assert_int_equal(mvs_training_collect(training, &result, &seen), MVS_OK);
    assert_true(seen.n_tables > 3);
    mvs_observation_line(&seen, &lines);
  }
  *joins = device ? device->joins : 0;
  assert_int_equal(device ? device->late.count : 0, 0);
  data->close(data);
  mvs_session_close(&session);
  return mvs_text_string(&lines);
}

static void as_late_as_may_be(void **state) {
  static const mvs_recompute plans[] = {MVS_RECOMPUTE_NONE, MVS_RECOMPUTE_BLOCK};
  (void)state;
  for (size_t at = 0; at < sizeof plans / sizeof *plans; at++) {
    mvs_arena *arena = mvs_arena_new();
    int joins;
    const char *in_order = watched_run(arena, false, plans[at], &joins);
    const char *late = watched_run(arena, true, plans[at], &joins);
    assert_string_equal(in_order, late);
    /* Late indeed: less often waited for than there are layers and functions to look at. */
    assert_in_range(joins, STEPS, STEPS * LAYERS * 4);
    mvs_arena_free(arena);
  }
}

/* --- ranges --- */

static void waits_for_what_it_overwrites(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const mvs_device nothing = {0};
  mvs_device host = nothing;
  late_device *device;
  mvs_aside *aside = mvs_aside_new(arena, open_late(arena, &host, &device));
  char memory[64];
  const struct {
    int from, bytes;
    bool joins;
  } writes[] = {{0, 16, false}, {0, 17, true},  {31, 1, true}, {32, 8, false},
                {48, 1, true},  {56, 8, false}, {0, 64, true}};
  for (size_t at = 0; at < sizeof writes / sizeof *writes; at++) {
    assert_int_equal(mvs_aside_begin(aside, diag), MVS_OK);
    assert_int_equal(device->lane, MVS_LANE_ASIDE);
    mvs_aside_reads(aside, memory + 16, 16);
    mvs_aside_reads(aside, memory + 48, 8);
    mvs_aside_end(aside);
    assert_int_equal(device->lane, MVS_LANE_WORK);
    mvs_aside_before_write(aside, memory + writes[at].from, writes[at].bytes);
    assert_int_equal(!mvs_aside_is_open(aside), writes[at].joins);
    mvs_aside_join(aside);
    assert_false(mvs_aside_is_open(aside));
  }
  /* What reads nothing is waited for as well, by whoever wants what it wrote. */
  int waits = device->awaited;
  assert_int_equal(mvs_aside_begin(aside, diag), MVS_OK);
  mvs_aside_end(aside);
  mvs_aside_before_write(aside, memory, sizeof memory);
  assert_true(mvs_aside_is_open(aside));
  mvs_aside_join(aside);
  assert_int_equal(device->awaited, waits + 1);
  mvs_aside_free(aside);
  mvs_arena_free(arena);
}

/* Without lanes nothing is kept and nothing asked of the device. */
static void one_order_needs_nothing(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_device device = {0};
  mvs_aside *aside = mvs_aside_new(arena, &device);
  assert_int_equal(mvs_aside_begin(aside, NULL), MVS_OK);
  mvs_aside_reads(aside, &device, sizeof device);
  mvs_aside_end(aside);
  assert_false(mvs_aside_is_open(aside));
  mvs_aside_before_write(aside, &device, sizeof device);
  mvs_aside_join(aside);
  mvs_aside_free(aside);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(as_late_as_may_be),
      cmocka_unit_test(waits_for_what_it_overwrites),
      cmocka_unit_test(one_order_needs_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
