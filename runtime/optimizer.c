/* optimizer.c: AdamW over flat rows, and the average of the weights.
 *
 * All parameters stand in one flat buffer, each starting on a row of its own, so the update
 * of a whole model is one call; what differs between parameters, rate and decay, are numbers
 * of a row. The formulas are graphs compiled with the model (compiler/ir/steps.c); here is
 * where their numbers come from. Gradients are not clipped in place: the factor is a scalar
 * that "clip" leaves on the device for "adamw", with whether the step is taken at all. */
#include "runtime/optimizer.h"

#include <math.h>
#include <stdlib.h>

struct mvs_optimizer_calls {
  mvs_flat_call *adamw, *average;
  mvs_call *sum_squares, *clip, *muon; /* muon: NULL without */
};

/* The row behind all layers of a parameter; the last one may be padding in part. */
static int64_t end_row(const Mvs__Param *param) {
  int64_t layers = param->layers ? param->layers : 1;
  int64_t end = param->offset + (layers - 1) * param->stride + param->elements;
  return (end + MVS_FLAT_ROW_ELEMENTS - 1) / MVS_FLAT_ROW_ELEMENTS;
}

/* What a row takes from its parameter. */
typedef float row_number(const mvs_optimizer *optimizer, const Mvs__Param *param);

static float decay_of(const mvs_optimizer *optimizer, const Mvs__Param *param) {
  return (float)(optimizer->settings.weight_decay * param->decay);
}

/* In the rows of Muon's parameters "adamw" keeps their momentum. */
static float beta1_of(const mvs_optimizer *optimizer, const Mvs__Param *param) {
  const mvs_optimizer_settings *settings = &optimizer->settings;
  return (float)(param->orthogonal ? settings->momentum : settings->beta1);
}

/* Where "adamw" finds the step in the rows of v and does not make it. */
static float direct_of(const mvs_optimizer *optimizer, const Mvs__Param *param) {
  (void)optimizer;
  return param->orthogonal ? 1 : 0;
}

static float rate_of(const mvs_optimizer *optimizer, const Mvs__Param *param) {
  (void)optimizer;
  return (float)param->rate;
}

/* A number for each row. Parts of a pack share rows, and their numbers agree; every other
 * parameter starts on a row of its own. Padding holds zeros and keeps them. */
static mvs_status upload_rows(mvs_optimizer *optimizer, int64_t rows, row_number *number,
                              float **out) {
  mvs_session *session = optimizer->session;
  void *memory = NULL;
  float *values = calloc((size_t)rows + 1, sizeof *values);
  if (!values) return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory");
  for (size_t at = 0; at < session->program->n_params; at++) {
    const Mvs__Param *param = session->program->params[at];
    if (!param->trained) continue;
    int64_t first = param->offset / MVS_FLAT_ROW_ELEMENTS, end = end_row(param);
    for (int64_t row = first; row < end; row++) values[row] = number(optimizer, param);
  }
  mvs_status status =
      mvs_session_upload(session, values, rows * (int64_t)sizeof *values, &memory);
  free(values);
  *out = memory;
  return status;
}

/* The norm, the factor and whether the step is taken, from the sum of squares and the loss.
 * `taken` is read and written in one place, so a step that is not taken is the last one. */
static mvs_status prepare_clip(mvs_optimizer *optimizer, mvs_step_result *result, double *total,
                               void **factor) {
  mvs_session *session = optimizer->session;
  mvs_call **clip = &optimizer->calls->clip;
  double limit = optimizer->settings.clip > 0 ? optimizer->settings.clip : INFINITY;
  const float one = 1;
  void *limit_place;
  MVS_TRY(mvs_session_alloc(session, sizeof(float), factor));
  MVS_TRY(mvs_session_upload(session, &limit, sizeof limit, &limit_place));
  session->device->copy(session->device, &result->taken, &one, sizeof one, MVS_COPY_TO_DEVICE);
  MVS_TRY(mvs_call_new(session->executor, "clip", 1, clip));
  MVS_TRY(mvs_call_bind(*clip, "total", total));
  MVS_TRY(mvs_call_bind(*clip, "loss", &result->loss));
  MVS_TRY(mvs_call_bind(*clip, "limit", limit_place));
  MVS_TRY(mvs_call_bind(*clip, "norm", &result->norm));
  MVS_TRY(mvs_call_bind(*clip, "clip", *factor));
  return mvs_call_bind(*clip, "taken", &result->taken);
}

/* Every scalar is either the run's, set here once, or stands where the step puts it. */
static mvs_status bind_adamw(mvs_optimizer *optimizer, const mvs_optimizer_places *places,
                             void *factor) {
  const mvs_optimizer_settings *settings = &optimizer->settings;
  mvs_flat_call *adamw = optimizer->calls->adamw;
  if (!settings->muon) MVS_TRY(mvs_flat_scalar(adamw, "beta1", settings->beta1));
  MVS_TRY(mvs_flat_scalar(adamw, "beta2", settings->beta2));
  MVS_TRY(mvs_flat_scalar(adamw, "eps", settings->eps));
  MVS_TRY(mvs_flat_share(adamw, "lr", (void *)&places->rates->lr));
  MVS_TRY(mvs_flat_share(adamw, "correction1", (void *)&places->rates->correction1));
  MVS_TRY(mvs_flat_share(adamw, "correction2", (void *)&places->rates->correction2));
  MVS_TRY(mvs_flat_share(adamw, "clip", factor));
  return mvs_flat_share(adamw, "taken", &places->result->taken);
}

/* The part of a flat buffer that "m/NAME" or its like names. */
static mvs_status bind_place(mvs_optimizer *optimizer, const char *name, float *flat,
                             bool written) {
  const mvs_program *program = optimizer->session->program;
  mvs_call *muon = optimizer->calls->muon;
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *param = program->params[at];
    if (strcmp(param->name, name + 2) != 0) continue;
    float *place = flat + param->offset;
    return written ? mvs_call_bind_output(muon, name, place)
                   : mvs_call_bind_input(muon, name, place);
  }
  return MVS_FAIL(optimizer->session->diag, MVS_ERR_INTERNAL,
                  "internal: function 'muon' names no parameter by '%s'", name);
}

/* Its tensors lie in the flat buffers: it reads m and gradients and leaves its direction in v.
 */
static mvs_status prepare_muon(mvs_optimizer *optimizer, const mvs_optimizer_places *places,
                               void *factor) {
  mvs_session *session = optimizer->session;
  mvs_call **muon = &optimizer->calls->muon;
  const float momentum = (float)optimizer->settings.momentum;
  void *place;
  if (!mvs_program_function(session->program, "muon")) return MVS_OK;
  MVS_TRY(mvs_call_new(session->executor, "muon", 1, muon));
  const Mvs__Function *function = mvs_call_function(*muon);
  for (size_t at = 0; at < function->n_inputs; at++) {
    const char *name = function->inputs[at]->name;
    if (name[1] != '/') continue; /* a scalar */
    MVS_TRY(bind_place(optimizer, name, *name == 'm' ? optimizer->m : places->grads, false));
  }
  for (size_t at = 0; at < function->n_outputs; at++)
    MVS_TRY(bind_place(optimizer, function->outputs[at]->name, optimizer->v, true));
  MVS_TRY(mvs_session_upload(session, &momentum, sizeof momentum, &place));
  MVS_TRY(mvs_call_bind(*muon, "momentum", place));
  MVS_TRY(mvs_call_bind(*muon, "clip", factor));
  return mvs_call_bind(*muon, "taken", &places->result->taken);
}

/* What "adamw" reads by row where Muon has parameters of its own. */
static mvs_status prepare_muon_rows(mvs_optimizer *optimizer, int64_t rows) {
  float *beta1, *direct;
  if (!optimizer->settings.muon) return MVS_OK;
  MVS_TRY(upload_rows(optimizer, rows, beta1_of, &beta1));
  MVS_TRY(upload_rows(optimizer, rows, direct_of, &direct));
  mvs_flat_rows(optimizer->calls->adamw, "beta1", beta1);
  mvs_flat_rows(optimizer->calls->adamw, "direct", direct);
  return MVS_OK;
}

static mvs_status prepare_average(mvs_optimizer *optimizer, int64_t rows,
                                  mvs_step_result *result) {
  mvs_flat_call **average = &optimizer->calls->average;
  MVS_TRY(mvs_flat_new(optimizer->session, "average", rows, average));
  mvs_flat_rows(*average, "e", optimizer->average);
  mvs_flat_rows(*average, "p", optimizer->params);
  MVS_TRY(mvs_flat_scalar(*average, "decay", optimizer->settings.ema));
  return mvs_flat_share(*average, "taken", &result->taken);
}

/* Buffers never move, so everything is bound once. */
static mvs_status prepare_calls(mvs_optimizer *optimizer, const mvs_optimizer_places *places) {
  mvs_session *session = optimizer->session;
  struct mvs_optimizer_calls *calls = optimizer->calls;
  int64_t rows = session->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
  float *decay, *rate;
  double *total;
  void *factor, *rounded;
  MVS_TRY(mvs_flat_squares(session, places->grads, &calls->sum_squares, &optimizer->row_squares,
                           &total));
  MVS_TRY(prepare_clip(optimizer, places->result, total, &factor));
  MVS_TRY(upload_rows(optimizer, rows, decay_of, &decay));
  MVS_TRY(upload_rows(optimizer, rows, rate_of, &rate));
  MVS_TRY(mvs_flat_new(session, "adamw", rows, &calls->adamw));
  mvs_flat_rows(calls->adamw, "p", optimizer->params);
  mvs_flat_rows(calls->adamw, "m", optimizer->m);
  mvs_flat_rows(calls->adamw, "v", optimizer->v);
  mvs_flat_rows(calls->adamw, "g", places->grads);
  mvs_flat_rows(calls->adamw, "decay", decay);
  mvs_flat_rows(calls->adamw, "rate", rate);
  MVS_TRY(mvs_executor_rounded(session->executor, &rounded));
  mvs_flat_rows(calls->adamw, "rounded", rounded);
  MVS_TRY(bind_adamw(optimizer, places, factor));
  MVS_TRY(prepare_muon_rows(optimizer, rows));
  MVS_TRY(prepare_muon(optimizer, places, factor));
  return optimizer->average ? prepare_average(optimizer, rows, places->result) : MVS_OK;
}

/* Moments start at zero, which mvs_session_flat makes them. */
mvs_status mvs_optimizer_new(mvs_session *session, const mvs_optimizer_settings *settings,
                             const mvs_optimizer_places *places, mvs_optimizer **out) {
  mvs_optimizer *optimizer = MVS_NEW(session->arena, mvs_optimizer);
  *optimizer =
      (mvs_optimizer){.session = session, .settings = *settings, .params = places->params};
  optimizer->calls = MVS_NEW(session->arena, struct mvs_optimizer_calls);
  MVS_TRY(mvs_session_flat(session, &optimizer->m));
  MVS_TRY(mvs_session_flat(session, &optimizer->v));
  if (settings->ema > 0) MVS_TRY(mvs_session_flat(session, &optimizer->average));
  MVS_TRY(prepare_calls(optimizer, places));
  *out = optimizer;
  return MVS_OK;
}

/* Behind setting the weights, before the first step; a resumed run loads its average
 * instead. */
void mvs_optimizer_start(mvs_optimizer *optimizer) {
  mvs_device *device = optimizer->session->device;
  if (optimizer->average)
    device->copy(device, optimizer->average, optimizer->params,
                 mvs_flat_bytes(optimizer->session->program), MVS_COPY_WITHIN);
}

/* From the first step on more than zero: step k counts from 0. */
double mvs_optimizer_rate(const mvs_optimizer_settings *settings, int64_t step) {
  double rate = settings->lr;
  if (settings->turns) rate *= mvs_turns_rate(settings->turns, step);
  if (settings->warmup <= 0) return rate;
  return rate * fmin(1, (double)(step + 1) / (double)settings->warmup);
}

/* The kernel sees rounded betas: corrections from the same numbers cancel their error, which
 * for 1 - 0.999 would be 5e-5. */
mvs_step_rates mvs_optimizer_rates(const mvs_optimizer_settings *settings, int64_t step) {
  double count = (double)(step + 1);
  double beta1 = (float)settings->beta1, beta2 = (float)settings->beta2;
  return (mvs_step_rates){.lr = (float)mvs_optimizer_rate(settings, step),
                          .correction1 = (float)(1 - pow(beta1, count)),
                          .correction2 = (float)(1 - pow(beta2, count))};
}

/* The average follows the weights of this step, after their update. */
mvs_status mvs_optimizer_update(mvs_optimizer *optimizer) {
  const struct mvs_optimizer_calls *calls = optimizer->calls;
  MVS_TRY(mvs_call_run(calls->sum_squares));
  MVS_TRY(mvs_call_run(calls->clip));
  if (calls->muon) MVS_TRY(mvs_call_run(calls->muon));
  MVS_TRY(mvs_flat_run(calls->adamw));
  return calls->average ? mvs_flat_run(calls->average) : MVS_OK;
}
