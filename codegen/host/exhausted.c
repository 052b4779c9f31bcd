/* exhausted.c: LLVM's two ways of asking for memory, `new` and its own malloc, each with the
 * handler that C++ and LLVM have for it. Neither has a name in C: these are the ones that the
 * C++ ABI gives them (std::set_new_handler, llvm::install_bad_alloc_error_handler). A C++ file
 * in this house for two calls would be the dearer choice. */
#include "codegen/host/exhausted.h"

#include <stdbool.h>

typedef void plain_handler(void);
typedef void llvm_handler(void *user, const char *reason, bool wants_report);

plain_handler *set_new_handler(plain_handler *handler) __asm__("_ZSt15set_new_handlerPFvvE");
void install_bad_alloc_error_handler(llvm_handler *handler, void *user) __asm__(
    "_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_");

static plain_handler *leave_process;

static void leave_llvm(void *user, const char *reason, bool wants_report) {
  (void)user, (void)reason, (void)wants_report;
  leave_process();
}

void mvs_host_on_oom(void (*leave)(void)) {
  leave_process = leave;
  set_new_handler(leave);
  install_bad_alloc_error_handler(leave_llvm, 0);
}
