/* held.c: carried values that are held, known by their form. */
#include "compiler/passes/held.h"

/* A value before it is rounded or widened. */
static mvs_id uncast(const mvs_graph *body, mvs_id id) {
  const mvs_node *node = mvs_graph_node(body, id);
  return node->op == MVS_OP_cast ? node->inputs[0] : id;
}

static bool is_layer(const mvs_graph *body, mvs_id id) {
  const mvs_node *node = mvs_graph_node(body, uncast(body, id));
  return node->op == MVS_OP_argument && node->attr.argument.kind == MVS_ARG_LAYER;
}

/* The same in all layers: made of numbers and indices, or brought in from outside. */
static bool is_fixed(const mvs_graph *body, mvs_id id) {
  const mvs_node *node = mvs_graph_node(body, id);
  if (node->op == MVS_OP_argument) return node->attr.argument.kind == MVS_ARG_INVARIANT;
  return node->op == MVS_OP_constant || node->op == MVS_OP_iota ||
         (node->op == MVS_OP_reshape && is_fixed(body, node->inputs[0]));
}

/* select(`op`(layer, blocks), ...): its blocks, or MVS_NONE. */
static mvs_id blocks_of(const mvs_graph *body, const mvs_node *node, mvs_op op) {
  if (node->op != MVS_OP_select) return MVS_NONE;
  const mvs_node *condition = mvs_graph_node(body, node->inputs[0]);
  if (condition->op != op || !is_layer(body, condition->inputs[0])) return MVS_NONE;
  return is_fixed(body, condition->inputs[1]) ? condition->inputs[1] : MVS_NONE;
}

static bool is_argument(const mvs_node *node, uint32_t index) {
  return node->op == MVS_OP_argument && node->attr.argument.kind == MVS_ARG_CARRIED &&
         node->attr.argument.index == index;
}

/* What may read the argument or `next`, and how. */
typedef struct held {
  mvs_id argument, select, next, blocks;
} held;

/* True when a node reads neither of them but as the form has it. */
static bool reads_as_held(const mvs_graph *body, mvs_id id, const held *h) {
  const mvs_node *node = mvs_graph_node(body, id);
  for (int i = 0; i < node->input_count; i++) {
    mvs_id input = node->inputs[i];
    if (input == h->argument && (id != h->select || i != 2)) return false;
    if (input == h->select && h->select != h->next && id != h->next) return false;
    if (input != h->next) continue;
    if (i != 2 || blocks_of(body, node, MVS_OP_less) != h->blocks) return false;
  }
  return true;
}

/* True when nothing reads them otherwise, nor takes them out of the body. */
static bool is_held(const mvs_region *region, uint32_t index, const held *h) {
  const mvs_graph *body = region->body;
  const mvs_results *results = mvs_graph_result_list(body);
  for (size_t i = 0; i < results->count; i++) {
    mvs_id id = results->items[i].id;
    if (i != index && (id == h->argument || id == h->select || id == h->next)) return false;
  }
  for (mvs_id id = h->argument + 1; id < mvs_graph_size(body); id++) {
    if (!reads_as_held(body, id, h)) return false;
  }
  return true;
}

mvs_id mvs_held_next(const mvs_region *region, uint32_t index) {
  const mvs_graph *body = region->body;
  if (region->reverse) return MVS_NONE;
  held h = {.next = mvs_graph_result_list(body)->items[index].id};
  h.select = uncast(body, h.next);
  const mvs_node *select = mvs_graph_node(body, h.select);
  h.blocks = blocks_of(body, select, MVS_OP_equal);
  if (h.blocks == MVS_NONE) return MVS_NONE;
  h.argument = select->inputs[2];
  if (!is_argument(mvs_graph_node(body, h.argument), index)) return MVS_NONE;
  return is_held(region, index, &h) ? h.next : MVS_NONE;
}
