/* rebuild.c: nodes and whole graphs rebuilt, with rules applied as they are. */
#include "compiler/passes/rebuild.h"

#include <assert.h>

#define MAX_STEPS 64 /* rules applied one after the other to one node */

mvs_id *mvs_new_ids(mvs_arena *arena, size_t count) {
  mvs_id *ids = MVS_ARRAY(arena, count + 1, mvs_id);
  for (size_t i = 0; i < count; i++) ids[i] = MVS_NONE;
  return ids;
}

/* Places are for a report and few; the count is exact. */
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

/* Results count as users: a value that is returned is needed as it is. */
mvs_rule_source mvs_rebuild_source(mvs_arena *arena, mvs_graph *from, const mvs_live *live) {
  uint32_t *users = MVS_ARRAY(arena, (size_t)mvs_graph_size(from) + 1, uint32_t);
  for (mvs_id id = 0; id < mvs_graph_size(from); id++) {
    const mvs_node *node = mvs_graph_node(from, id);
    for (int i = 0; live->nodes[id] && i < node->input_count; i++) users[node->inputs[i]]++;
  }
  const mvs_results *results = mvs_graph_results(from);
  for (size_t i = 0; i < results->count; i++) users[results->items[i].id]++;
  return (mvs_rule_source){from, users};
}

/* Tries the rules on a node; returns its replacement, or the node itself when none fits. */
static mvs_id apply_once(const mvs_rebuild *work, mvs_id id, mvs_id copied) {
  mvs_rewriter *at = work->at;
  mvs_graph *graph = work->to;
  const mvs_node *node = mvs_graph_node(graph, id);
  for (size_t i = 0; i < at->rule_count; i++) {
    const mvs_rule *rule = &at->rules[i];
    if (rule->root != MVS_ANY_OP && rule->root != node->op) continue;
    if (rule->when & ~at->when) continue;
    mvs_match match = {
        .graph = graph, .root = id, .node = node, .source = &work->source, .copied = copied};
    if (!rule->guard(&match)) continue;
    mvs_graph_set_pass(graph, node->pass);
    mvs_graph_set_rule(graph, rule->name);
    mvs_id made = rule->build(graph, &match);
    mvs_graph_set_pass(graph, 0);
    mvs_graph_set_rule(graph, NULL);
    /* rule.h: of the same type, segments included. The users were typed with the old value. */
    assert(mvs_type_equal(mvs_graph_type(graph, made), &node->type));
    /* Interning gave the node itself: nothing changed, and to count it would keep the driver
     * from settling. */
    if (made == id) continue;
    note_fired(at, i, node->span);
    return made;
  }
  return id;
}

/* The replacement is tried again, since rules are written to build on each other. It is a copy
 * of no node of the source any more, so guards that count users there (taken_once in
 * simplify_writers.c) wait for the next round. Two rules that undo each other leave here after
 * MAX_STEPS and are named by settle() in rewrite.c. */
static mvs_id apply_rules(const mvs_rebuild *work, mvs_id id, mvs_id copied) {
  for (int step = 0; step < MAX_STEPS; step++) {
    mvs_id made = apply_once(work, id, copied);
    if (made == id) return id;
    id = made;
    copied = MVS_NONE;
  }
  return id;
}

/* Pass and rule go along: a redone value stays apart from the kept one, and the dump goes on
 * naming the rule that made it. */
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

/* A `get` of a region is not copied: which results the new region has, and where, only
 * close_region knows. One of attention is a node like any other. */
mvs_id mvs_rebuild_node(mvs_rebuild *work, mvs_id id) {
  const mvs_node *node = mvs_graph_node(work->from, id);
  if (node->op == MVS_OP_region) {
    mvs_rebuild_region(work, id);
    return MVS_NONE;
  }
  if (node->op == MVS_OP_get && work->results[node->inputs[0]]) {
    return work->results[node->inputs[0]][node->attr.index.value];
  }
  return apply_rules(work, copy_node(work, id), id);
}

void mvs_rebuild_marks(const mvs_rebuild *work) {
  const mvs_marks *marks = mvs_graph_marks(work->from);
  for (size_t i = 0; i < marks->count; i++) {
    const mvs_mark *mark = &marks->items[i];
    mvs_id now = work->map[mark->id];
    if (now != MVS_NONE) mvs_graph_add_mark(work->to, mark->kind, mark->site, now);
  }
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
  work.source = mvs_rebuild_source(at->arena, from, work.live);
  /* Inputs have smaller ids than their users, so one walk upwards finds them built. Hooks come
   * first: what they place is neither copied nor seen by rules. */
  for (mvs_id id = 0; id < size; id++) {
    if (!work.live->nodes[id]) continue;
    if (at->place && at->place(NULL, &work, id)) continue;
    if (at->replace) work.map[id] = at->replace(&work, id);
    if (work.map[id] == MVS_NONE) work.map[id] = mvs_rebuild_node(&work, id);
  }
  mvs_rebuild_marks(&work);
  const mvs_results *results = mvs_graph_results(from);
  for (size_t i = 0; i < results->count; i++) {
    mvs_result result = {results->items[i].name, work.map[results->items[i].id]};
    MVS_PUSH(at->arena, mvs_graph_results(work.to), result);
  }
  return work.to;
}
