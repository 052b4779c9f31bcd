/* build_tables.h: what the files that fill the program's tables share. Private to build_*.c. */
#ifndef MVS_CODEGEN_BUILD_TABLES_H
#define MVS_CODEGEN_BUILD_TABLES_H

#include "codegen/build.h"
#include "codegen/build_draft.h"

/* fixed + per_batch * B. */
typedef struct mvs_linear {
  double fixed, per_batch;
} mvs_linear;

/* Bytes read and written of one operand, which counts once however often it is touched. */
typedef struct mvs_traffic {
  mvs_linear read, write;
} mvs_traffic;

typedef struct mvs_cost {
  mvs_traffic operands[MVS_MAX_OPERANDS]; /* in the kernel's order */
  mvs_linear flops;
} mvs_cost;

/* --- build_cost.c --- */
/* Bytes and operations of one launch. */
void mvs_kernel_cost(const mvs_kernel *kernel, mvs_cost *out);

/* --- build_model.c: the tables that do not depend on the plan --- */

/* Fills model, inputs, params, flat_elements and settings. errors : MVS_ERR_LIMIT */
mvs_status mvs_tables_model(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                            mvs_program *program);
/* Adds what differs between specialisations. */
void mvs_tables_specialisation(mvs_arena *arena, const char *value, const mvs_module *module,
                               mvs_program *program);
/* The number in the tables of a parameter: of a pack, that of its first part. */
uint32_t mvs_tables_param(const mvs_module *module, uint32_t index);
/* --- build_probes.c --- */

/* Fills the probes of "grad", whose loop of its top's body i is loops[i]. */
void mvs_tables_probes(mvs_arena *arena, const mvs_module *module, const mvs_plan *plan,
                       const mvs_function_plan *grad, const uint32_t *loops,
                       Mvs__Function *out);

/* An extent of the tables. */
Mvs__Extent *mvs_tables_extent(mvs_arena *arena, mvs_dim dim);

#endif
