/* host_harness.h: compiles one hand-built kernel for an instruction-set level, maps the block
 * as a program would, and runs its units from the last to the first, one or several a call, with
 * scratch full of NaN: units must not depend on order, on who their neighbours in a call are,
 * or on what scratch holds. Behind every array lies a page that nobody may touch. */
#ifndef MVS_TEST_HOST_HARNESS_H
#define MVS_TEST_HOST_HARNESS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

#include "codegen/host/host.h"

/* Those at which most kernels differ; matmuls differ at all MVS_CPU_LEVELS. */
#define LEVELS 2

/* Code for AVX-512 and better cannot run on every test machine. */
static inline bool level_runs(int level) { return !mvs_cpu_lacks((mvs_cpu_level)level); }

typedef struct harness {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_build build;
  mvs_program program;
  Mvs__Kernel table;
  mvs_kernel kernel;
  uint8_t *code; /* mapped; NULL when loaded by the JIT */
  size_t code_size;
  int64_t units; /* of a call */
} harness;

static inline void harness_open(harness *h, const char *name, mvs_kernel_class kernel_class) {
  memset(h, 0, sizeof *h);
  h->arena = mvs_arena_new();
  h->diag = mvs_diag_new(h->arena);
  h->kernel.name = name;
  h->kernel.kernel_class = kernel_class;
  h->units = 1;
  mvs__program__init(&h->program);
  mvs__kernel__init(&h->table);
}

static inline void harness_close(harness *h) {
  if (h->code) munmap(h->code, h->code_size);
  mvs_arena_free(h->arena);
}

static inline int add_operand(harness *h, mvs_dtype dtype, bool written) {
  int index = h->kernel.operand_count++;
  h->kernel.operands[index] = dtype;
  h->kernel.written[index] = written;
  h->kernel.alignment[index] = 1;
  return index;
}

static inline mvs_nest *add_nest(harness *h, mvs_kernel_class nest_class) {
  mvs_nest nest = {.nest_class = nest_class, .segment_axis = -1, .phases = 1};
  if (nest_class == MVS_KERNEL_COLUMNS) nest.lanes = 16;
  MVS_PUSH(h->arena, &h->kernel.nests, nest);
  return &h->kernel.nests.items[h->kernel.nests.count - 1];
}

static inline uint16_t add_instr(harness *h, mvs_nest *nest, mvs_instr instr) {
  MVS_PUSH(h->arena, &nest->instrs, instr);
  return (uint16_t)(nest->instrs.count - 1);
}

static inline const char *harness_words(harness *h) {
  mvs_text text = mvs_text_new(h->arena);
  mvs_diag_render(h->diag, &text);
  return mvs_text_string(&text);
}

static inline void harness_map(harness *h) {
  h->code_size = h->program.host_code.len;
  h->code =
      mmap(NULL, h->code_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(h->code != MAP_FAILED);
  memcpy(h->code, h->program.host_code.data, h->code_size);
  assert_int_equal(mprotect(h->code, h->code_size, PROT_READ | PROT_EXEC), 0);
}

static inline mvs_status harness_try(harness *h, int level, bool jit) {
  if (h->code) munmap(h->code, h->code_size);
  h->code = NULL;
  h->build.kernels.count = 0;
  MVS_PUSH(h->arena, &h->build.kernels, &h->kernel);
  Mvs__Kernel **table = MVS_ARRAY(h->arena, 1, Mvs__Kernel *);
  table[0] = &h->table;
  h->program.kernels = table;
  h->program.n_kernels = 1;
  h->build.program = &h->program;
  mvs_host_options options = {.cpu_level = mvs_cpu_name((mvs_cpu_level)level)};
  return (jit ? mvs_host_load : mvs_host_compile)(h->arena, h->diag, &h->build, &options);
}

static inline void harness_compile(harness *h, int level, bool jit) {
  mvs_status status = harness_try(h, level, jit);
  if (status != MVS_OK) print_message("%s\n", harness_words(h));
  assert_int_equal(status, MVS_OK);
  if (!jit) harness_map(h);
}

/* What stands ahead of every array, so that it can be given back. */
typedef struct array_head {
  void *map;
  size_t bytes;
} array_head;

/* `size` bytes of NaN (in every float type) that end at a page that cannot be touched, as near
 * as the alignment of their start allows. */
static inline void *array_of(size_t size, size_t alignment) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded = (size + alignment - 1) & -alignment;
  array_head head = {.bytes = (rounded + sizeof head + page - 1) / page * page};
  int pages = PROT_READ | PROT_WRITE;
  head.map = mmap(NULL, head.bytes + page, pages, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(head.map != MAP_FAILED);
  uint8_t *end = (uint8_t *)head.map + head.bytes, *data = end - rounded;
  assert_int_equal(mprotect(end, page, PROT_NONE), 0);
  memset(data, 0xff, rounded);
  memcpy(data - sizeof head, &head, sizeof head);
  return data;
}

/* Gives back what array_of or make_array gave. */
static inline void drop(void *data) {
  array_head head;
  memcpy(&head, (uint8_t *)data - sizeof head, sizeof head);
  assert_int_equal(munmap(head.map, head.bytes + (size_t)sysconf(_SC_PAGESIZE)), 0);
}

/* The kernel's scratch for one thread, aligned as the runtime has it. */
static inline void *scratch_of(const harness *h) {
  return array_of((size_t)h->table.scratch, 64);
}

/* --- running --- */

/* An operand as some rows may see it. */
typedef struct harness_view {
  unsigned char *seen;
  int64_t bytes;
} harness_view;

/* Bytes of an operand up to the last that any access may reach. */
static inline int64_t harness_bytes(const harness *h, int operand, int64_t batch) {
  int64_t most = 0;
  for (size_t s = 0; s < h->table.n_stages; ++s) {
    for (size_t n = 0; n < h->table.stages[s]->n_nests; ++n) {
      const Mvs__Nest *nest = h->table.stages[s]->nests[n];
      for (size_t a = 0; a < nest->n_accesses; ++a) {
        const Mvs__Access *access = nest->accesses[a];
        int64_t end = access->high + access->high_per_batch * batch;
        for (size_t axis = 0; axis < nest->n_axes; ++axis) {
          const Mvs__Extent *extent = nest->axes[axis];
          int64_t size = extent->size * (extent->per_batch ? batch : 1);
          if (access->strides[axis] > 0) end += (size - 1) * access->strides[axis];
        }
        if ((int)access->operand == operand && end > most) most = end;
      }
    }
  }
  return most;
}

/* Copies what the table says that row `row` reads or writes: to the views, or back from them.
 * What all rows touch alike is copied with the first alone. */
static inline void harness_copy_row(const Mvs__Nest *nest, int64_t batch, int64_t row,
                                    bool first, void **operands, harness_view *views,
                                    bool back) {
  for (size_t a = 0; a < nest->n_accesses; ++a) {
    const Mvs__Access *access = nest->accesses[a];
    int64_t left = row, from = access->low;
    bool alike = true;
    for (size_t axis = 0; axis < nest->n_axes; ++axis) alike &= access->strides[axis] == 0;
    if (alike && !first) continue;
    for (size_t axis = nest->n_axes; axis-- > 0;) {
      int64_t size = nest->axes[axis]->size * (nest->axes[axis]->per_batch ? batch : 1);
      from += left % size * access->strides[axis];
      left /= size;
    }
    int64_t bytes = access->high + access->high_per_batch * batch - access->low;
    assert_true(from >= 0 && from + bytes <= views[access->operand].bytes);
    unsigned char *seen = views[access->operand].seen + from;
    unsigned char *real = (unsigned char *)operands[access->operand] + from;
    if (!back) memcpy(seen, real, (size_t)bytes);
    if (back && access->written) memcpy(real, seen, (size_t)bytes);
  }
}

/* Some rows of a nest, which see nothing but what the table says that they touch: all else is
 * NaN to them, and what they write elsewhere is lost. */
static inline void harness_rows(const harness *h, const Mvs__Nest *nest, void **operands,
                                const mvs_host_call *whole, int64_t from, int64_t to) {
  void *shown[MVS_MAX_OPERANDS + 1];
  harness_view views[MVS_MAX_OPERANDS + 1];
  int count = h->kernel.operand_count + 1;
  int64_t rows = mvs_nest_rows_at(nest, whole->batch);
  for (int i = 0; i < count; ++i) {
    views[i].bytes = harness_bytes(h, i, whole->batch);
    shown[i] = views[i].seen = array_of((size_t)views[i].bytes, 64);
  }
  for (int64_t row = from; row < to; ++row)
    harness_copy_row(nest, whole->batch, row, row == from, operands, views, false);
  union {
    uintptr_t address;
    mvs_host_kernel *run;
  } entry = {(uintptr_t)h->code + nest->address};
  mvs_host_call call = *whole;
  call.operands = shown;
  call.before = from, call.behind = rows - to;
  for (int64_t end = mvs_nest_units_of(nest, call.batch, to - from); end > 0; end -= h->units) {
    memset(call.scratch, 0xff, (size_t)h->table.scratch);
    entry.run(&call, end > h->units ? end - h->units : 0, end);
  }
  for (int64_t row = from; row < to; ++row)
    harness_copy_row(nest, whole->batch, row, row == from, operands, views, true);
  for (int i = 0; i < count; ++i) drop(views[i].seen);
}

/* Runs the kernel, a third of each nest's rows at a time where rows can be divided, the last
 * third first; `operands` has room for the workspace after the last. */
static inline void harness_run(harness *h, void **operands, int64_t batch, int64_t layer) {
  void *scratch = scratch_of(h);
  int64_t bytes = h->table.workspace_fixed + h->table.workspace_per_batch * batch;
  void *workspace = array_of((size_t)bytes, 64);
  operands[h->kernel.operand_count] = workspace;
  mvs_host_call call = {operands, batch, layer, scratch, 0, 0};
  for (size_t s = 0; s < h->table.n_stages; ++s) {
    for (size_t n = 0; n < h->table.stages[s]->n_nests; ++n) {
      const Mvs__Nest *nest = h->table.stages[s]->nests[n];
      int64_t rows = mvs_nest_rows_at(nest, batch), step = nest->row_step;
      int64_t third = (rows / step + 2) / 3 * step;
      if (nest->n_axes == 0 || third == 0) third = rows;
      for (int64_t from = (rows - 1) / third * third; from >= 0; from -= third)
        harness_rows(h, nest, operands, &call, from, from + third < rows ? from + third : rows);
    }
  }
  drop(scratch);
  drop(workspace);
}

/* --- numbers --- */

/* A reproducible number in [-1, 1). */
static inline float noise(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static inline void put(void *data, mvs_dtype dtype, int64_t at, double value) {
  if (dtype == MVS_BF16) {
    ((uint16_t *)data)[at] = to_bf16((float)value);
  } else if (dtype == MVS_F64) {
    ((double *)data)[at] = value;
  } else if (dtype == MVS_I32) {
    ((int32_t *)data)[at] = (int32_t)value;
  } else {
    ((float *)data)[at] = (float)value;
  }
}

static inline double take(const void *data, mvs_dtype dtype, int64_t at) {
  if (dtype == MVS_BF16) return from_bf16(((const uint16_t *)data)[at]);
  if (dtype == MVS_F64) return ((const double *)data)[at];
  if (dtype == MVS_I32) return ((const int32_t *)data)[at];
  return ((const float *)data)[at];
}

/* An array of `count` elements; random when `state` is given, else NaN. */
static inline void *make_array(mvs_dtype dtype, int64_t count, uint64_t *state) {
  size_t element = (size_t)mvs_dtype_size(dtype);
  void *data = array_of((size_t)count * element, element);
  for (int64_t i = 0; state && i < count; ++i) put(data, dtype, i, noise(state));
  return data;
}

#endif
