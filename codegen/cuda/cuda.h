/* cuda.h: kernels as CUDA C text, compiled by NVRTC where it is installed (no GPU needed). */
#ifndef MVS_CODEGEN_CUDA_H
#define MVS_CODEGEN_CUDA_H

#include "codegen/build.h"

/* Writes one kernel as a self-contained CUDA C source: no headers, inline PTX where it pays. */
mvs_status mvs_cuda_print(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *kernel,
                          mvs_text *out);

typedef struct mvs_cuda_report {
  int registers, spill_bytes; /* the worst of the source's kernels, from the ptxas log */
} mvs_cuda_report;

/* Compiles a source for an architecture ("sm_90a") to a cubin in `arena`.
 * errors : MVS_ERR_DEVICE: NVRTC is absent (the sentence says where it was looked for) or
 *      refuses the
 * text (its log, with lines mapped to the kernel's source line, in diag). */
mvs_status mvs_cuda_compile(mvs_arena *arena, mvs_diag *diag, const char *name, const char *text,
                            const char *architecture, const void **cubin, size_t *size,
                            mvs_cuda_report *report);
/* Prints every kernel of the build, compiles each for each architecture (two threads) and fills
 * the program's cuda texts, grids and images.
 * errors : as mvs_cuda_compile; a kernel that spills registers is an internal error. */
mvs_status mvs_cuda_attach(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                           const char *const *architectures, size_t count);
/* Whether NVRTC can be loaded here. */
bool mvs_cuda_available(void);

#endif
