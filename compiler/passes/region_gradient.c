/* region_gradient.c: the gradient of a stack is a stack that runs the other way. By part, as
 * region.h states: carried -> carried; invariant -> a carried sum; stacked input -> stacked
 * output; stacked output -> stacked input; read at distance d -> a stacked output that the
 * reverse region reads at distance d and adds to the cotangent of the output that was read.
 *
 * Of a read that is only multiplied by something small, a weight or a number for each token,
 * the cotangent is not stacked as it is: the product's and the factor are, each once. A
 * weighted sum of many earlier values then stacks one cotangent, that of the sum, and not one
 * for each. */
#include <assert.h>

#include "compiler/passes/gradients.h"

/* A forward read with a gradient, and its counterparts. */
typedef struct read_gradient {
  uint32_t forward;       /* among the forward reads */
  uint32_t here;          /* among the reads here: of the cotangent, or of the product's */
  mvs_id product, factor; /* in the forward body, or MVS_NONE; the factor's read is here + 1 */
} read_gradient;

typedef struct region_gradient {
  mvs_gradient *at;    /* of the outer graph */
  mvs_gradient *inner; /* of the body */
  mvs_id node;
  mvs_region *forward;
  uint32_t output_count;      /* of the forward region before crossing values were added */
  mvs_id *arguments[4];       /* forward argument nodes by kind and index, or MVS_NONE */
  MVS_LIST(uint32_t) carried; /* forward carried values with a gradient, as carried here */
  MVS_LIST(uint32_t) sums;    /* invariants with a gradient, carried after those */
  MVS_LIST(uint32_t) stacked; /* stacked inputs with a gradient ... */
  MVS_LIST(uint32_t) outputs; /* ... and the stacked outputs here that hold them */
  MVS_LIST(read_gradient) reads;
} region_gradient;

static mvs_arena *home(const region_gradient *work) {
  return mvs_graph_arena(work->at->target);
}

static mvs_id body_result(const region_gradient *work, uint32_t index) {
  return mvs_graph_results(work->forward->body)->items[index].id;
}

static mvs_id outer_input(const region_gradient *work, uint32_t index) {
  return mvs_graph_node(work->at->forward, work->node)->inputs[index];
}

/* A body need not name all of its arguments, and none twice. */
static void find_arguments(region_gradient *work) {
  const mvs_region *region = work->forward;
  uint32_t counts[] = {region->carried_count, region->invariant_count, region->stacked_count,
                       region->read_count};
  for (int kind = 0; kind < 4; kind++) {
    work->arguments[kind] = MVS_ARRAY(home(work), counts[kind] + 1, mvs_id);
    for (uint32_t i = 0; i < counts[kind]; i++) work->arguments[kind][i] = MVS_NONE;
  }
  for (mvs_id id = 0; id < work->inner->size; id++) {
    const mvs_node *node = mvs_graph_node(region->body, id);
    if (node->op != MVS_OP_argument || node->attr.argument.kind == MVS_ARG_LAYER) continue;
    work->arguments[node->attr.argument.kind][node->attr.argument.index] = id;
  }
}

/* The argument node of the forward body when a gradient flows to it, else MVS_NONE. */
static mvs_id active_argument(const region_gradient *work, mvs_argument_kind kind,
                              uint32_t index) {
  mvs_id id = work->arguments[kind][index];
  return id != MVS_NONE && mvs_gradient_wanted(work->inner, id) ? id : MVS_NONE;
}

/* The last layer run's cotangent comes from outside: zeros when nothing there uses the value.
 */
static void seed_carried(region_gradient *work) {
  mvs_graph *outer = work->at->target;
  for (uint32_t i = 0; i < work->forward->carried_count; i++) {
    mvs_id result = body_result(work, i);
    mvs_id argument = active_argument(work, MVS_ARG_CARRIED, i);
    if (argument == MVS_NONE && !mvs_gradient_wanted(work->inner, result)) continue;
    mvs_id initial = work->at->results[work->node][i];
    if (initial == MVS_NONE) {
      initial = mvs_gradient_zeros(outer, mvs_graph_type(work->forward->body, result));
    }
    MVS_PUSH(home(work), &work->carried, i);
    mvs_gradient_give(work->inner, result,
                      mvs_region_builder_carried(work->inner->builder, initial));
  }
}

/* An invariant serves all layers, so its gradient is a sum over them, in f32. */
static void seed_sums(region_gradient *work) {
  for (uint32_t i = 0; i < work->forward->invariant_count; i++) {
    mvs_id argument = active_argument(work, MVS_ARG_INVARIANT, i);
    if (argument == MVS_NONE) continue;
    mvs_type type = *mvs_graph_type(work->forward->body, argument);
    if (type.dtype == MVS_BF16) type.dtype = MVS_F32;
    MVS_PUSH(home(work), &work->sums, i);
    mvs_region_builder_carried(work->inner->builder,
                               mvs_gradient_zeros(work->at->target, &type));
  }
}

/* A stacked output that is used outside brings one cotangent per layer. */
static void seed_outputs(region_gradient *work) {
  for (uint32_t i = 0; i < work->output_count; i++) {
    uint32_t index = work->forward->carried_count + i;
    mvs_id cotangent = work->at->results[work->node][index];
    if (cotangent == MVS_NONE) continue;
    mvs_id result = body_result(work, index);
    mvs_type type = *mvs_graph_type(work->forward->body, result);
    type.dtype = mvs_graph_type(work->at->target, cotangent)->dtype;
    mvs_gradient_give(work->inner, result,
                      mvs_region_builder_stacked(work->inner->builder, cotangent, &type));
  }
}

/* How much smaller a factor is than what it multiplies. */
#define SMALL_SHARE 16

static bool is_small(const mvs_type *factor, const mvs_type *value) {
  bool batched;
  int64_t size = mvs_type_elements(factor, &batched) * SMALL_SHARE;
  return !batched || size <= mvs_type_elements(value, &batched);
}

/* The only node that reads the argument, or MVS_NONE. */
static mvs_id only_user(const region_gradient *work, mvs_id argument) {
  const mvs_graph *body = work->forward->body;
  const mvs_results *results = mvs_graph_result_list(body);
  mvs_id user = MVS_NONE;
  for (size_t i = 0; i < results->count; i++) {
    if (results->items[i].id == argument) return MVS_NONE;
  }
  for (mvs_id id = argument + 1; id < work->inner->size; id++) {
    const mvs_node *node = mvs_graph_node(body, id);
    for (int i = 0; i < node->input_count; i++) {
      if (node->inputs[i] != argument) continue;
      if (user != MVS_NONE) return MVS_NONE;
      user = id;
    }
  }
  return user;
}

/* Finds out whether the read is only multiplied by a small factor:
 *   %s = mul (argument read 0), %w        stacked here: cotangent of %s, and %w
 *   a later layer run here:               (argument read of it) * (argument read of %w)
 * Several reads of one sum have one cotangent of %s, which is one stacked output. */
static void split_read(const region_gradient *work, mvs_id argument, read_gradient *read) {
  const mvs_graph *body = work->forward->body;
  read->product = read->factor = MVS_NONE;
  mvs_id user = only_user(work, argument);
  if (user == MVS_NONE) return;
  const mvs_node *node = mvs_graph_node(body, user);
  const mvs_type *type = mvs_graph_type(body, argument);
  if (node->op != MVS_OP_mul || !mvs_type_same_shape(&node->type, type)) return;
  mvs_id factor = node->inputs[node->inputs[0] == argument];
  const mvs_type *small = mvs_graph_type(body, factor);
  if (small->dtype != MVS_F32 || !is_small(small, type)) return;
  read->product = user;
  read->factor = factor;
}

/* A read here of what finish_reads will stack; until then it is named by a number of its own,
 * that of the forward read for a cotangent and read_count more for a factor, so that the
 * builder takes no two for one. */
static mvs_id new_read(region_gradient *work, uint32_t number, int64_t distance,
                       const mvs_type *like) {
  mvs_type type = *like;
  if (type.dtype == MVS_BF16) type.dtype = MVS_F32;
  return mvs_region_builder_read(work->inner->builder, number, distance, &type);
}

/* What layer l + d made of its read of layer l is a share of the cotangent of l's output. Layer
 * l + d has run before l here, so that a read at the same distance finds it, and finds zeros
 * for the last d layers, which nobody read. What it stacks is known after the sweep alone. */
static void seed_reads(region_gradient *work) {
  for (uint32_t i = 0; i < work->forward->read_count; i++) {
    mvs_id argument = active_argument(work, MVS_ARG_READ, i);
    if (argument == MVS_NONE) continue;
    const mvs_graph *body = work->forward->body;
    mvs_region *here = work->inner->builder->region;
    const mvs_read *read = &work->forward->reads[i];
    read_gradient made = {.forward = i, .here = here->read_count};
    split_read(work, argument, &made);
    mvs_id later = new_read(work, i, read->distance, mvs_graph_type(body, argument));
    if (made.product != MVS_NONE) {
      mvs_id factor = new_read(work, work->forward->read_count + i, read->distance,
                               mvs_graph_type(body, made.factor));
      later = mvs_build_binary(here->body, MVS_OP_mul, later, factor, work->forward->span);
    }
    MVS_PUSH(home(work), &work->reads, made);
    mvs_gradient_give(work->inner,
                      body_result(work, work->forward->carried_count + read->output), later);
  }
}

/* The cotangent of a forward argument as a value of exactly that type; zeros when none came. */
static mvs_id argument_cotangent(region_gradient *work, mvs_id argument, const mvs_type *type) {
  mvs_gradient *inner = work->inner;
  mvs_id found = argument == MVS_NONE ? MVS_NONE : inner->cotangents[argument];
  if (found == MVS_NONE) return mvs_gradient_zeros(inner->target, type);
  found = mvs_gradient_round(inner, type, found);
  if (mvs_graph_type(inner->target, found)->dtype == type->dtype) return found;
  return mvs_build_cast(inner->target, found, type->dtype, work->forward->span);
}

/* What the forward layer took in is what this layer run hands on. */
static void finish_carried(region_gradient *work) {
  mvs_region_builder *builder = work->inner->builder;
  for (uint32_t i = 0; i < work->carried.count; i++) {
    mvs_id argument = work->arguments[MVS_ARG_CARRIED][work->carried.items[i]];
    const mvs_type *type =
        mvs_graph_type(builder->region->body, builder->carried.items[i].argument);
    mvs_region_builder_next(builder, i, argument_cotangent(work, argument, type));
  }
  for (uint32_t i = 0; i < work->sums.count; i++) {
    uint32_t index = (uint32_t)work->carried.count + i;
    mvs_id sum = builder->carried.items[index].argument;
    mvs_id argument = work->arguments[MVS_ARG_INVARIANT][work->sums.items[i]];
    mvs_id more = work->inner->cotangents[argument];
    if (more != MVS_NONE) {
      sum = mvs_build_binary(builder->region->body, MVS_OP_add, sum, more, work->forward->span);
    }
    mvs_region_builder_next(builder, index, sum);
  }
}

/* Weights and the like: one gradient per layer. */
static void finish_stacked(region_gradient *work) {
  for (uint32_t i = 0; i < work->forward->stacked_count; i++) {
    mvs_id argument = active_argument(work, MVS_ARG_STACKED, i);
    if (argument == MVS_NONE || work->inner->cotangents[argument] == MVS_NONE) continue;
    uint32_t output =
        mvs_region_builder_output(work->inner->builder, work->inner->cotangents[argument]);
    MVS_PUSH(home(work), &work->stacked, i);
    MVS_PUSH(home(work), &work->outputs, output);
  }
}

/* The cotangent of a read is stacked even where it is zero: the layer it belongs to reads it.
 */
static void finish_reads(region_gradient *work) {
  mvs_region_builder *builder = work->inner->builder;
  for (uint32_t i = 0; i < work->reads.count; i++) {
    const read_gradient *read = &work->reads.items[i];
    mvs_id source = work->arguments[MVS_ARG_READ][read->forward];
    if (read->product != MVS_NONE) source = read->product;
    const mvs_type *type =
        mvs_graph_type(builder->region->body, builder->reads.items[read->here]);
    mvs_id cotangent = argument_cotangent(work, source, type);
    mvs_read *reads = builder->region->reads;
    reads[read->here].output = mvs_region_builder_output(builder, cotangent);
    if (read->product == MVS_NONE) continue;
    mvs_id factor = mvs_gradient_value(work->inner, read->factor);
    reads[read->here + 1].output = mvs_region_builder_output(builder, factor);
  }
}

/* Results come in the order carried, sums, stacked. */
static void give_results(region_gradient *work, mvs_id made) {
  const mvs_region *region = work->forward;
  mvs_graph *outer = work->at->target;
  uint32_t taken = 0, first = region->carried_count;
  for (size_t i = 0; i < work->carried.count; i++) {
    mvs_id cotangent = mvs_build_get(outer, made, taken++, region->span);
    mvs_gradient_give(work->at, outer_input(work, work->carried.items[i]), cotangent);
  }
  for (size_t i = 0; i < work->sums.count; i++) {
    mvs_id cotangent = mvs_build_get(outer, made, taken++, region->span);
    mvs_gradient_give(work->at, outer_input(work, first + work->sums.items[i]), cotangent);
  }
  first += region->invariant_count;
  for (size_t i = 0; i < work->stacked.count; i++) {
    mvs_id cotangent = mvs_build_get(outer, made, taken + work->outputs.items[i], region->span);
    mvs_gradient_give(work->at, outer_input(work, first + work->stacked.items[i]), cotangent);
  }
}

/* Marks the gradients at the writers that are marked, as the products with them read them, and
 * what the writers read, where the backward body has it. */
static void mark_writers(region_gradient *work) {
  const mvs_gradient *inner = work->inner;
  const mvs_marks *marks = mvs_graph_marks(work->forward->body);
  for (size_t i = 0; i < marks->count; i++) {
    const mvs_mark *mark = &marks->items[i];
    mvs_id found = MVS_NONE;
    mvs_mark_kind kind = mark->kind;
    if (kind == MVS_MARK_READ) found = inner->values[mark->id];
    if (kind == MVS_MARK_WRITTEN || kind == MVS_MARK_WEIGHT) {
      bool written = kind == MVS_MARK_WRITTEN;
      found = inner->cotangents[mark->id];
      kind = written ? MVS_MARK_DELTA : MVS_MARK_WEIGHT_GRADIENT;
      if (written && found != MVS_NONE)
        found = mvs_gradient_round(work->inner, mvs_graph_type(work->forward->body, mark->id),
                                   found);
    }
    if (found != MVS_NONE) mvs_graph_add_mark(inner->target, kind, mark->site, found);
  }
}

/* A block may have more parameters and values to keep than a region has room for. */
static bool within_limit(region_gradient *work) {
  size_t inputs = mvs_region_builder_inputs(work->inner->builder);
  if (inputs <= MVS_MAX_INPUTS) return true;
  mvs_diag_error(work->at->compilation->diag, work->forward->span,
                 "the gradient of '%s' needs %zu values per layer, more than %d",
                 work->forward->label, inputs, MVS_MAX_INPUTS);
  work->at->failed = true;
  return false;
}

/* With the body c', o = f(c, v, s) of carried values c, invariants v and stacked s, and
 * cotangents written d., the region made here runs the other way with
 *
 *   carried  dc' -> dc             and, from zero, dv += this layer's share
 *   stacked  do of each output used outside, and the forward values that rules ask for
 *   outputs  ds of each layer      and what reads at a distance will take (seed_reads)
 *
 * Seeds give cotangents to results of the body before it is swept, finish_* say what the
 * swept body hands on. The order of carried values, and so of results, is that of the seeds. */
mvs_gradient_rule mvs_gradient_of_region; /* gradient_rules.c names it in its table */

void mvs_gradient_of_region(mvs_gradient *at, mvs_id node, mvs_id cotangent) {
  (void)cotangent; /* those of the results are in at->results */
  assert(!at->outer);
  mvs_region *forward = mvs_graph_node(at->forward, node)->attr.region.body;
  mvs_region_builder *builder = mvs_region_builder_new(at->target, forward, !forward->reverse);
  builder->region->forward = forward;
  mvs_gradient *inner = mvs_gradient_new(at->compilation, forward->body, builder->region->body,
                                         at->activity->bodies[node]);
  inner->outer = at;
  inner->region_node = node;
  inner->builder = builder;
  region_gradient work = {.at = at,
                          .inner = inner,
                          .node = node,
                          .forward = forward,
                          .output_count = forward->output_count};
  find_arguments(&work);
  seed_carried(&work);
  seed_sums(&work);
  seed_outputs(&work);
  seed_reads(&work);
  mvs_gradient_sweep(inner);
  mark_writers(&work);
  finish_carried(&work);
  finish_stacked(&work);
  finish_reads(&work);
  if (builder->region->carried_count + builder->region->output_count == 0) return;
  if (!within_limit(&work)) return;
  give_results(&work, mvs_region_builder_finish(builder));
}
