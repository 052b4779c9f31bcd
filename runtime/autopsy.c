/* autopsy.c: the newest norms and what stands out of them.
 *
 * In a spike the largest norms say where it came out and their factors where it came from: the
 * cell that grew most is seldom the largest. So each line has both, and cells that are small
 * but grew most have a list of their own. */
#include "runtime/autopsy.h"

#include <inttypes.h>
#include <math.h>

#include "runtime/series.h"
#include "runtime/signals.h"

#define STEPS_KEPT 9  /* the last one and eight before it */
#define MOST_TOP   15 /* arXiv 2605.06169's autopsy */
#define MOST_GROWN 5

struct mvs_autopsy {
  mvs_arena *arena;
  size_t cells, count; /* count: steps taken since the table has this shape */
  double *values;      /* [STEPS_KEPT, cells], a ring */
};

mvs_autopsy *mvs_autopsy_new(mvs_arena *arena) {
  mvs_autopsy *autopsy = MVS_NEW(arena, mvs_autopsy);
  autopsy->arena = arena;
  return autopsy;
}

static double *row_of(const mvs_autopsy *autopsy, size_t step) {
  return autopsy->values + step % STEPS_KEPT * autopsy->cells;
}

void mvs_autopsy_take(mvs_autopsy *autopsy, const mvs_observation *seen) {
  const mvs_table *table = mvs_observation_table(seen, MVS_TABLE_GRADIENT);
  if (!table) return;
  size_t cells = table->n_sites * mvs_table_columns(table);
  if (cells != autopsy->cells) {
    autopsy->values = MVS_ARRAY(autopsy->arena, STEPS_KEPT * cells, double);
    autopsy->cells = cells, autopsy->count = 0;
  }
  memcpy(row_of(autopsy, autopsy->count++), table->values, cells * sizeof(double));
}

void mvs_autopsy_forget(mvs_autopsy *autopsy) { autopsy->count = 0; }

/* --- the report --- */

/* What is needed to rank cells: the last step, and the median of those before it. */
typedef struct ranking {
  const mvs_table *table;
  size_t cells;
  const double *now;
  double *before; /* NaN where there is no step before */
  bool *named;    /* already in a list */
} ranking;

static ranking rank(const mvs_autopsy *autopsy, mvs_arena *arena, const mvs_table *table) {
  size_t count = autopsy->count < STEPS_KEPT ? autopsy->count : STEPS_KEPT;
  ranking out = {.table = table,
                 .cells = autopsy->cells,
                 .now = row_of(autopsy, autopsy->count - 1),
                 .before = MVS_ARRAY(arena, autopsy->cells, double),
                 .named = MVS_ARRAY(arena, autopsy->cells, bool)};
  for (size_t cell = 0; cell < out.cells; cell++) {
    double values[STEPS_KEPT];
    size_t known = 0;
    for (size_t back = 2; back <= count; back++) {
      double value = row_of(autopsy, autopsy->count - back)[cell];
      if (isfinite(value)) values[known++] = value;
    }
    out.before[cell] = mvs_quantile(values, known, 0.5);
  }
  return out;
}

static double growth(const ranking *of, size_t cell) {
  return of->now[cell] / of->before[cell];
}

/* The largest cell that was not yet named, by norm or by growth; false: there is none. */
static bool next_cell(ranking *of, bool by_growth, size_t *out) {
  double most = -1;
  for (size_t cell = 0; cell < of->cells; cell++) {
    double value = by_growth ? growth(of, cell) : of->now[cell];
    if (of->named[cell] || !isfinite(value) || value <= most) continue;
    most = value, *out = cell;
  }
  if (most >= 0) of->named[*out] = true;
  return most >= 0;
}

static void put_cell(const ranking *of, size_t cell, mvs_text *out) {
  const mvs_table *table = of->table;
  size_t columns = mvs_table_columns(table);
  const char *site = table->sites[cell / columns];
  mvs_text_addf(out, "  %-10.4g", of->now[cell]);
  if (isfinite(of->before[cell]) && of->before[cell] > 0) {
    mvs_text_addf(out, " ×%-9.3g", growth(of, cell));
  } else {
    mvs_text_addf(out, " %-10s", "");
  }
  mvs_text_addf(out, " %s", site);
  if (table->n_layers) mvs_text_addf(out, ", layer %" PRId64, table->layers[cell % columns]);
  mvs_text_add(out, "\n");
}

/* No title above an empty list. */
static void put_list(ranking *of, const char *title, bool by_growth, int most, mvs_text *out) {
  size_t cell;
  for (int at = 0; at < most && next_cell(of, by_growth, &cell); at++) {
    if (at == 0) mvs_text_add(out, title);
    put_cell(of, cell, out);
  }
}

/* A table has no value (NaN) where a family has no such layer: what had one before and has none
 * now is not finite. */
static void put_not_finite(const ranking *of, mvs_text *out) {
  size_t columns = mvs_table_columns(of->table), count = 0;
  mvs_text_add(out, "not finite:");
  for (size_t cell = 0; cell < of->cells; cell++) {
    bool lost = !isfinite(of->now[cell]) && isfinite(of->before[cell]);
    if (!lost || count++ >= MOST_TOP) continue;
    mvs_text_addf(out, "\n  %s", of->table->sites[cell / columns]);
    if (of->table->n_layers)
      mvs_text_addf(out, ", layer %" PRId64, of->table->layers[cell % columns]);
  }
  if (count > MOST_TOP) mvs_text_addf(out, "\n  and %zu more", count - MOST_TOP);
  mvs_text_add(out, count ? "\n" : " no gradient\n");
}

void mvs_autopsy_write(const mvs_autopsy *autopsy, const mvs_observation *seen, mvs_text *out) {
  const mvs_table *table = mvs_observation_table(seen, MVS_TABLE_GRADIENT);
  mvs_text_addf(out, "step %" PRId64 ": loss %.6g, gradient norm %.6g\n", seen->step,
                seen->loss, seen->grad_norm);
  if (!table || autopsy->count == 0) return;
  ranking of = rank(autopsy, out->home, table);
  put_not_finite(&of, out);
  put_list(&of, "largest gradients: norm, factor over the steps before, weights\n", false,
           MOST_TOP, out);
  put_list(&of, "of the others, those that grew most:\n", true, MOST_GROWN, out);
}
