/* nest_rows.c: one row of a ROWS nest. Element i of a reduction goes to lane i mod 64 in
 * order of i, then halves fold: the same bits on every instruction set and at every division
 * into units. 64 lanes are four vectors, four independent chains: an addition takes four
 * cycles and two can start in each, so one chain alone would wait seven turns of eight.
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

/* Vectors that a reduction adds up side by side: chunk c goes to vector c mod CHAINS. */
#define CHAINS 4

/* The lanes of one reduction: values in a short row, variables in a long one. A vector that
 * got no element is NULL and left out, which changes no bit (kernel.h). */
typedef struct chains {
  LLVMValueRef vectors[CHAINS];
} chains;

/* The lanes of a reduction, as values, become the scalar that later phases use. */
static void fold(mvs_nest_print *p, size_t index, chains lanes) {
  bool maximum = p->nest->instrs.items[index].op == MVS_OP_max_over;
  for (int step = CHAINS / 2; step > 0; step /= 2) {
    for (int c = 0; c < step; ++c) {
      LLVMValueRef other = lanes.vectors[c + step];
      if (!other) continue;
      lanes.vectors[c] = mvs_nest_combine(p, index, lanes.vectors[c], other);
    }
  }
  p->row.scalars[index] = mvs_emit_fold(p->e, lanes.vectors[0], maximum);
}

/* --- short rows: no loop, every value computed once --- */

/* `all` keeps the values of every chunk, so that a later phase finds what an earlier one
 * computed. */
static void short_row(mvs_nest_print *p) {
  int64_t size = p->nest->inner.size;
  int chunks = (int)((size + MVS_LANES - 1) / MVS_LANES);
  LLVMValueRef *all = MVS_ARRAY(p->e->arena, (size_t)chunks * p->count, LLVMValueRef);
  for (int phase = 0; phase < p->nest->phases; ++phase) {
    chains *lanes = MVS_ARRAY(p->e->arena, p->count, chains);
    mvs_nest_scalars(p, phase, false);
    for (int c = 0; c < chunks && has_element_work(p, phase); ++c) {
      int64_t left = size - (int64_t)c * MVS_LANES;
      p->values = all + (size_t)c * p->count;
      p->inner = mvs_emit_i64(p->e, (int64_t)c * MVS_LANES);
      p->mask = left < MVS_LANES ? mvs_emit_first_lanes(p->e, (int)left) : NULL;
      for (size_t i = 0; i < p->count; ++i) {
        if (!is_reduce(p, i, phase)) continue;
        LLVMValueRef *lane = &lanes[i].vectors[c % CHAINS];
        *lane = mvs_nest_accumulate(p, i, *lane ? *lane : mvs_nest_identity(p, i));
      }
      mvs_nest_stores(p, phase, false);
    }
    for (size_t i = 0; i < p->count; ++i) {
      if (is_reduce(p, i, phase)) fold(p, i, lanes[i]);
    }
  }
}

/* --- long rows: loops over vectors and a masked rest --- */

/* Rows being printed together, each with the lanes of its reductions. */
typedef struct together {
  const mvs_row *rows;
  int count;
  chains *lanes[MVS_ROWS_TOGETHER]; /* per instruction */
} together;

/* One vector of a row: the reductions of this phase, on chain `chain`, and its stores. */
static void chunk(mvs_nest_print *p, int phase, const chains *lanes, int chain) {
  mvs_nest_next_chunk(p);
  for (size_t i = 0; i < p->count; ++i) {
    if (!is_reduce(p, i, phase)) continue;
    LLVMValueRef lane = lanes[i].vectors[chain];
    mvs_emit_set(p->e, lane, mvs_nest_accumulate(p, i, mvs_emit_get(p->e, lane)));
  }
  mvs_nest_stores(p, phase, false);
}

/* The same vector of all rows: what one waits for, the other has time to do. */
static void chunk_of_all(mvs_nest_print *p, int phase, const together *t, int chain) {
  for (int r = 0; r < t->count; ++r) {
    p->row = t->rows[r];
    chunk(p, phase, t->lanes[r], chain);
  }
}

/* The vector that starts at `from`, if there is one, with a mask; sizes known by now fold the
 * condition and, of a whole vector, the mask. */
static void rest(mvs_nest_print *p, int phase, LLVMValueRef from, LLVMValueRef to,
                 const together *t, int chain) {
  mvs_emit *e = p->e;
  mvs_branch branch = mvs_emit_if(e, mvs_emit_less(e, from, to));
  p->inner = from;
  p->mask = mvs_nest_whole_vectors(p->nest) ? NULL : mvs_emit_mask(e, from, to);
  chunk_of_all(p, phase, t, chain);
  mvs_emit_if_end(e, &branch);
  p->mask = NULL;
}

/* `vectors` side by side in a loop, then those that are left. */
static void chunks(mvs_nest_print *p, int phase, LLVMValueRef from, LLVMValueRef to,
                   const together *t, int vectors) {
  mvs_emit *e = p->e;
  int64_t width = (int64_t)vectors * MVS_LANES;
  LLVMValueRef size = LLVMBuildNSWSub(e->builder, to, from, "");
  LLVMValueRef whole = LLVMBuildAnd(e->builder, size, mvs_emit_i64(e, -width), "");
  LLVMValueRef middle = LLVMBuildNSWAdd(e->builder, from, whole, "");
  p->mask = NULL;
  mvs_loop loop = mvs_emit_loop(e, from, middle, width);
  for (int c = 0; c < vectors; ++c) {
    p->inner = mvs_emit_add(e, loop.index, mvs_emit_i64(e, (int64_t)c * MVS_LANES));
    chunk_of_all(p, phase, t, c);
  }
  mvs_emit_loop_end(e, &loop);
  mvs_dim inner = p->nest->inner;
  int64_t left = inner.per_batch ? width - 1 : inner.size % width;
  for (int c = 0; c * MVS_LANES < left; ++c) {
    LLVMValueRef at = mvs_emit_add(e, middle, mvs_emit_i64(e, (int64_t)c * MVS_LANES));
    rest(p, phase, at, to, t, c);
  }
}

/* The variables of a reduction as values. */
static chains read_lanes(mvs_nest_print *p, const chains *lanes) {
  chains values;
  for (int c = 0; c < CHAINS; ++c) values.vectors[c] = mvs_emit_get(p->e, lanes->vectors[c]);
  return values;
}

/* Whether the nest reduces at all. Then its rows are never divided, so that chunk 0 is on
 * chain 0. */
static bool reduces(const mvs_nest_print *p) {
  for (int phase = 0; phase < p->nest->phases; ++phase) {
    for (size_t i = 0; i < p->count; ++i) {
      if (is_reduce(p, i, phase)) return true;
    }
  }
  return false;
}

/* The lanes of a row's reductions start anew. */
static void clear_lanes(mvs_nest_print *p, int phase, const chains *lanes) {
  for (size_t i = 0; i < p->count; ++i) {
    if (!is_reduce(p, i, phase)) continue;
    for (int c = 0; c < CHAINS; ++c) {
      mvs_emit_set(p->e, lanes[i].vectors[c], mvs_nest_identity(p, i));
    }
  }
}

/* What a phase computed and staged is ready for the next one: stage_ready is set behind its
 * loop. All phases of a row that is reduced take CHAINS vectors a turn: with fewer turns the
 * processor foresees the end of a phase and starts on the next. */
static void long_rows(mvs_nest_print *p, const together *t, LLVMValueRef from,
                      LLVMValueRef to) {
  int vectors = reduces(p) ? CHAINS : 1;
  memset(p->stage_ready, 0, p->count * sizeof *p->stage_ready);
  for (int phase = 0; phase < p->nest->phases; ++phase) {
    for (int r = 0; r < t->count; ++r) {
      p->row = t->rows[r];
      mvs_nest_scalars(p, phase, false);
      clear_lanes(p, phase, t->lanes[r]);
    }
    if (!has_element_work(p, phase)) continue;
    chunks(p, phase, from, to, t, vectors);
    for (size_t i = 0; i < p->count; ++i) {
      for (int r = 0; r < t->count && is_reduce(p, i, phase); ++r) {
        p->row = t->rows[r];
        fold(p, i, read_lanes(p, &t->lanes[r][i]));
      }
      if (p->needs[i] >> phase & 1) p->stage_ready[i] = true;
    }
  }
}

/* Rows of up to MVS_UNROLLED_CHUNKS vectors. */
static bool is_short(const mvs_nest_print *p) {
  mvs_dim inner = p->nest->inner;
  return !inner.per_batch && inner.size <= MVS_UNROLLED_CHUNKS * MVS_LANES;
}

/* Behind a reduction stands a fold, a root, a division: some 70 cycles in which a row has
 * nothing else to do, and the store buffer keeps the processor from reaching the next one. Two
 * rows of few lanes share registers; values staged in scratch have room for one row. */
int mvs_nest_together(const mvs_nest_print *p) {
  int reductions = 0;
  for (size_t i = 0; i < p->count; ++i) {
    if (p->staged[i]) return 1;
    reductions += p->nest->instrs.items[i].kind == MVS_INSTR_REDUCE;
  }
  bool rows = p->nest->nest_class == MVS_KERNEL_ROWS && !is_short(p);
  return rows && reductions > 0 && reductions <= 2 ? MVS_ROWS_TOGETHER : 1;
}

/* Accumulators of long rows are variables made once for the function, not per row. */
void mvs_nest_rows(mvs_nest_print *p, const mvs_row *rows, int count, LLVMValueRef from,
                   LLVMValueRef to) {
  if (is_short(p)) {
    short_row(p);
    return;
  }
  together t = {.rows = rows, .count = count};
  for (int r = 0; r < count; ++r) {
    t.lanes[r] = MVS_ARRAY(p->e->arena, p->count, chains);
    for (size_t i = 0; i < p->count; ++i) {
      const mvs_instr *instr = &p->nest->instrs.items[i];
      if (instr->kind != MVS_INSTR_REDUCE) continue;
      LLVMTypeRef type = mvs_emit_vector(mvs_emit_type(p->e, instr->dtype));
      for (int c = 0; c < CHAINS; ++c) {
        t.lanes[r][i].vectors[c] = mvs_emit_variable(p->e, type);
      }
    }
  }
  long_rows(p, &t, from, to);
}
