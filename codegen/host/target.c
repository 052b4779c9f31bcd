/* target.c: LLVM's target, context and pass pipeline for one part of a program.
 *
 * Instruction sets are levels (compiler/base/processor.h) rather than lists of flags, so that
 * "compiled for x86-64-v3" means the same here, in the program's table and in the check when
 * it starts. Each function has its own level as attributes, so one module holds code for
 * several. Vectors are 16 lanes in the IR at every level; at v3 LLVM splits them in two,
 * which changes no bits. Contraction and fast-math stay off: an fma stands where the kernel
 * form has one. */
#include "codegen/host/target.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>

#define TRIPLE "x86_64-pc-linux-gnu"

/* Vectors are written out, so what remains is to tidy: registers for variables, common
 * subexpressions, loop-invariant addresses. A full O2 takes three times as long for equal code.
 */
#define PASSES                                                                       \
  "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,loop-mssa(licm)," \
  "simplifycfg)"
#define QUICK_PASSES "function(sroa)"

/* What has no call in LLVM's interface. Loop strength reduction is a fifth of the time of code
 * generation and finds nothing: addresses in loops are a base and an index already. Small loops
 * that begin in the middle of a line of the instruction cache take up to 1.7 times as long.
 */
static const char *const llvm_options[] = {
    "mvcc", "-disable-lsr", "-x86-experimental-pref-innermost-loop-alignment=6" /* 2^6 */};

/* LLVM's registries are global and may be filled only once, whichever thread is first. */
static void start_llvm(void) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMParseCommandLineOptions(sizeof llvm_options / sizeof *llvm_options, llvm_options, NULL);
}

/* Looks up the types that everything uses. */
static void name_types(mvs_emit *e) {
  e->i1 = LLVMInt1TypeInContext(e->context);
  e->i16 = LLVMInt16TypeInContext(e->context);
  e->i32 = LLVMInt32TypeInContext(e->context);
  e->i64 = LLVMInt64TypeInContext(e->context);
  e->f32 = LLVMFloatTypeInContext(e->context);
  e->f64 = LLVMDoubleTypeInContext(e->context);
  e->ptr = LLVMPointerTypeInContext(e->context, 0);
}

bool mvs_part_open(mvs_part *part, mvs_arena *arena, bool quick, const char **reason) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_llvm);
  *part = (mvs_part){.emit = {.arena = arena}, .quick = quick};
  char *message = NULL;
  LLVMTargetRef target;
  if (LLVMGetTargetFromTriple(TRIPLE, &target, &message)) {
    *reason = mvs_arena_string(arena, message);
    LLVMDisposeMessage(message);
    return false;
  }
  mvs_emit *e = &part->emit;
  part->machine =
      LLVMCreateTargetMachine(target, TRIPLE, mvs_cpu_name(MVS_CPU_V3), "",
                              quick ? LLVMCodeGenLevelNone : LLVMCodeGenLevelDefault,
                              LLVMRelocPIC, LLVMCodeModelDefault);
  e->context = LLVMContextCreate();
  e->module = LLVMModuleCreateWithNameInContext("mvs", e->context);
  e->builder = LLVMCreateBuilderInContext(e->context);
  name_types(e);
  LLVMSetTarget(e->module, TRIPLE);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(part->machine);
  LLVMSetModuleDataLayout(e->module, layout);
  LLVMDisposeTargetData(layout);
  return true;
}

/* Makes LLVM's words the reason and frees them; false, so that it can be returned. */
static bool told(mvs_part *part, const char *call, char *message, const char **reason) {
  *reason = mvs_arena_format(part->emit.arena, "%s: %s", call, message ? message : "failed");
  if (message) LLVMDisposeMessage(message);
  return false;
}

/* Verifies, optimises and emits the part; `text` is taken after optimising, as --emit llvm
 * shows it. */
bool mvs_part_compile(mvs_part *part, const char **reason) {
  LLVMModuleRef module = part->emit.module;
  char *message = NULL;
  if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
    return told(part, "LLVMVerifyModule", message, reason);
  }
  LLVMDisposeMessage(message);
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef error =
      LLVMRunPasses(module, part->quick ? QUICK_PASSES : PASSES, part->machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (error) {
    char *words = LLVMGetErrorMessage(error);
    *reason = mvs_arena_format(part->emit.arena, "LLVMRunPasses: %s", words);
    LLVMDisposeErrorMessage(words);
    return false;
  }
  if (part->wants_text) { /* now: code generation rewrites the module for its own ends */
    char *text = LLVMPrintModuleToString(module);
    part->text = mvs_arena_string(part->emit.arena, text);
    LLVMDisposeMessage(text);
  }
  message = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(part->machine, module, LLVMObjectFile, &message,
                                          &part->object)) {
    return told(part, "LLVMTargetMachineEmitToMemoryBuffer", message, reason);
  }
  return true;
}

/* Harmless on a part that was opened half. */
void mvs_part_close(mvs_part *part) {
  mvs_emit *e = &part->emit;
  if (part->object) LLVMDisposeMemoryBuffer(part->object);
  if (e->builder) LLVMDisposeBuilder(e->builder);
  if (e->module) LLVMDisposeModule(e->module);
  if (e->context) LLVMContextDispose(e->context);
  if (part->machine) LLVMDisposeTargetMachine(part->machine);
  *part = (mvs_part){.object = NULL};
}
