/* series.c: trailing windows and robust distances. */
#include "runtime/series.h"

#include <math.h>
#include <stdlib.h>

/* Scales a median absolute deviation to the standard deviation of normal values. */
#define NORMAL_SCALE 1.4826
/* Least deviation, relative to the median: files hold nine digits and kernels compute in
 * float32, so smaller differences mean nothing. */
#define LEAST_DEVIATION 1e-6

#define RING (MVS_SERIES_WINDOW + MVS_SERIES_RECENT)

void mvs_series_add(mvs_series *series, double value) {
  if (!isfinite(value)) return;
  series->values[series->next] = value;
  series->next = (series->next + 1) % RING;
  if (series->count < RING) series->count++;
}

/* Copies values first .. first+count-1, counted from the oldest. */
static void copy_values(const mvs_series *series, size_t first, size_t count, double *out) {
  size_t oldest = series->next + RING - series->count;
  for (size_t at = 0; at < count; at++) out[at] = series->values[(oldest + first + at) % RING];
}

static void swap(double *a, double *b) {
  double kept = *a;
  *a = *b, *b = kept;
}

/* Hoare's selection: what stands at `place` is then what would stand there in order. A sort of
 * every window at every step would cost more than all else that the watch does. */
static double select_value(double *values, size_t count, size_t place) {
  size_t low = 0, high = count - 1;
  while (low < high) {
    double pivot = values[low + (high - low) / 2];
    size_t left = low, right = high;
    for (;;) {
      while (values[left] < pivot) left++;
      while (values[right] > pivot) right--;
      if (left >= right) break;
      swap(&values[left++], &values[right--]);
    }
    if (place <= right) { /* the last of the lower part */
      high = right;
    } else {
      low = right + 1;
    }
  }
  return values[place];
}

double mvs_quantile(double *values, size_t count, double at) {
  if (count == 0) return NAN;
  double place = (double)(count - 1) * at * (1 + 1e-12); /* k / n * n may fall short of k */
  return select_value(values, count, (size_t)place);
}

size_t mvs_series_newest(const mvs_series *series, size_t count, double *out) {
  if (count > series->count) count = series->count;
  copy_values(series, series->count - count, count, out);
  return count;
}

double mvs_series_recent(const mvs_series *series) {
  double newest[MVS_SERIES_RECENT];
  size_t count = mvs_series_newest(series, MVS_SERIES_RECENT, newest);
  return mvs_quantile(newest, count, 0.5);
}

mvs_spread mvs_series_spread(const mvs_series *series, size_t least) {
  double values[MVS_SERIES_WINDOW];
  size_t count = series->count < MVS_SERIES_RECENT ? 0 : series->count - MVS_SERIES_RECENT;
  if (count < least || count == 0) return (mvs_spread){.known = false};
  copy_values(series, 0, count, values);
  double median = mvs_quantile(values, count, 0.5);
  for (size_t at = 0; at < count; at++) values[at] = fabs(values[at] - median);
  double deviation = NORMAL_SCALE * mvs_quantile(values, count, 0.5);
  double floor = LEAST_DEVIATION * fmax(fabs(median), LEAST_DEVIATION);
  return (mvs_spread){
      .known = true, .count = count, .median = median, .deviation = fmax(deviation, floor)};
}

double mvs_spread_z(const mvs_spread *past, double value) {
  if (!past->known || !isfinite(value)) return 0;
  return (value - past->median) / past->deviation;
}

/* Hexadecimal floats are exact. */
void mvs_series_save(const mvs_series *series, mvs_text *out) {
  double values[RING];
  copy_values(series, 0, series->count, values);
  mvs_text_addf(out, "%zu", series->count);
  for (size_t at = 0; at < series->count; at++) mvs_text_addf(out, " %a", values[at]);
}

bool mvs_series_load(mvs_series *series, const char **text) {
  char *end;
  unsigned long count = strtoul(*text, &end, 10);
  bool good = end != *text && count <= RING;
  *series = (mvs_series){.count = 0};
  for (unsigned long at = 0; good && at < count; at++) {
    const char *begin = end;
    double value = strtod(begin, &end);
    good = end != begin && isfinite(value);
    if (good) mvs_series_add(series, value);
  }
  *text = end;
  return good;
}
