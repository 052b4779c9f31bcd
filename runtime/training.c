/* training.c: one training step: data, noise and times, gradients over micro-batches.
 *
 * Two functions of the program do the work. "draw" makes noise, times and dropped conditions
 * from (seed, step, sample number) and the data; "grad" takes what it made and gives loss
 * and gradients. A fixed batch skips "draw" and points "grad" into the uploaded file. Each
 * micro-batch's loss and gradients are already divided by the whole batch, so parts are only
 * added, in order of their samples. */
#include "runtime/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/inputs.h"

#define MOST_TENSORS 16

/* One input of the gradient function that holds a value per sample. */
typedef struct batch_tensor {
  const Mvs__Tensor *tensor;
  int64_t sample_bytes;
  bool drawn;       /* made by "draw": noise, times, conditioning after dropout */
  bool from_data;   /* comes from the data source: x0, conditioning before dropout */
  char *raw, *used; /* device: as read, and as the gradients see it */
  void *staging;    /* host */
} batch_tensor;

struct mvs_training {
  mvs_session *session;
  mvs_training_settings settings;
  float *params, *grads, *sum; /* sum: over micro-batches, or grads itself when there is one */
  mvs_optimizer *optimizer;
  mvs_call *grad, *draw;
  mvs_flat_call *accumulate;
  int count;
  batch_tensor tensors[MOST_TENSORS];
  mvs_data *data; /* NULL: a fixed batch */
  mvs_order *order;
  int64_t *index;
  int32_t *sample_numbers;
  void *loss, *inverse_batch, *seed, *step, *sample; /* device */
};

const char *const mvs_training_functions[] = {"grad",    "draw",        "adamw", "accumulate",
                                              "average", "sum_squares", NULL};

/* With one micro-batch its gradients are the sum. */
int mvs_training_gradient_flats(const mvs_training_settings *settings) {
  return settings->micro_batch < settings->batch ? 2 : 1;
}

/* Lives as long as the training. */
mvs_optimizer *mvs_training_optimizer(mvs_training *training) { return training->optimizer; }

mvs_call *mvs_training_grad_call(const mvs_training *training) { return training->grad; }

/* A leading extent per sample; scalars such as inverse_batch have none. */
static bool is_batched(const Mvs__Tensor *tensor) {
  return tensor->n_dims > 0 && tensor->dims[0]->per_batch;
}

/* By name, as everything between program and runtime. */
static bool has_tensor(Mvs__Tensor *const *tensors, size_t count, const char *name) {
  for (size_t at = 0; at < count; at++)
    if (strcmp(tensors[at]->name, name) == 0) return true;
  return false;
}

/* --- preparing --- */

/* Everything per sample that the gradients need: x0, x1, t and conditioning. */
static mvs_status add_tensors(mvs_training *training) {
  const Mvs__Function *grad = mvs_call_function(training->grad);
  for (size_t at = 0; at < grad->n_inputs; at++) {
    const Mvs__Tensor *tensor = grad->inputs[at];
    if (!is_batched(tensor)) continue;
    if (training->count == MOST_TENSORS)
      return MVS_FAIL(training->session->diag, MVS_ERR_LIMIT, "the model has too many inputs");
    training->tensors[training->count++] = (batch_tensor){
        .tensor = tensor,
        .sample_bytes = mvs_tensor_elements(tensor, 1) * mvs_dtype_bytes(tensor->dtype)};
  }
  return MVS_OK;
}

/* The loss of a micro-batch is its samples' share of the batch's mean, so that parts just add
 * up. */
static mvs_status prepare_scalars(mvs_training *training) {
  mvs_session *session = training->session;
  float inverse = (float)(1.0 / (double)training->settings.batch);
  MVS_TRY(mvs_session_alloc(session, sizeof(double), &training->loss));
  MVS_TRY(mvs_call_bind_output(training->grad, "loss", training->loss));
  MVS_TRY(mvs_session_upload(session, &inverse, sizeof inverse, &training->inverse_batch));
  return mvs_call_bind_input(training->grad, "inverse_batch", training->inverse_batch);
}

/* The optimizer reads the sum, wherever that is. */
static mvs_status prepare_flats(mvs_training *training) {
  mvs_session *session = training->session;
  MVS_TRY(mvs_session_flat(session, &training->params));
  MVS_TRY(mvs_session_flat(session, &training->grads));
  training->sum = training->grads;
  if (training->settings.micro_batch < training->settings.batch) {
    int64_t rows = session->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
    MVS_TRY(mvs_session_flat(session, &training->sum));
    MVS_TRY(mvs_flat_new(session, "accumulate", rows, &training->accumulate));
    mvs_flat_rows(training->accumulate, "a", training->sum);
    mvs_flat_rows(training->accumulate, "g", training->grads);
  }
  mvs_executor_set_flats(session->executor, training->params, training->grads);
  return mvs_optimizer_new(session, &training->settings.optimizer, training->params,
                           training->sum, &training->optimizer);
}

/* Unequal micro-batches would need a second plan for the last one. */
static mvs_status check_settings(mvs_session *session, const mvs_training_settings *settings) {
  if (!mvs_program_function(session->program, "grad"))
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "model '%s' has no objective, so it cannot be trained",
                    session->program->model);
  if (settings->batch % settings->micro_batch != 0)
    return MVS_FAIL(session->diag, MVS_ERR_LIMIT,
                    "--micro-batch %" PRId64 " does not divide the batch of %" PRId64,
                    settings->micro_batch, settings->batch);
  return MVS_OK;
}

/* Parameters, gradients and moments are taken here; temporaries come with the first step. */
mvs_status mvs_training_new(mvs_session *session, const mvs_training_settings *settings,
                            mvs_training **out) {
  MVS_TRY(check_settings(session, settings));
  mvs_training *training = MVS_NEW(session->arena, mvs_training);
  training->session = session;
  training->settings = *settings;
  MVS_TRY(mvs_call_new(session->executor, "grad", settings->micro_batch, &training->grad));
  MVS_TRY(add_tensors(training));
  MVS_TRY(prepare_scalars(training));
  MVS_TRY(prepare_flats(training));
  *out = training;
  return MVS_OK;
}

/* A tensor that "draw" both takes and gives (conditioning under dropout) has two places. */
static mvs_status prepare_drawn(mvs_training *training, batch_tensor *each) {
  mvs_session *session = training->session;
  int64_t bytes = each->sample_bytes * training->settings.micro_batch;
  void *used;
  each->drawn = mvs_call_has_output(training->draw, each->tensor->name);
  MVS_TRY(mvs_session_alloc(session, bytes, &used));
  each->raw = each->used = used;
  MVS_TRY(mvs_call_bind_input(training->grad, each->tensor->name, used));
  if (!each->drawn) return MVS_OK;
  MVS_TRY(mvs_call_bind_output(training->draw, each->tensor->name, used));
  if (!mvs_call_has_input(training->draw, each->tensor->name)) return MVS_OK;
  void *raw;
  MVS_TRY(mvs_session_alloc(session, bytes, &raw));
  each->raw = raw;
  return mvs_call_bind_input(training->draw, each->tensor->name, raw);
}

/* Seed, step and sample numbers are all that noise and times depend on. */
static mvs_status prepare_draw(mvs_training *training) {
  mvs_session *session = training->session;
  int64_t micro = training->settings.micro_batch;
  MVS_TRY(mvs_call_new(session->executor, "draw", micro, &training->draw));
  MVS_TRY(
      mvs_session_upload(session, &training->settings.seed, sizeof(int32_t), &training->seed));
  MVS_TRY(mvs_session_alloc(session, sizeof(int32_t), &training->step));
  MVS_TRY(mvs_session_alloc(session, micro * (int64_t)sizeof(int32_t), &training->sample));
  MVS_TRY(mvs_call_bind_input(training->draw, "seed", training->seed));
  MVS_TRY(mvs_call_bind_input(training->draw, "step", training->step));
  MVS_TRY(mvs_call_bind_input(training->draw, "sample", training->sample));
  for (int at = 0; at < training->count; at++)
    MVS_TRY(prepare_drawn(training, &training->tensors[at]));
  return MVS_OK;
}

/* Data is staged in host memory of one micro-batch. */
mvs_status mvs_training_use_data(mvs_training *training, mvs_data *data) {
  mvs_session *session = training->session;
  int64_t micro = training->settings.micro_batch;
  MVS_TRY(mvs_data_check(session, data));
  MVS_TRY(prepare_draw(training));
  training->data = data;
  training->order =
      mvs_order_new(session->arena, data->count, (uint32_t)training->settings.seed);
  training->index = MVS_ARRAY(session->arena, micro, int64_t);
  training->sample_numbers = MVS_ARRAY(session->arena, micro, int32_t);
  const Mvs__Function *draw = mvs_call_function(training->draw);
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    each->from_data =
        !each->drawn || has_tensor(draw->inputs, draw->n_inputs, each->tensor->name);
    if (each->from_data)
      each->staging = mvs_arena_alloc(session->arena, (size_t)(each->sample_bytes * micro));
  }
  return MVS_OK;
}

/* The whole batch is uploaded once; micro-batches are parts of it. */
mvs_status mvs_training_use_fixed(mvs_training *training, const mvs_safetensors *file,
                                  const char *prefix) {
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    const mvs_file_tensor *tensor;
    void *memory;
    MVS_TRY(mvs_inputs_find(training->session, file, prefix, each->tensor->name, &tensor));
    MVS_TRY(mvs_inputs_upload(training->session, file, tensor, each->tensor,
                              training->settings.batch, &memory));
    each->used = memory;
  }
  return MVS_OK;
}

/* --- running --- */

/* Fills the device's inputs for samples first .. first+micro-1 of the step. */
static mvs_status load_samples(mvs_training *training, int64_t step, int64_t first) {
  mvs_device *device = training->session->device;
  int64_t micro = training->settings.micro_batch;
  int32_t step_number = (int32_t)step;
  for (int64_t at = 0; at < micro; at++) {
    int64_t place = step * training->settings.batch + first + at;
    training->index[at] = mvs_order_sample(training->order, place);
    training->sample_numbers[at] = (int32_t)(first + at);
  }
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    if (!each->from_data) continue;
    training->data->fill(training->data, each->tensor->name, training->index, micro,
                         each->staging);
    device->copy(device, each->raw, each->staging, each->sample_bytes * micro,
                 MVS_COPY_TO_DEVICE);
  }
  device->copy(device, training->step, &step_number, sizeof step_number, MVS_COPY_TO_DEVICE);
  device->copy(device, training->sample, training->sample_numbers,
               micro * (int64_t)sizeof(int32_t), MVS_COPY_TO_DEVICE);
  return mvs_call_run(training->draw);
}

/* Moves the inputs of the gradient function to the micro-batch's part of the fixed batch. */
static mvs_status point_at_samples(mvs_training *training, int64_t first) {
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    MVS_TRY(mvs_call_bind_input(training->grad, each->tensor->name,
                                each->used + first * each->sample_bytes));
  }
  return MVS_OK;
}

/* Gradients add in the order of samples, so the bits do not depend on anything else. */
static mvs_status add_micro_batch(mvs_training *training, int64_t first, double *loss) {
  mvs_session *session = training->session;
  mvs_device *device = session->device;
  double part;
  MVS_TRY(mvs_call_run(training->grad));
  MVS_TRY(device->synchronize(device, session->diag));
  device->copy(device, &part, training->loss, sizeof part, MVS_COPY_TO_HOST);
  *loss += part;
  if (!training->accumulate) return MVS_OK;
  if (first > 0) return mvs_flat_run(training->accumulate);
  device->copy(device, training->sum, training->grads, mvs_flat_bytes(session->program),
               MVS_COPY_WITHIN);
  return MVS_OK;
}

/* Loss and norm may come out infinite or NaN: whether to go on is the caller's to say. */
mvs_status mvs_training_gradients(mvs_training *training, int64_t step, double *loss,
                                  double *norm) {
  *loss = 0;
  for (int64_t first = 0; first < training->settings.batch;
       first += training->settings.micro_batch) {
    MVS_TRY(training->data ? load_samples(training, step, first)
                           : point_at_samples(training, first));
    MVS_TRY(add_micro_batch(training, first, loss));
  }
  return mvs_optimizer_norm(training->optimizer, norm);
}
