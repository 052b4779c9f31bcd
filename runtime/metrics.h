/* metrics.h: the two files of numbers in a run's folder, as consumers of observations:
 * metrics.jsonl, a line a step, and diagnostics.jsonl, a line each diagnosed step. Lines are
 * written one by one. Owner: the list they are added to. */
#ifndef MVS_RUNTIME_METRICS_H
#define MVS_RUNTIME_METRICS_H

#include "runtime/consumers.h"

/* Which steps have lines of their own. */
typedef struct mvs_metrics_steps {
  int64_t after; /* the step that the run goes on from: later lines are dropped */
  int64_t every; /* one in so many, */
  int64_t last;  /* and this one, and any whose loss or norm is not finite */
} mvs_metrics_steps;

/* Adds FOLDER/metrics.jsonl: the first three fields are step, loss and grad_norm, with 9
 * significant digits; numbers that are not finite become null. errors : MVS_ERR_IO */
mvs_status mvs_metrics_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                            const mvs_metrics_steps *steps, mvs_consumers *list);
/* Adds FOLDER/diagnostics.jsonl: the tables of observations, of every diagnosed step. The
 * file appears with the first of them. errors : MVS_ERR_IO */
mvs_status mvs_diagnostics_lines_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                      const mvs_metrics_steps *steps, mvs_consumers *list);

#endif
