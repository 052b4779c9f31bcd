/* ops.c: the test rows of ops, CUDA against host, on a real GPU.
 *
 *   gpu_ops FILE...      each was written by a test with OPS_PROGRAMS
 * (tests/unit/ops_programs.h)
 *
 * Every function of a file, at the batches of BATCHES, is run on the host and on the GPU with
 * the same inputs and weights, in the row's range. Results must be as near to each other as two
 * may be that are both within the row's tolerance of the truth; nothing else may be written;
 * a second run, and one with blocks redone, must give the same bits. Fresh memory is full of
 * NaN, so that what reads more than was written shows. Prints an "ok"/"not ok" line for each
 * function and batch, and ends with 1 when one is wrong, with 77 where there is no GPU.
 * MVCC_TEST_DEVICE=cpu takes the host with two threads for the GPU, to try this file itself. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/executor.h"

#define GUARD     256 /* bytes behind each result that must stay as they are */
#define MOST_NAME 127

static const int64_t BATCHES[] = {1, 2, 3, 5};

typedef struct row {
  char name[MOST_NAME + 1];
  double low, high, each, whole;
} row;

/* One file. */
typedef struct suite {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_program *program;
  row *rows;
  size_t row_count;
  mvs_device *host, *gpu;
  mvs_executor *on_host, *on_gpu;
} suite;

static void stop(mvs_diag *diag, const char *what) {
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  if (diag) mvs_diag_render(diag, &text);
  printf("not ok %s: %s\n", what, text.length ? mvs_text_string(&text) : "failed");
  exit(1);
}

static void must(const suite *s, mvs_status status, const char *what) {
  if (status != MVS_OK) stop(s->diag, what);
}

/* --- files --- */

static char *read_whole(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  char *bytes = NULL;
  if (!file || fseek(file, 0, SEEK_END) != 0) stop(NULL, path);
  long end = ftell(file);
  rewind(file);
  if (end > 0) bytes = malloc((size_t)end + 1);
  if (!bytes || fread(bytes, 1, (size_t)end, file) != (size_t)end) stop(NULL, path);
  bytes[end] = '\0';
  fclose(file);
  *length = (size_t)end;
  return bytes;
}

static void read_suite(suite *s, const char *path) {
  size_t length, size = 0;
  char *bytes = read_whole(path, &length), *at = bytes, *end;
  while (size == 0 && (end = strchr(at, '\n'))) {
    row each;
    row *rows = realloc(s->rows, (s->row_count + 1) * sizeof *s->rows);
    if (!rows) stop(NULL, "out of memory");
    s->rows = rows;
    if (sscanf(at, "case %127s %la %la %la %la\n", each.name, &each.low, &each.high, &each.each,
               &each.whole) == 5)
      s->rows[s->row_count++] = each;
    else if (sscanf(at, "program %zu\n", &size) != 1)
      stop(NULL, path);
    at = end + 1;
  }
  const char *reason = "";
  if (size == 0 || size > length - (size_t)(at - bytes) ||
      mvs_program_unpack(at, size, &s->program, &reason) != MVS_OK) {
    printf("# %s\n", reason);
    stop(NULL, path);
  }
  free(bytes);
}

/* --- numbers --- */

static double take(const void *data, const char *dtype, int64_t at) {
  if (!strcmp(dtype, "f64")) return ((const double *)data)[at];
  if (!strcmp(dtype, "i32")) return ((const int32_t *)data)[at];
  if (!strcmp(dtype, "f32")) return ((const float *)data)[at];
  uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void put(void *data, const char *dtype, int64_t at, double value) {
  float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  if (!strcmp(dtype, "f64")) ((double *)data)[at] = value;
  if (!strcmp(dtype, "i32")) ((int32_t *)data)[at] = (int32_t)value;
  if (!strcmp(dtype, "f32")) ((float *)data)[at] = narrow;
  if (!strcmp(dtype, "bf16"))
    ((uint16_t *)data)[at] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* A number of the row's range that follows from the tensor's name and the place; whole ones for
 * i32. */
static double number(const row *each, const char *name, const char *dtype, int64_t at) {
  uint64_t state = 14695981039346656037u;
  for (; *name; ++name) state = (state ^ (unsigned char)*name) * 1099511628211u;
  state += (uint64_t)at * 0x9e3779b97f4a7c15u;
  state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
  state = (state ^ state >> 27) * 0x94d049bb133111ebu;
  double unit = (double)((state ^ state >> 31) >> 11) * 0x1p-53;
  if (strcmp(dtype, "i32") != 0) return each->low + (each->high - each->low) * unit;
  double least = ceil(each->low), count = floor(each->high) - least + 1;
  return least + floor(unit * count);
}

/* --- memory --- */

/* The opener's own allocation; both devices fill what it gives with NaN. */
static mvs_status (*plain_alloc[2])(mvs_device *, int64_t, mvs_diag *, void **);
static mvs_device *spoiled[2];

static mvs_status spoiled_alloc(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out) {
  MVS_TRY(plain_alloc[device == spoiled[1]](device, bytes, diag, out));
  void *poison = malloc((size_t)bytes + 1);
  if (!poison) return MVS_ERR_MEMORY;
  memset(poison, 0xff, (size_t)bytes);
  device->copy(device, *out, poison, bytes, MVS_COPY_TO_DEVICE);
  free(poison);
  return MVS_OK;
}

static void spoil(mvs_device *device, int which) {
  plain_alloc[which] = device->alloc;
  spoiled[which] = device;
  device->alloc = spoiled_alloc;
}

/* --- launches --- */

static void (*plain_launch)(mvs_device *, const mvs_launch *);
static const mvs_program *launched;
static const char *unaligned; /* the last kernel that got less than it was promised */

/* Kernels move whole vectors where the program promises alignment. A GPU stops at an address
 * that breaks the promise, and tells so later; this tells which kernel it was. */
static void watched_launch(mvs_device *device, const mvs_launch *launch) {
  const Mvs__Kernel *kernel = launched->kernels[launch->kernel];
  for (size_t i = 0; i < kernel->n_arguments; ++i) {
    uint64_t address = (uint64_t)(uintptr_t)launch->operands[i];
    if (address % (uint64_t)kernel->arguments[i]->alignment == 0) continue;
    printf("# %s: operand %zu is %d bytes off %lld\n", kernel->name, i,
           (int)(address % (uint64_t)kernel->arguments[i]->alignment),
           (long long)kernel->arguments[i]->alignment);
    unaligned = kernel->name;
  }
  if (!unaligned) plain_launch(device, launch);
}

static void watch(const mvs_program *program, mvs_device *device) {
  launched = program;
  plain_launch = device->launch;
  device->launch = watched_launch;
  unaligned = NULL;
}

typedef struct memory {
  void *device;
  char *bytes; /* of the host */
  int64_t size;
} memory;

/* Room on the device with a guard behind it, full of NaN; `bytes` likewise. */
static memory room(const suite *s, mvs_device *device, int64_t size) {
  memory made = {.bytes = malloc((size_t)size + GUARD), .size = size};
  if (!made.bytes) stop(NULL, "memory");
  memset(made.bytes, 0xff, (size_t)size + GUARD);
  must(s, device->alloc(device, size + GUARD, s->diag, &made.device), "memory");
  return made;
}

static void send(mvs_device *device, const memory *m) {
  device->copy(device, m->device, m->bytes, m->size, MVS_COPY_TO_DEVICE);
}

static void bring(mvs_device *device, const memory *m) {
  device->copy(device, m->bytes, m->device, m->size + GUARD, MVS_COPY_TO_HOST);
}

static void drop(mvs_device *device, memory *m) {
  device->release(device, m->device);
  free(m->bytes);
}

static bool guarded(const memory *m) {
  for (int i = 0; i < GUARD; ++i) {
    if ((unsigned char)m->bytes[m->size + i] != 0xff) return false;
  }
  return true;
}

/* --- one run --- */

/* What a function gave on one device: its outputs, then the gradients' flat buffer. */
typedef struct outcome {
  memory *outputs;
  size_t count; /* with the flat buffer */
} outcome;

static void fill_flats(const suite *s, const row *each, memory *flats) {
  memset(flats->bytes, 0, (size_t)flats->size);
  for (size_t p = 0; p < s->program->n_params; ++p) {
    const Mvs__Param *param = s->program->params[p];
    int64_t layers = param->layers ? param->layers : 1;
    if (!param->trained) continue;
    for (int64_t at = 0; at < layers * param->elements; ++at) {
      int64_t to = param->offset + at / param->elements * param->stride + at % param->elements;
      put(flats->bytes, "f32", to, number(each, param->name, "f32", at));
    }
  }
}

static memory input_of(const suite *s, mvs_device *device, const row *each,
                       const Mvs__Tensor *input, int64_t batch) {
  int64_t count = mvs_tensor_elements(input, batch);
  memory m = room(s, device, count * mvs_dtype_bytes(input->dtype));
  for (int64_t at = 0; at < count; ++at)
    put(m.bytes, input->dtype, at, number(each, input->name, input->dtype, at));
  send(device, &m);
  return m;
}

static outcome run(const suite *s, mvs_device *device, mvs_executor *executor, const row *each,
                   int64_t batch, mvs_recompute recompute) {
  int64_t flat = s->program->flat_elements * (int64_t)sizeof(float);
  memory params = room(s, device, flat), grads = room(s, device, flat);
  fill_flats(s, each, &params);
  send(device, &params);
  mvs_executor_set_flats(executor, params.device, grads.device);
  mvs_executor_set_recompute(executor, recompute);
  mvs_call *call;
  must(s, mvs_call_new(executor, each->name, batch, &call), each->name);
  const Mvs__Function *function = mvs_call_function(call);
  memory *inputs = calloc(function->n_inputs + 1, sizeof *inputs);
  outcome out = {calloc(function->n_outputs + 1, sizeof *inputs), function->n_outputs + 1};
  for (size_t i = 0; i < function->n_inputs; ++i) {
    inputs[i] = input_of(s, device, each, function->inputs[i], batch);
    must(s, mvs_call_bind_input(call, function->inputs[i]->name, inputs[i].device), each->name);
  }
  for (size_t i = 0; i < function->n_outputs; ++i) {
    const Mvs__Tensor *output = function->outputs[i];
    out.outputs[i] =
        room(s, device, mvs_tensor_elements(output, batch) * mvs_dtype_bytes(output->dtype));
    must(s, mvs_call_bind_output(call, output->name, out.outputs[i].device), each->name);
  }
  out.outputs[function->n_outputs] = grads;
  must(s, mvs_call_run(call), each->name);
  must(s, device->synchronize(device, s->diag), each->name);
  for (size_t i = 0; i < out.count; ++i) bring(device, &out.outputs[i]);
  for (size_t i = 0; i < function->n_inputs; ++i) drop(device, &inputs[i]);
  drop(device, &params);
  free(inputs);
  return out;
}

static void free_outcome(mvs_device *device, outcome *o) {
  for (size_t i = 0; i < o->count; ++i) drop(device, &o->outputs[i]);
  free(o->outputs);
}

/* --- comparing --- */

static bool is_near(double got, double want, double allowed) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  return got == want || (isfinite(want) && fabs(got - want) <= allowed);
}

/* The worst share of what two results of that dtype may differ by: each may be as far from the
 * truth as the row says. Says which element is too far, if one is. */
static double compare(const row *each, const char *name, const char *dtype, const memory *got,
                      const memory *want) {
  int64_t count = got->size / mvs_dtype_bytes(dtype);
  double largest = 1, worst = 0;
  for (int64_t at = 0; at < count; ++at) {
    double size = fabs(take(want->bytes, dtype, at));
    if (isfinite(size)) largest = fmax(largest, size);
  }
  for (int64_t at = 0; at < count; ++at) {
    double a = take(got->bytes, dtype, at), b = take(want->bytes, dtype, at);
    double allowed = 2 * (each->each * fabs(b) + each->whole * largest);
    double share = allowed > 0 && isfinite(a) && isfinite(b) ? fabs(a - b) / allowed : 0;
    if (!is_near(a, b, allowed)) {
      if (worst <= 1)
        printf("# %s: %s[%lld of %lld] is %.9g, the host's %.9g\n", each->name, name,
               (long long)at, (long long)count, a, b);
      share = fmax(share, 2);
    }
    worst = fmax(worst, share);
  }
  return worst;
}

static bool same_bits(const outcome *a, const outcome *b) {
  for (size_t i = 0; i < a->count; ++i) {
    if (memcmp(a->outputs[i].bytes, b->outputs[i].bytes, (size_t)a->outputs[i].size + GUARD))
      return false;
  }
  return true;
}

/* Whether gradients were written in the same places: elsewhere the poison stands. */
static bool same_places(const memory *a, const memory *b) {
  for (int64_t at = 0; at < a->size / 4; ++at) {
    uint32_t left, right;
    memcpy(&left, a->bytes + 4 * at, 4);
    memcpy(&right, b->bytes + 4 * at, 4);
    if ((left == UINT32_MAX) != (right == UINT32_MAX)) return false;
  }
  return true;
}

static bool runs_like(const suite *s, const row *each, int64_t batch, mvs_recompute recompute,
                      const outcome *first) {
  outcome again = run(s, s->gpu, s->on_gpu, each, batch, recompute);
  bool same = same_bits(first, &again);
  free_outcome(s->gpu, &again);
  return same;
}

static bool check(const suite *s, const char *file, const row *each, int64_t batch) {
  const Mvs__Function *function = mvs_program_function(s->program, each->name);
  if (!function) stop(NULL, each->name);
  outcome host = run(s, s->host, s->on_host, each, batch, MVS_RECOMPUTE_NONE);
  outcome gpu = run(s, s->gpu, s->on_gpu, each, batch, MVS_RECOMPUTE_NONE);
  const char *wrong = NULL;
  double worst = 0;
  for (size_t i = 0; i < gpu.count; ++i) {
    bool flat = i == function->n_outputs;
    worst = fmax(worst, compare(each, flat ? "gradients" : function->outputs[i]->name,
                                flat ? "f32" : function->outputs[i]->dtype, &gpu.outputs[i],
                                &host.outputs[i]));
    if (!guarded(&gpu.outputs[i])) wrong = "writes outside of its results";
  }
  if (!same_places(&gpu.outputs[function->n_outputs], &host.outputs[function->n_outputs]))
    wrong = "writes other gradients";
  if (worst > 1) wrong = "is too far from the host";
  if (unaligned) wrong = "breaks a promise of alignment";
  if (!runs_like(s, each, batch, MVS_RECOMPUTE_NONE, &gpu)) wrong = "has other bits again";
  if (mvs_function_can_redo(function) && !runs_like(s, each, batch, MVS_RECOMPUTE_BLOCK, &gpu))
    wrong = "has other bits with blocks redone";
  printf("%s %s %s batch %lld: %s%.2f of the tolerance\n", wrong ? "not ok" : "ok", file,
         each->name, (long long)batch, wrong ? wrong : "", worst);
  free_outcome(s->host, &host);
  free_outcome(s->gpu, &gpu);
  return !wrong;
}

/* --- files again --- */

/* The first file's GPU stays open, so that its context need not be made for each. */
static int check_file(const char *path, mvs_device **first) {
  suite s = {.arena = mvs_arena_new()};
  s.diag = mvs_diag_new(s.arena);
  read_suite(&s, path);
  const char *other = getenv("MVCC_TEST_DEVICE"), *name = other ? other : "cuda";
  if (!other && !mvs_device_cuda_present(s.program)) return -1;
  if (!*first) must(&s, mvs_device_open(name, s.program, 2, s.diag, first), path);
  must(&s, mvs_device_open(name, s.program, 2, s.diag, &s.gpu), path);
  must(&s, mvs_device_open_host(s.program, 1, s.diag, &s.host), path);
  spoil(s.host, 0);
  spoil(s.gpu, 1);
  watch(s.program, s.gpu);
  s.on_host = mvs_executor_new(s.arena, s.diag, s.program, s.host);
  s.on_gpu = mvs_executor_new(s.arena, s.diag, s.program, s.gpu);
  const char *slash = strrchr(path, '/');
  int failed = 0;
  for (size_t i = 0; i < s.row_count; ++i) {
    for (size_t b = 0; b < sizeof BATCHES / sizeof *BATCHES; ++b)
      failed += !check(&s, slash ? slash + 1 : path, &s.rows[i], BATCHES[b]);
  }
  mvs_executor_free(s.on_host);
  mvs_executor_free(s.on_gpu);
  s.host->close(s.host);
  s.gpu->close(s.gpu);
  free(s.rows);
  mvs_arena_free(s.arena);
  return failed;
}

int main(int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: gpu_ops FILE...\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0); /* several may run at once into one log */
  mvs_device *first = NULL;
  int failed = 0;
  for (int i = 1; i < count; ++i) {
    int wrong = check_file(arguments[i], &first);
    if (wrong < 0) {
      printf("skipped: no GPU, or no code for GPUs in %s\n", arguments[i]);
      return 77;
    }
    failed += wrong;
  }
  first->close(first);
  return failed != 0;
}
