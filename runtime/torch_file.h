/* torch_file.h: weights as torch.save writes them (.pt, since PyTorch 1.6), read without
 * running anything of the file: a zip archive of a pickle that describes the tensors and of
 * their storages. A state_dict gives its names; dicts in dicts join their keys with '/', so
 * that {"model": state_dict} has names under "model/". What is no tensor is passed over. */
#ifndef MVS_RUNTIME_TORCH_FILE_H
#define MVS_RUNTIME_TORCH_FILE_H

#include "runtime/safetensors.h"

/* True for what begins as an archive or as a file of before PyTorch 1.6: then
 * mvs_torch_file_open has the better words. */
bool mvs_torch_file_is(const char *path);
/* Opens and checks a file; it closes as others do (mvs_safetensors_close). Tensors may have
 * strides and share their bytes.
 * errors : MVS_ERR_IO, MVS_ERR_FORMAT, MVS_ERR_LIMIT, each naming the file */
mvs_status mvs_torch_file_open(mvs_arena *arena, mvs_diag *diag, const char *path,
                               mvs_safetensors **out);

#endif
