/* fuse_values.c: what each node is to fusion, and which values must lie in memory: results of
 * the graph, what products, attentions and regions take, parts of concats, and what all of
 * these name through views. Anything else exists inside kernels unless a later step stores it.
 * */
#include "compiler/passes/fuse.h"
#include "compiler/passes/strides.h"

static const mvs_node *node_of(const mvs_fuse *fuse, mvs_id id) {
  return mvs_graph_node(fuse->graph, id);
}

bool mvs_value_is_computed(const mvs_value *value) {
  return value->kind == MVS_VALUE_FREE || value->kind == MVS_VALUE_ELEMENT ||
         value->kind == MVS_VALUE_VIEW || value->kind == MVS_VALUE_ROW;
}

/* A reshape that must be in memory names the bytes of its input. */
void mvs_fuse_store(mvs_fuse *fuse, mvs_id id) {
  mvs_value *value = &fuse->values[id];
  if (value->kind == MVS_VALUE_VIEW && node_of(fuse, id)->op == MVS_OP_reshape) {
    value->kind = MVS_VALUE_ALIAS;
    value->root = fuse->values[node_of(fuse, id)->inputs[0]].root;
  }
  value->stored = true;
  if (value->root != id) mvs_fuse_store(fuse, value->root);
}

/* What depends on a row reduction is computed where the row is: r [B, T, 1] of z [B, T, C] in
 * the space [B, T, C]. */
const mvs_type *mvs_fuse_space(const mvs_fuse *fuse, mvs_id id) {
  const mvs_value *value = &fuse->values[id];
  return value->rows ? value->rows : mvs_graph_type(fuse->graph, id);
}

void mvs_fuse_walk(mvs_fuse *fuse) { fuse->walk++; }

bool mvs_fuse_meets(mvs_fuse *fuse, mvs_id id) {
  if (fuse->stamps[id] == fuse->walk) return false;
  fuse->stamps[id] = fuse->walk;
  return true;
}

mvs_row_fit mvs_type_row_fit(const mvs_type *rows, const mvs_type *type) {
  if (rows->rank != type->rank || rows->rank == 0) return MVS_ROW_NONE;
  int last = rows->rank - 1;
  for (int i = 0; i < last; i++) {
    if (!mvs_dim_equal(rows->dims[i], type->dims[i])) return MVS_ROW_NONE;
  }
  if (mvs_dim_equal(rows->dims[last], type->dims[last])) return MVS_ROW_FULL;
  if (type->dims[last].per_batch || rows->dims[last].per_batch) return MVS_ROW_NONE;
  if (type->dims[last].size == 1) return MVS_ROW_SCALAR;
  return rows->dims[last].size % type->dims[last].size ? MVS_ROW_NONE : MVS_ROW_PART;
}

/* --- what is needed --- */

static void use(mvs_fuse *fuse, mvs_id id) { fuse->values[id].uses++; }

/* Users have larger ids, so that one sweep from the end counts all uses. A node used by nobody
 * needed stays at 0 and is no value at all. */
static void count_uses(mvs_fuse *fuse) {
  const mvs_results *results = mvs_graph_results(fuse->graph);
  for (size_t i = 0; i < results->count; i++) use(fuse, results->items[i].id);
  for (mvs_id id = fuse->size; id-- > 0;) {
    if (fuse->values[id].uses == 0) continue;
    const mvs_node *node = node_of(fuse, id);
    for (int i = 0; i < node->input_count; i++) use(fuse, node->inputs[i]);
  }
}

/* An attention kernel writes all of its results, so that each needs a place. */
static void take_all_results(mvs_graph *graph) {
  mvs_id size = mvs_graph_size(graph);
  for (mvs_id id = 0; id < size; id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (!mvs_op_is_tuple(node->op) || node->op == MVS_OP_region) continue;
    uint32_t results = mvs_node_result_count(graph, id);
    mvs_graph_set_pass(graph, node->pass);
    for (uint32_t i = 0; i < results; i++) mvs_build_get(graph, id, i, node->span);
  }
  mvs_graph_set_pass(graph, 0);
}

/* --- kinds --- */

static bool is_placed(mvs_value_kind kind) {
  return kind == MVS_VALUE_PLACED || kind == MVS_VALUE_HEAVY || kind == MVS_VALUE_ALIAS ||
         kind == MVS_VALUE_CONCAT || kind == MVS_VALUE_COLUMN;
}

bool mvs_slice_is_contiguous(const mvs_node *node) {
  for (int i = 0; i < node->attr.slice.axis; i++) {
    if (node->type.dims[i].per_batch || node->type.dims[i].size != 1) return false;
  }
  return true;
}

static bool moves(mvs_dim dim) { return dim.size > 1 || dim.per_batch; }

/* True when every axis of `from` that moves becomes one or several axes of `to`: then the index
 * into `from` is affine in that into `to`. [B, T, 64] -> [B, T, 4, 16] is such a one; of the
 * way back the head and the place in it are a quotient and a rest. */
static bool only_splits(const mvs_type *from, const mvs_type *to) {
  int axis = 0;
  for (int i = 0; i < from->rank; i++) {
    if (!moves(from->dims[i])) continue;
    mvs_dim product = {1, false};
    while (axis < to->rank && !mvs_dim_equal(product, from->dims[i])) {
      product.size *= to->dims[axis].size;
      product.per_batch = product.per_batch || to->dims[axis].per_batch;
      axis++;
    }
    if (!mvs_dim_equal(product, from->dims[i])) return false;
  }
  return true;
}

/* A reshape of a value that no kernel stores is worked out inside its users where that is
 * simple; elsewhere it names the bytes of its input, which then must have some. */
static bool reshape_is_view(const mvs_fuse *fuse, const mvs_node *node) {
  const mvs_type *from = mvs_graph_type(fuse->graph, node->inputs[0]);
  return mvs_value_is_computed(&fuse->values[node->inputs[0]]) &&
         only_splits(from, &node->type);
}

static bool reduces_last_axis(const mvs_fuse *fuse, const mvs_node *node) {
  const mvs_type *type = mvs_graph_type(fuse->graph, node->inputs[0]);
  int last = type->rank - 1;
  if (node->op == MVS_OP_inv_rms) return true;
  return node->attr.axes.mask == 1u << last && !type->dims[last].per_batch;
}

bool mvs_reduces_nothing(const mvs_graph *graph, const mvs_node *node) {
  const mvs_type *type = mvs_graph_type(graph, node->inputs[0]);
  if (node->op != MVS_OP_sum && node->op != MVS_OP_max_over) return false;
  for (int i = 0; i < type->rank; i++) {
    if ((node->attr.axes.mask >> i & 1) && moves(type->dims[i])) return false;
  }
  return true;
}

int64_t mvs_type_last_extent(const mvs_type *type) {
  return type->rank == 0 || type->dims[type->rank - 1].per_batch
             ? 1
             : type->dims[type->rank - 1].size;
}

/* A concat along the last axis can be inside a kernel, when its parts are few pieces of a row:
 * each piece is code of its own in the kernel, all of one length. Parts of 64 and 32 elements
 * are three pieces of 32. */
static bool concat_fits_inside(const mvs_fuse *fuse, const mvs_node *node) {
  int last = node->type.rank - 1;
  if (node->attr.concat.axis != last || node->type.dims[last].per_batch) return false;
  int64_t piece = node->type.dims[last].size;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_type *part = mvs_graph_type(fuse->graph, node->inputs[i]);
    piece = mvs_common_divisor(piece, part->dims[last].size);
  }
  return node->type.dims[last].size / piece <= MVS_MOST_PIECES;
}

/* It should be inside when kernels read it per element, or when a part needs the whole row, as
 * each half of a rotated head does for the norm. Else its parts are written into their places
 * by the kernels that make them, which need not be one. */
static bool concat_is_inside(const mvs_fuse *fuse, mvs_id id, bool read_by_element) {
  const mvs_node *node = node_of(fuse, id);
  if (!concat_fits_inside(fuse, node)) return false;
  if (read_by_element) return true;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_type *rows = fuse->values[node->inputs[i]].rows;
    if (rows && mvs_type_row_fit(rows, &node->type) == MVS_ROW_FULL) return true;
  }
  return false;
}

/* A constant of the model has no place among the parameters: kernels know its value. */
static bool param_is_trained(const mvs_fuse *fuse, const mvs_node *node) {
  return mvs_graph_module(fuse->graph)->params.items[node->attr.param.index].trained;
}

/* By op, and for what moves elements by where its input is. `read_by_element` is asked of
 * concats alone. */
static mvs_value_kind kind_of(const mvs_fuse *fuse, mvs_id id, bool read_by_element) {
  const mvs_node *node = node_of(fuse, id);
  switch (node->op) {
    case MVS_OP_input:
      return MVS_VALUE_PLACED;
    case MVS_OP_param:
      return param_is_trained(fuse, node) ? MVS_VALUE_PLACED : MVS_VALUE_FREE;
    case MVS_OP_argument:
      return node->attr.argument.kind == MVS_ARG_LAYER ? MVS_VALUE_FREE : MVS_VALUE_PLACED;
    case MVS_OP_constant:
    case MVS_OP_iota:
      return MVS_VALUE_FREE;
    case MVS_OP_sum:
    case MVS_OP_max_over:
    case MVS_OP_inv_rms:
      if (mvs_reduces_nothing(fuse->graph, node)) return MVS_VALUE_ELEMENT;
      return reduces_last_axis(fuse, node) ? MVS_VALUE_ROW : MVS_VALUE_COLUMN;
    case MVS_OP_segment_sum:
    case MVS_OP_segment_mean:
      return MVS_VALUE_COLUMN;
    case MVS_OP_reshape:
      return reshape_is_view(fuse, node) ? MVS_VALUE_VIEW : MVS_VALUE_ALIAS;
    case MVS_OP_slice:
      if (is_placed(fuse->values[node->inputs[0]].kind) && mvs_slice_is_contiguous(node)) {
        return MVS_VALUE_ALIAS;
      }
      return MVS_VALUE_VIEW;
    case MVS_OP_concat:
      return concat_is_inside(fuse, id, read_by_element) ? MVS_VALUE_VIEW : MVS_VALUE_CONCAT;
    case MVS_OP_transpose:
    case MVS_OP_pad:
    case MVS_OP_segment_broadcast:
    case MVS_OP_segment_spread:
      return MVS_VALUE_VIEW;
    case MVS_OP_get:
    case MVS_OP_matmul:
      return MVS_VALUE_HEAVY;
    default:
      return mvs_op_is_tuple(node->op) ? MVS_VALUE_TUPLE : MVS_VALUE_ELEMENT;
  }
}

/* The row space of a value while nothing is stored: only to decide about concats. Levels decide
 * anew. */
static const mvs_type *first_rows(const mvs_fuse *fuse, mvs_id id) {
  const mvs_node *node = node_of(fuse, id);
  mvs_value_kind kind = fuse->values[id].kind;
  if (kind == MVS_VALUE_ROW) return mvs_graph_type(fuse->graph, node->inputs[0]);
  if (kind != MVS_VALUE_ELEMENT && kind != MVS_VALUE_VIEW) return NULL;
  if (node->op == MVS_OP_reshape) return NULL;
  for (int i = 0; i < node->input_count; i++) {
    if (fuse->values[node->inputs[i]].rows) return fuse->values[node->inputs[i]].rows;
  }
  return NULL;
}

/* Marks nodes that some needed node reads element by element, and none as a whole: what a heavy
 * op takes must lie in memory anyway, and is read from there. So a concat that feeds both a
 * norm and a product is written once, by its parts, and the norm loads it. */
static bool *find_element_reads(mvs_fuse *fuse) {
  bool *read = MVS_ARRAY(fuse->arena, fuse->size + 1, bool);
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    mvs_op_class op_class = mvs_ops[node->op].op_class;
    bool reads = op_class == MVS_CLASS_ELEMENT || op_class == MVS_CLASS_REDUCE ||
                 op_class == MVS_CLASS_SEGMENT;
    if (!reads || fuse->values[id].uses == 0) continue;
    for (int i = 0; i < node->input_count; i++) read[node->inputs[i]] = true;
  }
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (mvs_ops[node->op].op_class != MVS_CLASS_HEAVY || fuse->values[id].uses == 0) continue;
    for (int i = 0; i < node->input_count; i++) read[node->inputs[i]] = false;
  }
  return read;
}

/* The first `get` of each result stands for all: recomputed passes may have their own nodes. */
static mvs_id first_get(mvs_fuse *fuse, mvs_id **gets, mvs_id id) {
  const mvs_node *node = node_of(fuse, id);
  mvs_id tuple = node->inputs[0];
  if (!gets[tuple]) {
    uint32_t results = mvs_node_result_count(fuse->graph, tuple);
    gets[tuple] = MVS_ARRAY(fuse->arena, results, mvs_id);
    for (uint32_t i = 0; i < results; i++) gets[tuple][i] = MVS_NONE;
  }
  mvs_id *first = &gets[tuple][node->attr.index.value];
  if (*first == MVS_NONE) *first = id;
  return *first;
}

/* Upwards: what a reshape or a slice is depends on what its input is. */
static void find_kinds(mvs_fuse *fuse) {
  bool *read = find_element_reads(fuse);
  mvs_id **gets = MVS_ARRAY(fuse->arena, fuse->size + 1, mvs_id *);
  for (mvs_id id = 0; id < fuse->size; id++) {
    mvs_value *value = &fuse->values[id];
    value->root = id;
    value->kernel = -1;
    value->grain = mvs_type_last_extent(mvs_graph_type(fuse->graph, id));
    if (value->uses == 0) continue;
    value->kind = kind_of(fuse, id, read[id]);
    value->rows = first_rows(fuse, id);
    if (node_of(fuse, id)->op == MVS_OP_get) {
      value->root = first_get(fuse, gets, id);
      if (value->root != id) value->kind = MVS_VALUE_ALIAS;
    }
    if (value->kind == MVS_VALUE_ALIAS && value->root == id) {
      value->root = fuse->values[node_of(fuse, id)->inputs[0]].root;
    }
    value->stored = is_placed(value->kind);
  }
}

/* --- what attention reads in place --- */

#define MOST_VIEWS 8 /* slices and reshapes between a value and attention */

static bool is_attention(mvs_op op) {
  return op == MVS_OP_attention || op == MVS_OP_attention_grad;
}

/* True when all that takes the value, `above` aside, can do so with gaps between its rows:
 * attention, and kernels that load element by element. Products and results cannot. */
static bool stands_gaps(const mvs_fuse *fuse, mvs_id id, mvs_id above) {
  const mvs_results *results = mvs_graph_result_list(fuse->graph);
  for (size_t i = 0; i < results->count; i++) {
    if (results->items[i].id == id) return false;
  }
  for (mvs_id user = id + 1; user < fuse->size; user++) {
    const mvs_node *node = node_of(fuse, user);
    mvs_op_class op_class = mvs_ops[node->op].op_class;
    bool loads = op_class == MVS_CLASS_ELEMENT || op_class == MVS_CLASS_REDUCE ||
                 op_class == MVS_CLASS_SEGMENT || is_attention(node->op);
    if (loads || user == above || fuse->values[user].uses == 0) continue;
    for (int i = 0; i < node->input_count; i++) {
      if (node->inputs[i] == id) return false;
    }
  }
  return true;
}

/* The views between an operand of attention and a placed value, the uppermost first; how many
 * there are, 0 when nothing is to be done. */
static int find_views(const mvs_fuse *fuse, mvs_id id, mvs_id *views, mvs_id *base) {
  int count = 0;
  bool moved = false;
  for (;; id = node_of(fuse, id)->inputs[0]) {
    mvs_op op = node_of(fuse, id)->op;
    if (op != MVS_OP_slice && op != MVS_OP_reshape) break;
    if (count == MOST_VIEWS) return 0;
    if (fuse->values[id].kind == MVS_VALUE_VIEW) moved = true;
    views[count++] = id;
  }
  *base = id;
  return moved && is_placed(fuse->values[id].kind) ? count : 0;
}

/* True when attention can read the uppermost view where the placed value is. Strides are taken
 * through the views from the value upwards; a slice changes the offset alone. */
static bool fits_in_place(const mvs_fuse *fuse, const mvs_id *views, int count, mvs_id base) {
  int64_t strides[MVS_MAX_RANK], next[MVS_MAX_RANK];
  mvs_id from = base;
  mvs_strides_whole(mvs_graph_type(fuse->graph, base), strides);
  for (int i = count; i-- > 0; from = views[i]) {
    const mvs_node *node = node_of(fuse, views[i]);
    if (!stands_gaps(fuse, views[i], i ? views[i - 1] : MVS_NONE)) return false;
    if (node->op == MVS_OP_slice) continue;
    if (!mvs_strides_reshape(mvs_graph_type(fuse->graph, from), strides, &node->type, next)) {
      return false;
    }
    memcpy(strides, next, sizeof strides);
  }
  return mvs_strides_fit_heads(mvs_graph_type(fuse->graph, views[0]), strides);
}

/* Slices that attention reads become aliases, which need no copy: q, k and v in the result of
 * one product.
 *   %p [B, T, 192],  %s = slice start=128 length=64 %p,  %v = reshape %s : [B, T, 4, 16]
 *   %v has strides (192 T, 192, 16, 1) and the offset 128 in the bytes of %p */
static void read_in_place(mvs_fuse *fuse, mvs_id id) {
  mvs_id views[MOST_VIEWS], base;
  int count = find_views(fuse, id, views, &base);
  if (count == 0 || !fits_in_place(fuse, views, count, base)) return;
  for (int i = 0; i < count; i++) {
    mvs_value *value = &fuse->values[views[i]];
    value->kind = MVS_VALUE_ALIAS;
    value->root = fuse->values[base].root;
    value->stored = true;
  }
}

static void read_all_in_place(mvs_fuse *fuse) {
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (!is_attention(node->op) || fuse->values[id].uses == 0) continue;
    for (int i = 0; i < node->input_count; i++) read_in_place(fuse, node->inputs[i]);
  }
}

/* --- what must be stored --- */

static void store_inputs(mvs_fuse *fuse, const mvs_node *node) {
  for (int i = 0; i < node->input_count; i++) mvs_fuse_store(fuse, node->inputs[i]);
}

/* Roots last: storing a reshape makes an alias of it (mvs_fuse_store), also one whose root was
 * an alias itself, so that roots are followed once more, upwards. */
static void store_what_must_be(mvs_fuse *fuse) {
  const mvs_results *results = mvs_graph_results(fuse->graph);
  for (size_t i = 0; i < results->count; i++) mvs_fuse_store(fuse, results->items[i].id);
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    mvs_value_kind kind = fuse->values[id].kind;
    if (kind == MVS_VALUE_UNUSED) continue;
    bool heavy = mvs_ops[node->op].op_class == MVS_CLASS_HEAVY;
    if (heavy || kind == MVS_VALUE_ALIAS || kind == MVS_VALUE_CONCAT) store_inputs(fuse, node);
    /* Its border cuts the kernel's space, which others in that kernel would not stand. */
    if (node->op == MVS_OP_pad) mvs_fuse_store(fuse, id);
  }
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (fuse->values[id].kind != MVS_VALUE_ALIAS) continue;
    mvs_id from = node->op == MVS_OP_get ? fuse->values[id].root : node->inputs[0];
    fuse->values[id].root = fuse->values[from].root;
  }
}

/* Kernels reduce one axis at a time; a simplify rule splits the others. */
static mvs_status check_reductions(mvs_fuse *fuse) {
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (fuse->values[id].kind != MVS_VALUE_COLUMN || node->op == MVS_OP_segment_sum ||
        node->op == MVS_OP_segment_mean) {
      continue;
    }
    uint32_t mask = node->attr.axes.mask;
    if (mask && !(mask & (mask - 1))) continue;
    mvs_diag_error(fuse->diag, node->span, "fuse: %%%u reduces several axes at once", id);
    return MVS_ERR_INTERNAL;
  }
  return MVS_OK;
}

/* True for a window or a concat of layers of a stacked value: places before the batch axis
 * would be offsets that grow with the batch. */
static bool parts_layers(const mvs_node *node) {
  bool window = node->op == MVS_OP_slice || node->op == MVS_OP_pad;
  if (!window && node->op != MVS_OP_concat) return false;
  int axis = window ? node->attr.slice.axis : node->attr.concat.axis;
  for (int i = axis + 1; i < node->type.rank; i++) {
    if (node->type.dims[i].per_batch) return true;
  }
  return false;
}

static mvs_status check_views(mvs_fuse *fuse) {
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (fuse->values[id].kind == MVS_VALUE_UNUSED || !parts_layers(node)) continue;
    mvs_diag_error(fuse->diag, node->span, "fuse: %%%u takes a batched stack apart", id);
    return MVS_ERR_INTERNAL;
  }
  return MVS_OK;
}

mvs_status mvs_fuse_values(mvs_fuse *fuse) {
  take_all_results(fuse->graph);
  fuse->size = mvs_graph_size(fuse->graph);
  fuse->values = MVS_ARRAY(fuse->arena, fuse->size + 1, mvs_value);
  fuse->stamps = MVS_ARRAY(fuse->arena, fuse->size + 1, uint32_t);
  count_uses(fuse);
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_node *node = node_of(fuse, id);
    if (node->op != MVS_OP_get) continue;
    mvs_id tuple = node->inputs[0];
    bool whole = node_of(fuse, tuple)->op != MVS_OP_region && fuse->values[tuple].uses > 0;
    if (whole && fuse->values[id].uses == 0) use(fuse, id);
  }
  find_kinds(fuse);
  read_all_in_place(fuse);
  store_what_must_be(fuse);
  MVS_TRY(check_views(fuse));
  return check_reductions(fuse);
}
