/* cuda_driver.c: libcuda, opened at run time, so that a program starts on machines without a
 * GPU and says so in a sentence. The table of calls is filled once a process and the
 * library never closed: contexts, modules and recordings live in it. */
#include "runtime/cuda_driver.h"

#include <dlfcn.h>

#include "runtime/fail.h"

/* CUDA 12.0: the first whose driver has every call of the table in these forms. */
#define LEAST_VERSION 12000

static mvs_cuda_driver driver;

const char *mvs_cuda_reason(const mvs_cuda_driver *from, mvs_arena *arena, int result) {
  const char *name = NULL, *text = NULL;
  if (from->error_name(result, &name) != 0 || from->error_text(result, &text) != 0)
    return mvs_arena_format(arena, "error %d", result);
  return mvs_arena_format(arena, "%s (%s)", text, name);
}

mvs_status mvs_cuda_check(const mvs_cuda_driver *from, mvs_diag *diag, const char *call,
                          int result) {
  if (result == 0) return MVS_OK;
  const char *name = NULL, *text = NULL;
  from->error_name(result, &name);
  from->error_text(result, &text);
  return MVS_FAIL(diag, MVS_ERR_DEVICE, "the GPU failed: %s: %s (%s)", call,
                  text ? text : "unknown error", name ? name : "no name");
}

/* 12080 is 12.8: the version of CUDA that the driver supports, not its own. */
static mvs_status too_old(mvs_diag *diag, int version) {
  return MVS_FAIL(diag, MVS_ERR_DEVICE,
                  "the NVIDIA driver is too old: it supports CUDA %d.%d and this needs %d.%d",
                  version / 1000, version % 1000 / 10, LEAST_VERSION / 1000,
                  LEAST_VERSION % 1000 / 10);
}

/* Old drivers lack some of the calls, but tell their version. */
static mvs_status find_calls(void *library, mvs_diag *diag) {
  mvs_cuda_driver table = {.library = library};
  const char *missing = NULL;
  int version = 0;
#define X(field, symbol, arguments)                  \
  *(void **)(&table.field) = dlsym(library, symbol); \
  if (!table.field && !missing) missing = symbol;
  MVS_CUDA_CALLS(X)
#undef X
  if (table.version) table.version(&version);
  if (version < LEAST_VERSION) return too_old(diag, version);
  if (missing)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the NVIDIA driver has no %s; it is incomplete",
                    missing);
  driver = table;
  return MVS_OK;
}

static const char file_name[] = "libcuda.so.1";

/* Counting devices needs no table, and a driver that lacks calls counts as there: loading it
 * then tells what is wrong. The toolkit's stub library says of itself that it is one. */
bool mvs_cuda_present(void) {
  int (*init)(unsigned), (*count_devices)(int *), count = 0;
  void *library = dlopen(file_name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return false;
  *(void **)&init = dlsym(library, "cuInit");
  *(void **)&count_devices = dlsym(library, "cuDeviceGetCount");
  if (!init || !count_devices) return true;
  int result = init(0);
  if (result == 0) return count_devices(&count) != 0 || count > 0;
  return result != MVS_CUDA_NO_DEVICE && result != MVS_CUDA_STUB;
}

/* No GPU has a sentence of its own, since it is the usual reason on a machine with a driver. */
mvs_status mvs_cuda_load(mvs_diag *diag, const mvs_cuda_driver **out) {
  int count = 0;
  *out = NULL;
  if (!driver.library) {
    void *library = dlopen(file_name, RTLD_NOW | RTLD_LOCAL);
    if (!library) return MVS_FAIL(diag, MVS_ERR_DEVICE, "no NVIDIA driver: %s", dlerror());
    mvs_status status = find_calls(library, diag);
    if (status != MVS_OK) {
      dlclose(library);
      return status;
    }
  }
  int result = driver.init(0);
  if (result != MVS_CUDA_NO_DEVICE) {
    MVS_TRY(mvs_cuda_check(&driver, diag, mvs_cuda_symbol_init, result));
    MVS_TRY(MVS_CUDA(&driver, diag, device_count, &count));
  }
  if (count < 1)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the NVIDIA driver finds no GPU on this machine");
  *out = &driver;
  return MVS_OK;
}
