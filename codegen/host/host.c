/* host.c: all kernels of a program as native code, each for every level at which its code
 * differs. The work is divided between two parts that compile on a thread each; the parts'
 * objects become one block, or go to the JIT.
 *
 * Two parts halve the time of a compilation, most of which is LLVM's. Each has its own
 * context, module and arena, since none of those may be shared between threads; kernels meet
 * again as symbols. Which part a kernel is in changes its address and nothing else, so
 * programs are the same from run to run. After delivery the program's tables hold, for each
 * kernel and form, its stages, its nests' addresses and divisions, and what scratch and
 * workspace a launch needs. */
#include "codegen/host/host.h"

#include <pthread.h>

#include "codegen/host/forms.h"
#include "codegen/host/jit.h"
#include "codegen/host/object.h"
#include "codegen/host/reach.h"
#include "codegen/host/target.h"

#define PARTS 2

typedef struct job {
  mvs_part part;
  mvs_arena *arena; /* the thread's own: arenas are not shared between threads */
  const mvs_build *build;
  const uint8_t *owner; /* per kernel and level: its part */
  uint8_t number;       /* of this part */
  mvs_printed *printed; /* per kernel of the program and level */
  mvs_status status;
  const char *reason;
} job;

#define NO_PART 255

/* --- printing --- */

/* Levels beyond AVX-512 have new instructions for products of bf16 alone, which those of f32
 * are made of at the last; attention has use for tiles only. */
mvs_cpu_level mvs_host_form(const mvs_kernel *kernel, mvs_cpu_level level) {
  bool matmul = kernel->kernel_class == MVS_KERNEL_MATMUL;
  bool attention = kernel->kernel_class == MVS_KERNEL_ATTENTION ||
                   kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD;
  if (level <= MVS_CPU_V4 || (matmul && mvs_matmul_in_pairs(&kernel->matmul))) return level;
  if (level == MVS_CPU_AMX && matmul && mvs_matmul_in_parts(&kernel->matmul)) return level;
  if (attention && mvs_attention_in_tiles(&kernel->attention, level)) return level;
  return MVS_CPU_V4;
}

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

/* Symbols as LLVM has them: a kernel's functions for different levels differ in name. */
static void name_symbols(const mvs_emit *e, mvs_printed *printed) {
  for (size_t s = 0; s < printed->stages.count; ++s) {
    mvs_printed_stage *stage = &printed->stages.items[s];
    for (size_t n = 0; n < stage->count; ++n)
      stage->items[n].symbol = mvs_emit_name(e, stage->items[n].symbol);
  }
}

static mvs_status print_form(job *j, const mvs_kernel *kernel, mvs_cpu_level level,
                             mvs_printed *out) {
  mvs_emit *e = &j->part.emit;
  mvs_emit_level(e, level);
  mvs_status status = print_kernel(e, kernel, out);
  if (status == MVS_OK) {
    name_symbols(e, out);
  } else {
    j->reason = mvs_arena_format(j->arena, "kernel %s: %s", kernel->name, e->error);
  }
  return status;
}

/* Prints the forms that belong to this part. */
static mvs_status print_part(job *j) {
  for (size_t i = 0; i < j->build->kernels.count; ++i) {
    for (int level = 0; level < MVS_CPU_LEVELS; ++level) {
      size_t at = mvs_form_at(i, (mvs_cpu_level)level);
      if (j->owner[at] != j->number) continue;
      MVS_TRY(print_form(j, j->build->kernels.items[i], (mvs_cpu_level)level, &j->printed[at]));
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

/* Matmuls and attention of one level share their micro-kernels, so they stay together: the even
 * levels in part 0, the odd ones in part 1, which start with what those cost. The nests go
 * wherever less has been put so far. */
static void divide(const mvs_build *build, const bool *wanted, uint8_t *owner) {
  size_t load[PARTS] = {0};
  for (size_t at = 0; at < build->kernels.count * MVS_CPU_LEVELS; ++at) {
    const mvs_kernel *kernel = build->kernels.items[at / MVS_CPU_LEVELS];
    int part = at % MVS_CPU_LEVELS % PARTS;
    owner[at] = NO_PART;
    if (kernel->nests.count || !wanted[at]) continue;
    owner[at] = (uint8_t)part;
    load[part] += load[part] ? 60 : 360;
  }
  for (size_t at = 0; at < build->kernels.count * MVS_CPU_LEVELS; ++at) {
    const mvs_kernel *kernel = build->kernels.items[at / MVS_CPU_LEVELS];
    if (kernel->nests.count == 0 || !wanted[at]) continue;
    owner[at] = load[1] < load[0];
    load[owner[at]] += weight(kernel);
  }
}

/* --- jobs --- */

/* The caller closes the job whether this succeeds or not. */
static mvs_status open_job(job *j, mvs_diag *diag, const mvs_build *build,
                           const mvs_host_options *options) {
  j->arena = mvs_arena_new();
  j->build = build;
  if (mvs_part_open(&j->part, j->arena, options->quick, &j->reason)) {
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

/* The stages of a form, with the addresses of their functions. */
static mvs_status fill_stages(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *kernel,
                              const mvs_printed *printed, const mvs_symbols *symbols,
                              Mvs__Stage ***out) {
  Mvs__Stage **stages = MVS_ARRAY(arena, printed->stages.count, Mvs__Stage *);
  for (size_t s = 0; s < printed->stages.count; ++s) {
    const mvs_printed_stage *from = &printed->stages.items[s];
    Mvs__Stage *stage = MVS_NEW(arena, Mvs__Stage);
    mvs__stage__init(stage);
    stage->n_nests = from->count;
    stage->nests = MVS_ARRAY(arena, from->count, Mvs__Nest *);
    for (size_t n = 0; n < from->count; ++n) {
      stage->nests[n] = fill_nest(arena, &from->items[n]);
      mvs_reach(arena, kernel, printed, s, n, stage->nests[n]);
      MVS_TRY(find_symbol(diag, symbols, stage->nests[n]));
    }
    stages[s] = stage;
  }
  *out = stages;
  return MVS_OK;
}

/* A form beyond the kernel's own. */
static mvs_status fill_form(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *kernel,
                            const mvs_printed *printed, const mvs_symbols *symbols,
                            Mvs__HostForm *form) {
  mvs__host_form__init(form);
  form->scratch = printed->scratch;
  form->workspace_fixed = printed->workspace_fixed;
  form->workspace_per_batch = printed->workspace_per_batch;
  form->n_stages = printed->stages.count;
  return fill_stages(arena, diag, kernel, printed, symbols, &form->stages);
}

/* Writes stages, addresses and memory needs into the kernel's row of the program: the first
 * form is the row's own, others follow as `forms`. */
static mvs_status fill_kernel(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *form_of,
                              const mvs_printed *printed, const mvs_symbols *symbols,
                              Mvs__Kernel *kernel) {
  kernel->forms = MVS_ARRAY(arena, MVS_CPU_LEVELS, Mvs__HostForm *);
  kernel->n_forms = 0;
  bool first = true;
  for (int level = 0; level < MVS_CPU_LEVELS; ++level) {
    const mvs_printed *from = &printed[level];
    if (from->stages.count == 0) continue;
    Mvs__HostForm *form = MVS_NEW(arena, Mvs__HostForm);
    MVS_TRY(fill_form(arena, diag, form_of, from, symbols, form));
    form->level = mvs_arena_string(arena, mvs_cpu_name((mvs_cpu_level)level));
    if (first) {
      mvs_kernel_take_form(kernel, form);
    } else {
      kernel->forms[kernel->n_forms++] = form;
    }
    first = false;
  }
  return MVS_OK;
}

/* Kernels of the build and of the program stand in the same order. */
static mvs_status fill_program(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                               const mvs_printed *printed, const mvs_symbols *symbols) {
  for (size_t i = 0; i < build->kernels.count; ++i) {
    MVS_TRY(fill_kernel(arena, diag, build->kernels.items[i],
                        &printed[mvs_form_at(i, MVS_CPU_V3)], symbols,
                        build->program->kernels[i]));
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

/* Opens the jobs, runs them, and hands their objects over. */
static mvs_status run_and_deliver(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                                  const mvs_host_options *options, job *jobs,
                                  const bool *wanted, deliver *deliver_to) {
  size_t forms = build->kernels.count * MVS_CPU_LEVELS;
  uint8_t *owner = MVS_ARRAY(arena, forms, uint8_t);
  mvs_printed *printed = MVS_ARRAY(arena, forms, mvs_printed);
  divide(build, wanted, owner);
  for (uint8_t i = 0; i < PARTS; ++i) {
    MVS_TRY(open_job(&jobs[i], diag, build, options));
    jobs[i].owner = owner;
    jobs[i].number = i;
    jobs[i].printed = printed;
  }
  MVS_TRY(run_jobs(jobs, diag));
  return deliver_to(arena, diag, build, jobs, printed);
}

/* The shared way of both deliveries. Jobs are closed on every path out. */
static mvs_status compile(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                          const mvs_host_options *options, mvs_cpu_level least,
                          mvs_cpu_level most, deliver *deliver_to) {
  job jobs[PARTS];
  memset(jobs, 0, sizeof jobs);
  const bool *wanted = mvs_choose_forms(arena, build, least, most);
  mvs_status status = run_and_deliver(arena, diag, build, options, jobs, wanted, deliver_to);
  for (int i = 0; i < PARTS; ++i) {
    if (options->llvm && jobs[i].part.text) mvs_text_add(options->llvm, jobs[i].part.text);
    close_job(&jobs[i]);
  }
  build->program->cpu_level = mvs_arena_string(arena, mvs_cpu_name(least));
  return status;
}

/* The level that is named, else the best of this machine. */
static mvs_status one_level(mvs_diag *diag, const mvs_host_options *options,
                            mvs_cpu_level *out) {
  *out = options->cpu_level ? mvs_cpu_of_name(options->cpu_level) : mvs_cpu_best();
  if (*out < MVS_CPU_LEVELS) return MVS_OK;
  mvs_diag_error(
      diag, (mvs_span){NULL, 0, 0}, "%s",
      options->cpu_level ? "there is no such level of processors" : mvs_cpu_lacks(MVS_CPU_V3));
  return MVS_ERR_DEVICE;
}

mvs_status mvs_host_compile(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                            const mvs_host_options *given) {
  mvs_host_options options = given ? *given : (mvs_host_options){.cpu_level = NULL};
  mvs_cpu_level least = MVS_CPU_V3, most = MVS_CPU_LEVELS - 1;
  if (options.cpu_level || options.llvm) {
    MVS_TRY(one_level(diag, &options, &least));
    most = least;
  }
  return compile(arena, diag, build, &options, least, most, deliver_block);
}

mvs_status mvs_host_load(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                         const mvs_host_options *given) {
  mvs_host_options options = given ? *given : (mvs_host_options){.cpu_level = NULL};
  mvs_cpu_level level;
  MVS_TRY(one_level(diag, &options, &level));
  return compile(arena, diag, build, &options, level, level, deliver_loaded);
}
