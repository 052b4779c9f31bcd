/* crossing.c: keep or redo, decided per node from what stands around it in the forward graph.
 *
 * Of a block with a norm behind its merge, z = x + f, r = inv_rms z, y = normalize z, r:
 *   f   the result of a product                      kept (heavy)
 * z   an element                                   not kept: its gradient rule asks for y and r
 *   r   a reduction, one number a token              kept
 *   y   carried to the next block: a result          kept (stored)
 * and of SwiGLU, g = silu(a) * b with a, b slices of one product: the product is kept, a and b
 * are views of it, silu(a) is computed again, and g is kept as what the next product reads. */
#include "compiler/passes/crossing.h"

#include "compiler/passes/pass.h"

/* Views that read their input where it is. A concat is none: its parts are written into it. */
static bool is_view(mvs_op op) {
  return op == MVS_OP_reshape || op == MVS_OP_slice || op == MVS_OP_transpose;
}

static bool starts_varying(const mvs_node *node) {
  switch (node->op) {
    case MVS_OP_input:
      return true;
    case MVS_OP_argument:
      return node->attr.argument.kind == MVS_ARG_CARRIED ||
             node->attr.argument.kind == MVS_ARG_READ;
    default:
      return false;
  }
}

/* What varies is what a backward pass would have to keep or redo. The rest (weights, tables) is
 * there in both passes, and an expression of it is the same node in both. */
static void mark_varying(mvs_crossing *crossing, const mvs_graph *graph) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    bool varying = starts_varying(node);
    for (int i = 0; i < node->input_count; i++) {
      varying = varying || crossing->varying[node->inputs[i]];
    }
    crossing->varying[id] = varying;
  }
}

/* Marks what is stored: results, and what fusion stops at. A reshape has no place of its own,
 * so the mark goes on to its input. Users have larger ids, so that one sweep from the end does.
 */
static void mark_stored(mvs_crossing *crossing, mvs_graph *graph, bool *stored) {
  const mvs_results *results = mvs_graph_results(graph);
  for (size_t i = 0; i < results->count; i++) stored[results->items[i].id] = true;
  for (mvs_id id = mvs_graph_size(graph); id-- > 0;) {
    const mvs_node *node = mvs_graph_node(graph, id);
    bool heavy = mvs_ops[node->op].op_class == MVS_CLASS_HEAVY;
    bool held = stored[id] || crossing->part_of[id] != MVS_NONE;
    bool whole = node->op == MVS_OP_concat && stored[id] && crossing->varying[id];
    for (int i = 0; i < node->input_count; i++) {
      mvs_id input = node->inputs[i];
      if (heavy || (node->op == MVS_OP_reshape && stored[id])) stored[input] = true;
      if (whole) crossing->part_of[input] = id;
      if (node->op == MVS_OP_cast && node->type.dtype == MVS_BF16 && held) {
        crossing->rounded[input] = id;
      }
    }
  }
}

/* Of reductions of short rows that follow one another, as the normalisations of a small matrix
 * do, the first is kept and then every fourth: the others are as cheap to redo as elements are,
 * and all of them would be dozens of values a layer. What is redone between two that are kept
 * has to fit the registers of a thread. */
#define CHAIN 4

static bool reduces_little(const mvs_graph *graph, const mvs_node *node) {
  if (mvs_ops[node->op].op_class != MVS_CLASS_REDUCE) return false;
  const mvs_type *from = mvs_graph_type(graph, node->inputs[0]);
  int last = from->rank - 1;
  if (node->op != MVS_OP_inv_rms && node->attr.axes.mask != 1u << last) return false;
  return last > 0 && !from->dims[last].per_batch && from->dims[last].size <= MVS_SHORT_ROW;
}

/* By class: what has a place in memory whatever the backward asks is kept, what one kernel
 * computes from that is not. A view of something kept is had for nothing, so keeping it too
 * would be a second copy. */
static bool keeps(const mvs_crossing *crossing, const mvs_graph *graph, const mvs_node *node,
                  bool stored, int chain) {
  if (is_view(node->op)) {
    mvs_id seen = node->inputs[0];
    while (!crossing->kept[seen] && is_view(mvs_graph_node(graph, seen)->op)) {
      seen = mvs_graph_node(graph, seen)->inputs[0];
    }
    return stored && !crossing->kept[seen];
  }
  switch (mvs_ops[node->op].op_class) {
    case MVS_CLASS_HEAVY:
      return true;
    case MVS_CLASS_REDUCE:
      if (!reduces_little(graph, node) || chain % CHAIN == 1) return true;
      break;
    case MVS_CLASS_SOURCE:
      return node->op != MVS_OP_constant && node->op != MVS_OP_iota;
    case MVS_CLASS_SEGMENT:
      if (node->op == MVS_OP_segment_sum || node->op == MVS_OP_segment_mean) return true;
      break;
    case MVS_CLASS_VIEW:
      if (node->op == MVS_OP_get) return true;
      break;
    case MVS_CLASS_ELEMENT:
      break;
  }
  return stored;
}

/* Reductions of short rows behind one another up to this node, itself included, since another
 * value was kept. */
static int chain_of(const mvs_graph *graph, const mvs_node *node, const int *chains) {
  int longest = 0;
  for (int i = 0; i < node->input_count; i++) {
    if (chains[node->inputs[i]] > longest) longest = chains[node->inputs[i]];
  }
  return longest + reduces_little(graph, node);
}

/* Whether a value that is not kept holds a reduction that is not: rules may give that other
 * bits where it is redone (a sum of a concat becomes the sum of its parts'). A gradient that
 * asks where a value equals its maximum must see the maximum of those bits, or it is so
 * nowhere. */
static bool is_summed_again(const mvs_node *node, const bool *summed_again, bool kept) {
  bool any = mvs_ops[node->op].op_class == MVS_CLASS_REDUCE;
  for (int i = 0; i < node->input_count; i++) any = any || summed_again[node->inputs[i]];
  return any && !kept;
}

/* Upwards, since whether a view is kept depends on what it sees, and a chain on what was kept
 * before. A kept reduction of a short row does not end its chain: every fourth is counted from
 * the first one, whatever lies between. */
mvs_crossing *mvs_crossing_new(mvs_arena *arena, mvs_graph *graph) {
  size_t size = (size_t)mvs_graph_size(graph) + 1;
  mvs_crossing *crossing = MVS_NEW(arena, mvs_crossing);
  crossing->kept = MVS_ARRAY(arena, size, bool);
  crossing->varying = MVS_ARRAY(arena, size, bool);
  crossing->part_of = MVS_ARRAY(arena, size, mvs_id);
  crossing->rounded = MVS_ARRAY(arena, size, mvs_id);
  for (size_t i = 0; i < size; i++) crossing->part_of[i] = crossing->rounded[i] = MVS_NONE;
  bool *stored = MVS_ARRAY(arena, size, bool);
  mark_varying(crossing, graph);
  mark_stored(crossing, graph, stored);
  int *chains = MVS_ARRAY(arena, size, int);
  bool *summed_again = MVS_ARRAY(arena, size, bool);
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    chains[id] = chain_of(graph, node, chains);
    bool redone = node->op == MVS_OP_max_over && summed_again[node->inputs[0]];
    crossing->kept[id] = !redone && keeps(crossing, graph, node, stored[id], chains[id]);
    summed_again[id] = is_summed_again(node, summed_again, crossing->kept[id]);
    if (crossing->kept[id] && !reduces_little(graph, node)) chains[id] = 0;
  }
  return crossing;
}

/* --- the pass: the gradients decided as they asked; here the outcome is told --- */

/* Bytes are those of one layer; the runtime multiplies by depth and batch. */
static void explain_value(mvs_compilation *compilation, const mvs_region *backward,
                          const mvs_node *argument) {
  mvs_text *out = compilation->explain;
  bool per_batch;
  int64_t bytes =
      mvs_type_elements(&argument->type, &per_batch) * mvs_dtype_size(argument->type.dtype);
  mvs_text_addf(out, "crossing %s: kept per layer, %lld bytes%s: ", backward->label,
                (long long)bytes, per_batch ? " per sample" : "");
  mvs_type_text(&argument->type, out);
  if (argument->span.source) {
    int line, column;
    mvs_span_position(argument->span, &line, &column);
    mvs_text_addf(out, " from %s:%d", argument->span.source->name, line);
  }
  mvs_text_add(out, "\n");
}

/* True for a result of that very region: other stacked inputs are weights. */
static bool comes_from(const mvs_graph *graph, mvs_id id, const mvs_region *region) {
  const mvs_node *node = mvs_graph_node(graph, id);
  if (node->op != MVS_OP_get) return false;
  const mvs_node *tuple = mvs_graph_node(graph, node->inputs[0]);
  return tuple->op == MVS_OP_region && tuple->attr.region.body == region;
}

static void explain_region(mvs_compilation *compilation, const mvs_graph *graph,
                           const mvs_node *node) {
  const mvs_region *region = node->attr.region.body;
  const mvs_id *stacked = node->inputs + region->carried_count + region->invariant_count;
  size_t redone = 0;
  for (mvs_id id = 0; id < mvs_graph_size(region->body); id++) {
    const mvs_node *inner = mvs_graph_node(region->body, id);
    redone += inner->pass > 0;
    if (inner->op != MVS_OP_argument || inner->attr.argument.kind != MVS_ARG_STACKED) continue;
    if (comes_from(graph, stacked[inner->attr.argument.index], region->forward)) {
      explain_value(compilation, region, inner);
    }
  }
  mvs_text_addf(compilation->explain, "crossing %s: %zu elementwise values are redone\n",
                region->label, redone);
}

mvs_status mvs_pass_crossing(mvs_compilation *compilation) {
  mvs_function *grad = mvs_module_function(compilation->module, "grad");
  if (!grad || !compilation->explain) return MVS_OK;
  for (mvs_id id = 0; id < mvs_graph_size(grad->graph); id++) {
    const mvs_node *node = mvs_graph_node(grad->graph, id);
    if (node->op != MVS_OP_region || !node->attr.region.body->forward) continue;
    explain_region(compilation, grad->graph, node);
  }
  return MVS_OK;
}
