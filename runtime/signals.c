/* signals.c: tables to signals.
 *
 * Quantities that change by factors are taken as logarithms, so that a doubling weighs the same
 * wherever the run stands; a zero (the gradient of Q while writers are zero) is no value.
 * Diagnostics of many places become the upper quartile of their values: it moves when a quarter
 * of the layers does, and not with a single wild one. */
#include "runtime/signals.h"

#include <inttypes.h>
#include <math.h>

#include "runtime/series.h"

/* The first layers of a stack: those that move first before a collapse. Fewer than these say
 * nothing of depth. */
#define SHALLOW_LAYERS 3
#define LEAST_DEPTH    (4 * SHALLOW_LAYERS)
#define UPPER_QUARTILE 0.75

typedef struct maker {
  mvs_arena *arena;
  const mvs_watch_roles *roles;
  const mvs_observation *seen;
  mvs_signals *out;
} maker;

static void put(maker *to, mvs_signal_kind kind, const char *name, double value) {
  MVS_PUSH(to->arena, to->out, ((mvs_signal){kind, name, "", value}));
}

static void put_of(maker *to, mvs_signal_kind kind, const char *family, const char *name,
                   double value) {
  MVS_PUSH(to->arena, to->out, ((mvs_signal){kind, name, family, value}));
}

/* Of zero and below there is none, rather than one that drags every median down. */
static double logarithm(double value) { return value > 0 ? log(value) : NAN; }

/* --- gradients of families --- */

/* The row of a family, -1: the table has none. */
static int site_of(const mvs_table *table, const char *family) {
  for (size_t at = 0; at < table->n_sites; at++)
    if (strcmp(table->sites[at], family) == 0) return (int)at;
  return -1;
}

/* The norm over all layers. */
static double whole_norm(const mvs_table *table, int site) {
  size_t columns = mvs_table_columns(table);
  double sum = 0;
  for (size_t at = 0; at < columns; at++) {
    double value = table->values[(size_t)site * columns + at];
    if (!isnan(value)) sum += value * value;
  }
  return sqrt(sum);
}

/* Lists have some families: no table is needed. */
static bool is_among(const char *family, const char *const *list, size_t count) {
  for (size_t at = 0; at < count; at++)
    if (strcmp(family, list[at]) == 0) return true;
  return false;
}

/* A family of a stack has values in more than one layer. */
static bool is_stacked(const mvs_table *table, size_t site) {
  size_t columns = mvs_table_columns(table), known = 0;
  for (size_t at = 0; at < columns; at++)
    known += isnan(table->values[site * columns + at]) ? 0 : 1;
  return known > 1;
}

/* What a writer is weighed against. */
static bool is_reader(const maker *to, const mvs_table *table, size_t site) {
  const mvs_watch_roles *roles = to->roles;
  const char *family = table->sites[site];
  if (roles->n_readers) return is_among(family, roles->readers, roles->n_readers);
  return is_stacked(table, site) && !is_among(family, roles->writers, roles->n_writers);
}

static void put_balances(maker *to, const mvs_table *table) {
  for (size_t at = 0; at < to->roles->n_writers; at++) {
    const char *writer = to->roles->writers[at];
    int row = site_of(table, writer);
    if (row < 0) continue;
    double above = whole_norm(table, row);
    for (size_t site = 0; site < table->n_sites; site++) {
      if (!is_reader(to, table, site)) continue;
      const char *name = mvs_arena_format(to->arena, "the gradient of %s over that of %s",
                                          writer, table->sites[site]);
      double under = whole_norm(table, (int)site);
      put_of(to, MVS_SIGNAL_BALANCE, table->sites[site], name,
             under > 0 ? logarithm(above / under) : NAN);
    }
  }
}

/* Of every family that has a value there. Anchors may leave layers out. */
static void put_shallow(maker *to, const mvs_table *table) {
  if (table->n_layers == 0 || table->layers[table->n_layers - 1] < LEAST_DEPTH - 1) return;
  for (size_t site = 0; site < table->n_sites; site++) {
    if (!is_stacked(table, site)) continue;
    for (size_t at = 0; at < table->n_layers && table->layers[at] < SHALLOW_LAYERS; at++) {
      const char *name = mvs_arena_format(to->arena, "%s of layer %" PRId64, table->sites[site],
                                          table->layers[at]);
      double value = table->values[site * table->n_layers + at];
      put_of(to, MVS_SIGNAL_SHALLOW, table->sites[site], name, logarithm(value));
    }
  }
}

/* --- diagnostics of the mean mode --- */

/* Over all known cells of a table, divided by those of `under` where that is given. */
static double quartile_of(maker *to, const mvs_table *table, const mvs_table *under) {
  size_t cells = table->n_sites * mvs_table_columns(table), count = 0;
  double *values = MVS_ARRAY(to->arena, cells + 1, double);
  for (size_t at = 0; at < cells; at++) {
    double value = table->values[at];
    if (under) value /= under->values[at];
    if (isfinite(value)) values[count++] = value;
  }
  return mvs_quantile(values, count, UPPER_QUARTILE);
}

static void put_mean_mode(maker *to) {
  const mvs_table *mean = mvs_observation_table(to->seen, MVS_TABLE_G_MEAN);
  const mvs_table *centred = mvs_observation_table(to->seen, MVS_TABLE_G_CTR);
  const mvs_table *rho = mvs_observation_table(to->seen, MVS_TABLE_RHO);
  const mvs_table *cosine = mvs_observation_table(to->seen, MVS_TABLE_TCS);
  if (mean) put(to, MVS_SIGNAL_G_MEAN, "G_mean", logarithm(quartile_of(to, mean, NULL)));
  bool both = mean && centred && mean->n_sites == centred->n_sites &&
              mean->n_layers == centred->n_layers;
  if (both)
    put(to, MVS_SIGNAL_SHARE, "G_mean/G_ctr", logarithm(quartile_of(to, mean, centred)));
  if (rho) put(to, MVS_SIGNAL_RHO, "rho", logarithm(quartile_of(to, rho, NULL)));
  if (cosine) put(to, MVS_SIGNAL_COSINE, "token cosine", quartile_of(to, cosine, NULL));
}

void mvs_signals_make(mvs_arena *arena, const mvs_watch_roles *roles,
                      const mvs_observation *seen, mvs_signals *out) {
  maker to = {.arena = arena, .roles = roles, .seen = seen, .out = out};
  const mvs_table *gradient = mvs_observation_table(seen, MVS_TABLE_GRADIENT);
  *out = (mvs_signals){0};
  put(&to, MVS_SIGNAL_LOSS, "loss", seen->loss);
  put(&to, MVS_SIGNAL_NORM, "gradient norm", logarithm(seen->grad_norm));
  if (gradient) put_balances(&to, gradient);
  if (gradient) put_shallow(&to, gradient);
  put_mean_mode(&to);
}
