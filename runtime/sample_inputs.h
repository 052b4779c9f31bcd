/* sample_inputs.h: what a sampler starts from where nobody gives anything: noise by number, all
 * classes in turn, no context; and whether samples are pictures. Shared by `sample` and by
 * grids of runs, so that both draw the same. Owner: the session's arena. */
#ifndef MVS_RUNTIME_SAMPLE_INPUTS_H
#define MVS_RUNTIME_SAMPLE_INPUTS_H

#include "runtime/sampler.h"

/* Samples where neither --count nor what is given says how many. */
#define MVS_SAMPLE_COUNT 20

/* Fills [count, ...]: sample i depends on the seed and i only. */
void mvs_sample_noise(const mvs_program *program, int32_t seed, int64_t count, float *out);
/* A label is one integer per sample: given as a list, not as a file. */
bool mvs_sample_is_label(const Mvs__ModelInput *input);
/* The classes are those below the unconditional one, by which a label says "none". */
int64_t mvs_sample_classes(const Mvs__ModelInput *input);
/* One sample of the input's own "no condition". */
const void *mvs_sample_unconditional(mvs_session *session, const Mvs__ModelInput *input);
/* Conditions of `count` samples: labels in turn, no context. One per conditioning input. */
mvs_condition *mvs_sample_conditions(mvs_session *session, int64_t count, size_t *conditions);
/* Whether samples of the model are pictures; `advice` says what else to do with them.
 * errors : MVS_ERR_SHAPE */
mvs_status mvs_sample_check_picture(mvs_session *session, const char *advice);

#endif
