/* check.c: every kernel of a program, CUDA against host, on a real GPU.
 *
 *   gpu_check PROGRAM [BATCH]      PROGRAM was made with `mvcc --gpu sm_90a -o PROGRAM`
 *
 * Each kernel is run on the same random operands by its host code and by its cubin. Outputs are
 * poisoned first, so an element that is not written shows. A second launch must give the same bits.
 * Bounds: f32 results differ by the order of their sums, 1e-5 relative; bf16 results by one
 * rounding in 256 on elements near a tie, 4e-3 in norm. Prints "ok"/"not ok" lines. */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codegen/program.h"

#define MAX_OPERANDS 64

typedef unsigned long long device_pointer;

static struct {
  int (*init)(unsigned);
  int (*device_get)(int *, int);
  int (*device_name)(char *, int, int);
  int (*context_create)(void **, int);
  int (*context_set)(void *);
  int (*alloc)(device_pointer *, size_t);
  int (*release)(device_pointer);
  int (*to_device)(device_pointer, const void *, size_t);
  int (*to_host)(void *, device_pointer, size_t);
  int (*module_load)(void **, const void *);
  int (*module_function)(void **, void *, const char *);
  int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                void *, void **, void **);
  int (*synchronize)(void);
} cuda;

static void check(const char *call, int result) {
  if (result == 0) return;
  printf("not ok %s returned %d\n", call, result);
  exit(1);
}

static void load_driver(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library) {
    printf("skipped: no NVIDIA driver\n");
    exit(77);
  }
  struct { void *place; const char *name; } calls[] = {
      {&cuda.init, "cuInit"}, {&cuda.device_get, "cuDeviceGet"},
      {&cuda.device_name, "cuDeviceGetName"}, {&cuda.context_create, "cuDevicePrimaryCtxRetain"},
      {&cuda.context_set, "cuCtxSetCurrent"}, {&cuda.alloc, "cuMemAlloc_v2"},
      {&cuda.release, "cuMemFree_v2"}, {&cuda.to_device, "cuMemcpyHtoD_v2"},
      {&cuda.to_host, "cuMemcpyDtoH_v2"}, {&cuda.module_load, "cuModuleLoadData"},
      {&cuda.module_function, "cuModuleGetFunction"}, {&cuda.launch, "cuLaunchKernel"},
      {&cuda.synchronize, "cuCtxSynchronize"}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
    void *address = dlsym(library, calls[i].name);
    if (!address) check(calls[i].name, -1);
    memcpy(calls[i].place, &address, sizeof address);
  }
  int device = 0;
  void *context = NULL;
  char name[128] = "";
  check("cuInit", cuda.init(0));
  check("cuDeviceGet", cuda.device_get(&device, 0));
  check("cuDeviceGetName", cuda.device_name(name, sizeof name, device));
  check("cuDevicePrimaryCtxRetain", cuda.context_create(&context, device));
  check("cuCtxSetCurrent", cuda.context_set(context));
  printf("# %s\n", name);
}

typedef struct operand {
  size_t bytes;
  void *input, *host, *device_result, *again;
  device_pointer device;
} operand;

static void *allocate(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!memory) check("aligned_alloc", -1);
  memset(memory, 0, (bytes + 127) / 64 * 64);
  return memory;
}

/* Positive values, so that square roots and logarithms stay real. */
static void fill(void *data, size_t bytes, const char *dtype, unsigned *state) {
  size_t size = !strcmp(dtype, "f64") ? 8 : !strcmp(dtype, "bf16") ? 2 : 4;
  for (size_t i = 0; i < bytes / size; ++i) {
    *state = *state * 1664525u + 1013904223u;
    float value = 0.1f + (float)(*state >> 8) * 0x1p-24f;
    unsigned bits;
    memcpy(&bits, &value, 4);
    if (size == 8) ((double *)data)[i] = value;
    else if (size == 2) ((unsigned short *)data)[i] = (unsigned short)(bits >> 16);
    else if (!strcmp(dtype, "i32")) ((int *)data)[i] = (int)(*state >> 29);
    else ((float *)data)[i] = value;
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
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static int64_t extent(const Mvs__Extent *e, int64_t batch) {
  return e ? e->size * (e->per_batch ? batch : 1) : 1;
}

static void run_host(const mvs_program *program, const Mvs__Kernel *kernel, const uint8_t *code,
                     operand *operands, int64_t batch) {
  void *pointers[MAX_OPERANDS + 1];
  for (size_t i = 0; i < kernel->n_arguments; ++i) pointers[i] = operands[i].host;
  size_t space = (size_t)(kernel->workspace_fixed + kernel->workspace_per_batch * batch);
  pointers[kernel->n_arguments] = allocate(space + 64);
  mvs_host_call call = {.operands = pointers, .batch = batch, .layer = 0,
                        .scratch = allocate((size_t)kernel->scratch + 64)};
  (void)program;
  for (size_t s = 0; s < kernel->n_stages; ++s) {
    for (size_t n = 0; n < kernel->stages[s]->n_nests; ++n) {
      const Mvs__Nest *nest = kernel->stages[s]->nests[n];
      mvs_host_kernel *function;
      const void *address = code + nest->address;
      memcpy(&function, &address, sizeof function);
      function(&call, 0, mvs_nest_units(nest, batch));
    }
  }
  free(pointers[kernel->n_arguments]);
  free(call.scratch);
}

static void run_device(const mvs_program *program, const Mvs__Kernel *kernel, operand *operands,
                       int64_t batch, bool again) {
  const Mvs__Image *image = NULL;
  for (size_t i = 0; i < program->n_images; ++i) {
    if (!strcmp(program->images[i]->kernel, kernel->name)) image = program->images[i];
  }
  if (!image) check("finding the kernel's image", -1);
  void *module = NULL, *function = NULL, *arguments[MAX_OPERANDS + 2];
  check("cuModuleLoadData", cuda.module_load(&module, image->data.data));
  check("cuModuleGetFunction", cuda.module_function(&function, module, kernel->name));
  int64_t blocks = 0;
  int layer = 0;
  for (size_t i = 0; i < kernel->n_grids; ++i) {
    const Mvs__Grid *grid = kernel->grids[i];
    blocks += (extent(grid->work, batch) + grid->per_block - 1) / grid->per_block * grid->times;
  }
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    check("cuMemcpyHtoD", cuda.to_device(operands[i].device, operands[i].input, operands[i].bytes));
    arguments[i] = &operands[i].device;
  }
  arguments[kernel->n_arguments] = &batch;
  arguments[kernel->n_arguments + 1] = &layer;
  check("cuLaunchKernel", cuda.launch(function, (unsigned)blocks, 1, 1, (unsigned)kernel->block,
                                      1, 1, 0, NULL, arguments, NULL));
  check("cuCtxSynchronize", cuda.synchronize());
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    void *to = again ? operands[i].again : operands[i].device_result;
    check("cuMemcpyDtoH", cuda.to_host(to, operands[i].device, operands[i].bytes));
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
        if (function->loops[l]->steps[s]->kernel == (int)kernel) return function->loops[l]->steps[s];
      }
    }
  }
  return NULL;
}

static void prepare(const Mvs__Kernel *kernel, const Mvs__Step *step, const Mvs__Function *where,
                    int64_t batch, operand *operands) {
  unsigned state = 12345;
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
    if (kernel->arguments[i]->written) memset(op->input, 0xff, op->bytes); /* poison: NaN */
    else fill(op->input, op->bytes, kernel->arguments[i]->dtype, &state);
    memcpy(op->host, op->input, op->bytes);
    check("cuMemAlloc", cuda.alloc(&op->device, op->bytes ? op->bytes : 1));
  }
}

static bool check_kernel(const mvs_program *program, size_t index, const uint8_t *code,
                         int64_t batch) {
  const Mvs__Kernel *kernel = program->kernels[index];
  const Mvs__Function *where = NULL;
  const Mvs__Step *step = find_step(program, index, &where);
  if (!step) return true;
  operand operands[MAX_OPERANDS] = {{0}};
  prepare(kernel, step, where, batch, operands);
  run_host(program, kernel, code, operands, batch);
  run_device(program, kernel, operands, batch, false);
  run_device(program, kernel, operands, batch, true);
  double worst = 0;
  bool good = true;
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    operand *op = &operands[i];
    if (kernel->arguments[i]->written) {
      const char *dtype = kernel->arguments[i]->dtype;
      double error = distance(op, dtype);
      if (!(error <= (strcmp(dtype, "bf16") ? 1e-5 : 4e-3))) good = false;
      if (!(error <= worst)) worst = error;
      if (memcmp(op->device_result, op->again, op->bytes)) good = false;
    }
    cuda.release(op->device);
    free(op->input), free(op->host), free(op->device_result), free(op->again);
  }
  printf("%s %s %s batch %lld: %.1e\n", good ? "ok" : "not ok", kernel->name, kernel->kind,
         (long long)batch, worst);
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
  load_driver();
  size_t size = program->host_code.len;
  uint8_t *code = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) check("mmap", -1);
  memcpy(code, program->host_code.data, size);
  mprotect(code, size + 1, PROT_READ | PROT_EXEC);
  int failed = 0;
  for (size_t i = 0; i < program->n_kernels; ++i) failed += !check_kernel(program, i, code, batch);
  printf("%zu kernels, %d failed\n", program->n_kernels, failed);
  return failed != 0;
}
