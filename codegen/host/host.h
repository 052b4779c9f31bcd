/* host.h: kernels as native x86-64 code through LLVM-C. */
#ifndef MVS_CODEGEN_HOST_H
#define MVS_CODEGEN_HOST_H

#include "codegen/build.h"

typedef struct mvs_host_options {
  const char *cpu_level; /* compile for this level alone; NULL: see below */
  mvs_text *llvm;        /* when not NULL, receives the IR as text (--emit llvm) */
  bool quick;            /* compile in a third of the time to slow code with the same bits: for
                            tests of many programs that hardly run */
} mvs_host_options;

/* Prints all kernels for all levels, optimises, generates code, lays it out as one
 * position-independent block and sets program->host_code, cpu_level, and each Kernel's stages,
 * scratch, workspace and forms. Without a level and with `llvm`: the best of this machine
 * alone. errors : MVS_ERR_DEVICE when LLVM fails, with its words in diag. */
mvs_status mvs_host_compile(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                            const mvs_host_options *options);

/* The same through LLJIT, for one level, without one that is named the best of this machine:
 * the object is loaded into this process and nests' addresses become absolute;
 * program->host_code stays empty. Used by `mvcc run`. */
mvs_status mvs_host_load(mvs_arena *arena, mvs_diag *diag, mvs_build *build,
                         const mvs_host_options *options);

#endif
