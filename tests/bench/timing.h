/* timing.h: clocks and medians of the host's benches. */
#ifndef MVS_TESTS_BENCH_TIMING_H
#define MVS_TESTS_BENCH_TIMING_H

#include <stdlib.h>
#include <time.h>

/* Seconds of a clock. One of a thread does not count what the scheduler gives to others. */
static inline double seconds_of(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

/* Sorts the values; of an even count the upper one of the two in the middle. */
static inline double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, ascending);
  return values[count / 2];
}

#endif
