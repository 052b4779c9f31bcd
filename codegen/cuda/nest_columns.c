/* nest_columns.c: a COLUMNS nest: each thread takes one vector of the inner axis and walks the
 * sequential axis upwards, with one accumulator per element. */
#include "codegen/cuda/nest.h"

static void print_sequential_bounds(const mvs_cuda_nest *w) {
  const mvs_nest *nest = w->nest;
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

static void print_accumulators(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_REDUCE) continue;
    mvs_text_addf(w->out, "  %s r%zu[%d];\n  for (int e = 0; e < %d; ++e) r%zu[e] = %s;\n",
                  mvs_cuda_type(instr->dtype), i, w->map.vector, w->map.vector, i,
                  mvs_cuda_nest_identity(instr));
  }
}

static void print_accumulate(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  mvs_text_addf(w->out, "      r%zu[e] = %s::of(r%zu[e], v%d);\n", index,
                mvs_cuda_nest_combiner(instr), index, instr->arguments[0]);
}

/* A REDUCE of a COLUMNS nest is read per element in phase 1. */
static void print_column_results(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      mvs_text_addf(w->out, "      const %s v%zu = r%zu[e];\n", mvs_cuda_type(instr->dtype), i,
                    i);
    }
  }
}

/* The element work of one phase for one vector. */
static void print_vector(const mvs_cuda_nest *w, int phase) {
  mvs_cuda_nest_pack_loads(w, phase);
  mvs_text_addf(w->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n", w->map.vector);
  if (phase == 1) print_column_results(w);
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      if (phase == 0) print_accumulate(w, i);
    } else if (w->needs[i] >> phase & 1 && instr->level == MVS_LEVEL_ELEMENT) {
      mvs_cuda_nest_element(w, i);
    }
  }
  mvs_text_add(w->out, "    }\n");
  mvs_cuda_nest_pack_stores(w, phase);
}

/* Loads in flight. A small body on single elements is a long sum by few threads (of the loss,
 * of a norm), which waits for memory: 32 loads of it hide that and fit the registers. */
static int unroll_of(const mvs_cuda_nest *w) {
  return w->map.vector == 1 && w->nest->instrs.count <= 8 ? 32 : 4;
}

void mvs_cuda_print_columns(mvs_cuda_nest *w) {
  mvs_cuda_nest_thread(w);
  mvs_cuda_nest_indices(w);
  print_sequential_bounds(w);
  mvs_cuda_nest_addresses(w);
  mvs_cuda_nest_row_phase(w, 0);
  print_accumulators(w);
  mvs_text_addf(w->out, "#pragma unroll %d\n  for (i64 s = s_begin; s < s_end; ++s) {\n",
                unroll_of(w));
  print_vector(w, 0);
  mvs_text_add(w->out, "  }\n  {\n");
  print_vector(w, 1);
  mvs_text_add(w->out, "  }\n");
}
