/* device_cuda.c: an NVIDIA GPU as a device. A lane is a stream: all work goes in order through
 * one, what is sent ahead of it through another, what only reads through a third; a failed call
 * is remembered and told by the next synchronize, or by reaching an event. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/cuda_attention.h"
#include "runtime/cuda_blas.h"
#include "runtime/cuda_clears.h"
#include "runtime/cuda_driver.h"
#include "runtime/cuda_modules.h"
#include "runtime/device.h"
#include "runtime/fail.h"
#include "runtime/pool.h"

#define MOST_ARGUMENTS 128
/* Allocations are rounded up and libraries take some: this share of what is free is not ours.
 */
#define KEPT_FREE 64
#define MEBIBYTE  1048576.0
/* What helps when there is too little memory. */
#define LESS_MEMORY "a smaller --micro-batch (or --batch) or --recompute block takes less"

/* A mark. */
typedef struct cuda_moment {
  struct cuda_moment *next;
  void *event;
} cuda_moment;

typedef struct cuda_device {
  mvs_device table;
  const mvs_program *program;
  const mvs_cuda_driver *driver;
  mvs_cuda_gpu gpu;
  int ordinal;
  bool retained;
  char name[128], what[192];
  char model[192], driver_text[64]; /* as in cuda_library.h */
  void *streams[MVS_LANES];         /* one for each lane */
  mvs_lane lane;                    /* that work is given to */
  bool awaits[MVS_LANES]; /* the next kernel of the lane waits for more than the kernel ahead of
                             it */
  mvs_cuda_modules *modules;
  mvs_cuda_blas *blas; /* NULL: not to be had, for the reason below */
  mvs_cuda_attention *attention;
  char no_blas[MVS_CUDA_WORDS], no_attention[MVS_CUDA_WORDS];
  int down; /* whether the kernel before went down through its samples */
  bool recording;
  cuda_moment *spare; /* marks given back, for the next ones */
  /* The first failure since the last synchronize. */
  bool failed;
  const char *kernel;
  char failure[MVS_CUDA_WORDS];
  char words[MVS_CUDA_WORDS]; /* of cuda_how */
  char note[1024];            /* the table's */
} cuda_device;

/* --- failures --- */

/* Launches are asynchronous and errors of the GPU stick: every call behind the first failing
 * one fails with the same code. So the first is kept, with the kernel that was being launched,
 * which is the culprit or one behind it. */
static void remember(cuda_device *device, const char *call, const char *kernel, int result) {
  const char *name = NULL, *text = NULL;
  if (result == 0 || device->failed) return;
  device->failed = true;
  device->kernel = kernel;
  device->driver->error_name(result, &name);
  device->driver->error_text(result, &text);
  snprintf(device->failure, sizeof device->failure, "%s: %s (%s)%s", call,
           text ? text : "unknown", name ? name : "no name",
           result == MVS_CUDA_OUT_OF_MEMORY ? "; " LESS_MEMORY : "");
}

#define CALL(device, kernel, field, ...) \
  remember((device), mvs_cuda_symbol_##field, (kernel), (device)->driver->field(__VA_ARGS__))

/* Tells what was remembered; the next work starts with a clean slate. */
static mvs_status tell_failure(cuda_device *device, mvs_diag *diag) {
  if (!device->failed) return MVS_OK;
  device->failed = false;
  if (!device->kernel)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the GPU failed: %s", device->failure);
  return MVS_FAIL(diag, MVS_ERR_DEVICE, "the GPU failed in kernel '%s': %s", device->kernel,
                  device->failure);
}

/* What was sent, or goes on aside, may be waited for by nothing else. */
static void wait_for_streams(cuda_device *device) {
  CALL(device, NULL, stream_wait, device->streams[MVS_LANE_SENDS]);
  CALL(device, NULL, stream_wait, device->streams[MVS_LANE_ASIDE]);
  CALL(device, NULL, stream_wait, device->streams[MVS_LANE_WORK]);
}

static mvs_status cuda_synchronize(mvs_device *table, mvs_diag *diag) {
  cuda_device *device = (cuda_device *)table;
  wait_for_streams(device);
  return tell_failure(device, diag);
}

/* --- memory --- */

static mvs_cuda_address address_of(const void *memory) { return (uintptr_t)memory; }

/* A failing allocation leaves the context in order, so it is told at once and not remembered.
 */
static mvs_status cuda_alloc(mvs_device *table, int64_t bytes, mvs_diag *diag, void **out) {
  cuda_device *device = (cuda_device *)table;
  mvs_cuda_address memory = 0;
  size_t left = 0, all = 0;
  *out = NULL;
  int result = device->driver->alloc(&memory, bytes > 0 ? (size_t)bytes : 1);
  if (result == MVS_CUDA_OUT_OF_MEMORY) {
    device->driver->memory_info(&left, &all);
    return MVS_FAIL(
        diag, MVS_ERR_MEMORY,
        "the GPU is out of memory: %.1f MiB were asked for and %.1f of %.1f MiB are "
        "free; " LESS_MEMORY,
        (double)bytes / MEBIBYTE, (double)left / MEBIBYTE, (double)all / MEBIBYTE);
  }
  MVS_TRY(mvs_cuda_check(device->driver, diag, mvs_cuda_symbol_alloc, result));
  *out = (void *)(uintptr_t)memory;
  return MVS_OK;
}

static void cuda_release(mvs_device *table, void *memory) {
  cuda_device *device = (cuda_device *)table;
  if (memory) CALL(device, NULL, release, address_of(memory));
}

/* In order with the kernels, as all work of the first lane is. */
static void cuda_clear(mvs_device *table, void *memory, int64_t bytes) {
  cuda_device *device = (cuda_device *)table;
  if (bytes > 0)
    CALL(device, NULL, clear, address_of(memory), 0, (size_t)bytes,
         device->streams[device->lane]);
}

/* Host memory is pageable: the driver returns when it has read or written all of it. */
static void cuda_copy(mvs_device *table, void *to, const void *from, int64_t bytes,
                      mvs_copy kind) {
  cuda_device *device = (cuda_device *)table;
  size_t size = (size_t)bytes;
  if (bytes <= 0 || to == from) return;
  switch (kind) {
    case MVS_COPY_TO_DEVICE:
      CALL(device, NULL, to_device, address_of(to), from, size, device->streams[MVS_LANE_WORK]);
      return;
    case MVS_COPY_WITHIN:
      CALL(device, NULL, within, address_of(to), address_of(from), size,
           device->streams[device->lane]);
      return;
    case MVS_COPY_TO_HOST:
      CALL(device, NULL, to_host, to, address_of(from), size, device->streams[MVS_LANE_WORK]);
      CALL(device, NULL, stream_wait, device->streams[MVS_LANE_WORK]);
      if (device->failed) memset(to, 0, size); /* the next synchronize tells */
  }
}

/* Pinned, so that the GPU's copy engine reads and writes it on its own. */
static mvs_status cuda_alloc_staging(mvs_device *table, int64_t bytes, mvs_diag *diag,
                                     void **out) {
  cuda_device *device = (cuda_device *)table;
  *out = NULL;
  int result = device->driver->host_alloc(out, bytes > 0 ? (size_t)bytes : 1, 0);
  if (result == MVS_CUDA_OUT_OF_MEMORY)
    return MVS_FAIL(diag, MVS_ERR_MEMORY,
                    "cannot pin %" PRId64 " bytes of the host's memory for copies to the GPU",
                    bytes);
  return mvs_cuda_check(device->driver, diag, mvs_cuda_symbol_host_alloc, result);
}

/* A copy may still be under way where a command ended early. */
static void cuda_release_staging(mvs_device *table, void *memory) {
  cuda_device *device = (cuda_device *)table;
  if (!memory) return;
  wait_for_streams(device);
  CALL(device, NULL, host_release, memory);
}

/* In the other lane, so that the next step's samples travel while this step computes; who reads
 * them awaits an event. */
static void cuda_send(mvs_device *table, void *to, const void *staging, int64_t bytes) {
  cuda_device *device = (cuda_device *)table;
  if (bytes > 0)
    CALL(device, NULL, to_device, address_of(to), staging, (size_t)bytes,
         device->streams[MVS_LANE_SENDS]);
}

/* The host reads the staging memory once an event behind it is reached. */
static void cuda_fetch(mvs_device *table, void *staging, const void *from, int64_t bytes) {
  cuda_device *device = (cuda_device *)table;
  if (bytes > 0)
    CALL(device, NULL, to_host, staging, address_of(from), (size_t)bytes,
         device->streams[MVS_LANE_WORK]);
}

/* What the libraries hold already is not asked for again when the plan is made. */
static int64_t cuda_available(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  size_t left = 0, all = 0;
  CALL(device, NULL, memory_info, &left, &all);
  int64_t taken = device->blas ? MVS_CUDA_BLAS_BYTES : 0;
  if (device->attention) taken += mvs_cuda_attention_taken(device->attention);
  return (int64_t)(left - left / KEPT_FREE) + taken;
}

static int64_t cuda_held(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  int64_t bytes = device->blas ? MVS_CUDA_BLAS_BYTES : 0;
  return bytes + (device->attention ? mvs_cuda_attention_held(device->attention) : 0);
}

/* --- events --- */

/* Without times: such events cost the GPU less. */
static mvs_status cuda_event_new(mvs_device *table, mvs_diag *diag, void **out) {
  cuda_device *device = (cuda_device *)table;
  *out = NULL;
  return MVS_CUDA(device->driver, diag, event_new, out, MVS_CUDA_EVENT_PLAIN);
}

static void cuda_event_free(mvs_device *table, void *event) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, event_free, event);
}

static void cuda_signal(mvs_device *table, void *event, mvs_lane lane) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, event_record, event, device->streams[lane]);
}

static void cuda_await(mvs_device *table, void *event, mvs_lane lane) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, stream_await, device->streams[lane], event, 0);
  device->awaits[lane] = true;
}

/* A step's result is read behind this, so it must not be of a step that failed. */
static mvs_status cuda_reach(mvs_device *table, void *event, mvs_diag *diag) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, event_wait, event);
  return tell_failure(device, diag);
}

/* --- kernels --- */

/* Nests of one kernel stand side by side in the grid: each has blocks of its own, and a block
 * finds its nest by its number (codegen/cuda/print.c). */
static int64_t blocks_of(const Mvs__Kernel *kernel, int64_t batch) {
  int64_t blocks = 0;
  for (size_t at = 0; at < kernel->n_grids; at++) {
    const Mvs__Grid *grid = kernel->grids[at];
    int64_t work = grid->work ? grid->work->size * (grid->work->per_batch ? batch : 1) : 1;
    blocks += (work + grid->per_block - 1) / grid->per_block * grid->times;
  }
  return blocks;
}

/* Kernels of nests take turns in going up and down: what one touched last, the next one reads
 * first. Matmuls and attention go up. */
static void turn(cuda_device *device, const Mvs__Kernel *kernel) {
  device->down = !kernel->matmul && !kernel->attention && !device->down;
}

/* What begins with a wait need not be waited for: its blocks are there when the kernel ahead
 * ends. That wait is for the kernel ahead alone, so behind an event a kernel is launched
 * plainly. Libraries' kernels are launched as the libraries do it. */
static const mvs_cuda_launch_attribute early = {.id = MVS_CUDA_LAUNCH_EARLY,
                                                .value = {.flag = 1}};

/* Arguments: operands, then what all kernels know, then what nests alone have. A function that
 * takes fewer reads no more than its own. */
static void launch_generated(cuda_device *device, const mvs_launch *launch) {
  const Mvs__Kernel *kernel = device->program->kernels[launch->kernel];
  const void *arguments[MOST_ARGUMENTS + MVS_CUDA_NEST_ARGUMENTS];
  int64_t batch = launch->batch, blocks = blocks_of(kernel, batch);
  int32_t layer = (int32_t)launch->layer;
  mvs_cuda_address nothing = 0;
  size_t count = kernel->n_arguments;
  void *function;
  const char *call;
  int result = mvs_cuda_modules_function(device->modules, launch->kernel, &function, &call);
  if (result) {
    remember(device, call, kernel->name, result);
    return;
  }
  for (size_t at = 0; at < count; at++) arguments[at] = &launch->operands[at];
  arguments[count] = &batch;
  arguments[count + 1] = &layer;
  arguments[count + 2] = &device->down; /* nests alone take this and what follows */
  arguments[count + 3] = &nothing;
  bool comes_early = mvs_cuda_modules_wait(device->modules) && !device->awaits[device->lane];
  const mvs_cuda_launch how = {.grid = {(unsigned)blocks, 1, 1},
                               .block = {(unsigned)kernel->block, 1, 1},
                               .stream = device->streams[device->lane],
                               .attributes = &early,
                               .attribute_count = comes_early};
  CALL(device, kernel->name, launch, &how, function, (void **)arguments, NULL);
}

/* A library that does not take a kernel leaves it to the generated one: that is a choice made
 * once for a shape, not at each launch. One that took it and fails is an error. */
static void cuda_launch(mvs_device *table, const mvs_launch *launch) {
  cuda_device *device = (cuda_device *)table;
  const Mvs__Kernel *kernel = device->program->kernels[launch->kernel];
  mvs_cuda_taken taken = MVS_CUDA_NOT_TAKEN;
  char words[MVS_CUDA_WORDS];
  turn(device, kernel);
  if (kernel->matmul && device->blas)
    taken = mvs_cuda_blas_launch(device->blas, launch, device->lane,
                                 device->streams[device->lane], words);
  /* Plans of attention are bound to the stream of work. */
  if (kernel->attention && device->attention && device->lane == MVS_LANE_WORK)
    taken = mvs_cuda_attention_launch(device->attention, launch, words);
  if (taken == MVS_CUDA_NOT_TAKEN) launch_generated(device, launch);
  device->awaits[device->lane] = false;
  if (taken != MVS_CUDA_FAILED || device->failed) return;
  device->failed = true;
  device->kernel = kernel->name;
  snprintf(device->failure, sizeof device->failure, "%s", words);
}

static void cuda_set_lane(mvs_device *table, mvs_lane lane) {
  cuda_device *device = (cuda_device *)table;
  device->lane = lane;
}

static void cuda_prepare(mvs_device *table, uint32_t number, int64_t batch) {
  cuda_device *device = (cuda_device *)table;
  const Mvs__Kernel *kernel = device->program->kernels[number];
  if (kernel->matmul && device->blas) mvs_cuda_blas_prepare(device->blas, number, batch);
  if (kernel->attention && device->attention)
    mvs_cuda_attention_prepare(device->attention, number, batch);
}

static const char *cuda_choices(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  return device->blas ? mvs_cuda_algorithms_text(mvs_cuda_blas_algorithms(device->blas)) : NULL;
}

static bool cuda_adopt(mvs_device *table, const char *choices, char *why) {
  cuda_device *device = (cuda_device *)table;
  if (device->blas)
    return mvs_cuda_algorithms_adopt(mvs_cuda_blas_algorithms(device->blas), choices, why);
  snprintf(why, MVS_DEVICE_WORDS, "the run used cuBLASLt, which is not in use now: %.180s",
           *device->no_blas ? device->no_blas : "there are no products");
  return false;
}

static const char *cuda_how(mvs_device *table, uint32_t number, int64_t batch) {
  cuda_device *device = (cuda_device *)table;
  const Mvs__Kernel *kernel = device->program->kernels[number];
  const char *missing = kernel->matmul      ? device->no_blas
                        : kernel->attention ? device->no_attention
                                            : "";
  char *words = device->words;
  if (*missing) {
    snprintf(words, sizeof device->words, "generated: %.200s", missing);
  } else if (kernel->matmul) {
    mvs_cuda_blas_how(device->blas, number, batch, words);
  } else if (kernel->attention) {
    mvs_cuda_attention_how(device->attention, number, batch, words);
  } else {
    snprintf(words, sizeof device->words, "generated");
  }
  return words;
}

/* Sizes come from a checksummed file, but a wrong one would read and write anywhere. */
static mvs_status check_kernel(const Mvs__Kernel *kernel, mvs_diag *diag) {
  bool sound = kernel->n_grids > 0 && kernel->n_arguments <= MOST_ARGUMENTS &&
               kernel->block >= 1 && kernel->block <= 1024;
  for (size_t at = 0; sound && at < kernel->n_grids; at++)
    sound = kernel->grids[at]->per_block >= 1 && kernel->grids[at]->times >= 1;
  if (kernel->matmul)
    sound = sound && kernel->matmul->m && kernel->matmul->k &&
            kernel->n_arguments == (kernel->matmul->bias ? 4 : 3);
  if (kernel->attention)
    sound = sound &&
            kernel->n_arguments == (size_t)mvs_attention_operands(kernel->attention->gradient);
  if (sound) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_INTERNAL,
                  "internal: kernel '%s' of the program has no usable CUDA launch",
                  kernel->name);
}

/* --- recording --- */

/* What this thread sends to the stream from now on is noted and not done. Calls that wait are
 * refused by the driver meanwhile; "thread" leaves those of other threads alone. */
static bool cuda_record(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  device->recording =
      !device->failed && device->driver->capture_begin(device->streams[MVS_LANE_WORK],
                                                       MVS_CUDA_CAPTURE_THREAD) == 0;
  return device->recording;
}

/* NULL: the work is done call by call instead. */
static void *cuda_recorded(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  const mvs_cuda_driver *driver = device->driver;
  void *graph = NULL, *ready = NULL;
  int result = driver->capture_end(device->streams[MVS_LANE_WORK], &graph);
  device->recording = false;
  if (result == 0) mvs_cuda_fold_clears(driver, device->modules, device->program, graph);
  if (result == 0 && !device->failed && driver->graph_ready(&ready, graph, 0) != 0)
    ready = NULL;
  if (graph) driver->graph_free(graph);
  device->failed = false; /* what could not be recorded is run as it is, and tells then */
  return ready;
}

static void cuda_replay(mvs_device *table, void *recording) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, graph_launch, recording, device->streams[MVS_LANE_WORK]);
}

static void cuda_forget(mvs_device *table, void *recording) {
  cuda_device *device = (cuda_device *)table;
  CALL(device, NULL, ready_free, recording);
}

/* --- marks --- */

/* Events are kept for the next marks: a profile takes thousands a step. */
static cuda_moment *spare_moment(cuda_device *device) {
  cuda_moment *moment = device->spare;
  if (moment) {
    device->spare = moment->next;
    return moment;
  }
  moment = calloc(1, sizeof *moment);
  if (moment && device->driver->event_new(&moment->event, 0) == 0) return moment;
  free(moment);
  return NULL;
}

static void *cuda_mark(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  cuda_moment *moment = spare_moment(device);
  if (moment && device->recording) {
    CALL(device, NULL, event_node, moment->event, device->streams[MVS_LANE_WORK],
         MVS_CUDA_EVENT_NODE);
  } else if (moment) {
    CALL(device, NULL, event_record, moment->event, device->streams[MVS_LANE_WORK]);
  }
  return moment;
}

/* The GPU's own clock, which ticks every half microsecond. */
static double cuda_between(mvs_device *table, void *from, void *to) {
  cuda_device *device = (cuda_device *)table;
  const cuda_moment *first = from, *last = to;
  float milliseconds = 0;
  CALL(device, NULL, event_elapsed, &milliseconds, first->event, last->event);
  return 1e-3 * (double)milliseconds;
}

static void cuda_unmark(mvs_device *table, void *mark) {
  cuda_device *device = (cuda_device *)table;
  cuda_moment *moment = mark;
  if (!moment) return;
  moment->next = device->spare;
  device->spare = moment;
}

/* --- libraries --- */

/* The generated kernels are right, but nobody should wait days for them unaware. */
static void note_missing(cuda_device *device, const char *what, const char *why) {
  mvs_arena *scratch = mvs_arena_new();
  snprintf(device->note, sizeof device->note,
           "%s will be slow, in generated kernels: %s (looked in %s); scripts/setup-cuda.sh "
           "FOLDER brings it, then set MVCC_CUDA_PATH=FOLDER",
           what, why, mvs_cuda_library_places(scratch));
  device->table.note = device->note;
  mvs_arena_free(scratch);
}

/* A library is loaded when a kernel may go to it. MVCC_GPU_LIBRARIES=off leaves all to the
 * generated kernels, so that tests can compare both. */
static void open_libraries(cuda_device *device) {
  const mvs_cuda_place place = {.driver = device->driver,
                                .program = device->program,
                                .stream = device->streams[MVS_LANE_WORK],
                                .ordinal = device->ordinal,
                                .model = device->model,
                                .driver_text = device->driver_text};
  const char *choice = getenv("MVCC_GPU_LIBRARIES");
  bool matmul = false, attention = false;
  for (size_t at = 0; at < device->program->n_kernels; at++) {
    const Mvs__Kernel *kernel = device->program->kernels[at];
    matmul = matmul || kernel->matmul;
    attention = attention ||
                (kernel->attention && mvs_cuda_attention_fits(kernel, device->no_attention));
  }
  if (choice && strcmp(choice, "off") == 0) {
    snprintf(device->no_blas, sizeof device->no_blas, "MVCC_GPU_LIBRARIES is off");
    snprintf(device->no_attention, sizeof device->no_attention, "MVCC_GPU_LIBRARIES is off");
    return;
  }
  if (matmul) device->blas = mvs_cuda_blas_open(&place, device->no_blas);
  if (attention) device->attention = mvs_cuda_attention_open(&place, device->no_attention);
  if (device->blas) *device->no_blas = 0;
  if (device->attention) *device->no_attention = 0;
  if (matmul && !device->blas) {
    note_missing(device, "matmuls", device->no_blas);
  } else if (attention && !device->attention) {
    note_missing(device, "attention", device->no_attention);
  }
}

/* --- opening --- */

/* In the order of dependence: modules and libraries before the streams that they used, the
 * context last. It is the primary one, shared with whatever else in this process uses the GPU,
 * so it is released and not destroyed. */
static void cuda_close(mvs_device *table) {
  cuda_device *device = (cuda_device *)table;
  const mvs_cuda_driver *driver = device->driver;
  mvs_cuda_modules_close(device->modules);
  for (cuda_moment *each = device->spare, *next; each; each = next) {
    next = each->next;
    driver->event_free(each->event);
    free(each);
  }
  mvs_cuda_attention_close(device->attention);
  mvs_cuda_blas_close(device->blas);
  for (int lane = 0; lane < MVS_LANES; lane++)
    if (device->streams[lane]) driver->stream_free(device->streams[lane]);
  if (device->retained) driver->context_release(device->ordinal);
  mvs_pool_free(device->table.pool);
  free(device);
}

/* The first that the driver shows: CUDA_VISIBLE_DEVICES chooses among several. */
static mvs_status find_gpu(cuda_device *device, mvs_diag *diag) {
  const mvs_cuda_driver *driver = device->driver;
  MVS_TRY(MVS_CUDA(driver, diag, device_get, &device->ordinal, 0));
  MVS_TRY(MVS_CUDA(driver, diag, device_name, device->name, (int)sizeof device->name,
                   device->ordinal));
  device->gpu = (mvs_cuda_gpu){.driver = driver, .name = device->name};
  MVS_TRY(MVS_CUDA(driver, diag, device_attribute, &device->gpu.major, MVS_CUDA_ATTRIBUTE_MAJOR,
                   device->ordinal));
  return MVS_CUDA(driver, diag, device_attribute, &device->gpu.minor, MVS_CUDA_ATTRIBUTE_MINOR,
                  device->ordinal);
}

/* What measured times and saved plans are good for. A part of a GPU has its name, but fewer
 * multiprocessors. */
static mvs_status name_model(cuda_device *device, mvs_diag *diag) {
  const mvs_cuda_driver *driver = device->driver;
  int parts, version;
  MVS_TRY(MVS_CUDA(driver, diag, device_attribute, &parts, MVS_CUDA_ATTRIBUTE_MULTIPROCESSORS,
                   device->ordinal));
  MVS_TRY(MVS_CUDA(driver, diag, version, &version));
  snprintf(device->model, sizeof device->model, "%s, %d multiprocessors", device->name, parts);
  snprintf(device->driver_text, sizeof device->driver_text, "driver of CUDA %d.%d",
           version / 1000, version % 1000 / 10);
  return MVS_OK;
}

static mvs_status prepare(cuda_device *device, int threads, mvs_diag *diag) {
  void *context;
  MVS_TRY(mvs_cuda_load(diag, &device->driver));
  MVS_TRY(find_gpu(device, diag));
  MVS_TRY(name_model(device, diag));
  for (size_t at = 0; at < device->program->n_kernels && device->program->n_images; at++)
    MVS_TRY(check_kernel(device->program->kernels[at], diag));
  MVS_TRY(MVS_CUDA(device->driver, diag, context_retain, &context, device->ordinal));
  device->retained = true;
  MVS_TRY(MVS_CUDA(device->driver, diag, context_set, context));
  for (int lane = 0; lane < MVS_LANES; lane++)
    MVS_TRY(MVS_CUDA(device->driver, diag, stream_new, &device->streams[lane],
                     MVS_CUDA_STREAM_OWN));
  MVS_TRY(mvs_cuda_modules_open(&device->gpu, device->program, diag, &device->modules));
  snprintf(device->what, sizeof device->what, "%s, %s", device->name,
           mvs_cuda_modules_what(device->modules));
  open_libraries(device);
  device->table.pool = mvs_pool_new(threads);
  return device->table.pool ? MVS_OK : MVS_FAIL(diag, MVS_ERR_MEMORY, "out of memory");
}

mvs_status mvs_device_open_cuda(const mvs_program *program, int threads, mvs_diag *diag,
                                mvs_device **out) {
  *out = NULL;
  cuda_device *device = calloc(1, sizeof *device);
  if (!device) return MVS_FAIL(diag, MVS_ERR_MEMORY, "out of memory");
  device->table = (mvs_device){.name = "cuda",
                               .what = device->what,
                               .works_alone = true,
                               .alloc = cuda_alloc,
                               .release = cuda_release,
                               .clear = cuda_clear,
                               .copy = cuda_copy,
                               .alloc_staging = cuda_alloc_staging,
                               .release_staging = cuda_release_staging,
                               .send = cuda_send,
                               .fetch = cuda_fetch,
                               .event_new = cuda_event_new,
                               .event_free = cuda_event_free,
                               .signal = cuda_signal,
                               .await = cuda_await,
                               .reach = cuda_reach,
                               .launch = cuda_launch,
                               .set_lane = cuda_set_lane,
                               .synchronize = cuda_synchronize,
                               .available = cuda_available,
                               .prepare = cuda_prepare,
                               .held = cuda_held,
                               .choices = cuda_choices,
                               .adopt = cuda_adopt,
                               .how = cuda_how,
                               .record = cuda_record,
                               .recorded = cuda_recorded,
                               .replay = cuda_replay,
                               .forget = cuda_forget,
                               .mark = cuda_mark,
                               .between = cuda_between,
                               .unmark = cuda_unmark,
                               .close = cuda_close};
  device->program = program;
  mvs_status status = prepare(device, threads, diag);
  if (status != MVS_OK) {
    cuda_close(&device->table);
    return status;
  }
  *out = &device->table;
  return MVS_OK;
}

/* A driver too old or broken counts: what is wrong with it is then told. */
bool mvs_device_cuda_present(const mvs_program *program) {
  return program->n_images > 0 && mvs_cuda_present();
}
