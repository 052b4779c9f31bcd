/* check.c: every kernel of a program, CUDA against host, on a real GPU.
 *
 *   gpu_check PROGRAM [BATCH]      PROGRAM was made with `mvcc --gpu sm_90a -o PROGRAM`
 *
 * Each kernel is run on the same random operands by its host code and by the GPU, there by the
 * library that takes it, if one does, and by the generated kernel where MVCC_GPU_LIBRARIES=off.
 * Outputs are poisoned first, so an element that is not written shows. A second launch must
 * give the same bits. Bounds: f32 results differ by the order of their sums, 1e-5 relative;
 * bf16 results by one rounding in 256 on elements near a tie, 4e-3 in norm, in products 1e-3: a
 * second rounding, of the sum before its bias, is 2e-3 and must show; cuDNN's attention also
 * rounds its weights to bf16 before the second product, 8e-3. Columns have one tree on both and
 * compute no exp or the like in these programs: no difference at all. Prints "ok"/"not ok"
 * lines. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device.h"

#define MAX_OPERANDS 120

static mvs_device *host, *gpu;
static mvs_diag *diag;

static void stop(const char *what) {
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  mvs_diag_render(diag, &text);
  printf("not ok %s: %s\n", what, mvs_text_string(&text));
  exit(1);
}

typedef struct operand {
  size_t bytes;
  void *input, *host, *device_result, *again, *device;
} operand;

static void *allocate(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!memory) stop("aligned_alloc");
  memset(memory, 0, (bytes + 127) / 64 * 64);
  return memory;
}

/* Positive values, so that square roots and logarithms stay real; of both signs for products.
 */
static void fill(void *data, size_t bytes, const char *dtype, bool both, unsigned *state) {
  size_t size = !strcmp(dtype, "f64") ? 8 : !strcmp(dtype, "bf16") ? 2 : 4;
  for (size_t i = 0; i < bytes / size; ++i) {
    *state = *state * 1664525u + 1013904223u;
    float value = 0.1f + (float)(*state >> 8) * 0x1p-24f;
    if (both) value = 2.0f * value - 1.2f;
    unsigned bits;
    memcpy(&bits, &value, 4);
    if (size == 8)
      ((double *)data)[i] = value;
    else if (size == 2)
      ((unsigned short *)data)[i] = (unsigned short)(bits >> 16);
    else if (!strcmp(dtype, "i32"))
      ((int *)data)[i] = (int)(*state >> 29);
    else
      ((float *)data)[i] = value;
  }
}

static double element(const void *data, size_t i, const char *dtype) {
  if (!strcmp(dtype, "f64")) return ((const double *)data)[i];
  if (!strcmp(dtype, "i32")) return ((const int *)data)[i];
  if (!strcmp(dtype, "f32")) return ((const float *)data)[i];
  unsigned bits = (unsigned)((const unsigned short *)data)[i] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static double distance(const operand *op, const char *dtype) {
  size_t size = !strcmp(dtype, "f64") ? 8 : !strcmp(dtype, "bf16") ? 2 : 4;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < op->bytes / size; ++i) {
    double a = element(op->device_result, i, dtype), b = element(op->host, i, dtype);
    if (isnan(a) && isnan(b)) continue; /* poison that neither was to write */
    if (isinf(b) && a == b) continue;   /* a quotient by zero */
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static void run_host(uint32_t number, const Mvs__Kernel *kernel, operand *operands,
                     int64_t batch) {
  void *pointers[MAX_OPERANDS + 1];
  for (size_t i = 0; i < kernel->n_arguments; ++i) pointers[i] = operands[i].host;
  size_t space = (size_t)(kernel->workspace_fixed + kernel->workspace_per_batch * batch);
  pointers[kernel->n_arguments] = allocate(space + 64);
  mvs_launch launch = {.kernel = number, .operands = pointers, .batch = batch};
  host->launch(host, &launch);
  free(pointers[kernel->n_arguments]);
}

static void run_device(uint32_t number, const Mvs__Kernel *kernel, operand *operands,
                       int64_t batch, bool again) {
  void *pointers[MAX_OPERANDS];
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    pointers[i] = operands[i].device;
    gpu->copy(gpu, pointers[i], operands[i].input, (int64_t)operands[i].bytes,
              MVS_COPY_TO_DEVICE);
  }
  mvs_launch launch = {.kernel = number, .operands = pointers, .batch = batch};
  gpu->launch(gpu, &launch);
  if (gpu->synchronize(gpu, diag) != MVS_OK) stop(kernel->name);
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    void *to = again ? operands[i].again : operands[i].device_result;
    gpu->copy(gpu, to, pointers[i], (int64_t)operands[i].bytes, MVS_COPY_TO_HOST);
  }
}

/* Operand sizes come from the first launch of the kernel in the program. */
static const Mvs__Step *find_step(const mvs_program *program, size_t kernel,
                                  const Mvs__Function **where) {
  for (size_t f = 0; f < program->n_functions; ++f) {
    const Mvs__Function *function = program->functions[f];
    *where = function;
    for (size_t s = 0; s < function->n_steps; ++s) {
      if (function->steps[s]->kernel == (int)kernel) return function->steps[s];
    }
    for (size_t l = 0; l < function->n_loops; ++l) {
      for (size_t s = 0; s < function->loops[l]->n_steps; ++s) {
        if (function->loops[l]->steps[s]->kernel == (int)kernel)
          return function->loops[l]->steps[s];
      }
    }
  }
  return NULL;
}

static void prepare(const Mvs__Kernel *kernel, const Mvs__Step *step,
                    const Mvs__Function *where, int64_t batch, operand *operands) {
  unsigned state = 12345;
  bool both = kernel->matmul || kernel->attention;
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    const Mvs__Operand *use = step->operands[i];
    const Mvs__Buffer *buffer = where->buffers[use->buffer];
    operand *op = &operands[i];
    /* A hoisted cast of stacked weights touches all slots at once. */
    int64_t slots = use->per_layer ? 1 : buffer->slots_kept;
    op->bytes = (size_t)((buffer->fixed + buffer->per_batch * batch) * slots - use->offset);
    op->input = allocate(op->bytes);
    op->host = allocate(op->bytes);
    op->device_result = allocate(op->bytes);
    op->again = allocate(op->bytes);
    if (kernel->arguments[i]->written)
      memset(op->input, 0xff, op->bytes); /* poison: NaN */
    else
      fill(op->input, op->bytes, kernel->arguments[i]->dtype, both, &state);
    memcpy(op->host, op->input, op->bytes);
    if (gpu->alloc(gpu, (int64_t)op->bytes, diag, &op->device) != MVS_OK) stop("memory");
  }
}

static double bound_of(const Mvs__Kernel *kernel, const char *dtype, const char *how) {
  if (strcmp(kernel->kind, "columns") == 0) return 0;
  if (strcmp(dtype, "bf16") != 0) return 1e-5;
  if (kernel->matmul) return 1e-3;
  return kernel->attention && strncmp(how, "cuDNN", 5) == 0 ? 8e-3 : 4e-3;
}

static bool check_kernel(const mvs_program *program, uint32_t index, int64_t batch) {
  const Mvs__Kernel *kernel = program->kernels[index];
  const Mvs__Function *where = NULL;
  const Mvs__Step *step = find_step(program, index, &where);
  if (!step) return true;
  operand operands[MAX_OPERANDS] = {{0}};
  prepare(kernel, step, where, batch, operands);
  const char *how = gpu->how(gpu, index, batch);
  run_host(index, kernel, operands, batch);
  run_device(index, kernel, operands, batch, false);
  run_device(index, kernel, operands, batch, true);
  double worst = 0;
  bool good = true;
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    operand *op = &operands[i];
    if (kernel->arguments[i]->written) {
      const char *dtype = kernel->arguments[i]->dtype;
      double error = distance(op, dtype);
      if (!(error <= bound_of(kernel, dtype, how))) good = false;
      if (!(error <= worst)) worst = error;
      if (memcmp(op->device_result, op->again, op->bytes)) good = false;
    }
    gpu->release(gpu, op->device);
    free(op->input), free(op->host), free(op->device_result), free(op->again);
  }
  printf("%s %s %s batch %lld, %s: %.1e\n", good ? "ok" : "not ok", kernel->name, kernel->kind,
         (long long)batch, how, worst);
  return good;
}

int main(int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: gpu_check PROGRAM [BATCH]\n");
    return 2;
  }
  mvs_program *program = NULL;
  const char *reason = "";
  if (mvs_program_read_executable(arguments[1], &program, &reason) != MVS_OK) {
    fprintf(stderr, "gpu_check: %s: %s\n", arguments[1], reason);
    return 2;
  }
  int64_t batch = count > 2 ? strtoll(arguments[2], NULL, 10) : 3;
  diag = mvs_diag_new(mvs_arena_new());
  if (!mvs_device_cuda_present(program)) {
    printf("skipped: no GPU, or no code for GPUs in %s\n", arguments[1]);
    return 77;
  }
  if (mvs_device_open_cuda(program, 0, diag, &gpu) != MVS_OK) stop("opening the GPU");
  if (mvs_device_open_host(program, 0, diag, &host) != MVS_OK) stop("opening the host");
  printf("# %s\n", gpu->what);
  int failed = 0;
  for (size_t i = 0; i < program->n_kernels; ++i)
    failed += !check_kernel(program, (uint32_t)i, batch);
  printf("%zu kernels, %d failed\n", program->n_kernels, failed);
  gpu->close(gpu);
  host->close(host);
  return failed != 0;
}
