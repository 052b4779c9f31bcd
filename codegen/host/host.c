/* host.c: all kernels of a program as native code. Kernels are divided between two parts
 * that compile on a thread each; the parts' objects become one block, or go to the JIT.
 *
 * Two parts halve the time of a compilation, most of which is LLVM's. Each has its own
 * context, module and arena, since none of those may be shared between threads; kernels meet
 * again as symbols. Which part a kernel is in changes its address and nothing else, so
 * programs are the same from run to run. After delivery the program's tables hold, for each
 * kernel, its stages, its nests' addresses and divisions, and what scratch and workspace a
 * launch needs. */
#include "codegen/host/host.h"

#include <pthread.h>

#include "codegen/host/jit.h"
#include "codegen/host/object.h"
#include "codegen/host/printed.h"
#include "codegen/host/target.h"

#define PARTS 2

typedef struct job {
  mvs_part part;
  mvs_arena *arena; /* the thread's own: arenas are not shared between threads */
  const mvs_build *build;
  const uint8_t *owner; /* per kernel: its part */
  uint8_t number;       /* of this part */
  mvs_printed *printed; /* per kernel of the program */
  mvs_status status;
  const char *reason;
} job;

/* --- printing --- */

void mvs_printed_add(mvs_arena *arena, mvs_printed *out, const char *symbol,
                     mvs_division division) {
  mvs_printed_stage stage = {NULL, 0, 0};
  mvs_printed_nest nest = {mvs_arena_string(arena, symbol), division};
  MVS_PUSH(arena, &stage, nest);
  MVS_PUSH(arena, &out->stages, stage);
}

mvs_status mvs_host_print_nests(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  mvs_printed_stage stage = {NULL, 0, 0};
  for (size_t i = 0; i < kernel->nests.count; ++i) {
    mvs_printed_nest printed = {mvs_arena_format(e->arena, "%s_n%zu", kernel->name, i),
                                {{0, false}, {0, false}, 0, 0}};
    MVS_TRY(mvs_host_print_nest(e, kernel, &kernel->nests.items[i], printed.symbol,
                                &printed.division, &out->scratch));
    MVS_PUSH(e->arena, &stage, printed);
  }
  MVS_PUSH(e->arena, &out->stages, stage);
  return MVS_OK;
}

/* Matmuls and attention have printers of their own; every other kernel is a list of nests. */
static mvs_status print_kernel(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  switch (kernel->kernel_class) {
    case MVS_KERNEL_MATMUL:
      return mvs_host_print_matmul(e, kernel, out);
    case MVS_KERNEL_ATTENTION:
      return mvs_host_print_attention(e, kernel, out);
    case MVS_KERNEL_ATTENTION_GRAD:
      return mvs_host_print_attention_grad(e, kernel, out);
    default:
      return mvs_host_print_nests(e, kernel, out);
  }
}

/* Prints the kernels that belong to this part. */
static mvs_status print_part(job *j) {
  for (size_t i = 0; i < j->build->kernels.count; ++i) {
    if (j->owner[i] != j->number) continue;
    const mvs_kernel *kernel = j->build->kernels.items[i];
    mvs_status status = print_kernel(&j->part.emit, kernel, &j->printed[i]);
    if (status != MVS_OK) {
      j->reason = mvs_arena_format(j->arena, "kernel %s: %s", kernel->name, j->part.emit.error);
      return status;
    }
  }
  return MVS_OK;
}

/* A thread's main: prints and compiles one part. Failures are kept in the job, since
 * diagnostics belong to the thread that started this. */
static void *run_job(void *argument) {
  job *j = argument;
  jmp_buf exhausted, *before = mvs_arena_on_oom(&exhausted);
  if (setjmp(exhausted)) {
    j->status = MVS_ERR_MEMORY, j->reason = "out of memory";
  } else {
    j->status = print_part(j);
    if (j->status == MVS_OK && !mvs_part_compile(&j->part, &j->reason))
      j->status = MVS_ERR_DEVICE;
  }
  mvs_arena_on_oom(before);
  return NULL;
}

/* --- division into parts --- */

/* The cost of compiling a kernel, in instructions: rough, for balance only. */
static size_t weight(const mvs_kernel *kernel) {
  size_t instrs = 0;
  for (size_t i = 0; i < kernel->nests.count; ++i)
    instrs += kernel->nests.items[i].instrs.count;
  return instrs;
}

/* Matmuls and attention share their micro-kernels, so they stay together in part 0, which
 * starts with what those cost; the nests go wherever less has been put so far. */
static void divide(const mvs_build *build, uint8_t *owner) {
  size_t load[PARTS] = {0};
  for (size_t i = 0; i < build->kernels.count; ++i) {
    if (build->kernels.items[i]->nests.count == 0) load[0] += 60;
  }
  if (load[0]) load[0] += 300;
  for (size_t i = 0; i < build->kernels.count; ++i) {
    const mvs_kernel *kernel = build->kernels.items[i];
    if (kernel->nests.count == 0) continue;
    owner[i] = load[1] < load[0];
    load[owner[i]] += weight(kernel);
  }
}

/* --- jobs --- */

/* The caller closes the job whether this succeeds or not. */
static mvs_status open_job(job *j, mvs_diag *diag, const mvs_build *build,
                           const mvs_host_options *options) {
  j->arena = mvs_arena_new();
  j->build = build;
  if (mvs_part_open(&j->part, j->arena, options->cpu_level, options->quick, &j->reason)) {
    j->part.wants_text = options->llvm != NULL;
    return MVS_OK;
  }
  mvs_diag_error(diag, (mvs_span){NULL, 0, 0}, "%s", j->reason);
  return MVS_ERR_DEVICE;
}

/* Frees the part before the arena that its strings are in. */
static void close_job(job *j) {
  mvs_part_close(&j->part);
  mvs_arena_free(j->arena);
}

/* Both parts at once, or one after the other where no thread can be had. */
static mvs_status run_jobs(job *jobs, mvs_diag *diag) {
  pthread_t thread;
  bool started = pthread_create(&thread, NULL, run_job, &jobs[1]) == 0;
  run_job(&jobs[0]);
  if (started) {
    pthread_join(thread, NULL);
  } else {
    run_job(&jobs[1]);
  }
  for (int i = 0; i < PARTS; ++i) {
    if (jobs[i].status == MVS_OK) continue;
    mvs_diag_error(diag, (mvs_span){NULL, 0, 0}, "host code: %s", jobs[i].reason);
    return jobs[i].status;
  }
  return MVS_OK;
}

/* --- the program's tables --- */

/* A dimension in the program's form. */
static Mvs__Extent *extent(mvs_arena *arena, mvs_dim dim) {
  Mvs__Extent *out = MVS_NEW(arena, Mvs__Extent);
  mvs__extent__init(out);
  out->size = dim.size;
  out->per_batch = dim.per_batch;
  return out;
}

/* Takes the address of a nest's function. */
static mvs_status find_symbol(mvs_diag *diag, const mvs_symbols *symbols, Mvs__Nest *nest) {
  for (size_t i = 0; i < symbols->count; ++i) {
    if (strcmp(symbols->items[i].name, nest->symbol) != 0) continue;
    nest->address = symbols->items[i].address;
    return MVS_OK;
  }
  mvs_diag_error(diag, (mvs_span){NULL, 0, 0}, "host code: no function %s", nest->symbol);
  return MVS_ERR_INTERNAL;
}

/* A row of the program for one function; the address is found by name afterwards. */
static Mvs__Nest *fill_nest(mvs_arena *arena, const mvs_printed_nest *from) {
  Mvs__Nest *nest = MVS_NEW(arena, Mvs__Nest);
  mvs__nest__init(nest);
  nest->symbol = mvs_arena_string(arena, from->symbol);
  nest->rows = extent(arena, from->division.rows);
  nest->inner = extent(arena, from->division.inner);
  nest->row_chunk = from->division.row_chunk;
  nest->inner_chunk = from->division.inner_chunk;
  return nest;
}

/* Writes stages, addresses and memory needs into the kernel's row of the program. */
static mvs_status fill_kernel(mvs_arena *arena, mvs_diag *diag, const mvs_printed *printed,
                              const mvs_symbols *symbols, Mvs__Kernel *kernel) {
  kernel->scratch = printed->scratch;
  kernel->workspace_fixed = printed->workspace_fixed;
  kernel->workspace_per_batch = printed->workspace_per_batch;
  kernel->n_stages = printed->stages.count;
  kernel->stages = MVS_ARRAY(arena, kernel->n_stages, Mvs__Stage *);
  for (size_t s = 0; s < kernel->n_stages; ++s) {
    const mvs_printed_stage *from = &printed->stages.items[s];
    Mvs__Stage *stage = MVS_NEW(arena, Mvs__Stage);
    mvs__stage__init(stage);
    stage->n_nests = from->count;
    stage->nests = MVS_ARRAY(arena, from->count, Mvs__Nest *);
    for (size_t n = 0; n < from->count; ++n) {
      stage->nests[n] = fill_nest(arena, &from->items[n]);
      MVS_TRY(find_symbol(diag, symbols, stage->nests[n]));
    }
    kernel->stages[s] = stage;
  }
  return MVS_OK;
}

/* Kernels of the build and of the program stand in the same order. */
static mvs_status fill_program(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                               const mvs_printed *printed, const mvs_symbols *symbols) {
  for (size_t i = 0; i < build->kernels.count; ++i) {
    MVS_TRY(fill_kernel(arena, diag, &printed[i], symbols, build->program->kernels[i]));
  }
  return MVS_OK;
}

/* --- the two ways to deliver --- */

/* For an executable: one block of bytes that runs wherever it is copied; addresses are
 * offsets into it. */
static mvs_status deliver_block(mvs_arena *arena, mvs_diag *diag, mvs_build *build, job *jobs,
                                const mvs_printed *printed) {
  mvs_text block = mvs_text_new(arena);
  mvs_symbols symbols = {NULL, 0, 0};
  for (int i = 0; i < PARTS; ++i) {
    LLVMMemoryBufferRef object = jobs[i].part.object;
    MVS_TRY(mvs_object_place(diag, LLVMGetBufferStart(object), LLVMGetBufferSize(object),
                             &block, &symbols));
  }
  build->program->host_code.data = (uint8_t *)block.data;
  build->program->host_code.len = block.length;
  return fill_program(arena, diag, build, printed, &symbols);
}

/* For `mvcc run`: the JIT takes each object over, and addresses are absolute. */
static mvs_status deliver_loaded(mvs_arena *arena, mvs_diag *diag, mvs_build *build, job *jobs,
                                 const mvs_printed *printed) {
  mvs_symbols symbols = {NULL, 0, 0};
  for (int i = 0; i < PARTS; ++i) {
    LLVMMemoryBufferRef object = jobs[i].part.object;
    jobs[i].part.object = NULL;
    MVS_TRY(mvs_jit_load(arena, diag, object, &symbols));
  }
  return fill_program(arena, diag, build, printed, &symbols);
}

typedef mvs_status deliver(mvs_arena *arena, mvs_diag *diag, mvs_build *build, job *jobs,
                           const mvs_printed *printed);

/* The shared way of both deliveries. Jobs are closed on every path out. */
static mvs_status compile(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                          const mvs_host_options *given, deliver *deliver_to) {
  mvs_host_options options = given ? *given : (mvs_host_options){.cpu_level = NULL};
  if (!options.cpu_level) options.cpu_level = mvs_best_cpu_level();
  if (!options.cpu_level) {
    mvs_diag_error(diag, (mvs_span){NULL, 0, 0}, "this processor has no AVX2 and FMA");
    return MVS_ERR_DEVICE;
  }
  job jobs[PARTS];
  memset(jobs, 0, sizeof jobs);
  uint8_t *owner = MVS_ARRAY(arena, build->kernels.count, uint8_t);
  mvs_printed *printed = MVS_ARRAY(arena, build->kernels.count, mvs_printed);
  divide(build, owner);
  mvs_status status = MVS_OK;
  for (uint8_t i = 0; i < PARTS && status == MVS_OK; ++i) {
    status = open_job(&jobs[i], diag, build, &options);
    jobs[i].owner = owner;
    jobs[i].number = i;
    jobs[i].printed = printed;
  }
  if (status == MVS_OK) status = run_jobs(jobs, diag);
  if (status == MVS_OK) status = deliver_to(arena, diag, build, jobs, printed);
  for (int i = 0; i < PARTS; ++i) {
    if (options.llvm && jobs[i].part.text) mvs_text_add(options.llvm, jobs[i].part.text);
    close_job(&jobs[i]);
  }
  build->program->cpu_level = mvs_arena_string(arena, options.cpu_level);
  return status;
}

mvs_status mvs_host_compile(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                            const mvs_host_options *options) {
  return compile(arena, diag, build, options, deliver_block);
}

mvs_status mvs_host_load(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                         const mvs_host_options *options) {
  return compile(arena, diag, build, options, deliver_loaded);
}
