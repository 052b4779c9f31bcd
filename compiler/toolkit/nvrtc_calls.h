/* nvrtc_calls.h: NVRTC's functions, for the files of this folder that call it. Its types are
 * opaque pointers, its results ints, 0 for success. */
#ifndef MVS_TOOLKIT_NVRTC_CALLS_H
#define MVS_TOOLKIT_NVRTC_CALLS_H

#include <stddef.h>

typedef void *mvs_nvrtc_program;

/* The calls: field, NVRTC's symbol, arguments. All were there in CUDA 11.2. */
#define MVS_NVRTC_CALLS(X)                                                          \
  X(version, "nvrtcVersion", (int *major, int *minor))                              \
  X(count_supported, "nvrtcGetNumSupportedArchs", (int *count))                     \
  X(supported, "nvrtcGetSupportedArchs", (int *numbers))                            \
  X(create, "nvrtcCreateProgram",                                                   \
    (mvs_nvrtc_program * program, const char *text, const char *name, int headers,  \
     const char *const *header_texts, const char *const *header_names))             \
  X(compile, "nvrtcCompileProgram",                                                 \
    (mvs_nvrtc_program program, int count, const char *const *options))             \
  X(cubin_size, "nvrtcGetCUBINSize", (mvs_nvrtc_program program, size_t * size))    \
  X(cubin, "nvrtcGetCUBIN", (mvs_nvrtc_program program, char *bytes))               \
  X(ptx_size, "nvrtcGetPTXSize", (mvs_nvrtc_program program, size_t * size))        \
  X(ptx, "nvrtcGetPTX", (mvs_nvrtc_program program, char *bytes))                   \
  X(log_size, "nvrtcGetProgramLogSize", (mvs_nvrtc_program program, size_t * size)) \
  X(log, "nvrtcGetProgramLog", (mvs_nvrtc_program program, char *bytes))            \
  X(destroy, "nvrtcDestroyProgram", (mvs_nvrtc_program * program))

typedef struct mvs_nvrtc {
  void *library;
  char name[16];     /* "13.0" */
  char identity[64]; /* version and size of the file: tells builds of a version apart */
  int architectures[64];
  int architecture_count;
  const char *(*error_string)(int result);
#define X(field, symbol, arguments) int(*field) arguments;
  MVS_NVRTC_CALLS(X)
#undef X
} mvs_nvrtc;

/* The calls of the NVRTC that mvs_nvrtc_load opened. */
const mvs_nvrtc *mvs_nvrtc_calls(void);

#endif
