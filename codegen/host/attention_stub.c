#include "codegen/host/printed.h"
mvs_status mvs_host_print_attention(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  (void)kernel;
  (void)out;
  e->error = "no attention yet";
  return MVS_ERR_INTERNAL;
}
mvs_status mvs_host_print_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                         mvs_printed *out) {
  (void)kernel;
  (void)out;
  e->error = "no attention yet";
  return MVS_ERR_INTERNAL;
}
