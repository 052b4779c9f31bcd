/* math.h: elementary functions as polynomials in IR, on f32 scalars and vectors alike, with the
 * same bits on every instruction set. No libm call, no estimate instruction, no contraction.
 * Errors are the largest seen over all floats of the range (tests/unit/test_host_math.c). */
#ifndef MVS_HOST_MATH_H
#define MVS_HOST_MATH_H

#include "codegen/host/emit.h"

/* e^x, at most 2 ulp; 0 below -104, infinity above 88.73, NaN kept. */
LLVMValueRef mvs_emit_exp(mvs_emit *e, LLVMValueRef x);
/* The same for NaN and x below 89, as where a maximum has been taken away: one step less. */
LLVMValueRef mvs_emit_exp_below(mvs_emit *e, LLVMValueRef x);
/* 2^x of vectors within 2^-22 of it, 0 at -infinity, NaN kept; on AVX-512 alone. */
LLVMValueRef mvs_emit_power(mvs_emit *e, LLVMValueRef x);
/* Natural logarithm, at most 2 ulp, subnormals included; -infinity at 0, NaN below. */
LLVMValueRef mvs_emit_log(mvs_emit *e, LLVMValueRef x);
/* At most 2 ulp for all x; slower where some lane is beyond 1e4. NaN at infinity. */
LLVMValueRef mvs_emit_sin(mvs_emit *e, LLVMValueRef x);
/* As mvs_emit_sin. */
LLVMValueRef mvs_emit_cos(mvs_emit *e, LLVMValueRef x);
/* The same for |x| <= 1e4 alone, without the branch. */
LLVMValueRef mvs_emit_cos_near(mvs_emit *e, LLVMValueRef x);
/* At most 2 ulp. */
LLVMValueRef mvs_emit_tanh(mvs_emit *e, LLVMValueRef x);
/* 1 / (1 + e^-x), at most 2 ulp, subnormal results included. */
LLVMValueRef mvs_emit_sigmoid(mvs_emit *e, LLVMValueRef x);

/* Parts of the above: x * factor rounded to an integer, as f32 in *rounded and as the i32
 * returned, for results below 2^22. */
LLVMValueRef mvs_emit_nearest(mvs_emit *e, LLVMValueRef x, double factor,
                              LLVMValueRef *rounded);
/* x less the nearest multiple of pi/2, whose number is *quadrant (i32, right modulo 4).
 * `is_near` says that |x| is at most 1e4. */
LLVMValueRef mvs_emit_angle(mvs_emit *e, LLVMValueRef x, bool is_near, LLVMValueRef *quadrant);

/* Philox-4x32-10 with key {seed, stream} and counter {position, sample, step, 0}, as uniform
 * ((word0 >> 8) + 0.5) * 2^-24 or normal sqrt(-2 ln u1) cos(2 pi u2) from words 0 and 1, all in
 * f32. The arguments are i32 of one shape. */
LLVMValueRef mvs_emit_random(mvs_emit *e, mvs_random_kind kind, uint32_t stream,
                             LLVMValueRef seed, LLVMValueRef step, LLVMValueRef sample,
                             LLVMValueRef position);

#endif
