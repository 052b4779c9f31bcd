/* hoist.c: what a body computes anew for each layer although it is the same for all, or could
 * be done for all layers at once, moves out of it.
 *
 * invariant  a value that depends on invariants and constants alone becomes an invariant:
 *              { cos(iota * base) }      ->  t = cos(iota * base)   { argument invariant t }
 *            Views, stretches and cheap functions of constants stay: a place in memory would
 *            cost more than they do.
 * stacked    a cast of a stacked input becomes a cast of the stacked value:
 *              { cast bf16 w[layer] }    ->  c = cast bf16 w        { argument stacked c }
 *            so that forward and backward share it, and prepare.c finds it at the top.
 *
 * Lifted nodes are in pass 0 whatever pass they came from: nothing of them is recomputed. */
#include "compiler/passes/rebuild.h"
#include "compiler/passes/rewrite.h"

typedef enum depends { ON_NOTHING, ON_INVARIANTS, ON_LAYER } depends;
typedef enum lift { STAYS, LIFTS_INVARIANT, LIFTS_STACKED } lift;

typedef struct survey {
  mvs_graph *body;
  depends *depends;
  bool *worth; /* computing it takes more than a load would */
  bool *chain; /* casts, functions and reshapes of one stacked input */
  lift *lifts;
  mvs_id *outer; /* what lifted values are made of, in the new outer graph */
  int room;      /* inputs that the region may still get */
} survey;

/* Ops that have no place in memory of their own. */
static bool is_placeless(const mvs_node *node) {
  mvs_op_class op_class = mvs_ops[node->op].op_class;
  return op_class == MVS_CLASS_SOURCE || op_class == MVS_CLASS_VIEW ||
         node->op == MVS_OP_broadcast || node->op == MVS_OP_segment_broadcast;
}

static depends argument_depends(const mvs_node *node) {
  return node->attr.argument.kind == MVS_ARG_INVARIANT ? ON_INVARIANTS : ON_LAYER;
}

/* Ops that do for all layers at once what they do for one. */
static bool extends_chain(const mvs_node *node, const survey *all) {
  if (node->op == MVS_OP_argument) return node->attr.argument.kind == MVS_ARG_STACKED;
  bool fits = node->op == MVS_OP_reshape ||
              (mvs_ops[node->op].op_class == MVS_CLASS_ELEMENT && node->op != MVS_OP_broadcast);
  return fits && node->input_count == 1 && all->chain[node->inputs[0]];
}

/* Inputs have smaller ids, so that one sweep upwards fills the survey. */
static void look(survey *all, mvs_id id) {
  const mvs_node *node = mvs_graph_node(all->body, id);
  mvs_op_class op_class = mvs_ops[node->op].op_class;
  depends on = node->op == MVS_OP_argument ? argument_depends(node) : ON_NOTHING;
  /* A dear function, a reduction or a product somewhere below; or arithmetic on invariants,
   * which lie in memory anyway, so that a load of the result is no more than the loads of its
   * parts. Cheap functions of constants are done in registers. */
  bool worth =
      mvs_op_is_dear(node->op) || op_class == MVS_CLASS_REDUCE || op_class == MVS_CLASS_HEAVY;
  for (int i = 0; i < node->input_count; i++) {
    mvs_id input = node->inputs[i];
    if (all->depends[input] > on) on = all->depends[input];
    worth = worth || all->worth[input];
  }
  all->depends[id] = on;
  all->worth[id] = worth || (on == ON_INVARIANTS && !is_placeless(node));
  all->chain[id] = extends_chain(node, all);
}

/* Decides from the results down: a node that is needed in the body is lifted, or stays and
 * needs its inputs there. */
static void decide(survey *all, const bool *live_results) {
  mvs_id size = mvs_graph_size(all->body);
  bool *needed = MVS_ARRAY(mvs_graph_arena(all->body), (size_t)size + 1, bool);
  const mvs_results *results = mvs_graph_results(all->body);
  for (size_t i = 0; i < results->count; i++) {
    if (live_results[i]) needed[results->items[i].id] = true;
  }
  for (mvs_id id = size; id-- > 0;) {
    if (!needed[id]) continue;
    const mvs_node *node = mvs_graph_node(all->body, id);
    if (all->depends[id] != ON_LAYER && all->worth[id] && !is_placeless(node)) {
      all->lifts[id] = LIFTS_INVARIANT;
    } else if (all->chain[id] && node->op == MVS_OP_cast) {
      all->lifts[id] = LIFTS_STACKED;
    } else {
      for (int i = 0; i < node->input_count; i++) needed[node->inputs[i]] = true;
    }
  }
}

static survey *survey_body(const mvs_region_work *work) {
  mvs_arena *arena = work->outer->at->arena;
  mvs_graph *body = work->from->body;
  survey *all = MVS_NEW(arena, survey);
  size_t size = (size_t)mvs_graph_size(body) + 1;
  all->body = body;
  all->depends = MVS_ARRAY(arena, size, depends);
  all->worth = MVS_ARRAY(arena, size, bool);
  all->chain = MVS_ARRAY(arena, size, bool);
  all->lifts = MVS_ARRAY(arena, size, lift);
  for (mvs_id id = 0; id < mvs_graph_size(body); id++) look(all, id);
  /* Each lifted value is one input more; what finds no room any more is computed in the body as
   * before, since all that it reads is copied there too. */
  all->room = MVS_MAX_INPUTS - work->node->input_count;
  decide(all, work->need->results);
  return all;
}

/* Builds a body value, whose inputs are built, in the outer graph; one of a chain for all
 * layers at once. */
static mvs_id lift_node(const mvs_region_work *work, const survey *all, mvs_id id) {
  const mvs_node *node = mvs_graph_node(all->body, id);
  if (node->op == MVS_OP_argument) return mvs_rebuild_port(work, node);
  mvs_graph *outer = work->outer->to;
  mvs_id inputs[MVS_MAX_INPUTS];
  for (int i = 0; i < node->input_count; i++) inputs[i] = all->outer[node->inputs[i]];
  mvs_attr attr = node->attr;
  if (all->chain[id] && node->op == MVS_OP_reshape) {
    attr.shape.type = mvs_region_stack_type(work->from, &node->type);
  }
  mvs_graph_set_rule(outer, node->rule);
  mvs_id made = mvs_graph_add(outer, node->op, inputs, node->input_count, &attr, node->span);
  mvs_graph_set_rule(outer, NULL);
  return made;
}

/* Builds all that lifted values are made of, inputs first. */
static void lift_all(const mvs_region_work *work, survey *all) {
  mvs_id size = mvs_graph_size(all->body);
  bool *used = MVS_ARRAY(work->outer->at->arena, (size_t)size + 1, bool);
  for (mvs_id id = size; id-- > 0;) {
    if (all->lifts[id] != STAYS) used[id] = true;
    const mvs_node *node = mvs_graph_node(all->body, id);
    for (int i = 0; used[id] && i < node->input_count; i++) used[node->inputs[i]] = true;
  }
  all->outer = mvs_new_ids(work->outer->at->arena, size);
  for (mvs_id id = 0; id < size; id++) {
    if (used[id]) all->outer[id] = lift_node(work, all, id);
  }
}

/* The survey of a body is made when its first node is placed. */
static bool place(mvs_region_work *work, mvs_rebuild *body, mvs_id id) {
  if (!work) return false;
  if (!work->lifted) {
    survey *fresh = survey_body(work);
    lift_all(work, fresh);
    work->lifted = fresh;
  }
  survey *all = work->lifted;
  if (all->lifts[id] == STAYS || all->room == 0) return false;
  all->room--;
  const mvs_type *type = mvs_graph_type(all->body, id);
  body->map[id] = all->lifts[id] == LIFTS_STACKED
                      ? mvs_region_builder_stacked(work->builder, all->outer[id], type)
                      : mvs_region_builder_invariant(work->builder, all->outer[id]);
  body->at->placed++;
  return true;
}

mvs_status mvs_pass_hoist(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  for (size_t i = 0; i < module->functions.count; i++) {
    mvs_function *function = &module->functions.items[i];
    mvs_rewriter at = {.arena = compilation->arena, .place = place};
    mvs_graph *lifted = mvs_rebuild_graph(&at, function->graph);
    if (at.placed == 0) continue;
    /* Once more, without the arguments that only lifted nodes needed. */
    function->graph = mvs_rewrite_copy(compilation->arena, lifted);
    if (compilation->explain) {
      mvs_text_addf(compilation->explain, "hoist %s: %zu values leave their stack\n",
                    function->name, at.placed);
    }
  }
  return MVS_OK;
}
