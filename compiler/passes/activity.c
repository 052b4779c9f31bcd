/* activity.c: activity, one forward sweep per graph; a body's is swept until what its layers
 * hand on is known.
 *
 *   %0 input                       no       %3 = mul %0, %1 (param)    yes
 *   %1 param, %2 param at rate 0   yes, no  %4 = less %3, %0           no: steps have no slope
 *   %5 = mul %2, %0                no       %6 = mul %5, %3            yes, through %3 alone */
#include "compiler/passes/activity.h"

/* What comes into a body: per kind of argument, per index. NULL at the top level. */
typedef struct incoming {
  bool *carried, *invariants, *stacked, *reads;
} incoming;

/* Integers and steps pass no gradient on; neither does a draw, which depends on no parameter.
 */
static bool has_derivative(const mvs_node *node) {
  switch (node->op) {
    case MVS_OP_less:
    case MVS_OP_equal:
    case MVS_OP_floor:
    case MVS_OP_random:
      return false;
    default:
      return node->type.dtype != MVS_I32;
  }
}

/* A body sees of its surroundings only what its arguments say. */
static bool argument_active(const incoming *in, const mvs_node *node) {
  uint32_t index = node->attr.argument.index;
  if (node->type.dtype == MVS_I32) return false;
  switch (node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      return in->carried[index];
    case MVS_ARG_INVARIANT:
      return in->invariants[index];
    case MVS_ARG_STACKED:
      return in->stacked[index];
    case MVS_ARG_READ:
      return in->reads[index];
    case MVS_ARG_LAYER:
      return false;
  }
  return false;
}

/* A frozen parameter is a constant to the loss: nothing that only it needs is computed. */
static bool param_active(const mvs_graph *graph, const mvs_node *node) {
  return mvs_param_learns(&mvs_graph_module(graph)->params.items[node->attr.param.index]);
}

static bool any_input_active(const mvs_activity *activity, const mvs_node *node) {
  for (int i = 0; i < node->input_count; i++) {
    if (activity->nodes[node->inputs[i]]) return true;
  }
  return false;
}

static mvs_activity *new_activity(mvs_arena *arena, const mvs_graph *graph) {
  mvs_activity *activity = MVS_NEW(arena, mvs_activity);
  size_t size = (size_t)mvs_graph_size(graph) + 1;
  activity->nodes = MVS_ARRAY(arena, size, bool);
  activity->bodies = MVS_ARRAY(arena, size, mvs_activity *);
  return activity;
}

static void sweep(mvs_arena *arena, mvs_activity *activity, mvs_graph *graph,
                  const incoming *in);

/* Takes the activity of a body's results over to its carried arguments and reads; true when one
 * became active by that. */
static bool feed_back(const mvs_region *region, const mvs_activity *body, incoming *in) {
  const mvs_results *results = mvs_graph_results(region->body);
  bool changed = false;
  for (uint32_t i = 0; i < region->carried_count; i++) {
    if (in->carried[i] || !body->nodes[results->items[i].id]) continue;
    in->carried[i] = changed = true;
  }
  for (uint32_t i = 0; i < region->read_count; i++) {
    uint32_t result = region->carried_count + region->reads[i].output;
    if (in->reads[i] || !body->nodes[results->items[result].id]) continue;
    in->reads[i] = changed = true;
  }
  return changed;
}

/* Copies the activity of some inputs of a region node. */
static void take(bool *to, const mvs_activity *activity, const mvs_id *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = activity->nodes[from[i]];
}

/* What one layer makes active, the next layer run starts with: repeated until nothing changes,
 * at most once per carried value and read. */
static void enter_region(mvs_arena *arena, mvs_activity *activity, const mvs_graph *graph,
                         mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  const mvs_region *region = node->attr.region.body;
  mvs_activity *body = new_activity(arena, region->body);
  incoming in = {MVS_ARRAY(arena, region->carried_count + 1, bool),
                 MVS_ARRAY(arena, region->invariant_count + 1, bool),
                 MVS_ARRAY(arena, region->stacked_count + 1, bool),
                 MVS_ARRAY(arena, region->read_count + 1, bool)};
  const mvs_id *inputs = node->inputs;
  take(in.carried, activity, inputs, region->carried_count);
  take(in.invariants, activity, inputs += region->carried_count, region->invariant_count);
  take(in.stacked, activity, inputs + region->invariant_count, region->stacked_count);
  do {
    sweep(arena, body, region->body, &in);
  } while (feed_back(region, body, &in));
  activity->bodies[id] = body;
  const mvs_results *results = mvs_graph_results(region->body);
  for (size_t i = 0; i < results->count; i++) {
    if (body->nodes[results->items[i].id]) activity->nodes[id] = true;
  }
}

/* Each result of a region has an activity of its own: that of its value in the body. */
static bool get_active(const mvs_activity *activity, const mvs_graph *graph,
                       const mvs_node *node) {
  mvs_id tuple = node->inputs[0];
  const mvs_node *from = mvs_graph_node(graph, tuple);
  if (from->op != MVS_OP_region) return activity->nodes[tuple];
  const mvs_region *region = from->attr.region.body;
  mvs_id result = mvs_graph_results(region->body)->items[node->attr.index.value].id;
  return activity->bodies[tuple]->nodes[result];
}

static void sweep(mvs_arena *arena, mvs_activity *activity, mvs_graph *graph,
                  const incoming *in) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    bool *active = &activity->nodes[id];
    switch (node->op) {
      case MVS_OP_param:
        *active = param_active(graph, node);
        break;
      case MVS_OP_argument:
        *active = argument_active(in, node);
        break;
      case MVS_OP_region:
        enter_region(arena, activity, graph, id);
        break;
      case MVS_OP_get:
        *active = get_active(activity, graph, node);
        break;
      default:
        *active = has_derivative(node) && any_input_active(activity, node);
    }
  }
}

mvs_activity *mvs_activity_new(mvs_arena *arena, mvs_graph *graph) {
  mvs_activity *activity = new_activity(arena, graph);
  sweep(arena, activity, graph, NULL);
  return activity;
}
