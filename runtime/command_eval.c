/* command_eval.c: the model's output for given inputs, at the batch that the file holds. */
#include "runtime/commands.h"
#include "runtime/inputs.h"
#include "runtime/memory.h"
#include "runtime/output_tensors.h"
#include "runtime/specialise.h"
#include "runtime/weights.h"

static const mvs_option_row eval_rows[] = {
    {"out", MVS_OPTION_TEXT, "FILE", 0, 0, "the output, by its name: a safetensors file"},
};

/* Shared rows come first, as in every command's help. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_weights_rows(session->arena, list);
  mvs_weights_ema_row(session->arena, list);
  mvs_inputs_rows(session->arena, list);
  mvs_rows_add(session->arena, list, eval_rows, 1);
}

/* Sizes are settled before anything large is taken, and weights are read last: mistakes in the
 * inputs are told at once. */
static mvs_status eval_open(mvs_session *session, const mvs_safetensors *file,
                            const char *out) {
  static const char *const functions[] = {"forward", NULL};
  const char *prefix = mvs_option_text(session->options, "inputs-prefix", "");
  MVS_TRY(mvs_specialise_by_file(session, file, prefix));
  const Mvs__Function *forward = mvs_program_function(session->program, "forward");
  mvs_memory_use use = {.functions = functions};
  mvs_recompute recompute;
  mvs_call *call;
  float *params;
  if (!forward)
    return MVS_FAIL(session->diag, MVS_ERR_INTERNAL, "internal: the program has no 'forward'");
  MVS_TRY(mvs_inputs_batch(session, forward, file, prefix, &use.batch));
  MVS_TRY(mvs_memory_choose(session, &use, "evaluating this batch", "fewer samples in the file",
                            &recompute));
  MVS_TRY(mvs_call_new(session->executor, "forward", use.batch, &call));
  MVS_TRY(mvs_inputs_bind(session, call, file, prefix, NULL));
  MVS_TRY(mvs_session_flat(session, &params));
  MVS_TRY(mvs_weights_load_options(session, MVS_EMA_AUTO, params));
  mvs_executor_set_flats(session->executor, params, NULL);
  void **places = MVS_ARRAY(session->arena, forward->n_outputs, void *);
  MVS_TRY(mvs_outputs_bind(session, call, places));
  MVS_TRY(mvs_call_run(call));
  return mvs_outputs_write(session, call, places, out);
}

static mvs_status run(mvs_session *session) { return mvs_inputs_to_output(session, eval_open); }

const mvs_command mvs_command_eval = {"eval", "Computes the model's output for given inputs.",
                                      rows, run};
