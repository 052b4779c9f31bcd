/* pool.c: one job at a time, cut into chunks that threads claim from atomic words.
 *
 * Every thread has a share of neighbouring chunks and a word `claim` for it, with the job's
 * generation (high half) and the share's next free chunk (low half). A thread takes the chunks
 * of its own share, then those that others have left. So the same thread has the same rows in
 * one kernel after another, and finds in its own cache what it wrote before; a share whose
 * thread is late or was put aside is done by whoever is there.
 *
 * Claiming is a compare-and-swap with the generation joined, so a thread that wakes late,
 * after the job has ended and another begun, claims nothing by mistake. While the job's fields
 * are being written the generation is odd: a thread that saw new fields cannot claim under the
 * old number. The caller waits for chunks, not for threads. */
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
/* Chunks per thread: enough to even out unequal speeds, few enough that claiming costs little.
 */
#define CHUNKS_PER_THREAD 8
#define MOST_THREADS      1024

/* A thread and its share of the job. Each has a cache line: neighbours claim at once. */
typedef struct seat {
  _Alignas(64) _Atomic uint64_t claim;
  mvs_pool *pool;
  int thread;
  pthread_t worker;
} seat;

struct mvs_pool {
  int threads, started;
  seat *seats;
  _Atomic int64_t done; /* finished chunks of the job */
  /* The job. Written between jobs only; atomic because a late thread may look at them. */
  _Atomic(mvs_pool_task *) task;
  _Atomic(void *) user;
  _Atomic int64_t units, chunks;
  atomic_bool stop;
  _Atomic int sleepers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
};

/* Tells the core that this is a spin, which spares its sibling. */
static inline void pause_core(void) { __builtin_ia32_pause(); }

/* The job's number; odd while the next job is being written. */
static uint32_t generation_of(uint64_t claim) { return (uint32_t)(claim >> 32); }

/* The first chunk of a share; that of the next one ends it. */
static int64_t first_chunk(const mvs_pool *pool, int share, int64_t chunks) {
  return chunks * share / pool->threads;
}

/* Claims and does chunks of a share in job `generation` until none is free. */
static void work_share(mvs_pool *pool, int thread, int share, uint32_t generation) {
  _Atomic uint64_t *word = &pool->seats[share].claim;
  uint64_t claim = atomic_load_explicit(word, memory_order_acquire);
  while (generation_of(claim) == generation) {
    mvs_pool_task *task = atomic_load_explicit(&pool->task, memory_order_relaxed);
    void *user = atomic_load_explicit(&pool->user, memory_order_relaxed);
    int64_t units = atomic_load_explicit(&pool->units, memory_order_relaxed);
    int64_t chunks = atomic_load_explicit(&pool->chunks, memory_order_relaxed);
    int64_t chunk = (int64_t)(claim & UINT32_MAX);
    if (chunk >= first_chunk(pool, share + 1, chunks)) return;
    atomic_thread_fence(memory_order_acquire);
    if (!atomic_compare_exchange_weak_explicit(word, &claim, claim + 1, memory_order_acq_rel,
                                               memory_order_acquire))
      continue;
    int64_t part = units / chunks, rest = units % chunks;
    int64_t begin = chunk * part + (chunk < rest ? chunk : rest);
    task(user, thread, begin, begin + part + (chunk < rest));
    atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
    claim = atomic_load_explicit(word, memory_order_acquire);
  }
}

/* Its own share first, then what is left of the others'. */
static void work(mvs_pool *pool, int thread, uint32_t generation) {
  for (int at = 0; at < pool->threads; at++)
    work_share(pool, thread, (thread + at) % pool->threads, generation);
}

/* An odd generation is a job still being written. */
static bool is_new_job(uint64_t claim, uint32_t seen) {
  uint32_t generation = generation_of(claim);
  return generation != seen && generation % 2 == 0;
}

/* Waits for a job other than `seen`; false when the pool ends. */
static bool wait_for_job(seat *own, uint32_t seen) {
  mvs_pool *pool = own->pool;
  for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
    if (is_new_job(atomic_load_explicit(&own->claim, memory_order_acquire), seen))
      return !atomic_load(&pool->stop);
    pause_core();
  }
  pthread_mutex_lock(&pool->lock);
  /* Sequentially consistent with the publisher, which stores the claim and then looks at
   * sleepers: one of the two sees the other. */
  atomic_fetch_add(&pool->sleepers, 1);
  while (!is_new_job(atomic_load(&own->claim), seen) && !atomic_load(&pool->stop))
    pthread_cond_wait(&pool->wake, &pool->lock);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->lock);
  return !atomic_load(&pool->stop);
}

/* Looks again at the claim, since a job may have ended and another begun since it was woken. */
static void *worker_main(void *argument) {
  seat *own = argument;
  uint32_t seen = 0;
  while (wait_for_job(own, seen)) {
    seen = generation_of(atomic_load_explicit(&own->claim, memory_order_acquire));
    if (seen % 2) continue;
    work(own->pool, own->thread, seen);
  }
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
  for (int at = 1; at < pool->threads; at++) {
    seat *next = &pool->seats[at];
    next->pool = pool;
    next->thread = at;
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
    atomic_fetch_add(&pool->seats[at].claim, (uint64_t)2 << 32);
  for (int at = 1; at <= pool->started; at++) pthread_join(pool->seats[at].worker, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool->seats);
  free(pool);
}

/* Never below 1: the caller works too. */
int mvs_pool_threads(const mvs_pool *pool) { return pool->threads; }

/* Gives every share the job's number and its own first chunk. */
static void open_shares(mvs_pool *pool, uint32_t generation, int64_t chunks) {
  for (int share = 0; share < pool->threads; share++)
    atomic_store(&pool->seats[share].claim,
                 (uint64_t)generation << 32 | (uint64_t)first_chunk(pool, share, chunks));
}

/* One unit, or one thread, needs no handing over at all. */
void mvs_pool_run(mvs_pool *pool, int64_t units, mvs_pool_task *task, void *user) {
  if (units < 1) return;
  if (pool->threads == 1 || units == 1) {
    task(user, 0, 0, units);
    return;
  }
  int64_t chunks = (int64_t)pool->threads * CHUNKS_PER_THREAD;
  if (chunks > units) chunks = units;
  uint32_t generation = generation_of(atomic_load(&pool->seats[0].claim)) + 1;
  open_shares(pool, generation++, 0);
  atomic_thread_fence(memory_order_release);
  atomic_store_explicit(&pool->task, task, memory_order_relaxed);
  atomic_store_explicit(&pool->user, user, memory_order_relaxed);
  atomic_store_explicit(&pool->units, units, memory_order_relaxed);
  atomic_store_explicit(&pool->chunks, chunks, memory_order_relaxed);
  atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
  open_shares(pool, generation, chunks);
  wake_sleepers(pool);
  work(pool, 0, generation);
  for (int spin = 0; atomic_load_explicit(&pool->done, memory_order_acquire) < chunks; spin++) {
    if (spin < SPINS_BEFORE_YIELD) {
      pause_core();
    } else {
      sched_yield();
    }
  }
}
