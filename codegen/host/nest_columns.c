/* nest_columns.c: COLUMNS nests: each sum is a tree of nest->lanes accumulators.
 *
 * This is the form of sums over tokens, samples and layers. Lane j adds elements j, j + lanes,
 * ... of the reduced axis in a register, lane after lane; the lanes meet in scratch and fold
 * by halves (docs/numerics.md). Lanes that get no element are left out: kernel.h says why that
 * changes no bit. Two phases: within the sequential loop (0) and behind the fold (1), where the
 * sums are plain values.
 *
 * Neighbours along inner are different sums, so vectors of them stand side by side. A nest of
 * one column would leave 15 of 16 vector lanes idle: it is `turned`, its reduced axis becomes
 * the inner one and 16 neighbouring lanes of the tree are the lanes of a vector. */
#include "codegen/host/nest.h"

/* Most vectors side by side: enough independent sums to cover the latency of an addition. */
#define SIDE_BY_SIDE 4

/* The vectors that one turn of the inner loop takes. */
typedef struct block {
  int vectors;
  int width;             /* lanes of the tree that a vector holds: 1, or 16 in a turned nest */
  LLVMValueRef from, to; /* of the reduced axis */
  LLVMValueRef *values[SIDE_BY_SIDE]; /* computed values of each vector */
  LLVMValueRef inner[SIDE_BY_SIDE];
  LLVMValueRef *sums[SIDE_BY_SIDE]; /* accumulators (variables), per REDUCE */
} block;

/* The instruction with that number. */
static const mvs_instr *instr_at(const mvs_nest_print *p, size_t index) {
  return &p->nest->instrs.items[index];
}

/* --- a nest of one column --- */

/* The access of an instruction that computes along the reduced axis, with that axis innermost;
 * behind the fold nothing moves. */
static void turn_instr(mvs_instr *instr) {
  if (mvs_instr_uses_memory(instr)) {
    instr->access.inner = instr->access.sequential;
    instr->access.sequential = 0;
  } else if (instr->kind == MVS_INSTR_INDEX && instr->axis == MVS_INNER) {
    *instr = (mvs_instr){.kind = MVS_INSTR_CONSTANT, .dtype = MVS_I32, .span = instr->span};
  } else if (instr->kind == MVS_INSTR_INDEX && instr->axis == MVS_SEQUENTIAL) {
    instr->axis = MVS_INNER;
  }
}

const mvs_nest *mvs_nest_turned(mvs_arena *arena, const mvs_nest *nest) {
  bool columns = nest->nest_class == MVS_KERNEL_COLUMNS;
  if (!columns || nest->inner.size != 1 || nest->lanes < MVS_LANES) return NULL;
  mvs_nest *turned = MVS_NEW(arena, mvs_nest);
  *turned = *nest;
  turned->instrs.items = MVS_ARRAY(arena, nest->instrs.count, mvs_instr);
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    turned->instrs.items[i] = nest->instrs.items[i];
    turn_instr(&turned->instrs.items[i]);
  }
  return turned;
}

/* --- accumulating --- */

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
        LLVMBuildICmp(e->builder, LLVMIntEQ, p->row.segment, mvs_emit_i64(e, s), "");
    *from = mvs_emit_select(e, here, mvs_emit_i64(e, begin), *from);
    *to = mvs_emit_select(e, here, mvs_emit_i64(e, end), *to);
    begin = end;
  }
}

/* Accumulators, and what is the same at every sequential step: before the loops. */
static void start(mvs_nest_print *p, block *b, LLVMValueRef base) {
  mvs_emit *e = p->e;
  for (int v = 0; v < b->vectors; ++v) {
    b->values[v] = MVS_ARRAY(e->arena, p->count, LLVMValueRef);
    b->sums[v] = MVS_ARRAY(e->arena, p->count, LLVMValueRef);
    b->inner[v] = LLVMBuildNSWAdd(e->builder, base, mvs_emit_i64(e, v * MVS_LANES), "");
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      const mvs_instr *instr = instr_at(p, i);
      if (instr->kind == MVS_INSTR_REDUCE) {
        LLVMTypeRef type = mvs_emit_vector(mvs_emit_type(e, instr->dtype));
        b->sums[v][i] = mvs_emit_variable(e, type);
      } else if (instr->kind != MVS_INSTR_STORE && !p->turned && !p->uniform[i] &&
                 !p->moving[i] && instr->phase == 0 && (p->needs[i] & 1)) {
        mvs_nest_value(p, i);
      }
    }
  }
}

/* One lane of the tree (16 in a turned nest): each REDUCE takes every lanes-th element. */
static void sum_lane(mvs_nest_print *p, block *b, LLVMValueRef first) {
  mvs_emit *e = p->e;
  mvs_loop loop = mvs_emit_loop(e, first, b->to, p->nest->lanes);
  if (p->turned) {
    b->inner[0] = loop.index;
    p->mask = mvs_emit_mask(e, loop.index, b->to);
  } else {
    p->sequential = loop.index;
  }
  mvs_nest_scalars(p, 0, true);
  for (int v = 0; v < b->vectors; ++v) {
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      LLVMValueRef sum = b->sums[v][i];
      if (sum) mvs_emit_set(e, sum, mvs_nest_accumulate(p, i, mvs_emit_get(e, sum)));
    }
  }
  if (p->turned) p->mask = NULL;
  p->sequential = NULL;
  mvs_emit_loop_end(e, &loop);
}

/* --- lanes in scratch --- */

/* Room for the lanes of every REDUCE, at stage_at. */
static void reserve_lanes(mvs_nest_print *p, int vectors, int most) {
  for (size_t i = 0; i < p->count; ++i) {
    if (instr_at(p, i)->kind != MVS_INSTR_REDUCE) continue;
    p->stage_at[i] = p->scratch;
    p->scratch += (int64_t)most * vectors * MVS_LANES * mvs_dtype_size(instr_at(p, i)->dtype);
  }
}

/* Where vector number `index` of a REDUCE's lanes lies: lane after lane, in each the vectors
 * side by side. */
static LLVMValueRef lane_address(mvs_nest_print *p, size_t reduce, LLVMValueRef index) {
  LLVMTypeRef type = mvs_emit_type(p->e, instr_at(p, reduce)->dtype);
  LLVMValueRef lanes = mvs_emit_scratch(p->e, &p->entry, p->stage_at[reduce]);
  return mvs_emit_at(p->e, type, lanes, mvs_emit_times(p->e, index, MVS_LANES));
}

static LLVMValueRef get_lane(mvs_nest_print *p, size_t reduce, LLVMValueRef index) {
  return mvs_emit_load_vector(p->e, instr_at(p, reduce)->dtype, lane_address(p, reduce, index),
                              NULL);
}

static void set_lane(mvs_nest_print *p, size_t reduce, LLVMValueRef index, LLVMValueRef value) {
  mvs_emit_store(p->e, instr_at(p, reduce)->dtype, lane_address(p, reduce, index), value, NULL,
                 false);
}

/* All lanes one after the other, each from its identity into scratch. */
static void sum_lanes(mvs_nest_print *p, block *b, LLVMValueRef count) {
  mvs_emit *e = p->e;
  mvs_loop lanes = mvs_emit_loop(e, mvs_emit_i64(e, 0), count, 1);
  for (int v = 0; v < b->vectors; ++v) {
    for (size_t i = 0; i < p->count; ++i) {
      if (b->sums[v][i]) mvs_emit_set(e, b->sums[v][i], mvs_nest_identity(p, i));
    }
  }
  sum_lane(p, b, mvs_emit_add(e, b->from, mvs_emit_times(e, lanes.index, b->width)));
  LLVMValueRef at = mvs_emit_times(e, lanes.index, b->vectors);
  for (int v = 0; v < b->vectors; ++v) {
    LLVMValueRef index = mvs_emit_add(e, at, mvs_emit_i64(e, v));
    for (size_t i = 0; i < p->count; ++i) {
      if (b->sums[v][i]) set_lane(p, i, index, mvs_emit_get(e, b->sums[v][i]));
    }
  }
  mvs_emit_loop_end(e, &lanes);
}

/* Lane j takes lane j + step, for step = most/2 down to 1, of those that got elements. */
static void fold_lanes(mvs_nest_print *p, const block *b, LLVMValueRef count, int most) {
  mvs_emit *e = p->e;
  for (int step = most / 2; step > 0; step /= 2) {
    LLVMValueRef half = mvs_emit_i64(e, step);
    LLVMValueRef left = LLVMBuildNSWSub(e->builder, count, half, "");
    count = mvs_emit_smaller(e, count, half);
    left = mvs_emit_times(e, mvs_emit_smaller(e, left, half), b->vectors);
    mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), left, 1);
    LLVMValueRef apart = mvs_emit_i64(e, (int64_t)step * b->vectors);
    LLVMValueRef other = mvs_emit_add(e, loop.index, apart);
    for (size_t i = 0; i < p->count; ++i) {
      if (!b->sums[0][i]) continue;
      LLVMValueRef sum = get_lane(p, i, loop.index);
      set_lane(p, i, loop.index, mvs_nest_combine(p, i, sum, get_lane(p, i, other)));
    }
    mvs_emit_loop_end(e, &loop);
  }
}

/* --- blocks --- */

/* The sums are values now: phase 1 and its stores, once per vector. */
static void finish(mvs_nest_print *p, block *b) {
  for (int v = 0; v < b->vectors; ++v) {
    select_vector(p, b, v);
    for (size_t i = 0; i < p->count; ++i) {
      if (b->sums[v][i]) p->values[i] = get_lane(p, i, mvs_emit_i64(p->e, v));
    }
    mvs_nest_stores(p, 1, false);
  }
}

/* The sum of a turned nest is a scalar, and so is all that follows. */
static void finish_turned(mvs_nest_print *p, const block *b) {
  for (size_t i = 0; i < p->count; ++i) {
    if (!b->sums[0][i]) continue;
    LLVMValueRef lanes = get_lane(p, i, mvs_emit_i64(p->e, 0));
    p->row.scalars[i] = mvs_emit_fold(p->e, lanes, instr_at(p, i)->op == MVS_OP_max_over);
  }
  mvs_nest_scalars(p, 1, false);
}

/* All of one block: bounds, lanes, fold, stores. */
static void print_block(mvs_nest_print *p, int vectors, int most, LLVMValueRef base) {
  mvs_emit *e = p->e;
  block b = {.vectors = vectors, .width = p->turned ? MVS_LANES : 1};
  bounds(p, &b.from, &b.to);
  start(p, &b, base);
  LLVMValueRef count = LLVMBuildNSWSub(e->builder, b.to, b.from, "");
  count = mvs_emit_smaller(e, mvs_emit_ceil_div(e, count, b.width), mvs_emit_i64(e, most));
  sum_lanes(p, &b, count);
  fold_lanes(p, &b, count, most);
  if (p->turned) {
    finish_turned(p, &b);
  } else {
    finish(p, &b);
  }
}

/* One column: no inner range to divide. */
static void print_turned(mvs_nest_print *p) {
  int most = (mvs_nest_busy_lanes(p->nest) + MVS_LANES - 1) / MVS_LANES;
  reserve_lanes(p, 1, most);
  print_block(p, 1, most, mvs_emit_i64(p->e, 0));
}

/* Whole blocks first, then single masked vectors for the rest of the range. */
void mvs_nest_columns(mvs_nest_print *p, LLVMValueRef from, LLVMValueRef to) {
  mvs_emit *e = p->e;
  int64_t inner = p->nest->inner.size;
  int vectors = p->vectors, most = mvs_nest_busy_lanes(p->nest);
  mvs_nest_scalars(p, 0, false);
  if (p->turned) {
    print_turned(p);
    return;
  }
  mvs_nest_scalars(p, 1, false); /* stores of values that no reduction takes part in */
  if (inner < vectors * MVS_LANES) vectors = 1;
  reserve_lanes(p, vectors, most);
  int64_t width = vectors * MVS_LANES;
  LLVMValueRef size = LLVMBuildNSWSub(e->builder, to, from, "");
  LLVMValueRef whole = LLVMBuildAnd(e->builder, size, mvs_emit_i64(e, -width), "");
  LLVMValueRef middle = LLVMBuildNSWAdd(e->builder, from, whole, "");
  p->mask = NULL;
  if (inner >= width) {
    mvs_loop loop = mvs_emit_loop(e, from, middle, width);
    print_block(p, vectors, most, loop.index);
    mvs_emit_loop_end(e, &loop);
  }
  if (inner % width == 0) return;
  mvs_loop rest = mvs_emit_loop(e, middle, to, MVS_LANES);
  p->mask = mvs_emit_mask(e, rest.index, to);
  print_block(p, 1, most, rest.index);
  mvs_emit_loop_end(e, &rest);
  p->mask = NULL;
}
