/* output_tensors.c: results on the device to a safetensors file, a part at a time: host
 * memory for a whole result is never needed. */
#include "runtime/output_tensors.h"

#include <stdlib.h>

/* Bytes that pass through host memory at a time. */
#define PART ((int64_t)4 << 20)

/* On failure the file is gone, and the writer with it. */
mvs_status mvs_append_device(mvs_session *session, mvs_safetensors_writer *writer,
                             const void *memory, int64_t bytes) {
  char *part = malloc((size_t)PART);
  mvs_status status = MVS_OK;
  if (!part) {
    mvs_safetensors_abandon(writer);
    return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory");
  }
  for (int64_t at = 0; status == MVS_OK && at < bytes; at += PART) {
    int64_t count = bytes - at < PART ? bytes - at : PART;
    session->device->copy(session->device, part, (const char *)memory + at, count,
                          MVS_COPY_TO_HOST);
    status = mvs_safetensors_append(writer, part, count);
  }
  free(part);
  if (status == MVS_OK) status = session->device->synchronize(session->device, session->diag);
  if (status != MVS_OK) mvs_safetensors_abandon(writer);
  return status;
}

/* Every dtype of the program has its like in the format. */
static mvs_file_dtype file_dtype(const char *dtype) {
  if (strcmp(dtype, "bf16") == 0) return MVS_FILE_BF16;
  if (strcmp(dtype, "f64") == 0) return MVS_FILE_F64;
  return strcmp(dtype, "i32") == 0 ? MVS_FILE_I32 : MVS_FILE_F32;
}

/* In the order of the function's outputs; scalars have rank 0. */
mvs_status mvs_outputs_write(mvs_session *session, mvs_call *call, void *const *places,
                             const char *path) {
  const Mvs__Function *function = mvs_call_function(call);
  int64_t batch = mvs_call_placement(call)->batch;
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(session->arena, session->diag, path);
  for (size_t at = 0; at < function->n_outputs; at++) {
    const Mvs__Tensor *output = function->outputs[at];
    int64_t shape[MVS_SAFETENSORS_MAX_RANK];
    for (size_t axis = 0; axis < output->n_dims; axis++)
      shape[axis] = output->dims[axis]->size * (output->dims[axis]->per_batch ? batch : 1);
    mvs_safetensors_declare(writer, output->name, file_dtype(output->dtype),
                            (int)output->n_dims, shape);
  }
  MVS_TRY(session->device->synchronize(session->device, session->diag));
  MVS_TRY(mvs_safetensors_begin(writer));
  for (size_t at = 0; at < function->n_outputs; at++) {
    const Mvs__Tensor *output = function->outputs[at];
    int64_t bytes = mvs_tensor_elements(output, batch) * mvs_dtype_bytes(output->dtype);
    MVS_TRY(mvs_append_device(session, writer, places[at], bytes));
  }
  return mvs_safetensors_finish(writer);
}
