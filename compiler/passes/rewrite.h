/* rewrite.h: rebuilds graphs bottom-up, applying named rules until none applies.
 *
 * Every node is copied into a new graph once its inputs are; then the rules of its op are tried
 * on it there. Dead nodes are not copied, and region parts that nothing needs are dropped:
 * unused stacked outputs, carried values, invariants, stacked inputs and reads; a carried value
 * that never changes becomes an invariant.
 *
 * A rule is a row: name, the op at its root, a guard that matches and notes what it found, and
 * a builder that makes the replacement, of the same type, from that. New nodes carry the rule's
 * name and the root's source span and pass. */
#ifndef MVS_PASSES_REWRITE_H
#define MVS_PASSES_REWRITE_H

#include "compiler/passes/pass.h"

/* What a guard found. Fields beyond the first three are the rule's own to use. */
typedef struct mvs_match {
  const mvs_graph *graph;
  mvs_id root;
  const mvs_node *node;
  mvs_id a, b, c;
  mvs_op op;
  int64_t number;
  double value;
} mvs_match;

typedef bool mvs_rule_guard(mvs_match *match);
typedef mvs_id mvs_rule_build(mvs_graph *graph, const mvs_match *match);

typedef struct mvs_rule {
  const char *name; /* "mean of scaled copies": shown in dumps and by --explain */
  mvs_op root;      /* MVS_ANY_OP: tried on every node */
  bool late;        /* only once gradients exist, and after the others have settled */
  mvs_rule_guard *guard;
  mvs_rule_build *build;
  const char *why; /* one line for --explain and docs */
} mvs_rule;
#define MVS_ANY_OP MVS_OP_COUNT

/* How often a rule fired, and on which lines. */
#define MVS_RULE_PLACES 8 /* lines kept per rule, enough for a report */
typedef struct mvs_rule_count {
  size_t fired;
  size_t place_count;
  mvs_span places[MVS_RULE_PLACES];
} mvs_rule_count;

/* Rewrites one graph to a fixpoint. `counts` (one per rule) is added to; it may be NULL.
 * errors : MVS_ERR_INTERNAL when the rules do not settle, naming one that still fires */
mvs_status mvs_rewrite_graph(mvs_compilation *compilation, mvs_graph *graph,
                             const mvs_rule *rules, size_t rule_count, mvs_rule_count *counts,
                             mvs_graph **out);
/* A copy of the graph without its dead parts. */
mvs_graph *mvs_rewrite_copy(mvs_arena *arena, mvs_graph *graph);

#endif
