/* emit.h: short words for building LLVM IR, shared by the files of the host printer.
 * A value is a scalar or a vector of MVS_LANES; the arithmetic helpers work on both, so a
 * formula is written once. Loop-carried values are variables (stack slots that sroa turns into
 * registers). Owner: the emitter owns nothing; the context and module belong to target.c. */
#ifndef MVS_HOST_EMIT_H
#define MVS_HOST_EMIT_H

#include <llvm-c/Core.h>

#include "codegen/kernel.h"
#include "compiler/base/processor.h"

/* Lanes of every vector, whatever the instruction set: reductions must not depend on it. */
#define MVS_LANES 16

typedef struct mvs_emit {
  mvs_arena *arena;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
  mvs_cpu_level level;   /* of the functions being written: mvs_emit_level */
  bool avx512;           /* 32 registers of 512 bits; else 16 of 256 */
  LLVMValueRef function; /* the one being written */
  LLVMTypeRef i1, i16, i32, i64, f32, f64, ptr;
  const char *error; /* the first thing that could not be printed, or NULL */
} mvs_emit;

/* --- types and constants --- */
/* The type of a computed value of that dtype (bf16 computes as f32). */
LLVMTypeRef mvs_emit_type(const mvs_emit *e, mvs_dtype dtype);
/* The type of a stored element: bf16 is i16. */
LLVMTypeRef mvs_emit_storage(const mvs_emit *e, mvs_dtype dtype);
/* MVS_LANES of a scalar type. */
LLVMTypeRef mvs_emit_vector(LLVMTypeRef scalar);
/* Says whether a type is a vector. */
bool mvs_is_vector(LLVMTypeRef type);
/* `scalar` in the shape of `type`: itself or a vector. */
LLVMTypeRef mvs_emit_like(LLVMTypeRef scalar, LLVMTypeRef type);
/* A constant of `type`, the same in all lanes. */
LLVMValueRef mvs_emit_real(LLVMTypeRef type, double value);
/* The same for integer types, of any width. */
LLVMValueRef mvs_emit_int(LLVMTypeRef type, int64_t value);
/* A constant index, offset or extent. */
LLVMValueRef mvs_emit_i64(const mvs_emit *e, int64_t value);

/* --- functions --- */
/* Functions written from here on are for that instruction set. A module holds those of several;
 * shared functions are written once for each. */
void mvs_emit_level(mvs_emit *e, mvs_cpu_level level);
/* A function's name at the present level: levels must not share symbols. */
const char *mvs_emit_name(const mvs_emit *e, const char *name);
/* Starts a function with the attributes of this target and an entry block. */
LLVMValueRef mvs_emit_function(mvs_emit *e, const char *name, LLVMTypeRef type, bool exported);
/* Writes the body of a function that has the caller's `self` and these parameters. */
typedef void mvs_emit_body(void *self, LLVMValueRef *parameters);
/* The function of that name, which several kernels share: written when first asked for. What is
 * being written goes on behind it. Parameters are at most MVS_SHARED_PARAMETERS. */
#define MVS_SHARED_PARAMETERS 16
LLVMValueRef mvs_emit_shared(mvs_emit *e, const char *name, LLVMTypeRef type,
                             mvs_emit_body *write, void *self);
/* A function type without result. */
LLVMTypeRef mvs_emit_signature(const mvs_emit *e, LLVMTypeRef *parameters, int count);
/* Calls a function of this module that has no result. */
void mvs_emit_call(mvs_emit *e, LLVMValueRef function, LLVMValueRef *arguments, int count);
/* Calls an intrinsic overloaded on one type. */
LLVMValueRef mvs_emit_intrinsic(mvs_emit *e, const char *name, LLVMTypeRef type,
                                LLVMValueRef *arguments, int count);
/* Calls an intrinsic overloaded on two types (result and argument, vector and pointer). */
LLVMValueRef mvs_emit_intrinsic2(mvs_emit *e, const char *name, LLVMTypeRef first,
                                 LLVMTypeRef second, LLVMValueRef *arguments, int count);
/* Calls an intrinsic that has one form; without result it gives nothing to use. */
LLVMValueRef mvs_emit_plain(mvs_emit *e, const char *name, LLVMValueRef *arguments, int count);
/* Calls an intrinsic whose one argument has the type of its result. */
LLVMValueRef mvs_emit_unary(mvs_emit *e, const char *name, LLVMValueRef a);
/* a * 2^floor(b) for vectors of f32, rounded once; on AVX-512 alone. */
LLVMValueRef mvs_emit_scalef(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* b - floor(b), exactly, and 0 for infinities; on AVX-512 alone. */
LLVMValueRef mvs_emit_fraction(mvs_emit *e, LLVMValueRef b);
/* a * b + c, rounded once. */
LLVMValueRef mvs_emit_fma(mvs_emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);

/* --- values --- */
/* A scalar in all lanes. */
LLVMValueRef mvs_emit_splat(mvs_emit *e, LLVMValueRef scalar);
/* The value as a vector: splat when it is a scalar. */
LLVMValueRef mvs_emit_widen(mvs_emit *e, LLVMValueRef value);
/* 0, 1, .. 15 of a scalar integer type. */
LLVMValueRef mvs_emit_lanes(LLVMTypeRef scalar);
/* Lane by lane: condition ? yes : no. */
LLVMValueRef mvs_emit_select(mvs_emit *e, LLVMValueRef condition, LLVMValueRef yes,
                             LLVMValueRef no);
/* The same bits as lanes of another scalar type of the same width. */
LLVMValueRef mvs_emit_bitcast(mvs_emit *e, LLVMValueRef value, LLVMTypeRef scalar);
/* a > b ? a : b, for all types: what maxps does. */
LLVMValueRef mvs_emit_greater(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* a < b ? a : b, for all types: what minps does. */
LLVMValueRef mvs_emit_lesser(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* f32 rounded to the nearest bf16 (ties to even, NaN kept), still f32. */
LLVMValueRef mvs_emit_round_bf16(mvs_emit *e, LLVMValueRef value);
/* Two vectors of f32 as 32 bf16, `first` before `second`, by the processor's own conversion (an
 * f32 below 2^-126 becomes zero): 16 places of 32 bits. From MVS_CPU_BF16 on. */
LLVMValueRef mvs_emit_bf16_places(mvs_emit *e, LLVMValueRef first, LLVMValueRef second);
/* Folds 16 lanes as 8, 4, 2, 1 with `add` or the greater of two. */
LLVMValueRef mvs_emit_fold(mvs_emit *e, LLVMValueRef vector, bool maximum);
/* Whether a condition holds, in any lane of a vector of them, as an i1. */
LLVMValueRef mvs_emit_any(mvs_emit *e, LLVMValueRef condition);
/* Lanes i with base + i < end, as <16 x i1>; base and end i64. */
LLVMValueRef mvs_emit_mask(mvs_emit *e, LLVMValueRef base, LLVMValueRef end);
/* A mask whose first `count` lanes are set (a constant). */
LLVMValueRef mvs_emit_first_lanes(const mvs_emit *e, int count);

/* --- memory; addresses count elements --- */
/* The address of element `index` of an array. */
LLVMValueRef mvs_emit_at(mvs_emit *e, LLVMTypeRef element, LLVMValueRef base,
                         LLVMValueRef index);
/* Loads one element; bf16 becomes f32. */
LLVMValueRef mvs_emit_load(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address);
/* Loads 16 neighbours. mask: NULL, or set in its first lanes only; lanes that are off are 0. */
LLVMValueRef mvs_emit_load_vector(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address,
                                  LLVMValueRef mask);
/* Loads 16 elements `stride` apart. */
LLVMValueRef mvs_emit_gather(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, int64_t stride,
                             LLVMValueRef mask);
/* Stores a scalar or a vector; `rounded` says that an f32 is already a bf16. */
void mvs_emit_store(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, LLVMValueRef value,
                    LLVMValueRef mask, bool rounded);
/* Stores 16 elements `stride` apart. */
void mvs_emit_scatter(mvs_emit *e, mvs_dtype dtype, LLVMValueRef address, int64_t stride,
                      LLVMValueRef value, LLVMValueRef mask, bool rounded);

/* --- control --- */
/* A variable: a stack slot made in the entry block. */
LLVMValueRef mvs_emit_variable(mvs_emit *e, LLVMTypeRef type);
/* The present value of a variable. */
LLVMValueRef mvs_emit_get(mvs_emit *e, LLVMValueRef variable);
/* Gives a variable its next value. */
void mvs_emit_set(mvs_emit *e, LLVMValueRef variable, LLVMValueRef value);

/* for (index = from; index < to; index += step), indices i64. */
typedef struct mvs_loop {
  LLVMValueRef index, to, step;
  LLVMBasicBlockRef body, exit;
} mvs_loop;
/* Opens the loop: what is emitted until mvs_emit_loop_end is its body. */
mvs_loop mvs_emit_loop(mvs_emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step);
/* Closes the loop. */
void mvs_emit_loop_end(mvs_emit *e, mvs_loop *loop);

/* if (condition) { ... } */
typedef struct mvs_branch {
  LLVMBasicBlockRef exit;
} mvs_branch;
/* Opens the branch: what is emitted until mvs_emit_if_end is conditional. */
mvs_branch mvs_emit_if(mvs_emit *e, LLVMValueRef condition);
/* Closes the branch. */
void mvs_emit_if_end(mvs_emit *e, mvs_branch *branch);

/* a + b of i64. */
LLVMValueRef mvs_emit_add(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* a * b of i64. */
LLVMValueRef mvs_emit_mul(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* a * b of i64 with a constant b. */
LLVMValueRef mvs_emit_times(mvs_emit *e, LLVMValueRef a, int64_t b);
/* a < b of i64. */
LLVMValueRef mvs_emit_less(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* The smaller of two i64. */
LLVMValueRef mvs_emit_smaller(mvs_emit *e, LLVMValueRef a, LLVMValueRef b);
/* ceil(a / b) for a >= 0 and a constant b. */
LLVMValueRef mvs_emit_ceil_div(mvs_emit *e, LLVMValueRef a, int64_t b);

/* --- the calling convention of program.h --- */
/* The parameters and loaded fields of a kernel function. */
typedef struct mvs_entry {
  LLVMValueRef call, begin, end; /* parameters */
  LLVMValueRef operands, batch, layer, scratch, before, behind;
} mvs_entry;
/* Starts an exported kernel function and loads the fields of its call. */
mvs_entry mvs_emit_entry(mvs_emit *e, const char *symbol);
/* Loads the pointer of an operand. Operands are not noalias: a kernel may update one in place
 * (adamw, accumulate), and with vectors written out there is nothing left for LLVM to gain from
 * it. */
LLVMValueRef mvs_emit_operand(mvs_emit *e, const mvs_entry *entry, int index);
/* An extent as i64: constant, or times the batch. */
LLVMValueRef mvs_emit_extent(mvs_emit *e, const mvs_entry *entry, mvs_dim dim);
/* The rows that the call has left of `rows`, and the first of them in *first. */
LLVMValueRef mvs_emit_rows_left(mvs_emit *e, const mvs_entry *entry, LLVMValueRef rows,
                                LLVMValueRef *first);
/* The pointer `bytes` into this thread's scratch. */
LLVMValueRef mvs_emit_scratch(mvs_emit *e, const mvs_entry *entry, int64_t bytes);

#endif
