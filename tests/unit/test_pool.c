/* test_pool.c: every unit is done exactly once, by however many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/pool.h"

#define MOST_UNITS 4096

typedef struct tally {
  int threads;
  _Atomic int done[MOST_UNITS];
  _Atomic int bad_thread;
} tally;

static void count_units(void *user, int thread, int64_t begin, int64_t end) {
  tally *all = user;
  if (thread < 0 || thread >= all->threads) all->bad_thread = 1;
  for (int64_t at = begin; at < end; at++) atomic_fetch_add(&all->done[at], 1);
}

static void check_jobs(int threads, int64_t units, int jobs) {
  mvs_pool *pool = mvs_pool_new(threads);
  tally *all = calloc(1, sizeof *all);
  assert_non_null(pool);
  assert_non_null(all);
  all->threads = mvs_pool_threads(pool);
  for (int job = 0; job < jobs; job++) mvs_pool_run(pool, units, count_units, all);
  for (int64_t at = 0; at < MOST_UNITS; at++)
    assert_int_equal(all->done[at], at < units ? jobs : 0);
  assert_int_equal(all->bad_thread, 0);
  free(all);
  mvs_pool_free(pool);
}

static void every_unit_once(void **state) {
  (void)state;
  const int64_t units[] = {0, 1, 2, 7, 64, 1000, MOST_UNITS};
  for (int threads = 1; threads <= 5; threads++)
    for (size_t at = 0; at < sizeof units / sizeof *units; at++)
      check_jobs(threads, units[at], 3);
}

/* More threads than cores and jobs of a few nanoseconds: threads wake late, into later jobs. */
static void many_small_jobs(void **state) {
  (void)state;
  check_jobs(8, 3, 20000);
  check_jobs(3, 100, 5000);
}

static void ends_without_work(void **state) {
  (void)state;
  for (int round = 0; round < 50; round++) mvs_pool_free(mvs_pool_new(4));
  mvs_pool_free(NULL);
}

static void default_is_all_cores(void **state) {
  (void)state;
  mvs_pool *pool = mvs_pool_new(0);
  assert_int_equal(mvs_pool_threads(pool), mvs_pool_cores());
  mvs_pool_free(pool);
}

/* Plain memory goes from the caller to whoever works and back: nothing but the pool orders the
 * accesses, which tests/e2e/threads.sh proves under ThreadSanitizer. */
typedef struct handover {
  int64_t in[MOST_UNITS], out[MOST_UNITS];
} handover;

static void square_units(void *user, int thread, int64_t begin, int64_t end) {
  handover *all = user;
  (void)thread;
  for (int64_t at = begin; at < end; at++) all->out[at] = all->in[at] * all->in[at];
}

static void memory_is_handed_over(void **state) {
  (void)state;
  mvs_pool *pool = mvs_pool_new(4);
  handover *all = calloc(1, sizeof *all);
  assert_non_null(all);
  for (int job = 0; job < 500; job++) {
    int64_t units = 1 + job * 7 % 200;
    for (int64_t at = 0; at < units; at++) all->in[at] = job + at;
    mvs_pool_run(pool, units, square_units, all);
    for (int64_t at = 0; at < units; at++)
      assert_int_equal(all->out[at], (job + at) * (job + at));
  }
  free(all);
  mvs_pool_free(pool);
}

/* One thread is stuck in its first unit until all others are done: whoever is there has to take
 * what is left of its share. */
typedef struct stuck {
  _Atomic int units_begun, units_done, given_up;
} stuck;

static void wait_for_others(void *user, int thread, int64_t begin, int64_t end) {
  stuck *all = user;
  (void)thread;
  for (int64_t at = begin; at < end; at++) {
    bool first = atomic_fetch_add(&all->units_begun, 1) == 0;
    time_t limit = time(NULL) + 60;
    while (first && all->units_done < MOST_UNITS - (int)(end - at) && !all->given_up)
      if (time(NULL) > limit) all->given_up = 1;
    atomic_fetch_add(&all->units_done, 1);
  }
}

static void shares_are_taken_over(void **state) {
  (void)state;
  mvs_pool *pool = mvs_pool_new(2);
  stuck *all = calloc(1, sizeof *all);
  assert_non_null(all);
  mvs_pool_run(pool, MOST_UNITS, wait_for_others, all);
  assert_int_equal(all->units_done, MOST_UNITS);
  assert_int_equal(all->given_up, 0);
  free(all);
  mvs_pool_free(pool);
}

typedef struct ended {
  _Atomic bool over;
  _Atomic int behind; /* units that were done when all had been */
} ended;

static void count_late(void *user, int thread, int64_t begin, int64_t end) {
  ended *job = user;
  (void)thread;
  if (job->over) job->behind += (int)(end - begin);
}

/* A thread may hear of the last job when that has ended and the pool is being freed: it must
 * not take the end for a job, whose fields would be those of the last but one. That one had
 * more units, so that some seem to be left. Late loads make it likely
 * (tests/e2e/threads.sh). */
static void nothing_behind_the_last_job(void **state) {
  (void)state;
  static ended large, last;
  for (int round = 0; round < 300; round++) {
    mvs_pool *pool = mvs_pool_new(4);
    large.over = false;
    mvs_pool_run(pool, MOST_UNITS, count_late, &large);
    large.over = true;
    mvs_pool_run(pool, 4, count_late, &last);
    mvs_pool_free(pool);
  }
  assert_int_equal(large.behind, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_unit_once),       cmocka_unit_test(many_small_jobs),
      cmocka_unit_test(ends_without_work),     cmocka_unit_test(default_is_all_cores),
      cmocka_unit_test(memory_is_handed_over), cmocka_unit_test(shares_are_taken_over),
      cmocka_unit_test(nothing_behind_the_last_job)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
