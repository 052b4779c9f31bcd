/* philox.c: Philox-4x32-10 (Salmon et al., 2011), 16 counters at a time: a lane is an
 * element, so its number depends on the counter alone and never on how the nest is divided.
 * runtime/random.c is the scalar twin for initial values and sampling noise;
 * docs/numerics.md#random-numbers is the contract of both. */
#include "codegen/host/math.h"

#define ROUNDS 10

/* The high and low words of a * b, 32 bits each. */
static void wide_multiply(mvs_emit *e, LLVMValueRef a, uint32_t factor, LLVMValueRef *high,
                          LLVMValueRef *low) {
  LLVMTypeRef narrow = LLVMTypeOf(a), wide = mvs_emit_like(e->i64, narrow);
  LLVMValueRef product = LLVMBuildMul(e->builder, LLVMBuildZExt(e->builder, a, wide, ""),
                                      mvs_emit_int(wide, factor), "");
  *low = LLVMBuildTrunc(e->builder, product, narrow, "");
  LLVMValueRef upper = LLVMBuildLShr(e->builder, product, mvs_emit_int(wide, 32), "");
  *high = LLVMBuildTrunc(e->builder, upper, narrow, "");
}

/* a ^ b ^ c. */
static LLVMValueRef xor3(mvs_emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  return LLVMBuildXor(e->builder, LLVMBuildXor(e->builder, a, b, ""), c, "");
}

/* Ten rounds in place: counter becomes the four random words, key is used up. */
static void philox(mvs_emit *e, LLVMValueRef counter[4], LLVMValueRef key[2]) {
  LLVMTypeRef type = LLVMTypeOf(counter[0]);
  for (int round = 0; round < ROUNDS; ++round) {
    LLVMValueRef high0, low0, high1, low1;
    wide_multiply(e, counter[0], 0xD2511F53u, &high0, &low0);
    wide_multiply(e, counter[2], 0xCD9E8D57u, &high1, &low1);
    counter[0] = xor3(e, high1, counter[1], key[0]);
    counter[1] = low1;
    counter[2] = xor3(e, high0, counter[3], key[1]);
    counter[3] = low0;
    key[0] = LLVMBuildAdd(e->builder, key[0], mvs_emit_int(type, (int32_t)0x9E3779B9u), "");
    key[1] = LLVMBuildAdd(e->builder, key[1], mvs_emit_int(type, (int32_t)0xBB67AE85u), "");
  }
}

/* ((word >> 8) + 0.5) * 2^-24; the sum rounds to f32, so the largest result is 1. */
static LLVMValueRef uniform(mvs_emit *e, LLVMValueRef word) {
  LLVMTypeRef type = LLVMTypeOf(word), real = mvs_emit_like(e->f32, type);
  LLVMValueRef top = LLVMBuildLShr(e->builder, word, mvs_emit_int(type, 8), "");
  LLVMValueRef whole = LLVMBuildSIToFP(e->builder, top, real, "");
  LLVMValueRef middle = LLVMBuildFAdd(e->builder, whole, mvs_emit_real(real, 0.5), "");
  return LLVMBuildFMul(e->builder, middle, mvs_emit_real(real, 0x1p-24), "");
}

LLVMValueRef mvs_emit_random(mvs_emit *e, mvs_random_kind kind, uint32_t stream,
                             LLVMValueRef seed, LLVMValueRef step, LLVMValueRef sample,
                             LLVMValueRef position) {
  LLVMTypeRef type = LLVMTypeOf(position);
  LLVMValueRef counter[4] = {position, sample, step, mvs_emit_int(type, 0)};
  LLVMValueRef key[2] = {seed, mvs_emit_int(type, (int32_t)stream)};
  philox(e, counter, key);
  LLVMValueRef first = uniform(e, counter[0]);
  if (kind == MVS_RANDOM_UNIFORM) return first;
  LLVMTypeRef real = LLVMTypeOf(first);
  LLVMValueRef scaled =
      LLVMBuildFMul(e->builder, mvs_emit_log(e, first), mvs_emit_real(real, -2.0), "");
  LLVMValueRef radius = mvs_emit_unary(e, "llvm.sqrt", scaled);
  LLVMValueRef angle = LLVMBuildFMul(e->builder, uniform(e, counter[1]),
                                     mvs_emit_real(real, 6.28318530717958648), "");
  return LLVMBuildFMul(e->builder, radius, mvs_emit_cos_near(e, angle), "");
}
