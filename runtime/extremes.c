/* extremes.c: the samples of a step once more, forward alone.
 *
 * Nothing is kept for this while training goes well. The draw of a step follows from its
 * number, so its noise and times come again; state and velocity take the places of x0 and x1,
 * which the next step writes anew, so no memory is taken either. */
#include "runtime/extremes.h"

#include <inttypes.h>
#include <math.h>

#include "runtime/sampler.h"

#define MOST_NAMED 5
/* Marks of arXiv 2605.06169. */
#define BAD_BATCH_FACTOR 5
#define BAD_BATCH_ABOVE  1
#define GLOBAL_INJ       10

/* One micro-batch on the host. */
typedef struct samples {
  int64_t count, elements; /* of one sample */
  float *x0, *x1, *times, *output;
} samples;

/* Every input of "forward" but the state is one of the gradients' too; false: not this model's.
 */
static bool bind_inputs(mvs_session *session, mvs_training *training, mvs_call *forward) {
  const Mvs__Function *function = mvs_call_function(forward);
  const char *state = mvs_state_input(session->program)->name;
  for (size_t at = 0; at < function->n_inputs; at++) {
    const char *name = function->inputs[at]->name;
    void *place = mvs_training_input(training, strcmp(name, state) == 0 ? "x0" : name);
    if (!place || mvs_call_bind_input(forward, name, place) != MVS_OK) return false;
  }
  void *velocity = mvs_training_input(training, "x1");
  return velocity && mvs_training_input(training, "x0") && mvs_training_input(training, "t") &&
         mvs_call_bind_output(forward, session->program->output, velocity) == MVS_OK;
}

static void fetch(mvs_session *session, mvs_training *training, const char *name, float *out,
                  int64_t elements) {
  session->device->copy(session->device, out, mvs_training_input(training, name),
                        elements * (int64_t)sizeof *out, MVS_COPY_TO_HOST);
}

/* The plan of training counts no third function: what runs behind it has the memory of one
 * step. */
static bool fits(const mvs_training *training, const mvs_call *forward) {
  const mvs_placement *wanted = mvs_call_placement(forward);
  const mvs_placement *there = mvs_call_placement(mvs_training_grad_call(training));
  return wanted->bytes <= there->bytes && wanted->workspace_bytes <= there->workspace_bytes;
}

/* z = (1-t) x0 + t x1, and the velocity is to be x0 - x1. */
static mvs_status run_part(mvs_session *session, mvs_training *training, mvs_call *forward,
                           samples *of, double *norms) {
  int64_t whole = of->count * of->elements;
  fetch(session, training, "x0", of->x0, whole);
  fetch(session, training, "x1", of->x1, whole);
  fetch(session, training, "t", of->times, of->count);
  for (int64_t at = 0; at < whole; at++) {
    float time = of->times[at / of->elements];
    of->output[at] = (1 - time) * of->x0[at] + time * of->x1[at];
  }
  session->device->copy(session->device, mvs_training_input(training, "x0"), of->output,
                        whole * (int64_t)sizeof(float), MVS_COPY_TO_DEVICE);
  MVS_TRY(mvs_call_run(forward));
  fetch(session, training, "x1", of->output, whole);
  for (int64_t sample = 0; sample < of->count; sample++) {
    double sum = 0;
    for (int64_t at = sample * of->elements; at < (sample + 1) * of->elements; at++) {
      double error = 2 * ((double)of->output[at] - ((double)of->x0[at] - (double)of->x1[at]));
      sum += error * error;
    }
    norms[sample] = sqrt(sum / (double)of->elements);
  }
  return MVS_OK;
}

static samples make_samples(mvs_arena *arena, int64_t count, int64_t elements) {
  size_t whole = (size_t)(count * elements);
  return (samples){.count = count,
                   .elements = elements,
                   .x0 = MVS_ARRAY(arena, whole, float),
                   .x1 = MVS_ARRAY(arena, whole, float),
                   .times = MVS_ARRAY(arena, (size_t)count, float),
                   .output = MVS_ARRAY(arena, whole, float)};
}

mvs_status mvs_extremes_find(mvs_session *session, mvs_training *training, int64_t step,
                             double *norms, int64_t *count) {
  const mvs_training_settings *settings = mvs_training_settings_of(training);
  int64_t micro = settings->micro_batch;
  const Mvs__ModelInput *state = mvs_state_input(session->program);
  mvs_call *forward;
  *count = 0;
  if (!state || strcmp(state->dtype, "f32") != 0) return MVS_OK;
  MVS_TRY(mvs_call_new(session->executor, "forward", micro, &forward));
  if (!fits(training, forward) || !bind_inputs(session, training, forward)) return MVS_OK;
  mvs_arena *arena = mvs_arena_new();
  samples of = make_samples(arena, micro, mvs_input_elements(state));
  mvs_status status = MVS_OK;
  for (; status == MVS_OK && *count < settings->batch; *count += micro) {
    status = mvs_training_show(training, step, *count / micro);
    if (status == MVS_OK) status = run_part(session, training, forward, &of, norms + *count);
  }
  mvs_arena_free(arena);
  return status;
}

/* --- the lines --- */

/* The largest finite one that is not above `after`, behind it where equal; -1: there is none.
 */
static int64_t next_largest(const double *norms, int64_t count, int64_t after) {
  int64_t best = -1;
  for (int64_t at = 0; at < count; at++) {
    bool later =
        after < 0 || norms[at] < norms[after] || (norms[at] == norms[after] && at > after);
    if (isfinite(norms[at]) && later && (best < 0 || norms[at] > norms[best])) best = at;
  }
  return best;
}

/* By number: these are what one looks for when a step is not finite. */
static void put_not_finite(const double *norms, int64_t count, mvs_text *out) {
  int64_t found = 0;
  for (int64_t at = 0; at < count; at++) {
    if (isfinite(norms[at])) continue;
    if (found < MOST_NAMED)
      mvs_text_addf(out, "%s %" PRId64, found ? "," : "NOT_FINITE: sample", at);
    found++;
  }
  if (found > MOST_NAMED) mvs_text_addf(out, " and %" PRId64 " more", found - MOST_NAMED);
  if (found) mvs_text_add(out, "\n");
}

static double rms_of(const double *norms, int64_t count, int64_t *finite) {
  double sum = 0;
  *finite = 0;
  for (int64_t at = 0; at < count; at++)
    if (isfinite(norms[at])) sum += norms[at] * norms[at], (*finite)++;
  return *finite ? sqrt(sum / (double)*finite) : NAN;
}

void mvs_extremes_write(const double *norms, int64_t count, mvs_text *out) {
  if (count == 0) {
    mvs_text_add(out,
                 "samples not looked at: it takes other inputs or more memory than a step\n");
    return;
  }
  int64_t finite, at = next_largest(norms, count, -1);
  double rms = rms_of(norms, count, &finite), largest = at < 0 ? NAN : norms[at];
  mvs_text_addf(
      out, "gradient of the output, RMS of %" PRId64 " samples %.4g; largest:", finite, rms);
  for (int named = 0; named < MOST_NAMED && at >= 0; named++) {
    mvs_text_addf(out, "%s %.4g (sample %" PRId64 ")", named ? "," : "", norms[at], at);
    at = next_largest(norms, count, at);
  }
  mvs_text_add(out, "\n");
  put_not_finite(norms, count, out);
  if (largest > BAD_BATCH_FACTOR * rms + BAD_BATCH_ABOVE)
    mvs_text_addf(out, "BAD_BATCH: one sample is above %d x RMS + %d\n", BAD_BATCH_FACTOR,
                  BAD_BATCH_ABOVE);
  if (rms > GLOBAL_INJ) mvs_text_addf(out, "GLOBAL_INJ: the RMS is above %d\n", GLOBAL_INJ);
}
