/* metrics.h: DIR/metrics.jsonl, one line a step, flushed as it is written.
 * The first three fields are step, loss and grad_norm, with 9 significant digits. */
#ifndef MVS_RUNTIME_METRICS_H
#define MVS_RUNTIME_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "compiler/base/diag.h"

typedef struct mvs_metrics {
  mvs_diag *diag;
  const char *path;
  FILE *file;
} mvs_metrics;

typedef struct mvs_metrics_row {
  int64_t step; /* steps done, this one included: counts from 1 */
  double loss;
  double grad_norm; /* before clipping, before the update */
  double lr;
  double seconds; /* that the step took */
} mvs_metrics_row;

/* Opens for appending and drops lines of steps after `step`: those of a run that went on after
 * the checkpoint it now resumes from. errors : MVS_ERR_IO */
mvs_status mvs_metrics_open(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                            mvs_metrics *out);
/* Appends a line. Numbers that are not finite become null. errors : MVS_ERR_IO */
mvs_status mvs_metrics_add(mvs_metrics *metrics, const mvs_metrics_row *row);
/* Closes the file. Harmless when it is not open. */
void mvs_metrics_close(mvs_metrics *metrics);

#endif
