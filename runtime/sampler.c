/* sampler.c: Euler steps from noise to samples, a group at a time.
 *
 * A group is as many samples as memory was planned for; the last one may be smaller and then
 * has calls of its own, in the same memory. With guidance the model runs twice a step, with and
 * without the condition; the step itself is a graph (compiler/ir/steps.c) that takes both
 * velocities and gives the next state, which is copied over the one it came from. So every
 * step has the same addresses and is one recording; what differs, its length, is copied to
 * its place on the device beforehand. Samples do not depend on the grouping: noise belongs to
 * a sample's number, and rows of a batch do not meet. A sampler keeps its memory and calls, so
 * that a run that trains can draw again and again. */
#include "runtime/sampler.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/recording.h"

const char *const mvs_sampler_functions[] = {"forward", "sampler_step", NULL};

/* What runs a step for groups of one size. */
typedef struct group {
  mvs_sampler *sampler;
  int64_t samples;
  mvs_call *forward, *step;
  mvs_recording *recording; /* of a step */
} group;

/* Device memory for the largest group. */
struct mvs_sampler {
  mvs_session *session;
  const mvs_sampling *sampling;
  int64_t batch, state_bytes;
  void *state, *next;          /* next: what a step gives */
  void *with, *without;        /* velocities */
  void **conditions, **absent; /* per condition: given and unconditional values */
  float *lengths;              /* of all steps, in their order */
  void *dt, *cfg;              /* dt: the length of the step at hand */
  bool guided;
  group whole, rest; /* rest: what is left behind whole batches; no samples: nothing */
};

/* The first one where there are several. */
const Mvs__ModelInput *mvs_state_input(const mvs_program *program) {
  for (size_t at = 0; at < program->n_inputs; at++)
    if (!program->inputs[at]->conditioning) return program->inputs[at];
  return NULL;
}

/* 1 for a scalar. */
int64_t mvs_input_elements(const Mvs__ModelInput *input) {
  int64_t count = 1;
  for (size_t at = 0; at < input->n_shape; at++) count *= input->shape[at];
  return count;
}

/* Keeps 0 and 1 where they are; shift 1 changes nothing. */
double mvs_shifted_time(double t, double shift) { return shift * t / (1 + (shift - 1) * t); }

/* In the program's dtype, which is f32 or i32. */
static int64_t sample_bytes(const Mvs__ModelInput *input) {
  return mvs_input_elements(input) * mvs_dtype_bytes(input->dtype);
}

/* The unconditional value is the same for all samples: set once. */
static mvs_status prepare_conditions(mvs_sampler *all) {
  mvs_session *session = all->session;
  const mvs_sampling *sampling = all->sampling;
  all->conditions = MVS_ARRAY(session->arena, sampling->condition_count + 1, void *);
  all->absent = MVS_ARRAY(session->arena, sampling->condition_count + 1, void *);
  for (size_t at = 0; at < sampling->condition_count; at++) {
    const mvs_condition *condition = &sampling->conditions[at];
    int64_t bytes = sample_bytes(condition->input);
    MVS_TRY(mvs_session_alloc(session, bytes * all->batch, &all->conditions[at]));
    MVS_TRY(mvs_session_alloc(session, bytes * all->batch, &all->absent[at]));
    for (int64_t each = 0; each < all->batch; each++)
      session->device->copy(session->device, (char *)all->absent[at] + each * bytes,
                            condition->without, bytes, MVS_COPY_TO_DEVICE);
  }
  return MVS_OK;
}

/* From time number/steps to (number-1)/steps, the last number first. */
static mvs_status upload_lengths(mvs_sampler *all) {
  const mvs_sampler_settings *settings = &all->sampling->settings;
  double steps = (double)settings->steps;
  float *lengths = MVS_ARRAY(all->session->arena, (size_t)settings->steps, float);
  void *memory;
  for (int64_t number = settings->steps; number >= 1; number--) {
    double from = mvs_shifted_time((double)number / steps, settings->shift);
    double to = mvs_shifted_time((double)(number - 1) / steps, settings->shift);
    lengths[settings->steps - number] = (float)(from - to);
  }
  MVS_TRY(mvs_session_upload(all->session, lengths, settings->steps * (int64_t)sizeof(float),
                             &memory));
  all->lengths = memory;
  return MVS_OK;
}

/* Without guidance both velocities are one buffer: u + cfg (c - u) is then c exactly. */
static mvs_status prepare(mvs_sampler *all) {
  mvs_session *session = all->session;
  float cfg = (float)all->sampling->settings.cfg;
  all->state_bytes = sample_bytes(mvs_state_input(session->program));
  all->guided = all->sampling->settings.cfg > 1 && all->sampling->condition_count > 0;
  int64_t bytes = all->state_bytes * all->batch;
  MVS_TRY(mvs_session_alloc(session, bytes, &all->state));
  MVS_TRY(mvs_session_alloc(session, bytes, &all->next));
  MVS_TRY(mvs_session_alloc(session, bytes, &all->with));
  all->without = all->with;
  if (all->guided) MVS_TRY(mvs_session_alloc(session, bytes, &all->without));
  MVS_TRY(mvs_session_alloc(session, sizeof(float), &all->dt));
  MVS_TRY(mvs_session_upload(session, &cfg, sizeof cfg, &all->cfg));
  MVS_TRY(upload_lengths(all));
  return prepare_conditions(all);
}

static mvs_status euler_step(void *user);

/* Prepares the calls for so many samples, at most those that the memory was made for. */
static mvs_status prepare_group(mvs_sampler *all, int64_t samples, group *out) {
  mvs_session *session = all->session;
  *out = (group){.sampler = all, .samples = samples};
  if (samples == 0) return MVS_OK;
  out->recording = mvs_recording_new(session, euler_step, out);
  MVS_TRY(mvs_call_new(session->executor, "forward", samples, &out->forward));
  MVS_TRY(
      mvs_call_bind_input(out->forward, mvs_state_input(session->program)->name, all->state));
  MVS_TRY(mvs_call_new(session->executor, "sampler_step", samples, &out->step));
  MVS_TRY(mvs_call_bind_input(out->step, "x", all->state));
  MVS_TRY(mvs_call_bind_output(out->step, "x", all->next));
  MVS_TRY(mvs_call_bind_input(out->step, "conditional", all->with));
  MVS_TRY(mvs_call_bind_input(out->step, "unconditional", all->without));
  MVS_TRY(mvs_call_bind_input(out->step, "dt", all->dt));
  return mvs_call_bind_input(out->step, "cfg", all->cfg);
}

/* v of the present state under these conditions. */
static mvs_status evaluate(const group *of, void **conditions, void *velocity) {
  const mvs_sampler *all = of->sampler;
  for (size_t at = 0; at < all->sampling->condition_count; at++)
    MVS_TRY(mvs_call_bind_input(of->forward, all->sampling->conditions[at].input->name,
                                conditions[at]));
  MVS_TRY(mvs_call_bind_output(of->forward, all->session->program->output, velocity));
  return mvs_call_run(of->forward);
}

/* One step of length dt. */
static mvs_status euler_step(void *user) {
  const group *of = user;
  const mvs_sampler *all = of->sampler;
  mvs_device *device = all->session->device;
  MVS_TRY(evaluate(of, all->conditions, all->with));
  if (all->guided) MVS_TRY(evaluate(of, all->absent, all->without));
  MVS_TRY(mvs_call_run(of->step));
  device->copy(device, all->state, all->next, of->samples * all->state_bytes, MVS_COPY_WITHIN);
  return MVS_OK;
}

/* Cleared by the last step of each group. */
static void show_progress(const mvs_sampling *sampling, int64_t first, int64_t number) {
  if (!isatty(STDERR_FILENO)) return;
  int64_t done = sampling->settings.steps - number + 1;
  fprintf(stderr, "\rsamples %" PRId64 " of %" PRId64 ", step %" PRId64 "/%" PRId64 "\033[K",
          first + 1, sampling->count, done, sampling->settings.steps);
  if (number == 1) fputs("\r\033[K", stderr);
}

/* The results overwrite the noise, which is not needed any more. */
static mvs_status draw_group(const group *of, int64_t first) {
  const mvs_sampler *all = of->sampler;
  mvs_device *device = all->session->device;
  const mvs_sampling *sampling = all->sampling;
  int64_t count = of->samples;
  char *state = (char *)sampling->state + first * all->state_bytes;
  device->copy(device, all->state, state, count * all->state_bytes, MVS_COPY_TO_DEVICE);
  for (size_t at = 0; at < sampling->condition_count; at++) {
    const mvs_condition *condition = &sampling->conditions[at];
    int64_t bytes = sample_bytes(condition->input);
    device->copy(device, all->conditions[at], (const char *)condition->values + first * bytes,
                 count * bytes, MVS_COPY_TO_DEVICE);
  }
  for (int64_t number = sampling->settings.steps; number >= 1; number--) {
    device->copy(device, all->dt, all->lengths + (sampling->settings.steps - number),
                 sizeof(float), MVS_COPY_WITHIN);
    MVS_TRY(mvs_recording_run(of->recording));
    show_progress(sampling, first, number);
  }
  MVS_TRY(device->synchronize(device, all->session->diag));
  device->copy(device, state, all->state, count * all->state_bytes, MVS_COPY_TO_HOST);
  return MVS_OK;
}

/* settings.steps is at least 1: the option's row sees to it. */
mvs_status mvs_sampler_new(mvs_session *session, const mvs_sampling *sampling,
                           mvs_sampler **out) {
  int64_t batch = sampling->count < sampling->batch ? sampling->count : sampling->batch;
  mvs_sampler *sampler = MVS_NEW(session->arena, mvs_sampler);
  *sampler = (mvs_sampler){.session = session, .sampling = sampling, .batch = batch};
  MVS_TRY(prepare(sampler));
  MVS_TRY(prepare_group(sampler, batch, &sampler->whole));
  MVS_TRY(prepare_group(sampler, sampling->count % batch, &sampler->rest));
  *out = sampler;
  return MVS_OK;
}

/* What follows from the weights is brought up to date once, ahead of what is recorded: other
 * weights may stand there than the last time. */
mvs_status mvs_sampler_draw(mvs_sampler *sampler) {
  const group *whole = &sampler->whole, *rest = &sampler->rest;
  int64_t last = sampler->sampling->count - rest->samples;
  MVS_TRY(mvs_call_refresh(whole->forward));
  for (int64_t at = 0; at < last; at += whole->samples) MVS_TRY(draw_group(whole, at));
  return rest->samples ? draw_group(rest, last) : MVS_OK;
}

/* What was recorded is given up at once: nothing draws with it again. */
mvs_status mvs_sample(mvs_session *session, const mvs_sampling *sampling) {
  mvs_sampler *sampler;
  MVS_TRY(mvs_sampler_new(session, sampling, &sampler));
  mvs_status status = mvs_sampler_draw(sampler);
  mvs_recording_free(sampler->whole.recording);
  if (sampler->rest.recording) mvs_recording_free(sampler->rest.recording);
  return status;
}
