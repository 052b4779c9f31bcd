/* verify_plan.c: the rules that every finished plan obeys. A broken one is a mistake of fuse,
 * schedule or memory; codegen relies on all of them, and so does the machine: a kernel that
 * loads what is not written yet gives numbers, not an error. */
#include <inttypes.h>

#include "compiler/passes/fuse.h"
#include "compiler/passes/memory.h"
#include "compiler/passes/prepare.h"
#include "compiler/passes/strides.h"

/* Batch at which sizes are compared. Any would do; an odd one catches a mix-up of axes. */
#define CHECKED_BATCH 3

typedef struct check {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_function_plan *function;
  const mvs_schedule *schedule;
  const mvs_graph *graph;
  const mvs_group *group; /* NULL for rules about whole schedules */
  size_t index;           /* of the group */
  bool *written;          /* per node: stored in its place by an earlier group */
  uint32_t *stamps;       /* per node: the nest that holds it */
  uint32_t nest;
  mvs_id culprit; /* set by a rule that fails */
} check;

typedef bool rule_function(check *c);

static const mvs_node *node_of(const check *c, mvs_id id) {
  return mvs_graph_node(c->graph, id);
}

static bool fail_at(check *c, mvs_id id) {
  c->culprit = id;
  return false;
}

/* --- order --- */

static bool comes_from_outside(const check *c, mvs_id root) {
  mvs_op op = node_of(c, root)->op;
  return op == MVS_OP_input || op == MVS_OP_param || op == MVS_OP_argument;
}

typedef struct load_check {
  check *c;
  bool holds;
} load_check;

static void check_load(void *context, mvs_id root) {
  load_check *load = context;
  if (load->c->written[root] || comes_from_outside(load->c, root)) return;
  /* Its parts are visited next. */
  if (load->c->schedule->gathered[root]) return;
  load->holds = fail_at(load->c, root);
}

/* In order of groups: what schedule.c promises. In a body carried arguments and reads come from
 * the layer run before, which is outside as well. */
static bool reads_what_was_written(check *c) {
  load_check load = {c, true};
  mvs_group_loads(c->schedule, c->group, check_load, &load);
  return load.holds;
}

/* A place may hold rounds of other values when it is a carried one, but one value goes there
 * once.
 */
static bool writes_each_place_once(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    c->nest++;
    for (size_t i = 0; i < nest->leaves.count; i++) c->stamps[nest->leaves.items[i]] = c->nest;
    for (size_t i = 0; i < nest->outputs.count; i++) {
      mvs_id id = nest->outputs.items[i];
      if (c->stamps[id] == c->nest) continue; /* a copy, or the second place */
      c->stamps[id] = c->nest;
      if (c->written[id] || c->schedule->roots[id] != id) return fail_at(c, id);
    }
  }
  return true;
}

/* --- nests --- */

/* memory_copy.c lists a place for each output, once memory.c has placed all values. */
static bool stores_have_places(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    if (nest->store_places.count != nest->outputs.count || nest->outputs.count == 0)
      return false;
    for (size_t i = 0; i < nest->outputs.count; i++) {
      if (nest->store_places.items[i].buffer == UINT32_MAX)
        return fail_at(c, nest->outputs.items[i]);
    }
  }
  return true;
}

/* Everything that a nest computes is made of what it computes and loads. */
static bool nests_are_closed(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    c->nest++;
    for (size_t i = 0; i < nest->leaves.count; i++) {
      mvs_id leaf = nest->leaves.items[i];
      c->stamps[leaf] = c->nest;
      if (c->schedule->places[leaf].buffer == UINT32_MAX) return fail_at(c, leaf);
    }
    for (size_t i = 0; i < nest->interior.count; i++) {
      mvs_id id = nest->interior.items[i];
      const mvs_node *node = node_of(c, id);
      c->stamps[id] = c->nest;
      for (int k = 0; k < node->input_count; k++) {
        if (c->stamps[node->inputs[k]] != c->nest) return fail_at(c, node->inputs[k]);
      }
    }
    for (size_t i = 0; i < nest->outputs.count; i++) {
      if (c->stamps[nest->outputs.items[i]] != c->nest)
        return fail_at(c, nest->outputs.items[i]);
    }
  }
  return true;
}

/* The space itself, pieces of its rows included, or one value a row. Another shape of the same
 * rank is a piece only if codegen can address it; that is its own to say. */
static bool fits_rows(const mvs_type *space, const mvs_type *type) {
  if (mvs_type_same_shape(space, type) || space->rank != type->rank) {
    return space->rank == type->rank;
  }
  for (int i = 0; i + 1 < type->rank; i++) {
    if (!mvs_dim_equal(space->dims[i], type->dims[i])) return false;
  }
  return type->dims[type->rank - 1].size == 1;
}

/* The shape that the reductions of a nest leave. */
static mvs_type reduced_shape(const mvs_nest_plan *nest) {
  mvs_type type = nest->space;
  for (int i = 0; i < type.rank; i++) {
    if (nest->reduced_axes >> i & 1) type.dims[i] = (mvs_dim){1, false};
  }
  if (nest->by_segment) type.dims[1] = (mvs_dim){nest->space.segments->count, false};
  return type;
}

/* What a thread of the space can store: its element, or one value a row; behind a reduction
 * what is left of the space. */
static bool outputs_fit_the_space(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    bool columns = c->group->group_class == MVS_GROUP_COLUMNS;
    if (columns && nest->by_segment && !nest->space.segments) return false;
    mvs_type reduced = reduced_shape(nest);
    for (size_t i = 0; i < nest->outputs.count; i++) {
      const mvs_type *type = mvs_graph_type(c->graph, nest->outputs.items[i]);
      bool fits = columns ? mvs_type_same_shape(&reduced, type) : fits_rows(&nest->space, type);
      if (!fits) return fail_at(c, nest->outputs.items[i]);
    }
  }
  return true;
}

static bool is_segment_sum(mvs_op op) {
  return op == MVS_OP_segment_sum || op == MVS_OP_segment_mean;
}

/* Row kernels reduce whole rows of their space or pieces of them; column kernels reduce their
 * own axes and no rows. */
static bool reduces_as_it_should(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    bool columns = c->group->group_class == MVS_GROUP_COLUMNS;
    for (size_t i = 0; i < nest->interior.count; i++) {
      const mvs_node *node = node_of(c, nest->interior.items[i]);
      bool reduce = mvs_ops[node->op].op_class == MVS_CLASS_REDUCE;
      if (!reduce && !is_segment_sum(node->op)) continue;
      if (mvs_reduces_nothing(c->graph, node)) continue;
      if (is_segment_sum(node->op) != (columns && nest->by_segment)) {
        return fail_at(c, nest->interior.items[i]);
      }
      if (!columns || is_segment_sum(node->op)) continue;
      bool own = node->op != MVS_OP_inv_rms && node->attr.axes.mask == nest->reduced_axes;
      if (!own) return fail_at(c, nest->interior.items[i]);
    }
  }
  return true;
}

/* At most: operands that nests share count twice here, and one kernel may still find them to be
 * one. */
static bool operands_fit_a_kernel(check *c) {
  size_t count = 0;
  for (size_t n = 0; n < c->group->nests.count; n++) {
    count += c->group->nests.items[n].outputs.count + c->group->nests.items[n].leaves.count;
  }
  return count <= MVS_MAX_OPERANDS;
}

/* --- places --- */

/* Without gaps, or as attention takes its heads. */
static bool lies_for(const check *c, mvs_id op, mvs_id id) {
  const mvs_place *place = &c->schedule->places[id];
  const mvs_type *type = mvs_graph_type(c->graph, id);
  if (place->buffer == UINT32_MAX) return false;
  return mvs_is_heads(c->graph, op, id) ? mvs_strides_fit_heads(type, place->strides)
                                        : mvs_strides_are_whole(type, place->strides);
}

/* Libraries and generated products take rows without gaps; regions address slots of their own,
 * so that what they give is not looked at here. */
static bool heavy_operands_lie_whole(check *c) {
  if (c->group->nests.count > 0) return true;
  mvs_id heavy = c->group->heavy;
  const mvs_node *node = node_of(c, heavy);
  for (int i = 0; i < node->input_count; i++) {
    if (!lies_for(c, heavy, node->inputs[i])) return fail_at(c, node->inputs[i]);
  }
  if (!mvs_op_is_tuple(node->op)) return lies_for(c, heavy, heavy) || fail_at(c, heavy);
  for (mvs_id id = heavy + 1; id < mvs_graph_size(c->graph); id++) {
    const mvs_node *get = node_of(c, id);
    bool own = get->op == MVS_OP_get && get->inputs[0] == heavy && c->schedule->roots[id] == id;
    bool region = node->op == MVS_OP_region;
    if (own && !region && !lies_for(c, heavy, id)) return fail_at(c, id);
  }
  return true;
}

/* The last element of a value lies in its slot, or in the slots behind it when it is stacked.
 */
static bool lies_inside(const check *c, const mvs_place *place, const mvs_type *type) {
  if (place->buffer >= c->function->buffers.count) return false;
  const mvs_buffer *buffer = &c->function->buffers.items[place->buffer];
  int64_t last = place->offset, size = mvs_dtype_size(type->dtype);
  for (int i = 0; i < type->rank; i++) {
    int64_t extent = type->dims[i].size * (type->dims[i].per_batch ? CHECKED_BATCH : 1);
    last += place->strides[i] * (extent - 1);
  }
  int64_t slot = buffer->fixed + buffer->per_batch * CHECKED_BATCH;
  return buffer->dtype == type->dtype && place->offset >= 0 &&
         (last + 1) * size <= slot * buffer->slots_kept;
}

static bool places_lie_in_their_buffers(check *c) {
  for (mvs_id id = 0; id < mvs_graph_size(c->graph); id++) {
    const mvs_place *place = &c->schedule->places[id];
    if (place->buffer == UINT32_MAX) continue;
    if (!lies_inside(c, place, mvs_graph_type(c->graph, id))) return fail_at(c, id);
  }
  return true;
}

/* Inputs and weights are read alone; what is prepared is written by "prepare". */
static bool may_be_stored(const check *c, const mvs_place *place) {
  if (place->buffer >= c->function->buffers.count) return true; /* another rule's matter */
  mvs_buffer_kind kind = c->function->buffers.items[place->buffer].kind;
  if (kind == MVS_BUFFER_PREPARED) return strcmp(c->function->name, MVS_PREPARE) == 0;
  return kind != MVS_BUFFER_INPUT && kind != MVS_BUFFER_PARAM;
}

static bool stores_stay_off_what_is_given(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    for (size_t i = 0; i < nest->outputs.count; i++) {
      if (!may_be_stored(c, &nest->store_places.items[i]))
        return fail_at(c, nest->outputs.items[i]);
    }
  }
  if (c->group->nests.count > 0 || mvs_op_is_tuple(node_of(c, c->group->heavy)->op))
    return true;
  bool may = may_be_stored(c, &c->schedule->places[c->group->heavy]);
  return may || fail_at(c, c->group->heavy);
}

static bool copies_lie_in_their_buffers(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    for (size_t i = 0; i < nest->outputs.count; i++) {
      mvs_id id = nest->outputs.items[i];
      const mvs_type *type = mvs_graph_type(c->graph, id);
      if (!lies_inside(c, &nest->store_places.items[i], type)) return fail_at(c, id);
    }
  }
  return true;
}

/* A gathered concat is, when all its parts are. */
static bool is_there(const check *c, mvs_id root) {
  const mvs_node *node = node_of(c, root);
  if (c->written[root] || comes_from_outside(c, root)) return true;
  if (!c->schedule->gathered[root]) return false;
  for (int i = 0; i < node->input_count; i++) {
    mvs_id part = c->schedule->roots[node->inputs[i]];
    if (part == MVS_NONE || !is_there(c, part)) return false;
  }
  return true;
}

static bool results_are_there(check *c) {
  const mvs_results *results = mvs_graph_result_list(c->graph);
  for (size_t i = 0; i < results->count; i++) {
    mvs_id root = c->schedule->roots[results->items[i].id];
    if (root == MVS_NONE || !is_there(c, root)) return fail_at(c, results->items[i].id);
  }
  return true;
}

/* All values redone are the block redone, and their own groups are enough for that. */
static bool alternatives_make_the_block(check *c) {
  size_t count = c->schedule->groups.count;
  bool *whole = MVS_ARRAY(c->arena, count + 1, bool),
       *own = MVS_ARRAY(c->arena, count + 1, bool);
  for (size_t i = 0; i < c->schedule->alternatives.count; i++) {
    const mvs_alternative *each = &c->schedule->alternatives.items[i];
    for (size_t k = 0; k < each->groups.count; k++) whole[each->groups.items[k]] = true;
    for (size_t k = 0; k < each->own_groups.count; k++) own[each->own_groups.items[k]] = true;
    if (each->own_groups.count == 0) return fail_at(c, each->value);
  }
  for (size_t i = 0; i < count; i++) {
    bool redo = c->schedule->groups.items[i].redo;
    if (whole[i] != redo || own[i] != redo) return false;
  }
  return true;
}

/* --- the table --- */

static const struct {
  const char *name;
  bool of_groups; /* per group in order; else once per schedule, after its groups */
  rule_function *holds;
} rules[] = {
    {"stores have places", true, stores_have_places},
    {"a nest computes from what it loads", true, nests_are_closed},
    {"reads what was written", true, reads_what_was_written},
    {"writes each place once", true, writes_each_place_once},
    {"outputs fit the space", true, outputs_fit_the_space},
    {"reduces along the kernel's axes", true, reduces_as_it_should},
    {"operands fit a kernel", true, operands_fit_a_kernel},
    {"operands of heavy ops lie as they take them", true, heavy_operands_lie_whole},
    {"stores stay off what is given", true, stores_stay_off_what_is_given},
    {"copies lie in their buffers", true, copies_lie_in_their_buffers},
    {"values lie in their buffers", false, places_lie_in_their_buffers},
    {"results are there", false, results_are_there},
    {"alternatives make the block", false, alternatives_make_the_block},
};

static mvs_status report(const check *c, const char *name) {
  mvs_text where = mvs_text_new(c->arena);
  mvs_span span = {0};
  if (c->group) mvs_text_addf(&where, ", group %zu", c->index);
  if (c->culprit != MVS_NONE) {
    span = node_of(c, c->culprit)->span;
    mvs_text_addf(&where, ", %%%u %s", c->culprit, mvs_ops[node_of(c, c->culprit)->op].name);
  }
  mvs_diag_error(c->diag, span, "internal error: broken rule of plans: %s: in %s%s", name,
                 c->function->name, mvs_text_string(&where));
  return MVS_ERR_INTERNAL;
}

static mvs_status run_rules(check *c, bool of_groups) {
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    c->culprit = MVS_NONE;
    if (rules[i].of_groups == of_groups && !rules[i].holds(c)) return report(c, rules[i].name);
  }
  return MVS_OK;
}

static void mark_written(check *c) {
  for (size_t n = 0; n < c->group->nests.count; n++) {
    const mvs_nest_plan *nest = &c->group->nests.items[n];
    for (size_t i = 0; i < nest->outputs.count; i++) c->written[nest->outputs.items[i]] = true;
  }
  if (c->group->nests.count > 0) return;
  c->written[c->group->heavy] = true;
  for (mvs_id id = c->group->heavy + 1; id < mvs_graph_size(c->graph); id++) {
    const mvs_node *node = node_of(c, id);
    if (node->op == MVS_OP_get && node->inputs[0] == c->group->heavy) c->written[id] = true;
  }
}

/* In the order of execution, with what is written so far; bodies behind the graph around them,
 * whose values they know only as arguments. */
static mvs_status verify_schedule(const check *outer, const mvs_schedule *schedule) {
  check c = *outer;
  size_t nodes = (size_t)mvs_graph_size(schedule->graph) + 1;
  c.schedule = schedule;
  c.graph = schedule->graph;
  c.written = MVS_ARRAY(c.arena, nodes, bool);
  c.stamps = MVS_ARRAY(c.arena, nodes, uint32_t);
  for (c.index = 0; c.index < schedule->groups.count; c.index++) {
    c.group = &schedule->groups.items[c.index];
    MVS_TRY(run_rules(&c, true));
    mark_written(&c);
  }
  c.group = NULL;
  MVS_TRY(run_rules(&c, false));
  for (size_t i = 0; i < schedule->bodies.count; i++) {
    MVS_TRY(verify_schedule(&c, schedule->bodies.items[i]));
  }
  return MVS_OK;
}

mvs_status mvs_plan_verify(mvs_arena *arena, const mvs_plan *plan, mvs_diag *diag) {
  for (size_t i = 0; i < plan->functions.count; i++) {
    check c = {.arena = arena, .diag = diag, .function = &plan->functions.items[i]};
    MVS_TRY(verify_schedule(&c, c.function->top));
  }
  return MVS_OK;
}
