/* inputs.h: tensors of a file as inputs of a function, and device tensors as outputs of a file.
 */
#ifndef MVS_RUNTIME_INPUTS_H
#define MVS_RUNTIME_INPUTS_H

#include "runtime/safetensors.h"
#include "runtime/session.h"

/* Finds prefix+name in the file. errors : MVS_ERR_NAME, with the nearest name as a hint */
mvs_status mvs_inputs_find(mvs_session *session, const mvs_safetensors *file,
                           const char *prefix, const char *name, const mvs_file_tensor **out);
/* The batch that a function's inputs have in the file: the leading extent of the first batched
 * one. errors : MVS_ERR_NAME, MVS_ERR_SHAPE */
mvs_status mvs_inputs_batch(mvs_session *session, const Mvs__Function *function,
                            const mvs_safetensors *file, const char *prefix, int64_t *batch);
/* Checks a tensor against an input at a batch and uploads it in the input's dtype (f32 or i32).
 * errors : MVS_ERR_SHAPE, naming file and tensor */
mvs_status mvs_inputs_upload(mvs_session *session, const mvs_safetensors *file,
                             const mvs_file_tensor *tensor, const Mvs__Tensor *input,
                             int64_t batch, void **out);
/* Checks class numbers that a tensor of the file holds for the conditioning input `name`. An
 * input of one integer a sample whose "no condition" is class n >= 1 has the classes 0 .. n;
 * any other takes all values. errors : MVS_ERR_FORMAT, naming file, tensor and value */
mvs_status mvs_inputs_check_labels(mvs_session *session, const mvs_safetensors *file,
                                   const mvs_file_tensor *tensor, const char *name,
                                   const int32_t *values, int64_t count);
/* The last class of an input, or INT32_MAX when it is no label. */
int32_t mvs_input_last_label(const Mvs__ModelInput *input);
/* Uploads and binds every input of the call that the file has to give; `skip` (ended by NULL)
 * names inputs that the caller binds itself. */
mvs_status mvs_inputs_bind(mvs_session *session, mvs_call *call, const mvs_safetensors *file,
                           const char *prefix, const char *const *skip);
/* Makes device memory for every output of the call and binds it; `places` [n_outputs]. */
mvs_status mvs_outputs_bind(mvs_session *session, mvs_call *call, void **places);
/* What a command does with the open file of --inputs to make the file of --out. */
typedef mvs_status mvs_inputs_work(mvs_session *session, const mvs_safetensors *file,
                                   const char *out);
/* Runs a command from --inputs to --out. All that can be wrong with names and places is found
 * before the device is opened. */
mvs_status mvs_inputs_to_output(mvs_session *session, mvs_inputs_work *work);
/* The rows --inputs and --inputs-prefix. */
void mvs_inputs_rows(mvs_arena *arena, mvs_option_rows *rows);

#endif
