/* fuse_levels.c: when each value can exist, and which values need a place for that.
 *
 * A value is computed inside every kernel that takes it unless it is stored. That fails where
 *   - it depends on a reduction over rows of another shape than the kernel's space,
 *   - it depends on segment views that the kernel cannot number its tokens for,
 *   - inner concats and pieces of rows cut the kernel's rows into too many parts,
 *   - it loads more values than a kernel may have operands,
 *   - it stands behind more row reductions than a kernel has phases.
 * There something on the way is stored. For row reductions `settle` looks for the cheapest cut;
 * in the other cases it is the value itself, and it is kept apart: its users load it even where
 * one kernel could hold both.
 *
 * Nodes are visited in order, so that inputs are settled before their users. Storing a value
 * later on changes what its users may load, but never their own levels: a kernel of level n
 * computes again what other kernels of level n store. */
#include "compiler/passes/crossing.h"
#include "compiler/passes/fuse.h"

/* Operands of a kernel are at most 120 (kernel.h); stores and merged siblings need room as
 * well, and a slice of a long row is an operand for each of its pieces. */
#define MOST_LEAVES 56
/* Each reduction is a phase, of which a nest has 64 (codegen/kernel.h). */
#define MOST_CHAIN 56

typedef struct levels {
  mvs_fuse *fuse;
  mvs_id_list *leaves; /* per node: what it loads when computed in another space, in id order */
  bool *open;          /* per node: taking it means doing a row reduction */
  bool *counts;        /* per node: taking it means knowing an element's index */
  mvs_id_list pending; /* work list of `settle` */
  mvs_id_list met;
} levels;

static const mvs_node *node_of(const levels *l, mvs_id id) {
  return mvs_graph_node(l->fuse->graph, id);
}

static mvs_value *value_of(const levels *l, mvs_id id) { return &l->fuse->values[id]; }

static int most(int a, int b) { return a > b ? a : b; }

/* --- leaves --- */

/* The union of two sets in id order. */
static void merge_leaves(levels *l, mvs_id_list *into, const mvs_id_list *other) {
  mvs_id_list merged = {0};
  size_t a = 0, b = 0;
  while (a < into->count || b < other->count) {
    bool take_a = b == other->count || (a < into->count && into->items[a] <= other->items[b]);
    mvs_id id = take_a ? into->items[a++] : other->items[b++];
    if (merged.count && merged.items[merged.count - 1] == id) continue;
    MVS_PUSH(l->fuse->arena, &merged, id);
  }
  *into = merged;
}

/* What a kernel of another space loads to have the value. A set that repeats an input's is
 * shared with it: only true unions take memory. */
static void find_leaves(levels *l, mvs_id id) {
  mvs_value *value = value_of(l, id);
  mvs_id_list set = {0};
  if (value->stored) {
    MVS_PUSH(l->fuse->arena, &set, id);
  } else {
    const mvs_node *node = node_of(l, id);
    for (int i = 0; i < node->input_count; i++) {
      const mvs_id_list *more = &l->leaves[node->inputs[i]];
      if (set.count == 0) {
        set = *more;
      } else if (more->items != set.items && more->count > 0) {
        merge_leaves(l, &set, more);
      }
    }
  }
  l->leaves[id] = set;
}

/* Loads at least as large as the value itself. */
static int full_leaves(const levels *l, mvs_id id) {
  bool batched;
  int64_t own = mvs_type_elements(mvs_graph_type(l->fuse->graph, id), &batched);
  int count = 0;
  for (size_t i = 0; i < l->leaves[id].count; i++) {
    bool leaf_batched;
    const mvs_type *type = mvs_graph_type(l->fuse->graph, l->leaves[id].items[i]);
    int64_t elements = mvs_type_elements(type, &leaf_batched);
    count += leaf_batched == batched ? elements >= own : leaf_batched;
  }
  return count;
}

/* --- storing --- */

/* Works out what follows for users from whether the node is stored: `outside`, leaves, whether
 * taking it still means reducing rows or counting. Called again when that changes. */
static void find_outside(levels *l, mvs_id id) {
  mvs_value *value = value_of(l, id);
  const mvs_node *node = node_of(l, id);
  l->open[id] = value->kind == MVS_VALUE_ROW && !value->stored;
  l->counts[id] = !value->stored && (node->op == MVS_OP_iota || node->op == MVS_OP_random);
  if (value->stored || !mvs_value_is_computed(value)) {
    value->outside = value->level + (mvs_value_is_computed(value) ? 1 : 0);
  } else {
    value->outside = 0;
    for (int i = 0; i < node->input_count; i++) {
      value->outside = most(value->outside, value_of(l, node->inputs[i])->outside);
      l->open[id] = l->open[id] || l->open[node->inputs[i]];
      l->counts[id] = l->counts[id] || l->counts[node->inputs[i]];
    }
  }
  find_leaves(l, id);
}

static void settle(levels *l, mvs_id id);

/* A stored piece of a row has a space of its own, so the row's reductions are stored before. */
static void drop_piece(levels *l, mvs_id id) {
  mvs_value *value = value_of(l, id);
  const mvs_type *type = mvs_graph_type(l->fuse->graph, id);
  if (!value->rows || mvs_type_row_fit(value->rows, type) != MVS_ROW_PART) return;
  settle(l, id);
  value->rows = NULL;
  value->level = value->outside;
}

/* Gives a value a place, in a kernel of its own level and space. A reshape names the bytes of
 * its input, so that one is stored. */
static void store(levels *l, mvs_id id) {
  mvs_value *value = value_of(l, id);
  if (!mvs_value_is_computed(value)) return;
  if (node_of(l, id)->op == MVS_OP_reshape) {
    store(l, node_of(l, id)->inputs[0]);
    value->level = value_of(l, node_of(l, id)->inputs[0])->outside;
  }
  drop_piece(l, id);
  mvs_fuse_store(l->fuse, id);
  find_outside(l, id);
}

/* Stores a value that its user could not compute in one kernel with itself. */
static void store_apart(levels *l, mvs_id id) {
  store(l, id);
  if (mvs_value_is_computed(value_of(l, id))) value_of(l, id)->apart = true;
  mvs_value *root = value_of(l, value_of(l, id)->root);
  if (mvs_value_is_computed(root)) root->apart = true;
}

/* Where to cut below a value that depends on row reductions. Row scalars are small, so the cut
 * is there unless the whole value saves loads. With k users and n loads as large as itself, it
 * costs a store and k loads where it has a place and k * n loads where it has none, beside what
 * the kernel that reduces the rows loads in any case: a place pays from n > 2 on for one user,
 * from n > 1 on for several. Short rows weigh nothing beside those of their users: there it
 * saves work. */
static bool should_store(const levels *l, mvs_id id) {
  const mvs_value *value = value_of(l, id);
  mvs_row_fit fit = mvs_type_row_fit(value->rows, mvs_graph_type(l->fuse->graph, id));
  if (fit == MVS_ROW_SCALAR || value->kind == MVS_VALUE_ROW) return true;
  if (fit != MVS_ROW_FULL || value->kind == MVS_VALUE_VIEW) return false;
  if (mvs_type_last_extent(value->rows) <= MVS_SHORT_ROW) return true;
  return full_leaves(l, id) > (value->uses > 1 ? 1 : 2);
}

/* Looks for the cut further down, along inputs that still reduce rows. */
static void descend(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  for (int i = 0; i < node->input_count; i++) {
    if (!l->open[node->inputs[i]] || !mvs_fuse_meets(l->fuse, node->inputs[i])) continue;
    MVS_PUSH(l->fuse->arena, &l->pending, node->inputs[i]);
  }
}

/* By insertion: a walk meets few nodes, nearly in order. */
static void sort_ids(mvs_id_list *list) {
  for (size_t i = 1; i < list->count; i++) {
    mvs_id id = list->items[i];
    size_t at = i;
    for (; at > 0 && list->items[at - 1] > id; at--) list->items[at] = list->items[at - 1];
    list->items[at] = id;
  }
}

/* Stores enough below `id` that a kernel of another space can take it without row reductions.
 */
static void settle(levels *l, mvs_id id) {
  if (!l->open[id]) return;
  l->pending.count = l->met.count = 0;
  mvs_fuse_walk(l->fuse);
  mvs_fuse_meets(l->fuse, id);
  MVS_PUSH(l->fuse->arena, &l->pending, id);
  while (l->pending.count > 0) {
    mvs_id next = l->pending.items[--l->pending.count];
    if (should_store(l, next)) {
      store(l, next);
    } else {
      MVS_PUSH(l->fuse->arena, &l->met, next);
      descend(l, next);
    }
  }
  sort_ids(&l->met);
  for (size_t i = 0; i < l->met.count; i++) find_outside(l, l->met.items[i]);
}

/* The level at which a kernel of another space can take the value. */
static int take_outside(levels *l, mvs_id id) {
  settle(l, id);
  return value_of(l, id)->outside;
}

/* --- per kind --- */

/* A stored piece of a row needs a space of its own. */
static bool is_stored_piece(const levels *l, mvs_id id, const mvs_type *rows) {
  return value_of(l, id)->stored &&
         mvs_type_row_fit(rows, &node_of(l, id)->type) == MVS_ROW_PART;
}

/* The row space of an element node: that of the first input whose rows fit its shape. A scalar
 * of a row ([B, T, 1] of [B, T, C]) keeps the space of its row, so that what is made of it is
 * done in the kernel that has the row. */
static const mvs_type *choose_rows(const levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  const mvs_type *part = NULL;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_type *rows = value_of(l, node->inputs[i])->rows;
    mvs_row_fit fit = rows ? mvs_type_row_fit(rows, &node->type) : MVS_ROW_NONE;
    if (fit == MVS_ROW_FULL || fit == MVS_ROW_SCALAR) return rows;
    if (fit == MVS_ROW_PART && !is_stored_piece(l, id, rows)) part = rows;
  }
  return part;
}

static bool same_space(const levels *l, mvs_id a, mvs_id b) {
  return mvs_type_same_shape(mvs_fuse_space(l->fuse, a), mvs_fuse_space(l->fuse, b));
}

/* The level at which `id` takes an input: at the input's own when one kernel can hold both. */
static int take(levels *l, mvs_id id, mvs_id input) {
  const mvs_value *value = value_of(l, input);
  bool together = mvs_value_is_computed(value) && !value->apart;
  if (together && same_space(l, id, input)) return value->level;
  return take_outside(l, input);
}

/* Token axes must meet: a table counts along axis 1 of the kernel's space. */
static void take_table(levels *l, mvs_id id, mvs_id input) {
  mvs_value *value = value_of(l, id);
  const mvs_segments *table = value_of(l, input)->table;
  if (!table || value_of(l, input)->stored) return;
  bool aligned = mvs_graph_type(l->fuse->graph, input)->rank == node_of(l, id)->type.rank;
  if (!aligned || (value->table && value->table != table)) {
    store_apart(l, input);
  } else {
    value->table = table;
  }
}

/* Stores large inputs, those with a quarter of the leaves or more, until what the node loads
 * fits a kernel. Their users load them even in kernels of the same space, so they count as
 * taken from outside. */
static int limit_leaves(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  int level = 0;
  find_leaves(l, id);
  if (l->leaves[id].count <= MOST_LEAVES) return 0;
  for (int i = 0; i < node->input_count; i++) {
    mvs_id input = node->inputs[i];
    if (l->leaves[input].count * 4 < MOST_LEAVES) continue;
    store_apart(l, input);
    level = most(level, value_of(l, input)->outside);
  }
  return level;
}

/* The longest chain of reductions behind an input that is not loaded. */
static int longest_chain(const levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  int chain = 0;
  for (int i = 0; i < node->input_count; i++) {
    const mvs_value *input = value_of(l, node->inputs[i]);
    if (!input->apart && mvs_value_is_computed(input)) chain = most(chain, input->chain);
  }
  return chain;
}

/* Cuts a chain where it would be too long for one kernel. All that stands far behind is stored,
 * so that the next one is short again and the cuts are few. */
static void limit_chain(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id);
  if (longest_chain(l, id) >= MOST_CHAIN) {
    for (int i = 0; i < node->input_count; i++) {
      if (value_of(l, node->inputs[i])->chain * 2 >= MOST_CHAIN) {
        store_apart(l, node->inputs[i]);
      }
    }
  }
  value->chain = longest_chain(l, id) + (value->kind == MVS_VALUE_ROW);
}

/* --- pieces of the last axis --- */

static int64_t space_extent(const levels *l, mvs_id id) {
  return mvs_type_last_extent(mvs_fuse_space(l->fuse, id));
}

/* True when a kernel that computes `id` may also compute the input. */
static bool may_hold(const levels *l, mvs_id id, mvs_id input) {
  const mvs_value *value = value_of(l, input);
  return mvs_value_is_computed(value) && (!value->stored || same_space(l, id, input));
}

/* True when an inner concat or a piece of a row cuts the last axis of the value. */
static bool is_cut(const levels *l, mvs_id id) {
  const mvs_value *value = value_of(l, id);
  return mvs_value_is_computed(value) && value->grain < space_extent(l, id);
}

/* True when a step along the node's row is one along the input's: not for one value a row. Of a
 * node that is a piece of its row, inputs of its own shape move along, too: with a concat of
 * [1, 7] in the first 8 of a row of 24, the row of 24 is cut at 1. */
static bool moves_along(const levels *l, mvs_id id, mvs_id input) {
  const mvs_node *node = node_of(l, id);
  int64_t extent = space_extent(l, id), own = space_extent(l, input);
  bool piece = own > 1 && own < extent && own == mvs_type_last_extent(&node->type);
  return node->op == MVS_OP_concat || piece || own == extent;
}

/* The grain of a node, from what it is and what a kernel may hold with it. */
static int64_t grain_of(const levels *l, mvs_id id, bool inputs) {
  const mvs_node *node = node_of(l, id);
  int64_t extent = space_extent(l, id), grain = extent;
  for (int i = 0; i < node->input_count; i++) {
    mvs_id input = node->inputs[i];
    int64_t part = mvs_type_last_extent(mvs_graph_type(l->fuse->graph, input));
    if (node->op == MVS_OP_concat) grain = mvs_common_divisor(grain, part);
    if (inputs && moves_along(l, id, input) && may_hold(l, id, input)) {
      grain = mvs_common_divisor(grain, value_of(l, input)->grain);
    }
  }
  return grain;
}

/* Stores cut inputs when together they would cut too fine: a row in thirds and in halves is one
 * in sixths to the kernel that holds both. */
static int limit_pieces(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id);
  int level = 0;
  value->grain = grain_of(l, id, true);
  if (space_extent(l, id) / value->grain <= MVS_MOST_PIECES) return 0;
  for (int i = 0; i < node->input_count; i++) {
    if (!is_cut(l, node->inputs[i])) continue;
    store_apart(l, node->inputs[i]);
    level = most(level, value_of(l, node->inputs[i])->outside);
  }
  value->grain = grain_of(l, id, false);
  return level;
}

/* Views that move the last axis, and reductions of others, take no cut values. */
static void take_whole(levels *l, mvs_id input) {
  if (is_cut(l, input) && !value_of(l, input)->stored) store_apart(l, input);
}

/* Element nodes and inner concats: in one kernel with every input of their space. */
static void visit_element(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id);
  value->rows = choose_rows(l, id);
  value->level = limit_pieces(l, id);
  for (int i = 0; i < node->input_count; i++) take_table(l, id, node->inputs[i]);
  for (int i = 0; i < node->input_count; i++) {
    value->level = most(value->level, take(l, id, node->inputs[i]));
  }
  value->level = most(value->level, limit_leaves(l, id));
}

/* A row reduction is done where its operand is, and makes the operand's shape the space of all
 * that depends on it. */
static void visit_row(levels *l, mvs_id id) {
  mvs_value *value = value_of(l, id);
  mvs_id operand = node_of(l, id)->inputs[0];
  value->rows = mvs_graph_type(l->fuse->graph, operand);
  take_table(l, id, operand);
  value->grain = grain_of(l, id, true);
  if (space_extent(l, id) / value->grain > MVS_MOST_PIECES) {
    store_apart(l, operand);
    value->grain = grain_of(l, id, false);
  }
  value->level = take(l, id, operand);
}

/* A reduction of another axis: a kernel of its own kind, which walks its operand's space. So
 * the operand is taken from outside, and the result is there one kernel later. Such kernels run
 * over the tokens of one segment or over all, never over segments in turn. */
static void visit_column(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id), *operand = value_of(l, node->inputs[0]);
  bool by_segment = node->op == MVS_OP_segment_sum || node->op == MVS_OP_segment_mean;
  const mvs_segments *own = mvs_graph_type(l->fuse->graph, node->inputs[0])->segments;
  if (operand->table && !(by_segment && operand->table == own)) {
    store_apart(l, node->inputs[0]);
  }
  take_whole(l, node->inputs[0]);
  value->rows = NULL;
  value->level = take_outside(l, node->inputs[0]) + 1;
}

static mvs_type *copy_type(levels *l, const mvs_type *type) {
  mvs_type *copy = MVS_NEW(l->fuse->arena, mvs_type);
  *copy = *type;
  return copy;
}

/* Rows of a slice: a piece of each row, or some of the rows. Rows that others take as a whole
 * are not reduced once more for a slice of them. */
static const mvs_type *slice_rows(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  const mvs_value *input = value_of(l, node->inputs[0]);
  int axis = node->attr.slice.axis;
  if (!input->rows || input->stored) return NULL;
  if (axis == input->rows->rank - 1) {
    int64_t length = node->attr.slice.length;
    bool piece = mvs_type_row_fit(input->rows, &node->type) == MVS_ROW_PART;
    bool aligned = node->attr.slice.start % length == 0;
    return piece && aligned && !value_of(l, id)->stored ? input->rows : NULL;
  }
  if (input->uses > 1) return NULL;
  mvs_type *rows = copy_type(l, input->rows);
  rows->dims[axis].size = node->attr.slice.length;
  return is_stored_piece(l, id, rows) ? NULL : rows;
}

/* Rows of a transpose, when rows stay rows. */
static const mvs_type *transpose_rows(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  const mvs_value *input = value_of(l, node->inputs[0]);
  int last = node->type.rank - 1;
  if (!input->rows || input->stored || input->uses > 1) return NULL;
  if (node->attr.permutation.axis[last] != last) return NULL;
  mvs_type *rows = copy_type(l, input->rows);
  for (int i = 0; i <= last; i++) {
    rows->dims[i] = input->rows->dims[node->attr.permutation.axis[i]];
  }
  return is_stored_piece(l, id, rows) ? NULL : rows;
}

/* True when the token axis of the input is the token axis of the view, all of it. */
static bool keeps_tokens(const mvs_node *node) {
  switch (node->op) {
    case MVS_OP_slice:
    case MVS_OP_pad:
      return node->attr.slice.axis != 1;
    case MVS_OP_transpose:
      return node->attr.permutation.rank > 1 && node->attr.permutation.axis[0] == 0 &&
             node->attr.permutation.axis[1] == 1;
    default:
      return false;
  }
}

/* The grain of a slice: its border along the last axis cuts the row that it is a piece of, and
 * what cuts its input cuts it as well. */
static void cut_slice(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id);
  bool along = node->attr.slice.axis == node->type.rank - 1;
  int64_t grain = value_of(l, node->inputs[0])->grain, extent = space_extent(l, id);
  bool cut = is_cut(l, node->inputs[0]) && !value_of(l, node->inputs[0])->stored;
  if (!cut) grain = extent;
  if (value->rows && along) grain = mvs_common_divisor(grain, node->attr.slice.length);
  if (along && (cut || grain < extent) && node->attr.slice.start) {
    grain = mvs_common_divisor(grain, node->attr.slice.start);
  }
  value->grain = mvs_common_divisor(grain, extent);
  if (extent / value->grain <= MVS_MOST_PIECES || value->rows) return;
  store_apart(l, node->inputs[0]);
  value->grain = extent;
}

/* A pad along the last axis cuts the row at its borders. */
static void cut_pad(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  if (node->attr.slice.axis != node->type.rank - 1) return;
  int64_t grain = mvs_common_divisor(space_extent(l, id), node->attr.slice.length);
  if (node->attr.slice.start) grain = mvs_common_divisor(grain, node->attr.slice.start);
  value_of(l, id)->grain = grain;
}

/* A view whose space is not its input's: slice, pad, transpose, segments to tokens. */
static void visit_view(levels *l, mvs_id id) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id), *input = value_of(l, node->inputs[0]);
  bool to_tokens = node->op == MVS_OP_segment_broadcast || node->op == MVS_OP_segment_spread;
  value->rows = NULL;
  if (node->op != MVS_OP_slice) take_whole(l, node->inputs[0]);
  if (node->op == MVS_OP_slice) value->rows = slice_rows(l, id);
  if (node->op == MVS_OP_transpose) value->rows = transpose_rows(l, id);
  if (input->table && !input->stored) {
    if (keeps_tokens(node)) {
      value->table = input->table;
    } else {
      store_apart(l, node->inputs[0]);
    }
  }
  /* Kernels number tokens and load by segment, but have no number of a segment to compute with.
   */
  if (to_tokens && l->counts[node->inputs[0]]) store_apart(l, node->inputs[0]);
  if (to_tokens) value->table = node->attr.segments.table;
  if (node->op == MVS_OP_slice) cut_slice(l, id);
  if (node->op == MVS_OP_pad) cut_pad(l, id);
  if (!value->rows) {
    value->level = take_outside(l, node->inputs[0]);
  } else if (mvs_type_same_shape(value->rows, mvs_fuse_space(l->fuse, node->inputs[0]))) {
    value->level = input->level; /* a piece of a row, in the row's own kernel */
  } else {
    value->level = input->outside;
  }
}

/* A place that several kernels fill is there after the last of them. */
static void visit_inputs_stored(levels *l, mvs_id id, int kernels) {
  const mvs_node *node = node_of(l, id);
  mvs_value *value = value_of(l, id);
  value->rows = NULL;
  value->level = 0;
  for (int i = 0; i < node->input_count; i++) {
    value->level = most(value->level, value_of(l, node->inputs[i])->outside);
  }
  value->level += kernels;
}

/* The level of what is computed: of a kernel that does it. Of what a kernel of its own makes (a
 * heavy op, a column): one more than that kernel's, when it is there. An alias and a concat are
 * there with what they name. */
static void visit(levels *l, mvs_id id) {
  mvs_op op = node_of(l, id)->op;
  if (mvs_value_is_computed(value_of(l, id))) limit_chain(l, id);
  switch (value_of(l, id)->kind) {
    case MVS_VALUE_UNUSED:
      return;
    case MVS_VALUE_FREE:
    case MVS_VALUE_PLACED:
      value_of(l, id)->level = 0;
      break;
    case MVS_VALUE_ALIAS:
    case MVS_VALUE_CONCAT:
      visit_inputs_stored(l, id, 0);
      break;
    case MVS_VALUE_TUPLE:
      visit_inputs_stored(l, id, 1);
      break;
    case MVS_VALUE_HEAVY:
      visit_inputs_stored(l, id, op == MVS_OP_matmul);
      break;
    case MVS_VALUE_ELEMENT:
      visit_element(l, id);
      break;
    case MVS_VALUE_VIEW:
      if (op == MVS_OP_concat) {
        visit_element(l, id);
      } else {
        visit_view(l, id);
      }
      break;
    case MVS_VALUE_ROW:
      visit_row(l, id);
      break;
    case MVS_VALUE_COLUMN:
      visit_column(l, id);
      break;
  }
  find_outside(l, id);
}

void mvs_fuse_levels(mvs_fuse *fuse) {
  levels l = {.fuse = fuse};
  l.leaves = MVS_ARRAY(fuse->arena, fuse->size + 1, mvs_id_list);
  l.open = MVS_ARRAY(fuse->arena, fuse->size + 1, bool);
  l.counts = MVS_ARRAY(fuse->arena, fuse->size + 1, bool);
  for (mvs_id id = 0; id < fuse->size; id++) visit(&l, id);
}
