/* diagnostics_tables.h: results of diagnostics, as they come from the device, to named tables.
 * Private to diagnostics*.c. Owner: the session. */
#ifndef MVS_RUNTIME_DIAGNOSTICS_TABLES_H
#define MVS_RUNTIME_DIAGNOSTICS_TABLES_H

#include "runtime/observation.h"
#include "runtime/probes.h"

typedef struct mvs_diagnostics_tables mvs_diagnostics_tables;

/* Lays the tables out. `probes` is NULL where no step is diagnosed. */
mvs_diagnostics_tables *mvs_diagnostics_tables_new(mvs_session *session,
                                                   const mvs_probes *probes,
                                                   const int64_t *layers, size_t count);
/* Where an output "squares/P", "gain_mean/P" or "gain_max/P" lies among the vectors, in bytes.
 */
int64_t mvs_diagnostics_vector(const mvs_diagnostics_tables *tables, const Mvs__Tensor *output);
/* Bytes of all vectors. */
int64_t mvs_diagnostics_vector_bytes(const mvs_diagnostics_tables *tables);
/* Fills in one step's numbers; `results` are those of the probes of a diagnosed one. */
void mvs_diagnostics_tables_fill(mvs_diagnostics_tables *tables, const void *vectors,
                                 const void *results, bool diagnosed, mvs_observation *seen);

#endif
