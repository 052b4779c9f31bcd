/* bench_limits.c: heavy kernels over operands of their own.
 *
 * The values matter: a GPU that multiplies zeros draws less power and keeps a higher clock, so
 * inputs are normal numbers in bf16, which as f32 are normal enough too. Results go to other
 * memory, or products of products would soon be infinite. Each launch takes the next stretch
 * of both, so that no operand is in a cache because the launch before had it. Where the device
 * can record, a whole pass is one recording: the host has no part in its time. */
#include "runtime/bench_limits.h"

#include <stdlib.h>

#include "runtime/least.h"
#include "runtime/pool.h"
#include "runtime/random.h"

#define MOST_OPERANDS 16
/* Stretches start on multiples of this, more than any kernel asks for. */
#define ALIGNMENT 1024
/* Larger than caches: the last level of a large server has less, an H200's L2 60 MB. */
#define LEAST_POOL  ((int64_t)256 << 20)
#define COPY_BYTES  ((int64_t)1 << 30) /* on a GPU: long beside the start of a copy */
#define HOST_BYTES  ((int64_t)64 << 20)
#define COPY_SHARE  8 /* no more than this part of what is free goes to the copy */
#define PASSES_WARM 3
/* A prime, so that rows of no matrix are equal. */
#define NUMBERS       65521
#define NUMBER_STREAM 0x20000001u

typedef struct heavy_launch {
  uint32_t kernel;
  mvs_bench_part part;
} heavy_launch;

/* Memory that turns round. */
typedef struct turning {
  char *memory;
  int64_t bytes, at;
} turning;

struct mvs_bench_limits {
  mvs_session *session;
  const Mvs__Function *function;
  int64_t batch;
  MVS_LIST(heavy_launch) launches;
  turning inputs, results;
  void *workspace;
  char *copy; /* two halves of copy_bytes */
  int64_t copy_bytes;
  void *recordings[MVS_BENCH_COPY];
  bool has_run[MVS_BENCH_COPY];
};

/* --- what there is to do --- */

/* In the step's own order, layer by layer: neighbours share caches and clock as they do there.
 */
static void add_launches(mvs_bench_limits *limits, Mvs__Step *const *steps, size_t count) {
  for (size_t at = 0; at < count; at++) {
    const Mvs__Loop *loop = mvs_step_loop(limits->function, steps[at]);
    for (int64_t layer = 0; loop && layer < loop->count; layer++)
      add_launches(limits, loop->steps, loop->n_steps);
    if (loop) continue;
    const Mvs__Kernel *kernel = limits->session->program->kernels[steps[at]->kernel];
    heavy_launch launch = {.kernel = (uint32_t)steps[at]->kernel,
                           .part = kernel->matmul ? MVS_BENCH_MATMULS : MVS_BENCH_ATTENTION};
    if (mvs_kernel_is_heavy(kernel))
      MVS_PUSH(limits->session->arena, &limits->launches, launch);
  }
}

/* From the first to the last element that a launch touches. Heavy kernels touch every element
 * of an operand, so that is what the program says they move, but for heads that lie apart: a
 * part of a product of several weights, a whole row of it from token to token. */
static int64_t operand_bytes(const mvs_bench_limits *limits, const Mvs__Kernel *kernel,
                             size_t operand) {
  const Mvs__Traffic *traffic = kernel->traffic[operand];
  const Mvs__Attention *shape = kernel->attention;
  int64_t bytes = traffic->read_fixed + traffic->write_fixed +
                  (traffic->read_per_batch + traffic->write_per_batch) * limits->batch;
  if (shape && operand < shape->n_strides) {
    int64_t apart =
        limits->batch * shape->tokens * shape->strides[operand] * mvs_dtype_bytes(shape->dtype);
    if (apart > bytes) bytes = apart;
  }
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* No heavy kernel reads what it writes. */
static bool is_written(const Mvs__Kernel *kernel, size_t operand) {
  const Mvs__Traffic *traffic = kernel->traffic[operand];
  return traffic->write_fixed || traffic->write_per_batch;
}

/* The largest launch decides. */
static void find_sizes(mvs_bench_limits *limits, int64_t *workspace) {
  *workspace = 0;
  limits->inputs.bytes = limits->results.bytes =
      strcmp(limits->session->device->name, "cpu") == 0 ? HOST_BYTES : LEAST_POOL;
  for (size_t at = 0; at < limits->launches.count; at++) {
    const Mvs__Kernel *kernel =
        limits->session->program->kernels[limits->launches.items[at].kernel];
    int64_t read = 0, written = 0;
    int64_t shared = kernel->workspace_fixed + kernel->workspace_per_batch * limits->batch;
    for (size_t each = 0; each < kernel->n_traffic; each++)
      *(is_written(kernel, each) ? &written : &read) += operand_bytes(limits, kernel, each);
    if (2 * read > limits->inputs.bytes) limits->inputs.bytes = 2 * read;
    if (2 * written > limits->results.bytes) limits->results.bytes = 2 * written;
    if (shared > *workspace) *workspace = shared;
  }
}

/* --- memory --- */

/* Cut, not rounded: these are no one's results. */
static uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(bits >> 16);
}

/* The list of numbers over and over: first from the host, then by copies that double. */
static void fill_inputs(mvs_bench_limits *limits) {
  mvs_session *session = limits->session;
  mvs_device *device = session->device;
  const mvs_random_key key = {.stream = NUMBER_STREAM};
  uint16_t *numbers = MVS_ARRAY(session->arena, NUMBERS, uint16_t);
  int64_t have = NUMBERS * (int64_t)sizeof *numbers, bytes = limits->inputs.bytes;
  float *normals = MVS_ARRAY(session->arena, NUMBERS, float);
  mvs_random_normals(key, 0, NUMBERS, normals);
  for (uint32_t at = 0; at < NUMBERS; at++) numbers[at] = to_bf16(normals[at]);
  if (have > bytes) have = bytes;
  device->copy(device, limits->inputs.memory, numbers, have, MVS_COPY_TO_DEVICE);
  for (int64_t part; have < bytes; have += part) {
    part = bytes - have < have ? bytes - have : have;
    device->copy(device, limits->inputs.memory + have, limits->inputs.memory, part,
                 MVS_COPY_WITHIN);
  }
}

/* The copy gives way to the model: its speed is the same from some megabytes on. The rest is
 * needed whole, and its lack is told as any other. */
static mvs_status take_memory(mvs_bench_limits *limits) {
  mvs_session *session = limits->session;
  mvs_device *device = session->device;
  int64_t workspace, most = device->available(device) / COPY_SHARE / 2;
  void *memory;
  limits->copy_bytes = strcmp(device->name, "cpu") == 0 ? HOST_BYTES : COPY_BYTES;
  if (limits->copy_bytes > most) limits->copy_bytes = most / ALIGNMENT * ALIGNMENT;
  MVS_TRY(mvs_session_alloc(session, 2 * limits->copy_bytes, &memory));
  limits->copy = memory;
  device->clear(device, memory, 2 * limits->copy_bytes);
  if (!limits->launches.count) return MVS_OK;
  find_sizes(limits, &workspace);
  MVS_TRY(mvs_session_alloc(session, limits->inputs.bytes, &memory));
  limits->inputs.memory = memory;
  MVS_TRY(mvs_session_alloc(session, limits->results.bytes, &memory));
  limits->results.memory = memory;
  fill_inputs(limits);
  return workspace ? mvs_session_alloc(session, workspace, &limits->workspace) : MVS_OK;
}

mvs_status mvs_bench_limits_new(mvs_session *session, const char *function, int64_t batch,
                                mvs_bench_limits **out) {
  mvs_bench_limits *limits = MVS_NEW(session->arena, mvs_bench_limits);
  *limits = (mvs_bench_limits){.session = session,
                               .function = mvs_program_function(session->program, function),
                               .batch = batch};
  if (limits->function)
    add_launches(limits, limits->function->steps, limits->function->n_steps);
  MVS_TRY(take_memory(limits));
  *out = limits;
  return MVS_OK;
}

bool mvs_bench_limits_have(const mvs_bench_limits *limits, mvs_bench_part part) {
  for (size_t at = 0; at < limits->launches.count; at++)
    if (limits->launches.items[at].part == part) return true;
  return part == MVS_BENCH_COPY;
}

/* --- running --- */

/* Twice the largest launch fits, so two operands of a launch never share memory. */
static char *next_stretch(turning *from, int64_t bytes) {
  if (from->at + bytes > from->bytes) from->at = 0;
  char *stretch = from->memory + from->at;
  from->at += bytes;
  return stretch;
}

/* As the executor launches, but for where operands lie. */
static mvs_status launch_one(mvs_bench_limits *limits, const heavy_launch *heavy,
                             mvs_profile *profile) {
  mvs_session *session = limits->session;
  const Mvs__Kernel *kernel = session->program->kernels[heavy->kernel];
  void *operands[MOST_OPERANDS + 1];
  if (kernel->n_traffic > MOST_OPERANDS)
    return MVS_FAIL(session->diag, MVS_ERR_INTERNAL, "internal: kernel '%s' has %zu operands",
                    kernel->name, kernel->n_traffic);
  for (size_t at = 0; at < kernel->n_traffic; at++)
    operands[at] = next_stretch(is_written(kernel, at) ? &limits->results : &limits->inputs,
                                operand_bytes(limits, kernel, at));
  operands[kernel->n_traffic] = limits->workspace;
  mvs_launch launch = {.kernel = heavy->kernel, .operands = operands, .batch = limits->batch};
  session->device->launch(session->device, &launch);
  mvs_profile_launched(profile, &launch);
  return MVS_OK;
}

/* Part MVS_BENCH_COPY stands for all heavy launches, in their own order. */
static mvs_status run_pass(mvs_bench_limits *limits, mvs_bench_part part,
                           mvs_profile *profile) {
  for (size_t at = 0; at < limits->launches.count; at++) {
    const heavy_launch *launch = &limits->launches.items[at];
    if (part == MVS_BENCH_COPY || launch->part == part)
      MVS_TRY(launch_one(limits, launch, profile));
  }
  return MVS_OK;
}

/* The unit is 4 KiB, so threads never share a cache line. */
static void copy_part(void *user, int thread, int64_t begin, int64_t end) {
  const mvs_bench_limits *limits = user;
  (void)thread;
  memcpy(limits->copy + begin * 4096, limits->copy + limits->copy_bytes + begin * 4096,
         (size_t)(end - begin) * 4096);
}

/* On the host by all threads; a device copies by itself. */
static void run_copy(mvs_bench_limits *limits, int64_t bytes) {
  mvs_device *device = limits->session->device;
  if (strcmp(device->name, "cpu") == 0) {
    mvs_pool_run(mvs_device_pool(device), bytes / 4096, copy_part, limits);
  } else {
    device->copy(device, limits->copy, limits->copy + limits->copy_bytes, bytes,
                 MVS_COPY_WITHIN);
  }
}

/* Each byte is read and written. */
double mvs_bench_copy_bytes(const mvs_bench_limits *limits) {
  return 2 * (double)limits->copy_bytes;
}

/* The first pass runs as it is, the second is recorded, as the executor does it. */
mvs_status mvs_bench_limits_run(mvs_bench_limits *limits, mvs_bench_part part) {
  mvs_device *device = limits->session->device;
  if (part == MVS_BENCH_COPY) {
    run_copy(limits, limits->copy_bytes);
    return MVS_OK;
  }
  if (!limits->recordings[part] && limits->has_run[part] && device->record &&
      device->record(device)) {
    mvs_status status = run_pass(limits, part, NULL);
    limits->recordings[part] = device->recorded(device);
    MVS_TRY(status);
  }
  limits->has_run[part] = true;
  if (!limits->recordings[part]) return run_pass(limits, part, NULL);
  device->replay(device, limits->recordings[part]);
  return MVS_OK;
}

/* Heavy parts as they are recorded, then copies: coarser turns than a step's, but each is short
 * beside the time in which power is averaged. */
mvs_status mvs_bench_limits_run_all(mvs_bench_limits *limits, double bytes) {
  for (int part = 0; part < MVS_BENCH_COPY; part++)
    if (mvs_bench_limits_have(limits, part)) MVS_TRY(mvs_bench_limits_run(limits, part));
  for (int64_t left = (int64_t)(bytes / 2), size; left > 0; left -= size) {
    size = left < limits->copy_bytes ? left : limits->copy_bytes;
    run_copy(limits, size);
  }
  return MVS_OK;
}

/* A profile of one pass, recorded where that can be; passes before it warm up. */
static mvs_status profile_pass(mvs_bench_limits *limits, mvs_profile *profile) {
  mvs_session *session = limits->session;
  mvs_device *device = session->device;
  for (int at = 0; at < PASSES_WARM; at++) MVS_TRY(run_pass(limits, MVS_BENCH_COPY, NULL));
  MVS_TRY(mvs_profile_start(profile, session->diag));
  bool recording = device->record && device->record(device);
  mvs_profile_open_call(profile, limits->function, limits->batch);
  mvs_status status = run_pass(limits, MVS_BENCH_COPY, profile);
  void *work = recording ? device->recorded(device) : NULL;
  mvs_profile_close_call(profile, work);
  if (status == MVS_OK && recording && !work)
    status = MVS_FAIL(session->diag, MVS_ERR_DEVICE, "the device cannot record its own work");
  for (int at = 0; work && at < PASSES_WARM; at++) device->replay(device, work);
  return status == MVS_OK ? mvs_profile_settle(profile, session->diag) : status;
}

/* The mean over all launches of a kernel. */
mvs_status mvs_bench_limits_kernels(mvs_bench_limits *limits, double *seconds) {
  mvs_session *session = limits->session;
  mvs_profile *profile = mvs_profile_new(session->arena, session->device);
  int64_t *launches = MVS_ARRAY(session->arena, session->program->n_kernels + 1, int64_t);
  mvs_status status = profile_pass(limits, profile);
  for (size_t at = 0; status == MVS_OK && at < profile->launches.count; at++) {
    const mvs_profile_launch *launch = &profile->launches.items[at];
    double before = seconds[launch->kernel] * (double)launches[launch->kernel]++;
    seconds[launch->kernel] =
        (before + launch->end - launch->begin) / (double)launches[launch->kernel];
  }
  mvs_profile_end(profile);
  return status;
}

/* Before the device is closed, which the session does. */
void mvs_bench_limits_end(mvs_bench_limits *limits) {
  if (!limits) return;
  mvs_device *device = limits->session->device;
  for (int part = 0; part < MVS_BENCH_COPY; part++)
    if (limits->recordings[part]) device->forget(device, limits->recordings[part]);
}
