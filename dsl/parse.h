/* parse.h: from text to tree, and from trees to one resolved unit. */
#ifndef MVS_DSL_PARSE_H
#define MVS_DSL_PARSE_H

#include "dsl/ast.h"

/* Parses one source. Recovers at statement ends, so several errors may be reported.
 * errors : MVS_ERR_SYNTAX, MVS_ERR_LIMIT; *out is NULL then. */
mvs_status mvs_parse(mvs_arena *session, mvs_diag *diag, const mvs_source *source,
                     mvs_file **out);
/* Parses a single expression, as `--residual` and `--set` give it. `name` is shown as the file.
 */
mvs_status mvs_parse_expr(mvs_arena *session, mvs_diag *diag, const char *name,
                          const char *text, mvs_expr **out);

/* An override from the command line: --set NAME=EXPR, --residual EXPR. */
typedef struct mvs_override {
  const char *name; /* NULL for --residual */
  mvs_expr *value;
} mvs_override;

/* A model with everything it uses: what lowering reads.
 * `use` chains are followed; later files see the lets of earlier ones; `with` and the command
 * line replace let values before any is evaluated. Definitions of a user's files shadow those
 * of the library (std/layers.mvs, std/residuals.mvs, embedded in the compiler). */
typedef struct mvs_unit {
  const char *model_name;
  mvs_block lets;               /* in evaluation order, overrides already in place */
  mvs_definition **definitions; /* the visible ones: one layer and one rule per name */
  size_t definition_count;
  const mvs_block *model, *train, *sample; /* train and sample may be NULL */
  mvs_expr *residual;                      /* override of the model's residual line, or NULL */
  const char *residual_origin; /* "command line", "file.mvs:2" or NULL: for --explain */
  const mvs_stmt *varied; /* the let to which an override gives several values (its value is a
                             tuple, where the file has none), or NULL */
} mvs_unit;

/* Reads `path` and all that it uses and resolves them into one unit.
 * errors : MVS_ERR_IO, MVS_ERR_SYNTAX, MVS_ERR_NAME, MVS_ERR_LIMIT */
mvs_status mvs_load_unit(mvs_arena *session, mvs_diag *diag, const char *path,
                         const mvs_override *overrides, size_t override_count, mvs_unit **out);
/* The number of specialisations that a unit stands for: values of `varied`, 1 without it. */
size_t mvs_unit_specialisations(const mvs_unit *unit);
/* The unit with one of these values alone; the unit itself where there is no `varied`. */
const mvs_unit *mvs_unit_specialise(mvs_arena *session, const mvs_unit *unit, size_t index);
/* Prints a unit as an indented tree, for --emit ast. */
void mvs_unit_dump(const mvs_unit *unit, mvs_text *out);

#endif
