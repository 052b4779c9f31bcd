/* device_host.c: the host as a device: plain memory, native kernels, a thread pool.
 *
 * A kernel is a list of stages, a stage a list of nests, a nest a function over a range of
 * units. Stages run one after another; the units of a stage are handed to the pool in
 * chunks, in any order, since they write disjoint memory. Of several launches a plan says which
 * stages are one job of the pool (chain.h). Everything is done when a launch
 * returns, so synchronize has nothing to do. The code is position-independent, calls
 * nothing, and gets its operands and a stretch of scratch per thread through mvs_host_call. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "compiler/base/checked.h"
#include "runtime/chain.h"
#include "runtime/fail.h"
#include "runtime/host_level.h"
#include "runtime/pool.h"
#include "runtime/progress.h"

#define ALIGNMENT 64
/* From this size on memory is asked for in huge pages: fewer misses of the address cache. */
#define HUGE_PAGE  ((int64_t)2 << 20)
#define MOST_NESTS 64
/* Plans are kept by what they are of. A training run has one for every 64 launches of a step.
 */
#define MOST_PLANS 4096

/* What a plan depends on: kernels, batches and addresses. */
typedef struct kept_plan {
  uint64_t hash;
  size_t words;
  const uint64_t *key;
  mvs_chain_plan plan;
  struct kept_plan *next;
} kept_plan;

typedef struct plan_cache {
  mvs_arena *arena; /* NULL before the first plan */
  kept_plan *slots[MOST_PLANS];
  size_t count;
  uint64_t key[MVS_LAUNCHES_TOGETHER * (2 + MVS_LAUNCH_OPERANDS)]; /* the one being asked for */
} plan_cache;

typedef struct host_device {
  mvs_device table;
  const mvs_program *program;
  unsigned char *code; /* executable copy of the program's host code, NULL when loaded by JIT */
  size_t code_bytes;
  unsigned char *scratch; /* one stretch per thread */
  int64_t scratch_bytes;
  plan_cache plans;
} host_device;

/* One job being run. Without blocks the units of all its parts stand in one range. */
typedef struct job_run {
  const host_device *device;
  const mvs_launch *launches;
  const mvs_chain_job *job;
  int64_t first_unit[MVS_LAUNCHES_TOGETHER + 1];
} job_run;

/* The size is rounded up to the alignment, as aligned_alloc wants it; contents are
 * undefined. */
static mvs_status host_alloc(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out) {
  (void)device;
  *out = NULL;
  int64_t rounded;
  size_t alignment = bytes >= 2 * HUGE_PAGE ? (size_t)HUGE_PAGE : ALIGNMENT;
  bool fits = bytes >= 0 && mvs_add(bytes, (int64_t)alignment, &rounded);
  rounded = fits ? rounded / (int64_t)alignment * (int64_t)alignment : 0;
  void *memory = fits ? aligned_alloc(alignment, (size_t)rounded) : NULL;
  if (!memory)
    return MVS_FAIL(diag, MVS_ERR_MEMORY, "cannot allocate %" PRId64 " bytes of memory", bytes);
  if (alignment > ALIGNMENT) madvise(memory, (size_t)rounded, MADV_HUGEPAGE);
  *out = memory;
  return MVS_OK;
}

/* NULL is allowed, as by free. */
static void host_release(mvs_device *device, void *memory) {
  (void)device;
  free(memory);
}

/* All bytes zero is 0.0 in every dtype. */
static void host_clear(mvs_device *device, void *memory, int64_t bytes) {
  (void)device;
  if (bytes > 0) memset(memory, 0, (size_t)bytes);
}

/* All three kinds are the same here. */
static void host_copy(mvs_device *device, void *to, const void *from, int64_t bytes,
                      mvs_copy kind) {
  (void)device, (void)kind;
  if (bytes > 0 && to != from) memmove(to, from, (size_t)bytes);
}

/* Any memory will do: the host is the device. */
static void host_send(mvs_device *device, void *to, const void *staging, int64_t bytes) {
  host_copy(device, to, staging, bytes, MVS_COPY_WITHIN);
}

/* Done when it returns, like everything here. */
static void host_fetch(mvs_device *device, void *staging, const void *from, int64_t bytes) {
  host_copy(device, staging, from, bytes, MVS_COPY_WITHIN);
}

/* Nothing is ever under way, so one event, always reached, stands for all. */
static mvs_status host_event_new(mvs_device *device, mvs_diag *diag, void **out) {
  (void)diag;
  *out = device;
  return MVS_OK;
}

static void host_event_free(mvs_device *device, void *event) { (void)device, (void)event; }

static void host_event_pass(mvs_device *device, void *event, mvs_lane lane) {
  (void)device, (void)event, (void)lane;
}

static mvs_status host_reach(mvs_device *device, void *event, mvs_diag *diag) {
  (void)device, (void)event, (void)diag;
  return MVS_OK;
}

/* Addresses are offsets into the copied code, or absolute when a JIT loaded it. */
static mvs_host_kernel *kernel_of(const host_device *device, const Mvs__Nest *nest) {
  uintptr_t address = (uintptr_t)nest->address;
  if (device->code) address += (uintptr_t)device->code;
  return (mvs_host_kernel *)address;
}

static const Mvs__Stage *stage_of(const job_run *run, const mvs_chain_part *part) {
  const mvs_launch *launch = &run->launches[part->launch];
  return run->device->program->kernels[launch->kernel]->stages[part->stage];
}

static mvs_host_call call_of(const job_run *run, const mvs_chain_part *part, int thread) {
  const mvs_launch *launch = &run->launches[part->launch];
  return (mvs_host_call){.operands = launch->operands,
                         .batch = launch->batch,
                         .layer = launch->layer,
                         .scratch = run->device->scratch + thread * run->device->scratch_bytes};
}

/* Units of all nests of a stage stand behind one another. */
static int64_t units_of(const Mvs__Stage *stage, int64_t batch) {
  int64_t units = 0;
  for (size_t at = 0; at < stage->n_nests; at++)
    units += mvs_nest_units(stage->nests[at], batch);
  return units;
}

/* A range of a part's units may touch several nests. */
static void run_part(const job_run *run, const mvs_chain_part *part, int thread, int64_t begin,
                     int64_t end) {
  const Mvs__Stage *stage = stage_of(run, part);
  mvs_host_call call = call_of(run, part, thread);
  for (size_t at = 0; at < stage->n_nests; at++) {
    int64_t units = mvs_nest_units(stage->nests[at], call.batch);
    int64_t from = begin > 0 ? begin : 0, to = end < units ? end : units;
    if (from < to) kernel_of(run->device, stage->nests[at])(&call, from, to);
    begin -= units, end -= units;
  }
}

/* And units of all parts likewise. */
static void run_units(void *user, int thread, int64_t begin, int64_t end) {
  const job_run *run = user;
  for (size_t at = 0; at < run->job->count; at++) {
    int64_t first = run->first_unit[at], last = run->first_unit[at + 1];
    if (begin < last && end > first)
      run_part(run, &run->job->parts[at], thread, begin - first, end - first);
  }
}

/* Blocks begin .. end-1 of one part, all at once. */
static void run_block(const job_run *run, const mvs_chain_part *part, int thread, int64_t begin,
                      int64_t end) {
  const Mvs__Stage *stage = stage_of(run, part);
  mvs_host_call call = call_of(run, part, thread);
  for (size_t at = 0; at < stage->n_nests; at++) {
    const Mvs__Nest *nest = stage->nests[at];
    int64_t rows = mvs_chain_rows(nest, call.batch, run->job->blocks);
    call.before = begin * rows;
    call.behind = (run->job->blocks - end) * rows;
    int64_t units = mvs_nest_units_of(nest, call.batch, (end - begin) * rows);
    kernel_of(run->device, nest)(&call, 0, units);
  }
}

/* A chain: all parts on the blocks of a turn, then on those of the next one. */
static void run_turns(void *user, int thread, int64_t begin, int64_t end) {
  const job_run *run = user;
  int64_t blocks = run->job->blocks, turns = run->job->turns;
  for (int64_t turn = begin; turn < end; turn++) {
    int64_t from = blocks * turn / turns, to = blocks * (turn + 1) / turns;
    for (size_t at = 0; at < run->job->count; at++)
      run_block(run, &run->job->parts[at], thread, from, to);
  }
}

static void run_job(host_device *device, const mvs_launch *launches, const mvs_chain_job *job) {
  job_run run = {.device = device, .launches = launches, .job = job};
  for (size_t at = 0; at < job->count && !job->blocks; at++) {
    int64_t batch = launches[job->parts[at].launch].batch;
    run.first_unit[at + 1] =
        run.first_unit[at] + units_of(stage_of(&run, &job->parts[at]), batch);
  }
  int64_t units = job->blocks ? job->turns : run.first_unit[job->count];
  mvs_pool_task *task = job->blocks ? run_turns : run_units;
  if (job->worth_threads) {
    mvs_pool_run(device->table.pool, units, task, &run);
  } else if (units > 0) {
    task(&run, 0, 0, units);
  }
}

static void forget_plans(plan_cache *cache) {
  mvs_arena_free(cache->arena);
  cache->arena = NULL;
  cache->count = 0;
  memset(cache->slots, 0, sizeof cache->slots);
}

/* The plan of these launches, made where it is not there. Too many are forgotten all at once:
 * no run has so many. */
static const mvs_chain_plan *plan_of(host_device *device, const mvs_launch *launches,
                                     size_t count) {
  plan_cache *cache = &device->plans;
  size_t words = 0;
  for (size_t at = 0; at < count; at++) {
    cache->key[words++] = launches[at].kernel;
    cache->key[words++] = (uint64_t)launches[at].batch;
    for (size_t k = 0; k < launches[at].operand_count; k++)
      cache->key[words++] = (uint64_t)(uintptr_t)launches[at].operands[k];
  }
  uint64_t hash = XXH3_64bits(cache->key, words * sizeof *cache->key);
  kept_plan **slot = &cache->slots[hash % MOST_PLANS];
  for (kept_plan *each = *slot; each; each = each->next)
    if (each->hash == hash && each->words == words &&
        memcmp(each->key, cache->key, words * sizeof *cache->key) == 0)
      return &each->plan;
  if (cache->count == MOST_PLANS) forget_plans(cache);
  if (!cache->arena) cache->arena = mvs_arena_new();
  kept_plan *fresh = MVS_NEW(cache->arena, kept_plan);
  uint64_t *key = MVS_ARRAY(cache->arena, words, uint64_t);
  memcpy(key, cache->key, words * sizeof *key);
  *fresh = (kept_plan){hash, words, key, {NULL, 0}, *slot};
  fresh->plan = mvs_chain_plan_new(cache->arena, device->program, launches, count,
                                   mvs_pool_threads(device->table.pool));
  cache->count++;
  return &(*slot = fresh)->plan;
}

/* Stages wait for one another; within one, units run in any order. */
static void host_launch(mvs_device *table, const mvs_launch *launch) {
  host_device *device = (host_device *)table;
  const Mvs__Kernel *kernel = device->program->kernels[launch->kernel];
  for (size_t stage = 0; stage < kernel->n_stages; stage++) {
    mvs_chain_part part = {0, (uint16_t)stage};
    mvs_chain_job job = {&part, 1, 0, 0, mvs_chain_worth_threads(device->program, launch)};
    run_job(device, launch, &job);
  }
}

/* Jobs wait for one another; within one, threads do not. One thread waits for nobody. */
static void host_launch_all(mvs_device *table, const mvs_launch *launches, size_t count) {
  host_device *device = (host_device *)table;
  for (size_t at = 0; at < count && mvs_pool_threads(table->pool) == 1; at++)
    host_launch(table, &launches[at]);
  if (mvs_pool_threads(table->pool) == 1) return;
  const mvs_chain_plan *plan = plan_of(device, launches, count);
  for (size_t at = 0; at < plan->count; at++) run_job(device, launches, &plan->jobs[at]);
}

/* Launches have finished when they return. */
static mvs_status host_synchronize(mvs_device *device, mvs_diag *diag) {
  (void)device, (void)diag;
  return MVS_OK;
}

/* Reads the number behind `key` in a file of "key: number kB" lines, or the file's first number
 * when key is NULL; -1 when there is none ("max" of an unlimited group, for example). */
static int64_t number_in(const char *path, const char *key) {
  FILE *file = fopen(path, "re");
  if (!file) return -1;
  char line[256];
  int64_t found = -1;
  while (found < 0 && fgets(line, sizeof line, file)) {
    size_t skip = key ? strlen(key) : 0;
    if (key && strncmp(line, key, skip) != 0) continue;
    char *end;
    errno = 0;
    long long value = strtoll(line + skip, &end, 10);
    if (end == line + skip || errno || value < 0) break;
    found = value;
  }
  fclose(file);
  return found;
}

/* The smaller of what the machine and the control group of this process have left. */
static int64_t host_available(mvs_device *device) {
  (void)device;
  int64_t kilobytes = number_in("/proc/meminfo", "MemAvailable:");
  int64_t bytes = kilobytes < 0 ? INT64_MAX : kilobytes * 1024;
  int64_t limit = number_in("/sys/fs/cgroup/memory.max", NULL);
  int64_t used = number_in("/sys/fs/cgroup/memory.current", NULL);
  if (limit >= 0 && used >= 0 && limit - used < bytes) bytes = limit > used ? limit - used : 0;
  return bytes;
}

/* Every host kernel is generated; there are no libraries to choose from. */
static const char *host_how(mvs_device *device, uint32_t kernel, int64_t batch) {
  (void)device, (void)kernel, (void)batch;
  return "generated";
}

/* Work is done when its call returns, so the clock tells. */
static void *host_mark(mvs_device *device) {
  double *mark = mvs_malloc(sizeof *mark);
  (void)device;
  *mark = mvs_seconds();
  return mark;
}

static double host_between(mvs_device *device, void *from, void *to) {
  (void)device;
  return *(const double *)to - *(const double *)from;
}

static void host_unmark(mvs_device *device, void *mark) {
  (void)device;
  free(mark);
}

/* Also takes a device that was only half opened. */
static void host_close(mvs_device *table) {
  host_device *device = (host_device *)table;
  if (!device) return;
  mvs_pool_free(device->table.pool);
  if (device->code) munmap(device->code, device->code_bytes);
  mvs_arena_free(device->plans.arena);
  free(device->scratch);
  free(device);
}

/* Copies the code where it may run. The copy is written first and made executable after, so
 * that memory is never writable and executable at once. */
static mvs_status map_code(host_device *device, mvs_diag *diag) {
  const ProtobufCBinaryData *code = &device->program->host_code;
  if (code->len == 0) return MVS_OK;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  device->code_bytes = (code->len + page - 1) / page * page;
  void *place = mmap(NULL, device->code_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED)
    return MVS_FAIL(diag, MVS_ERR_MEMORY, "cannot map the program's code: %s", strerror(errno));
  device->code = place;
  memcpy(place, code->data, code->len);
  if (mprotect(place, device->code_bytes, PROT_READ | PROT_EXEC) != 0)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "cannot make the program's code executable: %s",
                    strerror(errno));
  return MVS_OK;
}

/* Addresses and counts come from a checksummed file, but a wrong one would jump anywhere. */
static bool stage_is_sound(const host_device *device, const Mvs__Stage *stage) {
  bool sound = stage->n_nests > 0 && stage->n_nests <= MOST_NESTS;
  for (size_t nest = 0; sound && nest < stage->n_nests; nest++)
    sound = device->code ? stage->nests[nest]->address < device->program->host_code.len
                         : stage->nests[nest]->address != 0;
  return sound;
}

static mvs_status check_kernels(host_device *device, mvs_diag *diag) {
  const mvs_program *program = device->program;
  for (size_t at = 0; at < program->n_kernels; at++) {
    const Mvs__Kernel *kernel = program->kernels[at];
    if (kernel->scratch > device->scratch_bytes) device->scratch_bytes = kernel->scratch;
    bool sound = kernel->n_stages > 0;
    for (size_t stage = 0; sound && stage < kernel->n_stages; stage++)
      sound = stage_is_sound(device, kernel->stages[stage]);
    if (!sound)
      return MVS_FAIL(diag, MVS_ERR_INTERNAL,
                      "internal: kernel '%s' of the program has no usable host code",
                      kernel->name);
  }
  return MVS_OK;
}

/* The processor is checked before anything of the program's code is touched. */
static mvs_status host_prepare(host_device *device, int threads, mvs_diag *diag) {
  mvs_cpu_level level;
  MVS_TRY(mvs_host_level(device->program, diag, &level));
  device->table.what = mvs_cpu_name(level);
  MVS_TRY(map_code(device, diag));
  MVS_TRY(check_kernels(device, diag));
  device->table.pool = mvs_pool_new(threads);
  if (!device->table.pool) return MVS_FAIL(diag, MVS_ERR_MEMORY, "out of memory");
  device->scratch_bytes = (device->scratch_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  size_t bytes = (size_t)device->scratch_bytes * (size_t)mvs_pool_threads(device->table.pool);
  device->scratch = aligned_alloc(ALIGNMENT, bytes + ALIGNMENT);
  if (!device->scratch) return MVS_FAIL(diag, MVS_ERR_MEMORY, "out of memory");
  return MVS_OK;
}

/* The program must outlive the device, which points into its tables. */
mvs_status mvs_device_open_host(const mvs_program *program, int threads, mvs_diag *diag,
                                mvs_device **out) {
  *out = NULL;
  host_device *device = calloc(1, sizeof *device);
  if (!device) return MVS_FAIL(diag, MVS_ERR_MEMORY, "out of memory");
  device->table = (mvs_device){.name = "cpu",
                               .alloc = host_alloc,
                               .release = host_release,
                               .clear = host_clear,
                               .copy = host_copy,
                               .alloc_staging = host_alloc,
                               .release_staging = host_release,
                               .send = host_send,
                               .fetch = host_fetch,
                               .event_new = host_event_new,
                               .event_free = host_event_free,
                               .signal = host_event_pass,
                               .await = host_event_pass,
                               .reach = host_reach,
                               .launch = host_launch,
                               .launch_all = host_launch_all,
                               .synchronize = host_synchronize,
                               .available = host_available,
                               .how = host_how,
                               .mark = host_mark,
                               .between = host_between,
                               .unmark = host_unmark,
                               .close = host_close};
  device->program = program;
  mvs_status status = host_prepare(device, threads, diag);
  if (status != MVS_OK) {
    host_close(&device->table);
    return status;
  }
  *out = &device->table;
  return MVS_OK;
}
