/* command_line.h: the command line of mvcc, read into one struct. */
#ifndef MVS_MVCC_COMMAND_LINE_H
#define MVS_MVCC_COMMAND_LINE_H

#include "dsl/parse.h"

typedef enum mvs_emit_stage {
  MVS_EMIT_NONE,
  MVS_EMIT_AST,
  MVS_EMIT_GRAPH,
  MVS_EMIT_DOT,
  MVS_EMIT_PLAN,
  MVS_EMIT_KERNELS,
  MVS_EMIT_LLVM,
  MVS_EMIT_CUDA
} mvs_emit_stage;

/* A `let`, or the residual line, and the values that it takes in turn. */
typedef struct mvs_varied {
  const char *name;       /* NULL: the residual line */
  const mvs_expr *values; /* a tuple of two or more */
} mvs_varied;

/* One --vary: what it names changes together, value by value. */
typedef MVS_LIST(mvs_varied) mvs_variation;

typedef struct mvs_command_line {
  const char *input;  /* the model file */
  const char *output; /* -o, or NULL */
  mvs_emit_stage emit;
  const char *until; /* pass after which to stop, "lower", or NULL */
  bool explain;
  bool means_of_writer;                 /* --means writer */
  const char *cpu_level;                /* --cpu, or NULL for all */
  MVS_LIST(const char *) architectures; /* --gpu, split at commas */
  MVS_LIST(mvs_override) overrides;
  MVS_LIST(mvs_variation) variations; /* compare: --vary, in their order */
  bool help, version;
  bool run;     /* mvcc run FILE ... */
  bool compare; /* mvcc compare FILE ... -- train ...; `rest` is what stands behind "--" */
  int64_t seeds, jobs, samples; /* compare: below 0 when not given */
  bool resume;
  int rest_count; /* run: the trainer's command and its arguments */
  char **rest;
} mvs_command_line;

/* Reads the command line. Strings of argv are kept, expressions are parsed into `session`.
 * errors : MVS_ERR_NAME, MVS_ERR_SYNTAX, told in diag */
mvs_status mvs_command_line_read(mvs_arena *session, mvs_diag *diag, int argc, char **argv,
                                 mvs_command_line *out);
/* The text of --help. */
void mvs_command_line_help(mvs_text *out);

#endif
