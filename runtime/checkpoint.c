/* checkpoint.c: the training state to a file and back.
 *
 * One safetensors file holds all of it: weights under the released names with constants, the
 * average under ema/, AdamW's moments under adam_m/ and adam_v/, and the step in the
 * metadata, beside what the device's libraries chose by measurement. Data order, noise and
 * times follow from the step and the seed, so nothing else is needed to go on bit for bit.
 * Values are float32 as in memory: a round trip changes no bit. The older checkpoints go only
 * when the new one has its name. */
#include "runtime/checkpoint.h"

#include <inttypes.h>

#include "runtime/checkpoint_files.h"
#include "runtime/weights.h"

/* --- saving --- */

/* Weights first, so that a reader of the released format finds them at the front; the order is
 * that of the declarations. */
static mvs_status write_state(mvs_session *session, mvs_safetensors_writer *writer,
                              const mvs_optimizer *optimizer, const mvs_param_list *params) {
  MVS_TRY(mvs_safetensors_begin(writer));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->params, true));
  if (optimizer->average)
    MVS_TRY(mvs_weights_append(session, writer, params, optimizer->average, false));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->m, false));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->v, false));
  return mvs_safetensors_finish(writer);
}

int64_t mvs_checkpoint_bytes(const mvs_program *program, bool average) {
  return mvs_params_trained(program) * (int64_t)sizeof(float) * (average ? 4 : 3);
}

mvs_status mvs_checkpoint_save(mvs_session *session, const mvs_optimizer *optimizer,
                               const char *folder, const mvs_checkpoint_facts *facts) {
  /* Names and header of a deep model take megabytes: they go when the file is written. */
  mvs_arena *arena = mvs_arena_new();
  mvs_param_list *params = mvs_params_list(arena, session->program);
  const char *path = mvs_checkpoint_path(arena, folder, facts->step);
  mvs_safetensors_writer *writer = mvs_safetensors_writer_new(arena, session->diag, path);
  mvs_safetensors_add_metadata(writer, "mvcc.model", session->program->model);
  mvs_safetensors_add_metadata(writer, "mvcc.residual", session->program->residual);
  mvs_safetensors_add_metadata(writer, MVS_CHECKPOINT_STEP,
                               mvs_arena_format(arena, "%" PRId64, facts->step));
  const mvs_device *device = session->device;
  const char *choices = device->choices ? device->choices(session->device) : NULL;
  if (choices) mvs_safetensors_add_metadata(writer, MVS_CHECKPOINT_CHOICES, choices);
  if (facts->watch) mvs_safetensors_add_metadata(writer, MVS_CHECKPOINT_WATCH, facts->watch);
  mvs_weights_declare(writer, arena, params, "", true);
  if (optimizer->average) mvs_weights_declare(writer, arena, params, "ema/", false);
  mvs_weights_declare(writer, arena, params, "adam_m/", false);
  mvs_weights_declare(writer, arena, params, "adam_v/", false);
  mvs_status status = write_state(session, writer, optimizer, params);
  if (status == MVS_OK) mvs_checkpoint_remove_old(arena, folder, facts->step, &facts->keep);
  mvs_safetensors_abandon(writer);
  mvs_arena_free(arena);
  return status;
}

/* --- loading --- */

/* Every trained parameter must be there four times (three without an average); what the file
 * holds besides, constants for example, is not looked at. */
static mvs_status read_state(mvs_session *session, const mvs_safetensors *file,
                             mvs_optimizer *optimizer, int64_t *step) {
  mvs_param_list *params = mvs_params_list(session->arena, session->program);
  const char *number = mvs_safetensors_metadata(file, MVS_CHECKPOINT_STEP);
  if (!number || !mvs_parse_integer(number, step) || *step < 0)
    return MVS_FAIL(session->diag, MVS_ERR_FORMAT, "'%s' does not say which step it is of",
                    file->path);
  MVS_TRY(mvs_weights_read(session, file, params, "", optimizer->params));
  MVS_TRY(mvs_weights_read(session, file, params, "adam_m/", optimizer->m));
  MVS_TRY(mvs_weights_read(session, file, params, "adam_v/", optimizer->v));
  if (!optimizer->average) return MVS_OK;
  return mvs_weights_read(session, file, params, "ema/", optimizer->average);
}

/* The buffers may be half overwritten when this fails: the caller then ends the run. */
mvs_status mvs_checkpoint_load(mvs_session *session, mvs_optimizer *optimizer, const char *path,
                               int64_t *step, const char **watch) {
  mvs_safetensors *file;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &file));
  mvs_status status = read_state(session, file, optimizer, step);
  const char *known = mvs_safetensors_metadata(file, MVS_CHECKPOINT_WATCH);
  *watch = known ? mvs_arena_string(session->arena, known) : NULL;
  mvs_safetensors_close(file);
  return status;
}

mvs_status mvs_checkpoint_adopt(mvs_session *session, const char *path, const char **note) {
  mvs_safetensors *file;
  mvs_device *device = session->device;
  *note = NULL;
  if (!device->adopt) return MVS_OK;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &file));
  const char *choices = mvs_safetensors_metadata(file, MVS_CHECKPOINT_CHOICES);
  char why[MVS_DEVICE_WORDS];
  if (!choices) {
    *note = "the checkpoint names no matmul algorithms (it was not written on a GPU)";
  } else if (!device->adopt(device, choices, why)) {
    *note = mvs_arena_string(session->arena, why);
  }
  mvs_safetensors_close(file);
  return MVS_OK;
}
