/* nvrtc.h: CUDA C text to code for a GPU, by NVRTC, without a GPU. The compiler uses it for the
 * architectures that --gpu names, the trainer for a GPU that the program has no code for.
 * NVRTC is opened at run time; none of its headers is needed to build. */
#ifndef MVS_TOOLKIT_NVRTC_H
#define MVS_TOOLKIT_NVRTC_H

#include "compiler/base/diag.h"

/* One kernel for one architecture. */
typedef struct mvs_nvrtc_image {
  /* Asked for. `text` is a whole source; a comment that it starts with may differ between texts
   * that share a cache entry. */
  const char *name, *text;
  const char *architecture; /* "sm_90a" gives a cubin, "compute_90" PTX */
  /* Given: a cubin, or PTX that ends with NUL. */
  const void *data;
  size_t size;
  int registers, spill_bytes; /* of the worst kernel of the source; 0 for PTX */
  bool cached;                /* read from disk, not compiled */
} mvs_nvrtc_image;

/* Opens NVRTC; once, it stays open until the process ends.
 * most_major : newest major version that is of use (the driver's, which loads what it makes);
 *              0: any
 * errors     : MVS_ERR_DEVICE: it is absent (the sentence says where it was looked for, a hint
 *              which command helps) or too old */
mvs_status mvs_nvrtc_load(mvs_diag *diag, int most_major);
/* The version that was opened: "13.0". */
const char *mvs_nvrtc_version(void);
/* Whether NVRTC compiles for this number of an architecture (90 of "sm_90a"). */
bool mvs_nvrtc_knows(int number);
/* The architectures it compiles for: "sm_75, sm_80, ...". */
const char *mvs_nvrtc_architectures(mvs_arena *arena);
/* Compiles all images on as many threads as there are cores, each looked up in the cache on
 * disk first (cache.h). mvs_nvrtc_load must have succeeded. Results are in `arena`. errors :
 * MVS_ERR_DEVICE: NVRTC refuses a text; its first error is told, of the first such image
 */
mvs_status mvs_nvrtc_compile(mvs_arena *arena, mvs_diag *diag, mvs_nvrtc_image *images,
                             size_t count);

#endif
