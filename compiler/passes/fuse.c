/* fuse.c: the fuse pass: every function and every region body gets a schedule of groups. */
#include "compiler/passes/fuse.h"

static mvs_status fuse_graph(mvs_compilation *compilation, mvs_graph *graph,
                             mvs_schedule *parent, mvs_schedule **out);

/* The words of a group: the ops inside that are not mere places, each once. */
static const char *describe(const mvs_fuse *fuse, const mvs_fuse_kernel *kernel) {
  mvs_text text = mvs_text_new(fuse->arena);
  bool seen[MVS_OP_COUNT] = {false};
  if (kernel->heavy != MVS_NONE) {
    mvs_text_add(&text, mvs_ops[mvs_graph_node(fuse->graph, kernel->heavy)->op].name);
  }
  for (size_t i = 0; i < kernel->interior.count; i++) {
    mvs_op op = mvs_graph_node(fuse->graph, kernel->interior.items[i])->op;
    if (seen[op] || mvs_ops[op].op_class == MVS_CLASS_SOURCE) continue;
    seen[op] = true;
    mvs_text_addf(&text, "%s%s", text.length ? " " : "", mvs_ops[op].name);
  }
  return mvs_text_string(&text);
}

static mvs_nest_plan make_nest(const mvs_fuse *fuse, const mvs_fuse_kernel *kernel) {
  mvs_nest_plan nest = {.space = *kernel->space,
                        .reduced_axes = kernel->reduced_axes,
                        .by_segment = kernel->by_segment};
  if (kernel->table) nest.space.segments = kernel->table;
  for (size_t i = 0; i < kernel->sinks.count; i++) {
    MVS_PUSH(fuse->arena, &nest.outputs, kernel->sinks.items[i]);
  }
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    MVS_PUSH(fuse->arena, &nest.leaves, kernel->leaves.items[i]);
  }
  for (size_t i = 0; i < kernel->interior.count; i++) {
    MVS_PUSH(fuse->arena, &nest.interior, kernel->interior.items[i]);
  }
  return nest;
}

/* All kernels gathered with the first are its nests, in the order in which they were found. */
static mvs_group make_group(const mvs_fuse *fuse, size_t first) {
  const mvs_fuse_kernel *kernel = &fuse->kernels.items[first];
  mvs_group group = {.group_class = kernel->group_class, .heavy = kernel->heavy};
  group.why = describe(fuse, kernel);
  if (group.group_class == MVS_GROUP_REGION) {
    group.region = mvs_graph_node(fuse->graph, kernel->heavy)->attr.region.body;
  }
  if (kernel->heavy != MVS_NONE) return group;
  for (size_t i = first; i < fuse->kernels.count; i++) {
    const mvs_fuse_kernel *other = &fuse->kernels.items[i];
    if (other->into >= 0 || other->group != kernel->group) continue;
    MVS_PUSH(fuse->arena, &group.nests, make_nest(fuse, other));
  }
  return group;
}

/* Kernels are in no order here: schedule.c finds one. Bodies are fused on their own, so that no
 * kernel reaches over the edge of a block. */
static mvs_status add_groups(mvs_compilation *compilation, const mvs_fuse *fuse,
                             mvs_schedule *schedule) {
  bool *done = MVS_ARRAY(fuse->arena, fuse->kernels.count + 1, bool);
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    const mvs_fuse_kernel *kernel = &fuse->kernels.items[i];
    if (kernel->into >= 0 || done[kernel->group]) continue;
    done[kernel->group] = true;
    mvs_group group = make_group(fuse, i);
    MVS_PUSH(compilation->arena, &schedule->groups, group);
    if (!group.region) continue;
    mvs_schedule *body;
    MVS_TRY(fuse_graph(compilation, group.region->body, schedule, &body));
    body->region = group.region;
    MVS_PUSH(compilation->arena, &schedule->bodies, body);
  }
  return MVS_OK;
}

/* What schedule and memory know of fusion: which values have a place, and whose bytes an alias
 * names. */
static void set_roots(const mvs_fuse *fuse, mvs_schedule *schedule) {
  schedule->roots = MVS_ARRAY(fuse->arena, fuse->size + 1, mvs_id);
  schedule->places = MVS_ARRAY(fuse->arena, fuse->size + 1, mvs_place);
  schedule->gathered = MVS_ARRAY(fuse->arena, fuse->size + 1, bool);
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_value *value = &fuse->values[id];
    bool placed = value->kind != MVS_VALUE_UNUSED && value->stored;
    schedule->roots[id] = placed ? value->root : MVS_NONE;
    schedule->places[id].buffer = UINT32_MAX;
    schedule->gathered[id] = value->kind == MVS_VALUE_CONCAT;
  }
}

static mvs_status fuse_graph(mvs_compilation *compilation, mvs_graph *graph,
                             mvs_schedule *parent, mvs_schedule **out) {
  mvs_fuse fuse = {.arena = compilation->arena, .diag = compilation->diag, .graph = graph};
  MVS_TRY(mvs_fuse_values(&fuse));
  mvs_fuse_levels(&fuse);
  mvs_fuse_kernels(&fuse);
  mvs_fuse_merge(&fuse);
  mvs_fuse_share(&fuse);
  mvs_fuse_gather(&fuse);
  mvs_schedule *schedule = MVS_NEW(compilation->arena, mvs_schedule);
  schedule->graph = graph;
  schedule->parent = parent;
  set_roots(&fuse, schedule);
  MVS_TRY(add_groups(compilation, &fuse, schedule));
  *out = schedule;
  return MVS_OK;
}

mvs_status mvs_pass_fuse(mvs_compilation *compilation) {
  mvs_plan *plan = MVS_NEW(compilation->arena, mvs_plan);
  const mvs_module *module = compilation->module;
  for (size_t i = 0; i < module->functions.count; i++) {
    mvs_function_plan function = {.name = module->functions.items[i].name};
    MVS_TRY(fuse_graph(compilation, module->functions.items[i].graph, NULL, &function.top));
    MVS_PUSH(compilation->arena, &plan->functions, function);
  }
  compilation->plan = plan;
  return MVS_OK;
}
