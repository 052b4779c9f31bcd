/* pass.h: every pass has this signature; pipeline.c holds the one table of their order. */
#ifndef MVS_PASSES_PASS_H
#define MVS_PASSES_PASS_H

#include "compiler/ir/module.h"

struct mvs_plan;

/* Facts about a module that passes need, give and break. */
typedef enum mvs_fact {
  MVS_FACT_GRADIENTS = 1 << 0, /* "grad" exists and "loss" is gone */
  MVS_FACT_SIMPLE = 1 << 1,    /* no simplify rule applies */
  MVS_FACT_HOISTED = 1 << 2,   /* nothing in a body depends on invariants alone */
  MVS_FACT_CROSSING = 1 << 3,  /* what goes from forward to backward is kept or redone */
  MVS_FACT_FUSED = 1 << 4,     /* every node belongs to a kernel of the plan */
  MVS_FACT_SCHEDULED = 1 << 5, /* kernels have their order */
  MVS_FACT_LAID_OUT = 1 << 6,  /* values have buffers and live ranges */
  MVS_FACT_PREPARED = 1 << 7,  /* what weights alone decide is in "prepare" */
  MVS_FACT_PACKED = 1 << 8,    /* products of one value with several parameters are one */
  MVS_FACT_DIAGNOSED = 1 << 9  /* diagnostics have their functions */
} mvs_fact;

/* How a merge gets the token means of a branch (--means; docs/numerics.md, "Token means"). */
typedef enum mvs_means {
  MVS_MEANS_EXACT, /* from the branch as it is stored */
  MVS_MEANS_WRITER /* from the mean of what its last linear map reads */
} mvs_means;

/* What a pass works on. Graph passes replace graphs of the module; plan passes fill the
 * plan. */
typedef struct mvs_compilation {
  mvs_arena *arena;       /* graph lifetime */
  mvs_diag *diag;
  mvs_module *module;
  struct mvs_plan *plan;  /* NULL until fuse */
  unsigned facts;
  mvs_means means;
  mvs_text *explain;      /* NULL unless --explain: passes say what they did and why */
} mvs_compilation;

typedef mvs_status mvs_pass_run(mvs_compilation *compilation);
typedef struct mvs_pass {
  const char *name;
  mvs_pass_run *run;
  unsigned needs, gives, breaks;
  const char *summary; /* one line, for --help and docs */
} mvs_pass;

/* The table, ended by a NULL name. */
extern const mvs_pass mvs_pipeline[];
/* Runs the table up to and including `until` (NULL: all), verifying after each graph pass.
 * errors : MVS_ERR_NAME for an unknown pass, MVS_ERR_INTERNAL from the verifier. */
mvs_status mvs_pipeline_run(mvs_compilation *compilation, const char *until);

/* The passes, in their order. */
mvs_status mvs_pass_simplify(mvs_compilation *compilation);  /* runs again after gradients */
mvs_status mvs_pass_pack(mvs_compilation *compilation);      /* products of one value joined */
mvs_status mvs_pass_gradients(mvs_compilation *compilation); /* "loss" -> "grad", on graphs */
mvs_status mvs_pass_muon(mvs_compilation *compilation);      /* adds "muon" where wanted */
mvs_status mvs_pass_crossing(mvs_compilation *compilation);  /* keep-or-redo alternatives */
mvs_status mvs_pass_hoist(mvs_compilation *compilation);     /* invariants leave regions */
mvs_status mvs_pass_prepare(mvs_compilation *compilation);   /* values of weights alone leave */
mvs_status mvs_pass_diagnose(mvs_compilation *compilation);  /* functions that look at "grad" */
mvs_status mvs_pass_fuse(mvs_compilation *compilation);      /* nodes -> kernels */
mvs_status mvs_pass_schedule(mvs_compilation *compilation);  /* order of kernels */
mvs_status mvs_pass_memory(mvs_compilation *compilation);    /* values -> buffers, lifetimes */

#endif
