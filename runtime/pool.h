/* pool.h: a thread pool that divides units of work among threads.
 * Owner: the caller of mvs_pool_new frees it. One job runs at a time; a task may not start
 * another. A thread begins with units of its own share of the range, the same in every job,
 * and goes on with what others have left. So which thread does which unit is not fixed, and
 * units must touch disjoint results: then the bits do not depend on the number of threads. */
#ifndef MVS_RUNTIME_POOL_H
#define MVS_RUNTIME_POOL_H

#include <stdint.h>

typedef struct mvs_pool mvs_pool;

/* Does units begin .. end-1. `thread` counts from 0 (the caller's own) to threads-1. */
typedef void mvs_pool_task(void *user, int thread, int64_t begin, int64_t end);

/* Cores that this process may run on, at least 1. */
int mvs_pool_cores(void);
/* Makes a pool of `threads` threads, the caller's included (below 1: mvs_pool_cores()).
 * Fewer threads are used when the system refuses some. NULL when there is no memory. */
mvs_pool *mvs_pool_new(int threads);
/* Ends the threads. NULL is allowed. */
void mvs_pool_free(mvs_pool *pool);
/* Threads that run tasks, the caller's included. */
int mvs_pool_threads(const mvs_pool *pool);
/* Runs `task` over units 0 .. units-1 and returns when all are done. */
void mvs_pool_run(mvs_pool *pool, int64_t units, mvs_pool_task *task, void *user);

#endif
