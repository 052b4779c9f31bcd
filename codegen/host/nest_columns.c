/* nest_columns.c: COLUMNS nests: a few vectors of the inner axis at a time, each with one
 * accumulator per element that goes upwards through the sequential axis.
 *
 * This is the form of sums over tokens, samples and layers: neighbours in memory are
 * different sums, so there is no operation across lanes and no tree, and the order is that
 * of the index. Two phases: within the sequential loop (0) and behind it (1), where the sums
 * are plain values. Several vectors stand side by side because one addition must wait for
 * the one before it. */
#include "codegen/host/nest.h"

/* Most vectors side by side: enough independent sums to cover the latency of an addition. */
#define SIDE_BY_SIDE 4

/* The vectors that one turn of the inner loop takes. */
typedef struct block {
  int vectors;
  LLVMValueRef *values[SIDE_BY_SIDE]; /* computed values of each vector */
  LLVMValueRef inner[SIDE_BY_SIDE];
  LLVMValueRef *lanes[SIDE_BY_SIDE]; /* accumulators (variables), per REDUCE */
} block;

/* The instruction with that number. */
static const mvs_instr *instr_at(const mvs_nest_print *p, size_t index) {
  return &p->nest->instrs.items[index];
}

/* Makes one of the vectors side by side the current chunk. */
static void select_vector(mvs_nest_print *p, const block *b, int vector) {
  p->values = b->values[vector];
  p->inner = b->inner[vector];
}

/* First and last + 1 of the sequential index in this row. */
static void bounds(mvs_nest_print *p, LLVMValueRef *from, LLVMValueRef *to) {
  mvs_emit *e = p->e;
  const mvs_nest *nest = p->nest;
  *from = mvs_emit_i64(e, 0);
  if (nest->segment_axis < 0) {
    int64_t size = nest->sequential_batch && nest->sequential == 0 ? 1 : nest->sequential;
    *to = mvs_emit_extent(e, &p->entry, (mvs_dim){size, nest->sequential_batch});
    return;
  }
  int64_t begin = 0;
  *to = *from;
  for (int s = 0; s < nest->segments->count; ++s) {
    int64_t end = begin + nest->segments->items[s].length;
    LLVMValueRef here =
        LLVMBuildICmp(e->builder, LLVMIntEQ, p->segment, mvs_emit_i64(e, s), "");
    *from = mvs_emit_select(e, here, mvs_emit_i64(e, begin), *from);
    *to = mvs_emit_select(e, here, mvs_emit_i64(e, end), *to);
    begin = end;
  }
}

/* Accumulators, and what is the same at every sequential step: before the loop. */
static void start(mvs_nest_print *p, block *b, LLVMValueRef base) {
  mvs_emit *e = p->e;
  for (int v = 0; v < b->vectors; ++v) {
    b->values[v] = MVS_ARRAY(e->arena, p->count, LLVMValueRef);
    b->lanes[v] = MVS_ARRAY(e->arena, p->count, LLVMValueRef);
    b->inner[v] = LLVMBuildNSWAdd(e->builder, base, mvs_emit_i64(e, v * MVS_LANES), "");
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      const mvs_instr *instr = instr_at(p, i);
      if (instr->kind == MVS_INSTR_REDUCE) {
        LLVMTypeRef type = mvs_emit_vector(mvs_emit_type(e, instr->dtype));
        b->lanes[v][i] = mvs_emit_variable(e, type);
        mvs_emit_set(e, b->lanes[v][i], mvs_nest_identity(p, i));
      } else if (instr->kind != MVS_INSTR_STORE && !p->uniform[i] && !p->moving[i] &&
                 instr->phase == 0 && (p->needs[i] & 1)) {
        mvs_nest_value(p, i); /* the same at every sequential step: before the loop */
      }
    }
  }
}

/* The loop over the sequential axis: each REDUCE takes one element of each vector. */
static void steps(mvs_nest_print *p, block *b, LLVMValueRef from, LLVMValueRef to) {
  mvs_emit *e = p->e;
  mvs_loop loop = mvs_emit_loop(e, from, to, 1);
  p->sequential = loop.index;
  mvs_nest_scalars(p, 0, true);
  for (int v = 0; v < b->vectors; ++v) {
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      LLVMValueRef lanes = b->lanes[v][i];
      if (!lanes) continue;
      mvs_emit_set(e, lanes, mvs_nest_accumulate(p, i, mvs_emit_get(e, lanes)));
    }
    mvs_nest_stores(p, 0, true);
  }
  p->sequential = NULL;
  mvs_emit_loop_end(e, &loop);
}

/* The sums are values now: phase 1 and its stores, once per vector. */
static void finish(mvs_nest_print *p, block *b) {
  for (int v = 0; v < b->vectors; ++v) {
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      if (b->lanes[v][i]) p->values[i] = mvs_emit_get(p->e, b->lanes[v][i]);
    }
    mvs_nest_stores(p, 0, false);
    mvs_nest_stores(p, 1, false);
  }
}

/* All of one block: bounds, accumulators, the loop, the stores. */
static void print_block(mvs_nest_print *p, int vectors, LLVMValueRef base) {
  block b = {.vectors = vectors};
  LLVMValueRef from, to;
  bounds(p, &from, &to);
  start(p, &b, base);
  steps(p, &b, from, to);
  finish(p, &b);
}

/* Whole blocks first, then single masked vectors for the rest of the range. */
void mvs_nest_columns(mvs_nest_print *p, LLVMValueRef from, LLVMValueRef to) {
  mvs_emit *e = p->e;
  mvs_dim inner = p->nest->inner;
  int vectors = p->vectors;
  if (!inner.per_batch && inner.size < vectors * MVS_LANES) vectors = 1;
  int64_t width = vectors * MVS_LANES;
  mvs_nest_scalars(p, 0, false);
  mvs_nest_scalars(p, 1, false); /* stores of values that no reduction takes part in */
  LLVMValueRef size = LLVMBuildNSWSub(e->builder, to, from, "");
  LLVMValueRef whole = LLVMBuildAnd(e->builder, size, mvs_emit_i64(e, -width), "");
  LLVMValueRef middle = LLVMBuildNSWAdd(e->builder, from, whole, "");
  p->mask = NULL;
  if (inner.per_batch || inner.size >= width) {
    mvs_loop loop = mvs_emit_loop(e, from, middle, width);
    print_block(p, vectors, loop.index);
    mvs_emit_loop_end(e, &loop);
  }
  if (inner.size % width == 0) return;
  mvs_loop rest = mvs_emit_loop(e, middle, to, MVS_LANES);
  p->mask = mvs_emit_mask(e, rest.index, to);
  print_block(p, 1, rest.index);
  mvs_emit_loop_end(e, &rest);
  p->mask = NULL;
}
