/* rewrite.c: the driver of the rewrite rules. */
#include <assert.h>

#include "compiler/passes/rewrite_internal.h"

#define MAX_ROUNDS 64 /* rebuilds of one graph; four are usual */
#define MAX_STEPS  64 /* rules applied one after the other to one node */

mvs_id *mvs_new_ids(mvs_arena *arena, size_t count) {
  mvs_id *ids = MVS_ARRAY(arena, count + 1, mvs_id);
  for (size_t i = 0; i < count; i++) ids[i] = MVS_NONE;
  return ids;
}

static void note_fired(mvs_rewriter *at, size_t rule, mvs_span span) {
  at->last_fired = at->rules[rule].name;
  if (!at->counts) return;
  mvs_rule_count *count = &at->counts[rule];
  count->fired++;
  for (size_t i = 0; i < count->place_count; i++) {
    if (count->places[i].source == span.source && count->places[i].begin == span.begin) return;
  }
  if (span.source && count->place_count < MVS_RULE_PLACES) {
    count->places[count->place_count++] = span;
  }
}

/* Tries the rules on a node; returns its replacement, or the node itself when none fits. */
static mvs_id apply_once(mvs_rewriter *at, mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  for (size_t i = 0; i < at->rule_count; i++) {
    const mvs_rule *rule = &at->rules[i];
    if (rule->root != MVS_ANY_OP && rule->root != node->op) continue;
    if (rule->late && !at->late) continue;
    mvs_match match = {.graph = graph, .root = id, .node = node};
    if (!rule->guard(&match)) continue;
    mvs_graph_set_pass(graph, node->pass);
    mvs_graph_set_rule(graph, rule->name);
    mvs_id made = rule->build(graph, &match);
    mvs_graph_set_pass(graph, 0);
    mvs_graph_set_rule(graph, NULL);
    assert(mvs_type_equal(mvs_graph_type(graph, made), &node->type));
    if (made == id) continue;
    note_fired(at, i, node->span);
    return made;
  }
  return id;
}

static mvs_id apply_rules(mvs_rewriter *at, mvs_graph *graph, mvs_id id) {
  for (int step = 0; step < MAX_STEPS; step++) {
    mvs_id made = apply_once(at, graph, id);
    if (made == id) return id;
    id = made;
  }
  return id;
}

static mvs_id copy_node(mvs_rebuild *work, mvs_id id) {
  const mvs_node *node = mvs_graph_node(work->from, id);
  mvs_id inputs[MVS_MAX_INPUTS];
  for (int i = 0; i < node->input_count; i++) inputs[i] = work->map[node->inputs[i]];
  mvs_graph_set_pass(work->to, node->pass);
  mvs_graph_set_rule(work->to, node->rule);
  mvs_id made =
      mvs_graph_add(work->to, node->op, inputs, node->input_count, &node->attr, node->span);
  mvs_graph_set_pass(work->to, 0);
  mvs_graph_set_rule(work->to, NULL);
  return made;
}

mvs_id mvs_rebuild_node(mvs_rebuild *work, mvs_id id) {
  const mvs_node *node = mvs_graph_node(work->from, id);
  if (node->op == MVS_OP_region) {
    mvs_rebuild_region(work, id);
    return MVS_NONE;
  }
  if (node->op == MVS_OP_get && work->results[node->inputs[0]]) {
    return work->results[node->inputs[0]][node->attr.index.value];
  }
  return apply_rules(work->at, work->to, copy_node(work, id));
}

mvs_graph *mvs_rebuild_graph(mvs_rewriter *at, mvs_graph *from) {
  at->last_fired = NULL;
  at->regions.count = 0;
  size_t size = mvs_graph_size(from);
  mvs_rebuild work = {.at = at,
                      .from = from,
                      .to = mvs_graph_new(at->arena, mvs_graph_module(from), NULL),
                      .live = mvs_live_new(at->arena, from),
                      .map = mvs_new_ids(at->arena, size),
                      .results = MVS_ARRAY(at->arena, size + 1, mvs_id *)};
  for (mvs_id id = 0; id < size; id++) {
    if (work.live->nodes[id]) work.map[id] = mvs_rebuild_node(&work, id);
  }
  const mvs_results *results = mvs_graph_results(from);
  for (size_t i = 0; i < results->count; i++) {
    mvs_result result = {results->items[i].name, work.map[results->items[i].id]};
    MVS_PUSH(at->arena, mvs_graph_results(work.to), result);
  }
  return work.to;
}

mvs_graph *mvs_rewrite_copy(mvs_arena *arena, mvs_graph *graph) {
  mvs_rewriter at = {.arena = arena};
  return mvs_rebuild_graph(&at, graph);
}

/* Rebuilds until no rule fires. */
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
  MVS_TRY(settle(compilation, &at, &graph));
  if (compilation->facts & MVS_FACT_GRADIENTS) {
    at.late = true;
    MVS_TRY(settle(compilation, &at, &graph));
  }
  *out = graph;
  return MVS_OK;
}
