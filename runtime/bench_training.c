/* bench_training.c: training steps on made-up data, as `train` takes them but for its files. */
#include <inttypes.h>

#include "runtime/bench.h"
#include "runtime/bench_data.h"
#include "runtime/init.h"
#include "runtime/memory.h"
#include "runtime/progress.h"
#include "runtime/training.h"

typedef struct training_state {
  mvs_training_settings settings;
  mvs_training *training;
  int64_t step; /* the next one */
} training_state;

/* The model's own settings: times do not depend on them, but which kernels run does. */
static mvs_status settle(mvs_bench *bench) {
  mvs_session *session = bench->session;
  const Mvs__Settings *model = session->program->settings;
  training_state *state = bench->state = MVS_NEW(session->arena, training_state);
  state->settings = (mvs_training_settings){
      .optimizer = {.lr = model->lr,
                    .beta1 = model->beta1,
                    .beta2 = model->beta2,
                    .eps = model->adam_eps,
                    .weight_decay = model->weight_decay,
                    .muon = model->muon,
                    .momentum = model->momentum,
                    .clip = model->clip,
                    .ema = model->ema},
      .batch = mvs_option_integer(session->options, "batch", model->batch)};
  state->settings.micro_batch =
      mvs_option_integer(session->options, "micro-batch", state->settings.batch);
  bench->batch = state->settings.batch;
  bench->micro_batch = state->settings.micro_batch;
  return MVS_OK;
}

/* Forward and backward alone, on the samples of the last step. */
static mvs_status run_gradients(void *user) {
  const training_state *state = user;
  return mvs_call_run(mvs_training_grad_call(state->training));
}

static mvs_status prepare(mvs_bench *bench) {
  mvs_session *session = bench->session;
  training_state *state = bench->state;
  mvs_memory_use use = {.functions = mvs_training_functions,
                        .batch = state->settings.micro_batch,
                        .gradient_flats = mvs_training_gradient_flats(&state->settings),
                        .optimizer_flats = 2,
                        .landings = MVS_FEED_SLOTS,
                        .average_flats = state->settings.optimizer.ema > 0};
  mvs_recompute recompute;
  MVS_TRY(mvs_memory_choose(session, &use, "a training step", "a smaller --micro-batch",
                            &recompute));
  bench->kept = mvs_recompute_text(session, &use, recompute);
  MVS_TRY(mvs_training_new(session, &state->settings, &state->training));
  MVS_TRY(mvs_training_use_data(state->training, mvs_bench_data(session)));
  MVS_TRY(mvs_init_params(session, 0, mvs_training_optimizer(state->training)->params));
  mvs_optimizer_start(mvs_training_optimizer(state->training));
  bench->recording = mvs_recording_new(session, run_gradients, state);
  return MVS_OK;
}

/* As in `train`, without a file or a log: each step is queued before the result of the one
 * before it is asked for. */
static mvs_status run_profiled(mvs_bench *bench, int64_t times) {
  training_state *state = bench->state;
  mvs_step_result result;
  for (int64_t at = 0; at < times; at++) {
    MVS_TRY(mvs_training_queue(state->training, state->step++));
    if (at > 0) MVS_TRY(mvs_training_collect(state->training, &result, NULL));
  }
  return times > 0 ? mvs_training_collect(state->training, &result, NULL) : MVS_OK;
}

static mvs_status run_steps(mvs_bench *bench, int64_t times, double *seconds) {
  mvs_session *session = bench->session;
  double begin = mvs_seconds();
  MVS_TRY(run_profiled(bench, times));
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  *seconds = mvs_seconds() - begin;
  return MVS_OK;
}

const mvs_bench_work mvs_bench_training = {
    "training step", "grad", "forward + backward", settle, prepare, run_steps, run_profiled};
