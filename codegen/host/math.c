/* math.c: exp, log, sin, cos, tanh and sigmoid. Argument reduction by Cody and Waite (angles:
 * angle.c), then a minimax polynomial (coefficients after Cephes, S. Moshier, single precision;
 * exp's are ours).
 *
 * Written in IR so that the code calls no libm, whose bits would differ from machine to
 * machine. All forms but that of large angles are branch-free; they use fma, and no division
 * where a product does. Each is within 2 ulp (tests/unit/test_host_math.c goes through the
 * range). NaN comes out as NaN, infinities as their limits, and subnormal results are right. */
#include "codegen/host/math.h"

#include <math.h>

/* Adding and taking away 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer; meanwhile the low
 * bits of the sum hold that integer, with no conversion that NaN would make undefined. */
#define ROUNDER 12582912.0

/* A constant in the shape of `like`. */
static LLVMValueRef real(LLVMValueRef like, double value) {
  return mvs_emit_real(LLVMTypeOf(like), value);
}

/* a + b, rounded once. */
static LLVMValueRef add(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFAdd(e->builder, a, b, "");
}

/* a * b, rounded once. */
static LLVMValueRef mul(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFMul(e->builder, a, b, "");
}

/* Horner's rule with fma, the highest coefficient first. */
static LLVMValueRef polynomial(mvs_emit *e, LLVMValueRef x, const double *terms, int count) {
  LLVMValueRef sum = real(x, terms[0]);
  for (int i = 1; i < count; ++i) sum = mvs_emit_fma(e, sum, x, real(x, terms[i]));
  return sum;
}

LLVMValueRef mvs_emit_nearest(mvs_emit *e, LLVMValueRef x, double factor,
                              LLVMValueRef *rounded) {
  LLVMValueRef shifted = mvs_emit_fma(e, x, real(x, factor), real(x, ROUNDER));
  *rounded = LLVMBuildFSub(e->builder, shifted, real(x, ROUNDER), "");
  LLVMValueRef bits = mvs_emit_bitcast(e, shifted, e->i32);
  LLVMValueRef base = mvs_emit_int(LLVMTypeOf(bits), 0x4b400000);
  return LLVMBuildSub(e->builder, bits, base, "");
}

/* 2^n for -126 <= n <= 127. */
static LLVMValueRef power_of_two(mvs_emit *e, LLVMValueRef n) {
  LLVMTypeRef type = LLVMTypeOf(n);
  LLVMValueRef biased = LLVMBuildAdd(e->builder, n, mvs_emit_int(type, 127), "");
  return mvs_emit_bitcast(e, LLVMBuildShl(e->builder, biased, mvs_emit_int(type, 23), ""),
                          e->f32);
}

/* value * 2^n for n from -150 (a subnormal result) to 128, rounded once; `whole` is n as f32.
 * Two factors where there is no instruction for it: the first product is exact. */
static LLVMValueRef times_power(mvs_emit *e, LLVMValueRef value, LLVMValueRef n,
                                LLVMValueRef whole) {
  if (e->avx512 && mvs_is_vector(LLVMTypeOf(value))) return mvs_emit_scalef(e, value, whole);
  LLVMValueRef half = LLVMBuildAShr(e->builder, n, mvs_emit_int(LLVMTypeOf(n), 1), "");
  LLVMValueRef other = LLVMBuildSub(e->builder, n, half, "");
  return mul(e, mul(e, value, power_of_two(e, half)), power_of_two(e, other));
}

/* e^x = 2^n e^r with |r| <= ln(2)/2, for NaN and x from -104 to 89. The terms are our own
 * minimax fit of (e^r - 1 - r) / r^2, which leaves 2^-28 of e^r. */
static LLVMValueRef exp_within(mvs_emit *e, LLVMValueRef x) {
  static const double terms[] = {1.38145401768e-3, 8.36874510894e-3, 4.16683907835e-2,
                                 1.6666520399e-1, 4.99999934321e-1};
  LLVMValueRef whole, n = mvs_emit_nearest(e, x, 1.44269504088896341, &whole);
  LLVMValueRef rest = mvs_emit_fma(e, whole, real(x, -0.693359375), x);
  rest = mvs_emit_fma(e, whole, real(x, 2.12194440e-4), rest);
  LLVMValueRef tail = mvs_emit_fma(e, polynomial(e, rest, terms, 5), mul(e, rest, rest), rest);
  LLVMValueRef sum = add(e, tail, real(x, 1.0));
  return times_power(e, sum, n, whole);
}

/* Beyond the clamps the result is 0 or infinity anyway, and NaN passes them. */
LLVMValueRef mvs_emit_exp_below(mvs_emit *e, LLVMValueRef x) {
  return exp_within(e, mvs_emit_greater(e, real(x, -104.0), x));
}

LLVMValueRef mvs_emit_exp(mvs_emit *e, LLVMValueRef x) {
  return mvs_emit_exp_below(e, mvs_emit_lesser(e, real(x, 89.0), x));
}

/* 2^x = 2^floor(x) 2^r with 0 <= r < 1. The terms are our own minimax fit of 2^r, to 2^-23.
 * Half the operations of e^x, for what is rounded to fewer bits or summed up. */
LLVMValueRef mvs_emit_power(mvs_emit *e, LLVMValueRef x) {
  static const double terms[] = {1.87757668e-3, 8.98934028e-3, 5.58263177e-2,
                                 0.240153617,   0.693153073,   0.999999925};
  return mvs_emit_scalef(e, polynomial(e, mvs_emit_fraction(e, x), terms, 6), x);
}

/* Splits a positive x, subnormal or not, into 2^exponent * m with m in [sqrt(1/2), sqrt(2)). */
static LLVMValueRef split(mvs_emit *e, LLVMValueRef x, LLVMValueRef *exponent) {
  LLVMBuilderRef b = e->builder;
  LLVMValueRef tiny = LLVMBuildFCmp(b, LLVMRealOLT, x, real(x, 0x1p-126), "");
  LLVMValueRef scaled = mvs_emit_select(e, tiny, mul(e, x, real(x, 0x1p25)), x);
  LLVMValueRef bits = mvs_emit_bitcast(e, scaled, e->i32);
  LLVMTypeRef type = LLVMTypeOf(bits);
  /* Counting from the bits of sqrt(1/2), the exponent field is the exponent wanted. */
  LLVMValueRef from = LLVMBuildSub(b, bits, mvs_emit_int(type, 0x3f3504f3), "");
  LLVMValueRef n = LLVMBuildAShr(b, from, mvs_emit_int(type, 23), "");
  LLVMValueRef field = LLVMBuildShl(b, n, mvs_emit_int(type, 23), "");
  LLVMValueRef less = mvs_emit_select(e, tiny, mvs_emit_int(type, 25), mvs_emit_int(type, 0));
  *exponent = LLVMBuildSIToFP(b, LLVMBuildSub(b, n, less, ""), LLVMTypeOf(x), "");
  return mvs_emit_bitcast(e, LLVMBuildSub(b, bits, field, ""), e->f32);
}

/* ln x = n ln 2 + ln m; ln m by a polynomial in m - 1. Below zero NaN, at zero minus
 * infinity. */
LLVMValueRef mvs_emit_log(mvs_emit *e, LLVMValueRef x) {
  static const double terms[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,
                                 -1.2420140846e-1, 1.4249322787e-1,  -1.6668057665e-1,
                                 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
  LLVMBuilderRef b = e->builder;
  LLVMValueRef n, m = split(e, x, &n);
  LLVMValueRef f = LLVMBuildFSub(b, m, real(x, 1.0), "");
  LLVMValueRef square = mul(e, f, f);
  LLVMValueRef tail = mul(e, mul(e, polynomial(e, f, terms, 9), f), square);
  tail = mvs_emit_fma(e, n, real(x, -2.12194440e-4), tail);
  tail = mvs_emit_fma(e, square, real(x, -0.5), tail);
  LLVMValueRef result = mvs_emit_fma(e, n, real(x, 0.693359375), add(e, f, tail));
  LLVMValueRef large = LLVMBuildFCmp(b, LLVMRealOEQ, x, real(x, INFINITY), "");
  LLVMValueRef zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, real(x, 0.0), "");
  LLVMValueRef valid = LLVMBuildFCmp(b, LLVMRealOGE, x, real(x, 0.0), "");
  result = mvs_emit_select(e, large, x, result);
  result = mvs_emit_select(e, zero, real(x, -INFINITY), result);
  return mvs_emit_select(e, valid, result, real(x, NAN));
}

/* sin of the reduced angle plus quadrants of pi/2. */
static LLVMValueRef sine_in(mvs_emit *e, LLVMValueRef rest, LLVMValueRef quadrant) {
  static const double sine[] = {-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1};
  static const double cosine[] = {2.443315711809948e-5, -1.388731625493765e-3,
                                  4.166664568298827e-2};
  LLVMBuilderRef b = e->builder;
  LLVMTypeRef type = LLVMTypeOf(quadrant);
  LLVMValueRef square = mul(e, rest, rest);
  LLVMValueRef sin =
      mvs_emit_fma(e, mul(e, polynomial(e, square, sine, 3), square), rest, rest);
  LLVMValueRef cos = mvs_emit_fma(e, polynomial(e, square, cosine, 3), mul(e, square, square),
                                  mvs_emit_fma(e, square, real(rest, -0.5), real(rest, 1.0)));
  LLVMValueRef odd = LLVMBuildTrunc(b, quadrant, mvs_emit_like(e->i1, type), "");
  LLVMValueRef bits = mvs_emit_bitcast(e, mvs_emit_select(e, odd, cos, sin), e->i32);
  LLVMValueRef half = LLVMBuildAnd(b, quadrant, mvs_emit_int(type, 2), "");
  LLVMValueRef sign = LLVMBuildShl(b, half, mvs_emit_int(type, 30), "");
  return mvs_emit_bitcast(e, LLVMBuildXor(b, bits, sign, ""), e->f32);
}

LLVMValueRef mvs_emit_sin(mvs_emit *e, LLVMValueRef x) {
  LLVMValueRef quadrant, rest = mvs_emit_angle(e, x, false, &quadrant);
  return sine_in(e, rest, quadrant);
}

/* The sine a quadrant on. */
static LLVMValueRef cosine(mvs_emit *e, LLVMValueRef x, bool is_near) {
  LLVMValueRef quadrant, rest = mvs_emit_angle(e, x, is_near, &quadrant);
  LLVMValueRef one = mvs_emit_int(LLVMTypeOf(quadrant), 1);
  return sine_in(e, rest, LLVMBuildAdd(e->builder, quadrant, one, ""));
}

LLVMValueRef mvs_emit_cos(mvs_emit *e, LLVMValueRef x) { return cosine(e, x, false); }

LLVMValueRef mvs_emit_cos_near(mvs_emit *e, LLVMValueRef x) { return cosine(e, x, true); }

/* Odd polynomial near 0, where the exponential form would cancel; 1 - 2 / (e^2x + 1)
 * elsewhere. */
LLVMValueRef mvs_emit_tanh(mvs_emit *e, LLVMValueRef x) {
  static const double terms[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2,
                                 1.33314422036e-1, -3.33332819422e-1};
  LLVMBuilderRef b = e->builder;
  LLVMValueRef size = mvs_emit_unary(e, "llvm.fabs", x);
  LLVMValueRef square = mul(e, x, x);
  LLVMValueRef near = mvs_emit_fma(e, mul(e, polynomial(e, square, terms, 5), square), x, x);
  LLVMValueRef power = mvs_emit_exp(e, add(e, size, size));
  LLVMValueRef part = LLVMBuildFDiv(b, real(x, 2.0), add(e, power, real(x, 1.0)), "");
  LLVMValueRef far = LLVMBuildFSub(b, real(x, 1.0), part, "");
  LLVMValueRef signs[2] = {far, x};
  far = mvs_emit_intrinsic(e, "llvm.copysign", LLVMTypeOf(x), signs, 2);
  LLVMValueRef small = LLVMBuildFCmp(b, LLVMRealOLT, size, real(x, 0.625), "");
  return mvs_emit_select(e, small, near, far);
}

/* Computed from e^-|x|, which cannot overflow. */
LLVMValueRef mvs_emit_sigmoid(mvs_emit *e, LLVMValueRef x) {
  LLVMBuilderRef b = e->builder;
  LLVMValueRef one = real(x, 1.0);
  LLVMValueRef size = mvs_emit_unary(e, "llvm.fabs", x);
  LLVMValueRef power = mvs_emit_exp_below(e, LLVMBuildFNeg(b, size, ""));
  LLVMValueRef above = LLVMBuildFCmp(b, LLVMRealOGE, x, real(x, 0.0), "");
  /* e^x / (1 + e^x) below zero: 1 / (1 + e^-x) would be 0 where the result is subnormal. */
  LLVMValueRef top = mvs_emit_select(e, above, one, power);
  LLVMValueRef quotient = LLVMBuildFDiv(b, top, add(e, power, one), "");
  /* One step of refinement: the rounded sum and quotient alone cost 1.4 ulp. Taken without the
   * sum, what the quotient lacks is rounded once, since it lies between top / 2 and top; of
   * 1 / sum a line through 0.94 and 0.47, good to 6 %, is enough. */
  LLVMValueRef minus = LLVMBuildFNeg(b, quotient, "");
  LLVMValueRef error = mvs_emit_fma(e, minus, power, add(e, top, minus));
  LLVMValueRef reciprocal = mvs_emit_fma(e, power, real(x, -8.0 / 17), real(x, 16.0 / 17));
  return mvs_emit_fma(e, error, reciprocal, quotient);
}
