/* rebuild_region.c: regions rebuilt, without the parts that nothing needs.
 *
 *   carried (%x, %k)  { ..., hands on %k }  ->  carried (%x) invariant (%k)
 *   carried (%x, %u)  { nobody reads %u }   ->  carried (%x)
 *   stacked %w twice                        ->  stacked %w once
 *   an output that is argument stacked %w   ->  no output: who took it takes %w
 *
 * Results get new numbers by this, so the `get` nodes of the region are made anew
 * (take_results) and handed out by mvs_rebuild_node. */
#include "compiler/passes/rebuild.h"

/* A backward region names the forward one, which was rebuilt before it. */
static mvs_region *find_region(const mvs_rewriter *at, const mvs_region *from) {
  for (size_t i = 0; i < at->regions.count; i++) {
    if (at->regions.items[i].from == from) return at->regions.items[i].to;
  }
  return NULL;
}

static mvs_id body_result(const mvs_region *region, uint32_t index) {
  return mvs_graph_results(region->body)->items[index].id;
}

static bool is_argument(const mvs_graph *body, mvs_id id, mvs_argument_kind kind,
                        uint32_t index) {
  const mvs_node *node = mvs_graph_node(body, id);
  return node->op == MVS_OP_argument && node->attr.argument.kind == kind &&
         node->attr.argument.index == index;
}

/* A carried value that each layer hands on untouched. As an invariant it needs no copy from
 * layer to layer, and hoist.c may take what is made of it out of the body. */
static bool never_changes(const mvs_region *region, uint32_t carried) {
  return is_argument(region->body, body_result(region, carried), MVS_ARG_CARRIED, carried);
}

/* Those that nobody needs are left out; the ones behind them get smaller numbers. */
static void start_carried(mvs_region_work *work) {
  const mvs_region *from = work->from;
  work->carried = MVS_ARRAY(work->outer->at->arena, from->carried_count + 1, mvs_id);
  work->numbers = MVS_ARRAY(work->outer->at->arena, from->carried_count + 1, uint32_t);
  for (uint32_t i = 0; i < from->carried_count; i++) {
    work->carried[i] = MVS_NONE;
    work->numbers[i] = UINT32_MAX;
    if (!work->need->results[i]) continue;
    mvs_id initial = work->outer->map[work->node->inputs[i]];
    if (never_changes(from, i)) {
      work->carried[i] = mvs_region_builder_invariant(work->builder, initial);
    } else {
      work->numbers[i] = work->builder->region->carried_count;
      work->carried[i] = mvs_region_builder_carried(work->builder, initial);
    }
  }
}

/* Inputs of a region node stand in the order of region.h: carried, invariant, stacked. */
mvs_id mvs_rebuild_port(const mvs_region_work *work, const mvs_node *argument) {
  uint32_t first = work->from->carried_count + argument->attr.argument.index;
  if (argument->attr.argument.kind == MVS_ARG_STACKED) first += work->from->invariant_count;
  return work->outer->map[work->node->inputs[first]];
}

/* The builder numbers parts in the order in which the body first names them, and gives two
 * arguments for one outer value the same number. */
static mvs_id copy_argument(mvs_region_work *work, const mvs_node *node) {
  uint32_t index = node->attr.argument.index;
  switch (node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      return work->carried[index];
    case MVS_ARG_INVARIANT:
      return mvs_region_builder_invariant(work->builder, mvs_rebuild_port(work, node));
    case MVS_ARG_STACKED:
      return mvs_region_builder_stacked(work->builder, mvs_rebuild_port(work, node),
                                        &node->type);
    case MVS_ARG_READ: { /* numbered as in the old region until finish_reads */
      const mvs_read *read = &work->from->reads[index];
      return mvs_region_builder_read(work->builder, read->output, read->distance, &node->type);
    }
    case MVS_ARG_LAYER:
      return mvs_region_builder_layer(work->builder);
  }
  return MVS_NONE;
}

static void rebuild_body(mvs_region_work *work, mvs_rebuild *body) {
  mvs_place_hook *place = body->at->place;
  for (mvs_id id = 0; id < mvs_graph_size(body->from); id++) {
    if (!body->live->nodes[id]) continue;
    const mvs_node *node = mvs_graph_node(body->from, id);
    if (place && place(work, body, id)) continue;
    body->map[id] =
        node->op == MVS_OP_argument ? copy_argument(work, node) : mvs_rebuild_node(body, id);
  }
}

/* An output that is read must be written, even if it merely passes an input on: a read has
 * slots for layers that do not exist, the input has none. */
static bool is_read(const mvs_region_work *work, uint32_t output) {
  for (uint32_t i = 0; i < work->from->read_count; i++) {
    if (work->need->reads[i] && work->from->reads[i].output == output) return true;
  }
  return false;
}

/* The new outer value of a stacked output that merely passes a stacked input on, else MVS_NONE.
 */
static mvs_id passed_through(const mvs_region_work *work, uint32_t output) {
  const mvs_region *from = work->from;
  const mvs_node *value =
      mvs_graph_node(from->body, body_result(from, from->carried_count + output));
  if (value->op != MVS_OP_argument || value->attr.argument.kind != MVS_ARG_STACKED) {
    return MVS_NONE;
  }
  return mvs_rebuild_port(work, value);
}

/* Reads were added while the body was copied, before outputs had new numbers. live.c keeps
 * every output that a live read names, so outputs[] holds it. */
static void finish_reads(mvs_region_work *work, const uint32_t *outputs) {
  mvs_region *to = work->builder->region;
  for (uint32_t i = 0; i < to->read_count; i++) {
    to->reads[i].output = outputs[to->reads[i].output];
  }
}

/* Adds the needed outputs; results[i] of a passed-through one is its outer value. */
static void add_outputs(mvs_region_work *work, const mvs_rebuild *body, uint32_t *outputs,
                        mvs_id *results) {
  const mvs_region *from = work->from;
  for (uint32_t i = 0; i < from->output_count; i++) {
    uint32_t index = from->carried_count + i;
    if (!work->need->results[index]) continue;
    /* Layer i of the output is layer i of an input: the outer graph takes the input itself, and
     * the region writes one value less a layer. */
    if (!is_read(work, i)) results[index] = passed_through(work, i);
    if (results[index] != MVS_NONE) continue;
    outputs[i] = mvs_region_builder_output(work->builder, body->map[body_result(from, index)]);
  }
}

/* Only what the outer graph takes: a `get` that nothing uses would be a dead node. */
static void take_results(mvs_region_work *work, mvs_id made, const uint32_t *outputs,
                         mvs_id *results) {
  const mvs_region *from = work->from;
  mvs_graph *to = work->outer->to;
  uint32_t carried = work->builder->region->carried_count;
  for (uint32_t i = 0; i < from->carried_count + from->output_count; i++) {
    if (!work->need->taken[i] || results[i] != MVS_NONE) continue;
    if (i >= from->carried_count) {
      results[i] =
          mvs_build_get(to, made, carried + outputs[i - from->carried_count], from->span);
    } else if (work->numbers[i] == UINT32_MAX) {
      /* never_changes(): behind the last layer it is what it was before the first. */
      results[i] = work->outer->map[work->node->inputs[i]];
    } else {
      results[i] = mvs_build_get(to, made, work->numbers[i], from->span);
    }
  }
}

/* Ends the new region and notes where its results are. */
static void close_region(mvs_region_work *work, const mvs_rebuild *body, mvs_id id) {
  const mvs_region *from = work->from;
  mvs_arena *arena = work->outer->at->arena;
  for (uint32_t i = 0; i < from->carried_count; i++) {
    if (work->numbers[i] == UINT32_MAX) continue;
    mvs_region_builder_next(work->builder, work->numbers[i], body->map[body_result(from, i)]);
  }
  mvs_id *results = mvs_new_ids(arena, from->carried_count + from->output_count);
  uint32_t *outputs = MVS_ARRAY(arena, from->output_count + 1, uint32_t);
  add_outputs(work, body, outputs, results);
  finish_reads(work, outputs);
  mvs_id made = MVS_NONE;
  const mvs_region *to = work->builder->region;
  if (to->carried_count + to->output_count > 0) {
    /* Else the rules above took all its results, and it is no node any more. */
    made = mvs_region_builder_finish(work->builder);
  }
  take_results(work, made, outputs, results);
  work->outer->results[id] = results;
}

/* Carried arguments before the body, which names them; everything else when the body asks;
 * results behind it. */
void mvs_rebuild_region(mvs_rebuild *outer, mvs_id id) {
  mvs_rewriter *at = outer->at;
  const mvs_node *node = mvs_graph_node(outer->from, id);
  mvs_region_work work = {.outer = outer, .node = node, .from = node->attr.region.body};
  work.need = outer->live->regions[id];
  work.builder = mvs_region_builder_new(outer->to, work.from, work.from->reverse);
  mvs_region *to = work.builder->region;
  /* NULL where nobody needs the forward region any more: there is nothing to redo then. */
  to->forward = find_region(at, work.from->forward);
  mvs_region_pair pair = {work.from, to};
  MVS_PUSH(at->arena, &at->regions, pair);
  size_t size = mvs_graph_size(work.from->body);
  mvs_rebuild body = {.at = at,
                      .from = work.from->body,
                      .to = to->body,
                      .live = work.need->body,
                      .source = mvs_rebuild_source(at->arena, work.from->body, work.need->body),
                      .map = mvs_new_ids(at->arena, size),
                      .results = MVS_ARRAY(at->arena, size + 1, mvs_id *)};
  start_carried(&work);
  rebuild_body(&work, &body);
  mvs_rebuild_marks(&body);
  close_region(&work, &body, id);
}
