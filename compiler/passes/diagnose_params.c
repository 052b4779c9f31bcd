/* diagnose_params.c: diagnostics of parameters: the gradient's norm of every family in every
 * layer, and the gains.
 *
 *   "diagnose/gradients"  rows f64[all rows], of "sum_squares", for parameters that start a row
 *                         in every layer; g f32[all elements], for others
 *                         -> squares/P f64[layers], P the number of a parameter
 *   "diagnose/gains"      -> gain_mean/P, gain_max/P f32[layers], of magnitudes
 *
 * The rows are summed for the global norm anyway, so the norms read a thousandth of the
 * gradients. */
#include "compiler/ir/steps.h"
#include "compiler/passes/diagnose.h"

static const mvs_span nowhere = {0};

/* A pack or a parameter that lies alone, and where its parts are. */
typedef struct group {
  const mvs_module *module;
  mvs_graph *graph;
  uint32_t first;           /* the first part, or itself */
  int64_t layers, elements; /* of one layer */
  bool by_rows;
} group;

static bool is_part(const group *g, uint32_t index) {
  const mvs_param *param = &g->module->params.items[index];
  uint32_t pack = g->module->params.items[g->first].pack;
  return index == g->first || (pack != 0 && param->pack == pack);
}

/* Rows are whole where every part of every layer begins and ends with one. */
static bool has_whole_rows(const group *g) {
  bool whole = g->elements % MVS_FLAT_ROW == 0;
  for (uint32_t i = 0; i < g->module->params.count; i++) {
    const mvs_param *param = &g->module->params.items[i];
    if (param->is_pack || !is_part(g, i)) continue;
    whole = whole && param->pack_place % MVS_FLAT_ROW == 0 &&
            mvs_type_elements(&param->type, NULL) % MVS_FLAT_ROW == 0;
  }
  return whole;
}

static void add_result(mvs_graph *graph, const char *what, uint32_t index, mvs_id id,
                       int64_t layers) {
  mvs_type type =
      mvs_type_make(mvs_graph_type(graph, id)->dtype, 1, (mvs_dim[]){{layers, false}});
  mvs_arena *arena = mvs_graph_arena(graph);
  mvs_result result = {mvs_arena_format(arena, "%s/%u", what, index),
                       mvs_build_reshape(graph, id, &type, nowhere)};
  MVS_PUSH(arena, mvs_graph_results(graph), result);
}

/* The squares of one part, per layer. */
static void add_squares(const group *g, uint32_t index, mvs_id input) {
  const mvs_param *param = &g->module->params.items[index];
  int64_t unit = g->by_rows ? MVS_FLAT_ROW : 1;
  mvs_id own = mvs_build_slice(g->graph, input, 1, param->pack_place / unit,
                               mvs_type_elements(&param->type, NULL) / unit, NULL, nowhere);
  if (!g->by_rows) {
    own = mvs_build_cast(g->graph, own, MVS_F64, nowhere);
    own = mvs_build_binary(g->graph, MVS_OP_mul, own, own, nowhere);
  }
  add_result(g->graph, "squares", index, mvs_build_sum(g->graph, own, 2, nowhere), g->layers);
}

/* All rows' sums, or all gradients, as one input: a slice says at compile time how it is
 * aligned, where an input of its own for each parameter would have to assume the least. */
static mvs_id flat_input(const group *g, int64_t flat) {
  int64_t length = g->by_rows ? flat / MVS_FLAT_ROW : flat;
  mvs_type type =
      mvs_type_make(g->by_rows ? MVS_F64 : MVS_F32, 1, (mvs_dim[]){{length, false}});
  mvs_attr attr = {.input = {g->by_rows ? "rows" : "g", type}};
  return mvs_graph_add(g->graph, MVS_OP_input, NULL, 0, &attr, nowhere);
}

/* [flat] -> slice of the group -> [layers, elements of a layer] -> for each part a slice and a
 * sum over the last axis: one result of `layers` numbers. */
static void add_group(const mvs_module *module, mvs_graph *graph, uint32_t first,
                      int64_t offset, int64_t flat) {
  const mvs_param *param = &module->params.items[first];
  const mvs_param *whole = param->pack ? &module->params.items[param->pack] : param;
  group g = {module,
             graph,
             first,
             param->layers ? param->layers : 1,
             mvs_type_elements(&whole->type, NULL),
             false};
  g.by_rows = has_whole_rows(&g);
  int64_t unit = g.by_rows ? MVS_FLAT_ROW : 1, length = g.elements / unit;
  mvs_id own = mvs_build_slice(graph, flat_input(&g, flat), 0, offset / unit, g.layers * length,
                               NULL, nowhere);
  mvs_type type = mvs_type_make(mvs_graph_type(graph, own)->dtype, 2,
                                (mvs_dim[]){{g.layers, false}, {length, false}});
  own = mvs_build_reshape(graph, own, &type, nowhere);
  for (uint32_t i = first; i < module->params.count; i++) {
    if (!module->params.items[i].is_pack && is_part(&g, i)) add_squares(&g, i, own);
  }
}

/* Constants have no gradient, and parts come with the first of their pack; a model may have
 * nothing to train. Parameters without end are told of where the program's tables are made. */
static void add_gradients(mvs_module *module) {
  int64_t *offsets = MVS_ARRAY(module->arena, module->params.count + 1, int64_t), flat;
  if (!mvs_module_offsets(module, offsets, &flat)) return;
  mvs_graph *graph = NULL;
  for (uint32_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (!param->trained || param->is_pack || (param->pack && param->pack_place > 0)) continue;
    if (!graph) graph = mvs_module_add_function(module, "diagnose/gradients")->graph;
    add_group(module, graph, i, offsets[i], flat);
  }
}

static void add_gain(const mvs_module *module, mvs_graph *graph, uint32_t index) {
  const mvs_param *param = &module->params.items[index];
  mvs_attr attr = {.param = {index, mvs_param_node_type(param)}}, last = {.axes = {2}};
  mvs_id value = mvs_graph_add(graph, MVS_OP_param, NULL, 0, &attr, nowhere);
  mvs_id size = mvs_build_unary(graph, MVS_OP_abs, value, nowhere);
  mvs_id share = mvs_build_constant(graph, 1 / (double)mvs_type_elements(&param->type, NULL));
  mvs_id mean = mvs_build_binary(graph, MVS_OP_mul, mvs_build_sum(graph, size, 2, nowhere),
                                 share, nowhere);
  mvs_id most = mvs_graph_add(graph, MVS_OP_max_over, &size, 1, &last, nowhere);
  add_result(graph, "gain_mean", index, mean, param->layers);
  add_result(graph, "gain_max", index, most, param->layers);
}

static void add_gains(mvs_module *module) {
  mvs_graph *graph = NULL;
  for (uint32_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (!param->gain || !param->trained || param->layers == 0 || param->pack) continue;
    if (!graph) graph = mvs_module_add_function(module, "diagnose/gains")->graph;
    add_gain(module, graph, i);
  }
}

void mvs_diagnose_params(mvs_module *module) {
  add_gradients(module);
  add_gains(module);
}
