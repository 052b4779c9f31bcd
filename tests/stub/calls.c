/* calls.c: every call that the runtime makes of the driver, as one that succeeds and does
 * nothing; driver.c has those of which more is wanted. So a new call needs nothing here. */
#include "runtime/cuda_driver.h"

#define X(field, symbol, arguments)                                 \
  __attribute__((weak)) int stub_##field arguments __asm__(symbol); \
  int stub_##field arguments { return 0; }
MVS_CUDA_CALLS(X)
#undef X
