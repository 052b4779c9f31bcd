/* library.h: where the libraries of NVIDIA's CUDA toolkit are found. All are opened at run
 * time, by the compiler (NVRTC) as by the trainer (NVRTC, cuBLASLt, cuDNN), so that both build
 * and run where there is no toolkit. */
#ifndef MVS_TOOLKIT_LIBRARY_H
#define MVS_TOOLKIT_LIBRARY_H

#include "compiler/base/arena.h"

/* Opens a library. With $MVCC_CUDA_PATH set only the folder that it names is looked at: its
 * lib64, lib and what pip puts there. Without it: the library path, $CUDA_HOME,
 * /usr/local/cuda, and where pip puts NVIDIA's packages. NULL when it is nowhere.
 * names : file names, the best first; ends with NULL */
void *mvs_cuda_library(const char *const *names);
/* Says in which places mvs_cuda_library looks, for a message: "the library path, ...". */
const char *mvs_cuda_library_places(mvs_arena *arena);

#endif
