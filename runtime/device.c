/* device.c: finds a device by name. */
#include "runtime/device.h"

#include "runtime/fail.h"

mvs_status mvs_device_open(const char *name, const mvs_program *program, int threads,
                           mvs_diag *diag, mvs_device **out) {
  *out = NULL;
  if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
    return mvs_device_open_host(program, threads, diag, out);
  if (strcmp(name, "cuda") == 0)
    return MVS_FAIL(diag, MVS_ERR_NAME,
                    "--device cuda: GPUs are not built in yet; use --device cpu");
  return MVS_FAIL(diag, MVS_ERR_NAME, "--device '%s' is unknown: it is auto or cpu", name);
}
