/* nest_rows.c: one row of a ROWS nest. Element i of a reduction goes to lane i mod 16 in
 * order of i, then halves fold: the same bits on every instruction set and at every division
 * into units.
 *
 * A row goes through its phases in order; a reduction of one phase is a scalar in the next.
 * Up to MVS_UNROLLED_CHUNKS vectors the row is printed without a loop and its values stay in
 * registers from phase to phase; longer rows loop once a phase and compute values again, or
 * read those that were staged in scratch because they are dear (mvs_nest_analyse decides). */
#include "codegen/host/nest.h"

/* Whether the instruction is a reduction that ends in this phase. */
static bool is_reduce(const mvs_nest_print *p, size_t index, int phase) {
  const mvs_instr *instr = &p->nest->instrs.items[index];
  return instr->kind == MVS_INSTR_REDUCE && instr->phase == phase;
}

/* A phase with ROW instructions alone needs no loop over inner. */
static bool has_element_work(const mvs_nest_print *p, int phase) {
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = &p->nest->instrs.items[i];
    if (is_reduce(p, i, phase)) return true;
    if (instr->kind == MVS_INSTR_STORE && instr->phase == phase && !p->uniform[i]) return true;
  }
  return false;
}

/* The 16 lanes of a reduction become the scalar that later phases use. */
static void fold(mvs_nest_print *p, size_t index, LLVMValueRef lanes) {
  bool maximum = p->nest->instrs.items[index].op == MVS_OP_max_over;
  p->scalars[index] = mvs_emit_fold(p->e, lanes, maximum);
}

/* --- short rows: no loop, every value computed once --- */

/* `all` keeps the values of every chunk, so that a later phase finds what an earlier one
 * computed. */
static void short_row(mvs_nest_print *p) {
  int64_t size = p->nest->inner.size;
  int chunks = (int)((size + MVS_LANES - 1) / MVS_LANES);
  LLVMValueRef *all = MVS_ARRAY(p->e->arena, (size_t)chunks * p->count, LLVMValueRef);
  LLVMValueRef *lanes = MVS_ARRAY(p->e->arena, p->count, LLVMValueRef);
  for (int phase = 0; phase < p->nest->phases; ++phase) {
    mvs_nest_scalars(p, phase, false);
    for (int c = 0; c < chunks && has_element_work(p, phase); ++c) {
      int64_t left = size - (int64_t)c * MVS_LANES;
      p->values = all + (size_t)c * p->count;
      p->inner = mvs_emit_i64(p->e, (int64_t)c * MVS_LANES);
      p->mask = left < MVS_LANES ? mvs_emit_first_lanes(p->e, (int)left) : NULL;
      for (size_t i = 0; i < p->count; ++i) {
        if (!is_reduce(p, i, phase)) continue;
        if (c == 0) lanes[i] = mvs_nest_identity(p, i);
        lanes[i] = mvs_nest_accumulate(p, i, lanes[i]);
      }
      mvs_nest_stores(p, phase, false);
    }
    for (size_t i = 0; i < p->count; ++i) {
      if (is_reduce(p, i, phase)) fold(p, i, lanes[i]);
    }
  }
}

/* --- long rows: a loop over vectors and a masked rest --- */

/* One vector of a row: the reductions of this phase and its stores. */
static void chunk(mvs_nest_print *p, int phase, LLVMValueRef *lanes) {
  mvs_nest_next_chunk(p);
  for (size_t i = 0; i < p->count; ++i) {
    if (!is_reduce(p, i, phase)) continue;
    mvs_emit_set(p->e, lanes[i], mvs_nest_accumulate(p, i, mvs_emit_get(p->e, lanes[i])));
  }
  mvs_nest_stores(p, phase, false);
}

/* Whole vectors first; the rest, when a range can have one, with a mask. */
static void chunks(mvs_nest_print *p, int phase, LLVMValueRef from, LLVMValueRef to,
                   LLVMValueRef *lanes) {
  mvs_emit *e = p->e;
  LLVMValueRef size = LLVMBuildNSWSub(e->builder, to, from, "");
  LLVMValueRef whole = LLVMBuildAnd(e->builder, size, mvs_emit_i64(e, -MVS_LANES), "");
  LLVMValueRef middle = LLVMBuildNSWAdd(e->builder, from, whole, "");
  p->mask = NULL;
  mvs_loop loop = mvs_emit_loop(e, from, middle, MVS_LANES);
  p->inner = loop.index;
  chunk(p, phase, lanes);
  mvs_emit_loop_end(e, &loop);
  if (mvs_nest_whole_vectors(p->nest)) return;
  mvs_branch rest = mvs_emit_if(e, LLVMBuildICmp(e->builder, LLVMIntSLT, middle, to, ""));
  p->inner = middle;
  p->mask = mvs_emit_mask(e, middle, to);
  chunk(p, phase, lanes);
  mvs_emit_if_end(e, &rest);
  p->mask = NULL;
}

/* What a phase computed and staged is ready for the next one: stage_ready is set behind its
 * loop. */
static void long_row(mvs_nest_print *p, LLVMValueRef from, LLVMValueRef to,
                     LLVMValueRef *lanes) {
  memset(p->stage_ready, 0, p->count * sizeof *p->stage_ready);
  for (int phase = 0; phase < p->nest->phases; ++phase) {
    mvs_nest_scalars(p, phase, false);
    if (!has_element_work(p, phase)) continue;
    for (size_t i = 0; i < p->count; ++i) {
      if (is_reduce(p, i, phase)) mvs_emit_set(p->e, lanes[i], mvs_nest_identity(p, i));
    }
    chunks(p, phase, from, to, lanes);
    for (size_t i = 0; i < p->count; ++i) {
      if (is_reduce(p, i, phase)) fold(p, i, mvs_emit_get(p->e, lanes[i]));
      if (p->needs[i] >> phase & 1) p->stage_ready[i] = true;
    }
  }
}

/* Accumulators of long rows are variables made once for the function, not per row. */
void mvs_nest_row(mvs_nest_print *p, LLVMValueRef from, LLVMValueRef to) {
  mvs_dim inner = p->nest->inner;
  if (!inner.per_batch && inner.size <= MVS_UNROLLED_CHUNKS * MVS_LANES) {
    short_row(p);
    return;
  }
  LLVMValueRef *lanes = MVS_ARRAY(p->e->arena, p->count, LLVMValueRef);
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = &p->nest->instrs.items[i];
    if (instr->kind != MVS_INSTR_REDUCE) continue;
    lanes[i] = mvs_emit_variable(p->e, mvs_emit_vector(mvs_emit_type(p->e, instr->dtype)));
  }
  long_row(p, from, to, lanes);
}
