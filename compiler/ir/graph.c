/* graph.c: append-only storage of nodes, and interning. Adding a node works out its type by the
 * op's shape rule, brings the attribute into its one spelling, and looks for an equal node;
 * only when there is none the node is stored. Inputs have smaller ids than their users, so
 * walking the ids upwards is a topological order and passes need no other. Nodes never change,
 * which is what lets others keep pointers into the graph. What a pass no longer wants is simply
 * not copied into the graph it makes; nothing is deleted here. */
#include "compiler/ir/graph.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "compiler/ir/attr.h"

/* Nodes live in chunks, so that a pointer to one stays valid while the graph grows. Chunk k
 * holds FIRST_CHUNK << k nodes: a small body is cheap, a large graph has few chunks. */
#define FIRST_CHUNK 16u

struct mvs_graph {
  mvs_arena *home;
  struct mvs_module *module;
  struct mvs_region *region;
  MVS_LIST(mvs_node *) chunks;
  mvs_id size;
  /* Open addressing over node ids; MVS_NONE is empty. A power of two, at most half full. */
  mvs_id *slots;
  uint32_t slot_count;
  uint8_t pass;
  const char *rule;
  mvs_results results;
  mvs_marks marks;
};

mvs_graph *mvs_graph_new(mvs_arena *home, struct mvs_module *module,
                         struct mvs_region *region) {
  mvs_graph *graph = MVS_NEW(home, mvs_graph);
  graph->home = home;
  graph->module = module;
  graph->region = region;
  return graph;
}

struct mvs_module *mvs_graph_module(const mvs_graph *graph) {
  return graph->module;
}
struct mvs_region *mvs_graph_region(const mvs_graph *graph) {
  return graph->region;
}
mvs_arena *mvs_graph_arena(const mvs_graph *graph) { return graph->home; }
mvs_id mvs_graph_size(const mvs_graph *graph) { return graph->size; }
mvs_results *mvs_graph_results(mvs_graph *graph) { return &graph->results; }
const mvs_results *mvs_graph_result_list(const mvs_graph *graph) { return &graph->results; }
const mvs_marks *mvs_graph_marks(const mvs_graph *graph) { return &graph->marks; }

mvs_id mvs_graph_marked(const mvs_graph *graph, mvs_mark_kind kind, uint32_t site) {
  for (size_t i = 0; i < graph->marks.count; i++) {
    const mvs_mark *mark = &graph->marks.items[i];
    if (mark->kind == kind && mark->site == site) return mark->id;
  }
  return MVS_NONE;
}

void mvs_graph_add_mark(mvs_graph *graph, mvs_mark_kind kind, uint32_t site, mvs_id id) {
  assert(id < graph->size);
  if (mvs_graph_marked(graph, kind, site) != MVS_NONE) return;
  mvs_mark mark = {kind, site, id};
  MVS_PUSH(graph->home, &graph->marks, mark);
}

void mvs_graph_set_pass(mvs_graph *graph, uint8_t pass) { graph->pass = pass; }
void mvs_graph_set_rule(mvs_graph *graph, const char *rule) { graph->rule = rule; }

/* The chunk of a node: FIRST_CHUNK * (2^k - 1) is the first id of chunk k. */
static int chunk_of(mvs_id id) { return 31 - __builtin_clz(id / FIRST_CHUNK + 1); }
/* The id of a chunk's first node. */
static mvs_id chunk_begin(int k) { return FIRST_CHUNK * ((1u << k) - 1); }

/* The place of a node. Ids come from the graph itself, so one out of range is our mistake. */
static mvs_node *node_at(const mvs_graph *graph, mvs_id id) {
  assert(id < graph->size);
  int k = chunk_of(id);
  return &graph->chunks.items[k][id - chunk_begin(k)];
}

const mvs_node *mvs_graph_node(const mvs_graph *graph, mvs_id id) { return node_at(graph, id); }

const mvs_type *mvs_graph_type(const mvs_graph *graph, mvs_id id) {
  return &node_at(graph, id)->type;
}

/* A hash of what same_key compares; pointers in it make it differ from run to run, which
 * nothing depends on: ids follow the order of adding. */
static uint64_t hash_key(const mvs_node *key) {
  uint64_t hash = mvs_attr_mix(0x9e3779b97f4a7c15u, (uint64_t)key->op << 8 | key->pass);
  for (int i = 0; i < key->input_count; i++) hash = mvs_attr_mix(hash, key->inputs[i]);
  hash = mvs_attr_hash(hash, mvs_ops[key->op].attribute, &key->attr);
  return mvs_type_hash(hash, &key->type);
}

/* True when two nodes are to be one: all but the place and the rule count. */
static bool same_key(const mvs_node *a, const mvs_node *b) {
  if (a->op != b->op || a->pass != b->pass || a->input_count != b->input_count) return false;
  for (int i = 0; i < a->input_count; i++) {
    if (a->inputs[i] != b->inputs[i]) return false;
  }
  return mvs_type_equal(&a->type, &b->type) &&
         mvs_attr_equal(mvs_ops[a->op].attribute, &a->attr, &b->attr);
}

/* The slot that holds a node equal to `key`, or the empty one where it belongs. */
static uint32_t find_slot(const mvs_graph *graph, const mvs_node *key) {
  uint32_t mask = graph->slot_count - 1, slot = (uint32_t)hash_key(key) & mask;
  while (graph->slots[slot] != MVS_NONE && !same_key(node_at(graph, graph->slots[slot]), key)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

/* An empty graph has no table yet. */
mvs_id mvs_graph_find(const mvs_graph *graph, const mvs_node *key) {
  return graph->slot_count ? graph->slots[find_slot(graph, key)] : MVS_NONE;
}

/* Doubles the table and enters all nodes again. */
static void grow_slots(mvs_graph *graph) {
  graph->slot_count = graph->slot_count ? graph->slot_count * 2 : 128;
  graph->slots = MVS_ARRAY(graph->home, graph->slot_count, mvs_id);
  for (uint32_t i = 0; i < graph->slot_count; i++) graph->slots[i] = MVS_NONE;
  for (mvs_id id = 0; id < graph->size; id++) {
    graph->slots[find_slot(graph, node_at(graph, id))] = id;
  }
}

/* Stores a copy of the node, its list of inputs included. Chunks are added and never moved. */
static mvs_id append(mvs_graph *graph, const mvs_node *node) {
  assert(graph->size < MVS_NONE);
  int k = chunk_of(graph->size);
  if ((size_t)k == graph->chunks.count) {
    MVS_PUSH(graph->home, &graph->chunks,
             MVS_ARRAY(graph->home, (size_t)FIRST_CHUNK << k, mvs_node));
  }
  mvs_id id = graph->size++;
  mvs_node *place = node_at(graph, id);
  *place = *node;
  mvs_id *inputs = MVS_ARRAY(graph->home, node->input_count ? node->input_count : 1, mvs_id);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i];
  place->inputs = inputs;
  return id;
}

/* An op that does not fit here is a mistake of the compiler. Builds without asserts stop as
 * well: a wrong type would only surface as a wrong kernel. */
static mvs_type infer_or_die(mvs_graph *graph, mvs_op op, const mvs_id *inputs, int count,
                             const mvs_attr *attr, mvs_span span) {
  mvs_type type = {0};
  if (mvs_graph_infer(graph, op, inputs, count, attr, span, NULL, &type) == MVS_OK) return type;
  mvs_diag *diag = mvs_diag_new(graph->home);
  mvs_graph_infer(graph, op, inputs, count, attr, span, diag, &type);
  mvs_text words = mvs_text_new(graph->home);
  mvs_diag_render(diag, &words);
  fprintf(stderr, "mvs_graph_add: assertion failed: %s\n", mvs_text_string(&words));
  abort();
}

/* The key is built on the stack and copied only when no equal node is found. `pass` and `rule`
 * are those set last; the rule takes no part in interning, so the first to make a node names
 * it. */
mvs_id mvs_graph_add(mvs_graph *graph, mvs_op op, const mvs_id *inputs, int count,
                     const mvs_attr *attr, mvs_span span) {
  mvs_node node = {.op = op,
                   .pass = graph->pass,
                   .input_count = (uint16_t)count,
                   .inputs = inputs,
                   .span = span,
                   .rule = graph->rule};
  node.type = infer_or_die(graph, op, inputs, count, attr, span);
  mvs_attr_canonical(mvs_ops[op].attribute, attr, &node.type, &node.attr);
  if (graph->size * 2 >= graph->slot_count) grow_slots(graph);
  uint32_t slot = find_slot(graph, &node);
  if (graph->slots[slot] == MVS_NONE) graph->slots[slot] = append(graph, &node);
  return graph->slots[slot];
}
