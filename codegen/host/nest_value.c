/* nest_value.c: what values depend on, and their computation for a row or a chunk of 16.
 *
 * Values are computed on demand: a store or a reduction asks for its argument, which asks
 * for its own, and each is kept (per row when it is the same for all elements, per chunk
 * else) until the row or chunk ends. So nothing is computed that no one needs in a phase,
 * and nothing twice within one. Addresses are split the same way: the row's part once, the
 * inner index per chunk. */
#include <math.h>

#include "codegen/host/nest.h"

/* The instruction with that number; its number is also its value's. */
static const mvs_instr *instr_at(const mvs_nest_print *p, size_t index) {
  return &p->nest->instrs.items[index];
}

/* --- analysis --- */

/* Depends on the inner index, arguments aside. A column's reduction has a value per inner
 * index, unless that index runs along the reduced axis. */
static bool varies_by_itself(const mvs_nest_print *p, const mvs_instr *instr) {
  if (mvs_instr_uses_memory(instr)) return instr->access.inner != 0;
  if (instr->kind == MVS_INSTR_INDEX) return instr->axis == MVS_INNER;
  return instr->kind == MVS_INSTR_REDUCE && p->nest->nest_class == MVS_KERNEL_COLUMNS &&
         !p->turned;
}

/* Depends on the sequential index, arguments aside. */
static bool moves_by_itself(const mvs_instr *instr) {
  if (mvs_instr_uses_memory(instr)) return instr->access.sequential != 0;
  return instr->kind == MVS_INSTR_INDEX && instr->axis == MVS_SEQUENTIAL;
}

/* Such a value needs no rounding when it is stored as bf16 or cast to it again. */
static bool is_rounded(const mvs_nest_print *p, const mvs_instr *instr) {
  if (instr->kind == MVS_INSTR_LOAD) {
    return p->kernel->operands[instr->access.operand] == MVS_BF16;
  }
  return instr->kind == MVS_INSTR_ARITH && instr->op == MVS_OP_cast && instr->to == MVS_BF16;
}

/* Arguments stand before their users, so one walk settles what each value depends on. */
static void depend(mvs_nest_print *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  bool varies = varies_by_itself(p, instr), moves = moves_by_itself(instr);
  bool reduces = instr->kind == MVS_INSTR_REDUCE;
  for (int i = 0; i < mvs_instr_argument_count(instr) && !reduces; ++i) {
    varies |= !p->uniform[instr->arguments[i]];
    moves |= p->moving[instr->arguments[i]];
  }
  p->uniform[index] = !varies;
  p->moving[index] = moves;
  p->rounded[index] = is_rounded(p, instr);
}

/* Scratch rows for dear values that several phases read. Short rows stay in registers instead.
 */
static void stage(mvs_nest_print *p) {
  const mvs_nest *nest = p->nest;
  int64_t chunks = (nest->inner.size + MVS_LANES - 1) / MVS_LANES;
  if (nest->nest_class != MVS_KERNEL_ROWS || nest->inner.per_batch ||
      chunks <= MVS_UNROLLED_CHUNKS) {
    return;
  }
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = instr_at(p, i);
    bool several = (p->needs[i] & (p->needs[i] - 1)) != 0;
    if (!instr->keep || !several || p->uniform[i] || instr->kind == MVS_INSTR_STORE) continue;
    p->staged[i] = true;
    p->stage_at[i] = p->scratch;
    p->scratch += chunks * MVS_LANES * mvs_dtype_size(instr->dtype);
  }
}

/* Fills every table of the print but those of the current row and chunk. */
void mvs_nest_analyse(mvs_nest_print *p) {
  mvs_arena *arena = p->e->arena;
  p->count = p->nest->instrs.count;
  p->uniform = MVS_ARRAY(arena, p->count, bool);
  p->moving = MVS_ARRAY(arena, p->count, bool);
  p->rounded = MVS_ARRAY(arena, p->count, bool);
  p->staged = MVS_ARRAY(arena, p->count, bool);
  p->stage_ready = MVS_ARRAY(arena, p->count, bool);
  p->stage_at = MVS_ARRAY(arena, p->count, int64_t);
  p->values = MVS_ARRAY(arena, p->count, LLVMValueRef);
  p->needs = MVS_ARRAY(arena, p->count, mvs_phase_mask);
  mvs_nest_needs(p->nest, p->needs);
  for (size_t i = 0; i < p->count; ++i) depend(p, i);
  stage(p);
}

/* Ranges start at multiples of 16, so the extent alone decides. */
bool mvs_nest_whole_vectors(const mvs_nest *nest) { return nest->inner.size % MVS_LANES == 0; }

/* --- addresses --- */

/* index * stride, in elements. */
static LLVMValueRef scaled(mvs_emit *e, LLVMValueRef index, int64_t stride) {
  return stride == 1 ? index : LLVMBuildNSWMul(e->builder, index, mvs_emit_i64(e, stride), "");
}

/* base + index * stride, in elements of the instruction's operand. */
static LLVMValueRef advance(mvs_nest_print *p, const mvs_instr *instr, LLVMValueRef base,
                            LLVMValueRef index, int64_t stride) {
  if (stride == 0) return base;
  LLVMTypeRef element = mvs_emit_storage(p->e, p->kernel->operands[instr->access.operand]);
  return mvs_emit_at(p->e, element, base, scaled(p->e, index, stride));
}

/* The part of each address that is the same along the row: outer axes and segment. */
void mvs_nest_addresses(mvs_nest_print *p) {
  p->row.bases = MVS_ARRAY(p->e->arena, p->count, LLVMValueRef);
  p->row.scalars = MVS_ARRAY(p->e->arena, p->count, LLVMValueRef);
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (!mvs_instr_uses_memory(instr)) continue;
    LLVMValueRef at = mvs_emit_i64(p->e, instr->access.constant);
    for (int axis = 0; axis < p->nest->outer_count; ++axis) {
      if (instr->access.outer[axis] == 0) continue;
      LLVMValueRef part = scaled(p->e, p->row.outer[axis], instr->access.outer[axis]);
      at = LLVMBuildNSWAdd(p->e->builder, at, part, "");
    }
    if (instr->access.segment != 0 && p->row.segment) {
      LLVMValueRef part = scaled(p->e, p->row.segment, instr->access.segment);
      at = LLVMBuildNSWAdd(p->e->builder, at, part, "");
    }
    p->row.bases[i] = advance(p, instr, p->operands[instr->access.operand], at, 1);
  }
}

/* The rest: sequential and inner index, where the access has them. */
static LLVMValueRef address(mvs_nest_print *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  LLVMValueRef at = p->row.bases[index];
  if (p->sequential) at = advance(p, instr, at, p->sequential, instr->access.sequential);
  if (instr->access.inner != 0) at = advance(p, instr, at, p->inner, instr->access.inner);
  return at;
}

/* --- values --- */

/* A scalar, 16 neighbours or 16 elements a stride apart, as the access has it. */
static LLVMValueRef load(mvs_nest_print *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  mvs_dtype dtype = p->kernel->operands[instr->access.operand];
  LLVMValueRef at = address(p, index), value;
  if (p->uniform[index]) {
    value = mvs_emit_load(p->e, dtype, at);
  } else if (instr->access.inner == 1) {
    value = mvs_emit_load_vector(p->e, dtype, at, p->mask);
  } else {
    value = mvs_emit_gather(p->e, dtype, at, instr->access.inner, p->mask);
  }
  return mvs_nest_convert(p->e, value, instr->dtype);
}

/* The number of the element, row or step as i32; at the inner axis a vector that counts up. */
static LLVMValueRef index_value(mvs_nest_print *p, const mvs_instr *instr) {
  mvs_emit *e = p->e;
  if (instr->axis == MVS_SEQUENTIAL)
    return LLVMBuildTrunc(e->builder, p->sequential, e->i32, "");
  if (instr->axis >= 0)
    return LLVMBuildTrunc(e->builder, p->row.outer[instr->axis], e->i32, "");
  LLVMValueRef first = LLVMBuildTrunc(e->builder, p->inner, e->i32, "");
  return LLVMBuildAdd(e->builder, mvs_emit_splat(e, first), mvs_emit_lanes(e->i32), "");
}

/* A scalar: it widens where it meets a vector. */
static LLVMValueRef constant(mvs_emit *e, const mvs_instr *instr) {
  if (instr->dtype == MVS_I32) return mvs_emit_int(e->i32, (int64_t)instr->value);
  return mvs_emit_real(mvs_emit_type(e, instr->dtype), instr->value);
}

/* Computes an instruction from its arguments, which are computed first where they are not yet.
 */
static LLVMValueRef compute(mvs_nest_print *p, size_t index) {
  mvs_emit *e = p->e;
  const mvs_instr *instr = instr_at(p, index);
  LLVMValueRef arguments[4];
  int count = mvs_instr_argument_count(instr);
  switch (instr->kind) {
    case MVS_INSTR_CONSTANT:
      return constant(e, instr);
    case MVS_INSTR_LOAD:
      return load(p, index);
    case MVS_INSTR_INDEX:
      return mvs_nest_convert(e, index_value(p, instr), instr->dtype);
    case MVS_INSTR_LAYER:
      return LLVMBuildTrunc(e->builder, p->entry.layer, e->i32, "");
    default:
      break;
  }
  if (instr->op == MVS_OP_cast && instr->to == MVS_BF16 && p->rounded[instr->arguments[0]]) {
    return mvs_nest_value(p, instr->arguments[0]);
  }
  for (int i = 0; i < count; ++i) arguments[i] = mvs_nest_value(p, instr->arguments[i]);
  return mvs_nest_arith(e, instr, arguments, count);
}

/* A staged value has one element per inner index, so the chunk's number is its place. */
static LLVMValueRef stage_address(mvs_nest_print *p, size_t index) {
  LLVMValueRef row = mvs_emit_scratch(p->e, &p->entry, p->stage_at[index]);
  return mvs_emit_at(p->e, mvs_emit_type(p->e, instr_at(p, index)->dtype), row, p->inner);
}

LLVMValueRef mvs_nest_value(mvs_nest_print *p, size_t index) {
  if (p->uniform[index]) {
    if (!p->row.scalars[index]) p->row.scalars[index] = compute(p, index);
    return p->row.scalars[index];
  }
  if (p->values[index]) return p->values[index];
  mvs_dtype dtype = instr_at(p, index)->dtype;
  LLVMValueRef value;
  if (p->staged[index] && p->stage_ready[index]) {
    value = mvs_emit_load_vector(p->e, dtype, stage_address(p, index), NULL);
  } else {
    value = compute(p, index);
    if (p->staged[index]) {
      mvs_emit_store(p->e, dtype, stage_address(p, index), value, NULL, false);
    }
  }
  p->values[index] = value;
  return value;
}

/* Per-row scalars stay. */
void mvs_nest_next_chunk(mvs_nest_print *p) {
  memset(p->values, 0, p->count * sizeof *p->values);
}

/* --- stores and row values --- */

/* One store, as wide as its access and its value allow. */
static void store(mvs_nest_print *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  mvs_dtype dtype = p->kernel->operands[instr->access.operand];
  size_t from = instr->arguments[0];
  LLVMValueRef value = mvs_nest_value(p, from);
  value = mvs_nest_convert(p->e, value, dtype == MVS_BF16 ? MVS_F32 : dtype);
  LLVMValueRef at = address(p, index);
  bool rounded = p->rounded[from];
  if (p->uniform[index]) {
    mvs_emit_store(p->e, dtype, at, value, NULL, rounded);
    return;
  }
  value = mvs_emit_widen(p->e, value);
  if (instr->access.inner == 1) {
    mvs_emit_store(p->e, dtype, at, value, p->mask, rounded);
  } else {
    mvs_emit_scatter(p->e, dtype, at, instr->access.inner, value, p->mask, rounded);
  }
}

/* A ROW store is a scalar too: it happens with the row values of its phase. */
void mvs_nest_scalars(mvs_nest_print *p, int phase, bool moving) {
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (!p->uniform[i] || instr->phase != phase || p->moving[i] != moving) continue;
    if (instr->kind == MVS_INSTR_REDUCE) continue;
    if (instr->kind == MVS_INSTR_STORE) {
      store(p, i);
    } else {
      p->row.scalars[i] = compute(p, i);
    }
  }
}

/* Stores that differ from element to element; those of a row's scalars happen with its scalars.
 */
void mvs_nest_stores(mvs_nest_print *p, int phase, bool moving) {
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->kind == MVS_INSTR_STORE && !p->uniform[i] && instr->phase == phase &&
        p->moving[i] == moving) {
      store(p, i);
    }
  }
}

/* --- reductions --- */

LLVMValueRef mvs_nest_identity(mvs_nest_print *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  LLVMTypeRef type = mvs_emit_vector(mvs_emit_type(p->e, instr->dtype));
  if (instr->op != MVS_OP_max_over) return LLVMConstNull(type);
  return instr->dtype == MVS_I32 ? mvs_emit_int(type, INT32_MIN)
                                 : mvs_emit_real(type, -INFINITY);
}

LLVMValueRef mvs_nest_combine(mvs_nest_print *p, size_t index, LLVMValueRef acc,
                              LLVMValueRef value) {
  const mvs_instr *instr = instr_at(p, index);
  if (instr->op == MVS_OP_max_over) return mvs_emit_greater(p->e, acc, value);
  if (instr->dtype == MVS_I32) return LLVMBuildAdd(p->e->builder, acc, value, "");
  return LLVMBuildFAdd(p->e->builder, acc, value, "");
}

LLVMValueRef mvs_nest_accumulate(mvs_nest_print *p, size_t index, LLVMValueRef acc) {
  mvs_emit *e = p->e;
  const mvs_instr *instr = instr_at(p, index);
  LLVMValueRef value =
      mvs_nest_convert(e, mvs_nest_value(p, instr->arguments[0]), instr->dtype);
  LLVMValueRef next = mvs_nest_combine(p, index, acc, mvs_emit_widen(e, value));
  return p->mask ? mvs_emit_select(e, p->mask, next, acc) : next;
}
