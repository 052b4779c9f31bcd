/* attach.c: the CUDA side of a program: texts, launch grids, images. A grid is what its text
 * counts on: both come from the same functions (mvs_cuda_nest_blocks) or the same numbers. */
#include "codegen/cuda/matmul.h"

/* --- launch grids --- */

static Mvs__Grid *new_grid(mvs_arena *arena, int64_t work, bool per_batch, int64_t per_block,
                           int64_t times) {
  Mvs__Grid *grid = MVS_NEW(arena, Mvs__Grid);
  mvs__grid__init(grid);
  grid->work = MVS_NEW(arena, Mvs__Extent);
  mvs__extent__init(grid->work);
  grid->work->size = work;
  grid->work->per_batch = per_batch;
  grid->per_block = per_block;
  grid->times = times;
  return grid;
}

/* Blocks of a nest kernel are those of its nests behind one another (print.c). Heavy ones have
 * one grid: tiles of 128 x 128 results; eight queries of a head, then eight keys of a group. */
static void fill_grids(mvs_arena *arena, const mvs_kernel *kernel, Mvs__Kernel *record) {
  const mvs_attention_shape *attention = &kernel->attention;
  int64_t tiles = (attention->tokens + 7) / 8;
  size_t count = kernel->nests.count ? kernel->nests.count : 1;
  record->block = MVS_CUDA_BLOCK;
  record->grids = MVS_ARRAY(arena, count, Mvs__Grid *);
  record->n_grids = count;
  switch (kernel->kernel_class) {
    case MVS_KERNEL_MATMUL:
      record->grids[0] =
          new_grid(arena, kernel->matmul.m.size, kernel->matmul.m.per_batch, MVS_CUDA_TILE,
                   (kernel->matmul.n + MVS_CUDA_TILE - 1) / MVS_CUDA_TILE);
      return;
    case MVS_KERNEL_ATTENTION:
      record->grids[0] = new_grid(arena, attention->heads * tiles, true, 1, 1);
      return;
    case MVS_KERNEL_ATTENTION_GRAD:
      record->grids[0] =
          new_grid(arena, (attention->heads + attention->kv_heads) * tiles, true, 1, 1);
      return;
    default:
      for (size_t i = 0; i < count; ++i) {
        mvs_cuda_blocks blocks = mvs_cuda_nest_blocks(arena, kernel, &kernel->nests.items[i]);
        record->grids[i] = new_grid(arena, blocks.work.size, blocks.work.per_batch,
                                    blocks.per_block, blocks.times);
      }
  }
}

/* What libraries that take a kernel's place are told of its operands: cuBLASLt and cuDNN want
 * to know how places are aligned. */
static void fill_arguments(mvs_arena *arena, const mvs_kernel *kernel, Mvs__Kernel *record) {
  record->arguments = MVS_ARRAY(arena, (size_t)kernel->operand_count + 1, Mvs__Argument *);
  record->n_arguments = (size_t)kernel->operand_count;
  for (int i = 0; i < kernel->operand_count; ++i) {
    Mvs__Argument *argument = MVS_NEW(arena, Mvs__Argument);
    mvs__argument__init(argument);
    argument->dtype = (char *)mvs_dtype_name(kernel->operands[i]);
    argument->written = kernel->written[i];
    argument->alignment = (int64_t)kernel->alignment[i] * mvs_dtype_size(kernel->operands[i]);
    record->arguments[i] = argument;
  }
}

mvs_status mvs_cuda_attach(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                           const char *const *architectures, size_t count) {
  mvs_program *program = build->program;
  for (size_t i = 0; i < program->n_kernels; ++i) {
    mvs_text text = mvs_text_new(arena);
    mvs_cuda_print(build->kernels.items[i], &text);
    program->kernels[i]->cuda = (char *)mvs_text_string(&text);
    fill_grids(arena, build->kernels.items[i], program->kernels[i]);
    fill_arguments(arena, build->kernels.items[i], program->kernels[i]);
  }
  return mvs_cuda_add_images(arena, diag, program, architectures, count);
}
