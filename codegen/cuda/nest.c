/* nest.c: one nest as a device function, and what the printers of both classes say alike. */
#include "codegen/cuda/nest.h"

void mvs_cuda_print_dim(mvs_dim dim, mvs_text *out) {
  mvs_text_addf(out, dim.per_batch ? "%lldll * batch" : "%lldll", (long long)dim.size);
}

const char *mvs_cuda_nest_storage(const mvs_kernel *kernel, const mvs_instr *instr) {
  return mvs_cuda_storage(kernel->operands[instr->access.operand]);
}

const char *mvs_cuda_nest_combiner(const mvs_instr *instr) {
  return instr->op == MVS_OP_sum ? "add_op" : "max_op";
}

/* Bits instead of INFINITY: no header defines it. Of integers the least one, written so that no
 * literal is out of range. */
const char *mvs_cuda_nest_identity(const mvs_instr *instr) {
  if (instr->op == MVS_OP_sum) return "0";
  if (instr->dtype == MVS_I32) return "(-2147483647 - 1)";
  return instr->dtype == MVS_F64 ? "__longlong_as_double(0xfff0000000000000ll)"
                                 : "__int_as_float(0xff800000)"; /* minus infinity */
}

void mvs_cuda_print_nest(const mvs_kernel *kernel, int index, mvs_text *out) {
  const mvs_nest *nest = &kernel->nests.items[index];
  mvs_text_addf(out, "static __device__ __forceinline__ void %s_nest%d(", kernel->name, index);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer, const i64 block) {\n");
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    mvs_cuda_print_columns(kernel, nest, out);
  } else {
    mvs_cuda_print_rows(kernel, nest, out);
  }
  mvs_text_add(out, "}\n");
}
