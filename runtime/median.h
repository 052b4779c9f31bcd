/* median.h: the middle of some numbers. */
#ifndef MVS_RUNTIME_MEDIAN_H
#define MVS_RUNTIME_MEDIAN_H

#include <stddef.h>

/* The middle one, or the mean of the two in the middle; NaN of none. Sorts the numbers, which
 * must be no NaN. */
double mvs_median(double *values, size_t count);

#endif
