/* simplify.h: what the rules of rules.def share. */
#ifndef MVS_PASSES_SIMPLIFY_H
#define MVS_PASSES_SIMPLIFY_H

#include "compiler/passes/rewrite.h"

#define MVS_RULE(id, name, root, when, why) \
  mvs_rule_guard mvs_guard_##id;            \
  mvs_rule_build mvs_build_##id;
#include "compiler/passes/rules.def"
#undef MVS_RULE

/* The rule table, for the pass and its tests. */
extern const mvs_rule mvs_simplify_rules[];
extern const size_t mvs_simplify_rule_count;

/* The node of an input. */
static inline const mvs_node *mvs_match_input(const mvs_match *match, int index) {
  return mvs_graph_node(match->graph, match->node->inputs[index]);
}
/* True for elementwise ops that compute (all but random and broadcast). */
bool mvs_is_element(const mvs_node *node);
/* True for a concat along the last axis (not one of tokens) whose parts are equally long. */
bool mvs_has_equal_parts(const mvs_graph *graph, const mvs_node *node);
/* True when all elements of a value are one known number. */
bool mvs_constant_value(const mvs_graph *graph, mvs_id id, double *value);
/* Finds that the match's input `index` is that constant; notes the other one (of two) in a. */
bool mvs_other_than_constant(mvs_match *match, double value);
/* Casts, stretches or reshapes a value to a type that it fits. */
mvs_id mvs_fit(mvs_graph *graph, mvs_id id, const mvs_type *type, mvs_span span);
/* The type the op of a node would have with input `index` replaced; false when it does not fit.
 */
bool mvs_type_with_input(const mvs_match *match, int index, mvs_id input, mvs_type *out);
/* The op of the matched node once more, with other inputs. */
mvs_id mvs_again(mvs_graph *graph, const mvs_match *match, const mvs_id *inputs);
/* A value whose elements are all `value`. */
mvs_id mvs_filled(mvs_graph *graph, double value, const mvs_type *type, mvs_span span);

#endif
