/* rule.h: a rewrite rule as a row: name, the op at its root, a guard that matches and notes
 * what it found, and a builder that makes the replacement, of the same type, from that. New
 * nodes carry the rule's name and the root's source span and pass. */
#ifndef MVS_PASSES_RULE_H
#define MVS_PASSES_RULE_H

#include "compiler/ir/graph.h"

/* The graph that is being rebuilt, and how many live nodes and results take each of its nodes:
 * the new graph does not know yet who will take what stands in it. */
typedef struct mvs_rule_source {
  const mvs_graph *graph;
  const uint32_t *users;
} mvs_rule_source;

/* What a guard found. Fields beyond the first five are the rule's own to use. */
typedef struct mvs_match {
  const mvs_graph *graph;
  mvs_id root;
  const mvs_node *node;
  const mvs_rule_source *source;
  mvs_id copied; /* the source's node that the root is a copy of; MVS_NONE: a rule made it */
  mvs_id a, b;
  int64_t number;
  double value;
} mvs_match;

typedef bool mvs_rule_guard(mvs_match *match);
typedef mvs_id mvs_rule_build(mvs_graph *graph, const mvs_match *match);

/* Conditions on a rule; without any it is always tried. */
#define MVS_RULE_LATE   1u /* once gradients exist, and after the others have settled */
#define MVS_RULE_WRITER 2u /* under --means writer */

typedef struct mvs_rule {
  const char *name; /* "mean of scaled copies": shown in dumps and by --explain */
  mvs_op root;      /* MVS_ANY_OP: tried on every node */
  unsigned when;    /* MVS_RULE_LATE, MVS_RULE_WRITER: tried only when the driver says so too */
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

#endif
