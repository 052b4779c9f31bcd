/* cuda_library.h: what the device and NVIDIA's libraries that take over its kernels (matmul by
 * cuBLASLt, attention by cuDNN) say to one another. */
#ifndef MVS_RUNTIME_CUDA_LIBRARY_H
#define MVS_RUNTIME_CUDA_LIBRARY_H

#include "compiler/toolkit/library.h"
#include "runtime/cuda_driver.h"
#include "runtime/device.h"

/* What a library needs of the device. */
typedef struct mvs_cuda_place {
  const mvs_cuda_driver *driver;
  const mvs_program *program;
  void *stream;
  int ordinal;
  const char *model;       /* "NVIDIA H200, 132 multiprocessors" */
  const char *driver_text; /* "driver of CUDA 13.0" */
} mvs_cuda_place;

typedef enum mvs_cuda_taken {
  MVS_CUDA_NOT_TAKEN, /* the generated kernel runs */
  MVS_CUDA_TAKEN,
  MVS_CUDA_FAILED /* a call failed while running; its reason is told */
} mvs_cuda_taken;

/* Room for a sentence that a library gives. */
#define MVS_CUDA_WORDS MVS_DEVICE_WORDS

/* The largest power of two, up to `most`, that divides the number. */
static inline int64_t mvs_cuda_power_of_two(int64_t number, int64_t most) {
  while (most > 1 && number % most != 0) most /= 2;
  return most;
}

#endif
