/* rewrite.c: the driver of the rewrite rules. */
#include "compiler/passes/rewrite.h"

#include "compiler/passes/rebuild.h"

#define MAX_ROUNDS 64 /* rebuilds of one graph; four are usual */

mvs_graph *mvs_rewrite_copy(mvs_arena *arena, mvs_graph *graph) {
  mvs_rewriter at = {.arena = arena};
  return mvs_rebuild_graph(&at, graph);
}

/* Rebuilds until no rule fires. One round is not enough: a node is tried when its inputs are
 * there and its users are not, so a guard that counts users counts those of the round before,
 * and a value loses users only when a round is over and the dead are left out. */
static mvs_status settle(mvs_compilation *compilation, mvs_rewriter *at, mvs_graph **graph) {
  for (int round = 0; round < MAX_ROUNDS; round++) {
    *graph = mvs_rebuild_graph(at, *graph);
    if (!at->last_fired) return MVS_OK; /* the last round also dropped what rules left behind */
  }
  mvs_diag_error(compilation->diag, (mvs_span){0},
                 "rewriting does not settle: rule '%s' fires on", at->last_fired);
  return MVS_ERR_INTERNAL;
}

mvs_status mvs_rewrite_graph(mvs_compilation *compilation, mvs_graph *graph,
                             const mvs_rule *rules, size_t rule_count, mvs_rule_count *counts,
                             mvs_graph **out) {
  mvs_rewriter at = {
      .arena = compilation->arena, .rules = rules, .rule_count = rule_count, .counts = counts};
  if (compilation->means == MVS_MEANS_WRITER) at.when |= MVS_RULE_WRITER;
  MVS_TRY(settle(compilation, &at, &graph));
  /* Late rules wait for a fixpoint of the others: some would take a form that an early rule is
   * about to make better (a pad that finds its partner is no concat with zeros), and which came
   * first would depend on the order of nodes. */
  if (compilation->facts & MVS_FACT_GRADIENTS) {
    at.when |= MVS_RULE_LATE;
    MVS_TRY(settle(compilation, &at, &graph));
  }
  *out = graph;
  return MVS_OK;
}
