/* gradients.c: the sweep, sums of cotangents, forward values, and the pass "loss" -> "grad".
 *
 *   loss: ... %7 = mul %5, %6, ... results loss=%9     grad: the same nodes, then cotangents
 *   cotangents[%7] = %20                                 %21 = mul %20, %6   given to %5
 *                                                        %22 = mul %20, %5   given to %6
 * In a body cotangents are built into another graph, so %5 and %6 must first come to it: that
 * is what mvs_gradient_value is for. */
#include "compiler/passes/gradients.h"

#include <assert.h>

#include "compiler/passes/held.h"
#include "compiler/passes/rebuild.h"
#include "compiler/passes/rewrite.h"

static mvs_arena *home(const mvs_gradient *at) { return mvs_graph_arena(at->target); }

mvs_gradient *mvs_gradient_new(mvs_compilation *compilation, mvs_graph *forward,
                               mvs_graph *target, const mvs_activity *activity) {
  mvs_gradient *at = MVS_NEW(mvs_graph_arena(target), mvs_gradient);
  at->compilation = compilation;
  at->forward = forward;
  at->target = target;
  at->size = mvs_graph_size(forward);
  at->activity = activity;
  at->crossing = mvs_crossing_new(home(at), forward);
  at->cotangents = mvs_new_ids(home(at), at->size);
  at->values = mvs_new_ids(home(at), at->size);
  at->results = MVS_ARRAY(home(at), at->size + 1, mvs_id *);
  for (mvs_id id = 0; id < at->size; id++) {
    if (!mvs_op_is_tuple(mvs_graph_node(forward, id)->op)) continue;
    at->results[id] = mvs_new_ids(home(at), mvs_node_result_count(forward, id));
  }
  return at;
}

bool mvs_gradient_wanted(const mvs_gradient *at, mvs_id node) {
  return at->activity->nodes[node];
}

/* --- sums of cotangents --- */

/* One constant, stretched: simplify-again knows it as a number (times zero, plus zero). */
mvs_id mvs_gradient_zeros(mvs_graph *target, const mvs_type *type) {
  mvs_attr number = {.constant = {0, type->dtype == MVS_F64 ? MVS_F64 : MVS_F32}};
  mvs_span nowhere = {0};
  mvs_id zero = mvs_graph_add(target, MVS_OP_constant, NULL, 0, &number, nowhere);
  mvs_attr shape = {.shape = {*type}};
  mvs_id zeros = mvs_graph_add(target, MVS_OP_broadcast, &zero, 1, &shape, nowhere);
  return type->dtype == MVS_BF16 ? mvs_build_cast(target, zeros, MVS_BF16, nowhere) : zeros;
}

/* The axes of `from` that a value of type `to`, right-aligned, was stretched along:
 * from [B, T, C], to [C] -> {0, 1}; to [B, T, 1] -> {2}. */
static uint32_t stretched_axes(const mvs_type *from, const mvs_type *to) {
  uint32_t mask = 0;
  int lead = from->rank - to->rank;
  for (int i = 0; i < from->rank; i++) {
    bool one = from->dims[i].size == 1 && !from->dims[i].per_batch;
    if (!one && (i < lead || !mvs_dim_equal(from->dims[i], to->dims[i - lead]))) {
      mask |= 1u << i;
    }
  }
  return mask;
}

/* Drops leading axes of extent 1 that the value does not have. */
static mvs_id trim(mvs_graph *target, mvs_id cotangent, int rank, mvs_span span) {
  mvs_type type = *mvs_graph_type(target, cotangent);
  int lead = type.rank - rank;
  if (lead <= 0) return cotangent;
  type = mvs_type_make(type.dtype, rank, type.dims + lead);
  return mvs_build_reshape(target, cotangent, &type, span);
}

/* Fits a cotangent to the shape and segments of the value that it belongs to: the transpose of
 * implicit broadcasting. Every rule can then give what its formula says, at the shape of its
 * output. A rule may also give less than the value's shape (that of a sum: g has extent 1 where
 * x has n), which is stretched. */
static mvs_id fit_shape(mvs_graph *target, mvs_id cotangent, const mvs_type *value,
                        mvs_span span) {
  uint32_t mask = stretched_axes(mvs_graph_type(target, cotangent), value);
  if (mask) cotangent = mvs_build_sum(target, cotangent, mask, span);
  cotangent = trim(target, cotangent, value->rank, span);
  if (!mvs_type_same_shape(mvs_graph_type(target, cotangent), value)) {
    mvs_attr shape = {.shape = {*value}};
    cotangent = mvs_graph_add(target, MVS_OP_broadcast, &cotangent, 1, &shape, span);
  }
  if (mvs_graph_type(target, cotangent)->segments == value->segments) return cotangent;
  return mvs_build_reshape(target, cotangent, value, span);
}

/* bf16 widens in the sum by itself; only f64 and the rest must not mix. */
static mvs_id fit_dtype(mvs_graph *target, mvs_id cotangent, const mvs_type *value,
                        mvs_span span) {
  mvs_dtype dtype = mvs_graph_type(target, cotangent)->dtype;
  bool wide = value->dtype == MVS_F64;
  if (wide == (dtype == MVS_F64)) return cotangent;
  return mvs_build_cast(target, cotangent, wide ? MVS_F64 : MVS_F32, span);
}

/* Added as they come, users from the last to the first: the order of the sum is that of the
 * graph. */
void mvs_gradient_give(mvs_gradient *at, mvs_id node, mvs_id cotangent) {
  if (!mvs_gradient_wanted(at, node)) return;
  const mvs_node *value = mvs_graph_node(at->forward, node);
  cotangent = fit_dtype(at->target, cotangent, &value->type, value->span);
  cotangent = fit_shape(at->target, cotangent, &value->type, value->span);
  mvs_id *sum = &at->cotangents[node];
  *sum = *sum == MVS_NONE
             ? cotangent
             : mvs_build_binary(at->target, MVS_OP_add, *sum, cotangent, value->span);
}

/* Idempotent, so that rules need not know whether somebody rounded before. */
mvs_id mvs_gradient_round(mvs_gradient *at, const mvs_type *value, mvs_id cotangent) {
  const mvs_node *node = mvs_graph_node(at->target, cotangent);
  if (value->dtype != MVS_BF16 || node->type.dtype == MVS_BF16) return cotangent;
  return mvs_build_cast(at->target, cotangent, MVS_BF16, node->span);
}

/* --- forward values --- */

/* A kept value of a body comes in as a stacked output of the forward region:
 *   forward region { ... %9 ... }                     one more stacked output, %9
 *   reverse region stacked(get forward) { argument }  the slice of this layer
 * Each is one buffer of `count` layers, which the runtime keeps or fills again layer by layer
 * (docs/house.md, "Keep or redo"). Outputs are interned: asking twice costs nothing. */
static mvs_id cross(mvs_gradient *at, mvs_id id) {
  const mvs_node *region_node = mvs_graph_node(at->outer->forward, at->region_node);
  mvs_region *region = region_node->attr.region.body;
  const mvs_node *node = mvs_graph_node(at->forward, id);
  uint32_t output = mvs_region_add_output(region, id);
  mvs_id outer = mvs_build_get(at->outer->target, at->region_node,
                               region->carried_count + output, node->span);
  return mvs_region_builder_stacked(at->builder, outer, &node->type);
}

/* The carried value that a node of the forward body hands on as held; -1: none. */
static int held_by(const mvs_gradient *at, mvs_id id) {
  const mvs_node *node = at->outer ? mvs_graph_node(at->outer->forward, at->region_node) : NULL;
  const mvs_region *region = node ? node->attr.region.body : NULL;
  for (uint32_t i = 0; region && i < region->carried_count; i++) {
    if (mvs_graph_results(region->body)->items[i].id != id) continue;
    if (mvs_held_next(region, i) == id) return (int)i;
  }
  return -1;
}

/* What is held comes in as the forward region left it: the same in all layers. */
static mvs_id held_value(mvs_gradient *at, mvs_id id) {
  const mvs_node *node = mvs_graph_node(at->forward, id);
  mvs_id last = mvs_build_get(at->outer->target, at->region_node, (uint32_t)held_by(at, id),
                              node->span);
  return mvs_region_builder_invariant(at->builder, last);
}

/* Weights, invariants and the layer's number come in again as what they were in the forward
 * body; carried values and reads were of one layer run and cross. */
static mvs_id argument_value(mvs_gradient *at, mvs_id id) {
  const mvs_node *node = mvs_graph_node(at->forward, id);
  const mvs_node *region_node = mvs_graph_node(at->outer->forward, at->region_node);
  const mvs_region *region = region_node->attr.region.body;
  const mvs_id *invariants = region_node->inputs + region->carried_count;
  uint32_t index = node->attr.argument.index;
  switch (node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
    case MVS_ARG_READ:
      break;
    case MVS_ARG_INVARIANT:
      return mvs_region_builder_invariant(at->builder,
                                          mvs_gradient_value(at->outer, invariants[index]));
    case MVS_ARG_STACKED: {
      mvs_id outer = mvs_gradient_value(at->outer, invariants[region->invariant_count + index]);
      return mvs_region_builder_stacked(at->builder, outer, &node->type);
    }
    case MVS_ARG_LAYER:
      return mvs_region_builder_layer(at->builder);
  }
  return cross(at, id);
}

/* Builds the expression of a node again. What depends on weights and invariants alone is no
 * recomputation: it stays in pass 0, where hoisting joins it with the forward pass's. A norm is
 * redone as the product that it is: normalize stands for a gradient, which is taken already. */
static mvs_id redo(mvs_gradient *at, mvs_id id) {
  const mvs_node *node = mvs_graph_node(at->forward, id);
  mvs_op op = node->op == MVS_OP_normalize ? MVS_OP_mul : node->op;
  mvs_id *inputs = MVS_ARRAY(home(at), node->input_count + 1u, mvs_id);
  for (int i = 0; i < node->input_count; i++) {
    inputs[i] = mvs_gradient_value(at, node->inputs[i]);
  }
  mvs_graph_set_pass(at->target, at->crossing->varying[id] ? 1 : 0);
  mvs_graph_set_rule(at->target, node->rule);
  mvs_id made =
      mvs_graph_add(at->target, op, inputs, node->input_count, &node->attr, node->span);
  mvs_graph_set_pass(at->target, 0);
  mvs_graph_set_rule(at->target, NULL);
  return made;
}

/* The slice of a kept concat that is the value. */
static mvs_id take_part(mvs_gradient *at, mvs_id id) {
  mvs_id whole = at->crossing->part_of[id];
  const mvs_node *concat = mvs_graph_node(at->forward, whole);
  const mvs_type *type = mvs_graph_type(at->forward, id);
  int axis = concat->attr.concat.axis;
  int64_t start = 0;
  for (int i = 0; concat->inputs[i] != id; i++) {
    start += mvs_graph_type(at->forward, concat->inputs[i])->dims[axis].size;
  }
  return mvs_build_slice(at->target, mvs_gradient_value(at, whole), axis, start,
                         type->dims[axis].size, type->segments, concat->span);
}

/* How a forward value comes to the target. */
typedef enum source { IN_PLACE, ARGUMENT, HELD, PART, CROSSING, REDONE } source;

/* See crossing.h for the choice between the last three, held.h for HELD. In a body, what does
 * not vary is built again from weights and invariants, in pass 0, so that hoisting can take
 * both copies out as one; but not a product, which no backward layer should compute twice. */
static source source_of(const mvs_gradient *at, mvs_id id) {
  const mvs_crossing *crossing = at->crossing;
  const mvs_node *node = mvs_graph_node(at->forward, id);
  bool part = crossing->part_of[id] != MVS_NONE;
  if (!at->outer) { /* the same graph: what is kept, or costs nothing, is used where it is */
    if (crossing->kept[id] || !crossing->varying[id]) return IN_PLACE;
    return part ? PART : REDONE;
  }
  if (node->op == MVS_OP_argument) return ARGUMENT;
  if (held_by(at, id) >= 0) return HELD;
  bool cheap = mvs_ops[node->op].op_class != MVS_CLASS_HEAVY && node->op != MVS_OP_get;
  if (!crossing->varying[id] && cheap) return REDONE;
  if (part) return PART;
  return crossing->kept[id] ? CROSSING : REDONE;
}

static mvs_id find_value(mvs_gradient *at, mvs_id id) {
  switch (source_of(at, id)) {
    case IN_PLACE:
      return id;
    case ARGUMENT:
      return argument_value(at, id);
    case HELD:
      return held_value(at, id);
    case PART:
      return take_part(at, id);
    case CROSSING:
      return cross(at, id);
    case REDONE:
      return redo(at, id);
  }
  return MVS_NONE;
}

typedef MVS_LIST(mvs_id) id_list;

/* Appends the values that a value is made from and that are not known yet; true when there are.
 */
static bool push_missing(mvs_gradient *at, mvs_id id, id_list *waiting) {
  size_t before = waiting->count;
  source from = source_of(at, id);
  const mvs_node *node = mvs_graph_node(at->forward, id);
  if (from == PART && at->values[at->crossing->part_of[id]] == MVS_NONE) {
    MVS_PUSH(home(at), waiting, at->crossing->part_of[id]);
  }
  for (int i = node->input_count; from == REDONE && i-- > 0;) {
    if (at->values[node->inputs[i]] == MVS_NONE) MVS_PUSH(home(at), waiting, node->inputs[i]);
  }
  return waiting->count > before;
}

/* With a list of its own instead of recursion: an expression may be as long as a model file. */
mvs_id mvs_gradient_value(mvs_gradient *at, mvs_id node) {
  if (node >= at->size) return at->outer ? cross(at, node) : node; /* a `get` made on demand */
  if (at->values[node] != MVS_NONE) return at->values[node];
  id_list waiting = {0};
  MVS_PUSH(home(at), &waiting, node);
  while (waiting.count > 0) {
    mvs_id id = waiting.items[waiting.count - 1];
    if (at->values[id] == MVS_NONE) {
      if (push_missing(at, id, &waiting)) continue;
      at->values[id] = find_value(at, id);
    }
    waiting.count--;
  }
  return at->values[node];
}

/* --- the sweep and the pass --- */

/* An op of several results is reached when any of them is. */
static bool any_result(const mvs_gradient *at, mvs_id id) {
  uint32_t count = mvs_node_result_count(at->forward, id);
  for (uint32_t i = 0; i < count; i++) {
    if (at->results[id][i] != MVS_NONE) return true;
  }
  return false;
}

/* Last to first: all users of a node have given their share when its rule runs. Nodes that
 * rules add to the same graph at the top level have numbers from `size` on and are not visited.
 * */
void mvs_gradient_sweep(mvs_gradient *at) {
  for (mvs_id id = at->size; id-- > 0;) {
    if (!mvs_gradient_wanted(at, id)) continue;
    bool reached = at->results[id] ? any_result(at, id) : at->cotangents[id] != MVS_NONE;
    if (!reached) continue;
    mvs_gradient_rules[mvs_graph_node(at->forward, id)->op](at, id, at->cotangents[id]);
  }
}

/* One result per parameter that learns, in the module's order, those in packs as their pack;
 * zeros where the loss does not depend on it. */
static void add_results(mvs_gradient *at, mvs_id loss) {
  const mvs_module *module = mvs_graph_module(at->target);
  mvs_id *found = mvs_new_ids(home(at), module->params.count);
  for (mvs_id id = 0; id < at->size; id++) {
    const mvs_node *node = mvs_graph_node(at->forward, id);
    if (node->op == MVS_OP_param) found[node->attr.param.index] = at->cotangents[id];
  }
  mvs_results *results = mvs_graph_results(at->target);
  results->items[0] = (mvs_result){"loss", loss};
  results->count = 1;
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (!mvs_param_learns(param) || param->pack) continue;
    mvs_type type = mvs_param_node_type(param);
    mvs_id gradient = found[i] == MVS_NONE ? mvs_gradient_zeros(at->target, &type) : found[i];
    assert(mvs_graph_type(at->target, gradient)->dtype == MVS_F32); /* as parameters are */
    mvs_result result = {mvs_arena_format(home(at), "g/%s", param->name), gradient};
    MVS_PUSH(home(at), results, result);
  }
}

/* On a copy: the graph grows, and its stacks too (mvs_region_add_output). */
mvs_status mvs_pass_gradients(mvs_compilation *compilation) {
  mvs_function *loss = mvs_module_function(compilation->module, "loss");
  if (!loss) return MVS_OK;
  mvs_graph *graph = mvs_rewrite_copy(compilation->arena, loss->graph);
  mvs_id end = mvs_graph_results(graph)->items[0].id;
  const mvs_activity *activity = mvs_activity_new(compilation->arena, graph);
  mvs_gradient *at = mvs_gradient_new(compilation, graph, graph, activity);
  if (mvs_gradient_wanted(at, end)) {
    mvs_attr one = {.constant = {1, mvs_graph_type(graph, end)->dtype}};
    mvs_span span = mvs_graph_node(graph, end)->span;
    mvs_gradient_give(at, end, mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &one, span));
    mvs_gradient_sweep(at);
  }
  if (at->failed) return MVS_ERR_LIMIT;
  add_results(at, end);
  loss->name = "grad";
  loss->graph = graph;
  return MVS_OK;
}
