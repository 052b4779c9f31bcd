/* jit.c: an object into this process, for `mvcc run`. LLJIT does the linking and the memory;
 * what it would resolve from this process (memcpy, libm) must not be needed, and that is
 * checked first with the same code that lays out executables. */
#include "codegen/host/jit.h"

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <pthread.h>

/* Takes the error over, as LLVM wants it. */
static mvs_status check(mvs_diag *diag, const char *call, LLVMErrorRef error) {
  if (!error) return MVS_OK;
  char *words = LLVMGetErrorMessage(error);
  mvs_diag_error(diag, (mvs_span){NULL, 0, 0}, "%s: %s", call, words);
  LLVMDisposeErrorMessage(words);
  return MVS_ERR_DEVICE;
}

/* Loaded code lives as long as the process, for nobody can say that no pointer into it is left.
 * The engines are listed so that a leak checker finds them owned. */
static void keep(LLVMOrcLLJITRef jit) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static mvs_arena *home;
  static MVS_LIST(LLVMOrcLLJITRef) engines;
  pthread_mutex_lock(&lock);
  if (!home) home = mvs_arena_new();
  MVS_PUSH(home, &engines, jit);
  pthread_mutex_unlock(&lock);
}

/* Takes `object` over in every case; addresses are added to those that `symbols` already
 * holds. */
mvs_status mvs_jit_load(mvs_arena *arena, mvs_diag *diag, LLVMMemoryBufferRef object,
                        mvs_symbols *symbols) {
  /* Placing the object first lists its functions and proves that it needs nothing from outside:
   * LLJIT would quietly take a missing memcpy from this process. */
  mvs_text block = mvs_text_new(arena);
  size_t first = symbols->count;
  mvs_status status = mvs_object_place(diag, LLVMGetBufferStart(object),
                                       LLVMGetBufferSize(object), &block, symbols);
  if (status != MVS_OK) {
    LLVMDisposeMemoryBuffer(object);
    return status;
  }
  LLVMOrcLLJITRef jit;
  status = check(diag, "LLVMOrcCreateLLJIT", LLVMOrcCreateLLJIT(&jit, NULL));
  if (status != MVS_OK) {
    LLVMDisposeMemoryBuffer(object);
    return status;
  }
  keep(jit);
  LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit);
  MVS_TRY(check(diag, "LLVMOrcLLJITAddObjectFile",
                LLVMOrcLLJITAddObjectFile(jit, library, object)));
  for (size_t i = first; i < symbols->count; ++i) {
    LLVMOrcExecutorAddress address = 0;
    MVS_TRY(check(diag, "LLVMOrcLLJITLookup",
                  LLVMOrcLLJITLookup(jit, &address, symbols->items[i].name)));
    symbols->items[i].address = address;
  }
  return MVS_OK;
}
