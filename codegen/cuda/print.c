/* print.c: one kernel as a self-contained CUDA C source:
 *
 *   prelude | NAME_nest0(operands, batch, layer, block) ... | NAME(operands, batch, layer, ...)
 *
 * The blocks of a launch are those of its nests behind one another; the kernel subtracts its
 * way to the nest that the block is of, and calls its function, which is inlined. */
#include "codegen/cuda/printer.h"

/* Without __restrict__: what is read through such a pointer counts as constant while the kernel
 * runs, and NVRTC may move its loads to before the wait for the kernel that writes it
 * (take_turn). Nothing is lost: loads stand before stores as they are printed. */
void mvs_cuda_print_operands(const mvs_kernel *kernel, mvs_text *out) {
  for (int i = 0; i < kernel->operand_count; ++i) {
    mvs_text_addf(out, "%s%s%s *p%d", i ? ", " : "",
                  kernel->written[i] ? "" : "const ", mvs_cuda_storage(kernel->operands[i]), i);
  }
}

/* Blocks of a nest at a batch, as an expression. */
static void print_blocks(const mvs_kernel *kernel, const mvs_nest *nest, mvs_text *out) {
  mvs_cuda_blocks blocks = mvs_cuda_nest_blocks(out->home, kernel, nest);
  mvs_text_add(out, "(");
  mvs_cuda_print_dim(blocks.work, out);
  mvs_text_addf(out, " + %lld) / %lld * %lld", (long long)blocks.per_block - 1,
                (long long)blocks.per_block, (long long)blocks.times);
}

static void print_call(const mvs_kernel *kernel, size_t nest, mvs_text *out) {
  mvs_text_addf(out, "%s_nest%zu(", kernel->name, nest);
  for (int i = 0; i < kernel->operand_count; ++i) mvs_text_addf(out, "p%d, ", i);
  mvs_text_add(out, "batch, layer, block)");
}

/* Blocks go up or down through the samples, as the launch says: a kernel that starts where the
 * one before it ended finds the last tens of megabytes still in L2. `clear` is a word that the
 * kernel behind finds zero (runtime/cuda_clears.h). */
static void print_nests(const mvs_kernel *kernel, mvs_text *out) {
  for (size_t i = 0; i < kernel->nests.count; ++i) mvs_cuda_print_nest(kernel, (int)i, out);
  mvs_text_addf(out, "extern \"C\" __global__ void __launch_bounds__(%d, 1) %s(",
                MVS_CUDA_BLOCK,
                kernel->name);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out,
               ", const i64 batch, const int layer, const int down,\n    u32 *clear) {\n"
               "  take_turn();\n"
               "  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;\n"
               "  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;\n");
  for (size_t i = 0; i < kernel->nests.count; ++i) {
    mvs_text_add(out, "  {\n    const i64 blocks = ");
    print_blocks(kernel, &kernel->nests.items[i], out);
    mvs_text_add(out, ";\n    if (block < blocks) {\n      ");
    print_call(kernel, i, out);
    mvs_text_add(out, ";\n      return;\n    }\n    block -= blocks;\n  }\n");
  }
  mvs_text_add(out, "}\n");
}

void mvs_cuda_print(const mvs_kernel *kernel, mvs_text *out) {
  if (kernel->why) mvs_text_addf(out, "/* %s */\n", kernel->why);
  mvs_cuda_print_prelude(out);
  switch (kernel->kernel_class) {
    case MVS_KERNEL_MATMUL: mvs_cuda_print_matmul(kernel, out); return;
    case MVS_KERNEL_ATTENTION: mvs_cuda_print_attention(kernel, out); return;
    case MVS_KERNEL_ATTENTION_GRAD: mvs_cuda_print_attention_grad(kernel, out); return;
    default: print_nests(kernel, out);
  }
}
