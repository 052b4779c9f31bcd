/* forms.c: compiles for a higher level what is worth it.
 *
 * Nests are most of a program's code, and most of them take no time to speak of: those outside
 * the loop over the blocks, and those of diagnostics. With wider vectors they would be faster
 * by less than anyone sees, and stand in the program twice. So of each function the cheapest
 * nests, which together take a hundredth of its time by their bytes and operations, have code
 * for the lowest level alone. The bits of nests are the same at all levels (docs/numerics.md).
 * Products are left as they are: those of bf16 gain a factor of ten. */
#include "codegen/host/forms.h"

#include <stdlib.h>
#include <string.h>

#include "codegen/host/printed.h"

/* Part of a function's time that nests without wider forms may take together. */
#define CHEAP_PART 0.01
/* Rough speeds of a core: bytes, and operations of nests and of products, a nanosecond. */
#define BYTES_NS   10
#define NEST_NS    20
#define PRODUCT_NS 150

/* A nest's time in one function. */
typedef struct share {
  double time;
  size_t kernel;
} share;

size_t mvs_form_at(size_t kernel, mvs_cpu_level level) {
  return kernel * MVS_CPU_LEVELS + (size_t)level;
}

static bool is_nests(const mvs_kernel *kernel) { return kernel->nests.count > 0; }

/* Nanoseconds of a launch, as rough as the speeds. */
static double launch_time(const mvs_build *build, size_t at) {
  const Mvs__Kernel *kernel = build->program->kernels[at];
  double bytes =
      (double)(kernel->read_fixed + kernel->write_fixed) +
      (double)(kernel->read_per_batch + kernel->write_per_batch) * MVS_EXPECTED_BATCH;
  double operations = kernel->flops_fixed + kernel->flops_per_batch * MVS_EXPECTED_BATCH;
  return bytes / BYTES_NS +
         operations / (is_nests(build->kernels.items[at]) ? NEST_NS : PRODUCT_NS);
}

/* Adds the steps' times, by kernel; loops count as often as they turn. */
static void add_steps(const mvs_build *build, const Mvs__Function *function,
                      Mvs__Step *const *steps, size_t count, double times, share *shares) {
  for (size_t i = 0; i < count; ++i) {
    if (steps[i]->kernel >= 0) {
      size_t kernel = (size_t)steps[i]->kernel;
      shares[kernel].time += times * launch_time(build, kernel);
    } else {
      const Mvs__Loop *loop = function->loops[steps[i]->loop];
      add_steps(build, function, loop->steps, loop->n_steps, times * (double)loop->count,
                shares);
    }
  }
}

static int ascending(const void *a, const void *b) {
  const share *x = a, *y = b;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

/* Marks the kernels that this function makes worth a wider form. */
static void mark_worth(mvs_arena *arena, const mvs_build *build, const Mvs__Function *function,
                       bool *worth) {
  size_t count = build->kernels.count;
  share *shares = MVS_ARRAY(arena, count, share);
  for (size_t i = 0; i < count; ++i) shares[i] = (share){0, i};
  add_steps(build, function, function->steps, function->n_steps, 1, shares);
  double left = 0;
  for (size_t i = 0; i < count; ++i) left += shares[i].time * CHEAP_PART;
  qsort(shares, count, sizeof *shares, ascending);
  for (size_t i = 0; i < count; ++i) {
    if (shares[i].time <= 0 || !is_nests(build->kernels.items[shares[i].kernel])) continue;
    left -= shares[i].time;
    if (left < 0) worth[shares[i].kernel] = true;
  }
}

/* Whether the function looks into a step: it runs where a run is diagnosed, and then once for
 * many kernels of the step's own. */
static bool is_probe(const mvs_program *program, const Mvs__Function *function) {
  for (size_t i = 0; i < program->n_functions; ++i)
    for (size_t k = 0; k < program->functions[i]->n_probes; ++k)
      if (strcmp(program->functions[i]->probes[k]->function, function->name) == 0) return true;
  return false;
}

bool *mvs_choose_forms(mvs_arena *arena, const mvs_build *build, mvs_cpu_level least,
                       mvs_cpu_level most) {
  const mvs_program *program = build->program;
  bool *wanted = MVS_ARRAY(arena, build->kernels.count * MVS_CPU_LEVELS, bool);
  bool *worth = MVS_ARRAY(arena, build->kernels.count, bool);
  for (size_t i = 0; i < program->n_functions; ++i)
    if (!is_probe(program, program->functions[i]))
      mark_worth(arena, build, program->functions[i], worth);
  for (size_t i = 0; i < build->kernels.count; ++i) {
    const mvs_kernel *kernel = build->kernels.items[i];
    mvs_cpu_level last = is_nests(kernel) && !worth[i] ? least : most;
    for (int level = (int)least; level <= (int)last; ++level)
      wanted[mvs_form_at(i, mvs_host_form(kernel, (mvs_cpu_level)level))] = true;
  }
  return wanted;
}
