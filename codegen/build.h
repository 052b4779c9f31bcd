/* build.h: from the plan to kernel forms and the program's tables. */
#ifndef MVS_CODEGEN_BUILD_H
#define MVS_CODEGEN_BUILD_H

#include "codegen/kernel.h"
#include "codegen/program.h"

/* Builds the kernel of one group, without looking for an equal one.
 * errors : MVS_ERR_INTERNAL when an access cannot be expressed (fuse must prevent it). */
mvs_status mvs_kernel_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                            const mvs_group *group, mvs_kernel **out);

/* Kernels (equal ones once) and the program, all tables filled but the host code and images. */
typedef struct mvs_build {
  mvs_kernel_list kernels;  /* in the order of program->kernels */
  mvs_program *program;     /* protobuf-c structs, owned by the arena: never free with protobuf-c */
} mvs_build;

/* Turns a planned module into kernels and program tables.
 * errors : MVS_ERR_INTERNAL, MVS_ERR_LIMIT */
mvs_status mvs_build_program(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                             const mvs_plan *plan, mvs_build **out);

#endif
