/* dump.c: modules and graphs as text, see dump.h for the form. The text is complete: read.c
 * makes an equal graph of it, which the tests hold every pass to. So everything that takes part
 * in interning is written, exactly once, and what is not (source places, names of parameters
 * behind their index) stands in comments. Dumps are also how a broken graph is shown, so a node
 * may be printed that the verifier has refused: what is looked up through the module or the
 * body is checked here before it is followed. */
#include "compiler/ir/dump.h"

#include <inttypes.h>
#include <stdio.h>

/* " label=value" */
static void labelled_number(const char *label, double value, mvs_text *out) {
  mvs_text_addf(out, " %s=", label);
  mvs_text_add_number(out, value);
}

/* Two blanks a level, as in model files. */
static void indent_text(int depth, mvs_text *out) {
  for (int i = 0; i < depth; i++) mvs_text_add(out, "  ");
}

/* "%1, %2" */
static void ids_text(const mvs_id *ids, uint32_t count, mvs_text *out) {
  for (uint32_t i = 0; i < count; i++) mvs_text_addf(out, "%s%%%u", i ? ", " : "", ids[i]);
}

/* " name(%1, %2)", nothing for an empty group */
static void group_text(const char *name, const mvs_id *ids, uint32_t count, mvs_text *out) {
  if (count == 0) return;
  mvs_text_addf(out, " %s(", name);
  ids_text(ids, count, out);
  mvs_text_add(out, ")");
}

/* --- attributes --- */

/* " axes(1, 2)" from the bits of the mask. */
static void axes_text(uint32_t mask, mvs_text *out) {
  const char *before = " axes(";
  for (int axis = 0; axis < 32; axis++) {
    if (!(mask >> axis & 1)) continue;
    mvs_text_addf(out, "%s%d", before, axis);
    before = ", ";
  }
  mvs_text_add(out, ")");
}

/* " order(0, 2, 1)": result axis i is input axis order[i]. */
static void permutation_text(const mvs_attr *attr, mvs_text *out) {
  mvs_text_add(out, " order(");
  for (int i = 0; i < attr->permutation.rank; i++) {
    mvs_text_addf(out, "%s%d", i ? ", " : "", attr->permutation.axis[i]);
  }
  mvs_text_add(out, ")");
}

/* Attributes of ops without inputs, and of random. */
static void source_text(mvs_attr_kind kind, const mvs_attr *attr, mvs_text *out) {
  static const char *const arguments[] = {"carried", "invariant", "stacked", "read", "layer"};
  if (kind == MVS_ATTR_input) {
    mvs_text_add(out, " ");
    mvs_name_text(attr->input.name, out);
  } else if (kind == MVS_ATTR_param) {
    mvs_text_addf(out, " %" PRIu32, attr->param.index);
  } else if (kind == MVS_ATTR_argument) {
    mvs_text_addf(out, " %s %" PRIu32, arguments[attr->argument.kind], attr->argument.index);
  } else if (kind == MVS_ATTR_constant) {
    mvs_text_add(out, " ");
    mvs_text_add_number(out, attr->constant.value);
  } else if (kind == MVS_ATTR_iota) {
    mvs_text_addf(out, " axis=%d", attr->iota.axis);
  } else if (kind == MVS_ATTR_random) {
    mvs_text_addf(out, " %s stream=%" PRIu32,
                  attr->random.kind == MVS_RANDOM_NORMAL ? "normal" : "uniform",
                  attr->random.stream);
  }
}

/* What the result's type does not say already. */
static void attr_text(mvs_attr_kind kind, const mvs_attr *attr, mvs_text *out) {
  static const char *const forms[] = {"NT", "NN", "TN"};
  switch (kind) {
    case MVS_ATTR_axes:
      axes_text(attr->axes.mask, out);
      return;
    case MVS_ATTR_epsilon:
      labelled_number("eps", attr->epsilon.value, out);
      return;
    case MVS_ATTR_permutation:
      permutation_text(attr, out);
      return;
    case MVS_ATTR_slice:
      mvs_text_addf(out, " axis=%d start=%" PRId64 " length=%" PRId64 " total=%" PRId64,
                    attr->slice.axis, attr->slice.start, attr->slice.length, attr->slice.total);
      return;
    case MVS_ATTR_concat:
      mvs_text_addf(out, " axis=%d", attr->concat.axis);
      return;
    case MVS_ATTR_index:
      mvs_text_addf(out, " %" PRIu32, attr->index.value);
      return;
    case MVS_ATTR_matmul:
      mvs_text_addf(out, " %s", forms[attr->matmul.form]);
      return;
    case MVS_ATTR_attention:
      labelled_number("scale", attr->attention.scale, out);
      return;
    case MVS_ATTR_none:
    case MVS_ATTR_cast:
    case MVS_ATTR_shape:
    case MVS_ATTR_segments:
      return;
    default:
      source_text(kind, attr, out);
  }
}

/* --- regions --- */

/* The node of `graph` that holds a region, or MVS_NONE. */
static mvs_id node_of_region(const mvs_graph *graph, const mvs_region *region) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op == MVS_OP_region && node->attr.region.body == region) return id;
  }
  return MVS_NONE;
}

/* Everything of a region but its body. */
static void region_head(const mvs_graph *graph, const mvs_node *node, mvs_text *out) {
  const mvs_region *region = node->attr.region.body;
  uint32_t carried = region->carried_count, invariant = region->invariant_count;
  mvs_text_add(out, " ");
  mvs_name_text(region->label, out);
  mvs_text_addf(out, " count=%" PRId64 "%s", region->count, region->reverse ? " reverse" : "");
  group_text("carried", node->inputs, carried, out);
  group_text("invariant", node->inputs + carried, invariant, out);
  group_text("stacked", node->inputs + carried + invariant, region->stacked_count, out);
  for (uint32_t i = 0; i < region->read_count; i++) {
    mvs_text_addf(out, "%s%" PRIu32 "@%" PRId64, i ? ", " : " reads(", region->reads[i].output,
                  region->reads[i].distance);
  }
  if (region->read_count) mvs_text_add(out, ")");
  mvs_id forward = region->forward ? node_of_region(graph, region->forward) : MVS_NONE;
  if (forward != MVS_NONE) mvs_text_addf(out, " forward=%%%u", forward);
}

/* "results carried(%1) stacked(%2)". A body whose results do not match its counts is shown as
 * far as they go. */
static void body_results(const mvs_region *region, mvs_text *out) {
  const mvs_results *results = mvs_graph_result_list(region->body);
  mvs_id *ids = MVS_ARRAY(out->home, results->count + 1, mvs_id);
  for (size_t i = 0; i < results->count; i++) ids[i] = results->items[i].id;
  uint32_t count = (uint32_t)results->count;
  uint32_t carried = region->carried_count < count ? region->carried_count : count;
  mvs_text_add(out, "results");
  group_text("carried", ids, carried, out);
  group_text("stacked", ids + carried, count - carried, out);
  mvs_text_add(out, "\n");
}

/* --- nodes --- */

/* False for a region whose results cannot be typed, which the verifier then shows. */
static bool has_result_types(const mvs_node *node) {
  if (node->op != MVS_OP_region) return true;
  const mvs_region *region = node->attr.region.body;
  const mvs_results *results = mvs_graph_result_list(region->body);
  if (results->count != (size_t)region->carried_count + region->output_count) return false;
  for (size_t i = 0; i < results->count; i++) {
    if (mvs_graph_type(region->body, results->items[i].id)->rank >= MVS_MAX_RANK) return false;
  }
  return true;
}

/* " : T", or " : (T0, T1)" for an op of several results. */
static void types_text(const mvs_graph *graph, mvs_id id, mvs_text *out) {
  const mvs_node *node = mvs_graph_node(graph, id);
  mvs_text_add(out, " : ");
  if (!mvs_op_is_tuple(node->op) || !has_result_types(node)) {
    mvs_type_text(&node->type, out);
    return;
  }
  for (uint32_t i = 0; i < mvs_node_result_count(graph, id); i++) {
    mvs_type type = mvs_node_result_type(graph, id, i);
    mvs_text_add(out, i ? ", " : "(");
    mvs_type_text(&type, out);
  }
  mvs_text_add(out, ")");
}

/* The pass, the rewrite's name, and a comment with the source place. */
static void marks_text(const mvs_graph *graph, mvs_id id, mvs_text *out) {
  const mvs_node *node = mvs_graph_node(graph, id);
  if (node->pass) mvs_text_addf(out, " pass=%d", node->pass);
  if (node->rule) {
    mvs_text_add(out, " by ");
    mvs_name_text(node->rule, out);
  }
  const mvs_module *module = mvs_graph_module(graph);
  const char *param = NULL;
  if (node->op == MVS_OP_param && node->attr.param.index < module->params.count) {
    param = module->params.items[node->attr.param.index].name;
  }
  if (!param && !node->span.source) return;
  mvs_text_add(out, "  #");
  if (param) mvs_text_add(out, " ");
  if (param) mvs_name_text(param, out);
  if (!node->span.source) return;
  int line, column;
  mvs_span_position(node->span, &line, &column);
  mvs_text_addf(out, " %s:%d", node->span.source->name, line);
}

/* A node without its types. */
static void node_head(const mvs_graph *graph, mvs_id id, mvs_text *out) {
  const mvs_node *node = mvs_graph_node(graph, id);
  mvs_text_addf(out, "%%%u = %s", id, mvs_ops[node->op].name);
  if (node->op == MVS_OP_region) {
    region_head(graph, node, out);
    return;
  }
  attr_text(mvs_ops[node->op].attribute, &node->attr, out);
  if (node->input_count) mvs_text_add(out, " ");
  ids_text(node->inputs, node->input_count, out);
}

/* Also of nodes that broke a rule: a region's body is left out, its head is shown. */
void mvs_node_dump(const mvs_graph *graph, mvs_id id, mvs_text *out) {
  node_head(graph, id, out);
  types_text(graph, id, out);
  marks_text(graph, id, out);
}

static void nodes_text(const mvs_graph *graph, int depth, mvs_text *out);

/* One line, or for a region its head, its body one level deeper, and a line with its types. */
static void node_text(const mvs_graph *graph, mvs_id id, int depth, mvs_text *out) {
  const mvs_node *node = mvs_graph_node(graph, id);
  indent_text(depth, out);
  node_head(graph, id, out);
  if (node->op == MVS_OP_region) {
    mvs_text_add(out, " {\n");
    nodes_text(node->attr.region.body->body, depth + 1, out);
    indent_text(depth + 1, out);
    body_results(node->attr.region.body, out);
    indent_text(depth, out);
    mvs_text_add(out, "}");
  }
  types_text(graph, id, out);
  marks_text(graph, id, out);
  mvs_text_add(out, "\n");
}

/* All nodes of a graph in the order of their ids, which the reader counts along. */
static void nodes_text(const mvs_graph *graph, int depth, mvs_text *out) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) node_text(graph, id, depth, out);
}

/* A body alone ends with its own kind of results. */
void mvs_graph_dump(const mvs_graph *graph, mvs_text *out) {
  nodes_text(graph, 0, out);
  if (mvs_graph_region(graph)) {
    body_results(mvs_graph_region(graph), out);
    return;
  }
  const mvs_results *results = mvs_graph_result_list(graph);
  mvs_text_add(out, "results");
  for (size_t i = 0; i < results->count; i++) {
    mvs_text_add(out, i ? ", " : " ");
    mvs_name_text(results->items[i].name ? results->items[i].name : "", out);
    mvs_text_addf(out, "=%%%u", results->items[i].id);
  }
  mvs_text_add(out, "\n");
}

/* --- modules --- */

/* "param 0 NAME : TYPE layers=N trained writer pack=9 at=4096 rate=10 decay=0 init=normal(0.02)
 * by ORIGIN"; the pack itself says "is_pack" in the place of "pack=9 at=4096" */
static void param_text(size_t index, const mvs_param *param, mvs_text *out) {
  static const char *const kinds[] = {"constant", "normal", "uniform"};
  mvs_text_addf(out, "param %zu ", index);
  mvs_name_text(param->name, out);
  mvs_text_add(out, " : ");
  mvs_type_text(&param->type, out);
  if (param->layers) mvs_text_addf(out, " layers=%" PRId64, param->layers);
  if (param->trained) mvs_text_add(out, " trained");
  if (param->writer) mvs_text_add(out, " writer");
  if (param->is_pack) mvs_text_add(out, " is_pack");
  if (param->pack) {
    mvs_text_addf(out, " pack=%" PRIu32 " at=%" PRId64, param->pack, param->pack_place);
  }
  if (param->group.has_rate) labelled_number("rate", param->group.rate, out);
  if (param->group.has_decay) labelled_number("decay", param->group.decay, out);
  mvs_text_addf(out, " init=%s(", kinds[param->init.kind]);
  mvs_text_add_number(out, param->init.value);
  mvs_text_add(out, ")");
  if (param->init.origin) {
    mvs_text_add(out, " by ");
    mvs_name_text(param->init.origin, out);
  }
  mvs_text_add(out, "\n");
}

/* "input NAME : TYPE conditioning unconditional=0" */
static void input_text(const mvs_model_input *input, mvs_text *out) {
  mvs_text_add(out, "input ");
  mvs_name_text(input->name, out);
  mvs_text_add(out, " : ");
  mvs_type_text(&input->type, out);
  if (input->conditioning) mvs_text_add(out, " conditioning");
  labelled_number("unconditional", input->unconditional, out);
  mvs_text_add(out, "\n");
}

/* A line of the module, left out when the name is unknown. */
static void named_line(const char *keyword, const char *name, mvs_text *out) {
  if (!name) return;
  mvs_text_addf(out, "%s ", keyword);
  mvs_name_text(name, out);
  mvs_text_add(out, "\n");
}

/* Settings are not part of the text: no pass changes or reads them but lowering. */
void mvs_module_dump(const mvs_module *module, mvs_text *out) {
  named_line("module", module->name, out);
  named_line("output", module->output_name, out);
  named_line("residual", module->residual, out);
  named_line("residual_origin", module->residual_origin, out);
  for (size_t i = 0; i < module->params.count; i++)
    param_text(i, &module->params.items[i], out);
  for (size_t i = 0; i < module->inputs.count; i++) input_text(&module->inputs.items[i], out);
  for (size_t i = 0; i < module->functions.count; i++) {
    mvs_text_add(out, "\n");
    named_line("function", module->functions.items[i].name, out);
    mvs_graph_dump(module->functions.items[i].graph, out);
  }
}
