/* emit_value.c: lanes, bf16 rounding, folds and memory accesses.
 *
 * bf16 is stored as i16 and computed as f32. Widening shifts the bits up and is exact;
 * narrowing rounds to nearest, ties to even, and keeps NaN, as docs/numerics.md has it.
 * Masks are always "the first n lanes": that is all
 * that the rest of a row needs, and AVX2, which has no masked access of 16 bits, can then
 * copy them in a loop. */
#include "codegen/host/emit.h"

/* --- lanes --- */

LLVMValueRef mvs_emit_splat(mvs_emit *e, LLVMValueRef scalar) {
  LLVMTypeRef type = mvs_emit_vector(LLVMTypeOf(scalar));
  LLVMValueRef none = LLVMGetPoison(type);
  LLVMValueRef zero = mvs_emit_int(e->i32, 0);
  LLVMValueRef first = LLVMBuildInsertElement(e->builder, none, scalar, zero, "");
  LLVMValueRef order = mvs_emit_int(mvs_emit_vector(e->i32), 0);
  return LLVMBuildShuffleVector(e->builder, first, none, order, "");
}

LLVMValueRef mvs_emit_widen(mvs_emit *e, LLVMValueRef value) {
  return mvs_is_vector(LLVMTypeOf(value)) ? value : mvs_emit_splat(e, value);
}

LLVMValueRef mvs_emit_lanes(LLVMTypeRef scalar) {
  LLVMValueRef lanes[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) lanes[i] = mvs_emit_int(scalar, i);
  return LLVMConstVector(lanes, MVS_LANES);
}

LLVMValueRef mvs_emit_select(mvs_emit *e, LLVMValueRef condition, LLVMValueRef yes,
                             LLVMValueRef no) {
  return LLVMBuildSelect(e->builder, condition, yes, no, "");
}

LLVMValueRef mvs_emit_bitcast(mvs_emit *e, LLVMValueRef value, LLVMTypeRef scalar) {
  return LLVMBuildBitCast(e->builder, value, mvs_emit_like(scalar, LLVMTypeOf(value)), "");
}

/* a > b for floats and signed integers. Ordered, so that a NaN compares false, as maxps
 * does. */
static LLVMValueRef is_above(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef type = LLVMTypeOf(a);
  if (mvs_is_vector(type)) type = LLVMGetElementType(type);
  if (type == e->f32 || type == e->f64) return LLVMBuildFCmp(e->builder, LLVMRealOGT, a, b, "");
  return LLVMBuildICmp(e->builder, LLVMIntSGT, a, b, "");
}

LLVMValueRef mvs_emit_greater(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return mvs_emit_select(e, is_above(e, a, b), a, b);
}

LLVMValueRef mvs_emit_lesser(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return mvs_emit_select(e, is_above(e, b, a), a, b);
}

LLVMValueRef mvs_emit_round_bf16(mvs_emit *e, LLVMValueRef value) {
  LLVMBuilderRef b = e->builder;
  LLVMTypeRef type = mvs_emit_like(e->i32, LLVMTypeOf(value));
  LLVMValueRef bits = LLVMBuildBitCast(b, value, type, "");
  LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, mvs_emit_int(type, 16), ""),
                                  mvs_emit_int(type, 1), "");
  LLVMValueRef half = LLVMBuildAdd(b, odd, mvs_emit_int(type, 0x7fff), "");
  LLVMValueRef up = LLVMBuildAdd(b, bits, half, "");
  /* Rounding could carry a NaN's payload into infinity, so it becomes quiet instead. */
  LLVMValueRef quiet = LLVMBuildOr(b, bits, mvs_emit_int(type, 0x400000), "");
  LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, value, value, "");
  LLVMValueRef kept = LLVMBuildAnd(b, mvs_emit_select(e, nan, quiet, up),
                                   mvs_emit_int(type, (int32_t)0xffff0000), "");
  return LLVMBuildBitCast(b, kept, LLVMTypeOf(value), "");
}

/* The upper or lower half of a vector of `lanes`. */
static LLVMValueRef half_of(mvs_emit *e, LLVMValueRef vector, int lanes, bool upper) {
  LLVMValueRef order[MVS_LANES / 2];
  for (int i = 0; i < lanes / 2; ++i) {
    order[i] = mvs_emit_int(e->i32, i + (upper ? lanes / 2 : 0));
  }
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetPoison(LLVMTypeOf(vector)),
                                LLVMConstVector(order, (unsigned)lanes / 2), "");
}

LLVMValueRef mvs_emit_fold(mvs_emit *e, LLVMValueRef vector, bool maximum) {
  LLVMTypeRef scalar = LLVMGetElementType(LLVMTypeOf(vector));
  for (int lanes = MVS_LANES; lanes > 1; lanes /= 2) {
    LLVMValueRef low = half_of(e, vector, lanes, false), high = half_of(e, vector, lanes, true);
    if (maximum) {
      vector = mvs_emit_greater(e, low, high);
    } else if (scalar == e->i32) {
      vector = LLVMBuildAdd(e->builder, low, high, "");
    } else {
      vector = LLVMBuildFAdd(e->builder, low, high, "");
    }
  }
  return LLVMBuildExtractElement(e->builder, vector, mvs_emit_int(e->i32, 0), "");
}

LLVMValueRef mvs_emit_any(mvs_emit *e, LLVMValueRef condition) {
  LLVMTypeRef type = LLVMTypeOf(condition);
  if (!mvs_is_vector(type)) return condition;
  return mvs_emit_intrinsic(e, "llvm.vector.reduce.or", type, &condition, 1);
}

LLVMValueRef mvs_emit_mask(mvs_emit *e, LLVMValueRef base, LLVMValueRef end) {
  LLVMValueRef left = LLVMBuildSub(e->builder, end, base, "");
  LLVMValueRef most = mvs_emit_smaller(e, left, mvs_emit_i64(e, MVS_LANES));
  LLVMValueRef count = LLVMBuildTrunc(e->builder, most, e->i32, "");
  return LLVMBuildICmp(e->builder, LLVMIntSLT, mvs_emit_lanes(e->i32), mvs_emit_splat(e, count),
                       "");
}

LLVMValueRef mvs_emit_first_lanes(const mvs_emit *e, int count) {
  LLVMValueRef lanes[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) lanes[i] = mvs_emit_int(e->i1, i < count);
  return LLVMConstVector(lanes, MVS_LANES);
}

/* --- bf16 in memory --- */

/* A bf16 is the upper half of an f32. */
static LLVMValueRef widen_bf16(mvs_emit *e, LLVMValueRef bits) {
  LLVMTypeRef wide = mvs_emit_like(e->i32, LLVMTypeOf(bits));
  LLVMValueRef word = LLVMBuildZExt(e->builder, bits, wide, "");
  LLVMValueRef moved = LLVMBuildShl(e->builder, word, mvs_emit_int(wide, 16), "");
  return mvs_emit_bitcast(e, moved, e->f32);
}

/* f32 to the bits of a bf16: the upper half, once rounding has left zeros in the lower. */
static LLVMValueRef narrow_bf16(mvs_emit *e, LLVMValueRef value, bool rounded) {
  LLVMValueRef kept = rounded ? value : mvs_emit_round_bf16(e, value);
  LLVMValueRef word = mvs_emit_bitcast(e, kept, e->i32);
  LLVMTypeRef type = LLVMTypeOf(word);
  LLVMValueRef high = LLVMBuildLShr(e->builder, word, mvs_emit_int(type, 16), "");
  return LLVMBuildTrunc(e->builder, high, mvs_emit_like(e->i16, type), "");
}

/* --- memory --- */

LLVMValueRef mvs_emit_at(mvs_emit *e, LLVMTypeRef element, LLVMValueRef base,
                         LLVMValueRef index) {
  return LLVMBuildInBoundsGEP2(e->builder, element, base, &index, 1, "");
}

/* Aligned to the element only: rows of odd length start anywhere. */
static LLVMValueRef plain_load(mvs_emit *e, mvs_dtype dtype, LLVMTypeRef type,
                               LLVMValueRef address) {
  LLVMValueRef value = LLVMBuildLoad2(e->builder, type, address, "");
  LLVMSetAlignment(value, (unsigned)mvs_dtype_size(dtype));
  return dtype == MVS_BF16 ? widen_bf16(e, value) : value;
}

LLVMValueRef mvs_emit_load(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address) {
  return plain_load(e, dtype, mvs_emit_storage(e, dtype), address);
}

/* Elements 0 .. count-1 of 16 bits, one by one. */
static void write_copy_prefix(void *self, LLVMValueRef *parameters) {
  mvs_emit *e = self;
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), parameters[2], 1);
  LLVMValueRef source = mvs_emit_at(e, e->i16, parameters[0], loop.index);
  LLVMValueRef target = mvs_emit_at(e, e->i16, parameters[1], loop.index);
  LLVMBuildStore(e->builder, LLVMBuildLoad2(e->builder, e->i16, source, ""), target);
  mvs_emit_loop_end(e, &loop);
}

/* AVX2 has no masked access of 16 bits, and LLVM would write 16 branches in its place. All our
 * masks are prefixes, so one shared loop copies as many elements as are set. */
static void copy_prefix(mvs_emit *e, LLVMValueRef from, LLVMValueRef to, LLVMValueRef mask) {
  LLVMTypeRef types[3] = {e->ptr, e->ptr, e->i64};
  LLVMValueRef function =
      mvs_emit_shared(e, "copy_prefix", mvs_emit_signature(e, types, 3), write_copy_prefix, e);
  LLVMValueRef bits = LLVMBuildBitCast(e->builder, mask, e->i16, "");
  LLVMValueRef count =
      LLVMBuildZExt(e->builder, mvs_emit_unary(e, "llvm.ctpop", bits), e->i64, "");
  mvs_emit_call(e, function, (LLVMValueRef[]){from, to, count}, 3);
}

/* Lanes that are off read no memory and are 0. */
static LLVMValueRef load_prefix(mvs_emit *e, LLVMTypeRef type, LLVMValueRef address,
                                LLVMValueRef mask) {
  LLVMValueRef slot = mvs_emit_variable(e, type);
  mvs_emit_set(e, slot, LLVMConstNull(type));
  copy_prefix(e, address, slot, mask);
  return mvs_emit_get(e, slot);
}

/* Lanes that are off touch no memory: another thread may own what lies there. */
static void store_prefix(mvs_emit *e, LLVMValueRef value, LLVMValueRef address,
                         LLVMValueRef mask) {
  LLVMValueRef slot = mvs_emit_variable(e, LLVMTypeOf(value));
  mvs_emit_set(e, slot, value);
  copy_prefix(e, slot, address, mask);
}

LLVMValueRef mvs_emit_load_vector(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address,
                                  LLVMValueRef mask) {
  LLVMTypeRef type = mvs_emit_vector(mvs_emit_storage(e, dtype));
  if (!mask) return plain_load(e, dtype, type, address);
  if (dtype == MVS_BF16 && !e->avx512) {
    return widen_bf16(e, load_prefix(e, type, address, mask));
  }
  LLVMValueRef align = mvs_emit_int(e->i32, mvs_dtype_size(dtype));
  LLVMValueRef arguments[4] = {address, align, mask, LLVMConstNull(type)};
  LLVMValueRef value = mvs_emit_intrinsic2(e, "llvm.masked.load", type, e->ptr, arguments, 4);
  return dtype == MVS_BF16 ? widen_bf16(e, value) : value;
}

/* Pointers to 16 elements `stride` apart. */
static LLVMValueRef spread_pointers(mvs_emit *e, LLVMTypeRef element, LLVMValueRef address,
                                    int64_t stride) {
  LLVMValueRef lanes[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) lanes[i] = mvs_emit_i64(e, i * stride);
  LLVMValueRef offsets = LLVMConstVector(lanes, MVS_LANES);
  return LLVMBuildGEP2(e->builder, element, address, &offsets, 1, "");
}

/* Gather and scatter insist on a mask, a whole vector too. */
static LLVMValueRef all_lanes(const mvs_emit *e, LLVMValueRef mask) {
  return mask ? mask : mvs_emit_first_lanes(e, MVS_LANES);
}

LLVMValueRef mvs_emit_gather(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, int64_t stride,
                             LLVMValueRef mask) {
  LLVMTypeRef element = mvs_emit_storage(e, dtype);
  LLVMTypeRef type = mvs_emit_vector(element);
  LLVMValueRef places = spread_pointers(e, element, address, stride);
  LLVMValueRef align = mvs_emit_int(e->i32, mvs_dtype_size(dtype));
  LLVMValueRef arguments[4] = {places, align, all_lanes(e, mask), LLVMConstNull(type)};
  LLVMValueRef value =
      mvs_emit_intrinsic2(e, "llvm.masked.gather", type, mvs_emit_vector(e->ptr), arguments, 4);
  return dtype == MVS_BF16 ? widen_bf16(e, value) : value;
}

/* The processor's own conversion, of levels that have it: an f32 below 2^-126 becomes zero, all
 * others what narrow_bf16 gives. */
static LLVMValueRef convert_bf16(mvs_emit *e, LLVMValueRef value) {
  value = mvs_emit_plain(e, "llvm.x86.avx512bf16.cvtneps2bf16.512", &value, 1);
  return LLVMBuildBitCast(e->builder, value, mvs_emit_vector(e->i16), "");
}

LLVMValueRef mvs_emit_bf16_places(mvs_emit *e, LLVMValueRef first, LLVMValueRef second) {
  LLVMValueRef arguments[2] = {second, first};
  LLVMValueRef value =
      mvs_emit_plain(e, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", arguments, 2);
  return LLVMBuildBitCast(e->builder, value, mvs_emit_vector(e->i32), "");
}

/* What goes to memory for a computed value. `rounded`: the f32 is a bf16 already, so cutting
 * the low half off is exact. */
static LLVMValueRef stored_form(mvs_emit *e, mvs_dtype dtype, LLVMValueRef value,
                                bool rounded) {
  if (dtype != MVS_BF16) return value;
  bool own = e->level >= MVS_CPU_BF16 && mvs_is_vector(LLVMTypeOf(value)) && !rounded;
  return own ? convert_bf16(e, value) : narrow_bf16(e, value, rounded);
}

void mvs_emit_store(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, LLVMValueRef value,
                    LLVMValueRef mask, bool rounded) {
  value = stored_form(e, dtype, value, rounded);
  unsigned align = (unsigned)mvs_dtype_size(dtype);
  if (!mask) {
    LLVMSetAlignment(LLVMBuildStore(e->builder, value, address), align);
    return;
  }
  if (dtype == MVS_BF16 && !e->avx512) {
    store_prefix(e, value, address, mask);
    return;
  }
  LLVMValueRef arguments[4] = {value, address, mvs_emit_int(e->i32, align), mask};
  mvs_emit_intrinsic2(e, "llvm.masked.store", LLVMTypeOf(value), e->ptr, arguments, 4);
}

void mvs_emit_scatter(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, int64_t stride,
                      LLVMValueRef value, LLVMValueRef mask, bool rounded) {
  value = stored_form(e, dtype, value, rounded);
  LLVMValueRef places = spread_pointers(e, mvs_emit_storage(e, dtype), address, stride);
  LLVMValueRef align = mvs_emit_int(e->i32, mvs_dtype_size(dtype));
  LLVMValueRef arguments[4] = {value, places, align, all_lanes(e, mask)};
  mvs_emit_intrinsic2(e, "llvm.masked.scatter", LLVMTypeOf(value), mvs_emit_vector(e->ptr),
                      arguments, 4);
}
