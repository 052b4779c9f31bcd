/* bench_sampling.c: steps of the sampler on made-up noise and conditions. */
#include "runtime/bench.h"
#include "runtime/init.h"
#include "runtime/memory.h"
#include "runtime/progress.h"
#include "runtime/random.h"
#include "runtime/sampler.h"

#define DEFAULT_BATCH 8
#define NOISE_STREAM  0x20000002u
/* Steps of a sampling run before those that count: its calls are made and recorded in them. */
#define STEPS_BEFORE 6

static const char *const functions[] = {"forward", "sampler_step", NULL};

typedef struct sampling_state {
  mvs_sampling sampling;
  mvs_call *forward, *step;
  bool guided;
} sampling_state;

/* Without a state there is nothing to step. */
static mvs_status settle(mvs_bench *bench) {
  mvs_session *session = bench->session;
  bench->batch = mvs_option_integer(session->options, "batch", DEFAULT_BATCH);
  bench->micro_batch = bench->batch;
  bench->state = MVS_NEW(session->arena, sampling_state);
  for (const char *const *name = functions; *name; name++)
    if (!mvs_state_input(session->program) || !mvs_program_function(session->program, *name))
      return MVS_FAIL(session->diag, MVS_ERR_NAME, "model '%s' has no state to sample",
                      session->program->model);
  return MVS_OK;
}

/* Normal numbers, or class 0 for integers. */
static void *made_up(mvs_session *session, const Mvs__ModelInput *input, int64_t samples) {
  const mvs_random_key key = {.stream = NOISE_STREAM};
  int64_t elements = mvs_input_elements(input) * samples;
  float *values = MVS_ARRAY(session->arena, (size_t)elements + 1, float);
  if (strcmp(input->dtype, "i32") != 0) mvs_random_normals(key, 0, elements, values);
  return values;
}

/* Both sides of guidance get values, as a sampling run gives them. */
static void prepare_conditions(mvs_bench *bench) {
  mvs_session *session = bench->session;
  mvs_sampling *sampling = &((sampling_state *)bench->state)->sampling;
  mvs_condition *conditions =
      MVS_ARRAY(session->arena, session->program->n_inputs + 1, mvs_condition);
  for (size_t at = 0; at < session->program->n_inputs; at++) {
    const Mvs__ModelInput *input = session->program->inputs[at];
    if (!input->conditioning) continue;
    conditions[sampling->condition_count++] = (mvs_condition){
        input, made_up(session, input, bench->batch), made_up(session, input, 1)};
  }
  sampling->conditions = conditions;
}

/* All interface tensors of a call get memory of their own, inputs filled where they are a
 * model's. */
static mvs_status bind_all(mvs_bench *bench, mvs_call *call) {
  mvs_session *session = bench->session;
  const Mvs__Function *function = mvs_call_function(call);
  for (size_t at = 0; at < function->n_inputs + function->n_outputs; at++) {
    bool input = at < function->n_inputs;
    const Mvs__Tensor *tensor =
        input ? function->inputs[at] : function->outputs[at - function->n_inputs];
    int64_t bytes = mvs_tensor_elements(tensor, bench->batch) * mvs_dtype_bytes(tensor->dtype);
    void *memory;
    MVS_TRY(mvs_session_alloc(session, bytes, &memory));
    session->device->clear(session->device, memory, bytes);
    for (size_t of = 0; input && of < session->program->n_inputs; of++) {
      const Mvs__ModelInput *model = session->program->inputs[of];
      if (strcmp(model->name, tensor->name) == 0)
        session->device->copy(session->device, memory, made_up(session, model, bench->batch),
                              bytes, MVS_COPY_TO_DEVICE);
    }
    MVS_TRY(input ? mvs_call_bind_input(call, tensor->name, memory)
                  : mvs_call_bind_output(call, tensor->name, memory));
  }
  return MVS_OK;
}

/* One evaluation. */
static mvs_status run_forward(void *user) {
  const sampling_state *state = user;
  return mvs_call_run(state->forward);
}

static mvs_status prepare(mvs_bench *bench) {
  mvs_session *session = bench->session;
  const Mvs__Settings *model = session->program->settings;
  sampling_state *state = bench->state;
  mvs_memory_use use = {.functions = functions, .batch = bench->batch};
  mvs_recompute recompute;
  float *params;
  MVS_TRY(mvs_memory_choose(session, &use, "a sampler step", "a smaller --batch", &recompute));
  bench->kept = mvs_recompute_text(session, &use, recompute);
  MVS_TRY(mvs_session_flat(session, &params));
  MVS_TRY(mvs_init_params(session, 0, params));
  mvs_executor_set_flats(session->executor, params, NULL);
  state->sampling = (mvs_sampling){
      .settings = {.cfg = model->cfg, .shift = model->sample_shift},
      .count = bench->batch,
      .batch = bench->batch,
      .state = made_up(session, mvs_state_input(session->program), bench->batch)};
  prepare_conditions(bench);
  state->guided = model->cfg > 1 && state->sampling.condition_count > 0;
  MVS_TRY(mvs_call_new(session->executor, "forward", bench->batch, &state->forward));
  MVS_TRY(mvs_call_new(session->executor, "sampler_step", bench->batch, &state->step));
  MVS_TRY(bind_all(bench, state->forward));
  bench->recording = mvs_recording_new(session, run_forward, state);
  return bind_all(bench, state->step);
}

/* One run of the sampler, of so many steps. */
static mvs_status sample(mvs_bench *bench, int64_t steps, double *seconds) {
  mvs_sampling sampling = ((sampling_state *)bench->state)->sampling;
  double begin = mvs_seconds();
  sampling.settings.steps = steps;
  MVS_TRY(mvs_sample(bench->session, &sampling));
  *seconds = mvs_seconds() - begin;
  return MVS_OK;
}

/* What a run takes beside its steps drops out of the difference of two. */
static mvs_status run_steps(mvs_bench *bench, int64_t times, double *seconds) {
  double before, all;
  MVS_TRY(sample(bench, STEPS_BEFORE, &before));
  MVS_TRY(sample(bench, STEPS_BEFORE + times, &all));
  *seconds = all > before ? all - before : all;
  return MVS_OK;
}

/* The sampler's own calls in its order, over the same memory every time. */
static mvs_status run_profiled(mvs_bench *bench, int64_t times) {
  const sampling_state *state = bench->state;
  for (int64_t at = 0; at < times; at++) {
    MVS_TRY(mvs_call_run(state->forward));
    if (state->guided) MVS_TRY(mvs_call_run(state->forward));
    MVS_TRY(mvs_call_run(state->step));
  }
  return MVS_OK;
}

const mvs_bench_work mvs_bench_sampling = {"sampler step", "forward", "one evaluation", settle,
                                           prepare,        run_steps, run_profiled};
