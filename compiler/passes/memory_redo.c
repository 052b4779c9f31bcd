/* memory_redo.c: which groups of a body run again when its values are redone for the backward
 * pass.
 *
 * A value that crosses is either kept for every layer or made again, just before the backward
 * of its layer, from what is there: carried values, which are kept for all layers, invariants
 * and stacked inputs, and, asked for `alone`, the other values that cross. A walk from the last
 * group to the first collects the groups for it. The groups are those of the forward pass, so
 * the bits are, too. */
#include "compiler/passes/memory.h"

typedef MVS_LIST(uint32_t) group_list;

typedef struct redo {
  const mvs_layout *layout;
  const mvs_region_layout *region;
  uint32_t target; /* the buffer whose value is redone; UINT32_MAX: all that cross */
  bool alone;      /* other values that cross are there */
  bool *wanted;    /* per node of the body */
  bool *joined;    /* per buffer: parts are wanted there, whoever stores them */
} redo;

static mvs_buffer *buffer_at(const redo *at, uint32_t index) {
  return &at->layout->function->buffers.items[index];
}

/* True for a value that is redone where blocks are. */
static bool may_be_redone(const redo *at, uint32_t index) {
  const mvs_buffer *buffer = buffer_at(at, index);
  return buffer->crossing && buffer->slots_least == 1;
}

static bool is_target(const redo *at, uint32_t index) {
  return at->target == UINT32_MAX ? may_be_redone(at, index) : at->target == index;
}

/* Carried values: the block starts again from its argument, and its result is still there. */
static bool keep_if_carried(const redo *at, uint32_t buffer) {
  for (uint32_t i = 0; i < at->region->region->carried_count; i++) {
    if (at->region->carried[i] != buffer) continue;
    mvs_layout_keep_carried(at->layout, at->region, i, false);
    return true;
  }
  return false;
}

/* A read needs the values of other layers, which are not redone. */
static bool keep_if_read(const redo *at, uint32_t index) {
  for (uint32_t i = 0; i < at->region->region->output_count; i++) {
    if (at->region->outputs[i].buffer != index || at->region->distances[i] == 0) continue;
    mvs_buffer *buffer = buffer_at(at, index);
    buffer->slots_least = buffer->slots_kept;
    buffer->crossing = true;
    return true;
  }
  return false;
}

/* A redone group loads the value. Of what crosses but is not redone now, the place holds it. */
static void want(void *context, mvs_id root) {
  redo *at = context;
  uint32_t buffer = at->region->body->places[root].buffer;
  if (buffer == UINT32_MAX) return;
  if (keep_if_carried(at, buffer) || keep_if_read(at, buffer)) return;
  if (at->alone && may_be_redone(at, buffer) && !is_target(at, buffer)) return;
  at->wanted[root] = true;
  if (at->region->body->gathered[root]) at->joined[buffer] = true;
}

static bool writes_wanted(const redo *at, mvs_id id) {
  uint32_t buffer = at->region->body->places[id].buffer;
  return at->wanted[id] ||
         (buffer != UINT32_MAX && (is_target(at, buffer) || at->joined[buffer]));
}

static bool heavy_writes_wanted(const redo *at, mvs_id heavy) {
  const mvs_graph *graph = at->region->body->graph;
  if (writes_wanted(at, heavy)) return true;
  for (mvs_id id = heavy + 1; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op == MVS_OP_get && node->inputs[0] == heavy && writes_wanted(at, id))
      return true;
  }
  return false;
}

static bool group_writes_wanted(const redo *at, const mvs_group *group) {
  if (group->nests.count == 0) return heavy_writes_wanted(at, group->heavy);
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->outputs.count; i++) {
      uint32_t buffer = nest->store_places.items[i].buffer;
      if (at->wanted[nest->outputs.items[i]]) return true;
      if (is_target(at, buffer) || at->joined[buffer]) return true;
    }
  }
  return false;
}

/* The groups to run again, in order. From the last to the first: what a redone group loads has
 * to be there again. */
static group_list redone_groups(const redo *how) {
  const mvs_schedule *body = how->region->body;
  mvs_arena *arena = how->layout->arena;
  redo at = *how;
  at.wanted = MVS_ARRAY(arena, mvs_graph_size(body->graph) + 1, bool);
  at.joined = MVS_ARRAY(arena, how->layout->function->buffers.count + 1, bool);
  bool *again = MVS_ARRAY(arena, body->groups.count + 1, bool);
  for (size_t i = body->groups.count; i-- > 0;) {
    again[i] = group_writes_wanted(&at, &body->groups.items[i]);
    if (again[i]) mvs_group_loads(body, &body->groups.items[i], want, &at);
  }
  group_list list = {0};
  for (size_t i = 0; i < body->groups.count; i++) {
    if (again[i]) MVS_PUSH(arena, &list, (uint32_t)i);
  }
  return list;
}

/* True when some region may redo this one's blocks. */
static bool has_backward(const mvs_layout *layout, const mvs_region_layout *r) {
  for (size_t i = 0; i < layout->regions.count; i++) {
    if (layout->regions.items[i]->region->forward == r->region) return true;
  }
  return false;
}

static bool is_listed(const mvs_schedule *body, uint32_t buffer) {
  for (size_t i = 0; i < body->alternatives.count; i++) {
    if (body->alternatives.items[i].buffer == buffer) return true;
  }
  return false;
}

/* Several stacked outputs may lie in one buffer: it is kept or redone as a whole. */
static void add_alternative(const redo *all, uint32_t output) {
  const mvs_region_layout *r = all->region;
  uint32_t buffer = r->outputs[output].buffer;
  if (buffer == UINT32_MAX || !may_be_redone(all, buffer)) return;
  if (is_listed(r->body, buffer)) return;
  const mvs_results *results = mvs_graph_result_list(r->body->graph);
  redo whole = {.layout = all->layout, .region = r, .target = buffer}, own = whole;
  own.alone = true;
  group_list groups = redone_groups(&whole), own_groups = redone_groups(&own);
  mvs_alternative added = {
      .buffer = buffer,
      .value = results->items[r->region->carried_count + output].id,
      .groups = {groups.items, groups.count, groups.capacity},
      .own_groups = {own_groups.items, own_groups.count, own_groups.capacity}};
  MVS_PUSH(all->layout->arena, &r->body->alternatives, added);
}

void mvs_layout_redo(const mvs_layout *layout, const mvs_region_layout *region) {
  if (!has_backward(layout, region)) return;
  redo all = {.layout = layout, .region = region, .target = UINT32_MAX};
  group_list groups = redone_groups(&all); /* first, since it says what is kept */
  for (size_t i = 0; i < groups.count; i++) {
    region->body->groups.items[groups.items[i]].redo = true;
  }
  for (uint32_t k = 0; k < region->region->output_count; k++) add_alternative(&all, k);
}
