/* pool.c: one job at a time, cut into grains that threads claim from atomic words.
 *
 * Every thread has a share of neighbouring grains and a seat with a word `claim`, which holds
 * the job's generation (high half) and the share's next free grain (low half). A thread takes
 * the grains of its own share, several at a time, then those that others have left. So the same
 * thread has the same rows in one kernel after another, and finds in its own cache what it
 * wrote before; a share whose thread is late or was put aside is done by whoever is there.
 *
 * What a thread needs to begin stands in one cache line, its seat's: the claim and the job. A
 * line takes 0.1 to 0.2 us from core to core, so a handing over costs as much as its lines are
 * many. For the same reason a thread counts what it has done in a line of its own, which nobody
 * reads before the end.
 *
 * Claiming is a compare-and-swap with the generation joined, so a thread that wakes late,
 * after the job has ended and another begun, claims nothing by mistake. A seat holds two jobs,
 * of the odd and of the even generations: fields are written again two jobs later, when the
 * claim has long left the generation under which a late thread may be reading them, and its
 * swap fails. The caller waits for grains, not for threads. */
#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Steps follow one another within microseconds, a sleeping thread takes about 50 us to wake:
 * idle threads spin for about that long before they sleep. */
#define SPINS_BEFORE_SLEEP 4000
/* After this many rounds of waiting the caller offers its core to whoever holds a chunk. */
#define SPINS_BEFORE_YIELD 2000
/* A job has at most this many grains: one has a unit, or several where units are more. */
#define MOST_GRAINS  (1 << 20)
#define MOST_THREADS 1024
/* A claim is a quarter of what is left of the share, between these parts of the whole share:
 * few enough claims, and a thread that is put aside holds little; towards the end so little
 * that all threads end together. */
#define LEAST_OF_SHARE  64
#define MOST_OF_SHARE   8
#define OF_WHAT_IS_LEFT 4

/* Fields are atomic because a late thread may look at them while the next but one is written.
 */
typedef struct job {
  _Atomic(mvs_pool_task *) task;
  _Atomic(void *) user;
  _Atomic int64_t units;
} job;

/* A thread and its share of the job. The first line is what it waits for. */
typedef struct seat {
  _Alignas(64) _Atomic uint64_t claim;
  job jobs[2]; /* by generation % 2 */
  /* Written by this thread alone: grains it has done since the pool began. */
  _Alignas(64) _Atomic int64_t done;
  mvs_pool *pool;
  int thread;
  pthread_t worker;
} seat;

struct mvs_pool {
  int threads, started;
  seat *seats;
  atomic_bool stop;
  _Atomic int sleepers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
};

/* Tells the core that this is a spin, which spares its sibling. */
static inline void pause_core(void) { __builtin_ia32_pause(); }

/* The job's number. */
static uint32_t generation_of(uint64_t claim) { return (uint32_t)(claim >> 32); }

/* Units of a grain, the last one's aside. */
static int64_t grain_units(int64_t units) { return (units + MOST_GRAINS - 1) / MOST_GRAINS; }

/* Grains of a job. */
static int64_t grains_of(int64_t units) {
  return (units + grain_units(units) - 1) / grain_units(units);
}

/* The first grain of a share; that of the next one ends it. */
static int64_t first_grain(const mvs_pool *pool, int share, int64_t units) {
  return grains_of(units) * share / pool->threads;
}

/* How much to claim of a share of `whole` grains that has `left`, both above 0. */
static int64_t claim_size(int64_t left, int64_t whole) {
  int64_t size = left / OF_WHAT_IS_LEFT;
  int64_t least = whole / LEAST_OF_SHARE, most = whole / MOST_OF_SHARE;
  if (size > most) size = most;
  if (size < least) size = least;
  if (size > left) size = left;
  return size > 0 ? size : 1;
}

/* Does grains from .. to-1 of a job and counts them. */
static void do_grains(seat *own, mvs_pool_task *task, void *user, int64_t units, int64_t from,
                      int64_t to) {
  int64_t each = grain_units(units), end = to * each;
  task(user, own->thread, from * each, end < units ? end : units);
  int64_t done = atomic_load_explicit(&own->done, memory_order_relaxed) + to - from;
  atomic_store_explicit(&own->done, done, memory_order_release);
}

/* Claims and does grains of the share `of` in job `generation` until none is free. */
static void work_share(seat *own, int of, uint32_t generation) {
  seat *from = &own->pool->seats[of];
  job *given = &from->jobs[generation % 2];
  uint64_t claim = atomic_load_explicit(&from->claim, memory_order_acquire);
  if (generation_of(claim) != generation) return;
  /* Acquired before the swap, which fails where they are already of the next job but one. */
  mvs_pool_task *task = atomic_load_explicit(&given->task, memory_order_acquire);
  void *user = atomic_load_explicit(&given->user, memory_order_acquire);
  int64_t units = atomic_load_explicit(&given->units, memory_order_acquire);
  int64_t end = first_grain(own->pool, of + 1, units);
  int64_t whole = end - first_grain(own->pool, of, units);
  while (generation_of(claim) == generation) {
    int64_t grain = (int64_t)(claim & UINT32_MAX);
    if (grain >= end) return;
    int64_t size = claim_size(end - grain, whole);
    if (!atomic_compare_exchange_weak_explicit(&from->claim, &claim, claim + (uint64_t)size,
                                               memory_order_acq_rel, memory_order_acquire))
      continue;
    do_grains(own, task, user, units, grain, grain + size);
    claim = atomic_load_explicit(&from->claim, memory_order_acquire);
  }
}

/* Its own share first, then what is left of the others'. */
static void work(seat *own, uint32_t generation) {
  int threads = own->pool->threads;
  for (int at = 0; at < threads; at++)
    work_share(own, (own->thread + at) % threads, generation);
}

/* Whether the seat's job is another than *seen, which then becomes its number. */
static bool is_new_job(seat *own, memory_order order, uint32_t *seen) {
  uint32_t generation = generation_of(atomic_load_explicit(&own->claim, order));
  bool fresh = generation != *seen;
  *seen = generation;
  return fresh;
}

/* Waits for a job other than *seen, and says which; false when the pool ends. The number is not
 * to be read again behind this: the pool's end has one too, and no job. */
static bool wait_for_job(seat *own, uint32_t *seen) {
  mvs_pool *pool = own->pool;
  for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
    if (is_new_job(own, memory_order_acquire, seen)) return !atomic_load(&pool->stop);
    pause_core();
  }
  pthread_mutex_lock(&pool->lock);
  /* Sequentially consistent with the publisher, which stores the claim and then, behind a
   * fence, looks at sleepers: one of the two sees the other. */
  atomic_fetch_add(&pool->sleepers, 1);
  while (!is_new_job(own, memory_order_seq_cst, seen) && !atomic_load(&pool->stop))
    pthread_cond_wait(&pool->wake, &pool->lock);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->lock);
  return !atomic_load(&pool->stop);
}

/* A job that ended since, and those behind it, are not `seen`'s: nothing is claimed. */
static void *worker_main(void *argument) {
  seat *own = argument;
  uint32_t seen = 0;
  while (wait_for_job(own, &seen)) work(own, seen);
  return NULL;
}

/* Those that the process may use, not those of the machine: containers and taskset limit
 * them. */
int mvs_pool_cores(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int cores = CPU_COUNT(&set);
  return cores < 1 ? 1 : cores;
}

/* A refused thread is no error: the pool is smaller. */
static void start_workers(mvs_pool *pool) {
  for (int at = 0; at < pool->threads; at++) {
    seat *next = &pool->seats[at];
    next->pool = pool;
    next->thread = at;
    if (at == 0) continue; /* the caller's */
    if (pthread_create(&next->worker, NULL, worker_main, next) != 0) break;
    pool->started = at;
  }
  pool->threads = pool->started + 1;
}

/* Threads wait for the first job from here on. */
mvs_pool *mvs_pool_new(int threads) {
  if (threads < 1) threads = mvs_pool_cores();
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  mvs_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  pool->threads = threads;
  pool->seats = aligned_alloc(_Alignof(seat), (size_t)threads * sizeof *pool->seats);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  if (!pool->seats) {
    mvs_pool_free(pool);
    return NULL;
  }
  memset(pool->seats, 0, (size_t)threads * sizeof *pool->seats);
  start_workers(pool);
  return pool;
}

/* The lock orders this after a sleeper's last look at the claim. */
static void wake_sleepers(mvs_pool *pool) {
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

/* No job may be running. */
void mvs_pool_free(mvs_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->stop, true);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  /* A new generation ends the spinning of those not asleep. */
  for (int at = 1; at <= pool->started; at++)
    atomic_fetch_add(&pool->seats[at].claim, (uint64_t)1 << 32);
  for (int at = 1; at <= pool->started; at++) pthread_join(pool->seats[at].worker, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool->seats);
  free(pool);
}

/* Never below 1: the caller works too. */
int mvs_pool_threads(const mvs_pool *pool) { return pool->threads; }

/* Gives every share the job, its number and its own first grain; the caller's comes last, since
 * it begins at once. */
static void open_shares(mvs_pool *pool, uint32_t generation, int64_t units, mvs_pool_task *task,
                        void *user) {
  for (int share = pool->threads - 1; share >= 0; share--) {
    seat *to = &pool->seats[share];
    job *next = &to->jobs[generation % 2];
    atomic_store_explicit(&next->task, task, memory_order_release);
    atomic_store_explicit(&next->user, user, memory_order_release);
    atomic_store_explicit(&next->units, units, memory_order_release);
    uint64_t first = (uint64_t)first_grain(pool, share, units);
    atomic_store_explicit(&to->claim, (uint64_t)generation << 32 | first, memory_order_release);
  }
}

/* Grains that all threads together have done since the pool began. */
static int64_t all_done(const mvs_pool *pool) {
  int64_t sum = 0;
  for (int at = 0; at < pool->threads; at++)
    sum += atomic_load_explicit(&pool->seats[at].done, memory_order_acquire);
  return sum;
}

/* One unit, or one thread, needs no handing over at all. */
void mvs_pool_run(mvs_pool *pool, int64_t units, mvs_pool_task *task, void *user) {
  if (units < 1) return;
  if (pool->threads == 1 || units == 1) {
    task(user, 0, 0, units);
    return;
  }
  int64_t end = all_done(pool) + grains_of(units);
  uint32_t generation = generation_of(atomic_load(&pool->seats[0].claim)) + 1;
  open_shares(pool, generation, units, task, user);
  atomic_thread_fence(memory_order_seq_cst);
  wake_sleepers(pool);
  work(&pool->seats[0], generation);
  for (int spin = 0; all_done(pool) < end; spin++) {
    if (spin < SPINS_BEFORE_YIELD) {
      pause_core();
    } else {
      sched_yield();
    }
  }
}
