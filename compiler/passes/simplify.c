/* simplify.c: the pass, the rule table and what rules share. The table is rules.def; guards and
 * builders are in the simplify_*.c files by subject, and link by name. */
#include "compiler/passes/simplify.h"

enum {
  ALWAYS = 0,
  LATE = MVS_RULE_LATE,
  WRITER = MVS_RULE_WRITER,
  WRITER_LATE = MVS_RULE_WRITER | MVS_RULE_LATE
};

/* The root column holds ops without their prefix, and ANY. */
#define MVS_OP(id, least, most, class, attribute) ROOT_##id = MVS_OP_##id,
enum roots {
#include "compiler/ir/ops.def"
  ROOT_ANY = MVS_ANY_OP
};
#undef MVS_OP

const mvs_rule mvs_simplify_rules[] = {
#define MVS_RULE(id, name, root, when, why) \
  {name, (mvs_op)ROOT_##root, when, mvs_guard_##id, mvs_build_##id, why},
#include "compiler/passes/rules.def"
#undef MVS_RULE
};
const size_t mvs_simplify_rule_count = sizeof mvs_simplify_rules / sizeof *mvs_simplify_rules;

bool mvs_is_element(const mvs_node *node) {
  return mvs_ops[node->op].op_class == MVS_CLASS_ELEMENT && node->op != MVS_OP_random &&
         node->op != MVS_OP_broadcast;
}

/* Tokens are left out: their parts are segments, which have names and means of their own. Parts
 * of one element would turn a row into scalar work. */
bool mvs_has_equal_parts(const mvs_graph *graph, const mvs_node *node) {
  int last = node->type.rank - 1;
  if (node->op != MVS_OP_concat || node->attr.concat.axis != last) return false;
  if (last == 1 && node->type.segments) return false;
  int64_t length = mvs_graph_type(graph, node->inputs[0])->dims[last].size;
  for (int i = 1; i < node->input_count; i++) {
    if (mvs_graph_type(graph, node->inputs[i])->dims[last].size != length) return false;
  }
  return length > 1;
}

/* Through what repeats or renames elements; a slice or concat of constants has been folded by
 * then, or is not one number. */
bool mvs_constant_value(const mvs_graph *graph, mvs_id id, double *value) {
  const mvs_node *node = mvs_graph_node(graph, id);
  while (node->op == MVS_OP_broadcast || node->op == MVS_OP_reshape) {
    node = mvs_graph_node(graph, node->inputs[0]);
  }
  if (node->op != MVS_OP_constant) return false;
  *value = node->attr.constant.value;
  return true;
}

/* Both ways round, because rules are written for x * 1 and gradients make 1 * x as well. */
bool mvs_other_than_constant(mvs_match *match, double value) {
  for (int i = 0; i < 2; i++) {
    double found;
    if (!mvs_constant_value(match->graph, match->node->inputs[i], &found)) continue;
    if (found != value) continue;
    match->a = match->node->inputs[1 - i];
    return true;
  }
  return false;
}

/* For replacements that are right in value but narrower in type: x * 1 of a bf16 x is f32, and
 * 0 * x has the shape of x. The cast goes before the stretch, which is the larger value. */
mvs_id mvs_fit(mvs_graph *graph, mvs_id id, const mvs_type *type, mvs_span span) {
  if (mvs_graph_type(graph, id)->dtype != type->dtype) {
    id = mvs_build_cast(graph, id, type->dtype, span);
  }
  const mvs_type *found = mvs_graph_type(graph, id);
  if (!mvs_type_same_shape(found, type)) {
    mvs_attr shape = {.shape = {*type}};
    return mvs_graph_add(graph, MVS_OP_broadcast, &id, 1, &shape, span);
  }
  return found->segments == type->segments ? id : mvs_build_reshape(graph, id, type, span);
}

/* No diag: that it does not fit is an answer here and no mistake of anybody. Elementwise ops,
 * sums and segment ops have 3 inputs at most. */
bool mvs_type_with_input(const mvs_match *match, int index, mvs_id input, mvs_type *out) {
  const mvs_node *node = match->node;
  mvs_id inputs[3];
  if (node->input_count > 3) return false;
  for (int i = 0; i < node->input_count; i++) inputs[i] = i == index ? input : node->inputs[i];
  return mvs_graph_infer(match->graph, node->op, inputs, node->input_count, &node->attr,
                         node->span, NULL, out) == MVS_OK;
}

mvs_id mvs_again(mvs_graph *graph, const mvs_match *match, const mvs_id *inputs) {
  const mvs_node *node = match->node;
  return mvs_graph_add(graph, node->op, inputs, node->input_count, &node->attr, node->span);
}

/* A bf16 value is an f32 constant and a cast: rounding stays a node. */
mvs_id mvs_filled(mvs_graph *graph, double value, const mvs_type *type, mvs_span span) {
  bool plain = type->dtype == MVS_F64 || type->dtype == MVS_I32;
  mvs_attr attr = {.constant = {value, plain ? type->dtype : MVS_F32}};
  mvs_id number = mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &attr, span);
  return mvs_fit(graph, number, type, span);
}

/* --- the pass --- */

/* Lines, not spans: one line of a rule of the library may hold several places. */
static bool line_is_told(const mvs_rule_count *count, size_t index) {
  int line, column, earlier;
  mvs_span_position(count->places[index], &line, &column);
  for (size_t i = 0; i < index; i++) {
    mvs_span_position(count->places[i], &earlier, &column);
    if (earlier == line && count->places[i].source == count->places[index].source) return true;
  }
  return false;
}

static void explain_rule(mvs_text *out, const char *function, const mvs_rule *rule,
                         const mvs_rule_count *count) {
  mvs_text_addf(out, "simplify %s: %s, %zu times (%s)", function, rule->name, count->fired,
                rule->why);
  for (size_t i = 0; i < count->place_count; i++) {
    int line, column;
    if (line_is_told(count, i)) continue;
    mvs_span_position(count->places[i], &line, &column);
    mvs_text_addf(out, "%s%s:%d", i ? ", " : " at ", count->places[i].source->name, line);
  }
  mvs_text_add(out, "\n");
}

mvs_status mvs_pass_simplify(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  for (size_t i = 0; i < module->functions.count; i++) {
    mvs_function *function = &module->functions.items[i];
    mvs_rule_count *counts =
        MVS_ARRAY(compilation->arena, mvs_simplify_rule_count, mvs_rule_count);
    MVS_TRY(mvs_rewrite_graph(compilation, function->graph, mvs_simplify_rules,
                              mvs_simplify_rule_count, counts, &function->graph));
    for (size_t rule = 0; compilation->explain && rule < mvs_simplify_rule_count; rule++) {
      if (counts[rule].fired == 0) continue;
      explain_rule(compilation->explain, function->name, &mvs_simplify_rules[rule],
                   &counts[rule]);
    }
  }
  return MVS_OK;
}
