/* emit.c: types, constants, functions, control and the calling convention.
 *
 * Thin words over the LLVM C API. Two conventions hold everywhere: a loop's body and a
 * branch stand in blocks placed behind one another in source order, so that dumps read from
 * top to bottom; and a variable is a stack slot in the entry block, which LLVM's sroa turns
 * into registers, so that no file here has to build phi nodes except the loop counter's.
 * Signed arithmetic on indices carries NSW: sizes were checked against 64 bits before any
 * kernel runs. */
#include "codegen/host/emit.h"

#include <assert.h>

#include "codegen/program.h"

/* --- types and constants --- */

LLVMTypeRef mvs_emit_type(const mvs_emit *e, mvs_dtype dtype) {
  if (dtype == MVS_F64) return e->f64;
  return dtype == MVS_I32 ? e->i32 : e->f32;
}

LLVMTypeRef mvs_emit_storage(const mvs_emit *e, mvs_dtype dtype) {
  return dtype == MVS_BF16 ? e->i16 : mvs_emit_type(e, dtype);
}

LLVMTypeRef mvs_emit_vector(LLVMTypeRef scalar) { return LLVMVectorType(scalar, MVS_LANES); }

bool mvs_is_vector(LLVMTypeRef type) { return LLVMGetTypeKind(type) == LLVMVectorTypeKind; }

LLVMTypeRef mvs_emit_like(LLVMTypeRef scalar, LLVMTypeRef type) {
  return mvs_is_vector(type) ? mvs_emit_vector(scalar) : scalar;
}

/* A constant for `type`: the scalar itself, or a vector of MVS_LANES copies. */
static LLVMValueRef in_all_lanes(LLVMTypeRef type, LLVMValueRef one) {
  if (!mvs_is_vector(type)) return one;
  LLVMValueRef lanes[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) lanes[i] = one;
  return LLVMConstVector(lanes, MVS_LANES);
}

/* The element type of a vector, or the type itself. */
static LLVMTypeRef scalar_of(LLVMTypeRef type) {
  return mvs_is_vector(type) ? LLVMGetElementType(type) : type;
}

LLVMValueRef mvs_emit_real(LLVMTypeRef type, double value) {
  return in_all_lanes(type, LLVMConstReal(scalar_of(type), value));
}

LLVMValueRef mvs_emit_int(LLVMTypeRef type, int64_t value) {
  return in_all_lanes(type, LLVMConstInt(scalar_of(type), (unsigned long long)value, true));
}

LLVMValueRef mvs_emit_i64(const mvs_emit *e, int64_t value) {
  return mvs_emit_int(e->i64, value);
}

/* --- functions --- */

/* LLVM keeps target settings as pairs of strings on each function. */
static void add_text_attribute(mvs_emit *e, LLVMValueRef function, const char *key,
                               const char *value) {
  LLVMAttributeRef attribute = LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key),
                                                         value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

/* Attributes that LLVM knows by number; 0 is their (unused) value. */
static void add_flag_attribute(mvs_emit *e, LLVMValueRef function, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(e->context, kind, 0));
}

/* What LLVM calls the levels, and the ends of our symbols. */
static const struct level {
  const char *cpu, *features, *suffix;
} levels[] = {{"x86-64-v3", "", "v3"},
              {"x86-64-v4", "", "v4"},
              {"x86-64-v4", "+avx512bf16", "bf16"},
              {"x86-64-v4", "+avx512bf16,+amx-tile,+amx-bf16", "amx"}};

void mvs_emit_level(mvs_emit *e, mvs_cpu_level level) {
  e->level = level;
  e->avx512 = level >= MVS_CPU_V4;
}

const char *mvs_emit_name(const mvs_emit *e, const char *name) {
  return mvs_arena_format(e->arena, "%s_%s", name, levels[e->level].suffix);
}

LLVMValueRef mvs_emit_function(mvs_emit *e, const char *name, LLVMTypeRef type, bool exported) {
  LLVMValueRef function = LLVMAddFunction(e->module, mvs_emit_name(e, name), type);
  LLVMSetLinkage(function, exported ? LLVMExternalLinkage : LLVMInternalLinkage);
  add_text_attribute(e, function, "target-cpu", levels[e->level].cpu);
  if (*levels[e->level].features)
    add_text_attribute(e, function, "target-features", levels[e->level].features);
  add_text_attribute(e, function, "prefer-vector-width", e->avx512 ? "512" : "256");
  /* The code must call nothing outside itself: no memset or memcpy made from loops. */
  add_text_attribute(e, function, "no-builtins", "");
  add_flag_attribute(e, function, "nounwind");
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, function, "entry");
  LLVMPositionBuilderAtEnd(e->builder, entry);
  e->function = function;
  return function;
}

LLVMTypeRef mvs_emit_signature(const mvs_emit *e, LLVMTypeRef *parameters, int count) {
  LLVMTypeRef none = LLVMVoidTypeInContext(e->context);
  return LLVMFunctionType(none, parameters, (unsigned)count, false);
}

/* The builder is moved into the new function, so the caller's place must be kept and
 * restored; a body may ask for shared functions of its own. */
LLVMValueRef mvs_emit_shared(mvs_emit *e, const char *name, LLVMTypeRef type,
                             mvs_emit_body *write, void *self) {
  LLVMValueRef there = LLVMGetNamedFunction(e->module, mvs_emit_name(e, name));
  if (there) return there;
  LLVMValueRef before = e->function, parameters[MVS_SHARED_PARAMETERS];
  LLVMBasicBlockRef block = LLVMGetInsertBlock(e->builder);
  LLVMValueRef function = mvs_emit_function(e, name, type, false);
  assert(LLVMCountParams(function) <= MVS_SHARED_PARAMETERS);
  LLVMGetParams(function, parameters);
  write(self, parameters);
  LLVMBuildRetVoid(e->builder);
  e->function = before;
  if (block) LLVMPositionBuilderAtEnd(e->builder, block);
  return function;
}

/* Functions of this module have no result: they write through their pointers. */
void mvs_emit_call(mvs_emit *e, LLVMValueRef function, LLVMValueRef *arguments, int count) {
  LLVMTypeRef type = LLVMGlobalGetValueType(function);
  LLVMBuildCall2(e->builder, type, function, arguments, (unsigned)count, "");
}

/* `types` are those that the intrinsic's name is overloaded on; a name that LLVM does not know
 * is our own mistake. */
static LLVMValueRef call_intrinsic(mvs_emit *e, const char *name, LLVMTypeRef *types,
                                   size_t overloads, LLVMValueRef *arguments, int count) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, types, overloads);
  LLVMTypeRef signature = LLVMIntrinsicGetType(e->context, id, types, overloads);
  return LLVMBuildCall2(e->builder, signature, function, arguments, (unsigned)count, "");
}

LLVMValueRef mvs_emit_intrinsic(mvs_emit *e, const char *name, LLVMTypeRef type,
                                LLVMValueRef *arguments, int count) {
  return call_intrinsic(e, name, &type, 1, arguments, count);
}

LLVMValueRef mvs_emit_intrinsic2(mvs_emit *e, const char *name, LLVMTypeRef first,
                                 LLVMTypeRef second, LLVMValueRef *arguments, int count) {
  return call_intrinsic(e, name, (LLVMTypeRef[]){first, second}, 2, arguments, count);
}

LLVMValueRef mvs_emit_plain(mvs_emit *e, const char *name, LLVMValueRef *arguments, int count) {
  return call_intrinsic(e, name, NULL, 0, arguments, count);
}

LLVMValueRef mvs_emit_unary(mvs_emit *e, const char *name, LLVMValueRef a) {
  return mvs_emit_intrinsic(e, name, LLVMTypeOf(a), &a, 1);
}

LLVMValueRef mvs_emit_fma(mvs_emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  return mvs_emit_intrinsic(e, "llvm.fma", LLVMTypeOf(a), (LLVMValueRef[]){a, b, c}, 3);
}

/* The instruction's own rounding argument 4 is "as everything else is rounded". */
LLVMValueRef mvs_emit_scalef(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef all = mvs_emit_int(e->i16, -1), rounding = mvs_emit_int(e->i32, 4);
  LLVMValueRef arguments[5] = {a, b, a, all, rounding};
  return call_intrinsic(e, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0, arguments, 5);
}

/* 9: round down, and raise no flag for it. */
LLVMValueRef mvs_emit_fraction(mvs_emit *e, LLVMValueRef b) {
  LLVMValueRef all = mvs_emit_int(e->i16, -1), rounding = mvs_emit_int(e->i32, 4);
  LLVMValueRef arguments[5] = {b, mvs_emit_int(e->i32, 9), b, all, rounding};
  return call_intrinsic(e, "llvm.x86.avx512.mask.reduce.ps.512", NULL, 0, arguments, 5);
}

/* --- control --- */

/* Slots belong at the head of the entry block: inside a loop each turn would take more of
 * the stack. */
LLVMValueRef mvs_emit_variable(mvs_emit *e, LLVMTypeRef type) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
  LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(e->function);
  LLVMValueRef first = LLVMGetFirstInstruction(entry);
  if (first) {
    LLVMPositionBuilderBefore(e->builder, first);
  } else {
    LLVMPositionBuilderAtEnd(e->builder, entry);
  }
  LLVMValueRef slot = LLVMBuildAlloca(e->builder, type, "");
  LLVMPositionBuilderAtEnd(e->builder, here);
  return slot;
}

LLVMValueRef mvs_emit_get(mvs_emit *e, LLVMValueRef variable) {
  return LLVMBuildLoad2(e->builder, LLVMGetAllocatedType(variable), variable, "");
}

/* No volatility and no alias: after sroa nothing is stored. */
void mvs_emit_set(mvs_emit *e, LLVMValueRef variable, LLVMValueRef value) {
  LLVMBuildStore(e->builder, value, variable);
}

/* Appended to the function being written; its place is settled when it is closed. */
static LLVMBasicBlockRef new_block(mvs_emit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->context, e->function, name);
}

/* Tested before the first turn, so an empty range runs no body. The exit block is placed by
 * mvs_emit_loop_end. */
mvs_loop mvs_emit_loop(mvs_emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step) {
  mvs_loop loop = {.to = to, .step = mvs_emit_i64(e, step)};
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
  loop.body = new_block(e, "loop");
  loop.exit = new_block(e, "done");
  LLVMValueRef any = LLVMBuildICmp(e->builder, LLVMIntSLT, from, to, "");
  LLVMBuildCondBr(e->builder, any, loop.body, loop.exit);
  LLVMPositionBuilderAtEnd(e->builder, loop.body);
  loop.index = LLVMBuildPhi(e->builder, e->i64, "i");
  LLVMAddIncoming(loop.index, &from, &before, 1);
  return loop;
}

/* Closes the innermost open loop: the caller keeps loops properly nested. */
void mvs_emit_loop_end(mvs_emit *e, mvs_loop *loop) {
  LLVMValueRef next = LLVMBuildNSWAdd(e->builder, loop->index, loop->step, "");
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->builder);
  LLVMAddIncoming(loop->index, &next, &last, 1);
  LLVMValueRef more = LLVMBuildICmp(e->builder, LLVMIntSLT, next, loop->to, "");
  LLVMBuildCondBr(e->builder, more, loop->body, loop->exit);
  LLVMMoveBasicBlockAfter(loop->exit, last);
  LLVMPositionBuilderAtEnd(e->builder, loop->exit);
}

/* There is no else: both sides of a choice of values are cheaper as a select. */
mvs_branch mvs_emit_if(mvs_emit *e, LLVMValueRef condition) {
  LLVMBasicBlockRef then = new_block(e, "then");
  mvs_branch branch = {new_block(e, "after")};
  LLVMBuildCondBr(e->builder, condition, then, branch.exit);
  LLVMPositionBuilderAtEnd(e->builder, then);
  return branch;
}

/* What was computed inside is used outside only through variables. */
void mvs_emit_if_end(mvs_emit *e, mvs_branch *branch) {
  LLVMMoveBasicBlockAfter(branch->exit, LLVMGetInsertBlock(e->builder));
  LLVMBuildBr(e->builder, branch->exit);
  LLVMPositionBuilderAtEnd(e->builder, branch->exit);
}

LLVMValueRef mvs_emit_add(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWAdd(e->builder, a, b, "");
}

LLVMValueRef mvs_emit_mul(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWMul(e->builder, a, b, "");
}

LLVMValueRef mvs_emit_times(mvs_emit *e, LLVMValueRef a, int64_t b) {
  return b == 1 ? a : mvs_emit_mul(e, a, mvs_emit_i64(e, b));
}

LLVMValueRef mvs_emit_less(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildICmp(e->builder, LLVMIntSLT, a, b, "");
}

LLVMValueRef mvs_emit_smaller(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef less = LLVMBuildICmp(e->builder, LLVMIntSLT, a, b, "");
  return LLVMBuildSelect(e->builder, less, a, b, "");
}

LLVMValueRef mvs_emit_ceil_div(mvs_emit *e, LLVMValueRef a, int64_t b) {
  if (b == 1) return a;
  LLVMValueRef sum = LLVMBuildNSWAdd(e->builder, a, mvs_emit_i64(e, b - 1), "");
  return LLVMBuildUDiv(e->builder, sum, mvs_emit_i64(e, b), "");
}

/* --- the calling convention --- */

/* A field of mvs_host_call: the offset comes from the C struct, so the two cannot drift
 * apart. */
static LLVMValueRef load_field(mvs_emit *e, LLVMTypeRef type, LLVMValueRef call,
                               size_t offset) {
  LLVMValueRef at = mvs_emit_i64(e, (int64_t)offset);
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->context);
  LLVMValueRef place = LLVMBuildInBoundsGEP2(e->builder, byte, call, &at, 1, "");
  return LLVMBuildLoad2(e->builder, type, place, "");
}

/* All fields are read once at the start; the pointers behind `operands` only by those who
 * use them. */
mvs_entry mvs_emit_entry(mvs_emit *e, const char *symbol) {
  LLVMTypeRef parameters[3] = {e->ptr, e->i64, e->i64};
  LLVMTypeRef type = mvs_emit_signature(e, parameters, 3);
  LLVMValueRef function = mvs_emit_function(e, symbol, type, true);
  mvs_entry entry = {.call = LLVMGetParam(function, 0),
                     .begin = LLVMGetParam(function, 1),
                     .end = LLVMGetParam(function, 2)};
  entry.operands = load_field(e, e->ptr, entry.call, offsetof(mvs_host_call, operands));
  entry.batch = load_field(e, e->i64, entry.call, offsetof(mvs_host_call, batch));
  entry.layer = load_field(e, e->i64, entry.call, offsetof(mvs_host_call, layer));
  entry.scratch = load_field(e, e->ptr, entry.call, offsetof(mvs_host_call, scratch));
  entry.before = load_field(e, e->i64, entry.call, offsetof(mvs_host_call, before));
  entry.behind = load_field(e, e->i64, entry.call, offsetof(mvs_host_call, behind));
  return entry;
}

LLVMValueRef mvs_emit_operand(mvs_emit *e, const mvs_entry *entry, int index) {
  return load_field(e, e->ptr, entry->operands, (size_t)index * sizeof(void *));
}

LLVMValueRef mvs_emit_extent(mvs_emit *e, const mvs_entry *entry, mvs_dim dim) {
  LLVMValueRef size = mvs_emit_i64(e, dim.size);
  return dim.per_batch ? LLVMBuildNSWMul(e->builder, size, entry->batch, "") : size;
}

LLVMValueRef mvs_emit_rows_left(mvs_emit *e, const mvs_entry *entry, LLVMValueRef rows,
                                LLVMValueRef *first) {
  *first = entry->before;
  rows = LLVMBuildNSWSub(e->builder, rows, entry->before, "");
  return LLVMBuildNSWSub(e->builder, rows, entry->behind, "");
}

LLVMValueRef mvs_emit_scratch(mvs_emit *e, const mvs_entry *entry, int64_t bytes) {
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->context);
  LLVMValueRef at = mvs_emit_i64(e, bytes);
  return LLVMBuildInBoundsGEP2(e->builder, byte, entry->scratch, &at, 1, "");
}
