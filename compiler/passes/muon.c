/* muon.c: the update of matrices by Muon, as a function over the flat buffers.
 * source : K. Jordan et al., "Muon", 2024; the scale of the step from arXiv 2502.16982,
 * section 2.2
 *
 *   "muon" : m/NAME, g/NAME f32[layers, rows, columns] as they lie in the flat buffers; scalars
 *            f32[]: momentum, clip, taken -> u/NAME, the step's direction:
 *            n = momentum m + (1 - momentum) clip g, d = momentum n + (1 - momentum) clip g,
 *            u = 0.2 sqrt(max(rows, columns)) NS(d / (|d| + 1e-7)), and 0 where taken is 0
 *
 * NS is five steps X <- a X + b (X X^T) X + c (X X^T)^2 X of the Newton-Schulz iteration, with
 * the smaller of both sides squared. The new m is AdamW's formula with Muon's momentum in the
 * rows of these parameters, so "adamw" makes it, and adds u to the weights by its own rate and
 * decay; u stands in the rows of v, which Muon does not need. The layers of a stack are a
 * region: its launches grow with depth, its code does not. A pack is one tensor of this
 * function and its parts are orthogonalised one by one, so this runs behind the pass that
 * packs. */
#include <math.h>

#include "compiler/passes/pass.h"
#include "compiler/passes/region_builder.h"

#define STEPS 5
/* Parameters in one region: two inputs each, well below MVS_MAX_INPUTS. */
#define MOST_PARAMS 128

/* The iteration's coefficients: slope 3.4445 at zero, and all singular values from 1e-3 on end
 * within [0.68, 1.13]. */
static const double coefficients[] = {3.4445, -4.7750, 2.0315};

/* A body under construction. */
typedef struct maker {
  mvs_graph *graph;
  mvs_span span;
  mvs_dtype storage; /* of what is multiplied: the precision's */
} maker;

static mvs_id number(maker at, double value) { return mvs_build_constant(at.graph, value); }

static mvs_id binary(maker at, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(at.graph, op, a, b, at.span);
}

static mvs_id scaled(maker at, double by, mvs_id a) {
  return binary(at, MVS_OP_mul, number(at, by), a);
}

/* Rounded to the type in which products read it. */
static mvs_id stored(maker at, mvs_id a) {
  return mvs_graph_type(at.graph, a)->dtype == at.storage
             ? a
             : mvs_build_cast(at.graph, a, at.storage, at.span);
}

static mvs_id product(maker at, mvs_matmul_form form, mvs_id a, mvs_id b) {
  mvs_dtype dtype = form == MVS_MATMUL_TN ? MVS_F32 : at.storage;
  return mvs_build_matmul(at.graph, form, a, b, MVS_NONE, dtype, at.span);
}

/* keep a + (1 - keep) b, as steps.c has it: the bits of m are to be the same in both. */
static mvs_id mix(maker at, mvs_id keep, mvs_id a, mvs_id b) {
  mvs_id rest = binary(at, MVS_OP_sub, number(at, 1), keep);
  return binary(at, MVS_OP_add, binary(at, MVS_OP_mul, keep, a),
                binary(at, MVS_OP_mul, rest, b));
}

/* x / (|x| + 1e-7), the norm over both axes: rows first, then their sums. */
static mvs_id normalised(maker at, mvs_id x) {
  mvs_id squares = mvs_build_sum(at.graph, binary(at, MVS_OP_mul, x, x), 2, at.span);
  mvs_id norm = mvs_build_unary(at.graph, MVS_OP_sqrt,
                                mvs_build_sum(at.graph, squares, 1, at.span), at.span);
  return binary(at, MVS_OP_div, x, binary(at, MVS_OP_add, norm, number(at, 1e-7)));
}

/* One step of the iteration. The square is symmetric, so its second factor may be read as it
 * lies or transposed: the form that reads both row by row is taken. */
static mvs_id newton_schulz(maker at, mvs_id x) {
  const mvs_type *type = mvs_graph_type(at.graph, x);
  bool wide = type->dims[0].size <= type->dims[1].size;
  mvs_id square = product(at, wide ? MVS_MATMUL_NT : MVS_MATMUL_TN, x, x);
  square = stored(at, square);
  mvs_id fourth = product(at, MVS_MATMUL_NT, square, square);
  mvs_id by = stored(at, binary(at, MVS_OP_add, scaled(at, coefficients[1], square),
                                scaled(at, coefficients[2], fourth)));
  mvs_id rest = wide ? product(at, MVS_MATMUL_NN, by, x) : product(at, MVS_MATMUL_NT, x, by);
  return stored(at, binary(at, MVS_OP_add, scaled(at, coefficients[0], x), rest));
}

/* The direction for one matrix. */
static mvs_id orthogonal(maker at, mvs_id d) {
  const mvs_type *type = mvs_graph_type(at.graph, d);
  int64_t rows = type->dims[0].size, columns = type->dims[1].size;
  mvs_id x = stored(at, normalised(at, d));
  for (int i = 0; i < STEPS; i++) x = newton_schulz(at, x);
  return scaled(at, 0.2 * sqrt((double)(rows > columns ? rows : columns)), x);
}

/* The scalars, as the body sees them. */
typedef struct scalars {
  mvs_id momentum, clip, taken;
} scalars;

/* The parts of a pack one by one, or all of a parameter that is in none. */
static mvs_id direction(maker at, const mvs_module *module, uint32_t index, const scalars *by,
                        mvs_id m, mvs_id g) {
  mvs_id parts[MVS_MAX_INPUTS];
  int count = 0;
  g = binary(at, MVS_OP_mul, g, by->clip);
  mvs_id d = mix(at, by->momentum, mix(at, by->momentum, m, g), g);
  mvs_id choice[] = {by->taken, d, number(at, 0)};
  d = mvs_graph_add(at.graph, MVS_OP_select, choice, 3, NULL, at.span);
  if (!module->params.items[index].is_pack) return orthogonal(at, d);
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *part = &module->params.items[i];
    if (part->pack != index) continue;
    int64_t columns = part->type.dims[1].size;
    parts[count++] = orthogonal(at, mvs_build_slice(at.graph, d, 0, part->pack_place / columns,
                                                    part->type.dims[0].size, NULL, at.span));
  }
  return mvs_build_concat(at.graph, parts, count, 0, NULL, at.span);
}

/* --- the function --- */

typedef struct indices {
  uint32_t items[MOST_PARAMS];
  int count;
} indices;

/* What the runtime finds the place by: the parameter, or the first part of a pack. */
static const char *place_name(mvs_arena *arena, const mvs_module *module, const char *kind,
                              uint32_t index) {
  const mvs_param *param = &module->params.items[index];
  for (size_t i = 0; param->is_pack && i < module->params.count; i++) {
    const mvs_param *part = &module->params.items[i];
    if (part->pack == index && part->pack_place == 0) param = part;
  }
  return mvs_arena_format(arena, "%s/%s", kind, param->name);
}

static mvs_id input(mvs_graph *graph, const char *name, mvs_type type) {
  mvs_attr attr = {.input = {name, type}};
  return mvs_graph_add(graph, MVS_OP_input, NULL, 0, &attr, (mvs_span){0});
}

/* One layer's slice of a flat buffer's part. */
static mvs_id slice_of(const mvs_module *module, mvs_region_builder *builder, const char *kind,
                       uint32_t index) {
  const mvs_param *param = &module->params.items[index];
  const char *name = place_name(mvs_graph_arena(builder->outer), module, kind, index);
  mvs_id outer = input(builder->outer, name, mvs_param_node_type(param));
  return mvs_region_builder_stacked(builder, outer, &param->type);
}

/* One region for parameters with the same number of layers. */
static void add_region(const mvs_module *module, mvs_graph *graph, const scalars *outer,
                       const indices *list) {
  const mvs_param *first = &module->params.items[list->items[0]];
  const mvs_region like = {.label = "muon", .count = first->layers, .span = first->span};
  mvs_region_builder *builder = mvs_region_builder_new(graph, &like, false);
  maker at = {builder->region->body, first->span, module->settings.precision};
  scalars inner = {mvs_region_builder_invariant(builder, outer->momentum),
                   mvs_region_builder_invariant(builder, outer->clip),
                   mvs_region_builder_invariant(builder, outer->taken)};
  for (int i = 0; i < list->count; i++) {
    mvs_id m = slice_of(module, builder, "m", list->items[i]);
    mvs_id g = slice_of(module, builder, "g", list->items[i]);
    at.span = module->params.items[list->items[i]].span;
    mvs_region_builder_output(builder, direction(at, module, list->items[i], &inner, m, g));
  }
  mvs_id node = mvs_region_builder_finish(builder);
  for (int i = 0; i < list->count; i++) {
    mvs_result result = {place_name(mvs_graph_arena(graph), module, "u", list->items[i]),
                         mvs_build_get(graph, node, (uint32_t)i, first->span)};
    MVS_PUSH(mvs_graph_arena(graph), mvs_graph_results(graph), result);
  }
}

/* Parameters stand in the graph as their packs do; parts are reached through those. */
static bool is_wanted(const mvs_module *module, uint32_t index) {
  const mvs_param *param = &module->params.items[index];
  return param->pack == 0 && mvs_param_orthogonal(module, param);
}

/* The next ones with as many layers as the first that is left, taken from `left`. */
static void take(const mvs_module *module, bool *left, indices *list) {
  list->count = 0;
  for (uint32_t i = 0; i < module->params.count && list->count < MOST_PARAMS; i++) {
    int64_t layers = module->params.items[i].layers;
    if (!left[i]) continue;
    if (list->count && module->params.items[list->items[0]].layers != layers) continue;
    list->items[list->count++] = i;
    left[i] = false;
  }
}

mvs_status mvs_pass_muon(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  bool *left = MVS_ARRAY(compilation->arena, module->params.count + 1, bool), any = false;
  for (uint32_t i = 0; i < module->params.count; i++) any |= left[i] = is_wanted(module, i);
  if (!any || !mvs_module_function(module, "grad")) return MVS_OK;
  mvs_graph *graph = mvs_module_add_function(module, "muon")->graph;
  const mvs_type scalar = mvs_type_make(MVS_F32, 0, NULL);
  const scalars outer = {input(graph, "momentum", scalar), input(graph, "clip", scalar),
                         input(graph, "taken", scalar)};
  indices list;
  for (take(module, left, &list); list.count > 0; take(module, left, &list)) {
    add_region(module, graph, &outer, &list);
  }
  if (compilation->explain) {
    mvs_text_addf(compilation->explain, "muon updates %zu tensors\n",
                  mvs_graph_result_list(graph)->count);
  }
  return MVS_OK;
}
