/* live.c: liveness, one backward sweep per graph. Of regions it is by part: a stack of which
 * only the carried value is taken needs none of its stacked outputs, what those are made of,
 * nor the parameters that only that reads. */
#include "compiler/passes/live.h"

static mvs_live *new_live(mvs_arena *arena, const mvs_graph *graph) {
  mvs_live *live = MVS_NEW(arena, mvs_live);
  size_t size = (size_t)mvs_graph_size(graph) + 1;
  live->nodes = MVS_ARRAY(arena, size, bool);
  live->regions = MVS_ARRAY(arena, size, mvs_live_region *);
  return live;
}

/* Made when the first `get` asks, which comes behind the region and so is swept before it. */
static mvs_live_region *live_region(mvs_arena *arena, mvs_live *live, const mvs_graph *graph,
                                    mvs_id id) {
  if (live->regions[id]) return live->regions[id];
  const mvs_region *region = mvs_graph_node(graph, id)->attr.region.body;
  mvs_live_region *made = MVS_NEW(arena, mvs_live_region);
  uint32_t results = region->carried_count + region->output_count;
  made->results = MVS_ARRAY(arena, results + 1, bool);
  made->taken = MVS_ARRAY(arena, results + 1, bool);
  made->invariants = MVS_ARRAY(arena, region->invariant_count + 1, bool);
  made->stacked = MVS_ARRAY(arena, region->stacked_count + 1, bool);
  made->reads = MVS_ARRAY(arena, region->read_count + 1, bool);
  made->body = new_live(arena, region->body);
  live->regions[id] = made;
  return made;
}

static void sweep(mvs_arena *arena, mvs_live *live, mvs_graph *graph);

/* Notes what a live argument asks for; true when that is a result not yet asked for. */
static bool ask(mvs_live_region *need, const mvs_region *region, const mvs_node *argument) {
  uint32_t index = argument->attr.argument.index;
  switch (argument->attr.argument.kind) {
    case MVS_ARG_INVARIANT:
      need->invariants[index] = true;
      return false;
    case MVS_ARG_STACKED:
      need->stacked[index] = true;
      return false;
    case MVS_ARG_LAYER:
      return false;
    case MVS_ARG_READ:
      need->reads[index] = true;
      index = region->carried_count + region->reads[index].output;
      break;
    case MVS_ARG_CARRIED:
      break;
  }
  bool fresh = !need->results[index];
  need->results[index] = true;
  return fresh;
}

/* An argument may ask for a result of an earlier layer run, which needs further nodes: repeated
 * until nothing new is asked for, at most once per carried value and read. */
static void mark_body(mvs_arena *arena, mvs_live_region *need, const mvs_region *region) {
  const mvs_results *results = mvs_graph_results(region->body);
  for (bool again = true; again;) {
    again = false;
    for (size_t i = 0; i < results->count; i++) {
      if (need->results[i]) need->body->nodes[results->items[i].id] = true;
    }
    sweep(arena, need->body, region->body);
    for (mvs_id id = 0; id < mvs_graph_size(region->body); id++) {
      const mvs_node *node = mvs_graph_node(region->body, id);
      if (node->op != MVS_OP_argument || !need->body->nodes[id]) continue;
      if (ask(need, region, node)) again = true;
    }
  }
}

/* By now all users of the region are known, so its body can be judged. */
static void mark_region(mvs_arena *arena, mvs_live *live, const mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  const mvs_region *region = node->attr.region.body;
  mvs_live_region *need = live_region(arena, live, graph, id);
  mark_body(arena, need, region);
  const mvs_id *input = node->inputs;
  for (uint32_t i = 0; i < region->carried_count; i++, input++) {
    if (need->results[i]) live->nodes[*input] = true;
  }
  for (uint32_t i = 0; i < region->invariant_count; i++, input++) {
    if (need->invariants[i]) live->nodes[*input] = true;
  }
  for (uint32_t i = 0; i < region->stacked_count; i++, input++) {
    if (need->stacked[i]) live->nodes[*input] = true;
  }
}

/* A `get` asks for one result of a region; what only the others need stays dead. */
static void mark_inputs(mvs_arena *arena, mvs_live *live, const mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  for (int i = 0; i < node->input_count; i++) live->nodes[node->inputs[i]] = true;
  if (node->op != MVS_OP_get) return;
  if (mvs_graph_node(graph, node->inputs[0])->op != MVS_OP_region) return;
  mvs_live_region *need = live_region(arena, live, graph, node->inputs[0]);
  need->results[node->attr.index.value] = need->taken[node->attr.index.value] = true;
}

/* Inputs have smaller ids, so that all users of a node are seen before it. */
static void sweep(mvs_arena *arena, mvs_live *live, mvs_graph *graph) {
  for (mvs_id id = mvs_graph_size(graph); id-- > 0;) {
    if (!live->nodes[id]) continue;
    if (mvs_graph_node(graph, id)->op == MVS_OP_region) {
      mark_region(arena, live, graph, id);
    } else {
      mark_inputs(arena, live, graph, id);
    }
  }
}

mvs_live *mvs_live_new(mvs_arena *arena, mvs_graph *graph) {
  mvs_live *live = new_live(arena, graph);
  const mvs_results *results = mvs_graph_results(graph);
  for (size_t i = 0; i < results->count; i++) live->nodes[results->items[i].id] = true;
  sweep(arena, live, graph);
  return live;
}
