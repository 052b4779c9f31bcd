/* cuda_driver.h: NVIDIA's driver, loaded at run time. No CUDA header is needed to build: its
 * types are integers and opaque pointers, and the few constants used are given by value here.
 * Every call goes through MVS_CUDA, which names the call and the driver's reason. */
#ifndef MVS_RUNTIME_CUDA_DRIVER_H
#define MVS_RUNTIME_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "compiler/base/diag.h"

typedef uint64_t mvs_cuda_address; /* CUdeviceptr */

/* CUlaunchAttribute and CUlaunchConfig. */
typedef struct mvs_cuda_launch_attribute {
  unsigned id;
  union {
    uint64_t room[8];
    int flag;
  } value;
} mvs_cuda_launch_attribute;

typedef struct mvs_cuda_launch {
  unsigned grid[3], block[3], shared_bytes;
  void *stream;
  const mvs_cuda_launch_attribute *attributes;
  unsigned attribute_count;
} mvs_cuda_launch;

/* CUDA_KERNEL_NODE_PARAMS_v2 and CUDA_MEMSET_NODE_PARAMS. */
typedef struct mvs_cuda_kernel_node {
  void *function;
  unsigned grid[3], block[3], shared_bytes;
  void **arguments, **extra;
  void *kernel, *context;
} mvs_cuda_kernel_node;

typedef struct mvs_cuda_clear {
  mvs_cuda_address to;
  size_t pitch;
  unsigned value, element; /* bytes of an element */
  size_t width, height;    /* elements of a row, rows */
} mvs_cuda_clear;

/* The calls: field, the driver's symbol, arguments. All return CUresult, 0 for success. */
#define MVS_CUDA_CALLS(X)                                                                      \
  X(init, "cuInit", (unsigned flags))                                                          \
  X(version, "cuDriverGetVersion", (int *version))                                             \
  X(error_name, "cuGetErrorName", (int result, const char **name))                             \
  X(error_text, "cuGetErrorString", (int result, const char **text))                           \
  X(device_count, "cuDeviceGetCount", (int *count))                                            \
  X(device_get, "cuDeviceGet", (int *device, int ordinal))                                     \
  X(device_name, "cuDeviceGetName", (char *name, int length, int device))                      \
  X(device_attribute, "cuDeviceGetAttribute", (int *value, int attribute, int device))         \
  X(context_retain, "cuDevicePrimaryCtxRetain", (void **context, int device))                  \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", (int device))                             \
  X(context_set, "cuCtxSetCurrent", (void *context))                                           \
  X(memory_info, "cuMemGetInfo_v2", (size_t * left, size_t * all))                             \
  X(alloc, "cuMemAlloc_v2", (mvs_cuda_address * memory, size_t bytes))                         \
  X(release, "cuMemFree_v2", (mvs_cuda_address memory))                                        \
  X(host_alloc, "cuMemHostAlloc", (void **memory, size_t bytes, unsigned flags))               \
  X(host_release, "cuMemFreeHost", (void *memory))                                             \
  X(clear, "cuMemsetD8Async",                                                                  \
    (mvs_cuda_address memory, unsigned char value, size_t bytes, void *stream))                \
  X(to_device, "cuMemcpyHtoDAsync_v2",                                                         \
    (mvs_cuda_address to, const void *from, size_t bytes, void *stream))                       \
  X(to_host, "cuMemcpyDtoHAsync_v2",                                                           \
    (void *to, mvs_cuda_address from, size_t bytes, void *stream))                             \
  X(within, "cuMemcpyDtoDAsync_v2",                                                            \
    (mvs_cuda_address to, mvs_cuda_address from, size_t bytes, void *stream))                  \
  X(stream_new, "cuStreamCreate", (void **stream, unsigned flags))                             \
  X(stream_free, "cuStreamDestroy_v2", (void *stream))                                         \
  X(stream_wait, "cuStreamSynchronize", (void *stream))                                        \
  X(stream_await, "cuStreamWaitEvent", (void *stream, void *event, unsigned flags))            \
  X(module_load, "cuModuleLoadData", (void **module, const void *image))                       \
  X(module_free, "cuModuleUnload", (void *module))                                             \
  X(module_function, "cuModuleGetFunction", (void **function, void *module, const char *name)) \
  X(launch, "cuLaunchKernelEx",                                                                \
    (const mvs_cuda_launch *how, void *function, void **arguments, void **extra))              \
  X(event_new, "cuEventCreate", (void **event, unsigned flags))                                \
  X(event_record, "cuEventRecord", (void *event, void *stream))                                \
  X(event_node, "cuEventRecordWithFlags", (void *event, void *stream, unsigned flags))         \
  X(event_wait, "cuEventSynchronize", (void *event))                                           \
  X(event_elapsed, "cuEventElapsedTime", (float *milliseconds, void *from, void *to))          \
  X(event_free, "cuEventDestroy_v2", (void *event))                                            \
  X(capture_begin, "cuStreamBeginCapture_v2", (void *stream, int mode))                        \
  X(capture_end, "cuStreamEndCapture", (void *stream, void **graph))                           \
  X(graph_free, "cuGraphDestroy", (void *graph))                                               \
  X(graph_ready, "cuGraphInstantiateWithFlags",                                                \
    (void **ready, void *graph, unsigned long long flags))                                     \
  X(graph_nodes, "cuGraphGetNodes", (void *graph, void **nodes, size_t *count))                \
  X(node_type, "cuGraphNodeGetType", (void *node, int *type))                                  \
  X(node_before, "cuGraphNodeGetDependencies", (void *node, void **nodes, size_t *count))      \
  X(node_behind, "cuGraphNodeGetDependentNodes", (void *node, void **nodes, size_t *count))    \
  X(node_order, "cuGraphAddDependencies",                                                      \
    (void *graph, void *const *from, void *const *to, size_t count))                           \
  X(node_free, "cuGraphDestroyNode", (void *node))                                             \
  X(kernel_node, "cuGraphKernelNodeGetParams_v2", (void *node, mvs_cuda_kernel_node *kernel))  \
  X(kernel_node_set, "cuGraphKernelNodeSetParams_v2",                                          \
    (void *node, const mvs_cuda_kernel_node *kernel))                                          \
  X(clear_node, "cuGraphMemsetNodeGetParams", (void *node, mvs_cuda_clear *clear))             \
  X(graph_launch, "cuGraphLaunch", (void *ready, void *stream))                                \
  X(ready_free, "cuGraphExecDestroy", (void *ready))

typedef struct mvs_cuda_driver {
  void *library;
#define X(field, symbol, arguments) int(*field) arguments;
  MVS_CUDA_CALLS(X)
#undef X
} mvs_cuda_driver;

/* Attributes of a device (CUdevice_attribute). */
#define MVS_CUDA_ATTRIBUTE_MULTIPROCESSORS 16
#define MVS_CUDA_ATTRIBUTE_CACHE           38 /* bytes of the L2 */
#define MVS_CUDA_ATTRIBUTE_MAJOR           75
#define MVS_CUDA_ATTRIBUTE_MINOR           76
/* Flags: CU_STREAM_NON_BLOCKING, CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING,
 * CU_STREAM_CAPTURE_MODE_THREAD_LOCAL. */
#define MVS_CUDA_STREAM_OWN     1
#define MVS_CUDA_EVENT_PLAIN    3
#define MVS_CUDA_CAPTURE_THREAD 1
/* CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: the kernel may start before the one
 * ahead of it in its stream has ended, where that is a kernel; it waits by itself. */
#define MVS_CUDA_LAUNCH_EARLY 6
/* CU_GRAPH_NODE_TYPE_KERNEL and _MEMSET. */
#define MVS_CUDA_NODE_KERNEL 0
#define MVS_CUDA_NODE_CLEAR  2
/* CU_EVENT_RECORD_EXTERNAL: while capturing, a node that each launch of the graph does anew. */
#define MVS_CUDA_EVENT_NODE 1
/* Results: CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_STUB_LIBRARY (a toolkit's library in place of
 * the driver's), CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NO_BINARY_FOR_GPU. */
#define MVS_CUDA_OUT_OF_MEMORY 2
#define MVS_CUDA_STUB          34
#define MVS_CUDA_NO_DEVICE     100
#define MVS_CUDA_NO_BINARY     209

/* Whether there is a GPU: false without a driver or with one that finds none, true with a
 * driver that is too old or fails, which mvs_cuda_load then tells. */
bool mvs_cuda_present(void);
/* Loads the driver and starts it; once, the table is kept until the process ends.
 * errors : MVS_ERR_DEVICE: libcuda.so.1 is absent, too old, or finds no GPU */
mvs_status mvs_cuda_load(mvs_diag *diag, const mvs_cuda_driver **out);
/* The driver's words for a result: "out of memory (CUDA_ERROR_OUT_OF_MEMORY)". */
const char *mvs_cuda_reason(const mvs_cuda_driver *driver, mvs_arena *arena, int result);
/* The checked form of a call. errors : MVS_ERR_DEVICE */
mvs_status mvs_cuda_check(const mvs_cuda_driver *driver, mvs_diag *diag, const char *call,
                          int result);
#define MVS_CUDA(driver, diag, field, ...) \
  mvs_cuda_check((driver), (diag), mvs_cuda_symbol_##field, (driver)->field(__VA_ARGS__))

#define X(field, symbol, arguments) \
  static const char mvs_cuda_symbol_##field[] __attribute__((unused)) = symbol;
MVS_CUDA_CALLS(X)
#undef X

#endif
