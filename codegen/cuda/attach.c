/* attach.c: the CUDA side of a program: texts, launch grids, cubins. */
#include <pthread.h>

#include "codegen/cuda/printer.h"

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

static void fill_grids(mvs_arena *arena, const mvs_kernel *kernel, Mvs__Kernel *record) {
  const mvs_attention_shape *attention = &kernel->attention;
  int64_t tiles = (attention->tokens + 7) / 8;
  size_t count = kernel->nests.count ? kernel->nests.count : 1;
  record->block = MVS_CUDA_BLOCK;
  record->grids = MVS_ARRAY(arena, count, Mvs__Grid *);
  record->n_grids = count;
  switch (kernel->kernel_class) {
    case MVS_KERNEL_MATMUL:
      record->grids[0] = new_grid(arena, kernel->matmul.m.size, kernel->matmul.m.per_batch, 64,
                                  (kernel->matmul.n + 63) / 64);
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
        mvs_cuda_blocks blocks = mvs_cuda_nest_blocks(kernel, &kernel->nests.items[i]);
        record->grids[i] =
            new_grid(arena, blocks.work.size, blocks.work.per_batch, blocks.per_block, 1);
      }
  }
}

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

/* --- compiling on two threads --- */

typedef struct job {
  const mvs_build *build;
  const char *architecture;
  size_t first, step; /* kernels first, first + step, ... */
  Mvs__Image **images;
  mvs_arena *arena; /* of this thread alone */
  mvs_diag *diag;
  mvs_status status;
} job;

static mvs_status compile_one(job *work, size_t index) {
  const Mvs__Kernel *record = work->build->program->kernels[index];
  const void *cubin = NULL;
  size_t size = 0;
  mvs_cuda_report report = {0};
  MVS_TRY(mvs_cuda_compile(work->arena, work->diag, record->name, record->cuda,
                           work->architecture, &cubin, &size, &report));
  if (report.spill_bytes > 0) {
    mvs_diag_error(work->diag, (mvs_span){0}, "kernel %s spills %d bytes of registers on %s",
                   record->name, report.spill_bytes, work->architecture);
    return MVS_ERR_INTERNAL;
  }
  Mvs__Image *image = MVS_NEW(work->arena, Mvs__Image);
  mvs__image__init(image);
  image->architecture = (char *)work->architecture;
  image->kernel = record->name;
  image->data = (ProtobufCBinaryData){size, (uint8_t *)cubin};
  image->registers = report.registers;
  work->images[index] = image;
  return MVS_OK;
}

static void *run_job(void *argument) {
  job *work = argument;
  size_t count = work->build->program->n_kernels;
  for (size_t i = work->first; i < count && work->status == MVS_OK; i += work->step) {
    work->status = compile_one(work, i);
  }
  return NULL;
}

/* Copies an image out of a job's arena, so that the arena can go. */
static Mvs__Image *keep_image(mvs_arena *arena, const Mvs__Image *image) {
  Mvs__Image *kept = MVS_NEW(arena, Mvs__Image);
  *kept = *image;
  kept->data.data = (uint8_t *)mvs_arena_copy(arena, (char *)image->data.data, image->data.len);
  return kept;
}

static mvs_status compile_all(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                              const char *architecture, Mvs__Image **images) {
  enum { THREADS = 2 };
  job jobs[THREADS];
  pthread_t threads[THREADS];
  mvs_status status = MVS_OK;
  for (size_t i = 0; i < THREADS; ++i) {
    jobs[i] = (job){.build = build,
                    .architecture = architecture,
                    .first = i,
                    .step = THREADS,
                    .images = images,
                    .arena = mvs_arena_new()};
    if (!jobs[i].arena) return MVS_ERR_MEMORY;
    jobs[i].diag = mvs_diag_new(jobs[i].arena);
    if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0) return MVS_ERR_MEMORY;
  }
  for (size_t i = 0; i < THREADS; ++i) {
    pthread_join(threads[i], NULL);
    if (jobs[i].status != MVS_OK && status == MVS_OK) {
      mvs_diag_join(diag, jobs[i].diag);
      status = jobs[i].status;
    }
  }
  for (size_t i = 0; i < build->program->n_kernels; ++i) {
    if (images[i]) images[i] = keep_image(arena, images[i]);
  }
  for (size_t i = 0; i < THREADS; ++i) mvs_arena_free(jobs[i].arena);
  return status;
}

mvs_status mvs_cuda_attach(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                           const char *const *architectures, size_t count) {
  mvs_program *program = build->program;
  for (size_t i = 0; i < program->n_kernels; ++i) {
    mvs_text text = mvs_text_new(arena);
    MVS_TRY(mvs_cuda_print(arena, diag, build->kernels.items[i], &text));
    program->kernels[i]->cuda = (char *)mvs_text_string(&text);
    fill_grids(arena, build->kernels.items[i], program->kernels[i]);
    fill_arguments(arena, build->kernels.items[i], program->kernels[i]);
  }
  program->images = MVS_ARRAY(arena, program->n_kernels * count + 1, Mvs__Image *);
  for (size_t i = 0; i < count; ++i) {
    Mvs__Image **images = program->images + i * program->n_kernels;
    MVS_TRY(compile_all(arena, diag, build, architectures[i], images));
    program->n_images += program->n_kernels;
  }
  return MVS_OK;
}
