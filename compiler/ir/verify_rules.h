/* verify_rules.h: inside of the verifier. A rule returns true when it holds. */
#ifndef MVS_IR_VERIFY_RULES_H
#define MVS_IR_VERIFY_RULES_H

#include "compiler/ir/module.h"

/* What is looked at: fields to the right of the rule's level are unset. */
typedef struct mvs_check {
  const mvs_module *module;
  const mvs_graph *graph;
  int nesting; /* of regions around the graph */
  mvs_id id;
  const mvs_node *node;
} mvs_check;

/* Whether the rule holds; it changes nothing and reports nothing. */
typedef bool mvs_rule_function(const mvs_check *check);

#define MVS_RULE(level, function, name) mvs_rule_function mvs_rule_##function;
#include "compiler/ir/verify_rules.def"
#undef MVS_RULE

/* The type of input `index` of the node. */
const mvs_type *mvs_check_input(const mvs_check *check, int index);

#endif
