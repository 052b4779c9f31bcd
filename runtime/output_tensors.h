/* output_tensors.h: results on the device to a safetensors file. */
#ifndef MVS_RUNTIME_OUTPUT_TENSORS_H
#define MVS_RUNTIME_OUTPUT_TENSORS_H

#include "compiler/base/output_file.h"
#include "runtime/safetensors.h"
#include "runtime/session.h"

/* Writes every output of a call that has run, under its name and in its dtype.
 * errors : MVS_ERR_IO */
mvs_status mvs_outputs_write(mvs_session *session, mvs_call *call, void *const *places,
                             const char *path);
/* Appends device memory to a file being written. */
mvs_status mvs_append_device(mvs_session *session, mvs_safetensors_writer *writer,
                             const void *memory, int64_t bytes);

#endif
