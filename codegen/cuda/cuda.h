/* cuda.h: kernels as CUDA C text, and what NVRTC makes of it (no GPU needed). */
#ifndef MVS_CODEGEN_CUDA_H
#define MVS_CODEGEN_CUDA_H

#include "codegen/build.h"

/* Writes one kernel as a self-contained CUDA C source: no headers, inline PTX where it pays. */
void mvs_cuda_print(const mvs_kernel *kernel, mvs_text *out);

/* Compiles each kernel's CUDA text for each architecture and, for GPUs that come later, to PTX
 * of mvs_cuda_ptx; fills the program's images.
 * errors : MVS_ERR_DEVICE as mvs_nvrtc_load and mvs_nvrtc_compile; MVS_ERR_NAME: an
 *          architecture that NVRTC does not know; a kernel that spills registers is an internal
 *          error */
mvs_status mvs_cuda_add_images(mvs_arena *arena, mvs_diag *diag, mvs_program *program,
                               const char *const *architectures, size_t count);
/* The PTX that goes with the architectures: compute_90 or compute_80, the newest that is not
 * above all of them. PTX of 90a would run on no later GPU. NULL: all are older, or PTX is among
 * them. */
const char *mvs_cuda_ptx(const char *const *architectures, size_t count);
/* Prints every kernel of the build, and fills the program's cuda texts, grids and images.
 * errors : as mvs_cuda_add_images */
mvs_status mvs_cuda_attach(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                           const char *const *architectures, size_t count);
/* Writes the registers of each kernel on each architecture, a line a kernel, and the bytes that
 * each architecture adds to the program. */
void mvs_cuda_explain_images(const mvs_program *program, mvs_text *out);

#endif
