/* evaluate.c: evaluates graphs node by node, and regions layer by layer. */
#include "tests/reference/reference.h"
#include "tests/reference/rules.h"

static mvs_evaluate_rule *const rules[MVS_OP_COUNT] = {
#define MVS_OP(id, least, most, class, attribute) [MVS_OP_##id] = mvs_evaluate_##id,
#include "compiler/ir/ops.def"
#undef MVS_OP
};

/* --- tensors and their indices --- */

int64_t mvs_tensor_count(const mvs_tensor *tensor, int64_t batch) {
  return mvs_type_count(&tensor->type, batch);
}

mvs_tensor mvs_tensor_new(mvs_arena *arena, const mvs_type *type, int64_t batch) {
  mvs_tensor tensor = {*type, NULL};
  tensor.data = MVS_ARRAY(arena, (size_t)mvs_type_count(type, batch), double);
  return tensor;
}

mvs_tensor *mvs_tensor_map_find(const mvs_tensor_map *map, const char *name) {
  for (size_t i = 0; i < map->count; i++) {
    if (strcmp(map->items[i].name, name) == 0) return &map->items[i].tensor;
  }
  return NULL;
}

void mvs_tensor_map_set(mvs_arena *arena, mvs_tensor_map *map, const char *name,
                        mvs_tensor tensor) {
  mvs_tensor *known = mvs_tensor_map_find(map, name);
  if (known) {
    *known = tensor;
    return;
  }
  mvs_named_tensor entry = {name, tensor};
  MVS_PUSH(arena, map, entry);
}

int64_t mvs_evaluate_extent(const mvs_evaluate_call *call, const mvs_tensor *tensor, int axis) {
  mvs_dim dim = tensor->type.dims[axis];
  return dim.per_batch ? dim.size * call->evaluation->batch : dim.size;
}

int64_t mvs_evaluate_count(const mvs_evaluate_call *call) {
  return mvs_tensor_count(&call->results[0], call->evaluation->batch);
}

void mvs_evaluate_unravel(const mvs_evaluate_call *call, const mvs_tensor *tensor, int64_t flat,
                          int64_t *index) {
  for (int axis = tensor->type.rank; axis-- > 0;) {
    int64_t extent = mvs_evaluate_extent(call, tensor, axis);
    index[axis] = flat % extent;
    flat /= extent;
  }
}

int64_t mvs_evaluate_ravel(const mvs_evaluate_call *call, const mvs_tensor *tensor,
                           const int64_t *index, int rank) {
  int shift = rank - tensor->type.rank;
  int64_t flat = 0;
  for (int axis = 0; axis < tensor->type.rank; axis++) {
    int64_t extent = mvs_evaluate_extent(call, tensor, axis);
    flat = flat * extent + (extent == 1 ? 0 : index[axis + shift]);
  }
  return flat;
}

/* --- nodes --- */

static bool is_rounded(const mvs_reference_options *options, mvs_dtype dtype) {
  return (dtype == MVS_BF16 && options->round_bf16) || (dtype == MVS_F32 && options->round_f32);
}

static void round_results(const mvs_evaluate_call *call, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    mvs_tensor *result = &call->results[i];
    mvs_dtype dtype = result->type.dtype;
    if (!is_rounded(&call->evaluation->options, dtype)) continue;
    mvs_tensor rounded = mvs_tensor_new(call->arena, &result->type, call->evaluation->batch);
    for (int64_t k = 0; k < mvs_tensor_count(result, call->evaluation->batch); k++) {
      double value = result->data[k];
      rounded.data[k] = dtype == MVS_BF16 ? mvs_reference_bf16(value) : (double)(float)value;
    }
    *result = rounded;
  }
}

static mvs_status evaluate_node(const mvs_evaluation *evaluation, mvs_arena *arena,
                                const mvs_graph *graph, const mvs_layer *layer, mvs_id id,
                                mvs_tensor **values) {
  const mvs_node *node = mvs_graph_node(graph, id);
  uint32_t count = mvs_node_result_count(graph, id);
  const mvs_tensor **inputs = MVS_ARRAY(arena, node->input_count + 1u, const mvs_tensor *);
  for (int i = 0; i < node->input_count; i++) inputs[i] = values[node->inputs[i]];
  values[id] = MVS_ARRAY(arena, count, mvs_tensor);
  for (uint32_t i = 0; i < count; i++) {
    mvs_type type = mvs_node_result_type(graph, id, i);
    values[id][i] = mvs_tensor_new(arena, &type, evaluation->batch);
  }
  mvs_evaluate_call call = {evaluation, arena, graph, layer, node, inputs, values[id]};
  if (evaluation->options.noise) mvs_evaluate_move_terms(&call);
  MVS_TRY(rules[node->op](&call));
  if (evaluation->options.noise) mvs_evaluate_move_results(&call, count);
  round_results(&call, count);
  return MVS_OK;
}

mvs_status mvs_evaluate_graph(const mvs_evaluation *evaluation, mvs_arena *arena,
                              const mvs_graph *graph, const mvs_layer *layer,
                              mvs_tensor ***values) {
  mvs_tensor **all = MVS_ARRAY(arena, mvs_graph_size(graph) + 1u, mvs_tensor *);
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    MVS_TRY(evaluate_node(evaluation, arena, graph, layer, id, all));
  }
  *values = all;
  return MVS_OK;
}

void mvs_reference_part(const mvs_module *module, const mvs_param *part, double *pack,
                        double *values, bool out) {
  int64_t each = mvs_type_elements(&part->type, NULL);
  int64_t stride = mvs_type_elements(&module->params.items[part->pack].type, NULL);
  for (int64_t layer = 0; layer < (part->layers ? part->layers : 1); layer++) {
    double *there = pack + layer * stride + part->pack_place, *here = values + layer * each;
    memcpy(out ? here : there, out ? there : here, (size_t)each * sizeof *here);
  }
}

/* Gradients of parts, from those of their packs. */
static void add_parts(mvs_arena *arena, const mvs_module *module, mvs_tensor_map *results) {
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *part = &module->params.items[i];
    if (part->pack == 0) continue;
    const char *name = module->params.items[part->pack].name;
    const mvs_tensor *pack =
        mvs_tensor_map_find(results, mvs_arena_format(arena, "g/%s", name));
    if (!pack) continue;
    mvs_type type = mvs_param_node_type(part);
    mvs_tensor tensor = mvs_tensor_new(arena, &type, 1);
    mvs_reference_part(module, part, pack->data, tensor.data, true);
    mvs_tensor_map_set(arena, results, mvs_arena_format(arena, "g/%s", part->name), tensor);
  }
}

mvs_status mvs_reference_run(mvs_arena *arena, const mvs_graph *graph, int64_t batch,
                             const mvs_tensor_map *given, const mvs_reference_options *options,
                             mvs_tensor_map *results) {
  mvs_evaluation evaluation = {.batch = batch, .given = given};
  if (options) evaluation.options = *options;
  mvs_tensor **values;
  MVS_TRY(mvs_evaluate_graph(&evaluation, arena, graph, NULL, &values));
  const mvs_results *list = mvs_graph_result_list(graph);
  for (size_t i = 0; i < list->count; i++) {
    mvs_tensor_map_set(arena, results, list->items[i].name, values[list->items[i].id][0]);
  }
  add_parts(arena, mvs_graph_module(graph), results);
  return MVS_OK;
}

/* --- regions --- */

static void copy_values(mvs_tensor *to, const mvs_tensor *from, int64_t batch) {
  memcpy(to->data, from->data, (size_t)mvs_tensor_count(from, batch) * sizeof *to->data);
}

/* Runs the body for one layer in an arena of its own, then keeps its results. */
static mvs_status run_layer(const mvs_evaluate_call *call, const mvs_layer *layer,
                            mvs_tensor *carried, mvs_arena *scratch) {
  const mvs_region *region = layer->region;
  const mvs_results *list = mvs_graph_result_list(region->body);
  int64_t batch = call->evaluation->batch;
  mvs_tensor **values;
  MVS_TRY(mvs_evaluate_graph(call->evaluation, scratch, region->body, layer, &values));
  for (uint32_t i = 0; i < region->output_count; i++) {
    const mvs_tensor *inner = values[list->items[region->carried_count + i].id];
    int64_t count = mvs_tensor_count(inner, batch);
    mvs_tensor slice = call->results[region->carried_count + i];
    slice.data += layer->number * count;
    copy_values(&slice, inner, batch);
  }
  for (uint32_t i = 0; i < region->carried_count; i++) {
    copy_values(&carried[i], values[list->items[i].id], batch);
  }
  return MVS_OK;
}

/* The inputs of a region, each being one tensor, from `first` on. */
static mvs_tensor *input_slice(const mvs_evaluate_call *call, uint32_t first, uint32_t count) {
  mvs_tensor *tensors = MVS_ARRAY(call->arena, count + 1u, mvs_tensor);
  for (uint32_t i = 0; i < count; i++) tensors[i] = call->inputs[first + i][0];
  return tensors;
}

mvs_status mvs_evaluate_region(const mvs_evaluate_call *call) {
  const mvs_region *region = call->node->attr.region.body;
  uint32_t carried = region->carried_count, invariant = region->invariant_count;
  mvs_layer layer = {.region = region,
                     .carried = call->results,
                     .invariants = input_slice(call, carried, invariant),
                     .stacked = input_slice(call, carried + invariant, region->stacked_count),
                     .outputs = call->results + carried};
  for (uint32_t i = 0; i < carried; i++) {
    copy_values(&call->results[i], call->inputs[i], call->evaluation->batch);
  }
  mvs_status status = MVS_OK;
  for (int64_t run = 0; run < region->count && status == MVS_OK; run++) {
    mvs_arena *scratch = mvs_arena_new();
    if (!scratch) return MVS_ERR_MEMORY;
    layer.number = region->reverse ? region->count - 1 - run : run;
    status = run_layer(call, &layer, call->results, scratch);
    mvs_arena_free(scratch);
  }
  return status;
}

/* One layer's part of a stacked tensor. */
static mvs_status take_layer(const mvs_evaluate_call *call, const mvs_tensor *stacked,
                             int64_t number) {
  int64_t count = mvs_evaluate_count(call);
  mvs_tensor slice = {call->results[0].type, stacked->data + number * count};
  copy_values(&call->results[0], &slice, call->evaluation->batch);
  return MVS_OK;
}

/* An output of an earlier layer, earlier as the region runs; zeros before its start. */
static mvs_status take_read(const mvs_evaluate_call *call, uint32_t index) {
  const mvs_layer *layer = call->layer;
  const mvs_read *read = &layer->region->reads[index];
  int64_t back = layer->region->reverse ? -read->distance : read->distance;
  int64_t number = layer->number - back;
  if (number < 0 || number >= layer->region->count) return MVS_OK;
  return take_layer(call, &layer->outputs[read->output], number);
}

mvs_status mvs_evaluate_argument(const mvs_evaluate_call *call) {
  const mvs_layer *layer = call->layer;
  uint32_t index = call->node->attr.argument.index;
  int64_t batch = call->evaluation->batch;
  switch (call->node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      copy_values(&call->results[0], &layer->carried[index], batch);
      return MVS_OK;
    case MVS_ARG_INVARIANT:
      copy_values(&call->results[0], &layer->invariants[index], batch);
      return MVS_OK;
    case MVS_ARG_STACKED:
      return take_layer(call, &layer->stacked[index], layer->number);
    case MVS_ARG_READ:
      return take_read(call, index);
    case MVS_ARG_LAYER:
      call->results[0].data[0] = (double)layer->number;
      return MVS_OK;
  }
  return MVS_ERR_INTERNAL;
}
