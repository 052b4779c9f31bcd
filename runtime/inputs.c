/* inputs.c: tensors of a file as inputs of a function, and device tensors as outputs.
 *
 * A file is searched by name, the batch is read off the first batched input, and every
 * tensor is checked against it: rank, extents and dtype, then the classes that labels may
 * have. Only then is it converted to the input's dtype and copied to the device. Other
 * tensors in the file are passed over, so inputs may share a file with weights. */
#include "runtime/inputs.h"

#include <inttypes.h>
#include <stdlib.h>

#include "runtime/output_option.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const mvs_option_row input_rows[] = {
    {"inputs", MVS_OPTION_TEXT, "FILE", 0, 0, "inputs by name: a safetensors file"},
    {"inputs-prefix", MVS_OPTION_PREFIX, "PREFIX", 0, 0,
     "take the tensors whose names start so, without it"},
};

/* For commands whose inputs come from a file. */
void mvs_inputs_rows(mvs_arena *arena, mvs_option_rows *rows) {
  mvs_rows_add(arena, rows, input_rows, COUNT(input_rows));
}

/* The hint guesses: a name under another prefix, else the nearest one. */
mvs_status mvs_inputs_find(mvs_session *session, const mvs_safetensors *file,
                           const char *prefix, const char *name, const mvs_file_tensor **out) {
  const char *full = mvs_arena_format(session->arena, "%s%s", prefix, name);
  *out = mvs_safetensors_find(file, full);
  if (*out) return MVS_OK;
  mvs_status status =
      MVS_FAIL(session->diag, MVS_ERR_NAME, "'%s': tensor '%s' is missing", file->path, full);
  const char **names = MVS_ARRAY(session->arena, file->count + 1, const char *);
  for (size_t at = 0; at < file->count; at++) {
    names[at] = file->tensors[at].name;
    const char *slash = strrchr(names[at], '/');
    if (!*prefix && slash && strcmp(slash + 1, name) == 0) {
      mvs_diag_hint(session->diag, "the file has '%s': give its prefix, '%.*s'", names[at],
                    (int)(slash + 1 - names[at]), names[at]);
      return status;
    }
  }
  const char *near = mvs_suggest(full, names, file->count);
  if (near) mvs_diag_hint(session->diag, "the file has '%s'", near);
  return status;
}

/* Samples lie along the first axis. */
static bool is_batched(const Mvs__Tensor *tensor) {
  return tensor->n_dims > 0 && tensor->dims[0]->per_batch && tensor->dims[0]->size > 0;
}

/* A function without batched inputs runs at batch 1. */
mvs_status mvs_inputs_batch(mvs_session *session, const Mvs__Function *function,
                            const mvs_safetensors *file, const char *prefix, int64_t *batch) {
  for (size_t at = 0; at < function->n_inputs; at++) {
    const Mvs__Tensor *input = function->inputs[at];
    const mvs_file_tensor *tensor;
    if (!is_batched(input)) continue;
    MVS_TRY(mvs_inputs_find(session, file, prefix, input->name, &tensor));
    *batch = tensor->rank > 0 ? tensor->shape[0] / input->dims[0]->size : 0;
    if (*batch >= 1) return MVS_OK;
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE, "'%s': tensor '%s' holds no samples",
                    file->path, tensor->name);
  }
  *batch = 1;
  return MVS_OK;
}

/* Both shapes are shown: the reader finds the axis faster than we could name it. */
static mvs_status check_shape(mvs_session *session, const mvs_safetensors *file,
                              const mvs_file_tensor *tensor, const Mvs__Tensor *input,
                              int64_t batch) {
  int64_t wanted[MVS_SAFETENSORS_MAX_RANK];
  bool same = (size_t)tensor->rank == input->n_dims;
  int rank = input->n_dims < COUNT(wanted) ? (int)input->n_dims : (int)COUNT(wanted);
  for (int at = 0; at < rank; at++) {
    wanted[at] = input->dims[at]->size * (input->dims[at]->per_batch ? batch : 1);
    same = same && tensor->shape[at] == wanted[at];
  }
  if (same) return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_SHAPE, "'%s': tensor '%s' is %s, input '%s' needs %s",
                  file->path, tensor->name,
                  mvs_shape_text(session->arena, tensor->rank, tensor->shape), input->name,
                  mvs_shape_text(session->arena, rank, wanted));
}

/* What "no condition" is says how many classes there are: it is the last one. */
int32_t mvs_input_last_label(const Mvs__ModelInput *input) {
  bool single = strcmp(input->dtype, "i32") == 0;
  for (size_t at = 0; at < input->n_shape; at++) single = single && input->shape[at] == 1;
  bool labelled = single && input->unconditional >= 1 && input->unconditional < INT32_MAX;
  return labelled ? (int32_t)input->unconditional : INT32_MAX;
}

/* A class that the model does not have would pick no row of a table, and train or sample
 * nothing. */
mvs_status mvs_inputs_check_labels(mvs_session *session, const mvs_safetensors *file,
                                   const mvs_file_tensor *tensor, const char *name,
                                   const int32_t *values, int64_t count) {
  int32_t last = INT32_MAX;
  for (size_t at = 0; at < session->program->n_inputs; at++)
    if (strcmp(session->program->inputs[at]->name, name) == 0)
      last = mvs_input_last_label(session->program->inputs[at]);
  for (int64_t at = 0; last < INT32_MAX && at < count; at++) {
    if (values[at] >= 0 && values[at] <= last) continue;
    return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                    "'%s': tensor '%s' holds %" PRId32
                    ", which is no label: the model has 0 to %" PRId32 ", the last for none",
                    file->path, tensor->name, values[at], last);
  }
  return MVS_OK;
}

/* The whole tensor passes through host memory once. */
mvs_status mvs_inputs_upload(mvs_session *session, const mvs_safetensors *file,
                             const mvs_file_tensor *tensor, const Mvs__Tensor *input,
                             int64_t batch, void **out) {
  MVS_TRY(check_shape(session, file, tensor, input, batch));
  bool integers = strcmp(input->dtype, "i32") == 0;
  if (!integers && strcmp(input->dtype, "f32") != 0)
    return MVS_FAIL(session->diag, MVS_ERR_INTERNAL, "internal: input '%s' has dtype %s",
                    input->name, input->dtype);
  int64_t bytes = tensor->elements * 4;
  void *host = malloc((size_t)bytes + 4);
  if (!host) return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory");
  bool fits = integers ? mvs_file_tensor_to_i32(tensor, 0, tensor->elements, host)
                       : mvs_file_tensor_to_f32(tensor, 0, tensor->elements, host);
  mvs_status status =
      fits ? MVS_OK
           : MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                      "'%s': tensor '%s' has dtype %s, input '%s' needs %s", file->path,
                      tensor->name, mvs_file_dtype_name(tensor->dtype), input->name,
                      integers ? "32-bit integers" : "floats");
  if (status == MVS_OK && integers)
    status =
        mvs_inputs_check_labels(session, file, tensor, input->name, host, tensor->elements);
  if (status == MVS_OK) status = mvs_session_upload(session, host, bytes, out);
  free(host);
  return status;
}

/* `list` may be NULL: nothing is listed. */
static bool is_listed(const char *const *list, const char *name) {
  for (; list && *list; list++)
    if (strcmp(*list, name) == 0) return true;
  return false;
}

/* What is not in `skip` must be in the file. */
mvs_status mvs_inputs_bind(mvs_session *session, mvs_call *call, const mvs_safetensors *file,
                           const char *prefix, const char *const *skip) {
  const Mvs__Function *function = mvs_call_function(call);
  for (size_t at = 0; at < function->n_inputs; at++) {
    const Mvs__Tensor *input = function->inputs[at];
    const mvs_file_tensor *tensor;
    void *memory;
    if (is_listed(skip, input->name)) continue;
    MVS_TRY(mvs_inputs_find(session, file, prefix, input->name, &tensor));
    MVS_TRY(mvs_inputs_upload(session, file, tensor, input, mvs_call_placement(call)->batch,
                              &memory));
    MVS_TRY(mvs_call_bind_input(call, input->name, memory));
  }
  return MVS_OK;
}

/* Sizes are those of the call's batch. */
mvs_status mvs_outputs_bind(mvs_session *session, mvs_call *call, void **places) {
  const Mvs__Function *function = mvs_call_function(call);
  for (size_t at = 0; at < function->n_outputs; at++) {
    const Mvs__Tensor *output = function->outputs[at];
    int64_t bytes = mvs_tensor_elements(output, mvs_call_placement(call)->batch) *
                    mvs_dtype_bytes(output->dtype);
    MVS_TRY(mvs_session_alloc(session, bytes, &places[at]));
    MVS_TRY(mvs_call_bind_output(call, output->name, places[at]));
  }
  return MVS_OK;
}

mvs_status mvs_inputs_to_output(mvs_session *session, mvs_inputs_work *work) {
  const char *inputs, *out;
  mvs_safetensors *file;
  MVS_TRY(mvs_session_require(session, "inputs", &inputs));
  MVS_TRY(mvs_session_require(session, "out", &out));
  MVS_TRY(mvs_output_option_check(session, "out", out));
  MVS_TRY(mvs_session_open(session));
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, inputs, &file));
  mvs_status status = work(session, file, out);
  mvs_safetensors_close(file);
  return status;
}
