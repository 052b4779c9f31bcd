/* command_bench.c: where the time of a training or sampler step goes, and how near it is to
 * what this machine can do.
 *
 * All of it is measured in turns in one run, each long enough that clock and power settle as
 * they do in long work: the core (forward + backward, or one evaluation), whole steps, the
 * core's own matmuls and attention kernels one after another, and a copy of memory. The
 * median of the rounds counts. A profile of some steps then gives each kernel its time.
 * source : docs/performance.md#the-floor */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/bench.h"
#include "runtime/commands.h"
#include "runtime/least.h"
#include "runtime/median.h"
#include "runtime/output_option.h"
#include "runtime/pool.h"
#include "runtime/progress.h"

#define DEFAULT_SECONDS 0.3
#define ROUNDS          3
#define MOST_TIMES      100000
#define PROFILED_STEPS  3
/* How long a recording is replayed before it is timed kernel by kernel: the clock of a GPU
 * follows its power within some milliseconds. */
#define SUSTAINED_SECONDS 0.1
#define MOST_REPLAYS      100

static const mvs_option_row bench_rows[] = {
    {"sample", MVS_OPTION_FLAG, NULL, 0, 0, "a step of the sampler instead of a training step"},
    {"batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX,
     "samples a step (default: the model's; 8 with --sample)"},
    {"micro-batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX,
     "samples at a time (default: the batch)"},
    {"seconds", MVS_OPTION_NUMBER, "S", 0.001, 3600,
     "length of each measurement, taken three times (default 0.3)"},
    {"steps", MVS_OPTION_INTEGER, "N", 1, 1e6,
     "runs of each measurement, taken once (default: by --seconds)"},
    {"json", MVS_OPTION_TEXT, "FILE", 0, 0, "write the figures there too"},
};

/* The options of this command alone; those of every command follow. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, bench_rows, sizeof bench_rows / sizeof *bench_rows);
}

/* --- measuring --- */

typedef enum piece { CORE, STEP, MATMULS, ATTENTION, COPY, TURNS, PIECES } piece;

/* Seconds of `times` runs. Nothing is waited for in between. */
static mvs_status run_piece(mvs_bench *bench, piece which, int64_t times, double *seconds) {
  static const mvs_bench_part parts[PIECES] = {[MATMULS] = MVS_BENCH_MATMULS,
                                               [ATTENTION] = MVS_BENCH_ATTENTION,
                                               [COPY] = MVS_BENCH_COPY};
  mvs_session *session = bench->session;
  if (which == STEP) return bench->work->run_steps(bench, times, seconds);
  double begin = mvs_seconds();
  for (int64_t at = 0; at < times; at++)
    MVS_TRY(which == CORE    ? mvs_recording_run(bench->recording)
            : which == TURNS ? mvs_bench_limits_run_all(bench->limits, bench->core_least)
                             : mvs_bench_limits_run(bench->limits, parts[which]));
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  *seconds = mvs_seconds() - begin;
  return MVS_OK;
}

/* Whether the core has any of it. */
static bool has_piece(const mvs_bench *bench, piece which) {
  if (which == MATMULS) return mvs_bench_limits_have(bench->limits, MVS_BENCH_MATMULS);
  if (which == ATTENTION) return mvs_bench_limits_have(bench->limits, MVS_BENCH_ATTENTION);
  return true;
}

/* Two runs first: they touch all memory, make the libraries' plans, and the second is recorded
 * where the device can. A third tells how many fill the time. */
static mvs_status warm_up(mvs_bench *bench, piece which, int64_t *times) {
  double wanted = mvs_option_number(bench->session->options, "seconds", DEFAULT_SECONDS), one;
  MVS_TRY(run_piece(bench, which, 2, &one));
  if (which == STEP) bench->first_seconds = one;
  MVS_TRY(run_piece(bench, which, 1, &one));
  double fit = one > 0 ? wanted / one : MOST_TIMES;
  *times = fit < 1 ? 1 : fit > MOST_TIMES ? MOST_TIMES : (int64_t)fit;
  *times = mvs_option_integer(bench->session->options, "steps", *times);
  return MVS_OK;
}

/* A quarter of the runs goes before each measurement, so that the clock is that of the piece
 * itself and not of the one before it. */
static mvs_status measure(mvs_bench *bench, double *medians) {
  bool once = mvs_option_given(bench->session->options, "steps");
  int rounds = once ? 1 : ROUNDS;
  double taken[PIECES][ROUNDS];
  int64_t times[PIECES];
  /* Whole steps go first: the core runs on what they leave. */
  static const piece order[] = {STEP, CORE, MATMULS, ATTENTION, COPY, TURNS};
  for (int at = 0; at < PIECES; at++)
    if (has_piece(bench, order[at])) MVS_TRY(warm_up(bench, order[at], &times[order[at]]));
  for (int round = 0; round < rounds; round++)
    for (int at = 0; at < PIECES; at++) {
      piece which = order[at];
      double *seconds = &taken[which][round];
      *seconds = 0;
      if (!has_piece(bench, which)) continue;
      if (times[which] >= 4) MVS_TRY(run_piece(bench, which, times[which] / 4, seconds));
      MVS_TRY(run_piece(bench, which, times[which], seconds));
      *seconds /= (double)times[which];
    }
  for (int which = 0; which < PIECES; which++)
    medians[which] = mvs_median(taken[which], (size_t)rounds);
  return MVS_OK;
}

/* --- kernel by kernel --- */

/* By name among equals, so that two runs print the same order. */
static int slowest_first(const void *left, const void *right) {
  const mvs_bench_row *a = left, *b = right;
  if (a->seconds != b->seconds) return a->seconds < b->seconds ? 1 : -1;
  return strcmp(a->kernel->name, b->kernel->name);
}

/* Sums over launches, of one step. A kernel may run at several batches: the flat ones do. */
static void add_launches(mvs_bench *bench, const mvs_profile *profile, mvs_bench_row *all) {
  const mvs_program *program = bench->session->program;
  for (size_t at = 0; at < profile->launches.count; at++) {
    const mvs_profile_launch *launch = &profile->launches.items[at];
    mvs_bench_row *row = &all[launch->kernel];
    row->kernel = program->kernels[launch->kernel];
    row->launches += 1.0 / PROFILED_STEPS;
    row->seconds += (launch->end - launch->begin) / PROFILED_STEPS;
    row->bytes += mvs_kernel_bytes(row->kernel, launch->batch) / PROFILED_STEPS;
    row->flops += mvs_kernel_flops(row->kernel, launch->batch) / PROFILED_STEPS;
  }
}

/* Kernels that did not run in a step have no row. */
static mvs_status fill_rows(mvs_bench *bench, const mvs_profile *profile) {
  mvs_session *session = bench->session;
  size_t count = session->program->n_kernels;
  mvs_bench_row *all = MVS_ARRAY(session->arena, count + 1, mvs_bench_row);
  double *alone = MVS_ARRAY(session->arena, count + 1, double);
  MVS_TRY(mvs_bench_limits_kernels(bench->limits, alone));
  add_launches(bench, profile, all);
  for (size_t at = 0; at < count; at++) {
    mvs_bench_row *row = &all[at];
    if (!row->kernel) continue;
    const char *how = session->device->how(session->device, (uint32_t)at, bench->micro_batch);
    row->how = mvs_arena_string(session->arena, how);
    row->limit = mvs_kernel_is_heavy(row->kernel) ? alone[at] * row->launches
                                                  : row->bytes / bench->copy_rate;
    MVS_PUSH(session->arena, &bench->rows, *row);
  }
  if (bench->rows.count)
    qsort(bench->rows.items, bench->rows.count, sizeof *bench->rows.items, slowest_first);
  return MVS_OK;
}

/* Scratch of the session: a few kilobytes a function. */
static double least_of(const mvs_bench *bench, const Mvs__Function *function, int64_t batch) {
  const mvs_session *session = bench->session;
  return mvs_function_least_bytes(session->arena, session->program, function, batch);
}

/* Which functions ran tells the least bytes of a step. */
static void find_least(mvs_bench *bench, const mvs_profile *profile) {
  for (size_t at = 0; at < profile->calls.count; at++) {
    const mvs_profile_call *call = &profile->calls.items[at];
    bench->step_least += least_of(bench, call->function, call->batch) / PROFILED_STEPS;
    if (strcmp(call->function->name, bench->work->core) == 0)
      bench->cores += 1.0 / PROFILED_STEPS;
  }
}

/* Marks and recordings are given back on every path. */
static mvs_status take_profile(mvs_bench *bench) {
  mvs_session *session = bench->session;
  mvs_profile *profile = mvs_profile_new(session->arena, session->device);
  double fit = SUSTAINED_SECONDS / bench->core_seconds;
  profile->replays = fit < 1 ? 1 : fit > MOST_REPLAYS ? MOST_REPLAYS : (int)fit;
  mvs_status status = mvs_profile_start(profile, session->diag);
  mvs_executor_profile(session->executor, profile);
  if (status == MVS_OK) status = bench->work->run_profiled(bench, PROFILED_STEPS);
  mvs_executor_profile(session->executor, NULL);
  if (status == MVS_OK) status = mvs_profile_settle(profile, session->diag);
  if (status == MVS_OK) status = fill_rows(bench, profile);
  if (status == MVS_OK) find_least(bench, profile);
  mvs_profile_end(profile);
  return status;
}

/* --- running --- */

/* Layers of all stacks of the model. */
static int64_t count_blocks(const mvs_program *program) {
  const Mvs__Function *forward = mvs_program_function(program, "forward");
  int64_t blocks = 0;
  for (size_t at = 0; forward && at < forward->n_steps; at++) {
    const Mvs__Loop *loop = mvs_step_loop(forward, forward->steps[at]);
    if (loop) blocks += loop->count;
  }
  return blocks;
}

/* The head is printed early: what follows takes seconds. */
static mvs_status run_all(mvs_bench *bench) {
  mvs_session *session = bench->session;
  const Mvs__Function *core = mvs_program_function(session->program, bench->work->core);
  double medians[PIECES];
  MVS_TRY(bench->work->prepare(bench));
  bench->core_least = least_of(bench, core, bench->micro_batch);
  printf("%s (%s), %d threads, batch %" PRId64 ", %" PRId64 " at a time, blocks %s\n",
         session->device->name, session->device->what,
         mvs_pool_threads(mvs_device_pool(session->device)), bench->batch, bench->micro_batch,
         bench->kept);
  MVS_TRY(measure(bench, medians));
  bench->core_seconds = medians[CORE];
  bench->step_seconds = medians[STEP];
  bench->matmul_seconds = medians[MATMULS];
  bench->attention_seconds = medians[ATTENTION];
  bench->turns_seconds = medians[TURNS];
  bench->copy_rate = mvs_bench_copy_bytes(bench->limits) / medians[COPY];
  MVS_TRY(take_profile(bench));
  mvs_bench_print(bench);
  const char *json = mvs_option_text(session->options, "json", NULL);
  return json ? mvs_bench_write(bench, json) : MVS_OK;
}

/* Memory for the limits is taken before the plan for the step's is made, which sees the rest.
 */
static mvs_status run(mvs_session *session) {
  bool sample = mvs_option_given(session->options, "sample");
  mvs_bench bench = {.session = session,
                     .work = sample ? &mvs_bench_sampling : &mvs_bench_training,
                     .blocks = count_blocks(session->program)};
  const char *json = mvs_option_text(session->options, "json", NULL);
  if (json) MVS_TRY(mvs_output_option_check(session, "json", json));
  MVS_TRY(bench.work->settle(&bench));
  MVS_TRY(mvs_session_open(session));
  MVS_TRY(mvs_bench_limits_new(session, bench.work->core, bench.micro_batch, &bench.limits));
  mvs_status status = run_all(&bench);
  mvs_bench_limits_end(bench.limits);
  return status;
}

const mvs_command mvs_command_bench = {
    "bench",
    "Times a training or sampler step, kernel by kernel, against this machine's limits.", rows,
    run};
