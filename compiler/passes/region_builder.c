/* region_builder.c: regions made part by part. Parts get numbers as they are asked for, body
 * nodes are added by the caller, and the node of the region comes last, when all inputs are
 * known. */
#include "compiler/passes/region_builder.h"

#include <assert.h>

mvs_region_builder *mvs_region_builder_new(mvs_graph *outer, const mvs_region *like,
                                           bool reverse) {
  mvs_region_builder *builder = MVS_NEW(mvs_graph_arena(outer), mvs_region_builder);
  builder->outer = outer;
  builder->region = mvs_region_new(outer, like->label, like->count, reverse, like->span);
  return builder;
}

static mvs_arena *home(const mvs_region_builder *builder) {
  return mvs_graph_arena(builder->outer);
}

/* Ports number at most MVS_MAX_INPUTS, so a scan is cheaper than an index. */
static mvs_id find_port(const mvs_region_ports *ports, mvs_id outer) {
  for (size_t i = 0; i < ports->count; i++) {
    if (ports->items[i].outer == outer) return ports->items[i].argument;
  }
  return MVS_NONE;
}

static mvs_id add_port(mvs_region_builder *builder, mvs_region_ports *ports,
                       mvs_argument_kind kind, mvs_id outer, const mvs_type *type) {
  mvs_span span = mvs_graph_node(builder->outer, outer)->span;
  mvs_id argument =
      mvs_region_argument(builder->region, kind, (uint32_t)ports->count, type, span);
  mvs_region_port port = {outer, argument};
  MVS_PUSH(home(builder), ports, port);
  return argument;
}

/* Two carried values that start alike may end differently, so none is shared. */
mvs_id mvs_region_builder_carried(mvs_region_builder *builder, mvs_id initial) {
  MVS_PUSH(home(builder), &builder->next, MVS_NONE);
  builder->region->carried_count++;
  return add_port(builder, &builder->carried, MVS_ARG_CARRIED, initial,
                  mvs_graph_type(builder->outer, initial));
}

void mvs_region_builder_next(mvs_region_builder *builder, uint32_t index, mvs_id body_value) {
  assert(index < builder->next.count);
  builder->next.items[index] = body_value;
}

/* Once for each outer value, which interning then joins in the body: two passes that bring in
 * the same table read one argument. */
mvs_id mvs_region_builder_invariant(mvs_region_builder *builder, mvs_id outer) {
  mvs_id known = find_port(&builder->invariants, outer);
  if (known != MVS_NONE) return known;
  builder->region->invariant_count++;
  return add_port(builder, &builder->invariants, MVS_ARG_INVARIANT, outer,
                  mvs_graph_type(builder->outer, outer));
}

mvs_id mvs_region_builder_stacked(mvs_region_builder *builder, mvs_id outer,
                                  const mvs_type *type) {
  mvs_id known = find_port(&builder->stacked, outer);
  if (known != MVS_NONE) return known;
  builder->region->stacked_count++;
  return add_port(builder, &builder->stacked, MVS_ARG_STACKED, outer, type);
}

mvs_id mvs_region_builder_read(mvs_region_builder *builder, uint32_t output, int64_t distance,
                               const mvs_type *type) {
  mvs_region *region = builder->region;
  for (uint32_t i = 0; i < region->read_count; i++) {
    const mvs_read *read = &region->reads[i];
    if (read->output == output && read->distance == distance) return builder->reads.items[i];
  }
  assert(region->read_count < MVS_MAX_READS);
  uint32_t index = region->read_count++;
  region->reads[index] = (mvs_read){output, distance};
  mvs_id argument = mvs_region_argument(region, MVS_ARG_READ, index, type, region->span);
  MVS_PUSH(home(builder), &builder->reads, argument);
  return argument;
}

mvs_id mvs_region_builder_layer(mvs_region_builder *builder) {
  return mvs_region_argument(builder->region, MVS_ARG_LAYER, 0, NULL, builder->region->span);
}

uint32_t mvs_region_builder_output(mvs_region_builder *builder, mvs_id body_value) {
  for (size_t i = 0; i < builder->outputs.count; i++) {
    if (builder->outputs.items[i] == body_value) return (uint32_t)i;
  }
  MVS_PUSH(home(builder), &builder->outputs, body_value);
  return builder->region->output_count++;
}

size_t mvs_region_builder_inputs(const mvs_region_builder *builder) {
  return builder->carried.count + builder->invariants.count + builder->stacked.count;
}

/* In the order in which region.h has the inputs of a region node. */
static mvs_id *all_inputs(const mvs_region_builder *builder, size_t *count) {
  const mvs_region_ports *kinds[] = {&builder->carried, &builder->invariants,
                                     &builder->stacked};
  *count = mvs_region_builder_inputs(builder);
  assert(*count <= MVS_MAX_INPUTS);
  mvs_id *inputs = MVS_ARRAY(home(builder), *count + 1, mvs_id);
  size_t used = 0;
  for (size_t kind = 0; kind < 3; kind++) {
    for (size_t i = 0; i < kinds[kind]->count; i++)
      inputs[used++] = kinds[kind]->items[i].outer;
  }
  return inputs;
}

/* Results of a body have no names: their order says what they are. */
static void push_result(mvs_graph *body, mvs_id id) {
  mvs_result result = {NULL, id};
  MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
}

/* Body results in the order of region.h: what is carried on, then what is stacked. */
mvs_id mvs_region_builder_finish(mvs_region_builder *builder) {
  mvs_region *region = builder->region;
  for (size_t i = 0; i < builder->next.count; i++) {
    assert(builder->next.items[i] != MVS_NONE);
    push_result(region->body, builder->next.items[i]);
  }
  for (size_t i = 0; i < builder->outputs.count; i++) {
    push_result(region->body, builder->outputs.items[i]);
  }
  size_t count;
  mvs_id *inputs = all_inputs(builder, &count);
  mvs_attr attr = {.region = {region}};
  return mvs_graph_add(builder->outer, MVS_OP_region, inputs, (int)count, &attr, region->span);
}

/* Gradients find out what they need of a stack when it is a node long since. The new result
 * stands behind all others, so that every `get` there is keeps its number. */
uint32_t mvs_region_add_output(mvs_region *region, mvs_id body_value) {
  const mvs_results *results = mvs_graph_results(region->body);
  for (uint32_t i = 0; i < region->output_count; i++) {
    if (results->items[region->carried_count + i].id == body_value) return i;
  }
  push_result(region->body, body_value);
  return region->output_count++;
}
