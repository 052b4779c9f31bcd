/* angle.c: an angle less the nearest multiple of pi/2, for sin and cos. Angles of up to 1e4,
 * which is nearly all there are, by Cody and Waite in f32. Larger ones by Payne and Hanek
 * ("Radian reduction for trigonometric functions", 1983): of x * 2/pi only the bits near the
 * point are computed, from as many bits of 2/pi as f32 can ask for. That takes six times as
 * long as the rest of a sine, so it stands behind a branch (which costs a sine an eighth). */
#include <math.h>

#include "codegen/host/math.h"

#define NEAR 1e4

/* pi/2 in three parts, the first short of nothing: with fma the first step is exact for
 * |n| < 2^13. */
static LLVMValueRef reduce_near(mvs_emit *e, LLVMValueRef x, LLVMValueRef *quadrant) {
  LLVMTypeRef type = LLVMTypeOf(x);
  LLVMValueRef whole;
  *quadrant = mvs_emit_nearest(e, x, 0.636619772367581343, &whole);
  LLVMValueRef rest =
      mvs_emit_fma(e, whole, mvs_emit_real(type, -1.57079637050628662109375), x);
  rest = mvs_emit_fma(e, whole, mvs_emit_real(type, 4.37113882867379e-8), rest);
  return mvs_emit_fma(e, whole, mvs_emit_real(type, 1.71512449093e-15), rest);
}

/* Word at + `word` of 2/pi as a whole number of 2^-224, 32 bits each behind one of zeros; `at`
 * is 0 to 4. */
static LLVMValueRef word_of_ratio(mvs_emit *e, LLVMValueRef at, int word) {
  static const uint32_t ratio[] = {0,          0xA2F9836E, 0x4E441529, 0xFC2757D1,
                                   0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB};
  LLVMTypeRef type = LLVMTypeOf(at);
  LLVMValueRef found = mvs_emit_int(type, (int32_t)ratio[word]);
  for (int other = 1; other <= 4; ++other) {
    LLVMValueRef is =
        LLVMBuildICmp(e->builder, LLVMIntEQ, at, mvs_emit_int(type, other), "");
    found = mvs_emit_select(e, is, mvs_emit_int(type, (int32_t)ratio[word + other]), found);
  }
  return found;
}

/* The bits `bits` of an |x| above 1 as quadrants modulo 4: the upper two bits of 64 are whole.
 * |x| is m * 2^s with a whole m of 24 bits; bits of 2/pi worth 2^(2 - s) and more add multiples
 * of 4, and the 96 below those leave 2^-62 of error. No |x| in f32 is nearer than 2^-31 to a
 * multiple of pi/2. */
static LLVMValueRef turns(mvs_emit *e, LLVMValueRef bits) {
  LLVMBuilderRef b = e->builder;
  LLVMTypeRef narrow = LLVMTypeOf(bits), wide = mvs_emit_like(e->i64, narrow);
  LLVMValueRef mantissa = LLVMBuildAnd(b, bits, mvs_emit_int(narrow, 0x7fffff), "");
  mantissa = LLVMBuildOr(b, mantissa, mvs_emit_int(narrow, 0x800000), "");
  mantissa = LLVMBuildZExt(b, mantissa, wide, "");
  /* s = exponent field - 150; the first bit wanted, of 2^(1 - s), stands s + 30 bits behind the
   * first of the zeros. */
  LLVMValueRef exponent = LLVMBuildLShr(b, bits, mvs_emit_int(narrow, 23), "");
  LLVMValueRef from = LLVMBuildSub(b, exponent, mvs_emit_int(narrow, 120), "");
  LLVMValueRef at = LLVMBuildLShr(b, from, mvs_emit_int(narrow, 5), "");
  LLVMValueRef shift = LLVMBuildAnd(b, from, mvs_emit_int(narrow, 31), "");
  LLVMValueRef words[4], products[3];
  for (int word = 0; word < 4; ++word) words[word] = word_of_ratio(e, at, word);
  for (int word = 0; word < 3; ++word) {
    LLVMValueRef parts[] = {words[word], words[word + 1], shift};
    LLVMValueRef window = mvs_emit_intrinsic(e, "llvm.fshl", narrow, parts, 3);
    products[word] = LLVMBuildMul(b, LLVMBuildZExt(b, window, wide, ""), mantissa, "");
  }
  LLVMValueRef half = mvs_emit_int(wide, 32);
  LLVMValueRef sum = LLVMBuildAdd(b, LLVMBuildShl(b, products[0], half, ""), products[1], "");
  return LLVMBuildAdd(b, sum, LLVMBuildLShr(b, products[2], half, ""), "");
}

/* Right for |x| above 1; NaN and infinity become NaN. */
static LLVMValueRef reduce_far(mvs_emit *e, LLVMValueRef x, LLVMValueRef *quadrant) {
  LLVMBuilderRef b = e->builder;
  LLVMTypeRef type = LLVMTypeOf(x), narrow = mvs_emit_like(e->i32, type);
  LLVMTypeRef wide = mvs_emit_like(e->i64, type), real = mvs_emit_like(e->f64, type);
  LLVMValueRef bits = mvs_emit_bitcast(e, x, e->i32);
  LLVMValueRef size = LLVMBuildAnd(b, bits, mvs_emit_int(narrow, INT32_MAX), "");
  LLVMValueRef all = turns(e, size);
  /* Without the whole quadrants, in 2^-64: from -1/2 to 1/2 as a signed number. */
  LLVMValueRef part = LLVMBuildShl(b, all, mvs_emit_int(wide, 2), "");
  LLVMValueRef up = LLVMBuildLShr(b, part, mvs_emit_int(wide, 63), "");
  LLVMValueRef count =
      LLVMBuildAdd(b, LLVMBuildLShr(b, all, mvs_emit_int(wide, 62), ""), up, "");
  LLVMValueRef angle = LLVMBuildSIToFP(b, part, real, "");
  angle = LLVMBuildFMul(b, angle, mvs_emit_real(real, 0x1.921fb54442d18p-64), "");
  LLVMValueRef rest = LLVMBuildFPTrunc(b, angle, type, "");
  /* An odd function of x, in both. */
  LLVMValueRef sign = LLVMBuildAShr(b, bits, mvs_emit_int(narrow, 31), "");
  count = LLVMBuildXor(b, LLVMBuildTrunc(b, count, narrow, ""), sign, "");
  *quadrant = LLVMBuildSub(b, count, sign, "");
  LLVMValueRef below = LLVMBuildICmp(b, LLVMIntNE, sign, mvs_emit_int(narrow, 0), "");
  rest = mvs_emit_select(e, below, LLVMBuildFNeg(b, rest, ""), rest);
  return LLVMBuildFAdd(b, rest, LLVMBuildFSub(b, x, x, ""), "");
}

LLVMValueRef mvs_emit_angle(mvs_emit *e, LLVMValueRef x, bool is_near, LLVMValueRef *quadrant) {
  LLVMValueRef rest = reduce_near(e, x, quadrant);
  if (is_near) return rest;
  LLVMTypeRef type = LLVMTypeOf(x);
  LLVMValueRef far = LLVMBuildFCmp(e->builder, LLVMRealOGT, mvs_emit_unary(e, "llvm.fabs", x),
                                   mvs_emit_real(type, NEAR), "");
  LLVMValueRef held = mvs_emit_variable(e, type);
  LLVMValueRef counted = mvs_emit_variable(e, LLVMTypeOf(*quadrant));
  mvs_emit_set(e, held, rest), mvs_emit_set(e, counted, *quadrant);
  mvs_branch branch = mvs_emit_if(e, mvs_emit_any(e, far));
  LLVMValueRef count, other = reduce_far(e, x, &count);
  mvs_emit_set(e, held, mvs_emit_select(e, far, other, rest));
  mvs_emit_set(e, counted, mvs_emit_select(e, far, count, *quadrant));
  mvs_emit_if_end(e, &branch);
  *quadrant = mvs_emit_get(e, counted);
  return mvs_emit_get(e, held);
}
