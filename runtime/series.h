/* series.h: a quantity's own past, and how far a new value lies from it.
 * The past is a trailing window of values; its middle is the median and its spread the median
 * distance from that, scaled to a standard deviation of normal values (robust z: one wild value
 * moves neither). A window that was saved and loaded gives the same answers to the last bit. */
#ifndef MVS_RUNTIME_SERIES_H
#define MVS_RUNTIME_SERIES_H

#include <stdbool.h>
#include <stddef.h>

#include "compiler/base/text.h"

/* Values of the past: enough for a steady spread (that of 128 values is known to about 8 %),
 * few enough that a run's slow changes stay slow within it. */
#define MVS_SERIES_WINDOW 128
/* The newest values are not yet past: a change that takes some steps does not hide itself. */
#define MVS_SERIES_RECENT 8

typedef struct mvs_series {
  double values[MVS_SERIES_WINDOW + MVS_SERIES_RECENT]; /* a ring, of finite values */
  size_t count, next;
} mvs_series;

/* The past in three numbers. */
typedef struct mvs_spread {
  bool known;   /* there is enough of a past for it */
  size_t count; /* values in it */
  double median, deviation;
} mvs_spread;

/* Adds a value; one that is not finite is left out. */
void mvs_series_add(mvs_series *series, double value);
/* The past as it is now, of at least `least` values. The deviation is never zero: a constant
 * past has that of a rounding error of its median. */
mvs_spread mvs_series_spread(const mvs_series *series, size_t least);
/* The median of the newest values, MVS_SERIES_RECENT or as many as there are; NaN of none. */
double mvs_series_recent(const mvs_series *series);
/* Copies the newest `count` values, oldest first, or as many as there are; returns how many. */
size_t mvs_series_newest(const mvs_series *series, size_t count, double *out);
/* (value - median) / deviation; 0 where the past is not known or the value not finite. */
double mvs_spread_z(const mvs_spread *past, double value);
/* The value that a share `at` (0 to 1) of `count` values lie below, one of them, so that it is
 * exact; they are put in another order. NaN of none. */
double mvs_quantile(double *values, size_t count, double at);

/* Appends the ring as text: count, then values oldest first, exact. */
void mvs_series_save(const mvs_series *series, mvs_text *out);
/* Reads it back; *text moves behind it. False when it is not what save writes. */
bool mvs_series_load(mvs_series *series, const char **text);

#endif
