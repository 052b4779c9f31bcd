/* jit.h: objects loaded into this process through LLJIT. */
#ifndef MVS_HOST_JIT_H
#define MVS_HOST_JIT_H

#include <llvm-c/Core.h>

#include "codegen/host/object.h"

/* Loads an object, which is taken over, and appends its functions by absolute address. They
 * stay for the life of the process. errors : MVS_ERR_DEVICE with LLVM's words in diag */
mvs_status mvs_jit_load(mvs_arena *arena, mvs_diag *diag, LLVMMemoryBufferRef object,
                        mvs_symbols *symbols);

#endif
