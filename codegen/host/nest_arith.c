/* nest_arith.c: one ARITH or RANDOM instruction as IR, on scalars or vectors.
 *
 * A function per group of ops; each returns NULL for an op that is not its own, and the next
 * is asked. Arguments may mix scalars with vectors and dtypes with one another: they are
 * first brought to one shape and to the dtype that the op computes in, the result is
 * converted to the instruction's. An op that no group knows is reported through e->error,
 * since the caller has no use for half a kernel. */
#include "codegen/host/math.h"
#include "codegen/host/nest.h"

/* The type of one lane. */
static LLVMTypeRef scalar_type(LLVMValueRef value) {
  LLVMTypeRef type = LLVMTypeOf(value);
  return mvs_is_vector(type) ? LLVMGetElementType(type) : type;
}

/* bf16 is no dtype of a value here: rounding to it is an instruction of its own (cast). */
LLVMValueRef mvs_nest_convert(mvs_emit *e, LLVMValueRef value, mvs_dtype to) {
  LLVMTypeRef from = scalar_type(value), want = mvs_emit_type(e, to);
  LLVMTypeRef type = mvs_emit_like(want, LLVMTypeOf(value));
  if (from == want) return value;
  if (from == e->i32) return LLVMBuildSIToFP(e->builder, value, type, "");
  if (want == e->i32) {
    return mvs_emit_intrinsic2(e, "llvm.fptosi.sat", type, LLVMTypeOf(value), &value, 1);
  }
  return want == e->f64 ? LLVMBuildFPExt(e->builder, value, type, "")
                        : LLVMBuildFPTrunc(e->builder, value, type, "");
}

/* 1 or 0 in the wanted dtype: comparisons have number results in the kernel form. */
static LLVMValueRef truth(mvs_emit *e, LLVMValueRef condition, mvs_dtype dtype) {
  LLVMTypeRef type = mvs_emit_like(mvs_emit_type(e, dtype), LLVMTypeOf(condition));
  if (dtype == MVS_I32) return LLVMBuildZExt(e->builder, condition, type, "");
  return mvs_emit_select(e, condition, mvs_emit_real(type, 1), mvs_emit_real(type, 0));
}

/* Truncating division; through f64, where every i32 quotient is exact enough to truncate right
 * and nothing traps. By zero: 0 for 0, else the largest or smallest i32. */
static LLVMValueRef integer_division(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef quotient = LLVMBuildFDiv(e->builder, mvs_nest_convert(e, a, MVS_F64),
                                        mvs_nest_convert(e, b, MVS_F64), "");
  return mvs_nest_convert(e, quotient, MVS_I32);
}

/* Wraps around like two's complement; nothing traps. */
static LLVMValueRef integer_op(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a) {
  LLVMBuilderRef b = e->builder;
  switch (instr->op) {
    case MVS_OP_neg:
      return LLVMBuildNeg(b, a[0], "");
    case MVS_OP_abs: {
      LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a[0]));
      LLVMValueRef below = LLVMBuildICmp(b, LLVMIntSLT, a[0], zero, "");
      return mvs_emit_select(e, below, LLVMBuildNeg(b, a[0], ""), a[0]);
    }
    case MVS_OP_floor:
      return a[0];
    case MVS_OP_add:
      return LLVMBuildAdd(b, a[0], a[1], "");
    case MVS_OP_sub:
      return LLVMBuildSub(b, a[0], a[1], "");
    case MVS_OP_mul:
      return LLVMBuildMul(b, a[0], a[1], "");
    case MVS_OP_fma:
      return LLVMBuildAdd(b, LLVMBuildMul(b, a[0], a[1], ""), a[2], "");
    case MVS_OP_div:
      return integer_division(e, a[0], a[1]);
    case MVS_OP_max:
      return mvs_emit_greater(e, a[0], a[1]);
    case MVS_OP_min:
      return mvs_emit_lesser(e, a[0], a[1]);
    default:
      return NULL;
  }
}

/* f32 and f64. max and min are what maxps and minps do: the second argument where either is
 * NaN. */
static LLVMValueRef real_op(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a) {
  LLVMBuilderRef b = e->builder;
  switch (instr->op) {
    case MVS_OP_neg:
      return LLVMBuildFNeg(b, a[0], "");
    case MVS_OP_abs:
      return mvs_emit_unary(e, "llvm.fabs", a[0]);
    case MVS_OP_floor:
      return mvs_emit_unary(e, "llvm.floor", a[0]);
    case MVS_OP_sqrt:
      return mvs_emit_unary(e, "llvm.sqrt", a[0]);
    case MVS_OP_rsqrt:
      return LLVMBuildFDiv(b, mvs_emit_real(LLVMTypeOf(a[0]), 1),
                           mvs_emit_unary(e, "llvm.sqrt", a[0]), "");
    case MVS_OP_add:
      return LLVMBuildFAdd(b, a[0], a[1], "");
    case MVS_OP_sub:
      return LLVMBuildFSub(b, a[0], a[1], "");
    case MVS_OP_mul:
      return LLVMBuildFMul(b, a[0], a[1], "");
    case MVS_OP_div:
      return LLVMBuildFDiv(b, a[0], a[1], "");
    case MVS_OP_fma:
      return mvs_emit_fma(e, a[0], a[1], a[2]);
    case MVS_OP_max:
      return mvs_emit_greater(e, a[0], a[1]);
    case MVS_OP_min:
      return mvs_emit_lesser(e, a[0], a[1]);
    default:
      return NULL;
  }
}

/* Polynomials exist for f32 alone. */
static LLVMValueRef transcendental(mvs_emit *e, const mvs_instr *instr, LLVMValueRef a) {
  if (scalar_type(a) != e->f32) return NULL;
  switch (instr->op) {
    case MVS_OP_exp:
      return mvs_emit_exp(e, a);
    case MVS_OP_log:
      return mvs_emit_log(e, a);
    case MVS_OP_sin:
      return mvs_emit_sin(e, a);
    case MVS_OP_cos:
      return mvs_emit_cos(e, a);
    case MVS_OP_tanh:
      return mvs_emit_tanh(e, a);
    case MVS_OP_sigmoid:
      return mvs_emit_sigmoid(e, a);
    default:
      return NULL;
  }
}

/* Ordered: anything against NaN is false. */
static LLVMValueRef compare(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a) {
  bool less = instr->op == MVS_OP_less;
  LLVMValueRef condition =
      scalar_type(a[0]) == e->i32
          ? LLVMBuildICmp(e->builder, less ? LLVMIntSLT : LLVMIntEQ, a[0], a[1], "")
          : LLVMBuildFCmp(e->builder, less ? LLVMRealOLT : LLVMRealOEQ, a[0], a[1], "");
  return truth(e, condition, instr->dtype);
}

/* Everything but zero counts as true, NaN too. */
static LLVMValueRef choose(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a) {
  LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a[0]));
  LLVMValueRef condition = scalar_type(a[0]) == e->i32
                               ? LLVMBuildICmp(e->builder, LLVMIntNE, a[0], zero, "")
                               : LLVMBuildFCmp(e->builder, LLVMRealUNE, a[0], zero, "");
  return mvs_emit_select(e, condition, mvs_nest_convert(e, a[1], instr->dtype),
                         mvs_nest_convert(e, a[2], instr->dtype));
}

/* To bf16 the value stays an f32 that is exact in bf16; the store knows and cuts it off. */
static LLVMValueRef cast(mvs_emit *e, const mvs_instr *instr, LLVMValueRef a) {
  if (instr->to != MVS_BF16) return mvs_nest_convert(e, a, instr->to);
  return mvs_emit_round_bf16(e, mvs_nest_convert(e, a, MVS_F32));
}

/* The dtype that an op computes in: f64 when anything is, i32 when all are, else f32. */
static mvs_dtype computes_in(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a, int count) {
  bool integers = true;
  for (int i = 0; i < count; ++i) {
    if (scalar_type(a[i]) == e->f64) return MVS_F64;
    if (scalar_type(a[i]) != e->i32) integers = false;
  }
  bool truth_value = instr->op == MVS_OP_less || instr->op == MVS_OP_equal;
  if (integers && (instr->dtype == MVS_I32 || truth_value)) return MVS_I32;
  return instr->dtype == MVS_F64 && !truth_value ? MVS_F64 : MVS_F32;
}

/* Scalars become vectors as soon as one argument is a vector. */
static void same_shape(mvs_emit *e, LLVMValueRef *a, int count) {
  bool vector = false;
  for (int i = 0; i < count; ++i) vector |= mvs_is_vector(LLVMTypeOf(a[i]));
  for (int i = 0; vector && i < count; ++i) a[i] = mvs_emit_widen(e, a[i]);
}

/* NULL when no group has the op. */
static LLVMValueRef element_op(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *a,
                               int count) {
  if (instr->op == MVS_OP_cast) return cast(e, instr, a[0]);
  if (instr->op == MVS_OP_select) return choose(e, instr, a);
  mvs_dtype dtype = computes_in(e, instr, a, count);
  for (int i = 0; i < count; ++i) a[i] = mvs_nest_convert(e, a[i], dtype);
  if (instr->op == MVS_OP_less || instr->op == MVS_OP_equal) return compare(e, instr, a);
  LLVMValueRef value = dtype == MVS_I32 ? integer_op(e, instr, a) : real_op(e, instr, a);
  if (!value) value = transcendental(e, instr, a[0]);
  return value ? mvs_nest_convert(e, value, instr->dtype) : NULL;
}

LLVMValueRef mvs_nest_arith(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *arguments,
                            int count) {
  same_shape(e, arguments, count);
  if (instr->kind == MVS_INSTR_RANDOM) {
    return mvs_emit_random(e, instr->random, instr->stream, arguments[0], arguments[1],
                           arguments[2], arguments[3]);
  }
  LLVMValueRef value = element_op(e, instr, arguments, count);
  if (value) return value;
  e->error = mvs_arena_format(e->arena, "%s of %s has no host form", mvs_ops[instr->op].name,
                              mvs_dtype_name(instr->dtype));
  LLVMTypeRef type = mvs_emit_like(mvs_emit_type(e, instr->dtype), LLVMTypeOf(arguments[0]));
  return LLVMConstNull(type);
}
