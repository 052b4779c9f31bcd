/* driver.h: from file to program, stage by stage. A model is compiled once, or once per value
 * of the let that was given several; the program then holds all of these specialisations.
 * Owner: the caller owns both arenas; graphs may be freed once a program was written. */
#ifndef MVS_MVCC_DRIVER_H
#define MVS_MVCC_DRIVER_H

#include "codegen/build.h"
#include "compiler/mvcc/command_line.h"

/* The compilation for one value. */
typedef struct mvs_specialisation {
  const char *value; /* as written; NULL when the model is compiled once */
  mvs_compilation compilation;
  mvs_text explain;
} mvs_specialisation;

typedef struct mvs_driver {
  mvs_arena *session; /* sources, tree, diagnostics */
  mvs_arena *graphs;  /* everything after the tree */
  mvs_diag *diag;
  const mvs_command_line *options;
  mvs_unit *unit;
  mvs_specialisation *specialisations;
  size_t specialisation_count; /* 0 before the passes */
  mvs_build *build;
} mvs_driver;

/* Parses the file and what it uses. */
mvs_status mvs_driver_load(mvs_driver *driver);
/* Lowers and runs the passes, up to options->until. */
mvs_status mvs_driver_passes(mvs_driver *driver);
/* Checks that lowered specialisations have the same parameters and inputs, so that they can
 * share weights and options. errors : MVS_ERR_SHAPE, naming the first that depends on the value
 */
mvs_status mvs_driver_agree(const mvs_driver *driver);
/* Writes which specialisation follows; nothing where there is one. */
void mvs_driver_head(const mvs_driver *driver, const mvs_specialisation *each, mvs_text *out);
/* How a parameter starts, as --explain says it: "normal(0.02)". */
const char *mvs_driver_init_text(mvs_arena *arena, const mvs_init *init);
/* True when every pass has run. */
bool mvs_driver_planned(const mvs_driver *driver);
/* Builds kernels and tables from the finished plan. */
mvs_status mvs_driver_build(mvs_driver *driver);
/* Adds CUDA texts and images to the program where --gpu asks for them. */
mvs_status mvs_driver_gpu(mvs_driver *driver);
/* What is no error and may be a mistake, a line each: lines of rules that select no parameter.
 */
void mvs_driver_notes(const mvs_driver *driver, mvs_text *out);
/* What --explain prints: the residual rule and who chose it, initial values, kernels. */
void mvs_driver_explain(const mvs_driver *driver, mvs_text *out);
/* After mvs_driver_build: diagnostics that found no place; with --gpu which kernels go to
 * NVIDIA's libraries, and which not, why; after mvs_driver_gpu also the registers of each. */
void mvs_driver_explain_built(const mvs_driver *driver, mvs_text *out);
/* The text of a stage. errors : as the stages */
mvs_status mvs_driver_emit(mvs_driver *driver, mvs_emit_stage stage, mvs_text *out);
/* Compiles for the host and writes the executable. */
mvs_status mvs_driver_write(mvs_driver *driver);
/* `mvcc compare`: compiles every rule, trains each with every seed, writes a table,
 * compare.json and a page. *code is 1 when a run failed other than by its rule (compare.c). */
mvs_status mvs_driver_compare(mvs_driver *driver, int *code);
/* Compiles into memory and runs the trainer's command; *code is its exit status. */
mvs_status mvs_driver_run(mvs_driver *driver, int *code);

#endif
