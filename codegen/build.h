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
  mvs_program *program;     /* protobuf-c structs, the arena's: never free with protobuf-c */
} mvs_build;

/* Turns a planned module into kernels and program tables.
 * errors : MVS_ERR_INTERNAL, MVS_ERR_LIMIT */
mvs_status mvs_build_program(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                             const mvs_plan *plan, mvs_build **out);

/* One planned module of several that share parameters: the model for one value of a let. */
typedef struct mvs_build_part {
  const char *value; /* as written; NULL when there is one part */
  const mvs_module *module;
  const mvs_plan *plan;
} mvs_build_part;

/* The same for several specialisations of one model, whose parameters must be equal one by one.
 * Kernels, and functions that come out equal in all parts, stand in the program once.
 * let : the name of what differs; NULL when there is one part */
mvs_status mvs_build_parts(mvs_arena *arena, mvs_diag *diag, const char *let,
                           const mvs_build_part *parts, size_t count, mvs_build **out);

#endif
