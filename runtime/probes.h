/* probes.h: the diagnostics that look at values of a call while it runs: for every probe of its
 * function and every layer asked for, one call of a small function on the places where the
 * values lie. What is looked at changes nothing: it only reads, and works in memory of its own.
 * Owner: the session. */
#ifndef MVS_RUNTIME_PROBES_H
#define MVS_RUNTIME_PROBES_H

#include "runtime/session.h"

typedef struct mvs_probes mvs_probes;

/* Prepares the probes of `call` for `count` layers, which go up. Layers that a stack does not
 * have are passed over.
 * errors : MVS_ERR_MEMORY, MVS_ERR_LIMIT */
mvs_status mvs_probes_new(mvs_session *session, mvs_call *call, const int64_t *layers,
                          size_t count, mvs_probes **out);
/* Whether the next runs of the call are looked at. */
void mvs_probes_watch(mvs_probes *probes, bool on);
/* Results of the last run that was looked at: device memory, of that many bytes. */
const void *mvs_probes_results(const mvs_probes *probes, int64_t *bytes);
/* One number out of a copy of them: output `output` of probe `probe` in the layer of that index
 * among those asked for; NaN where there is none. */
double mvs_probes_value(const mvs_probes *probes, const void *results, size_t probe,
                        size_t output, size_t layer);
/* The outputs of the function that a probe calls. */
const Mvs__Function *mvs_probes_function(const mvs_probes *probes, size_t probe);
/* The names of all functions that probes of `function` call, each once, ended by NULL: for
 * mvs_memory_choose. */
const char *const *mvs_probes_functions(mvs_arena *arena, const Mvs__Function *function);

#endif
