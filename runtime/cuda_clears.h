/* cuda_clears.h: clears that libraries record before a kernel of theirs (cuBLASLt and cuDNN set
 * a counter of tiles to zero), done by the generated kernel that stands before. A clear of four
 * bytes takes as long in a graph as a kernel does, and a branch of its own takes longer.
 *
 * Every kernel of nests has a last argument, the word to clear or NULL. It clears after it has
 * waited for all work ahead, which is where the clear stood, and the library's kernel starts
 * when it has ended. */
#ifndef MVS_RUNTIME_CUDA_CLEARS_H
#define MVS_RUNTIME_CUDA_CLEARS_H

#include "runtime/cuda_modules.h"

/* Takes clears out of a recorded graph that is not instantiated yet: those of one word, to
 * zero, between a kernel of nests and one other node. What the driver refuses stays as it is.
 * Returns how many are gone. */
int mvs_cuda_fold_clears(const mvs_cuda_driver *driver, const mvs_cuda_modules *modules,
                         const mvs_program *program, void *graph);

#endif
