/* observation.h: what one step showed: loss and gradient norm, and where the step was diagnosed
 * tables of numbers by site and layer. The trainer makes one a step and hands it to all who
 * want it (consumers.h); whoever looks at a finished run reads the same back from its files.
 * Owner: whoever made it; a consumer copies what it wants to keep. */
#ifndef MVS_RUNTIME_OBSERVATION_H
#define MVS_RUNTIME_OBSERVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler/base/diag.h"

/* One quantity at several places. A place is a site (a row: a family of weights such as
 * `blocks.operator.q_proj`, an update such as `blocks.operator`, or "" for the whole model) and
 * a layer (a column; a table without layers has one column). */
typedef struct mvs_table {
  const char *name; /* "gradient", "rho", "tcs", … */
  size_t n_sites, n_layers;
  const char **sites; /* [n_sites], each once */
  int64_t *layers;    /* [n_layers], going up; n_layers 0: one column for the model or family */
  double *values;     /* [n_sites, columns]; NaN where there is none */
} mvs_table;

typedef struct mvs_observation {
  int64_t step;     /* steps done, this one included: counts from 1 */
  double loss;      /* these four NaN where they are not known */
  double grad_norm; /* before clipping, before the update */
  double lr;
  double seconds;  /* that the step took */
  bool diagnosed;  /* there is more than what every step shows */
  size_t n_tables; /* that were taken; norms of gradients may be there on every step */
  mvs_table *tables;
} mvs_observation;

/* An observation of a step with nothing seen yet. */
mvs_observation mvs_observation_at(int64_t step);
/* Sets up a table in `arena`: names and layers are to be filled in, values are NaN. */
void mvs_table_make(mvs_arena *arena, const char *name, size_t n_sites, size_t n_layers,
                    mvs_table *out);
/* The number of columns: at least one. */
size_t mvs_table_columns(const mvs_table *table);
/* The table of this name, or NULL. */
const mvs_table *mvs_observation_table(const mvs_observation *seen, const char *name);

/* Appends the line of DIR/diagnostics.jsonl, without its end:
 *   {"step":100,"tables":{"rho":{"layers":[0,1],"sites":{"blocks.operator":[0.1,null]}}}}
 * Numbers have 9 significant digits; those that are not finite become null. */
void mvs_observation_line(const mvs_observation *seen, mvs_text *out);
/* Reads a line of diagnostics.jsonl or metrics.jsonl; null and what is missing become NaN.
 * errors : MVS_ERR_FORMAT for anything that those files cannot hold: another key, a step that
 *          is no count, a row with too many or too few numbers, layers that do not go up */
mvs_status mvs_observation_read(mvs_arena *arena, mvs_diag *diag, const char *line,
                                mvs_observation *out);

#endif
