/* command_grad.c: the loss and every parameter's gradient for given inputs.
 *
 * One batch, no micro-batches, no dropout and no drawing: x0, x1, t and the conditioning are
 * the file's, which makes this the command to compare with another implementation. The loss
 * is the mean over the batch in float64; gradients are those before clipping. */
#include <math.h>

#include "runtime/commands.h"
#include "runtime/inputs.h"
#include "runtime/memory.h"
#include "runtime/output_tensors.h"
#include "runtime/specialise.h"
#include "runtime/training.h"
#include "runtime/weights.h"

static const mvs_option_row grad_rows[] = {
    {"out", MVS_OPTION_TEXT, "FILE", 0, 0,
     "loss, grad_norm and g/NAME of every parameter: a safetensors file"},
};

/* Shared rows come first, as in every command's help. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_weights_rows(session->arena, list);
  mvs_weights_ema_row(session->arena, list);
  mvs_inputs_rows(session->arena, list);
  mvs_rows_add(session->arena, list, grad_rows, 1);
}

/* loss and grad_norm are float64 scalars; gradients have the parameters' shapes, in float32. */
static mvs_status write_gradients(mvs_session *session, const float *grads, double loss,
                                  double norm, const char *out) {
  mvs_param_list *params = mvs_params_list(session->arena, session->program);
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(session->arena, session->diag, out);
  mvs_safetensors_declare(writer, "loss", MVS_FILE_F64, 0, NULL);
  mvs_safetensors_declare(writer, "grad_norm", MVS_FILE_F64, 0, NULL);
  mvs_weights_declare(writer, session->arena, params, "g/", false);
  MVS_TRY(mvs_safetensors_begin(writer));
  MVS_TRY(mvs_safetensors_append(writer, &loss, sizeof loss));
  MVS_TRY(mvs_safetensors_append(writer, &norm, sizeof norm));
  MVS_TRY(mvs_weights_append(session, writer, params, grads, false));
  return mvs_safetensors_finish(writer);
}

/* Computes the gradients of one batch; no optimizer state is made. */
static mvs_status compute(mvs_session *session, const mvs_safetensors *file, const char *prefix,
                          int64_t batch, const char *out) {
  static const char *const given[] = {"inverse_batch", NULL};
  mvs_call *call;
  mvs_call *sum_squares;
  double *rows, *total;
  float *params, *grads, inverse = (float)(1.0 / (double)batch);
  void *scale, *loss_place;
  double loss, norm;
  MVS_TRY(mvs_call_new(session->executor, "grad", batch, &call));
  MVS_TRY(mvs_inputs_bind(session, call, file, prefix, given));
  MVS_TRY(mvs_session_flat(session, &params));
  /* Training takes its gradients at the weights themselves, not at their average. */
  MVS_TRY(mvs_weights_load_options(session, MVS_EMA_OFF, params));
  MVS_TRY(mvs_session_flat(session, &grads));
  mvs_executor_set_flats(session->executor, params, grads);
  MVS_TRY(mvs_session_upload(session, &inverse, sizeof inverse, &scale));
  MVS_TRY(mvs_session_alloc(session, sizeof loss, &loss_place));
  MVS_TRY(mvs_call_bind_input(call, "inverse_batch", scale));
  MVS_TRY(mvs_call_bind_output(call, "loss", loss_place));
  MVS_TRY(mvs_call_run(call));
  MVS_TRY(mvs_flat_squares(session, grads, &sum_squares, &rows, &total));
  MVS_TRY(mvs_call_run(sum_squares));
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  session->device->copy(session->device, &norm, total, sizeof norm, MVS_COPY_TO_HOST);
  session->device->copy(session->device, &loss, loss_place, sizeof loss, MVS_COPY_TO_HOST);
  return write_gradients(session, grads, loss, sqrt(norm), out);
}

/* The batch is the leading extent of the inputs; the loss is the mean over it. */
static mvs_status grad_open(mvs_session *session, const mvs_safetensors *file,
                            const char *out) {
  static const char *const functions[] = {"grad", "sum_squares", NULL};
  const char *prefix = mvs_option_text(session->options, "inputs-prefix", "");
  MVS_TRY(mvs_specialise_by_file(session, file, prefix));
  const Mvs__Function *grad = mvs_program_function(session->program, "grad");
  mvs_memory_use use = {.functions = functions, .gradient_flats = 1};
  mvs_recompute recompute;
  if (!grad)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "model '%s' has no objective, so it has no gradients",
                    session->program->model);
  MVS_TRY(mvs_inputs_batch(session, grad, file, prefix, &use.batch));
  MVS_TRY(mvs_memory_choose(session, &use, "computing gradients of this batch",
                            "fewer samples in the file", &recompute));
  return compute(session, file, prefix, use.batch, out);
}

static mvs_status run(mvs_session *session) { return mvs_inputs_to_output(session, grad_open); }

const mvs_command mvs_command_grad = {
    "grad", "Computes the loss and every parameter's gradient for given inputs.", rows, run};
