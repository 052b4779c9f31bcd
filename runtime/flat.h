/* flat.h: functions over flat buffers ("adamw", "accumulate", "average", "sum_squares"): their
 * batch counts rows of 1024 elements. What has an input and an output of one name is updated in
 * place. Owner: the session's arena and memory. */
#ifndef MVS_RUNTIME_FLAT_H
#define MVS_RUNTIME_FLAT_H

#include "runtime/session.h"

typedef struct mvs_flat_call mvs_flat_call;

/* Prepares a function for `rows` rows. errors : MVS_ERR_INTERNAL, MVS_ERR_MEMORY */
mvs_status mvs_flat_new(mvs_session *session, const char *function, int64_t rows,
                        mvs_flat_call **out);
/* Prepares "sum_squares" of a whole flat buffer, as a plain call: `rows` becomes device memory
 * for the sum of each row, `total` that for the sum of all. errors : likewise */
mvs_status mvs_flat_squares(mvs_session *session, float *flat, mvs_call **out, double **rows,
                            double **total);
/* Gives the place of a tensor of rows, by name: of whole rows, or of one value a row. */
void mvs_flat_rows(mvs_flat_call *call, const char *name, void *memory);
/* Sets a scalar input; the value is copied. */
mvs_status mvs_flat_scalar(mvs_flat_call *call, const char *name, double value);
/* Takes a scalar from, or gives it to, device memory of the caller's instead. */
mvs_status mvs_flat_share(mvs_flat_call *call, const char *name, void *memory);
/* Runs it. */
mvs_status mvs_flat_run(mvs_flat_call *call);

#endif
