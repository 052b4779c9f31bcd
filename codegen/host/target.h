/* target.h: one LLVM context with its module and target machine, and the way to object code.
 * A part is used by one thread; parts are independent, so several compile side by side. */
#ifndef MVS_HOST_TARGET_H
#define MVS_HOST_TARGET_H

#include <llvm-c/TargetMachine.h>

#include "codegen/host/emit.h"

typedef struct mvs_part {
  mvs_emit emit;
  LLVMTargetMachineRef machine;
  LLVMMemoryBufferRef object; /* after mvs_part_compile */
  bool quick;                 /* plain code instead of fast code; the same bits */
  bool wants_text;            /* set before: keep the optimised IR as text */
  const char *text;           /* in the arena of emit */
} mvs_part;

/* Starts an empty module. False when LLVM knows no such target; *reason says why. What emit
 * allocates comes from `arena`. */
bool mvs_part_open(mvs_part *part, mvs_arena *arena, bool quick, const char **reason);
/* Verifies, optimises and generates the object. False with LLVM's words in *reason (in arena).
 */
bool mvs_part_compile(mvs_part *part, const char **reason);
/* Frees all but what lies in the arena. */
void mvs_part_close(mvs_part *part);

#endif
