/* cuda_modules.h: a program's kernels as functions that a GPU runs. Three ways lead there, in
 * this order: a cubin of the program that fits, its PTX through the driver's compiler, its CUDA
 * text through NVRTC. MVCC_CUDA_IMAGES=cubin, ptx or text leaves one of them.
 * Owner: the opener closes it. A kernel is loaded when it is first asked for: a command runs
 * few of a program's kernels, and libraries take over some of those. */
#ifndef MVS_RUNTIME_CUDA_MODULES_H
#define MVS_RUNTIME_CUDA_MODULES_H

#include "codegen/program.h"
#include "runtime/cuda_driver.h"

typedef struct mvs_cuda_gpu {
  const mvs_cuda_driver *driver;
  const char *name;
  int major, minor; /* compute capability */
} mvs_cuda_gpu;

typedef struct mvs_cuda_modules mvs_cuda_modules;

/* Chooses the way and loads a first kernel by it; text is compiled here, all of it. The GPU's
 * context must be current; `gpu` and `program` must outlive the result.
 * errors : MVS_ERR_DEVICE: the program has no code that fits and its text cannot be compiled
 *          here, each with its reason; MVS_ERR_NAME: MVCC_CUDA_IMAGES is none of its words */
mvs_status mvs_cuda_modules_open(const mvs_cuda_gpu *gpu, const mvs_program *program,
                                 mvs_diag *diag, mvs_cuda_modules **out);
/* What was chosen: "sm_90a", "compute_90", "sm_103a by NVRTC 13.0". */
const char *mvs_cuda_modules_what(const mvs_cuda_modules *modules);
/* Whether its kernels wait, as mvs_cuda_waits says. */
bool mvs_cuda_modules_wait(const mvs_cuda_modules *modules);
/* The function of a kernel. The result is the driver's, 0 for success; else *call is the call
 * that failed. */
int mvs_cuda_modules_function(mvs_cuda_modules *modules, uint32_t kernel, void **function,
                              const char **call);
/* What a kernel of nests takes behind its operands: batch, layer, direction, a word to
 * clear. */
#define MVS_CUDA_NEST_ARGUMENTS 4
/* The number of the kernel that is this function of the driver's; -1: it is no kernel of the
 * program. */
int mvs_cuda_modules_number(const mvs_cuda_modules *modules, const void *function);
/* NULL is allowed. */
void mvs_cuda_modules_close(mvs_cuda_modules *modules);

#endif
