/* memory_region.c: the parts of a region as buffers with slots. The arithmetic of slots is
 * explained in memory.h.
 *
 * Three steps, as the outer graph is laid out: carried values get buffers before anything is
 * placed, so that initial values can be made in them (mvs_regions_start); stacked outputs when
 * their `get` is placed, since a result of the function may be the stack (mvs_region_result);
 * arguments when all outer values have places (mvs_region_arguments). */
#include "compiler/passes/held.h"
#include "compiler/passes/memory.h"

static const mvs_place nowhere = {.buffer = UINT32_MAX};

/* --- records --- */

static const mvs_node *region_node(const mvs_graph_layout *g, const mvs_region_layout *region) {
  return mvs_graph_node(g->graph, region->node);
}

static mvs_id body_result(const mvs_region_layout *r, size_t index) {
  return mvs_graph_results(r->region->body)->items[index].id;
}

static int64_t elements(const mvs_type *type) {
  bool batched;
  return mvs_type_elements(type, &batched);
}

/* The carried value whose slots hold stacked output `output` anyway, or -1: the value is what a
 * layer hands on (shift of the result) or what it was given (shift of the argument), perhaps in
 * another shape. Read outputs have slots of their own, for those before the first layer. */
static int find_share(const mvs_region_layout *r, uint32_t output) {
  const mvs_graph *body = r->region->body;
  mvs_id id = body_result(r, r->region->carried_count + output);
  mvs_id root = r->body->roots[id];
  if (r->distances[output] > 0 ||
      elements(mvs_graph_type(body, id)) != elements(mvs_graph_type(body, root))) {
    return -1;
  }
  for (uint32_t i = 0; i < r->region->carried_count; i++) {
    if (!r->held[i] && r->body->roots[body_result(r, i)] == root) return (int)i;
  }
  const mvs_node *node = mvs_graph_node(body, root);
  bool carried = node->op == MVS_OP_argument && node->attr.argument.kind == MVS_ARG_CARRIED;
  if (!carried || r->held[node->attr.argument.index]) return -1;
  return (int)node->attr.argument.index;
}

/* The read that stacked output `output` merely passes on, or -1. */
static int find_passed(const mvs_region_layout *r, uint32_t output) {
  const mvs_graph *body = r->region->body;
  const mvs_node *node =
      mvs_graph_node(body, body_result(r, r->region->carried_count + output));
  bool read = node->op == MVS_OP_argument && node->attr.argument.kind == MVS_ARG_READ;
  return read && r->distances[output] == 0 ? (int)node->attr.argument.index : -1;
}

/* What can be said of a region from its form alone: distances of reads, and outputs that need
 * no buffer since another one holds them. */
static mvs_region_layout *new_region(mvs_layout *layout, const mvs_group *group,
                                     mvs_schedule *body) {
  mvs_region *region = group->region;
  mvs_region_layout *r = MVS_NEW(layout->arena, mvs_region_layout);
  r->node = group->heavy;
  r->region = region;
  r->body = body;
  r->home = (uint32_t)layout->regions.count;
  r->carried = MVS_ARRAY(layout->arena, region->carried_count + 1, uint32_t);
  r->held = MVS_ARRAY(layout->arena, region->carried_count + 1, bool);
  for (uint32_t i = 0; i < region->carried_count; i++) {
    r->held[i] = mvs_held_next(region, i) != MVS_NONE;
  }
  r->invariants = MVS_ARRAY(layout->arena, region->invariant_count + 1, mvs_place);
  r->stacked = MVS_ARRAY(layout->arena, region->stacked_count + 1, mvs_place);
  r->outputs = MVS_ARRAY(layout->arena, region->output_count + 1, mvs_place);
  r->distances = MVS_ARRAY(layout->arena, region->output_count + 1, int64_t);
  r->shares = MVS_ARRAY(layout->arena, region->output_count + 1, int);
  r->passed = MVS_ARRAY(layout->arena, region->output_count + 1, int);
  for (uint32_t i = 0; i < region->read_count; i++) {
    int64_t *distance = &r->distances[region->reads[i].output];
    if (region->reads[i].distance > *distance) *distance = region->reads[i].distance;
  }
  for (uint32_t i = 0; i < region->output_count; i++) {
    r->outputs[i] = nowhere;
    r->shares[i] = find_share(r, i);
    r->passed[i] = find_passed(r, i);
  }
  return r;
}

/* In the order of groups, a region before those inside it: the numbers of loops in the
 * program's tables (build_program.c) are the same. */
void mvs_regions_number(mvs_layout *layout, mvs_schedule *schedule) {
  size_t bodies = 0;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    if (!group->region) continue;
    mvs_schedule *body = schedule->bodies.items[bodies++];
    mvs_region_layout *region = new_region(layout, group, body);
    MVS_PUSH(layout->arena, &layout->regions, region);
    mvs_regions_number(layout, body);
  }
}

mvs_region_layout *mvs_region_layout_of(const mvs_layout *layout, const mvs_region *region) {
  for (size_t i = 0; i < layout->regions.count; i++) {
    if (layout->regions.items[i]->region == region) return layout->regions.items[i];
  }
  return NULL;
}

/* --- carried values --- */

/* The four numbers of memory.h for carried values. */
static int64_t argument_shift(const mvs_region *region) { return region->reverse ? 1 : 0; }

static int64_t result_shift(const mvs_region *region) { return region->reverse ? 0 : 1; }

static int64_t first_slot(const mvs_region *region) {
  return region->reverse ? region->count : 0;
}

static int64_t final_slot(const mvs_region *region) {
  return region->reverse ? 0 : region->count;
}

/* Two slots to begin with; memory_live.c adds those that the backward pass needs. The first
 * slot is asked for, not given: an initial value that is a parameter or read later is copied.
 * */
void mvs_regions_start(mvs_graph_layout *g) {
  for (size_t i = 0; i < g->schedule->bodies.count; i++) {
    mvs_region_layout *r =
        mvs_region_layout_of(g->layout, g->schedule->bodies.items[i]->region);
    const mvs_node *node = region_node(g, r);
    for (uint32_t k = 0; k < r->region->carried_count; k++) {
      const mvs_type *type = mvs_graph_type(g->graph, node->inputs[k]);
      int64_t slots = r->held[k] ? 1 : 2;
      r->carried[k] = mvs_layout_buffer(g->layout, MVS_BUFFER_TEMP, type, slots);
      mvs_target target = {.kind = MVS_TARGET_INITIAL, .user = r->node, .until = r->node};
      target.place = mvs_place_slot(r->carried[k], type, first_slot(r->region));
      mvs_layout_want(g, node->inputs[k], target);
    }
  }
}

/* --- stacked outputs --- */

/* As many slots as all layers and the cleared ones take; memory_live.c says how few will do. */
static mvs_place stack_buffer(mvs_graph_layout *g, mvs_region_layout *r, uint32_t output) {
  mvs_id id = body_result(r, r->region->carried_count + output);
  const mvs_type *type = mvs_graph_type(r->region->body, id);
  int64_t distance = r->distances[output];
  uint32_t buffer =
      mvs_layout_buffer(g->layout, MVS_BUFFER_TEMP, type, r->region->count + distance);
  mvs_buffer *made = &g->layout->function->buffers.items[buffer];
  made->zero_slots = distance;
  made->zero_at_end = distance > 0 && r->region->reverse;
  return mvs_place_slot(buffer, type, r->region->reverse ? 0 : distance);
}

/* The next result of the graph that the output is; it leaves the list of targets. A target by
 * layer is a slot of another region, where a stack of layers cannot lie. */
static bool take_final(mvs_graph_layout *g, mvs_id get, mvs_place *place) {
  mvs_target_list *targets = &g->targets[get];
  for (size_t i = 0; i < targets->count; i++) {
    if (targets->items[i].kind != MVS_TARGET_FINAL || targets->items[i].place.per_layer) {
      continue;
    }
    *place = targets->items[i].place;
    for (size_t k = i + 1; k < targets->count; k++) targets->items[k - 1] = targets->items[k];
    targets->count--;
    return true;
  }
  return false;
}

/* The slots of a carried value that hold the output anyway. */
static mvs_place shared_place(const mvs_region_layout *r, uint32_t output,
                              const mvs_type *slot) {
  size_t share = (size_t)r->shares[output];
  mvs_id inner = body_result(r, r->region->carried_count + output);
  bool result = r->body->roots[body_result(r, share)] == r->body->roots[inner];
  int64_t shift = result ? result_shift(r->region) : argument_shift(r->region);
  return mvs_place_slot(r->carried[share], slot, shift);
}

/* Where the body stores a stacked output that has a buffer of its own; made when first asked.
 */
static mvs_place own_place(mvs_graph_layout *g, mvs_region_layout *r, uint32_t output) {
  if (r->outputs[output].buffer == UINT32_MAX) r->outputs[output] = stack_buffer(g, r, output);
  return r->outputs[output];
}

/* The slots of what a read reads, as that read sees them. */
static mvs_place read_place(mvs_graph_layout *g, mvs_region_layout *r, uint32_t index) {
  const mvs_read *read = &r->region->reads[index];
  mvs_place place = own_place(g, r, read->output);
  place.shift += r->region->reverse ? read->distance : -read->distance;
  return place;
}

/* Results of the function are stored layer by layer, too: a whole stack could not be copied,
 * for its layers lie further apart the larger the batch. */
static void place_output(mvs_graph_layout *g, mvs_region_layout *r, uint32_t output,
                         mvs_id get) {
  mvs_place *outer = &g->schedule->places[get], final;
  const mvs_type *type = mvs_graph_type(g->graph, get);
  mvs_id inner = body_result(r, r->region->carried_count + output);
  const mvs_type *slot = mvs_graph_type(r->region->body, inner);
  if (r->distances[output] == 0 && take_final(g, get, outer)) {
    r->outputs[output] = mvs_place_slot(outer->buffer, slot, 0);
    r->shares[output] = r->passed[output] = -1;
  } else {
    if (r->shares[output] >= 0) {
      r->outputs[output] = shared_place(r, output, slot);
    } else if (r->passed[output] >= 0) {
      r->outputs[output] = read_place(g, r, (uint32_t)r->passed[output]);
    } else {
      own_place(g, r, output);
    }
    *outer = mvs_place_slot(r->outputs[output].buffer, type, r->outputs[output].shift);
  }
  while (take_final(g, get, &final)) {
    mvs_extra_output extra = {output, mvs_place_slot(final.buffer, slot, 0)};
    MVS_PUSH(g->layout->arena, &r->extras, extra);
  }
}

/* A final carried value lies in its last slot; the outer graph reads it there. */
mvs_status mvs_region_result(mvs_graph_layout *g, mvs_id get) {
  const mvs_node *node = mvs_graph_node(g->graph, get);
  const mvs_node *tuple = mvs_graph_node(g->graph, node->inputs[0]);
  mvs_region_layout *r = mvs_region_layout_of(g->layout, tuple->attr.region.body);
  uint32_t index = node->attr.index.value;
  if (index < r->region->carried_count) {
    g->schedule->places[get] =
        mvs_place_slot(r->carried[index], &node->type, final_slot(r->region));
  } else {
    place_output(g, r, index - r->region->carried_count, get);
  }
  return MVS_OK;
}

/* --- arguments --- */

/* True for what a region held, as it left it. */
static bool is_held_result(const mvs_graph_layout *g, mvs_id id) {
  const mvs_node *node = mvs_graph_node(g->graph, g->schedule->roots[id]);
  if (node->op != MVS_OP_get) return false;
  const mvs_node *tuple = mvs_graph_node(g->graph, node->inputs[0]);
  if (tuple->op != MVS_OP_region) return false;
  const mvs_region_layout *r = mvs_region_layout_of(g->layout, tuple->attr.region.body);
  return node->attr.index.value < r->region->carried_count && r->held[node->attr.index.value];
}

/* A place of no layer: other regions' slots cannot be named from inside, so they are copied.
 * What they held has one slot. */
static mvs_place invariant_place(mvs_graph_layout *g, const mvs_region_layout *r,
                                 mvs_id outer) {
  mvs_place place = g->schedule->places[outer];
  if (!place.per_layer) return place;
  if (is_held_result(g, outer)) {
    place.per_layer = false;
    place.shift = 0;
    return place;
  }
  const mvs_type *type = mvs_graph_type(g->graph, outer);
  uint32_t buffer = mvs_layout_buffer(g->layout, MVS_BUFFER_TEMP, type, 1);
  mvs_copy copy = {outer, {.kind = MVS_TARGET_INITIAL, .user = r->node, .until = MVS_NONE}};
  copy.target.place = mvs_place_whole(buffer, type);
  MVS_PUSH(g->layout->arena, &g->copies, copy);
  return copy.target.place;
}

static mvs_status cannot_stack(const mvs_graph_layout *g, mvs_id outer) {
  const mvs_node *node = mvs_graph_node(g->graph, outer);
  mvs_diag_error(g->layout->diag, node->span,
                 "memory: layers of %%%u do not lie behind one another", outer);
  return MVS_ERR_INTERNAL;
}

/* One layer's slice: whole values have their layers behind one another, so that the buffer can
 * be seen as slots. A buffer of one slot is cut into `count` of them here, if nobody has put
 * the value anywhere but at its start: behind an offset that the batch moves there are no
 * slots. */
static mvs_status stacked_place(mvs_graph_layout *g, mvs_id outer, mvs_place *out) {
  mvs_place place = g->schedule->places[outer];
  mvs_type slot = mvs_region_slice_type(mvs_graph_type(g->graph, outer));
  mvs_buffer *buffer = &g->layout->function->buffers.items[place.buffer];
  int64_t size = elements(&slot), bytes = size * mvs_dtype_size(slot.dtype);
  int64_t held = buffer->fixed + buffer->per_batch;
  if (place.offset % size != 0) return cannot_stack(g, outer);
  if (held != bytes) {
    bool batched = buffer->per_batch > 0;
    if (buffer->slots_kept != 1 || held % bytes != 0 || (batched && place.offset > 0)) {
      return cannot_stack(g, outer);
    }
    buffer->slots_kept = buffer->slots_least = held / bytes;
    buffer->fixed = batched ? 0 : bytes;
    buffer->per_batch = batched ? bytes : 0;
  }
  *out = mvs_place_slot(place.buffer, &slot, place.shift + place.offset / size);
  return MVS_OK;
}

mvs_status mvs_region_arguments(mvs_graph_layout *g, mvs_region_layout *r) {
  const mvs_node *node = region_node(g, r);
  const mvs_id *next = node->inputs + r->region->carried_count;
  for (uint32_t i = 0; i < r->region->invariant_count; i++) {
    r->invariants[i] = invariant_place(g, r, *next++);
  }
  for (uint32_t i = 0; i < r->region->stacked_count; i++) {
    MVS_TRY(stacked_place(g, *next++, &r->stacked[i]));
  }
  for (uint32_t i = 0; i < r->region->output_count; i++) {
    if (r->distances[i] > 0) own_place(g, r, i);
  }
  return MVS_OK;
}

/* The table of memory.h, once more: the argument's side of it. */
mvs_place mvs_region_argument_place(const mvs_region_layout *r, const mvs_node *node) {
  uint32_t index = node->attr.argument.index;
  switch (node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      return mvs_place_slot(r->carried[index], &node->type, argument_shift(r->region));
    case MVS_ARG_INVARIANT:
      return r->invariants[index];
    case MVS_ARG_STACKED:
      return r->stacked[index];
    case MVS_ARG_READ: {
      const mvs_read *read = &r->region->reads[index];
      mvs_place place = r->outputs[read->output];
      place.shift += r->region->reverse ? read->distance : -read->distance;
      return place;
    }
    case MVS_ARG_LAYER:
      break;
  }
  return nowhere;
}

/* Carried values are always stored in their slots; a stacked output that others hold is not
 * stored again. */
mvs_place mvs_region_result_place(const mvs_region_layout *r, size_t index) {
  const mvs_region *region = r->region;
  if (index < region->carried_count) {
    const mvs_type *type = mvs_graph_type(region->body, body_result(r, index));
    return mvs_place_slot(r->carried[index], type, result_shift(region));
  }
  size_t output = index - region->carried_count;
  bool elsewhere = r->shares[output] >= 0 || r->passed[output] >= 0;
  return elsewhere ? nowhere : r->outputs[output];
}
