/* device.c: finds a device by name. `auto` is the host where there is no GPU or the program
 * was not compiled for one; a device that was named or found is opened or the reason told. */
#include "runtime/device.h"

#include "runtime/fail.h"

/* The host can run every program; a GPU needs its code in it. */
mvs_status mvs_device_open(const char *name, const mvs_program *program, int threads,
                           mvs_diag *diag, mvs_device **out) {
  *out = NULL;
  bool any = strcmp(name, "auto") == 0;
  if (strcmp(name, "cuda") == 0 || (any && mvs_device_cuda_present(program))) {
    mvs_status status = mvs_device_open_cuda(program, threads, diag, out);
    if (status != MVS_OK && any) mvs_diag_hint(diag, "--device cpu runs without the GPU");
    return status;
  }
  if (strcmp(name, "cpu") == 0 || any) return mvs_device_open_host(program, threads, diag, out);
  return MVS_FAIL(diag, MVS_ERR_NAME, "--device '%s' is unknown: it is auto, cpu or cuda",
                  name);
}

/* Every device has one: some work is the host's wherever kernels run. */
struct mvs_pool *mvs_device_pool(mvs_device *device) {
  return device->pool;
}
