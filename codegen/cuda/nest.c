/* nest.c: a nest as a CUDA device function.
 *
 * A nest with reductions gives each row to a group of threads (mvs_cuda_map): every thread takes
 * whole vectors of the row, so accesses are 16 bytes wide, and keeps what it loaded in registers
 * for later phases. A nest without reductions, and COLUMNS, give each thread one vector. */
#include "codegen/cuda/printer.h"

/* Bytes of loaded vectors that a thread keeps from phase to phase; more are loaded again. */
#define KEPT_BYTES 256

typedef struct writer {
  mvs_text *out;
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  mvs_cuda_map map;
  uint32_t *needs;  /* per instruction: the phases that need it */
  bool keep_loads;  /* loads needed in several phases stay in registers */
} writer;

static const mvs_instr *instr_at(const writer *w, size_t index) {
  return &w->nest->instrs.items[index];
}

void mvs_cuda_print_dim(mvs_dim dim, mvs_text *out) {
  mvs_text_addf(out, dim.per_batch ? "%lldll * batch" : "%lldll", (long long)dim.size);
}

static bool by_rows(const writer *w) { return w->map.threads_per_row > 0; }

static const char *storage_of(const writer *w, const mvs_instr *instr) {
  return mvs_cuda_storage(w->kernel->operands[instr->access.operand]);
}

static bool is_memory(const mvs_instr *instr) {
  return instr->kind == MVS_INSTR_LOAD || instr->kind == MVS_INSTR_STORE;
}

/* A vector access: contiguous along inner, so moved as one pack. */
static bool is_packed(const writer *w, const mvs_instr *instr) {
  return is_memory(instr) && instr->level == MVS_LEVEL_ELEMENT && instr->access.inner == 1 &&
         w->map.vector > 1;
}

static bool in_several_phases(uint32_t mask) { return (mask & (mask - 1)) != 0; }

/* --- rows and addresses --- */

static void print_row_count(const writer *w) {
  mvs_text_add(w->out, "  const i64 rows = 1ll");
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    mvs_text_add(w->out, " * ");
    mvs_cuda_print_dim(w->nest->outer[axis], w->out);
  }
  mvs_text_add(w->out, ";\n");
}

static void print_thread(const writer *w) {
  print_row_count(w);
  if (by_rows(w)) {
    mvs_text_addf(w->out,
                  "  const int lane = threadIdx.x %% %d;\n"
                  "  i64 row = block * %d + threadIdx.x / %d;\n"
                  "  const bool live = row < rows;\n"
                  "  if (!live) row = rows - 1; /* keeps the warp together for the fold */\n",
                  w->map.threads_per_row, MVS_CUDA_BLOCK / w->map.threads_per_row,
                  w->map.threads_per_row);
    return;
  }
  mvs_text_add(w->out, "  const i64 vectors = ");
  mvs_cuda_print_dim(w->nest->inner, w->out);
  mvs_text_addf(w->out,
                " / %d;\n  const i64 thread = block * %d + threadIdx.x;\n"
                "  if (thread >= rows * vectors) return;\n"
                "  i64 row = thread / vectors;\n  const i64 i = thread %% vectors * %d;\n"
                "  const bool live = true;\n  const i64 lane = i;\n  (void)live; (void)lane;\n",
                w->map.vector, MVS_CUDA_BLOCK, w->map.vector);
}

static void print_segment_number(const writer *w) {
  const mvs_nest *nest = w->nest;
  if (nest->segment_axis < 0) return;
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    mvs_text_addf(w->out, "  const i64 segment = o%d;\n", nest->segment_axis);
    return;
  }
  mvs_text_add(w->out, "  const i64 segment = 0");
  int64_t end = 0;
  for (int s = 0; s + 1 < nest->segments->count; ++s) {
    end += nest->segments->items[s].length;
    mvs_text_addf(w->out, " + (o%d >= %lld)", nest->segment_axis, (long long)end);
  }
  mvs_text_add(w->out, ";\n");
}

static void print_indices(const writer *w) {
  for (int axis = w->nest->outer_count - 1; axis >= 0; --axis) {
    if (axis == 0) {
      mvs_text_add(w->out, "  const i64 o0 = row;\n");
    } else {
      long long extent = w->nest->outer[axis].size;
      mvs_text_addf(w->out, "  const i64 o%d = row %% %lld;\n  row /= %lld;\n", axis, extent,
                    extent);
    }
  }
  print_segment_number(w);
}

static void print_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "  const i64 a%zu = 0", index);
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    if (access->outer[axis]) {
      mvs_text_addf(w->out, " + o%d * %lld", axis, (long long)access->outer[axis]);
    }
  }
  if (access->segment) mvs_text_addf(w->out, " + segment * %lld", (long long)access->segment);
  mvs_text_add(w->out, ";\n");
}

static void print_sequential_bounds(const writer *w) {
  const mvs_nest *nest = w->nest;
  if (nest->nest_class != MVS_KERNEL_COLUMNS) return;
  if (nest->segment_axis < 0) {
    mvs_text_add(w->out, "  const i64 s_begin = 0, s_end = ");
    /* 0 with the batch: the batch alone; more: the collapsed pair (batch, that many). */
    int64_t size = nest->sequential_batch && nest->sequential == 0 ? 1 : nest->sequential;
    mvs_cuda_print_dim((mvs_dim){size, nest->sequential_batch}, w->out);
    mvs_text_add(w->out, ";\n");
    return;
  }
  mvs_text_add(w->out, "  i64 s_begin = 0, s_end = 0;\n");
  int64_t begin = 0;
  for (int s = 0; s < nest->segments->count; ++s) {
    int64_t end = begin + nest->segments->items[s].length;
    mvs_text_addf(w->out, "  if (segment == %d) { s_begin = %lld; s_end = %lld; }\n", s,
                  (long long)begin, (long long)end);
    begin = end;
  }
}

/* --- instructions --- */

static void print_row_instr(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  int operand = instr->access.operand;
  if (instr->kind == MVS_INSTR_STORE) {
    mvs_text_addf(w->out, "  if (live && lane == 0) put(p%d[a%zu], v%d);\n", operand, index,
                  instr->arguments[0]);
    return;
  }
  mvs_text_addf(w->out, "  const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "widen(p%d[a%zu])", operand, index);
  } else {
    mvs_cuda_print_value(w->nest, instr, w->out);
  }
  mvs_text_add(w->out, ";\n");
}

static void print_row_phase(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->level == MVS_LEVEL_ROW && instr->phase == phase &&
        instr->kind != MVS_INSTR_REDUCE) {
      print_row_instr(w, i);
    }
  }
}

static bool is_kept_load(const writer *w, size_t index) {
  return w->keep_loads && is_packed(w, instr_at(w, index)) &&
         instr_at(w, index)->kind == MVS_INSTR_LOAD && in_several_phases(w->needs[index]);
}

/* The name of the pack of a load or store in the current chunk. */
static void print_pack(const writer *w, size_t index) {
  mvs_text_addf(w->out, is_kept_load(w, index) ? "q%zu[c]" : "q%zu", index);
}

static void print_pack_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "p%d + a%zu + i", access->operand, index);
  if (access->sequential) mvs_text_addf(w->out, " + s * %lld", (long long)access->sequential);
}

static bool first_phase_of(uint32_t mask, int phase) {
  return (mask & ((1u << phase) - 1)) == 0;
}

static void print_pack_loads(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (!is_packed(w, instr) || !(w->needs[i] >> phase & 1)) continue;
    const char *type = storage_of(w, instr);
    if (instr->kind == MVS_INSTR_STORE) {
      mvs_text_addf(w->out, "    pack<%s, %d> q%zu;\n", type, w->map.vector, i);
      continue;
    }
    if (is_kept_load(w, i) && !first_phase_of(w->needs[i], phase)) continue;
    mvs_text_add(w->out, "    ");
    if (!is_kept_load(w, i)) mvs_text_addf(w->out, "const pack<%s, %d> ", type, w->map.vector);
    print_pack(w, i);
    mvs_text_addf(w->out, " = *(const pack<%s, %d> *)(", type, w->map.vector);
    print_pack_address(w, i);
    mvs_text_add(w->out, ");\n");
  }
}

static void print_scalar_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "p%d[a%zu + (i + e) * %lld + %s * %lld]", access->operand, index,
                (long long)access->inner, access->sequential ? "s" : "0ll",
                (long long)access->sequential);
}

static void print_element_memory(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "      const %s v%zu = widen(", mvs_cuda_type(instr->dtype), index);
    if (is_packed(w, instr)) {
      print_pack(w, index);
      mvs_text_add(w->out, ".at[e]");
    } else {
      print_scalar_address(w, index);
    }
    mvs_text_add(w->out, ");\n");
    return;
  }
  if (is_packed(w, instr)) {
    mvs_text_addf(w->out, "      put(q%zu.at[e], v%d);\n", index, instr->arguments[0]);
  } else {
    mvs_text_add(w->out, "      if (live) put(");
    print_scalar_address(w, index);
    mvs_text_addf(w->out, ", v%d);\n", instr->arguments[0]);
  }
}

static const char *combiner(const mvs_instr *instr) {
  return instr->op == MVS_OP_sum ? "add_op" : "max_op";
}

static void print_element_instr(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  if (is_memory(instr)) {
    print_element_memory(w, index);
  } else if (instr->kind == MVS_INSTR_REDUCE) {
    const char *slot = w->nest->nest_class == MVS_KERNEL_COLUMNS ? "[e]" : "";
    mvs_text_addf(w->out, "      r%zu%s = %s::of(r%zu%s, v%d);\n", index, slot, combiner(instr),
                  index, slot, instr->arguments[0]);
  } else {
    mvs_text_addf(w->out, "      const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
    mvs_cuda_print_value(w->nest, instr, w->out);
    mvs_text_add(w->out, ";\n");
  }
}

/* A REDUCE of a COLUMNS nest is read per element in phase 1. */
static void print_column_results(const writer *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      mvs_text_addf(w->out, "      const %s v%zu = r%zu[e];\n", mvs_cuda_type(instr->dtype), i, i);
    }
  }
}

static void print_pack_stores(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind != MVS_INSTR_STORE || !is_packed(w, instr)) continue;
    if (!(w->needs[i] >> phase & 1)) continue;
    mvs_text_addf(w->out, "    if (live) *(pack<%s, %d> *)(", storage_of(w, instr),
                  w->map.vector);
    print_pack_address(w, i);
    mvs_text_addf(w->out, ") = q%zu;\n", i);
  }
}

/* The element work of one phase for one vector. */
static void print_vector(const writer *w, int phase) {
  bool columns = w->nest->nest_class == MVS_KERNEL_COLUMNS;
  print_pack_loads(w, phase);
  mvs_text_addf(w->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n", w->map.vector);
  if (columns && phase == 1) print_column_results(w);
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    bool taken = w->needs[i] >> phase & 1;
    if (instr->kind == MVS_INSTR_REDUCE) taken = instr->phase == phase || (!columns && taken);
    if (instr->kind == MVS_INSTR_REDUCE && columns) taken = phase == 0;
    if (instr->level == MVS_LEVEL_ROW && instr->kind != MVS_INSTR_REDUCE) continue;
    if (taken) print_element_instr(w, i);
  }
  mvs_text_add(w->out, "    }\n");
  print_pack_stores(w, phase);
}

static const char *identity(const mvs_instr *instr) {
  if (instr->op == MVS_OP_sum) return "0";
  return instr->dtype == MVS_F64 ? "-1.7976931348623157e308" : "-3.402823466e38f";
}

static void print_accumulators(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind != MVS_INSTR_REDUCE) continue;
    const char *type = mvs_cuda_type(instr->dtype);
    if (w->nest->nest_class == MVS_KERNEL_COLUMNS) {
      mvs_text_addf(w->out, "  %s r%zu[%d];\n  for (int e = 0; e < %d; ++e) r%zu[e] = %s;\n",
                    type, i, w->map.vector, w->map.vector, i, identity(instr));
    } else if (instr->phase == phase) {
      mvs_text_addf(w->out, "  %s r%zu = %s;\n", type, i, identity(instr));
    }
  }
}

static void print_folds(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    mvs_text_addf(w->out, "  const %s v%zu = fold<%s, %d>(r%zu);\n", mvs_cuda_type(instr->dtype),
                  i, combiner(instr), w->map.threads_per_row, i);
  }
}

static bool row_fits_threads(const writer *w) {
  return w->nest->inner.size ==
         w->map.chunks * w->map.threads_per_row * (int64_t)w->map.vector;
}

static void print_rows_phase(const writer *w, int phase) {
  print_accumulators(w, phase);
  mvs_text_addf(w->out,
                "#pragma unroll\n  for (int c = 0; c < %lld; ++c) {\n"
                "    const i64 i = ((i64)c * %d + lane) * %d;\n",
                (long long)w->map.chunks, w->map.threads_per_row, w->map.vector);
  if (!row_fits_threads(w)) {
    mvs_text_addf(w->out, "    if (i >= %lldll) continue;\n", (long long)w->nest->inner.size);
  }
  print_vector(w, phase);
  mvs_text_add(w->out, "  }\n");
  print_folds(w, phase);
}

static void print_kept_loads(writer *w) {
  int64_t bytes = 0;
  w->keep_loads = true;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    if (!is_kept_load(w, i)) continue;
    const mvs_access *access = &instr_at(w, i)->access;
    bytes += w->map.chunks * w->map.vector * mvs_dtype_size(w->kernel->operands[access->operand]);
  }
  w->keep_loads = by_rows(w) && bytes <= KEPT_BYTES;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    if (!is_kept_load(w, i)) continue;
    mvs_text_addf(w->out, "  pack<%s, %d> q%zu[%lld];\n", storage_of(w, instr_at(w, i)),
                  w->map.vector, i, (long long)w->map.chunks);
  }
}

/* Loads in flight. A small body on single elements is a long sum by few threads (of the loss, of a
 * norm), which waits for memory: 32 loads of it hide that and fit the registers. */
static int unroll_of(const writer *w) {
  return w->map.vector == 1 && w->nest->instrs.count <= 8 ? 32 : 4;
}

static void print_columns_body(const writer *w) {
  print_accumulators(w, 0);
  mvs_text_addf(w->out, "#pragma unroll %d\n  for (i64 s = s_begin; s < s_end; ++s) {\n",
                unroll_of(w));
  print_vector(w, 0);
  mvs_text_add(w->out, "  }\n  {\n");
  print_vector(w, 1);
  mvs_text_add(w->out, "  }\n");
}

static void print_body(writer *w) {
  print_kept_loads(w);
  print_row_phase(w, 0);
  if (w->nest->nest_class == MVS_KERNEL_COLUMNS) {
    print_columns_body(w);
    return;
  }
  for (int phase = 0; phase < w->nest->phases; ++phase) {
    if (by_rows(w)) {
      print_rows_phase(w, phase);
    } else {
      mvs_text_add(w->out, "  {\n");
      print_vector(w, phase);
      mvs_text_add(w->out, "  }\n");
    }
    print_row_phase(w, phase + 1);
  }
}

mvs_status mvs_cuda_print_nest(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *kernel,
                               int index, mvs_text *out) {
  (void)diag;
  const mvs_nest *nest = &kernel->nests.items[index];
  writer w = {.out = out, .kernel = kernel, .nest = nest, .map = mvs_cuda_map_nest(kernel, nest)};
  w.needs = MVS_ARRAY(arena, nest->instrs.count + 1, uint32_t);
  mvs_nest_needs(nest, w.needs);
  mvs_text_addf(out, "static __device__ __forceinline__ void %s_nest%d(", kernel->name, index);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer, const i64 block) {\n");
  print_thread(&w);
  print_indices(&w);
  print_sequential_bounds(&w);
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    if (is_memory(instr_at(&w, i))) print_address(&w, i);
  }
  print_body(&w);
  mvs_text_add(out, "}\n");
  return MVS_OK;
}
