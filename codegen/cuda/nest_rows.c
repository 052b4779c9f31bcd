/* nest_rows.c: a ROWS nest.
 *
 * With reductions, each row goes to a group of threads (mvs_cuda_map): every thread takes
 * whole vectors of the row, so accesses are 16 bytes wide, and keeps what it loaded in
 * registers for later phases. Without, each thread takes one vector. */
#include "codegen/cuda/nest.h"

/* Bytes of loaded vectors that a thread keeps from phase to phase; more are loaded again. */
#define KEPT_BYTES 256

static bool by_rows(const mvs_cuda_nest *w) { return w->map.threads_per_row > 0; }

static bool in_several_phases(uint32_t mask) { return (mask & (mask - 1)) != 0; }

static void print_thread(const mvs_cuda_nest *w) {
  if (!by_rows(w)) {
    mvs_cuda_nest_thread(w);
    return;
  }
  mvs_cuda_nest_row_count(w);
  mvs_text_addf(w->out,
                "  const int lane = threadIdx.x %% %d;\n"
                "  i64 row = block * %d + threadIdx.x / %d;\n"
                "  const bool live = row < rows;\n"
                "  if (!live) row = rows - 1; /* keeps the warp together for the fold */\n",
                w->map.threads_per_row, MVS_CUDA_BLOCK / w->map.threads_per_row,
                w->map.threads_per_row);
}

static void print_accumulate(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  mvs_text_addf(w->out, "      r%zu = %s::of(r%zu, v%d);\n", index,
                mvs_cuda_nest_combiner(instr), index, instr->arguments[0]);
}

/* The element work of one phase for one vector. */
static void print_vector(const mvs_cuda_nest *w, int phase) {
  mvs_cuda_nest_pack_loads(w, phase);
  mvs_text_addf(w->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n", w->map.vector);
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    bool taken = w->needs[i] >> phase & 1;
    if (instr->kind == MVS_INSTR_REDUCE) {
      if (taken || instr->phase == phase) print_accumulate(w, i);
    } else if (taken && instr->level == MVS_LEVEL_ELEMENT) {
      mvs_cuda_nest_element(w, i);
    }
  }
  mvs_text_add(w->out, "    }\n");
  mvs_cuda_nest_pack_stores(w, phase);
}

static void print_accumulators(const mvs_cuda_nest *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    mvs_text_addf(w->out, "  %s r%zu = %s;\n", mvs_cuda_type(instr->dtype), i,
                  mvs_cuda_nest_identity(instr));
  }
}

static void print_folds(const mvs_cuda_nest *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    mvs_text_addf(w->out, "  const %s v%zu = fold<%s, %d>(r%zu);\n",
                  mvs_cuda_type(instr->dtype), i, mvs_cuda_nest_combiner(instr),
                  w->map.threads_per_row, i);
  }
}

static bool row_fits_threads(const mvs_cuda_nest *w) {
  return w->nest->inner.size ==
         w->map.chunks * w->map.threads_per_row * (int64_t)w->map.vector;
}

static void print_rows_phase(const mvs_cuda_nest *w, int phase) {
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

static bool could_keep(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  return instr->kind == MVS_INSTR_LOAD && mvs_cuda_nest_packed(w, instr) &&
         in_several_phases(w->needs[index]);
}

static void print_kept_loads(mvs_cuda_nest *w) {
  int64_t bytes = 0;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    if (!could_keep(w, i)) continue;
    int operand = mvs_cuda_nest_instr(w, i)->access.operand;
    bytes += w->map.chunks * w->map.vector * mvs_dtype_size(w->kernel->operands[operand]);
  }
  if (!by_rows(w) || bytes > KEPT_BYTES) return;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    w->kept[i] = could_keep(w, i);
    if (!w->kept[i]) continue;
    mvs_text_addf(w->out, "  pack<%s, %d> q%zu[%lld];\n",
                  mvs_cuda_nest_storage(w, mvs_cuda_nest_instr(w, i)), w->map.vector, i,
                  (long long)w->map.chunks);
  }
}

void mvs_cuda_print_rows(mvs_cuda_nest *w) {
  print_thread(w);
  mvs_cuda_nest_indices(w);
  mvs_cuda_nest_addresses(w);
  print_kept_loads(w);
  mvs_cuda_nest_row_phase(w, 0);
  for (int phase = 0; phase < w->nest->phases; ++phase) {
    if (by_rows(w)) {
      print_rows_phase(w, phase);
    } else {
      mvs_text_add(w->out, "  {\n");
      print_vector(w, phase);
      mvs_text_add(w->out, "  }\n");
    }
    mvs_cuda_nest_row_phase(w, phase + 1);
  }
}
