/* dot.c: one function as a Graphviz digraph; a region's body is a cluster. Nodes are called
 * n<graph>_<id>, graphs being numbered as they are met, so that names are unique over nested
 * bodies. Edges follow the values. The arguments of a body are not tied to the inputs of their
 * region one by one: the drawing is for reading, and dump.c has every detail. */
#include <inttypes.h>

#include "compiler/ir/dump.h"

typedef struct drawing {
  mvs_text *out;
  int clusters; /* numbers the graphs, so that node names are unique */
} drawing;

/* A quoted string of the dot language: quotes and backslashes get a backslash. */
static void label_text(const char *label, mvs_text *out) {
  mvs_text_add(out, "\"");
  for (; *label; label++) {
    if (*label == '"' || *label == '\\') mvs_text_add(out, "\\");
    mvs_text_add_bytes(out, label, 1);
  }
  mvs_text_add(out, "\"");
}

/* Number, op, what tells it apart from others of its op, and the type. */
static const char *node_label(const mvs_graph *graph, mvs_id id, mvs_arena *home) {
  const mvs_node *node = mvs_graph_node(graph, id);
  mvs_text type = mvs_text_new(home);
  mvs_type_text(&node->type, &type);
  const char *detail = "";
  if (node->op == MVS_OP_input) detail = node->attr.input.name;
  if (node->op == MVS_OP_region) detail = node->attr.region.body->label;
  if (node->op == MVS_OP_constant) {
    detail = mvs_arena_format(home, "%g", node->attr.constant.value);
  }
  if (node->op == MVS_OP_param) {
    const mvs_module *module = mvs_graph_module(graph);
    detail = module->params.items[node->attr.param.index].name;
  }
  return mvs_arena_format(home, "%%%u %s %s %s", id, mvs_ops[node->op].name, detail,
                          mvs_text_string(&type));
}

static int graph_text(drawing *dot, const mvs_graph *graph);

/* Writes a region's body as a cluster and ties its results to the node outside. */
static void body_text(drawing *dot, int outer, mvs_id id, const mvs_region *region) {
  mvs_text_addf(dot->out, "subgraph cluster_%d {\nlabel=", dot->clusters + 1);
  label_text(mvs_arena_format(dot->out->home, "%s x %" PRId64, region->label, region->count),
             dot->out);
  mvs_text_add(dot->out, ";\n");
  int inner = graph_text(dot, region->body);
  mvs_text_add(dot->out, "}\n");
  const mvs_results *results = mvs_graph_result_list(region->body);
  for (size_t i = 0; i < results->count; i++) {
    mvs_text_addf(dot->out, "n%d_%u -> n%d_%u [style=dashed];\n", inner, results->items[i].id,
                  outer, id);
  }
}

/* Draws a graph and the bodies in it; returns the number in its nodes' names. */
static int graph_text(drawing *dot, const mvs_graph *graph) {
  int own = ++dot->clusters;
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    mvs_text_addf(dot->out, "n%d_%u [shape=%s, label=", own, id,
                  mvs_ops[node->op].op_class == MVS_CLASS_HEAVY ? "box" : "ellipse");
    label_text(node_label(graph, id, dot->out->home), dot->out);
    mvs_text_add(dot->out, "];\n");
    for (int i = 0; i < node->input_count; i++) {
      mvs_text_addf(dot->out, "n%d_%u -> n%d_%u;\n", own, node->inputs[i], own, id);
    }
    if (node->op == MVS_OP_region) body_text(dot, own, id, node->attr.region.body);
  }
  return own;
}

/* Results are plain words below the nodes that they name. */
void mvs_graph_dot(const mvs_graph *graph, const char *name, mvs_text *out) {
  drawing dot = {out, 0};
  mvs_text_add(out, "digraph ");
  label_text(name, out);
  mvs_text_add(out, " {\n");
  int own = graph_text(&dot, graph);
  const mvs_results *results = mvs_graph_result_list(graph);
  for (size_t i = 0; i < results->count; i++) {
    const char *label = results->items[i].name ? results->items[i].name : "result";
    mvs_text_addf(out, "r%zu [shape=plaintext, label=", i);
    label_text(label, out);
    mvs_text_addf(out, "];\nn%d_%u -> r%zu;\n", own, results->items[i].id, i);
  }
  mvs_text_add(out, "}\n");
}
