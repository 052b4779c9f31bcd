/* extremes.h: which samples of a step the model was furthest off on: for the autopsy of an
 * alarm. A sample's norm is the RMS over its elements of the loss's gradient by the model's
 * output, times elements and batch: twice the error of the velocity, whatever the batch and the
 * size of a sample. source : arXiv 2605.06169, spike autopsy: BAD_BATCH, GLOBAL_INJ (the scale
 * is not stated there) */
#ifndef MVS_RUNTIME_EXTREMES_H
#define MVS_RUNTIME_EXTREMES_H

#include "runtime/training.h"

/* Runs the model over the samples of step k (from 0) again, at the weights as they are now,
 * which are those behind the step or one more. `norms` has room for a step's samples; *count
 * becomes their number, or 0 where the model's inputs are not those of the objective or its
 * forward pass alone takes more memory than a step.
 * errors : MVS_ERR_DEVICE */
mvs_status mvs_extremes_find(mvs_session *session, mvs_training *training, int64_t step,
                             double *norms, int64_t *count);
/* Appends lines: the RMS over the samples that are finite, the largest five, NOT_FINITE with
 * the numbers of the others, and by name what is beyond the paper's marks: BAD_BATCH when one
 * is above 5 RMS + 1, GLOBAL_INJ when the RMS is above 10. */
void mvs_extremes_write(const double *norms, int64_t count, mvs_text *out);

#endif
