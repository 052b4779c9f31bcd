/* rewrite.h: rebuilds graphs bottom-up, applying named rules (rule.h) until none applies.
 *
 * Every node is copied into a new graph once its inputs are; then the rules of its op are tried
 * on it there. Dead nodes are not copied, and region parts that nothing needs are dropped:
 * unused stacked outputs, carried values, invariants, stacked inputs and reads; a carried value
 * that never changes becomes an invariant. */
#ifndef MVS_PASSES_REWRITE_H
#define MVS_PASSES_REWRITE_H

#include "compiler/passes/pass.h"
#include "compiler/passes/rule.h"

/* Rewrites one graph to a fixpoint. `counts` (one per rule) is added to; it may be NULL.
 * errors : MVS_ERR_INTERNAL when the rules do not settle, naming one that still fires */
mvs_status mvs_rewrite_graph(mvs_compilation *compilation, mvs_graph *graph,
                             const mvs_rule *rules, size_t rule_count, mvs_rule_count *counts,
                             mvs_graph **out);
/* A copy of the graph without its dead parts. */
mvs_graph *mvs_rewrite_copy(mvs_arena *arena, mvs_graph *graph);

#endif
