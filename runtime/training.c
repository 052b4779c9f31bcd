/* training.c: one training step: data, noise and times, gradients over micro-batches, update.
 *
 * Two functions of the program give loss and gradients: "draw" makes noise, times and dropped
 * conditions from (seed, step, sample number) and the data, "grad" takes what it made. A fixed
 * batch skips "draw". Each micro-batch's loss and gradients are already divided by the whole
 * batch, so parts are only added, in order of their samples; the optimizer does the rest.
 *
 * What a micro-batch takes from the host (samples, their numbers, the step's number and rates)
 * is one block of a feed, which always ends up in the same place on the device. So its work has
 * the same addresses each time and can be recorded: with one micro-batch the whole step is one
 * recording; with several, each of them and the update is a piece, since a recording holds a
 * node a kernel and layer, and that times their number would not fit. While the device works
 * on a micro-batch the host fills and sends the next one, and results come back on their own.
 */
#include "runtime/training.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/inputs.h"
#include "runtime/recording.h"

#define MOST_TENSORS 16
/* Parts of a block start on multiples of this: more than any kernel asks for. */
#define PART_ALIGNMENT 256

/* One input of the gradient function that holds a value per sample. */
typedef struct batch_tensor {
  const Mvs__Tensor *tensor;
  int64_t sample_bytes;
  bool drawn;        /* made by "draw": noise, times, conditioning after dropout */
  bool from_data;    /* comes from the data source: x0, conditioning before dropout */
  int64_t offset;    /* in the block, of what comes from the data source */
  char *used;        /* device: as the gradients see it */
  const char *fixed; /* device: of the whole fixed batch; NULL: none */
} batch_tensor;

/* What every block starts with; the numbers of the samples follow. */
typedef struct block_head {
  int32_t step;
  mvs_step_rates rates;
} block_head;

/* The results of a step, on their way to the host. */
typedef struct result_slot {
  void *staging; /* mvs_step_result */
  void *ready;   /* event */
} result_slot;

struct mvs_training {
  mvs_session *session;
  mvs_training_settings settings;
  int64_t parts;               /* micro-batches of a step */
  float *params, *grads, *sum; /* sum: over micro-batches, or grads itself when there is one */
  mvs_optimizer *optimizer;
  mvs_call *grad, *draw, *add_losses; /* draw: NULL for a fixed batch */
  mvs_flat_call *accumulate;
  mvs_diagnostics *diagnostics;
  /* whole: of one micro-batch and the update; the second of each is of a diagnosed step */
  mvs_recording *whole[2], *part[2], *update[2];
  int count;
  batch_tensor tensors[MOST_TENSORS];
  int64_t numbers, block_bytes; /* numbers: where those of the samples stand in the block */
  mvs_feed *feed;
  int64_t ahead;  /* the micro-batch of the run whose block is under way; -1: none */
  mvs_data *data; /* NULL: a fixed batch */
  mvs_order *orders[MVS_MOST_TURNS + 1]; /* the run's own, then one by turn, once asked for */
  int64_t *index;
  void *loss;              /* device: of a micro-batch */
  mvs_step_result *result; /* device */
  result_slot slots[MVS_TRAINING_AHEAD];
  int64_t queued, collected;
};

const char *const mvs_training_functions[] = {
    "grad",        "draw", "adamw", "accumulate",     "add_losses",         "average",
    "sum_squares", "clip", "muon",  "diagnose/gains", "diagnose/gradients", NULL};

/* With one micro-batch its gradients are the sum. */
int mvs_training_gradient_flats(const mvs_training_settings *settings) {
  return settings->micro_batch < settings->batch ? 2 : 1;
}

/* Lives as long as the training. */
mvs_optimizer *mvs_training_optimizer(mvs_training *training) { return training->optimizer; }

mvs_call *mvs_training_grad_call(const mvs_training *training) { return training->grad; }

const float *mvs_training_gradients(const mvs_training *training) { return training->sum; }

/* A leading extent per sample; scalars such as inverse_batch have none. */
static bool is_batched(const Mvs__Tensor *tensor) {
  return tensor->n_dims > 0 && tensor->dims[0]->per_batch;
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
 * up; the loss of the only one is the step's. */
static mvs_status prepare_losses(mvs_training *training) {
  mvs_session *session = training->session;
  float inverse = (float)(1.0 / (double)training->settings.batch);
  void *scale, *result;
  MVS_TRY(mvs_session_alloc(session, sizeof(mvs_step_result), &result));
  training->result = result;
  training->loss = &training->result->loss;
  MVS_TRY(mvs_session_upload(session, &inverse, sizeof inverse, &scale));
  MVS_TRY(mvs_call_bind_input(training->grad, "inverse_batch", scale));
  if (training->parts > 1) {
    MVS_TRY(mvs_session_alloc(session, sizeof(double), &training->loss));
    MVS_TRY(mvs_call_new(session->executor, "add_losses", 1, &training->add_losses));
    MVS_TRY(mvs_call_bind(training->add_losses, "loss", &training->result->loss));
    MVS_TRY(mvs_call_bind(training->add_losses, "part", training->loss));
  }
  return mvs_call_bind_output(training->grad, "loss", training->loss);
}

/* The optimizer reads the sum, wherever that is. */
static mvs_status prepare_flats(mvs_training *training) {
  mvs_session *session = training->session;
  MVS_TRY(mvs_session_flat(session, &training->params));
  MVS_TRY(mvs_session_flat(session, &training->grads));
  training->sum = training->grads;
  if (training->parts > 1) {
    int64_t rows = session->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
    MVS_TRY(mvs_session_flat(session, &training->sum));
    MVS_TRY(mvs_flat_new(session, "accumulate", rows, &training->accumulate));
    mvs_flat_rows(training->accumulate, "a", training->sum);
    mvs_flat_rows(training->accumulate, "g", training->grads);
  }
  mvs_executor_set_flats(session->executor, training->params, training->grads);
  return MVS_OK;
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

/* Optimizer and calls come with the data: where a step's numbers stand depends on it. */
mvs_status mvs_training_new(mvs_session *session, const mvs_training_settings *settings,
                            mvs_training **out) {
  MVS_TRY(check_settings(session, settings));
  mvs_training *training = MVS_NEW(session->arena, mvs_training);
  *training = (mvs_training){.session = session,
                             .settings = *settings,
                             .parts = settings->batch / settings->micro_batch,
                             .ahead = -1};
  MVS_TRY(mvs_call_new(session->executor, "grad", settings->micro_batch, &training->grad));
  MVS_TRY(add_tensors(training));
  MVS_TRY(prepare_losses(training));
  MVS_TRY(prepare_flats(training));
  *out = training;
  return MVS_OK;
}

/* Takes room in the block. */
static int64_t reserve(mvs_training *training, int64_t bytes) {
  int64_t offset = training->block_bytes;
  training->block_bytes += (bytes + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT;
  return offset;
}

/* The head, the numbers of the samples, and what the data source gives. */
static mvs_status prepare_feed(mvs_training *training) {
  int64_t micro = training->settings.micro_batch;
  reserve(training, sizeof(block_head));
  training->numbers = reserve(training, micro * (int64_t)sizeof(int32_t));
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    if (each->from_data) each->offset = reserve(training, each->sample_bytes * micro);
  }
  return mvs_feed_new(training->session, training->block_bytes, &training->feed);
}

static mvs_status prepare_results(mvs_training *training) {
  mvs_session *session = training->session;
  for (int at = 0; at < MVS_TRAINING_AHEAD; at++) {
    result_slot *slot = &training->slots[at];
    MVS_TRY(mvs_session_staging(session, sizeof(mvs_step_result), &slot->staging));
    MVS_TRY(mvs_session_event(session, &slot->ready));
  }
  return MVS_OK;
}

static mvs_status run_gradients(void *user);
static mvs_status run_update(void *user);
static mvs_status run_whole(void *user);
static mvs_status run_seen_gradients(void *user);
static mvs_status run_seen_update(void *user);
static mvs_status run_seen_whole(void *user);

/* What both kinds of data share, once it is known what they give. */
static mvs_status prepare_step(mvs_training *training) {
  mvs_session *session = training->session;
  MVS_TRY(prepare_feed(training));
  MVS_TRY(prepare_results(training));
  training->part[0] = mvs_recording_new(session, run_gradients, training);
  training->part[1] = mvs_recording_new(session, run_seen_gradients, training);
  training->update[0] = mvs_recording_new(session, run_update, training);
  training->update[1] = mvs_recording_new(session, run_seen_update, training);
  training->whole[0] = mvs_recording_new(session, run_whole, training);
  training->whole[1] = mvs_recording_new(session, run_seen_whole, training);
  const block_head *head = (const block_head *)mvs_feed_place(training->feed);
  const mvs_optimizer_places places = {.params = training->params,
                                       .grads = training->sum,
                                       .rates = &head->rates,
                                       .result = training->result};
  MVS_TRY(mvs_optimizer_new(session, &training->settings.optimizer, &places,
                            &training->optimizer));
  const mvs_diagnostics_places seen = {.grad = training->grad,
                                       .grads = training->sum,
                                       .row_squares = training->optimizer->row_squares};
  return mvs_diagnostics_new(session, &training->settings.diagnostics, &seen,
                             &training->diagnostics);
}

/* What "draw" gives has a place of its own, since it may also take it (conditioning under
 * dropout). */
static mvs_status bind_drawn(mvs_training *training, batch_tensor *each) {
  mvs_session *session = training->session;
  const char *name = each->tensor->name;
  char *given = mvs_feed_place(training->feed) + each->offset;
  each->used = given;
  if (each->drawn && each->from_data) MVS_TRY(mvs_call_bind_input(training->draw, name, given));
  if (each->drawn) {
    void *used;
    int64_t bytes = each->sample_bytes * training->settings.micro_batch;
    MVS_TRY(mvs_session_alloc(session, bytes, &used));
    MVS_TRY(mvs_call_bind_output(training->draw, name, used));
    each->used = used;
  }
  return mvs_call_bind_input(training->grad, name, each->used);
}

/* Seed, step and sample numbers are all that noise and times depend on. */
static mvs_status bind_draw(mvs_training *training) {
  mvs_session *session = training->session;
  char *block = mvs_feed_place(training->feed);
  void *seed;
  MVS_TRY(mvs_session_upload(session, &training->settings.seed, sizeof(int32_t), &seed));
  MVS_TRY(mvs_call_bind_input(training->draw, "seed", seed));
  MVS_TRY(mvs_call_bind_input(training->draw, "step", block + offsetof(block_head, step)));
  MVS_TRY(mvs_call_bind_input(training->draw, "sample", block + training->numbers));
  for (int at = 0; at < training->count; at++)
    MVS_TRY(bind_drawn(training, &training->tensors[at]));
  return MVS_OK;
}

/* Shapes are checked here, so that filling cannot fail later. */
mvs_status mvs_training_use_data(mvs_training *training, mvs_data *data) {
  mvs_session *session = training->session;
  int64_t micro = training->settings.micro_batch;
  MVS_TRY(mvs_data_check(session, data));
  MVS_TRY(mvs_call_new(session->executor, "draw", micro, &training->draw));
  const Mvs__Function *draw = mvs_call_function(training->draw);
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    const char *name = each->tensor->name;
    each->drawn = mvs_has_tensor(draw->outputs, draw->n_outputs, name);
    each->from_data = !each->drawn || mvs_has_tensor(draw->inputs, draw->n_inputs, name);
  }
  training->data = data;
  training->index = MVS_ARRAY(session->arena, (size_t)micro, int64_t);
  MVS_TRY(prepare_step(training));
  return bind_draw(training);
}

/* The whole batch is uploaded once; each micro-batch's part of it is copied to one place. */
mvs_status mvs_training_use_fixed(mvs_training *training, const mvs_safetensors *file,
                                  const char *prefix) {
  mvs_session *session = training->session;
  for (int at = 0; at < training->count; at++) {
    batch_tensor *each = &training->tensors[at];
    const mvs_file_tensor *tensor;
    void *memory, *used;
    MVS_TRY(mvs_inputs_find(session, file, prefix, each->tensor->name, &tensor));
    MVS_TRY(mvs_inputs_upload(session, file, tensor, each->tensor, training->settings.batch,
                              &memory));
    MVS_TRY(
        mvs_session_alloc(session, each->sample_bytes * training->settings.micro_batch, &used));
    each->fixed = memory, each->used = used;
    MVS_TRY(mvs_call_bind_input(training->grad, each->tensor->name, used));
  }
  return prepare_step(training);
}

/* --- bringing samples in --- */

/* The profile that is taken now: its phases are the host's time. */
static mvs_profile *profile_of(const mvs_training *training) {
  return mvs_executor_profiled(training->session->executor);
}

/* The order that a step takes its samples from. Those behind a turn have seeds of their own. */
static mvs_order *order_at(mvs_training *training, int64_t step) {
  const mvs_turns *turns = training->settings.optimizer.turns;
  int turn = turns ? mvs_turns_order(turns, step) : 0;
  mvs_order **order = &training->orders[turn];
  uint64_t seed = (uint64_t)turn << 32 | (uint32_t)training->settings.seed;
  if (!*order) *order = mvs_order_new(training->session->arena, training->data->count, seed);
  return *order;
}

/* Writes samples first .. first+micro-1 of a step into a block. */
static void fill_samples(mvs_training *training, int64_t step, int64_t first, char *block) {
  int64_t micro = training->settings.micro_batch;
  int32_t *numbers = (int32_t *)(block + training->numbers);
  mvs_order *order = order_at(training, step);
  for (int64_t at = 0; at < micro; at++) {
    int64_t place = step * training->settings.batch + first + at;
    training->index[at] = mvs_order_sample(order, place);
    numbers[at] = (int32_t)(first + at);
  }
  for (int at = 0; at < training->count; at++) {
    const batch_tensor *each = &training->tensors[at];
    if (each->from_data)
      training->data->fill(training->data, each->tensor->name, training->index, micro,
                           block + each->offset);
  }
}

/* Puts micro-batch `number` of the run on its way. */
static mvs_status send_block(mvs_training *training, int64_t number) {
  int64_t step = number / training->parts;
  int64_t first = number % training->parts * training->settings.micro_batch;
  char *block;
  mvs_profile_open_phase(profile_of(training), "samples");
  MVS_TRY(mvs_feed_open(training->feed, &block));
  *(block_head *)block = (block_head){
      .step = (int32_t)step, .rates = mvs_optimizer_rates(&training->settings.optimizer, step)};
  if (training->data) fill_samples(training, step, first, block);
  mvs_feed_send(training->feed);
  mvs_profile_close_phase(profile_of(training));
  training->ahead = number;
  return MVS_OK;
}

/* Brings micro-batch `number` where the work reads it. It is under way already, but for the
 * first of a run. */
static mvs_status take_block(mvs_training *training, int64_t number) {
  mvs_device *device = training->session->device;
  if (training->ahead < 0) MVS_TRY(send_block(training, number));
  assert(training->ahead == number);
  mvs_feed_take(training->feed);
  training->ahead = -1;
  int64_t micro = training->settings.micro_batch, first = number % training->parts * micro;
  for (int at = 0; at < training->count; at++) {
    const batch_tensor *each = &training->tensors[at];
    if (each->fixed)
      device->copy(device, each->used, each->fixed + first * each->sample_bytes,
                   each->sample_bytes * micro, MVS_COPY_WITHIN);
  }
  return MVS_OK;
}

/* --- running --- */

/* Loss and gradients of the micro-batch at hand. */
static mvs_status run_gradients(void *user) {
  mvs_training *training = user;
  mvs_profile_open_phase(profile_of(training), "gradients");
  if (training->draw) MVS_TRY(mvs_call_run(training->draw));
  MVS_TRY(mvs_call_run(training->grad));
  mvs_profile_close_phase(profile_of(training));
  return MVS_OK;
}

/* The gains are those that the gradients belong to, so they are looked at first. What the model
 * takes from the weights alone (sums of them, say) is part of the update. */
static mvs_status update(mvs_training *training, bool diagnosed) {
  mvs_profile_open_phase(profile_of(training), "update");
  if (diagnosed) MVS_TRY(mvs_diagnostics_gains(training->diagnostics));
  MVS_TRY(mvs_optimizer_update(training->optimizer));
  MVS_TRY(mvs_diagnostics_norms(training->diagnostics));
  MVS_TRY(mvs_call_prepare(training->grad));
  mvs_profile_close_phase(profile_of(training));
  return MVS_OK;
}

static mvs_status run_update(void *user) { return update(user, false); }
static mvs_status run_seen_update(void *user) { return update(user, true); }

/* A step of one micro-batch. */
static mvs_status run_whole(void *user) {
  MVS_TRY(run_gradients(user));
  return run_update(user);
}

static mvs_status run_seen_gradients(void *user) {
  mvs_training *training = user;
  mvs_diagnostics_watch(training->diagnostics, true);
  mvs_status status = run_gradients(user);
  mvs_diagnostics_watch(training->diagnostics, false);
  return status;
}

static mvs_status run_seen_whole(void *user) {
  MVS_TRY(run_seen_gradients(user));
  return run_seen_update(user);
}

/* Gradients and losses add in the order of samples, so the bits do not depend on anything
 * else. */
static mvs_status add_part(mvs_training *training, int64_t part, bool seen) {
  mvs_device *device = training->session->device;
  MVS_TRY(mvs_recording_run(training->part[seen && part == 0]));
  if (part > 0) {
    MVS_TRY(mvs_flat_run(training->accumulate));
    return mvs_call_run(training->add_losses);
  }
  device->copy(device, training->sum, training->grads,
               mvs_flat_bytes(training->session->program), MVS_COPY_WITHIN);
  device->copy(device, &training->result->loss, training->loss, sizeof(double),
               MVS_COPY_WITHIN);
  return MVS_OK;
}

/* All work that ends with new weights. Behind each micro-batch the next one is sent. */
static mvs_status run_step(mvs_training *training, int64_t step, bool seen) {
  for (int64_t part = 0; part < training->parts; part++) {
    int64_t number = step * training->parts + part;
    MVS_TRY(take_block(training, number));
    MVS_TRY(training->parts > 1 ? add_part(training, part, seen)
                                : mvs_recording_run(training->whole[seen]));
    if (part + 1 < training->parts) MVS_TRY(send_block(training, number + 1));
  }
  if (training->parts > 1) MVS_TRY(mvs_recording_run(training->update[seen]));
  mvs_call_prepared(training->grad);
  return MVS_OK;
}

/* The next step's first samples are sent last: the device has all of this one to do. */
mvs_status mvs_training_queue(mvs_training *training, int64_t step) {
  mvs_device *device = training->session->device;
  result_slot *slot = &training->slots[training->queued % MVS_TRAINING_AHEAD];
  assert(training->queued - training->collected < MVS_TRAINING_AHEAD);
  bool seen = mvs_diagnostics_due(training->diagnostics, step);
  MVS_TRY(run_step(training, step, seen));
  device->fetch(device, slot->staging, training->result, sizeof(mvs_step_result));
  mvs_diagnostics_fetch(training->diagnostics, training->queued, seen);
  device->signal(device, slot->ready, MVS_LANE_WORK);
  training->queued++;
  return send_block(training, (step + 1) * training->parts);
}

mvs_status mvs_training_collect(mvs_training *training, mvs_step_result *out,
                                mvs_observation *seen) {
  mvs_session *session = training->session;
  result_slot *slot = &training->slots[training->collected % MVS_TRAINING_AHEAD];
  assert(training->collected < training->queued);
  MVS_TRY(session->device->reach(session->device, slot->ready, session->diag));
  *out = *(const mvs_step_result *)slot->staging;
  if (seen) mvs_diagnostics_observe(training->diagnostics, training->collected, seen);
  training->collected++;
  return MVS_OK;
}

const mvs_training_settings *mvs_training_settings_of(const mvs_training *training) {
  return &training->settings;
}

/* Takes the block that was sent ahead, if one was, to no purpose: another one is to come. */
static void drop_ahead(mvs_training *training) {
  if (training->ahead >= 0) mvs_feed_take(training->feed);
  training->ahead = -1;
}

mvs_status mvs_training_show(mvs_training *training, int64_t step, int64_t part) {
  drop_ahead(training);
  MVS_TRY(take_block(training, step * training->parts + part));
  return training->draw ? mvs_call_run(training->draw) : MVS_OK;
}

void *mvs_training_input(const mvs_training *training, const char *name) {
  for (int at = 0; at < training->count; at++)
    if (strcmp(training->tensors[at].tensor->name, name) == 0)
      return training->tensors[at].used;
  return NULL;
}

/* The block that was sent ahead is of a step that does not come. */
mvs_status mvs_training_go_back(mvs_training *training) {
  mvs_device *device = training->session->device;
  const float one = 1;
  assert(training->collected == training->queued);
  drop_ahead(training);
  device->copy(device, &training->result->taken, &one, sizeof one, MVS_COPY_TO_DEVICE);
  return mvs_call_refresh(training->grad);
}

void mvs_training_lend(mvs_training *training, float *weights) {
  assert(training->collected == training->queued);
  mvs_executor_set_flats(training->session->executor, weights, training->grads);
}

/* Steps may have been recorded that count on what they left of the weights. */
mvs_status mvs_training_take_back(mvs_training *training) {
  mvs_executor_set_flats(training->session->executor, training->params, training->grads);
  return mvs_call_refresh(training->grad);
}
