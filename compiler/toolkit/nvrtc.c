/* nvrtc.c: one program per kernel. Sources of several kernels would take a quarter less time
 * (one start of the front end for all), but a kernel that stands alone is found in the cache
 * whatever stands beside it: models of any depth have nearly all kernels in common. */
#include "compiler/toolkit/nvrtc.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "compiler/toolkit/cache.h"
#include "compiler/toolkit/nvrtc_calls.h"

/* A compiler takes some tens of megabytes: more threads than this are not worth them. */
#define MOST_THREADS 32
/* Of all images; part of the cache's key. No contraction: docs/numerics.md fixes every
 * rounding. -v puts registers and spills into the log. */
static const char *const options[] = {"--fmad=false", "--ptxas-options=-v"};
#define OPTION_COUNT (sizeof options / sizeof *options)
/* Changes when the meaning of an entry does. */
#define CACHE_FORMAT "mvcc cuda 1"

/* --- one image --- */

/* Every path that a source may hold is in the comment that it starts with: the same kernel of
 * the same model elsewhere has the same entry. */
static const char *skip_comment(const char *text) {
  const char *end = strncmp(text, "/*", 2) == 0 ? strstr(text, "*/") : NULL;
  return end ? end + 2 : text;
}

/* Whatever may change the code is in it; the kernel's name is part of the text. */
static mvs_cache_key key_of(const mvs_nvrtc_image *image) {
  const char *parts[4 + OPTION_COUNT] = {CACHE_FORMAT, mvs_nvrtc_calls()->identity,
                                         image->architecture, skip_comment(image->text)};
  for (size_t at = 0; at < OPTION_COUNT; at++) parts[4 + at] = options[at];
  return mvs_cache_key_of(parts, 4 + OPTION_COUNT);
}

/* A log that cannot be had is empty: it is asked for registers and spills as well. */
static const char *read_log(mvs_arena *arena, mvs_nvrtc_program program) {
  size_t size = 0;
  if (mvs_nvrtc_calls()->log_size(program, &size) != 0 || size == 0) return "";
  char *log = mvs_arena_alloc(arena, size + 1);
  return mvs_nvrtc_calls()->log(program, log) == 0 ? log : "";
}

/* Finds the largest number that stands before `word` anywhere in the log. */
static int largest_before(const char *log, const char *word) {
  int most = 0;
  for (const char *at = log; (at = strstr(at, word)) != NULL; at += strlen(word)) {
    const char *digit = at;
    while (digit > log && digit[-1] >= '0' && digit[-1] <= '9') --digit;
    int number = (int)strtol(digit, NULL, 10);
    if (number > most) most = number;
  }
  return most;
}

static mvs_status check(mvs_diag *diag, const char *call, int result) {
  if (result == 0) return MVS_OK;
  mvs_diag_error(diag, (mvs_span){0}, "%s: %s", call, mvs_nvrtc_calls()->error_string(result));
  return MVS_ERR_DEVICE;
}

/* The line of the log that has the error, or its first line: warnings may come before it. */
static mvs_status refused(mvs_diag *diag, const mvs_nvrtc_image *image, const char *log,
                          int result) {
  const char *words = *log ? log : mvs_nvrtc_calls()->error_string(result);
  const char *error = strstr(words, "error");
  while (error && error > words && error[-1] != '\n') error--;
  if (error) words = error;
  mvs_diag_error(diag, (mvs_span){0}, "nvrtcCompileProgram: kernel %s for %s: %.*s",
                 image->name, image->architecture, (int)strcspn(words, "\n"), words);
  return MVS_ERR_DEVICE;
}

/* PTX is text with its end, which the size counts. */
static mvs_status take(mvs_arena *arena, mvs_diag *diag, mvs_nvrtc_program program,
                       mvs_nvrtc_image *image) {
  const mvs_nvrtc *calls = mvs_nvrtc_calls();
  bool ptx = strncmp(image->architecture, "compute_", 8) == 0;
  size_t size = 0;
  MVS_TRY(check(diag, ptx ? "nvrtcGetPTXSize" : "nvrtcGetCUBINSize",
                (ptx ? calls->ptx_size : calls->cubin_size)(program, &size)));
  char *bytes = mvs_arena_alloc(arena, size);
  MVS_TRY(check(diag, ptx ? "nvrtcGetPTX" : "nvrtcGetCUBIN",
                (ptx ? calls->ptx : calls->cubin)(program, bytes)));
  image->data = bytes;
  image->size = size;
  return MVS_OK;
}

static mvs_status build(mvs_arena *arena, mvs_diag *diag, mvs_nvrtc_image *image) {
  const mvs_nvrtc *calls = mvs_nvrtc_calls();
  const char *all[1 + OPTION_COUNT] = {
      mvs_arena_format(arena, "--gpu-architecture=%s", image->architecture)};
  for (size_t at = 0; at < OPTION_COUNT; at++) all[1 + at] = options[at];
  mvs_nvrtc_program program = NULL;
  MVS_TRY(check(diag, "nvrtcCreateProgram",
                calls->create(&program, image->text, image->name, 0, NULL, NULL)));
  int result = calls->compile(program, 1 + (int)OPTION_COUNT, all);
  const char *log = read_log(arena, program);
  mvs_status status =
      result ? refused(diag, image, log, result) : take(arena, diag, program, image);
  image->registers = largest_before(log, " registers");
  image->spill_bytes = largest_before(log, " bytes spill stores");
  calls->destroy(&program);
  return status;
}

/* From disk or anew. What the cache cannot keep is compiled again next time, without a word. */
static mvs_status compile_one(mvs_arena *arena, mvs_diag *diag, const char *folder,
                              mvs_nvrtc_image *image) {
  mvs_cache_key key = key_of(image);
  mvs_cache_entry entry;
  image->cached = folder && mvs_cache_get(arena, folder, key, &entry);
  if (image->cached) {
    image->data = entry.data;
    image->size = entry.size;
    image->registers = entry.registers;
    image->spill_bytes = entry.spill_bytes;
    return MVS_OK;
  }
  MVS_TRY(build(arena, diag, image));
  entry = (mvs_cache_entry){image->data, image->size, image->registers, image->spill_bytes};
  if (folder) mvs_cache_put(folder, key, &entry);
  return MVS_OK;
}

/* --- all images --- */

typedef struct shared_work {
  mvs_nvrtc_image *images;
  size_t count;
  const char *folder; /* of the cache; NULL: none */
  atomic_size_t next;
  atomic_bool failed;
} shared_work;

typedef struct worker {
  shared_work *work;
  mvs_arena *arena; /* of this thread alone */
  mvs_diag *diag;
  mvs_status status;
  size_t failed_at;
  pthread_t thread;
  bool running;
} worker;

/* Images are taken in order and one that was taken is finished, so the first that fails is the
 * same in every run. */
static void take_images(worker *self) {
  shared_work *work = self->work;
  while (self->status == MVS_OK && !atomic_load(&work->failed)) {
    size_t at = atomic_fetch_add(&work->next, 1);
    if (at >= work->count) break;
    self->status = compile_one(self->arena, self->diag, work->folder, &work->images[at]);
    self->failed_at = at;
  }
}

/* Memory that runs out is told by the caller, whose own it may be: this thread has none. */
static void *run_worker(void *argument) {
  worker *self = argument;
  jmp_buf exhausted, *before = mvs_arena_on_oom(&exhausted);
  if (setjmp(exhausted)) {
    self->status = MVS_ERR_MEMORY;
  } else {
    take_images(self);
  }
  mvs_arena_on_oom(before);
  if (self->status != MVS_OK) atomic_store(&self->work->failed, true);
  return NULL;
}

/* NVRTC compiles in the calling thread, and lets several do so at once. */
static size_t thread_count(size_t count) {
  cpu_set_t cores;
  int usable = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
  size_t most = usable < MOST_THREADS ? (size_t)usable : MOST_THREADS;
  return count < most ? count : most;
}

/* The caller is the first worker; a thread that cannot be had leaves its work to the others. */
static void run_all(worker *workers, size_t threads) {
  for (size_t at = 1; at < threads; at++)
    workers[at].running =
        pthread_create(&workers[at].thread, NULL, run_worker, &workers[at]) == 0;
  run_worker(&workers[0]);
  for (size_t at = 1; at < threads; at++)
    if (workers[at].running) pthread_join(workers[at].thread, NULL);
}

/* Results leave the threads' arenas, which then go. */
static void keep(mvs_arena *arena, mvs_nvrtc_image *image) {
  image->data = mvs_arena_copy(arena, image->data, image->size);
}

mvs_status mvs_nvrtc_compile(mvs_arena *arena, mvs_diag *diag, mvs_nvrtc_image *images,
                             size_t count) {
  worker workers[MOST_THREADS] = {0};
  const worker *first = NULL;
  size_t threads = thread_count(count);
  shared_work work = {.images = images, .count = count, .folder = mvs_cache_folder(arena)};
  for (size_t at = 0; at < threads; at++) {
    mvs_arena *own = mvs_arena_new();
    workers[at] = (worker){.work = &work, .arena = own, .diag = mvs_diag_new(own)};
  }
  if (count) run_all(workers, threads);
  for (size_t at = 0; at < threads; at++)
    if (workers[at].status != MVS_OK && (!first || workers[at].failed_at < first->failed_at))
      first = &workers[at];
  if (first) mvs_diag_join(diag, first->diag);
  if (first && first->status == MVS_ERR_MEMORY)
    mvs_diag_error(diag, (mvs_span){0}, "out of memory in NVRTC's threads");
  mvs_status status = first ? first->status : MVS_OK;
  for (size_t at = 0; status == MVS_OK && at < count; at++) keep(arena, &images[at]);
  for (size_t at = 0; at < threads; at++) mvs_arena_free(workers[at].arena);
  return status;
}
