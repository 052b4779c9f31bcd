/* cuda_attention.h: attention kernels in bf16, forward and backward, by cuDNN's graph API,
 * loaded at run time. It takes what was seen to be right (as many key heads as query heads,
 * head sizes in steps of 8 up to 128); the generated kernels do the rest. Both keep the same
 * logarithm of sums, so one may do the forward and the other the backward. The same bits run to
 * run. Owner: the device. */
#ifndef MVS_RUNTIME_CUDA_ATTENTION_H
#define MVS_RUNTIME_CUDA_ATTENTION_H

#include "runtime/cuda_library.h"

typedef struct mvs_cuda_attention mvs_cuda_attention;

/* Loads the library; NULL with a sentence in `why` [MVS_CUDA_WORDS] when it cannot be used. */
mvs_cuda_attention *mvs_cuda_attention_open(const mvs_cuda_place *place, char *why);
/* Gives back plans, memory and the library; NULL is allowed. */
void mvs_cuda_attention_close(mvs_cuda_attention *attention);
/* Whether the library may take an attention kernel, before it is asked; else the reason in
 * `why`. */
bool mvs_cuda_attention_fits(const Mvs__Kernel *kernel, char *why);
/* Makes the plan of a kernel at a batch, or reads it from the user's cache: up to a second, or
 * some milliseconds. */
void mvs_cuda_attention_prepare(mvs_cuda_attention *attention, uint32_t kernel, int64_t batch);
/* Bytes of device memory that the plans made so far work in; all plans share them. */
int64_t mvs_cuda_attention_held(const mvs_cuda_attention *attention);
/* How many of those are allocated by now: the first launch does it. */
int64_t mvs_cuda_attention_taken(const mvs_cuda_attention *attention);
/* Runs an attention kernel if the library has a plan for it; the first launch of a kernel at a
 * batch makes the plan.
 * words [MVS_CUDA_WORDS] : the reason of MVS_CUDA_FAILED */
mvs_cuda_taken mvs_cuda_attention_launch(mvs_cuda_attention *attention,
                                         const mvs_launch *launch, char *words);
/* "cuDNN 9.14.0", or "generated: ..." with the reason. */
void mvs_cuda_attention_how(mvs_cuda_attention *attention, uint32_t kernel, int64_t batch,
                            char *words);

#endif
