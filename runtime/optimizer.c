/* optimizer.c: AdamW over flat rows, and the average of the weights.
 *
 * Parameters stand in flat buffers, each starting on a row of its own, so the update of a
 * whole model is a few calls: one per run of neighbours with the same decay. The formulas
 * are graphs compiled with the model (compiler/ir/steps.c); here are only their scalars.
 * Gradients are not clipped in place: the factor is one of the scalars. */
#include "runtime/optimizer.h"

#include <math.h>
#include <stdlib.h>

/* A run of parameters in the flat buffers with the same decay. */
typedef struct span_of_params {
  int64_t first_row, rows;
  bool decay;
  mvs_flat_call *adamw;
} span_of_params;

struct mvs_optimizer_calls {
  MVS_LIST(span_of_params) spans;
  mvs_flat_call *sum_squares, *average;
};

/* Trained parameters have distinct offsets. */
static int by_offset(const void *left, const void *right) {
  const Mvs__Param *const *a = left, *const *b = right;
  return (*a)->offset == (*b)->offset ? 0 : (*a)->offset < (*b)->offset ? -1 : 1;
}

/* The row behind all layers of a parameter; the last one may be padding in part. */
static int64_t end_row(const Mvs__Param *param) {
  int64_t layers = param->layers ? param->layers : 1;
  int64_t end = param->offset + (layers - 1) * param->stride + param->elements;
  return (end + MVS_FLAT_ROW_ELEMENTS - 1) / MVS_FLAT_ROW_ELEMENTS;
}

/* Joins neighbours with the same decay. Parts of a pack share rows, and their decay agrees;
 * every other parameter starts on a row of its own. */
static void find_spans(mvs_optimizer *optimizer) {
  const mvs_program *program = optimizer->session->program;
  mvs_arena *arena = optimizer->session->arena;
  const Mvs__Param **params = MVS_ARRAY(arena, program->n_params + 1, const Mvs__Param *);
  size_t count = 0;
  for (size_t at = 0; at < program->n_params; at++)
    if (program->params[at]->trained) params[count++] = program->params[at];
  qsort(params, count, sizeof *params, by_offset);
  for (size_t at = 0; at < count; at++) {
    int64_t first = params[at]->offset / MVS_FLAT_ROW_ELEMENTS, end = end_row(params[at]);
    span_of_params *last =
        optimizer->calls->spans.count
            ? &optimizer->calls->spans.items[optimizer->calls->spans.count - 1]
            : NULL;
    bool touches = last && last->first_row + last->rows >= first;
    if (touches && last->decay == params[at]->decay) {
      if (end > last->first_row + last->rows) last->rows = end - last->first_row;
    } else {
      span_of_params next = {
          .first_row = first, .rows = end - first, .decay = params[at]->decay};
      MVS_PUSH(arena, &optimizer->calls->spans, next);
    }
  }
}

/* Buffers never move, so rows are bound once; only scalars change from step to step. */
static mvs_status prepare_calls(mvs_optimizer *optimizer) {
  mvs_session *session = optimizer->session;
  struct mvs_optimizer_calls *calls = optimizer->calls;
  int64_t rows = session->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
  void *rounded;
  MVS_TRY(mvs_executor_rounded(session->executor, &rounded));
  for (size_t at = 0; at < calls->spans.count; at++) {
    span_of_params *span = &calls->spans.items[at];
    int64_t first = span->first_row * MVS_FLAT_ROW_ELEMENTS;
    MVS_TRY(mvs_flat_new(session, "adamw", span->rows, &span->adamw));
    mvs_flat_rows(span->adamw, "p", optimizer->params + first);
    mvs_flat_rows(span->adamw, "m", optimizer->m + first);
    mvs_flat_rows(span->adamw, "v", optimizer->v + first);
    mvs_flat_rows(span->adamw, "g", optimizer->grads + first);
    if (rounded) mvs_flat_rows(span->adamw, "rounded", (uint16_t *)rounded + first);
  }
  MVS_TRY(mvs_flat_new(session, "sum_squares", rows, &calls->sum_squares));
  mvs_flat_rows(calls->sum_squares, "g", optimizer->grads);
  if (!optimizer->average) return MVS_OK;
  MVS_TRY(mvs_flat_new(session, "average", rows, &calls->average));
  mvs_flat_rows(calls->average, "e", optimizer->average);
  mvs_flat_rows(calls->average, "p", optimizer->params);
  return MVS_OK;
}

/* Moments start at zero, which mvs_session_flat makes them. */
mvs_status mvs_optimizer_new(mvs_session *session, const mvs_optimizer_settings *settings,
                             float *params, float *grads, mvs_optimizer **out) {
  mvs_optimizer *optimizer = MVS_NEW(session->arena, mvs_optimizer);
  *optimizer = (mvs_optimizer){
      .session = session, .settings = *settings, .params = params, .grads = grads};
  optimizer->calls = MVS_NEW(session->arena, struct mvs_optimizer_calls);
  MVS_TRY(mvs_session_flat(session, &optimizer->m));
  MVS_TRY(mvs_session_flat(session, &optimizer->v));
  if (settings->ema > 0) MVS_TRY(mvs_session_flat(session, &optimizer->average));
  find_spans(optimizer);
  MVS_TRY(prepare_calls(optimizer));
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

/* Padding is zero and adds nothing. */
mvs_status mvs_optimizer_norm(mvs_optimizer *optimizer, double *norm) {
  double total;
  MVS_TRY(mvs_flat_run(optimizer->calls->sum_squares));
  MVS_TRY(mvs_flat_result(optimizer->calls->sum_squares, "total", &total));
  *norm = sqrt(total);
  return MVS_OK;
}

/* From the first step on more than zero: step k counts from 0. */
double mvs_optimizer_rate(const mvs_optimizer_settings *settings, int64_t step) {
  if (settings->warmup <= 0) return settings->lr;
  return settings->lr * fmin(1, (double)(step + 1) / (double)settings->warmup);
}

/* Scalars are computed in double and rounded once. */
static mvs_status update_span(const mvs_optimizer *optimizer, span_of_params *span,
                              int64_t step, double clip) {
  const mvs_optimizer_settings *settings = &optimizer->settings;
  double count = (double)(step + 1);
  /* The kernel sees rounded betas: corrections from the same numbers cancel their error, which
   * for 1 - 0.999 would be 5e-5. */
  double beta1 = (float)settings->beta1, beta2 = (float)settings->beta2;
  const struct {
    const char *name;
    double value;
  } scalars[] = {
      {"lr", mvs_optimizer_rate(settings, step)},
      {"beta1", settings->beta1},
      {"beta2", settings->beta2},
      {"eps", settings->eps},
      {"decay", span->decay ? settings->weight_decay : 0},
      {"clip", clip},
      {"correction1", 1 - pow(beta1, count)},
      {"correction2", 1 - pow(beta2, count)},
  };
  for (size_t at = 0; at < sizeof scalars / sizeof *scalars; at++)
    MVS_TRY(mvs_flat_scalar(span->adamw, scalars[at].name, scalars[at].value));
  return mvs_flat_run(span->adamw);
}

/* The average follows the weights of this step, after their update. */
mvs_status mvs_optimizer_step(mvs_optimizer *optimizer, int64_t step, double norm) {
  const mvs_optimizer_settings *settings = &optimizer->settings;
  double clip = settings->clip > 0 ? fmin(1, settings->clip / (norm + 1e-6)) : 1;
  for (size_t at = 0; at < optimizer->calls->spans.count; at++)
    MVS_TRY(update_span(optimizer, &optimizer->calls->spans.items[at], step, clip));
  mvs_executor_weights_changed(optimizer->session->executor, true);
  if (!optimizer->average) return MVS_OK;
  MVS_TRY(mvs_flat_scalar(optimizer->calls->average, "decay", settings->ema));
  return mvs_flat_run(optimizer->calls->average);
}
