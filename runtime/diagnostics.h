/* diagnostics.h: what a training step shows of itself besides loss and norm. Every step: the
 * gradient's norm of each family of weights in each layer. Each n-th step, in the layers asked
 * for, the tables of docs/diagnostics.md. All of it is computed by the device in the step and
 * comes back with its result; nothing waits.
 * Owner: the session. */
#ifndef MVS_RUNTIME_DIAGNOSTICS_H
#define MVS_RUNTIME_DIAGNOSTICS_H

#include "runtime/observation.h"
#include "runtime/session.h"

typedef struct mvs_diagnostics mvs_diagnostics;

/* Steps whose results may be under way at a time. */
#define MVS_DIAGNOSTICS_AHEAD 2

typedef struct mvs_diagnostics_settings {
  int64_t every; /* steps; 0: norms of gradients alone */
  int64_t *anchors;
  size_t anchor_count; /* layers, going up */
} mvs_diagnostics_settings;

/* Device memory that the training shares with it. */
typedef struct mvs_diagnostics_places {
  mvs_call *grad;            /* that is looked at */
  float *grads;              /* of the whole batch */
  const double *row_squares; /* of those, see optimizer.h */
} mvs_diagnostics_places;

/* Reads --anchors, "0,1,2"; without it the anchors of arXiv 2605.06169 that the model has.
 * errors : MVS_ERR_FORMAT, MVS_ERR_LIMIT for a layer that no stack has */
mvs_status mvs_diagnostics_anchors(mvs_session *session, mvs_diagnostics_settings *settings);
/* Prepares everything. errors : MVS_ERR_MEMORY, MVS_ERR_LIMIT */
mvs_status mvs_diagnostics_new(mvs_session *session, const mvs_diagnostics_settings *settings,
                               const mvs_diagnostics_places *places, mvs_diagnostics **out);
/* Whether step k (from 0) is diagnosed: the first of all and each n-th, if no profile is taken.
 */
bool mvs_diagnostics_due(const mvs_diagnostics *diagnostics, int64_t step);
/* Whether the next runs of "grad" are looked at. */
void mvs_diagnostics_watch(mvs_diagnostics *diagnostics, bool on);
/* Gives the device the gains of a diagnosed step to look at: before the update. */
mvs_status mvs_diagnostics_gains(mvs_diagnostics *diagnostics);
/* The same of the gradients of any step, behind the sums of their rows. */
mvs_status mvs_diagnostics_norms(mvs_diagnostics *diagnostics);
/* Brings the results to the host, behind the work of the `number`-th step that was queued. */
void mvs_diagnostics_fetch(mvs_diagnostics *diagnostics, int64_t number, bool diagnosed);
/* Once that step's own result is there: its tables, good until the next call. */
void mvs_diagnostics_observe(mvs_diagnostics *diagnostics, int64_t number,
                             mvs_observation *seen);

#endif
