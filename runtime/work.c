/* work.c: sums over steps and loops. */
#include "runtime/work.h"

#include <string.h>

const Mvs__Function *mvs_program_function(const mvs_program *program, const char *name) {
  for (size_t at = 0; at < program->n_functions; at++)
    if (strcmp(program->functions[at]->name, name) == 0) return program->functions[at];
  return NULL;
}

/* A step is a kernel or a loop, never both. */
const Mvs__Loop *mvs_step_loop(const Mvs__Function *function, const Mvs__Step *step) {
  return step->kernel < 0 ? function->loops[step->loop] : NULL;
}

/* What a kernel must move when it reads and writes each operand once: caches are not counted.
 */
double mvs_kernel_bytes(const Mvs__Kernel *kernel, int64_t batch) {
  return (double)kernel->read_fixed + (double)kernel->write_fixed +
         ((double)kernel->read_per_batch + (double)kernel->write_per_batch) * (double)batch;
}

double mvs_kernel_flops(const Mvs__Kernel *kernel, int64_t batch) {
  return kernel->flops_fixed + kernel->flops_per_batch * (double)batch;
}

/* Loops run each of their steps once a layer. In double: counts of large models pass 2^53, and
 * their first digits are what is wanted. */
static double flops_of(const mvs_program *program, const Mvs__Function *function,
                       Mvs__Step *const *steps, size_t count, int64_t batch) {
  double sum = 0;
  for (size_t at = 0; at < count; at++) {
    const Mvs__Loop *loop = mvs_step_loop(function, steps[at]);
    sum += loop ? (double)loop->count *
                      flops_of(program, function, loop->steps, loop->n_steps, batch)
                : mvs_kernel_flops(program->kernels[steps[at]->kernel], batch);
  }
  return sum;
}

double mvs_function_flops(const mvs_program *program, const Mvs__Function *function,
                          int64_t batch) {
  return flops_of(program, function, function->steps, function->n_steps, batch);
}

/* Launches are what depth costs besides work: they grow with the layers, the program does not.
 */
static int64_t launches_of(const Mvs__Function *function, Mvs__Step *const *steps,
                           size_t count) {
  int64_t sum = 0;
  for (size_t at = 0; at < count; at++) {
    const Mvs__Loop *loop = mvs_step_loop(function, steps[at]);
    sum += loop ? loop->count * launches_of(function, loop->steps, loop->n_steps) : 1;
  }
  return sum;
}

int64_t mvs_function_launches(const Mvs__Function *function) {
  return launches_of(function, function->steps, function->n_steps);
}
