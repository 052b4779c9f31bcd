/* median.c: by sorting: who asks for a median here has some hundred numbers. */
#include "runtime/median.h"

#include <math.h>
#include <stdlib.h>

/* For qsort; the difference of two doubles may not fit the int that it wants. */
static int compare(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

double mvs_median(double *values, size_t count) {
  if (count == 0) return NAN;
  qsort(values, count, sizeof *values, compare);
  return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}
