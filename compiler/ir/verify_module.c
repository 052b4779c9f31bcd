/* verify_module.c: rules of parameters, functions and segment tables, and of whole graphs. Each
 * function is one row of verify_rules.def, where its sentence stands; the comments here say
 * what would go wrong without it. Pairs are compared with two loops: there are tens of
 * parameters and functions, and the rules over pairs of nodes look at one op that is rare. */
#include <math.h>

#include "compiler/ir/verify_rules.h"

/* --- parameters --- */

/* Checkpoints store parameters under their names. */
bool mvs_rule_param_names_differ(const mvs_check *check) {
  const mvs_module *module = check->module;
  for (size_t i = 0; i < module->params.count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(module->params.items[i].name, module->params.items[k].name) == 0) return false;
    }
  }
  return true;
}

/* A parameter has one value for all samples, and segments describe tokens. */
bool mvs_rule_params_are_plain(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    const mvs_type *type = &check->module->params.items[i].type;
    bool per_batch;
    mvs_type_elements(type, &per_batch);
    if (per_batch || type->segments) return false;
  }
  return true;
}

/* Layers are the leading extent of the stacked tensor outside. */
bool mvs_rule_param_layers_fit(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    int64_t layers = check->module->params.items[i].layers;
    if (layers < 0 || layers > MVS_MAX_DEPTH) return false;
  }
  return true;
}

/* "{i}" is where a checkpoint's key gets the layer; without it all layers would have one
 * key. */
bool mvs_rule_stacked_names_have_layer(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    const mvs_param *param = &check->module->params.items[i];
    if ((param->layers > 0) != (strstr(param->name, "{i}") != NULL)) return false;
  }
  return true;
}

/* What is not trained is not stored as data but as its one number. */
bool mvs_rule_constants_are_constant(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    const mvs_param *param = &check->module->params.items[i];
    if (!param->trained && param->init.kind != MVS_INIT_CONSTANT) return false;
  }
  return true;
}

/* An infinite start would be found after the first step, as a loss that is none. */
bool mvs_rule_inits_are_finite(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    if (!isfinite(check->module->params.items[i].init.value)) return false;
  }
  return true;
}

/* A negative rate would climb, and what is not finite spoils every weight at the first step. */
bool mvs_rule_groups_are_sane(const mvs_check *check) {
  for (size_t i = 0; i < check->module->params.count; i++) {
    const mvs_param *param = &check->module->params.items[i];
    double rate = mvs_param_rate(param), decay = mvs_param_decay(param);
    if (!(rate >= 0 && isfinite(rate) && decay >= 0 && isfinite(decay))) return false;
  }
  return true;
}

/* Parts share rows of the flat buffers, and a row has one rate and one decay. */
static bool is_part_of(const mvs_param *part, const mvs_param *pack) {
  if (mvs_param_rate(part) != mvs_param_rate(pack) ||
      mvs_param_decay(part) != mvs_param_decay(pack)) {
    return false;
  }
  return pack->is_pack && pack->pack == 0 && part->layers == pack->layers && part->trained &&
         pack->trained && part->type.rank == pack->type.rank;
}

/* A part that lay elsewhere would be read and written in the place of another, and elements of
 * a pack that no part names would start with no value. */
bool mvs_rule_parts_fill_packs(const mvs_check *check) {
  const mvs_module *module = check->module;
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *pack = &module->params.items[i];
    int64_t filled = 0;
    for (size_t k = 0; k < module->params.count; k++) {
      const mvs_param *part = &module->params.items[k];
      if (part->pack == 0 || part->pack != i) continue;
      if (k >= i || !is_part_of(part, pack) || part->pack_place != filled) return false;
      filled += mvs_type_elements(&part->type, NULL);
    }
    if (pack->pack >= module->params.count) return false;
    if (filled != (pack->is_pack ? mvs_type_elements(&pack->type, NULL) : 0)) return false;
  }
  return true;
}

/* --- functions and model inputs --- */

/* The executor and the passes find functions by name. */
bool mvs_rule_function_names_differ(const mvs_check *check) {
  const mvs_module *module = check->module;
  for (size_t i = 0; i < module->functions.count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(module->functions.items[i].name, module->functions.items[k].name) == 0)
        return false;
    }
  }
  return true;
}

/* Nodes name parameters and tables of their own module by index and pointer. */
bool mvs_rule_functions_belong_here(const mvs_check *check) {
  for (size_t i = 0; i < check->module->functions.count; i++) {
    const mvs_graph *graph = check->module->functions.items[i].graph;
    if (!graph || mvs_graph_module(graph) != check->module || mvs_graph_region(graph))
      return false;
  }
  return true;
}

/* Data and command line give inputs by name. */
bool mvs_rule_model_input_names_differ(const mvs_check *check) {
  const mvs_module *module = check->module;
  for (size_t i = 0; i < module->inputs.count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(module->inputs.items[i].name, module->inputs.items[k].name) == 0) return false;
    }
  }
  return true;
}

/* --- segment tables --- */

/* Types compare tables by pointer: an equal second one would split them. */
bool mvs_rule_segment_tables_differ(const mvs_check *check) {
  const mvs_module *module = check->module;
  for (size_t i = 0; i < module->segment_tables.count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (mvs_segments_equal(module->segment_tables.items[i], module->segment_tables.items[k]))
        return false;
    }
  }
  return true;
}

/* Means divide by the length of a segment. */
bool mvs_rule_segments_have_tokens(const mvs_check *check) {
  for (size_t i = 0; i < check->module->segment_tables.count; i++) {
    const mvs_segments *table = check->module->segment_tables.items[i];
    if (table->count < 1 || table->count > MVS_MAX_SEGMENTS) return false;
    for (int k = 0; k < table->count; k++) {
      if (!table->items[k].name || table->items[k].length < 1) return false;
    }
  }
  return true;
}

/* Rows and columns are both 0 without a grid; else their cells are the tokens. */
static bool grid_fills(const mvs_segment *segment) {
  int64_t cells;
  if (segment->rows == 0 && segment->columns == 0) return true;
  return segment->rows > 0 && mvs_mul(segment->rows, segment->columns, &cells) &&
         cells == segment->length;
}

/* Rotations take a token's row and column from its place in the segment. */
bool mvs_rule_grids_fill_segments(const mvs_check *check) {
  for (size_t i = 0; i < check->module->segment_tables.count; i++) {
    const mvs_segments *table = check->module->segment_tables.items[i];
    for (int k = 0; k < table->count; k++) {
      if (!grid_fills(&table->items[k])) return false;
    }
  }
  return true;
}

/* --- whole graphs --- */

/* A function without results computes nothing; its schedule would be empty. A body's results
 * are counted with its region. */
bool mvs_rule_function_has_results(const mvs_check *check) {
  return mvs_graph_region(check->graph) || mvs_graph_result_list(check->graph)->count > 0;
}

/* Everything to the right starts from the results and indexes nodes by them. */
bool mvs_rule_results_exist(const mvs_check *check) {
  const mvs_results *results = mvs_graph_result_list(check->graph);
  for (size_t i = 0; i < results->count; i++) {
    if (results->items[i].id >= mvs_graph_size(check->graph)) return false;
  }
  return true;
}

/* A result is one tensor with one address; several are taken with get. */
bool mvs_rule_results_are_single(const mvs_check *check) {
  const mvs_results *results = mvs_graph_result_list(check->graph);
  for (size_t i = 0; i < results->count; i++) {
    if (mvs_op_is_tuple(mvs_graph_node(check->graph, results->items[i].id)->op)) return false;
  }
  return true;
}

/* Callers find the results of a function by name; those of a body go by order. */
bool mvs_rule_results_are_named(const mvs_check *check) {
  const mvs_results *results = mvs_graph_result_list(check->graph);
  if (mvs_graph_region(check->graph)) return true;
  for (size_t i = 0; i < results->count; i++) {
    if (!results->items[i].name || !*results->items[i].name) return false;
  }
  return true;
}

/* Two results of one name would write to one buffer. */
bool mvs_rule_result_names_differ(const mvs_check *check) {
  const mvs_results *results = mvs_graph_result_list(check->graph);
  if (mvs_graph_region(check->graph)) return true;
  for (size_t i = 0; i < results->count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(results->items[i].name, results->items[k].name) == 0) return false;
    }
  }
  return true;
}

/* True when `agree` holds for every two nodes of one op. */
static bool all_pairs(const mvs_graph *graph, mvs_op op,
                      bool (*agree)(const mvs_node *, const mvs_node *)) {
  for (mvs_id i = 0; i < mvs_graph_size(graph); i++) {
    const mvs_node *node = mvs_graph_node(graph, i);
    if (node->op != op) continue;
    for (mvs_id k = 0; k < i; k++) {
      const mvs_node *other = mvs_graph_node(graph, k);
      if (other->op == op && !agree(node, other)) return false;
    }
  }
  return true;
}

/* Inputs of one name are one buffer. */
static bool inputs_agree(const mvs_node *a, const mvs_node *b) {
  return strcmp(a->attr.input.name, b->attr.input.name) != 0 ||
         mvs_type_equal(&a->type, &b->type);
}

/* Interning makes equal inputs one node, so two of one name differ in type. */
bool mvs_rule_inputs_have_one_type(const mvs_check *check) {
  return all_pairs(check->graph, MVS_OP_input, inputs_agree);
}

/* Arguments of one kind and index are one value. */
static bool arguments_agree(const mvs_node *a, const mvs_node *b) {
  return a->attr.argument.kind != b->attr.argument.kind ||
         a->attr.argument.index != b->attr.argument.index || mvs_type_equal(&a->type, &b->type);
}

/* As for inputs; segments that only one of them has are such a difference. */
bool mvs_rule_arguments_have_one_type(const mvs_check *check) {
  return all_pairs(check->graph, MVS_OP_argument, arguments_agree);
}

/* Draws from one stream give the same numbers, so they must be meant as one. */
static bool draws_agree(const mvs_node *a, const mvs_node *b) {
  return a->attr.random.stream != b->attr.random.stream ||
         (a->attr.random.kind == b->attr.random.kind && mvs_type_equal(&a->type, &b->type));
}

/* Two tensors of one stream would be correlated, which nobody would see. */
bool mvs_rule_streams_draw_one_tensor(const mvs_check *check) {
  return all_pairs(check->graph, MVS_OP_random, draws_agree);
}

/* True for two nodes with bodies of their own. */
static bool bodies_differ(const mvs_node *a, const mvs_node *b) {
  return a->attr.region.body != b->attr.region.body;
}

/* Buffers of a body are planned once, for the node that holds it. */
bool mvs_rule_regions_have_one_node(const mvs_check *check) {
  return all_pairs(check->graph, MVS_OP_region, bodies_differ);
}
