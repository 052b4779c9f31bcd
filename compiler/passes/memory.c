/* memory.c: values to places. Users come before what they use: a value first hears in which
 * places it is wanted (a result, the first slot of a carried value, a part of a concat), takes
 * the best of them as its own, and is copied into the others.
 *
 *   wants          %3 = concat %1, %2    result "y"       ->   %3 lies in y
 *   hands on       %1 at 0, %2 at 64 of y                 ->   both are written there
 *   cannot take    %1 is read by a product: no gaps       ->   a buffer of its own, and a copy
 *
 * Buffers say how much and for how long; addresses are the runtime's to give. */
#include "compiler/passes/memory.h"

#include "compiler/passes/prepare.h"
#include "compiler/passes/strides.h"

static const mvs_node *node_of(const mvs_graph_layout *g, mvs_id id) {
  return mvs_graph_node(g->graph, id);
}

static mvs_id root_of(const mvs_graph_layout *g, mvs_id id) { return g->schedule->roots[id]; }

/* --- buffers and plain places --- */

/* A slot's bytes are fixed or grow with the batch, never both: the batch is one axis. */
uint32_t mvs_layout_buffer(mvs_layout *layout, mvs_buffer_kind kind, const mvs_type *type,
                           int64_t slots) {
  bool batched;
  int64_t bytes = mvs_type_elements(type, &batched) * mvs_dtype_size(type->dtype);
  mvs_buffer buffer = {.kind = kind,
                       .dtype = type->dtype,
                       .fixed = batched ? 0 : bytes,
                       .per_batch = batched ? bytes : 0,
                       .slots_kept = slots,
                       .slots_least = slots,
                       .body_first = -1,
                       .body_last = -1,
                       .home = UINT32_MAX};
  MVS_PUSH(layout->arena, &layout->function->buffers, buffer);
  return (uint32_t)layout->function->buffers.count - 1;
}

mvs_place mvs_place_whole(uint32_t buffer, const mvs_type *type) {
  mvs_place place = {.buffer = buffer};
  mvs_strides_whole(type, place.strides);
  return place;
}

mvs_place mvs_place_slot(uint32_t buffer, const mvs_type *type, int64_t shift) {
  mvs_place place = mvs_place_whole(buffer, type);
  place.per_layer = true;
  place.shift = shift;
  return place;
}

/* --- what groups load --- */

/* The root of a loaded value, then the parts of a gathered concat, which are read with it.
 * Those of a concat that a kernel stores are not: one of them may have a place for other
 * readers, and be stored there later. */
static void visit_root(const mvs_schedule *schedule, mvs_id id, mvs_load_visit *visit,
                       void *context) {
  mvs_id root = schedule->roots[id];
  if (root == MVS_NONE) return;
  visit(context, root);
  if (!schedule->gathered[root]) return;
  const mvs_node *node = mvs_graph_node(schedule->graph, root);
  for (int i = 0; i < node->input_count; i++)
    visit_root(schedule, node->inputs[i], visit, context);
}

void mvs_group_loads(const mvs_schedule *schedule, const mvs_group *group,
                     mvs_load_visit *visit, void *context) {
  if (group->nests.count == 0) {
    const mvs_node *node = mvs_graph_node(schedule->graph, group->heavy);
    for (int i = 0; i < node->input_count; i++) {
      visit_root(schedule, node->inputs[i], visit, context);
    }
  }
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->leaves.count; i++) {
      visit_root(schedule, nest->leaves.items[i], visit, context);
    }
  }
}

/* --- facts about values --- */

typedef struct reading {
  mvs_graph_layout *g;
  int group;
} reading;

static void note_reader(void *context, mvs_id root) {
  const reading *r = context;
  r->g->last_reader[root] = r->group;
}

static void find_readers(mvs_graph_layout *g) {
  for (mvs_id id = 0; id < g->size; id++) g->last_reader[id] = -1;
  for (size_t i = 0; i < g->schedule->groups.count; i++) {
    reading r = {g, (int)i};
    mvs_group_loads(g->schedule, &g->schedule->groups.items[i], note_reader, &r);
  }
}

static void mark(bool *flags, mvs_id root) {
  if (root != MVS_NONE) flags[root] = true;
}

/* What an op reads or writes: its logarithms of sums have no gaps, its heads may have some. */
static void need(mvs_graph_layout *g, mvs_id op, mvs_id value) {
  if (mvs_is_heads(g->graph, op, value)) {
    g->heads[value] = true;
  } else {
    mark(g->whole, root_of(g, value));
  }
}

/* Matmuls and regions need values without gaps; regions need them in a place of no layer. */
static void find_needs(mvs_graph_layout *g) {
  for (mvs_id id = 0; id < g->size; id++) {
    const mvs_node *node = node_of(g, id);
    bool heavy = mvs_ops[node->op].op_class == MVS_CLASS_HEAVY;
    if (heavy) mark(g->whole, root_of(g, id));
    if (node->op == MVS_OP_get && root_of(g, id) != MVS_NONE) need(g, node->inputs[0], id);
    if (!heavy || g->writer[id] < 0) continue;
    for (int i = 0; i < node->input_count; i++) need(g, id, node->inputs[i]);
    if (node->op != MVS_OP_region) continue;
    const mvs_region *region = node->attr.region.body;
    for (int i = (int)region->carried_count; i < node->input_count; i++) {
      mark(g->fixed, root_of(g, node->inputs[i]));
    }
  }
}

/* --- targets --- */

/* Asks for a copy: memory_copy.c finds a nest to make it, or adds a group. */
static void copy_to(mvs_graph_layout *g, mvs_id id, const mvs_target *target) {
  mvs_copy copy = {id, *target};
  MVS_PUSH(g->layout->arena, &g->copies, copy);
}

/* A wish for a reshape is one for its root, in the root's shape, if strides allow; one for a
 * slice or for a reshape with gaps can only be met by a copy. */
void mvs_layout_want(mvs_graph_layout *g, mvs_id id, mvs_target target) {
  mvs_id root = root_of(g, id);
  const mvs_type *type = mvs_graph_type(g->graph, id), *stored = mvs_graph_type(g->graph, root);
  if (id != root) {
    bool batched, stored_batched;
    bool same = mvs_type_elements(type, &batched) == mvs_type_elements(stored, &stored_batched);
    mvs_place place = target.place;
    if (!same || batched != stored_batched ||
        !mvs_strides_reshape(type, target.place.strides, stored, place.strides)) {
      copy_to(g, id, &target);
      return;
    }
    target.place = place;
  }
  MVS_PUSH(g->layout->arena, &g->targets[root], target);
}

/* The place of an alias, from that of what it names; false when there is none. */
static bool place_alias(const mvs_graph_layout *g, mvs_id id, mvs_place *places) {
  const mvs_node *node = node_of(g, id);
  mvs_id from = node->op == MVS_OP_get ? root_of(g, id) : node->inputs[0];
  mvs_place place = places[from];
  if (node->op == MVS_OP_reshape &&
      !mvs_strides_reshape(mvs_graph_type(g->graph, from), places[from].strides, &node->type,
                           place.strides)) {
    return false;
  }
  if (node->op == MVS_OP_slice) {
    place.offset += node->attr.slice.start * place.strides[node->attr.slice.axis];
  }
  places[id] = place;
  return true;
}

/* True when the root and all its aliases can be what their users want them to be there: a
 * reshape needs strides that it can express, attention heads side by side. */
static bool aliases_fit(const mvs_graph_layout *g, mvs_id root, const mvs_place *place) {
  mvs_place *places = MVS_ARRAY(g->layout->arena, (size_t)g->size + 1, mvs_place);
  places[root] = *place;
  for (mvs_id id = root; id < g->size; id++) {
    if (root_of(g, id) != root) continue;
    if (id != root && !place_alias(g, id, places)) return false;
    const mvs_type *type = mvs_graph_type(g->graph, id);
    if (g->heads[id] && !mvs_strides_fit_heads(type, places[id].strides)) return false;
  }
  return true;
}

/* True when the value may live in that place alone: regions name no layer of another region, a
 * part of a concat has gaps between its rows, and the first slot of a carried value is written
 * over by the region's second layer, so that nobody may read it behind the region. */
static bool suits(const mvs_graph_layout *g, mvs_id id, const mvs_target *target) {
  if (target->place.per_layer && g->fixed[id]) return false;
  bool part = target->kind == MVS_TARGET_PART;
  if (part && (g->whole[id] || !aliases_fit(g, id, &target->place))) return false;
  return target->until == MVS_NONE || g->last_reader[id] <= g->writer[target->until];
}

/* The target that becomes the value's own place, or -1: results before first slots before
 * parts, as they spare larger copies and ask less of the readers. */
static int best_target(const mvs_graph_layout *g, mvs_id id) {
  for (int kind = MVS_TARGET_FINAL; kind <= MVS_TARGET_PART; kind++) {
    for (size_t i = 0; i < g->targets[id].count; i++) {
      const mvs_target *target = &g->targets[id].items[i];
      if ((int)target->kind == kind && suits(g, id, target)) return (int)i;
    }
  }
  return -1;
}

/* A buffer of its own. In a body it lives within one layer. */
static mvs_place temporary(mvs_graph_layout *g, mvs_id id) {
  const mvs_type *type = mvs_graph_type(g->graph, id);
  uint32_t buffer = mvs_layout_buffer(g->layout, MVS_BUFFER_TEMP, type, 1);
  if (g->inside) g->layout->function->buffers.items[buffer].home = g->inside->home;
  return mvs_place_whole(buffer, type);
}

/* Wants the parts of a concat at their places within `place`. */
static void want_parts(mvs_graph_layout *g, mvs_id id, const mvs_place *place, mvs_id until) {
  const mvs_node *node = node_of(g, id);
  int axis = node->attr.concat.axis;
  mvs_target target = {MVS_TARGET_PART, *place, id, until};
  for (int i = 0; i < node->input_count; i++) {
    mvs_layout_want(g, node->inputs[i], target);
    int64_t length = mvs_graph_type(g->graph, node->inputs[i])->dims[axis].size;
    target.place.offset += length * place->strides[axis];
  }
}

/* A value that this graph computes: one target is its place, the others get copies. */
static void place_computed(mvs_graph_layout *g, mvs_id id) {
  mvs_target_list *targets = &g->targets[id];
  bool gathered = g->schedule->gathered[id];
  int best = best_target(g, id);
  g->schedule->places[id] = best >= 0 ? targets->items[best].place : temporary(g, id);
  mvs_id until = best >= 0 ? targets->items[best].until : MVS_NONE;
  if (gathered) want_parts(g, id, &g->schedule->places[id], until);
  for (size_t i = 0; i < targets->count; i++) {
    if ((int)i == best) continue;
    if (gathered) {
      want_parts(g, id, &targets->items[i].place, targets->items[i].until);
    } else {
      copy_to(g, id, &targets->items[i]);
    }
  }
}

/* A value with a place from outside. */
static void place_given(mvs_graph_layout *g, mvs_id id, mvs_place place) {
  g->schedule->places[id] = place;
  for (size_t i = 0; i < g->targets[id].count; i++) copy_to(g, id, &g->targets[id].items[i]);
}

/* "prepared/K" is no input of the call: the runtime keeps it between calls. */
static mvs_place place_of_input(mvs_graph_layout *g, mvs_id id) {
  const mvs_node *node = node_of(g, id);
  uint32_t number = 0;
  bool prepared = mvs_prepared_number(node->attr.input.name, &number);
  mvs_buffer_kind kind = prepared ? MVS_BUFFER_PREPARED : MVS_BUFFER_INPUT;
  uint32_t buffer = mvs_layout_buffer(g->layout, kind, &node->type, 1);
  mvs_buffer *made = &g->layout->function->buffers.items[buffer];
  made->param = number;
  if (!prepared) made->name = node->attr.input.name;
  return mvs_place_whole(buffer, &node->type);
}

/* One slot a layer, as the flat buffer has them; outside of regions the place is all of it. */
static mvs_place place_of_param(mvs_graph_layout *g, mvs_id id) {
  const mvs_node *node = node_of(g, id);
  const mvs_param *param = &g->layout->module->params.items[node->attr.param.index];
  int64_t layers = param->layers ? param->layers : 1;
  mvs_type slot = param->type;
  slot.dtype = node->type.dtype; /* bf16 where the node is the rounded copy */
  uint32_t buffer = mvs_layout_buffer(g->layout, MVS_BUFFER_PARAM, &slot, layers);
  g->layout->function->buffers.items[buffer].param = node->attr.param.index;
  return mvs_place_whole(buffer, &node->type);
}

/* Places one value whose users have said where they want it. */
static mvs_status place_root(mvs_graph_layout *g, mvs_id id) {
  const mvs_node *node = node_of(g, id);
  switch (node->op) {
    case MVS_OP_input:
      place_given(g, id, place_of_input(g, id));
      break;
    case MVS_OP_param:
      if (g->writer[id] >= 0) {
        place_computed(g, id);
      } else {
        place_given(g, id, place_of_param(g, id));
      }
      break;
    case MVS_OP_argument:
      if (g->writer[id] >= 0) {
        place_computed(g, id); /* the layer's number, stored */
      } else {
        place_given(g, id, mvs_region_argument_place(g->inside, node));
      }
      break;
    case MVS_OP_get:
      if (node_of(g, node->inputs[0])->op == MVS_OP_region) {
        MVS_TRY(mvs_region_result(g, id));
        place_given(g, id, g->schedule->places[id]);
        break;
      }
      place_computed(g, id);
      break;
    default:
      place_computed(g, id);
  }
  return MVS_OK;
}

/* --- results and aliases --- */

/* The parameter whose gradient a result is, or NULL. */
static const mvs_param *gradient_of(const mvs_module *module, const char *name,
                                    uint32_t *index) {
  if (!name || strncmp(name, "g/", 2) != 0) return NULL;
  for (size_t i = 0; i < module->params.count; i++) {
    if (strcmp(module->params.items[i].name, name + 2) != 0) continue;
    *index = (uint32_t)i;
    return &module->params.items[i];
  }
  return NULL;
}

/* Extents of the leading axis that a region stacked, or 1. */
static int64_t stacked_slots(const mvs_graph_layout *g, mvs_id id) {
  const mvs_node *node = node_of(g, root_of(g, id));
  if (node->op != MVS_OP_get || node_of(g, node->inputs[0])->op != MVS_OP_region) return 1;
  const mvs_region *region = node_of(g, node->inputs[0])->attr.region.body;
  return node->attr.index.value < region->carried_count ? 1 : region->count;
}

/* The buffer of a function's result: among the gradients or given by the caller. Stacked ones
 * have a slot per layer, so that regions store into them directly. */
static mvs_place place_of_output(mvs_graph_layout *g, const mvs_result *result) {
  const mvs_type *type = mvs_graph_type(g->graph, result->id);
  uint32_t index = 0;
  const mvs_param *param = gradient_of(g->layout->module, result->name, &index);
  int64_t slots = stacked_slots(g, result->id);
  if (param && param->layers) slots = param->layers;
  mvs_type slot = slots > 1 ? mvs_region_slice_type(type) : *type;
  mvs_buffer_kind kind = param ? MVS_BUFFER_GRAD : MVS_BUFFER_OUTPUT;
  if (mvs_prepared_number(result->name, &index)) kind = MVS_BUFFER_PREPARED;
  uint32_t buffer = mvs_layout_buffer(g->layout, kind, &slot, slots);
  mvs_buffer *made = &g->layout->function->buffers.items[buffer];
  made->param = index;
  if (kind == MVS_BUFFER_OUTPUT) made->name = result->name;
  return mvs_place_whole(buffer, type);
}

/* Of a function: places in gradients or outputs. Of a body: slots, and second places for
 * stacked outputs that are several results of the function. */
static void want_results(mvs_graph_layout *g) {
  const mvs_results *results = mvs_graph_result_list(g->graph);
  for (size_t i = 0; i < results->count; i++) {
    mvs_target target = {.kind = MVS_TARGET_FINAL, .user = MVS_NONE, .until = MVS_NONE};
    target.place = g->inside ? mvs_region_result_place(g->inside, i)
                             : place_of_output(g, &results->items[i]);
    if (target.place.buffer == UINT32_MAX) continue;
    mvs_layout_want(g, results->items[i].id, target);
  }
  for (size_t i = 0; g->inside && i < g->inside->extras.count; i++) {
    const mvs_extra_output *extra = &g->inside->extras.items[i];
    mvs_target target = {MVS_TARGET_FINAL, extra->place, MVS_NONE, MVS_NONE};
    mvs_layout_want(g, results->items[g->inside->region->carried_count + extra->output].id,
                    target);
  }
}

/* Aliases come after what they name, so that one sweep does. Roots were placed where all of
 * them fit. */
static mvs_status place_aliases(mvs_graph_layout *g) {
  for (mvs_id id = 0; id < g->size; id++) {
    if (root_of(g, id) == MVS_NONE || root_of(g, id) == id) continue;
    if (place_alias(g, id, g->schedule->places)) continue;
    mvs_diag_error(g->layout->diag, node_of(g, id)->span,
                   "memory: %%%u has gaps that its shape cannot express", id);
    return MVS_ERR_INTERNAL;
  }
  return MVS_OK;
}

/* --- graphs --- */

static mvs_graph_layout *new_graph_layout(mvs_layout *layout, mvs_schedule *schedule,
                                          mvs_region_layout *inside) {
  mvs_arena *arena = layout->arena;
  mvs_graph_layout *g = MVS_NEW(arena, mvs_graph_layout);
  g->layout = layout;
  g->schedule = schedule;
  g->graph = schedule->graph;
  g->size = mvs_graph_size(schedule->graph);
  g->inside = inside;
  size_t room = (size_t)g->size + 1;
  g->targets = MVS_ARRAY(arena, room, mvs_target_list);
  g->whole = MVS_ARRAY(arena, room, bool);
  g->heads = MVS_ARRAY(arena, room, bool);
  g->fixed = MVS_ARRAY(arena, room, bool);
  g->writer = MVS_ARRAY(arena, room, int);
  g->last_reader = MVS_ARRAY(arena, room, int);
  return g;
}

/* Inputs that nothing reads are part of the interface all the same: the runtime finds buffers
 * by name. */
static void place_idle_inputs(mvs_graph_layout *g) {
  for (mvs_id id = 0; id < g->size; id++) {
    if (node_of(g, id)->op == MVS_OP_input && root_of(g, id) == MVS_NONE) place_of_input(g, id);
  }
}

/* The outer graph first: a body's arguments lie where the outer graph has put their values, and
 * its results where the outer graph wants them. Copies come before bodies are laid out, because
 * they may add groups in front of a region. */
mvs_status mvs_layout_graph(mvs_layout *layout, mvs_schedule *schedule,
                            mvs_region_layout *inside) {
  mvs_graph_layout *g = new_graph_layout(layout, schedule, inside);
  mvs_schedule_writers(schedule, g->writer);
  find_readers(g);
  find_needs(g);
  want_results(g);
  mvs_regions_start(g);
  for (mvs_id id = g->size; id-- > 0;) {
    if (root_of(g, id) == id) MVS_TRY(place_root(g, id));
  }
  place_idle_inputs(g);
  MVS_TRY(place_aliases(g));
  for (size_t i = 0; i < schedule->bodies.count; i++) {
    mvs_region_layout *region = mvs_region_layout_of(layout, schedule->bodies.items[i]->region);
    MVS_TRY(mvs_region_arguments(g, region));
  }
  mvs_copies_insert(g);
  for (size_t i = 0; i < schedule->bodies.count; i++) {
    mvs_region_layout *region = mvs_region_layout_of(layout, schedule->bodies.items[i]->region);
    MVS_TRY(mvs_layout_graph(layout, region->body, region));
  }
  return MVS_OK;
}

mvs_status mvs_pass_memory(mvs_compilation *compilation) {
  for (size_t i = 0; i < compilation->plan->functions.count; i++) {
    mvs_layout layout = {.arena = compilation->arena,
                         .diag = compilation->diag,
                         .module = compilation->module,
                         .function = &compilation->plan->functions.items[i]};
    mvs_regions_number(&layout, layout.function->top);
    MVS_TRY(mvs_layout_graph(&layout, layout.function->top, NULL));
    mvs_layout_lives(&layout);
  }
  return mvs_plan_verify(compilation->arena, compilation->plan, compilation->diag);
}
