/* driver.c: a driver as the environment describes it. Its GPU's memory is the host's, its
 * kernels do nothing.
 *   STUB_VERSION  what cuDriverGetVersion says (13000)
 *   STUB_GPUS     how many GPUs there are (1)
 *   STUB_GPU      ten times the compute capability (80)
 *   STUB_MEMORY   bytes of the GPU (1 GiB)
 *   STUB_REFUSES  of "cubin" and "ptx", what cuModuleLoadData refuses
 *   STUB_FAILS    a number: cuLaunchKernelEx gives this result */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

int cuDriverGetVersion(int *version) {
  *version = (int)number("STUB_VERSION", 13000);
  return 0;
}

int cuDeviceGetCount(int *count) {
  *count = (int)number("STUB_GPUS", 1);
  return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, (size_t)length, "Stub %ld", number("STUB_GPU", 80));
  return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  long gpu = number("STUB_GPU", 80);
  *value = attribute == 75 ? (int)(gpu / 10) : attribute == 76 ? (int)(gpu % 10) : 1;
  return 0;
}

int cuGetErrorName(int result, const char **name) {
  *name = result == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == 209 ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
          : result == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
                          : "CUDA_ERROR_STUB";
  return 0;
}

int cuGetErrorString(int result, const char **text) {
  *text = result == 2                      ? "out of memory"
          : result == 209 || result == 222 ? "not for me"
                                           : "stub";
  return 0;
}

/* NVRTC asks the driver of the machine for this, and takes no for an answer. */
int cuGetExportTable(const void **table, const void *name) { return 1; }

/* --- memory: the size stands before each block of the GPU's --- */

#define HEAD 256

static size_t used;

int cuMemGetInfo_v2(size_t *left, size_t *all) {
  *all = (size_t)number("STUB_MEMORY", 1L << 30);
  *left = *all - used;
  return 0;
}

int cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
  size_t left, all;
  cuMemGetInfo_v2(&left, &all);
  char *block = bytes <= left ? aligned_alloc(HEAD, (bytes / HEAD + 2) * HEAD) : NULL;
  if (!block) return 2;
  memset(block, 0, (bytes / HEAD + 2) * HEAD);
  memcpy(block, &bytes, sizeof bytes);
  used += bytes;
  *memory = (uintptr_t)block + HEAD;
  return 0;
}

int cuMemFree_v2(uint64_t memory) {
  size_t bytes;
  memcpy(&bytes, (char *)(uintptr_t)memory - HEAD, sizeof bytes);
  used -= bytes;
  free((char *)(uintptr_t)memory - HEAD);
  return 0;
}

int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
  *memory = calloc(1, bytes);
  return *memory ? 0 : 2;
}

int cuMemFreeHost(void *memory) {
  free(memory);
  return 0;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
  memcpy((void *)(uintptr_t)to, from, bytes);
  return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
  memcpy(to, (void *)(uintptr_t)from, bytes);
  return 0;
}

/* --- kernels --- */

int cuModuleLoadData(void **module, const void *image) {
  const char *refused = getenv("STUB_REFUSES");
  int cubin = memcmp(image, "\177ELF", 4) == 0;
  if (refused && strstr(refused, cubin ? "cubin" : "ptx")) return cubin ? 209 : 222;
  *module = (void *)image;
  return 0;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = module;
  return 0;
}

/* A kernel waits for the one ahead of it alone: behind an event it must not come early. */
static void *awaiting; /* the stream that an event was given to since its last launch */

int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
  awaiting = stream;
  return 0;
}

int cuStreamCreate(void **stream, unsigned flags) {
  *stream = malloc(1);
  return 0;
}

int cuStreamDestroy_v2(void *stream) {
  free(stream);
  return 0;
}

/* An image of PTX shows whether its kernel waits for the one ahead of it: it must be launched
 * early if it does and there is no event, and must not if it does not. CUlaunchConfig: seven
 * numbers, the stream, the attributes, their count; attribute 6 is the early launch. */
struct launch {
  unsigned sizes[7];
  void *stream;
  unsigned *attributes;
  unsigned count;
};

int cuLaunchKernelEx(const struct launch *how, void *function, void **arguments, void **extra) {
  const char *image = function;
  int early = how->count == 1 && how->attributes[0] == 6 && how->attributes[2] == 1;
  int ptx = memcmp(image, "\177ELF", 4) != 0;
  int waits = strstr(image, "griddepcontrol.wait") != NULL && how->stream != awaiting;
  if (ptx && early != waits) return 1;
  if (how->stream == awaiting) awaiting = NULL;
  return (int)number("STUB_FAILS", 0);
}

/* What cannot be recorded is run as it is. */
int cuStreamBeginCapture_v2(void *stream, int mode) { return 801; }
