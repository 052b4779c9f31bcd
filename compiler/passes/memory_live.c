/* memory_live.c: how many slots buffers need and when they are in use.
 *
 *   who reads a stacked output            slots kept    slots least
 *   only the backward of this region       count         1: the block is run again before
 *   anything else                          count         count
 *   the region itself at distance D        count + D     D + 1; reverse: all
 *
 * The runtime chooses between the two numbers for each buffer (docs/house.md, "Keep or redo").
 * */
#include "compiler/passes/memory.h"

static mvs_buffer *buffer_at(const mvs_layout *layout, uint32_t index) {
  return &layout->function->buffers.items[index];
}

/* --- stacked outputs: who reads them --- */

typedef enum stack_use {
  STACK_UNUSED,
  STACK_CROSSES, /* only by the regions that may redo this one's blocks */
  STACK_WHOLE    /* by anything else: all layers stay */
} stack_use;

/* The schedule that runs a region. */
static const mvs_schedule *outer_of(const mvs_region_layout *r) { return r->body->parent; }

static stack_use use_in_region(const mvs_schedule *schedule, const mvs_group *group,
                               const mvs_region *region, mvs_id root) {
  const mvs_node *node = mvs_graph_node(schedule->graph, group->heavy);
  stack_use use = STACK_UNUSED;
  uint32_t stacked = group->region->carried_count + group->region->invariant_count;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (schedule->roots[node->inputs[i]] != root) continue;
    bool crosses = i >= stacked && group->region->forward == region;
    stack_use here = crosses ? STACK_CROSSES : STACK_WHOLE;
    if (here > use) use = here;
  }
  return use;
}

typedef struct whole_search {
  mvs_id root;
  bool found;
} whole_search;

static void look_for(void *context, mvs_id root) {
  whole_search *s = context;
  s->found = s->found || s->root == root;
}

/* A redo is told apart from other uses here: only the backward region of this very one runs its
 * forward steps again, in the layer that it is at. Any other reader wants all layers at once.
 * */
static stack_use use_of_stack(const mvs_region_layout *r, mvs_id root) {
  const mvs_schedule *schedule = outer_of(r);
  stack_use use = STACK_UNUSED;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    stack_use here = STACK_UNUSED;
    if (group->region) {
      here = use_in_region(schedule, group, r->region, root);
    } else {
      whole_search s = {root, false};
      mvs_group_loads(schedule, group, look_for, &s);
      if (s.found) here = STACK_WHOLE;
    }
    if (here > use) use = here;
  }
  return use;
}

/* The use of stacked output `output` over all of its `get` nodes. */
static stack_use use_of_output(const mvs_region_layout *r, uint32_t output) {
  const mvs_schedule *schedule = outer_of(r);
  stack_use use = STACK_UNUSED;
  for (mvs_id id = r->node + 1; id < mvs_graph_size(schedule->graph); id++) {
    const mvs_node *node = mvs_graph_node(schedule->graph, id);
    if (node->op != MVS_OP_get || node->inputs[0] != r->node) continue;
    if (node->attr.index.value != r->region->carried_count + output) continue;
    if (schedule->roots[id] != id) continue;
    stack_use here = use_of_stack(r, id);
    if (here > use) use = here;
  }
  return use;
}

void mvs_layout_keep_carried(const mvs_layout *layout, const mvs_region_layout *r,
                             uint32_t index, bool whole) {
  if (r->held[index]) return; /* it has its last value from its block on */
  mvs_buffer *buffer = buffer_at(layout, r->carried[index]);
  buffer->slots_kept = r->region->count + 1;
  if (whole) {
    buffer->slots_least = buffer->slots_kept;
  } else {
    buffer->crossing = true;
  }
}

/* Temporaries alone have a choice: a result of the function has a slot for each layer.
 * Cleared slots at the end of a reverse region's buffer are where its first layers read only
 * while all slots are there. */
static void set_output_slots(const mvs_layout *layout, const mvs_region_layout *r,
                             uint32_t output) {
  mvs_buffer *buffer = buffer_at(layout, r->outputs[output].buffer);
  int64_t distance = r->distances[output];
  if (buffer->kind != MVS_BUFFER_TEMP) return;
  stack_use use = use_of_output(r, output);
  buffer->slots_kept = r->region->count + distance;
  buffer->slots_least = distance + 1;
  buffer->crossing = use == STACK_CROSSES;
  bool all = use == STACK_WHOLE || (distance > 0 && r->region->reverse);
  if (all) buffer->slots_least = buffer->slots_kept;
}

/* What is read and handed on to another region is read there, too: all its layers stay. */
static void keep_passed(const mvs_layout *layout, const mvs_region_layout *r) {
  for (uint32_t k = 0; k < r->region->output_count; k++) {
    if (r->outputs[k].buffer == UINT32_MAX || r->passed[k] < 0) continue;
    if (use_of_output(r, k) == STACK_UNUSED) continue;
    mvs_buffer *buffer = buffer_at(layout, r->outputs[k].buffer);
    buffer->slots_least = buffer->slots_kept;
    buffer->crossing = true;
  }
}

/* A carried value that is a stacked output as well has count + 1 slots where that output is
 * used: one for each layer and one for where it starts. */
static void set_slots(const mvs_layout *layout) {
  for (size_t i = 0; i < layout->regions.count; i++) {
    const mvs_region_layout *r = layout->regions.items[i];
    for (uint32_t k = 0; k < r->region->output_count; k++) {
      if (r->outputs[k].buffer == UINT32_MAX) continue;
      if (r->passed[k] >= 0) continue;
      if (r->shares[k] < 0) {
        set_output_slots(layout, r, k);
        continue;
      }
      stack_use use = use_of_output(r, k);
      if (use == STACK_UNUSED) continue;
      mvs_layout_keep_carried(layout, r, (uint32_t)r->shares[k], use == STACK_WHOLE);
    }
    keep_passed(layout, r);
  }
}

/* --- live ranges --- */

/* Where the walk stands: the step at the top and the step in each body around. */
typedef struct frame {
  const struct frame *outer;
  uint32_t home; /* region whose body this is; UINT32_MAX at the top */
  int step;
} frame;

typedef struct lives {
  const mvs_layout *layout;
  const mvs_schedule *schedule;
  const frame *at;
  bool *touched; /* per buffer */
} lives;

static int step_in(const frame *at, uint32_t home) {
  for (; at; at = at->outer) {
    if (at->home == home) return at->step;
  }
  return -1;
}

/* Extends the range of a place's buffer to where the walk stands. A buffer of a body has two
 * ranges: over the top-level steps, the region's, and inside it over the body's. */
static void touch(const lives *l, const mvs_place *place) {
  if (place->buffer == UINT32_MAX) return;
  mvs_buffer *buffer = buffer_at(l->layout, place->buffer);
  int top = step_in(l->at, UINT32_MAX);
  int inner = buffer->home == UINT32_MAX ? -1 : step_in(l->at, buffer->home);
  if (!l->touched[place->buffer]) {
    l->touched[place->buffer] = true;
    buffer->first_step = buffer->last_step = top;
    buffer->body_first = buffer->body_last = inner;
    return;
  }
  if (top < buffer->first_step) buffer->first_step = top;
  if (top > buffer->last_step) buffer->last_step = top;
  if (inner >= 0 && inner < buffer->body_first) buffer->body_first = inner;
  if (inner > buffer->body_last) buffer->body_last = inner;
}

static void touch_root(void *context, mvs_id root) {
  const lives *l = context;
  touch(l, &l->schedule->places[root]);
}

/* What the group loads and stores. An alias lies in the buffer of its root. */
static void touch_group(const lives *l, const mvs_group *group) {
  mvs_group_loads(l->schedule, group, touch_root, (void *)l);
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->store_places.count; i++)
      touch(l, &nest->store_places.items[i]);
  }
  if (group->nests.count > 0) return;
  touch(l, &l->schedule->places[group->heavy]);
  for (mvs_id id = group->heavy + 1; id < mvs_graph_size(l->schedule->graph); id++) {
    const mvs_node *node = mvs_graph_node(l->schedule->graph, id);
    bool own = node->op == MVS_OP_get && node->inputs[0] == group->heavy;
    if (own) touch(l, &l->schedule->places[id]);
  }
}

/* A region uses all its parts from its first layer to its last. */
static void touch_region(const lives *l, const mvs_region_layout *r) {
  for (uint32_t i = 0; i < r->region->carried_count; i++) {
    mvs_place place = {.buffer = r->carried[i]};
    touch(l, &place);
  }
  for (uint32_t i = 0; i < r->region->invariant_count; i++) touch(l, &r->invariants[i]);
  for (uint32_t i = 0; i < r->region->stacked_count; i++) touch(l, &r->stacked[i]);
  for (uint32_t i = 0; i < r->region->output_count; i++) touch(l, &r->outputs[i]);
}

static void find_lives(const mvs_layout *layout, const mvs_schedule *schedule, uint32_t home,
                       const frame *outer, bool *touched) {
  frame here = {outer, home, 0};
  lives l = {layout, schedule, &here, touched};
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    here.step = (int)i;
    touch_group(&l, group);
    if (!group->region) continue;
    const mvs_region_layout *r = mvs_region_layout_of(layout, group->region);
    touch_region(&l, r);
    find_lives(layout, r->body, r->home, &here, touched);
  }
}

void mvs_layout_lives(mvs_layout *layout) {
  bool *touched = MVS_ARRAY(layout->arena, layout->function->buffers.count + 1, bool);
  set_slots(layout);
  for (size_t i = 0; i < layout->regions.count; i++) {
    mvs_layout_redo(layout, layout->regions.items[i]);
  }
  find_lives(layout, layout->function->top, UINT32_MAX, NULL, touched);
}
