/* watch_warnings.c: notes and warnings.
 *
 * A note is about one value, a warning about the median of the newest: before a collapse the
 * shallow layers' gradients grow for dozens of steps, and a single batch does not make them. */
#include <float.h>
#include <math.h>

#include "runtime/watch_parts.h"

/* --- notes --- */

static void note_outlier(mvs_watching *at, const mvs_tracked *signal) {
  double distance = mvs_spread_z(&signal->of_values, signal->now);
  if (distance < NOTE_DISTANCE || !mvs_watching_may_speak(at, MVS_RULE_OUTLIER)) return;
  mvs_text text = mvs_text_new(at->arena);
  mvs_tracked_put(signal, signal->now, &text);
  mvs_text_addf(&text, ", %.1f deviations above its own past", distance);
  mvs_watching_say(at, MVS_ALARM_NOTE, "outlier", mvs_text_string(&text));
}

/* The value as a logarithm, whichever way it is kept; NaN where it has none. */
static double logarithm_of(const mvs_tracked *signal, double value) {
  return signal->kind == MVS_SIGNAL_LOSS ? log(value) : value;
}

/* The least growth among the newest values, as a logarithm; 0 when one did not grow. */
static double least_growth(const mvs_tracked *signal) {
  double values[OVERFLOW_VALUES], least = INFINITY;
  if (mvs_series_newest(&signal->values, OVERFLOW_VALUES, values) < OVERFLOW_VALUES) return 0;
  for (int i = 1; i < OVERFLOW_VALUES; i++) {
    double growth = logarithm_of(signal, values[i]) - logarithm_of(signal, values[i - 1]);
    least = growth > 0 ? fmin(least, growth) : 0;
  }
  return least;
}

/* Norms are roots of sums of squares, so float32 ends at the root of its largest number. */
static void note_overflow(mvs_watching *at, const mvs_tracked *signal) {
  double growth = least_growth(signal), limit = 0.5 * log((double)FLT_MAX);
  if (growth <= 0 || !isfinite(growth)) return;
  double left = (limit - logarithm_of(signal, signal->now)) / growth;
  if (left > OVERFLOW_AHEAD || !mvs_watching_may_speak(at, MVS_RULE_OVERFLOW)) return;
  mvs_watching_say(
      at, MVS_ALARM_NOTE, "overflow",
      mvs_arena_format(at->arena,
                       "%s grew %d times in a row, each time by %.2g or more: it "
                       "overflows float32 within %.0f such steps",
                       signal->name, OVERFLOW_VALUES - 1, exp(growth), fmax(0, ceil(left))));
}

void mvs_watch_notes(mvs_watching *at) {
  for (size_t i = 0; i < at->watch->signals.count; i++) {
    const mvs_tracked *signal = &at->watch->signals.items[i];
    if (isnan(signal->now) || signal->kind == MVS_SIGNAL_COSINE) continue;
    bool whole = signal->kind == MVS_SIGNAL_LOSS || signal->kind == MVS_SIGNAL_NORM;
    if (whole) note_outlier(at, signal);
    note_overflow(at, signal);
  }
}

/* --- warnings --- */

/* A kind of signals that warns together. */
typedef struct warning_row {
  mvs_watch_rule rule;
  mvs_signal_kind kind;
  double distance;
  bool both_ways; /* a fall counts too */
  const char *name, *words;
} warning_row;

static const warning_row rows[] = {
    {MVS_RULE_SHALLOW, MVS_SIGNAL_SHALLOW, SHALLOW_DISTANCE, false, "shallow-gradients",
     "the gradients of shallow layers rise above their own past"},
    {MVS_RULE_BALANCE, MVS_SIGNAL_BALANCE, BALANCE_DISTANCE, true, "gradient-balance",
     "the balance of gradients leaves its own past"},
};

/* Most signals that a sentence names. */
#define MOST_NAMED 3

static bool is_beyond(const warning_row *row, const mvs_tracked *signal) {
  double distance = mvs_spread_z(&signal->of_medians, signal->recent);
  if (row->both_ways) distance = fabs(distance);
  return signal->of_medians.count >= WARNING_PAST && distance >= row->distance;
}

/* Whether no signal before `place` is of the same kind and family, among those that are beyond
 * or among all that were observed. */
static bool is_first(const mvs_watch *watch, const warning_row *row, size_t place,
                     bool beyond) {
  const char *family = watch->signals.items[place].family;
  for (size_t i = 0; i < place; i++) {
    const mvs_tracked *signal = &watch->signals.items[i];
    if (signal->kind != row->kind || isnan(signal->now)) continue;
    if (strcmp(signal->family, family) != 0) continue;
    if (!beyond || is_beyond(row, signal)) return false;
  }
  return true;
}

/* What one rule finds at a step. */
typedef struct found {
  const mvs_tracked *named[MOST_NAMED];
  int beyond, families_beyond, families;
} found;

static void find(const mvs_watch *watch, const warning_row *row, found *out) {
  for (size_t i = 0; i < watch->signals.count; i++) {
    const mvs_tracked *signal = &watch->signals.items[i];
    if (signal->kind != row->kind || isnan(signal->now)) continue;
    if (is_first(watch, row, i, false)) out->families++;
    if (!is_beyond(row, signal)) continue;
    if (is_first(watch, row, i, true)) out->families_beyond++;
    if (out->beyond < MOST_NAMED) out->named[out->beyond] = signal;
    out->beyond++;
  }
}

/* Where there is but one family of a kind, that one is enough. */
static bool warn(mvs_watching *at, const warning_row *row) {
  found seen = {.beyond = 0};
  find(at->watch, row, &seen);
  int enough = seen.families < FAMILIES_AT_ONCE ? 1 : FAMILIES_AT_ONCE;
  if (seen.families_beyond < enough) return false;
  if (!mvs_watching_may_speak(at, row->rule)) return true;
  mvs_text text = mvs_text_new(at->arena);
  mvs_text_add(&text, row->words);
  for (int i = 0; i < seen.beyond && i < MOST_NAMED; i++) {
    const mvs_tracked *signal = seen.named[i];
    mvs_text_add(&text, i == 0 ? ": " : ", ");
    mvs_tracked_put(signal, signal->now, &text);
    mvs_text_addf(&text, " (%+.1f deviations)",
                  mvs_spread_z(&signal->of_medians, signal->recent));
  }
  if (seen.beyond > MOST_NAMED) mvs_text_addf(&text, " and %d more", seen.beyond - MOST_NAMED);
  mvs_watching_say(at, MVS_ALARM_WARNING, row->name, mvs_text_string(&text));
  return true;
}

bool mvs_watch_warnings(mvs_watching *at) {
  bool any = false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (warn(at, &rows[i])) any = true;
  return any;
}
