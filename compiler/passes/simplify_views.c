/* simplify_views.c: rules on sums, views and work done part by part.
 *
 * Views cost nothing as strides of an access, but a value that is put together from parts costs
 * a place in memory where it is taken apart again. So views move towards each other and cancel
 * (slice of concat, sum of pads), and what is left of concats moves towards the results, where
 * its parts are written into their places. */
#include "compiler/passes/simplify.h"

/* Longest outer axis that is summed by additions, a power of two: more would make long
 * kernels. */
#define FEW_SUMMED 4

static mvs_id becomes_a(mvs_graph *graph, const mvs_match *match) {
  return mvs_fit(graph, match->a, &match->node->type, match->node->span);
}

static bool is_one(mvs_dim dim) { return dim.size == 1 && !dim.per_batch; }

/* --- reshape and transpose --- */

bool mvs_guard_reshape_same(mvs_match *match) {
  match->a = match->node->inputs[0];
  return mvs_type_equal(&mvs_match_input(match, 0)->type, &match->node->type);
}
mvs_id mvs_build_reshape_same(mvs_graph *graph, const mvs_match *match) {
  (void)graph;
  return match->a;
}

bool mvs_guard_reshape_twice(mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  if (inner->op != MVS_OP_reshape) return false;
  match->a = inner->inputs[0];
  return true;
}
mvs_id mvs_build_reshape_twice(mvs_graph *graph, const mvs_match *match) {
  return mvs_build_reshape(graph, match->a, &match->node->type, match->node->span);
}

/* Every axis is where it was. */
bool mvs_guard_transpose_same(mvs_match *match) {
  const mvs_attr *attr = &match->node->attr;
  for (int i = 0; i < attr->permutation.rank; i++) {
    if (attr->permutation.axis[i] != i) return false;
  }
  match->a = match->node->inputs[0];
  return true;
}
mvs_id mvs_build_transpose_same(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

bool mvs_guard_transpose_twice(mvs_match *match) {
  return mvs_match_input(match, 0)->op == MVS_OP_transpose;
}
mvs_id mvs_build_transpose_twice(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  const mvs_attr *second = &match->node->attr;
  mvs_attr both = {.permutation = {.rank = second->permutation.rank}};
  for (int i = 0; i < second->permutation.rank; i++) {
    both.permutation.axis[i] = inner->attr.permutation.axis[second->permutation.axis[i]];
  }
  mvs_id made =
      mvs_graph_add(graph, MVS_OP_transpose, &inner->inputs[0], 1, &both, match->node->span);
  return mvs_fit(graph, made, &match->node->type, match->node->span);
}

/* --- slices --- */

bool mvs_guard_slice_whole(mvs_match *match) {
  match->a = match->node->inputs[0];
  return match->node->attr.slice.length == match->node->attr.slice.total;
}
mvs_id mvs_build_slice_whole(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* The matched slice once more, from another value and place. */
static mvs_id slice_like(mvs_graph *graph, const mvs_match *match, mvs_id from, int64_t start) {
  const mvs_attr *attr = &match->node->attr;
  mvs_id made = mvs_build_slice(graph, from, attr->slice.axis, start, attr->slice.length,
                                match->node->type.segments, match->node->span);
  return mvs_fit(graph, made, &match->node->type, match->node->span);
}

/* Both along the same axis. */
bool mvs_guard_slice_twice(mvs_match *match) {
  const mvs_node *inner = mvs_match_input(match, 0);
  if (inner->op != MVS_OP_slice) return false;
  if (inner->attr.slice.axis != match->node->attr.slice.axis) return false;
  match->a = inner->inputs[0];
  match->number = inner->attr.slice.start + match->node->attr.slice.start;
  return true;
}
mvs_id mvs_build_slice_twice(mvs_graph *graph, const mvs_match *match) {
  return slice_like(graph, match, match->a, match->number);
}

/* A slice that lies within one part of a concat along the same axis:
 *   slice start=5 length=2 (concat %a[4], %b[3])   ->   slice start=1 length=2 %b */
bool mvs_guard_slice_concat(mvs_match *match) {
  const mvs_node *concat = mvs_match_input(match, 0);
  const mvs_attr *attr = &match->node->attr;
  int axis = attr->slice.axis;
  if (concat->op != MVS_OP_concat || concat->attr.concat.axis != axis) return false;
  int64_t start = attr->slice.start, end = start + attr->slice.length, place = 0;
  for (int i = 0; i < concat->input_count; i++) {
    int64_t length = mvs_graph_type(match->graph, concat->inputs[i])->dims[axis].size;
    if (start >= place && end <= place + length) {
      match->a = concat->inputs[i];
      match->number = start - place;
      return true;
    }
    place += length;
  }
  return false;
}
mvs_id mvs_build_slice_concat(mvs_graph *graph, const mvs_match *match) {
  return slice_like(graph, match, match->a, match->number);
}

/* A slice that lies within the values of a pad along the same axis, or within its zeros:
 *   slice start=2 length=2 (pad start=2 length=3 total=7 %x)   ->   slice start=0 length=2 %x
 * One that has some of each stays. */
bool mvs_guard_slice_pad(mvs_match *match) {
  const mvs_node *pad = mvs_match_input(match, 0);
  const mvs_attr *slice = &match->node->attr;
  if (pad->op != MVS_OP_pad || pad->attr.slice.axis != slice->slice.axis) return false;
  int64_t start = slice->slice.start, end = start + slice->slice.length;
  int64_t from = pad->attr.slice.start, to = from + pad->attr.slice.length;
  match->number = start - from;
  match->a = start >= from && end <= to ? pad->inputs[0] : MVS_NONE;
  return match->a != MVS_NONE || end <= from || start >= to;
}
mvs_id mvs_build_slice_pad(mvs_graph *graph, const mvs_match *match) {
  if (match->a != MVS_NONE) return slice_like(graph, match, match->a, match->number);
  return mvs_filled(graph, 0, &match->node->type, match->node->span);
}

/* A slice along an axis that its input was stretched over:
 *   slice length=2 (broadcast %row : [B, 7, C])   ->   broadcast %row : [B, 2, C] */
bool mvs_guard_slice_stretch(mvs_match *match) {
  const mvs_node *stretch = mvs_match_input(match, 0);
  if (stretch->op != MVS_OP_broadcast) return false;
  const mvs_type *from = mvs_graph_type(match->graph, stretch->inputs[0]);
  int own = match->node->attr.slice.axis - (stretch->type.rank - from->rank);
  match->a = stretch->inputs[0];
  return own < 0 || is_one(from->dims[own]);
}
mvs_id mvs_build_slice_stretch(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* --- concat and pad --- */

bool mvs_guard_concat_one(mvs_match *match) {
  match->a = match->node->inputs[0];
  return match->node->input_count == 1;
}
mvs_id mvs_build_concat_one(mvs_graph *graph, const mvs_match *match) {
  return becomes_a(graph, match);
}

/* All parts are slices of one value along the concat's axis, each beginning where the one
 * before ends: concat (slice 0..3 of %x), (slice 4..7 of %x)   ->   slice 0..7 of %x. Gradients
 * of halves that were only moved come out so. */
bool mvs_guard_concat_slices(mvs_match *match) {
  int axis = match->node->attr.concat.axis;
  const mvs_node *first = mvs_match_input(match, 0);
  if (first->op != MVS_OP_slice) return false;
  match->a = first->inputs[0];
  match->number = first->attr.slice.start;
  int64_t next = first->attr.slice.start;
  for (int i = 0; i < match->node->input_count; i++) {
    const mvs_node *part = mvs_match_input(match, i);
    if (part->op != MVS_OP_slice || part->attr.slice.axis != axis) return false;
    if (part->inputs[0] != match->a || part->attr.slice.start != next) return false;
    next += part->attr.slice.length;
  }
  return true;
}
mvs_id mvs_build_concat_slices(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  int axis = node->attr.concat.axis;
  mvs_id made = mvs_build_slice(graph, match->a, axis, match->number,
                                node->type.dims[axis].size, node->type.segments, node->span);
  return mvs_fit(graph, made, &node->type, node->span);
}

/* The parts of a concat, those of parts that are concats along the same axis in their place;
 * how many there are. `parts` may be NULL. */
static int flat_parts(const mvs_graph *graph, const mvs_node *concat, mvs_id *parts) {
  int count = 0;
  for (int i = 0; i < concat->input_count; i++) {
    const mvs_node *part = mvs_graph_node(graph, concat->inputs[i]);
    bool nested =
        part->op == MVS_OP_concat && part->attr.concat.axis == concat->attr.concat.axis;
    int found = nested ? part->input_count : 1;
    const mvs_id *from = nested ? part->inputs : &concat->inputs[i];
    for (int k = 0; parts && k < found; k++) parts[count + k] = from[k];
    count += found;
  }
  return count;
}

/* concat (concat %a, %b), %c   ->   concat %a, %b, %c
 * Concats of tokens stay: their segments have names. */
bool mvs_guard_concat_concat(mvs_match *match) {
  const mvs_node *node = match->node;
  if (node->attr.concat.axis == 1 && node->type.segments) return false;
  int count = flat_parts(match->graph, node, NULL);
  return count > node->input_count && count <= MVS_MAX_INPUTS;
}
mvs_id mvs_build_concat_concat(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  mvs_id parts[MVS_MAX_INPUTS];
  int count = flat_parts(graph, node, parts);
  mvs_id made = mvs_build_concat(graph, parts, count, node->attr.concat.axis,
                                 node->type.segments, node->span);
  return mvs_fit(graph, made, &node->type, node->span);
}

#define MAX_PADS 16 /* terms of one sum of pads */

typedef struct pads {
  int count;
  const mvs_node *items[MAX_PADS];
} pads;

/* Gathers the terms of a sum; false unless all are pads along one axis, nested no deeper than
 * `depth`. */
static bool gather_pads(const mvs_graph *graph, const mvs_node *node, int depth, pads *found) {
  if (node->op == MVS_OP_add && depth > 0) {
    return gather_pads(graph, mvs_graph_node(graph, node->inputs[0]), depth - 1, found) &&
           gather_pads(graph, mvs_graph_node(graph, node->inputs[1]), depth - 1, found);
  }
  if (node->op != MVS_OP_pad || found->count == MAX_PADS) return false;
  if (found->count && node->attr.slice.axis != found->items[0]->attr.slice.axis) return false;
  int place = found->count++;
  for (; place > 0; place--) {
    if (found->items[place - 1]->attr.slice.start <= node->attr.slice.start) break;
    found->items[place] = found->items[place - 1];
  }
  found->items[place] = node;
  return true;
}

static int64_t pad_end(const mvs_node *pad) {
  return pad->attr.slice.start + pad->attr.slice.length;
}

/* Pads that do not overlap, and of which two at least touch: those join.
 *   add (pad start=0 length=2 total=4 %a), (pad start=2 length=2 total=4 %b)
 *     ->   concat %a, %b
 * Gradients of slices are pads. Of a pack's slices they fill the whole, so that one product
 * with the pack takes the concat; pads alone would be sums over mostly zeros. */
bool mvs_guard_sum_of_pads(mvs_match *match) {
  pads found = {0};
  if (!gather_pads(match->graph, match->node, MAX_PADS, &found)) return false;
  bool touching = false;
  for (int i = 0; i + 1 < found.count; i++) {
    if (pad_end(found.items[i]) > found.items[i + 1]->attr.slice.start) return false;
    touching = touching || pad_end(found.items[i]) == found.items[i + 1]->attr.slice.start;
  }
  return touching;
}

/* What the parts of a sum of pads are joined in: their own dtype, or that of the sum where they
 * differ: it holds the narrower ones exactly. (A sum of bf16 pads is f32 by its type; no place
 * has more than one term that is not zero, so the bf16 values are exact.) */
static mvs_dtype joined_dtype(const mvs_match *match, const pads *found) {
  mvs_dtype dtype = found->items[0]->type.dtype;
  for (int i = 1; i < found->count; i++) {
    if (found->items[i]->type.dtype != dtype) return match->node->type.dtype;
  }
  return dtype;
}

/* Joins pads first to last - 1, which touch, into one pad; a full one is the concat itself. */
static mvs_id join_pads(mvs_graph *graph, const mvs_match *match, const pads *found, int first,
                        int last) {
  const mvs_node *node = match->node;
  mvs_dtype dtype = joined_dtype(match, found);
  mvs_id parts[MAX_PADS];
  for (int i = first; i < last; i++) {
    mvs_id part = found->items[i]->inputs[0];
    bool same = mvs_graph_type(graph, part)->dtype == dtype;
    parts[i - first] = same ? part : mvs_build_cast(graph, part, dtype, node->span);
  }
  mvs_attr attr = found->items[first]->attr;
  attr.slice.length = pad_end(found->items[last - 1]) - attr.slice.start;
  attr.slice.segments = node->type.segments;
  bool whole = attr.slice.length == attr.slice.total;
  if (last - first == 1 && !whole) {
    return mvs_graph_add(graph, MVS_OP_pad, parts, 1, &attr, node->span);
  }
  const mvs_segments *table = whole || attr.slice.axis != 1 ? node->type.segments : NULL;
  mvs_id joined =
      mvs_build_concat(graph, parts, last - first, attr.slice.axis, table, node->span);
  return whole ? joined : mvs_graph_add(graph, MVS_OP_pad, &joined, 1, &attr, node->span);
}

/* Runs of touching pads become one pad each, which are added as before; a run that fills the
 * whole is a concat. */
mvs_id mvs_build_sum_of_pads(mvs_graph *graph, const mvs_match *match) {
  pads found = {0};
  gather_pads(graph, match->node, MAX_PADS, &found);
  mvs_id sum = MVS_NONE;
  for (int first = 0, last; first < found.count; first = last) {
    last = first + 1;
    while (last < found.count &&
           pad_end(found.items[last - 1]) == found.items[last]->attr.slice.start) {
      last++;
    }
    mvs_id joined = join_pads(graph, match, &found, first, last);
    sum = sum == MVS_NONE ? joined
                          : mvs_build_binary(graph, MVS_OP_add, sum, joined, match->node->span);
  }
  return mvs_fit(graph, sum, &match->node->type, match->node->span);
}

/* pad start=1 length=2 total=7 %x   ->   concat (zeros [1]), %x, (zeros [4])
 * Any pad that found no partner among the early rules: kernels know concats, whose parts are
 * written into their places, and need no pad of their own. */
bool mvs_guard_pad_is_concat(mvs_match *match) {
  (void)match;
  return true;
}
/* Zeros before and behind, where there is room for any. */
mvs_id mvs_build_pad_is_concat(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  int axis = node->attr.slice.axis, count = 0;
  int64_t gaps[] = {node->attr.slice.start,
                    node->attr.slice.total - node->attr.slice.start - node->attr.slice.length};
  mvs_id parts[3];
  for (int i = 0; i < 2; i++) {
    if (i == 1) parts[count++] = node->inputs[0];
    if (gaps[i] == 0) continue;
    mvs_type type = node->type;
    type.dims[axis].size = gaps[i];
    if (axis == 1) type.segments = NULL;
    parts[count++] = mvs_filled(graph, 0, &type, node->span);
  }
  return mvs_build_concat(graph, parts, count, axis, node->type.segments, node->span);
}

/* --- sums --- */

/* The sum that an input is, by itself or reshaped; NULL when it is none over outer axes or
 * something else takes it. */
static const mvs_node *outer_sum(const mvs_match *match, int index) {
  const mvs_node *node = mvs_match_input(match, index);
  if (match->copied == MVS_NONE) return NULL;
  const mvs_graph *from = match->source->graph;
  mvs_id taken = mvs_graph_node(from, match->copied)->inputs[index];
  for (;;) {
    if (match->source->users[taken] != 1) return NULL;
    if (mvs_graph_node(from, taken)->op != MVS_OP_reshape) break;
    taken = mvs_graph_node(from, taken)->inputs[0];
  }
  if (node->op == MVS_OP_reshape) node = mvs_graph_node(match->graph, node->inputs[0]);
  if (node->op != MVS_OP_sum) return NULL;
  uint32_t last = UINT32_C(1) << (node->type.rank - 1);
  return node->attr.axes.mask & ~last ? node : NULL;
}

/* The gradients of a weight that a rule uses many times would each be stored for their sum.
 * Each sum has the shape of both added: of [6] and [6, 1] all pairs are, which is no sum of so
 * few. */
bool mvs_guard_sum_of_sums(mvs_match *match) {
  const mvs_type *added = &match->node->type;
  for (int i = 0; i < 2; i++) {
    if (!mvs_type_same_shape(added, &mvs_match_input(match, i)->type)) return false;
  }
  const mvs_node *a = outer_sum(match, 0), *b = outer_sum(match, 1);
  if (!a || !b || a == b || a->attr.axes.mask != b->attr.axes.mask) return false;
  match->a = a->inputs[0];
  match->b = b->inputs[0];
  match->number = a->attr.axes.mask;
  return mvs_type_equal(mvs_graph_type(match->graph, match->a),
                        mvs_graph_type(match->graph, match->b));
}
mvs_id mvs_build_sum_of_sums(mvs_graph *graph, const mvs_match *match) {
  mvs_span span = match->node->span;
  mvs_id both = mvs_build_binary(graph, MVS_OP_add, match->a, match->b, span);
  mvs_id sum = mvs_build_sum(graph, both, (uint32_t)match->number, span);
  sum = mvs_build_reshape(graph, sum, &match->node->type, span);
  return mvs_fit(graph, sum, &match->node->type, span);
}

/* Some of the axes summed over have one element. */
bool mvs_guard_sum_of_one(mvs_match *match) {
  const mvs_type *type = &mvs_match_input(match, 0)->type;
  match->number = match->node->attr.axes.mask;
  for (int i = 0; i < type->rank; i++) {
    if (is_one(type->dims[i])) match->number &= ~(INT64_C(1) << i);
  }
  match->a = match->node->inputs[0];
  return match->number != match->node->attr.axes.mask;
}
mvs_id mvs_build_sum_of_one(mvs_graph *graph, const mvs_match *match) {
  if (match->number == 0) return becomes_a(graph, match);
  mvs_id made = mvs_build_sum(graph, match->a, (uint32_t)match->number, match->node->span);
  return mvs_fit(graph, made, &match->node->type, match->node->span);
}

/* sum axes(0, 1, 2) %x   ->   sum axes(0) (sum axes(1) (sum axes(2) %x))
 * Kernels reduce one axis each, and the order is the one that docs/numerics.md states. */
bool mvs_guard_sum_in_stages(mvs_match *match) {
  uint32_t mask = match->node->attr.axes.mask;
  return (mask & (mask - 1)) != 0;
}
/* The batch and all axes before it as one, if all are summed over: of a stacked value, whose
 * layers come first, neither can be walked without the other. Else 0; the number of axes
 * joined. */
static int joined_axes(const mvs_type *type, uint32_t mask) {
  int batch = 0;
  while (batch < type->rank && !type->dims[batch].per_batch) batch++;
  if (batch == type->rank || batch == 0) return 0;
  uint32_t all = (2u << batch) - 1;
  return (mask & all) == all ? batch + 1 : 0;
}

/* sum axes(0, 1) %x : [L, B, C]   ->   reshape (sum axes(0) (reshape %x : [L B, C])) */
static mvs_id sum_joined(mvs_graph *graph, mvs_id sum, int count, const mvs_match *match) {
  mvs_type type = *mvs_graph_type(graph, sum);
  for (int i = 0; i + 1 < count; i++) type.dims[count - 1].size *= type.dims[i].size;
  for (int i = count - 1; i < type.rank; i++) type.dims[i - count + 1] = type.dims[i];
  type.rank = (uint8_t)(type.rank - count + 1);
  type.segments = NULL;
  mvs_id flat = mvs_build_reshape(graph, sum, &type, match->node->span);
  flat = mvs_build_sum(graph, flat, 1, match->node->span);
  return mvs_build_reshape(graph, flat, &match->node->type, match->node->span);
}

/* From the right: the last axis leaves the fewest values for the others. */
mvs_id mvs_build_sum_in_stages(mvs_graph *graph, const mvs_match *match) {
  mvs_id sum = match->node->inputs[0];
  uint32_t mask = match->node->attr.axes.mask;
  int joined = joined_axes(mvs_graph_type(graph, sum), mask);
  for (int axis = MVS_MAX_RANK - 1; axis >= joined; axis--) {
    uint32_t bit = mask & 1u << axis;
    if (bit) sum = mvs_build_sum(graph, sum, bit, match->node->span);
  }
  return joined ? sum_joined(graph, sum, joined, match) : sum;
}

/* A sum over a short outer axis behind the batch: of segments, say.
 *   sum axes(1) %x : [B, 2, C]   ->   add (slice 0 of %x), (slice 1 of %x)
 * Elementwise, it becomes part of whatever kernel reads it. Tokens go by segment, and what is
 * sliced before the batch would lie at offsets that grow with it. The last axis is summed by
 * rows, where neighbours lie side by side. */
bool mvs_guard_sum_of_few(mvs_match *match) {
  const mvs_type *type = &mvs_match_input(match, 0)->type;
  uint32_t mask = match->node->attr.axes.mask;
  if (type->segments || type->rank == 0 || mask == 0 || (mask & (mask - 1))) return false;
  int axis = __builtin_ctz(mask);
  for (int i = axis; i < type->rank; i++) {
    if (type->dims[i].per_batch) return false;
  }
  return axis + 1 < type->rank && type->dims[axis].size > 1 &&
         type->dims[axis].size <= FEW_SUMMED;
}
/* The tree of a reduction kernel, by halves: (0 + 2) + (1 + 3). It starts from FEW_SUMMED, not
 * from the count, so that three terms are (0 + 2) + 1 as sixteen lanes would have it. */
mvs_id mvs_build_sum_of_few(mvs_graph *graph, const mvs_match *match) {
  mvs_id parts[FEW_SUMMED], from = match->node->inputs[0];
  int axis = __builtin_ctz(match->node->attr.axes.mask), step = FEW_SUMMED;
  int count = (int)mvs_graph_type(graph, from)->dims[axis].size;
  mvs_span span = match->node->span;
  for (int i = 0; i < count; i++) {
    parts[i] = mvs_build_slice(graph, from, axis, i, 1, NULL, span);
  }
  while ((step /= 2) > 0) {
    for (int i = 0; i < step && i + step < count; i++) {
      parts[i] = mvs_build_binary(graph, MVS_OP_add, parts[i], parts[i + step], span);
    }
  }
  return parts[0];
}

/* A sum over the last axis alone of a concat along it. */
bool mvs_guard_sum_by_parts(mvs_match *match) {
  const mvs_node *concat = mvs_match_input(match, 0);
  return mvs_has_equal_parts(match->graph, concat) &&
         match->node->attr.axes.mask == 1u << (concat->type.rank - 1);
}
mvs_id mvs_build_sum_by_parts(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *concat = mvs_match_input(match, 0);
  mvs_span span = match->node->span;
  mvs_id total = MVS_NONE;
  for (int i = 0; i < concat->input_count; i++) {
    mvs_id sum = mvs_build_sum(graph, concat->inputs[i], match->node->attr.axes.mask, span);
    total = total == MVS_NONE ? sum : mvs_build_binary(graph, MVS_OP_add, total, sum, span);
  }
  return total;
}

/* --- elements through views --- */

/* A function of one value that was reshaped:   cast (reshape %x)   ->   reshape (cast %x)
 * The function joins the kernel that makes x, and reshapes meet and become one. */
bool mvs_guard_reshape_last(mvs_match *match) {
  const mvs_node *node = match->node;
  return mvs_is_element(node) && node->input_count == 1 &&
         mvs_match_input(match, 0)->op == MVS_OP_reshape;
}
mvs_id mvs_build_reshape_last(mvs_graph *graph, const mvs_match *match) {
  mvs_id made = mvs_again(graph, match, mvs_match_input(match, 0)->inputs);
  return mvs_build_reshape(graph, made, &match->node->type, match->node->span);
}

/* A concat along the last axis, not one of tokens, whose parts element_by_parts leaves alone
 * because their lengths differ: cast (concat %a, %b)   ->   concat (cast %a), (cast %b).
 * Each part is then rounded by the kernel that makes it, and written in 2 bytes. */
bool mvs_guard_cast_by_parts(mvs_match *match) {
  const mvs_node *concat = mvs_match_input(match, 0);
  int last = concat->type.rank - 1;
  return concat->op == MVS_OP_concat && concat->attr.concat.axis == last &&
         !(last == 1 && concat->type.segments) && !mvs_has_equal_parts(match->graph, concat);
}
mvs_id mvs_build_cast_by_parts(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node, *concat = mvs_match_input(match, 0);
  mvs_id parts[MVS_MAX_INPUTS];
  for (int i = 0; i < concat->input_count; i++) {
    parts[i] = mvs_build_cast(graph, concat->inputs[i], node->attr.cast.dtype, node->span);
  }
  return mvs_build_concat(graph, parts, concat->input_count, concat->attr.concat.axis,
                          node->type.segments, node->span);
}

/* True when an operand has one element, or none of its own, along the result's last axis. */
static bool stretches_over_last(const mvs_type *type) {
  return type->rank == 0 || is_one(type->dims[type->rank - 1]);
}

/* An elementwise op with an operand that is a concat of equal parts along the last axis; every
 * other operand is stretched over that axis or has it in full, and can be sliced.
 *   mul (concat %a, %b), %w   ->   concat (mul %a, (slice 0 %w)), (mul %b, (slice 1 %w))
 * Only equal parts, because the pieces then share one space of iteration and one kernel: RoPE's
 * halves, with the norm behind them. */
bool mvs_guard_element_by_parts(mvs_match *match) {
  const mvs_node *node = match->node;
  if (!mvs_is_element(node) || node->type.rank == 0) return false;
  int64_t extent = node->type.dims[node->type.rank - 1].size;
  match->number = -1;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_node *input = mvs_match_input(match, i);
    if (stretches_over_last(&input->type)) continue;
    if (input->type.dims[input->type.rank - 1].size != extent) return false;
    if (match->number < 0 && mvs_has_equal_parts(match->graph, input)) {
      match->number = i;
    }
  }
  return match->number >= 0;
}

/* Part `index` of `count` equal ones of an operand. */
static mvs_id operand_part(mvs_graph *graph, const mvs_match *match, int input, int index,
                           int count) {
  const mvs_node *node = mvs_match_input(match, input);
  if (stretches_over_last(&node->type)) return match->node->inputs[input];
  bool same = node->input_count == count && mvs_has_equal_parts(graph, node);
  if (same) return node->inputs[index];
  int last = node->type.rank - 1;
  int64_t length = node->type.dims[last].size / count;
  return mvs_build_slice(graph, match->node->inputs[input], last, index * length, length,
                         node->type.segments, match->node->span);
}

/* By parts a norm is a product: the rms is that of all parts together. */
mvs_id mvs_build_element_by_parts(mvs_graph *graph, const mvs_match *match) {
  const mvs_node *node = match->node;
  int count = mvs_match_input(match, (int)match->number)->input_count;
  mvs_op op = node->op == MVS_OP_normalize ? MVS_OP_mul : node->op;
  mvs_id *parts = MVS_ARRAY(mvs_graph_arena(graph), (size_t)count, mvs_id);
  for (int index = 0; index < count; index++) {
    mvs_id inputs[3];
    for (int i = 0; i < node->input_count; i++) {
      inputs[i] = operand_part(graph, match, i, index, count);
    }
    parts[index] = mvs_graph_add(graph, op, inputs, node->input_count, &node->attr, node->span);
  }
  mvs_id made = mvs_build_concat(graph, parts, count, node->type.rank - 1, node->type.segments,
                                 node->span);
  return mvs_fit(graph, made, &node->type, node->span);
}
