/* cuda_images.h: which of a program's images a GPU runs. Needs no GPU. */
#ifndef MVS_RUNTIME_CUDA_IMAGES_H
#define MVS_RUNTIME_CUDA_IMAGES_H

#include <stdbool.h>

#include "codegen/program.h"

/* How well code for `architecture` suits a GPU of compute capability major.minor:
 *   4  "sm_90a"      this GPU alone, with all it has
 *   3  "sm_90"       this GPU
 *   2  "sm_80"       a GPU of the same major version, not older than the code
 *   2  "sm_100f"     likewise, of the same family
 *   1  "compute_80"  PTX, which the driver compiles for this and any later GPU
 *   0  not at all */
int mvs_cuda_suits(const char *architecture, int major, int minor);
/* Whether kernels compiled for `architecture` begin by waiting for all work ahead of them: such
 * a kernel may be launched before that work has ended. PTX of compute_80 has no wait, on
 * whatever GPU it runs. */
bool mvs_cuda_waits(const char *architecture);
/* The best architecture for which the program holds an image of every kernel, among its PTX or
 * among its cubins; NULL: none. */
const char *mvs_cuda_choose_architecture(const mvs_program *program, int major, int minor,
                                         bool ptx);
/* The image of a kernel for that architecture; NULL: none. */
const Mvs__Image *mvs_cuda_find_image(const mvs_program *program, const char *architecture,
                                      const char *kernel);
/* The architectures that the program holds, as "sm_90a, sm_100"; "" when it holds none. */
const char *mvs_cuda_list_architectures(mvs_arena *arena, const mvs_program *program);

#endif
