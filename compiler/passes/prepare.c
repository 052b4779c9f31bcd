/* prepare.c: what weights and constants alone decide leaves the functions that are called for
 * every batch, so that it is computed once per change of the weights.
 *
 *   %1 = param 3 : f32[8, 64, 64]
 *   %2 = cast %1 : bf16[8, 64, 64]         ->   %1 = param 3 : bf16[8, 64, 64]
 *
 * A parameter cast to bf16, also in another shape or a piece of it, becomes a parameter of
 * dtype bf16: the runtime holds the flat parameters in bf16 too, laid out alike, and "adamw"
 * writes both. Such a cast then costs no kernel and no buffer.
 *
 *   %7 = cos %6 : f32[256, 64]             ->   %7 = input prepared/0 : f32[256, 64]
 *
 * Any other such value is a result of the function "prepare" and an input of those that need
 * it, "prepared/K" in both. Functions that need the same value share it, since "prepare" is one
 * graph and its nodes are interned. Moved is what takes more than a load, and what must lie in
 * memory anyway (a table that a stack reads). Regions stay: which of their values are redone is
 * chosen per call. A value whose size grows with the batch stays too; what it is made of may
 * go. */
#include "compiler/passes/prepare.h"

#include <stdlib.h>

#include "compiler/ir/steps.h"
#include "compiler/passes/fuse.h"
#include "compiler/passes/rebuild.h"
#include "compiler/passes/rewrite.h"

#define PREFIX "prepared/"

bool mvs_prepared_number(const char *name, uint32_t *number) {
  if (!name || strncmp(name, PREFIX, strlen(PREFIX)) != 0) return false;
  *number = (uint32_t)strtoul(name + strlen(PREFIX), NULL, 10);
  return true;
}

/* --- rounded --- */

/* The trained f32 parameter that a value is, seen through views that hold no number of their
 * own, or MVS_NONE. */
static mvs_id param_behind(const mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  while (node->op == MVS_OP_reshape || node->op == MVS_OP_slice ||
         node->op == MVS_OP_transpose) {
    id = node->inputs[0];
    node = mvs_graph_node(graph, id);
  }
  if (node->op != MVS_OP_param || node->type.dtype != MVS_F32) return MVS_NONE;
  const mvs_param *param = &mvs_graph_module(graph)->params.items[node->attr.param.index];
  return param->trained ? id : MVS_NONE;
}

/* The same views of the parameter's bf16 copy. */
static mvs_id build_rounded(const mvs_graph *from, mvs_graph *to, mvs_id id) {
  const mvs_node *node = mvs_graph_node(from, id);
  mvs_attr attr = node->attr;
  if (node->op == MVS_OP_param) {
    attr.param.type.dtype = MVS_BF16;
    return mvs_graph_add(to, MVS_OP_param, NULL, 0, &attr, node->span);
  }
  mvs_id of = build_rounded(from, to, node->inputs[0]);
  return mvs_graph_add(to, node->op, &of, 1, &attr, node->span);
}

/* Of trained parameters alone: a `constant` has no place in the flat buffers, so that its cast
 * is a value of "prepare" like any other. */
static mvs_id read_rounded(mvs_rebuild *work, mvs_id id) {
  const mvs_node *node = mvs_graph_node(work->from, id);
  if (node->op != MVS_OP_cast || node->attr.cast.dtype != MVS_BF16) return MVS_NONE;
  if (param_behind(work->from, node->inputs[0]) == MVS_NONE) return MVS_NONE;
  work->at->placed++;
  return build_rounded(work->from, work->to, node->inputs[0]);
}

/* --- prepared --- */

/* What is known of the nodes of one function. */
typedef struct survey {
  const mvs_graph *graph;
  bool *fixed;  /* the same in every call until the weights change */
  bool *worth;  /* computing it takes more than a load would */
  bool *stored; /* somebody needs it in memory */
  bool *moves;
} survey;

typedef struct prepare {
  mvs_arena *arena;
  mvs_graph *graph; /* of "prepare" */
  survey *survey;
  mvs_id *made; /* per node of the function: itself in `graph`, MVS_NONE: not needed there */
} prepare;

/* What is made of parameters and constants. Draws are not: their seed and step are inputs. */
static bool is_fixed(const survey *s, const mvs_node *node) {
  if (node->op == MVS_OP_input || node->op == MVS_OP_region) return false;
  if (mvs_type_has_batch(&node->type)) return false;
  for (int i = 0; i < node->input_count; i++) {
    if (!s->fixed[node->inputs[i]]) return false;
  }
  return true;
}

/* Names of bytes that are there. */
static bool is_alias(const mvs_node *node) {
  return node->op == MVS_OP_reshape ||
         (node->op == MVS_OP_slice && mvs_slice_is_contiguous(node));
}

/* An alias is taken again from the input that its value becomes. Results of an op that has
 * several would need a name each; no model has an attention among its weights. */
static bool may_move(const survey *s, mvs_id id) {
  const mvs_node *node = mvs_graph_node(s->graph, id);
  bool source = mvs_ops[node->op].op_class == MVS_CLASS_SOURCE;
  if (!s->fixed[id] || source || is_alias(node) || mvs_op_is_tuple(node->op)) return false;
  return s->stored[id] || (s->worth[id] && node->op != MVS_OP_broadcast);
}

/* Heavy ops read whole values from memory. What a region carries is copied into a place of its
 * own at every call, so nothing is saved by having it in another before. */
static bool needs_stored(const survey *s, mvs_id id, const mvs_node *user, int input) {
  if (is_alias(user)) return s->stored[id];
  if (user->op != MVS_OP_region) return mvs_ops[user->op].op_class == MVS_CLASS_HEAVY;
  return input >= (int)user->attr.region.body->carried_count;
}

/* From the results down: a needed node moves, or needs its inputs where it is. */
static void decide(survey *s) {
  mvs_id size = mvs_graph_size(s->graph);
  bool *needed = MVS_ARRAY(mvs_graph_arena(s->graph), (size_t)size + 1, bool);
  const mvs_results *results = mvs_graph_result_list(s->graph);
  for (size_t i = 0; i < results->count; i++) needed[results->items[i].id] = true;
  for (mvs_id id = size; id-- > 0;) {
    if (!needed[id]) continue;
    const mvs_node *node = mvs_graph_node(s->graph, id);
    s->moves[id] = may_move(s, id);
    for (int i = 0; !s->moves[id] && i < node->input_count; i++) {
      needed[node->inputs[i]] = true;
      if (needs_stored(s, id, node, i)) s->stored[node->inputs[i]] = true;
    }
  }
}

/* What is fixed and worth moving is known upwards, what is needed and stored downwards. */
static survey *survey_function(mvs_arena *arena, const mvs_graph *graph) {
  survey *s = MVS_NEW(arena, survey);
  size_t room = (size_t)mvs_graph_size(graph) + 1;
  s->graph = graph;
  s->fixed = MVS_ARRAY(arena, room, bool);
  s->worth = MVS_ARRAY(arena, room, bool);
  s->stored = MVS_ARRAY(arena, room, bool);
  s->moves = MVS_ARRAY(arena, room, bool);
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    mvs_op_class op_class = mvs_ops[node->op].op_class;
    s->fixed[id] = is_fixed(s, node);
    s->worth[id] =
        mvs_op_is_dear(node->op) || op_class == MVS_CLASS_REDUCE || op_class == MVS_CLASS_HEAVY;
    for (int i = 0; i < node->input_count; i++) {
      s->worth[id] = s->worth[id] || s->worth[node->inputs[i]];
    }
  }
  decide(s);
  return s;
}

/* Builds what moves, and what it is made of, in "prepare". */
static void build_moved(prepare *to) {
  const mvs_graph *from = to->survey->graph;
  mvs_id size = mvs_graph_size(from);
  bool *used = MVS_ARRAY(to->arena, (size_t)size + 1, bool);
  for (mvs_id id = size; id-- > 0;) {
    const mvs_node *node = mvs_graph_node(from, id);
    used[id] = used[id] || to->survey->moves[id];
    for (int i = 0; used[id] && i < node->input_count; i++) used[node->inputs[i]] = true;
  }
  to->made = mvs_new_ids(to->arena, size);
  for (mvs_id id = 0; id < size; id++) {
    if (!used[id]) continue;
    const mvs_node *node = mvs_graph_node(from, id);
    mvs_id inputs[MVS_MAX_INPUTS];
    for (int i = 0; i < node->input_count; i++) inputs[i] = to->made[node->inputs[i]];
    mvs_graph_set_rule(to->graph, node->rule);
    to->made[id] =
        mvs_graph_add(to->graph, node->op, inputs, node->input_count, &node->attr, node->span);
  }
  mvs_graph_set_rule(to->graph, NULL);
}

/* The name of a value of "prepare", given when it is first asked for. */
static const char *name_of(prepare *to, mvs_id id) {
  mvs_results *results = mvs_graph_results(to->graph);
  for (size_t i = 0; i < results->count; i++) {
    if (results->items[i].id == id) return results->items[i].name;
  }
  mvs_result result = {mvs_arena_format(to->arena, PREFIX "%zu", results->count), id};
  MVS_PUSH(to->arena, results, result);
  return result.name;
}

static mvs_id read_prepared(mvs_rebuild *work, mvs_id id) {
  prepare *to = work->at->replacing;
  if (!to->survey->moves[id]) return MVS_NONE;
  const mvs_node *node = mvs_graph_node(work->from, id);
  mvs_attr attr = {.input = {name_of(to, to->made[id]), node->type}};
  work->at->placed++;
  return mvs_graph_add(work->to, MVS_OP_input, NULL, 0, &attr, node->span);
}

/* --- functions --- */

static void explain(const mvs_compilation *compilation, const char *function, size_t rounded,
                    size_t moved) {
  if (!compilation->explain || rounded + moved == 0) return;
  mvs_text_addf(compilation->explain,
                "prepare %s: %zu casts read the bf16 weights, %zu values are computed when the "
                "weights change\n",
                function, rounded, moved);
}

/* Gives the number of casts that are gone. */
static size_t prepare_function(const mvs_compilation *compilation, prepare *to,
                               mvs_function *function) {
  /* Casts first: what remains fixed and worth moving is judged by the graph without them. */
  mvs_rewriter casts = {.arena = to->arena, .replace = read_rounded};
  mvs_graph *graph = mvs_rebuild_graph(&casts, function->graph);
  mvs_rewriter rest = {.arena = to->arena, .replace = read_prepared, .replacing = to};
  to->survey = survey_function(to->arena, graph);
  build_moved(to);
  graph = mvs_rebuild_graph(&rest, graph);
  /* Once more, without what only moved nodes needed. */
  if (casts.placed + rest.placed > 0) function->graph = mvs_rewrite_copy(to->arena, graph);
  explain(compilation, function->name, casts.placed, rest.placed);
  return casts.placed;
}

mvs_status mvs_pass_prepare(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  mvs_arena *arena = compilation->arena;
  prepare to = {.arena = arena, .graph = mvs_graph_new(arena, module, NULL)};
  size_t rounded = 0;
  for (size_t i = 0; i < module->functions.count; i++) {
    rounded += prepare_function(compilation, &to, &module->functions.items[i]);
  }
  if (rounded > 0) mvs_steps_add_rounding(module);
  if (mvs_graph_results(to.graph)->count > 0) {
    mvs_module_add_function(module, MVS_PREPARE)->graph = to.graph;
  }
  return MVS_OK;
}
