/* events.h: TensorBoard's event files in a run's folder, as a consumer of observations: loss,
 * grad_norm, lr, seconds, and of tables a curve a site (TABLE/SITE), where there are layers
 * their median, the largest, and each where they are few. Owner: the list it is added to. */
#ifndef MVS_RUNTIME_EVENTS_H
#define MVS_RUNTIME_EVENTS_H

#include "runtime/metrics.h"

/* Adds FOLDER/events.out.tfevents.TIME.mvcc, a new file each time a run is begun or gone on
 * with; steps behind `steps->after` in older ones are taken back. errors : MVS_ERR_IO */
mvs_status mvs_events_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                           const mvs_metrics_steps *steps, mvs_consumers *list);

#endif
