/* verify_region.c: rules of regions. Each function is one row of verify_rules.def, where its
 * sentence stands; the comments here say what would go wrong without it. Rules of the SHAPE
 * level run on every node and hold where it is no region; those of the REGION level run on
 * regions only. Argument indices are checked before types are. */
#include "compiler/ir/verify_rules.h"

/* The region of the node, or NULL when it has none. */
static const mvs_region *region_of(const mvs_check *check) {
  return check->node->op == MVS_OP_region ? check->node->attr.region.body : NULL;
}

/* The body is verified against its own region's counts: they must be this one's. */
bool mvs_rule_region_is_whole(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  return !region || (mvs_graph_region(region->body) == region &&
                     mvs_graph_module(region->body) == check->module);
}

/* The region's type is that of its body's results. */
bool mvs_rule_region_results_exist(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  if (!region) return true;
  const mvs_results *results = mvs_graph_result_list(region->body);
  for (size_t i = 0; i < results->count; i++) {
    if (results->items[i].id >= mvs_graph_size(region->body)) return false;
  }
  return true;
}

/* Messages, dumps and profiles name a region by it. */
bool mvs_rule_region_has_label(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  return !region || region->label;
}

/* It is a loop bound and an extent. */
bool mvs_rule_region_count_fits(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  return region->count >= 1 && region->count <= MVS_MAX_DEPTH;
}

/* Inputs are told apart by their position only. */
bool mvs_rule_region_inputs_fit(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  if (!region) return true;
  uint64_t wanted =
      (uint64_t)region->carried_count + region->invariant_count + region->stacked_count;
  return wanted == check->node->input_count;
}

/* As are results; a region of none would never run. */
bool mvs_rule_region_results_fit(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  if (!region) return true;
  uint64_t wanted = (uint64_t)region->carried_count + region->output_count;
  return wanted > 0 && wanted == mvs_graph_result_list(region->body)->count;
}

/* A read of the layer itself, or of an output that is none, has no value. */
bool mvs_rule_reads_fit(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  if (!region) return true;
  if (region->read_count > MVS_MAX_READS) return false;
  for (uint32_t i = 0; i < region->read_count; i++) {
    const mvs_read *read = &region->reads[i];
    if (read->output >= region->output_count) return false;
    if (read->distance < 1 || read->distance > MVS_MAX_DEPTH) return false;
  }
  return true;
}

/* Layer i reads slice i. */
bool mvs_rule_stacked_inputs_have_layers(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  for (int i = (int)(region->carried_count + region->invariant_count);
       i < check->node->input_count; i++) {
    const mvs_type *type = mvs_check_input(check, i);
    if (type->rank == 0 || !mvs_dim_equal(type->dims[0], (mvs_dim){region->count, false}))
      return false;
  }
  return true;
}

/* Walks over bodies recurse. */
bool mvs_rule_nesting_fits(const mvs_check *check) { return check->nesting < MVS_MAX_NESTING; }

/* The backward pass redoes layer i where it needs it: both must count the same layers, in
 * opposite order. */
bool mvs_rule_forward_runs_against(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  if (!region->forward) return true;
  return region->forward->count == region->count && region->forward->reverse != region->reverse;
}

/* --- the body being verified --- */

/* The type of a result inside the body. */
static const mvs_type *body_result(const mvs_region *region, uint32_t index) {
  return mvs_graph_type(region->body, mvs_graph_result_list(region->body)->items[index].id);
}

/* The type of an argument against the value that comes in; see region.h for the order. */
static bool argument_fits(const mvs_check *check, const mvs_region *region,
                          const mvs_node *argument) {
  uint32_t index = argument->attr.argument.index, output;
  mvs_type wanted;
  switch (argument->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      wanted = *mvs_check_input(check, (int)index);
      break;
    case MVS_ARG_INVARIANT:
      wanted = *mvs_check_input(check, (int)(region->carried_count + index));
      break;
    case MVS_ARG_STACKED:
      index += region->carried_count + region->invariant_count;
      wanted = mvs_region_slice_type(mvs_check_input(check, (int)index));
      wanted.segments = argument->type.segments; /* unknown outside */
      break;
    case MVS_ARG_READ:
      output = region->reads[index].output;
      wanted = *body_result(region, region->carried_count + output);
      break;
    default:
      wanted = (mvs_type){.dtype = MVS_I32};
  }
  return mvs_type_equal(&wanted, &argument->type);
}

/* Both sides of the border are one buffer. */
bool mvs_rule_body_types_fit(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  for (mvs_id id = 0; region && id < mvs_graph_size(region->body); id++) {
    const mvs_node *node = mvs_graph_node(region->body, id);
    if (node->op == MVS_OP_argument && !argument_fits(check, region, node)) return false;
  }
  return true;
}

/* The value that leaves a layer is the one that enters the next. */
bool mvs_rule_carried_types_stay(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  for (uint32_t i = 0; region && i < region->carried_count; i++) {
    if (!mvs_type_equal(body_result(region, i), mvs_check_input(check, (int)i))) return false;
  }
  return true;
}

/* Outside an output has the layer as one axis more. */
bool mvs_rule_outputs_can_stack(const mvs_check *check) {
  const mvs_region *region = region_of(check);
  for (uint32_t i = 0; region && i < region->output_count; i++) {
    if (body_result(region, region->carried_count + i)->rank >= MVS_MAX_RANK) return false;
  }
  return true;
}
