/* training.h: one training step: data, noise and times, gradients over micro-batches, update.
 * Owner: the session. Samples of step k are places k*batch .. of the data's order; noise and
 * times follow from (seed, step, place in the batch), so neither threads nor micro-batches
 * change them.
 * A step is given to the device as a whole and its result asked for later, so that a device
 * that works on its own never waits for the host. */
#ifndef MVS_RUNTIME_TRAINING_H
#define MVS_RUNTIME_TRAINING_H

#include "runtime/data.h"
#include "runtime/diagnostics.h"
#include "runtime/feed.h"
#include "runtime/optimizer.h"
#include "runtime/safetensors.h"

typedef struct mvs_training_settings {
  mvs_optimizer_settings optimizer;
  mvs_diagnostics_settings diagnostics;
  int64_t batch, micro_batch;
  int32_t seed;
} mvs_training_settings;

typedef struct mvs_training mvs_training;

/* Steps that may be queued and not yet collected. */
#define MVS_TRAINING_AHEAD 2

/* The functions that training calls, for mvs_memory_choose. */
extern const char *const mvs_training_functions[];
/* Flat buffers for gradients: two where micro-batches add up. */
int mvs_training_gradient_flats(const mvs_training_settings *settings);

/* Prepares training. The weights in mvs_training_params are then to be set.
 * errors : MVS_ERR_NAME when the model has no objective, MVS_ERR_LIMIT, MVS_ERR_MEMORY */
mvs_status mvs_training_new(mvs_session *session, const mvs_training_settings *settings,
                            mvs_training **out);
/* The optimizer, which holds weights and moments. */
mvs_optimizer *mvs_training_optimizer(mvs_training *training);
/* The call of forward + backward, over what the last step left: to measure it alone. */
mvs_call *mvs_training_grad_call(const mvs_training *training);
/* The gradients of the step queued last: flat, of the whole batch, before clipping. */
const float *mvs_training_gradients(const mvs_training *training);
/* Trains on a data source. */
mvs_status mvs_training_use_data(mvs_training *training, mvs_data *data);
/* Trains on one batch, noise and times, the same every step, as tensors of a file. */
mvs_status mvs_training_use_fixed(mvs_training *training, const mvs_safetensors *file,
                                  const char *prefix);
/* Gives the device step k: loss, gradients and update. Steps are queued in order, at most
 * MVS_TRAINING_AHEAD of them before their results are collected. Once a loss or norm was not
 * finite, neither that step nor any after it changes the weights. */
mvs_status mvs_training_queue(mvs_training *training, int64_t step);
/* Waits for the oldest step that was queued and not yet collected. `seen` gets its tables, good
 * until the next call, if it is not NULL. Of several micro-batches diagnostics look at the
 * first. errors : MVS_ERR_DEVICE when the device failed */
mvs_status mvs_training_collect(mvs_training *training, mvs_step_result *out,
                                mvs_observation *seen);
/* What it was made with. */
const mvs_training_settings *mvs_training_settings_of(const mvs_training *training);
/* Brings the samples of micro-batch `part` of step k (from 0) where the gradients read them
 * once more, with the noise and times that they had. Steps go on behind it as if it had not
 * been. */
mvs_status mvs_training_show(mvs_training *training, int64_t step, int64_t part);
/* Device: where the gradients read an input that holds a value per sample; NULL: there is none.
 */
void *mvs_training_input(const mvs_training *training, const char *name);
/* Until mvs_training_take_back what others run has these flat weights instead of the run's. All
 * that were queued must have been collected. */
void mvs_training_lend(mvs_training *training, float *weights);
/* The run's weights stand where they did. errors : MVS_ERR_MEMORY */
mvs_status mvs_training_take_back(mvs_training *training);
/* Behind loading an earlier state into the optimizer: the step queued next may be any, and
 * steps are taken again after one that was not. All that were queued must have been collected.
 */
mvs_status mvs_training_go_back(mvs_training *training);

#endif
