/* command_bench.c: where a training step's time goes, kernel by kernel.
 *
 * Steps run as in training, on made-up data, with a clock around every launch. Waiting for
 * each costs time of its own, so the sum of the kernels and the whole step are both printed.
 * Each kernel is held against the speed at which this machine copies memory and against the
 * bytes and operations that the compiler counted for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/commands.h"
#include "runtime/init.h"
#include "runtime/memory.h"
#include "runtime/pool.h"
#include "runtime/progress.h"
#include "runtime/random.h"
#include "runtime/training.h"

#define DEFAULT_STEPS     3
#define DATA_STREAM       0x20000000u
#define DATA_SAMPLES      4096
#define COPY_BYTES        ((int64_t)64 << 20)
#define DEVICE_COPY_BYTES ((int64_t)1 << 30)
#define COPY_ROUNDS       5

static const mvs_option_row bench_rows[] = {
    {"batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX, "samples a step (default: the model's)"},
    {"micro-batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX,
     "samples at a time (default: the batch)"},
    {"steps", MVS_OPTION_INTEGER, "N", 1, 1e6, "timed steps, after one to warm up (default 3)"},
};

/* The options of this command alone; those of every command follow. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, bench_rows, sizeof bench_rows / sizeof *bench_rows);
}

/* --- made-up data: times do not depend on values --- */

#define NORMALS 65536

/* One list of normal numbers, of which each sample takes a stretch and goes round: making new
 * ones would take longer than a GPU's step. */
typedef struct made_up {
  mvs_data source;
  const mvs_program *program;
  float normals[NORMALS];
} made_up;

/* Lives in the session's arena, as large as it is. */
static made_up *new_data(const mvs_session *session, const mvs_data *source) {
  made_up *made = MVS_NEW(session->arena, made_up);
  const mvs_random_key key = {.stream = DATA_STREAM};
  made->source = *source;
  made->program = session->program;
  for (uint32_t at = 0; at < NORMALS; at++) made->normals[at] = mvs_random_normal(key, at);
  return made;
}

/* The model input that a data tensor feeds: "x0" is the noised state's. */
static const Mvs__ModelInput *input_of(const mvs_program *program, const char *tensor) {
  for (size_t at = 0; at < program->n_inputs; at++) {
    const Mvs__ModelInput *input = program->inputs[at];
    if (strcmp(input->conditioning ? input->name : "x0", tensor) == 0) return input;
  }
  return NULL;
}

/* Normal numbers, or classes in turn for integers. */
static void fill(mvs_data *data, const char *tensor, const int64_t *index, int64_t count,
                 void *out) {
  const made_up *made = (const made_up *)data;
  const Mvs__ModelInput *input = input_of(made->program, tensor);
  bool classes = input && strcmp(input->dtype, "i32") == 0;
  int64_t elements = 1;
  for (size_t at = 0; input && at < input->n_shape; at++) elements *= input->shape[at];
  for (int64_t sample = 0; sample < count; sample++) {
    float *floats = (float *)out + sample * elements;
    int32_t *integers = (int32_t *)out + sample * elements;
    int64_t from = index[sample] * 977 % NORMALS;
    for (int64_t at = 0; at < elements && classes; at++)
      integers[at] = (int32_t)(index[sample] % 10);
    for (int64_t at = 0, part; at < elements && !classes; at += part, from = 0) {
      part = elements - at < NORMALS - from ? elements - at : NORMALS - from;
      memcpy(floats + at, made->normals + from, (size_t)part * sizeof *floats);
    }
  }
}

/* Made up to measure, so it fits every model. */
static mvs_status check(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                        int rank, const int64_t *shape) {
  (void)data, (void)diag, (void)tensor, (void)dtype, (void)rank, (void)shape;
  return MVS_OK;
}

/* Nothing was opened. */
static void close_data(mvs_data *data) { (void)data; }

/* --- the machine's own speed --- */

/* The unit is 4 KiB, so threads never share a cache line. */
static void copy_part(void *user, int thread, int64_t begin, int64_t end) {
  char *memory = user;
  (void)thread;
  memcpy(memory + begin * 4096, memory + COPY_BYTES + begin * 4096,
         (size_t)(end - begin) * 4096);
}

/* The same on another device, by its own copy. */
static double device_copy_rate(mvs_session *session) {
  mvs_device *device = session->device;
  void *memory;
  double best = 0;
  if (mvs_session_alloc(session, 2 * DEVICE_COPY_BYTES, &memory) != MVS_OK) return 0;
  device->clear(device, memory, 2 * DEVICE_COPY_BYTES);
  for (int round = 0; round < COPY_ROUNDS; round++) {
    if (device->synchronize(device, session->diag) != MVS_OK) return 0;
    double begin = mvs_seconds();
    device->copy(device, memory, (char *)memory + DEVICE_COPY_BYTES, DEVICE_COPY_BYTES,
                 MVS_COPY_WITHIN);
    if (device->synchronize(device, session->diag) != MVS_OK) return 0;
    double rate = 2 * (double)DEVICE_COPY_BYTES / (mvs_seconds() - begin);
    if (rate > best) best = rate;
  }
  return best;
}

/* Bytes a second that all threads together read and write when copying; the best of a few. */
static double copy_rate(mvs_session *session) {
  if (strcmp(session->device->name, "cpu") != 0) return device_copy_rate(session);
  char *memory = malloc((size_t)COPY_BYTES * 2);
  double best = 0;
  if (!memory) return 0;
  memset(memory, 1, (size_t)COPY_BYTES * 2);
  for (int round = 0; round < COPY_ROUNDS; round++) {
    double begin = mvs_seconds();
    mvs_pool_run(mvs_device_pool(session->device), COPY_BYTES / 4096, copy_part, memory);
    double rate = 2 * (double)COPY_BYTES / (mvs_seconds() - begin);
    if (rate > best) best = rate;
  }
  free(memory);
  return best;
}

/* --- the table --- */

/* A kernel with what was measured of it. */
typedef struct bench_row {
  const Mvs__Kernel *kernel;
  const char *how; /* "generated", or the library that ran it */
  mvs_kernel_time time;
} bench_row;

/* By name among equals, so that two runs print the same order. */
static int slowest_first(const void *left, const void *right) {
  const bench_row *a = left, *b = right;
  if (a->time.seconds != b->time.seconds) return a->time.seconds < b->time.seconds ? 1 : -1;
  return strcmp(a->kernel->name, b->kernel->name);
}

/* Rates are of the bytes and operations that the kernel has to move and do, by its own account:
 * more than 100 % of the copy rate means that its operands were still in a cache. */
static void print_row(const bench_row *row, double steps, double total, double copy) {
  double seconds = row->time.seconds, rate = row->time.bytes / seconds;
  printf("%9.3f %5.1f%% %8.0f %9.2f %8.2f %4.0f%% %9.2f  %-14s %s (%s)\n",
         1e3 * seconds / steps, 100 * seconds / total, (double)row->time.launches / steps,
         row->time.bytes / steps / 1e6, rate / 1e9, copy > 0 ? 100 * rate / copy : 0,
         row->time.flops / seconds / 1e9, row->kernel->kind,
         *row->kernel->why ? row->kernel->why : row->kernel->name, row->how);
}

/* Kernels that did not run in a training step (the sampler's) have no row. */
static void print_table(mvs_session *session, const mvs_kernel_time *times, double steps,
                        double wall, int64_t batch) {
  const mvs_program *program = session->program;
  bench_row *list = MVS_ARRAY(session->arena, program->n_kernels, bench_row);
  size_t count = 0;
  double total = 0, copy = copy_rate(session);
  for (size_t at = 0; at < program->n_kernels; at++) {
    if (!times[at].launches) continue;
    const char *how = session->device->how(session->device, (uint32_t)at, batch);
    list[count++] = (bench_row){.kernel = program->kernels[at],
                                .how = mvs_arena_string(session->arena, how),
                                .time = times[at]};
    total += times[at].seconds;
  }
  if (count) qsort(list, count, sizeof *list, slowest_first);
  printf("%9s %6s %8s %9s %8s %5s %9s  %-14s %s\n", "ms", "share", "launches", "MB", "GB/s",
         "copy", "GFLOP/s", "kind", "what");
  for (size_t at = 0; at < count; at++) print_row(&list[at], steps, total, copy);
  printf(
      "kernels %.3f ms a step, everything %.3f ms; copying memory runs at %.1f GB/s (\"copy\" "
      "is the share of that)\n",
      1e3 * total / steps, 1e3 * wall / steps, copy / 1e9);
}

/* --- running --- */

/* The same two calls as `train`, without a file or a log. */
static mvs_status one_step(mvs_training *training, int64_t step) {
  double loss, norm;
  MVS_TRY(mvs_training_gradients(training, step, &loss, &norm));
  return mvs_optimizer_step(mvs_training_optimizer(training), step, norm);
}

/* Whole steps, nothing waited for in between. */
static mvs_status time_steps(mvs_session *session, mvs_training *training, int64_t first,
                             int64_t steps, double *seconds) {
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  double begin = mvs_seconds();
  for (int64_t step = first; step < first + steps; step++) MVS_TRY(one_step(training, step));
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  *seconds = mvs_seconds() - begin;
  return MVS_OK;
}

/* Two steps first: they touch all memory, wake all threads, and the second is recorded where
 * the device can. Then whole steps, then kernel by kernel. */
static mvs_status measure(mvs_session *session, mvs_training *training, int64_t steps,
                          int64_t batch) {
  mvs_kernel_time *times =
      MVS_ARRAY(session->arena, session->program->n_kernels, mvs_kernel_time);
  double warm, whole, wall;
  MVS_TRY(time_steps(session, training, 0, 2, &warm));
  MVS_TRY(time_steps(session, training, 2, steps, &whole));
  mvs_executor_profile(session->executor, times);
  MVS_TRY(time_steps(session, training, 2 + steps, steps, &wall));
  mvs_executor_profile(session->executor, NULL);
  print_table(session, times, (double)steps, wall, batch);
  printf("a whole step takes %.3f ms; the first two took %.3f ms\n",
         1e3 * whole / (double)steps, 1e3 * warm);
  return MVS_OK;
}

/* The model's own settings: times do not depend on them, but which kernels run does. */
static mvs_training_settings settings_of(const mvs_session *session) {
  const Mvs__Settings *model = session->program->settings;
  mvs_training_settings settings = {
      .optimizer = {.lr = model->lr,
                    .beta1 = model->beta1,
                    .beta2 = model->beta2,
                    .eps = model->adam_eps,
                    .weight_decay = model->weight_decay,
                    .clip = model->clip,
                    .ema = model->ema},
      .batch = mvs_option_integer(session->options, "batch", model->batch)};
  settings.micro_batch = mvs_option_integer(session->options, "micro-batch", settings.batch);
  return settings;
}

/* The model's own batch unless one is given. */
static mvs_status run(mvs_session *session) {
  mvs_training_settings settings = settings_of(session);
  mvs_memory_use use = {.functions = mvs_training_functions,
                        .batch = settings.micro_batch,
                        .gradient_flats = mvs_training_gradient_flats(&settings),
                        .optimizer_flats = 2,
                        .average_flats = settings.optimizer.ema > 0};
  const mvs_data source = {.name = "made up",
                           .count = DATA_SAMPLES,
                           .fill = fill,
                           .check = check,
                           .close = close_data};
  mvs_recompute recompute;
  mvs_training *training;
  MVS_TRY(mvs_session_open(session));
  MVS_TRY(mvs_memory_choose(session, &use, "a training step", "a smaller --micro-batch",
                            &recompute));
  MVS_TRY(mvs_training_new(session, &settings, &training));
  MVS_TRY(mvs_training_use_data(training, &new_data(session, &source)->source));
  MVS_TRY(mvs_init_params(session, 0, mvs_training_optimizer(training)->params));
  mvs_optimizer_start(mvs_training_optimizer(training));
  printf("%s (%s), %d threads, batch %" PRId64 ", %" PRId64 " at a time, blocks %s\n",
         session->device->name, session->device->what,
         mvs_pool_threads(mvs_device_pool(session->device)), settings.batch,
         settings.micro_batch, mvs_recompute_text(session, &use, recompute));
  return measure(session, training,
                 mvs_option_integer(session->options, "steps", DEFAULT_STEPS),
                 settings.micro_batch);
}

const mvs_command mvs_command_bench = {"bench", "Times every kernel of a training step.", rows,
                                       run};
