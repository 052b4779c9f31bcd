/* fuse_kernels.c: stored values to kernels, and what each kernel computes and loads.
 *
 * Stored values of one level and one space are one kernel: none of them can wait for another
 * kernel of its own level, so that together they cannot wait in a circle. What a kernel
 * computes (its cone) follows from its sinks: everything below them down to values of lower
 * levels.
 *
 *   sinks      what it stores
 *   interior   what it computes or maps addresses for: the cone, sinks included
 *   leaves     what it loads: the border of the cone
 *
 * A value in the cones of two kernels is computed by both; fuse_share.c judges that. */
#include <stdlib.h>

#include "compiler/passes/fuse.h"

/* Values that one kernel loads and stores. The kernel form has room for 120 operands: copies
 * may add some, and slices of long rows are operands of their own. */
#define MOST_OPERANDS 72
/* A kernel of columns holds a sum for each of them in registers: with 72 a rule of eight
 * streams spilt on sm_90a. */
#define MOST_SUMMED 56

static const mvs_node *node_of(const mvs_fuse *fuse, mvs_id id) {
  return mvs_graph_node(fuse->graph, id);
}

/* --- cones --- */

bool mvs_fuse_is_loaded(const mvs_fuse *fuse, int kernel, mvs_id id) {
  const mvs_value *value = &fuse->values[id];
  if (value->kernel == kernel) return false;
  if (!mvs_value_is_computed(value)) return true;
  /* A kernel of the same level cannot be waited for: the value is computed once more. */
  return value->stored &&
         fuse->kernels.items[value->kernel].level < fuse->kernels.items[kernel].level;
}

static int compare_ids(const void *a, const void *b) {
  mvs_id left = *(const mvs_id *)a, right = *(const mvs_id *)b;
  return left < right ? -1 : left > right;
}

static void sort_ids(mvs_id_list *list) {
  if (list->count > 1) qsort(list->items, list->count, sizeof *list->items, compare_ids);
}

static void find_table(mvs_fuse_kernel *kernel, const mvs_node *node) {
  bool to_tokens = node->op == MVS_OP_segment_broadcast || node->op == MVS_OP_segment_spread;
  if (to_tokens) kernel->table = node->attr.segments.table;
}

/* With a list instead of recursion: a cone may be as deep as a model's longest formula. */
void mvs_fuse_cone(mvs_fuse *fuse, int index) {
  mvs_fuse_kernel *kernel = &fuse->kernels.items[index];
  mvs_id_list pending = {0};
  kernel->leaves.count = kernel->interior.count = 0;
  kernel->table = NULL;
  mvs_fuse_walk(fuse);
  for (size_t i = 0; i < kernel->sinks.count; i++) {
    mvs_fuse_meets(fuse, kernel->sinks.items[i]);
    MVS_PUSH(fuse->arena, &pending, kernel->sinks.items[i]);
  }
  while (pending.count > 0) {
    mvs_id id = pending.items[--pending.count];
    if (mvs_fuse_is_loaded(fuse, index, id)) {
      MVS_PUSH(fuse->arena, &kernel->leaves, id);
      continue;
    }
    MVS_PUSH(fuse->arena, &kernel->interior, id);
    const mvs_node *node = node_of(fuse, id);
    find_table(kernel, node);
    for (int i = 0; i < node->input_count; i++) {
      if (mvs_fuse_meets(fuse, node->inputs[i]))
        MVS_PUSH(fuse->arena, &pending, node->inputs[i]);
    }
  }
  sort_ids(&kernel->leaves);
  sort_ids(&kernel->interior);
}

/* From the last node down, so that what a moved value is made of is moved with it. */
void mvs_fuse_stamp_moved(mvs_fuse *fuse, const mvs_fuse_kernel *kernel) {
  mvs_fuse_walk(fuse);
  for (size_t i = kernel->interior.count; i-- > 0;) {
    mvs_id id = kernel->interior.items[i];
    bool moved = fuse->stamps[id] == fuse->walk || fuse->values[id].kind == MVS_VALUE_VIEW;
    const mvs_node *node = mvs_graph_node(fuse->graph, id);
    for (int k = 0; moved && k < node->input_count; k++) mvs_fuse_meets(fuse, node->inputs[k]);
  }
}

/* A concat has a producer for each part, recursively; what is given from outside has none. */
void mvs_fuse_producers(mvs_fuse *fuse, mvs_id id, mvs_fuse_visit *visit, void *context) {
  mvs_id root = fuse->values[id].root;
  const mvs_node *node = node_of(fuse, root);
  if (fuse->values[root].kind == MVS_VALUE_CONCAT) {
    for (int i = 0; i < node->input_count; i++) {
      mvs_fuse_producers(fuse, node->inputs[i], visit, context);
    }
    return;
  }
  int kernel = fuse->values[root].kernel;
  if (node->op == MVS_OP_get) kernel = fuse->values[node->inputs[0]].kernel;
  if (kernel >= 0) visit(context, kernel);
}

int64_t mvs_fuse_bytes(const mvs_fuse *fuse, mvs_id id) {
  const mvs_type *type = mvs_graph_type(fuse->graph, id);
  return mvs_type_count(type, MVS_NOMINAL_BATCH) * mvs_dtype_size(type->dtype);
}

/* --- kernels --- */

static mvs_group_class class_of_heavy(mvs_op op) {
  switch (op) {
    case MVS_OP_attention:
      return MVS_GROUP_ATTENTION;
    case MVS_OP_attention_grad:
      return MVS_GROUP_ATTENTION_GRAD;
    case MVS_OP_region:
      return MVS_GROUP_REGION;
    default:
      return MVS_GROUP_MATMUL;
  }
}

static int add_kernel(mvs_fuse *fuse, const mvs_fuse_kernel *kernel) {
  MVS_PUSH(fuse->arena, &fuse->kernels, *kernel);
  int index = (int)fuse->kernels.count - 1;
  fuse->kernels.items[index].group = index;
  return index;
}

/* A heavy op is a kernel by itself; its level is one below that of its value. */
static void add_heavy(mvs_fuse *fuse, mvs_id id) {
  const mvs_node *node = node_of(fuse, id);
  mvs_fuse_kernel kernel = {.group_class = class_of_heavy(node->op),
                            .level = fuse->values[id].level - 1,
                            .heavy = id,
                            .into = -1};
  for (int i = 0; i < node->input_count; i++) {
    MVS_PUSH(fuse->arena, &kernel.leaves, node->inputs[i]);
  }
  fuse->values[id].kernel = add_kernel(fuse, &kernel);
}

/* The kernel that the value would have alone. */
static mvs_fuse_kernel describe(const mvs_fuse *fuse, mvs_id id) {
  const mvs_node *node = node_of(fuse, id);
  const mvs_value *value = &fuse->values[id];
  mvs_fuse_kernel kernel = {.group_class = MVS_GROUP_ROWS,
                            .level = value->level,
                            .space = mvs_fuse_space(fuse, id),
                            .heavy = MVS_NONE,
                            .table = value->table,
                            .grain = value->grain,
                            .into = -1};
  if (value->kind == MVS_VALUE_COLUMN) {
    kernel.group_class = MVS_GROUP_COLUMNS;
    kernel.level = value->level - 1;
    kernel.grain = mvs_type_last_extent(mvs_graph_type(fuse->graph, node->inputs[0]));
    kernel.space = mvs_graph_type(fuse->graph, node->inputs[0]);
    kernel.table =
        fuse->values[node->inputs[0]].stored ? NULL : fuse->values[node->inputs[0]].table;
    kernel.by_segment = node->op == MVS_OP_segment_sum || node->op == MVS_OP_segment_mean;
    kernel.reduced_axes = kernel.by_segment ? 1u << 1 : node->attr.axes.mask;
  }
  return kernel;
}

/* Segments of the token axis matter to nests that number them: one nest, one table. */
static bool same_tables(const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  if (a->by_segment && a->space->segments != b->space->segments) return false;
  return !a->table || !b->table || a->table == b->table;
}

/* Rows cut in different ways by the two are cut in both ways in one nest. */
static bool same_pieces(const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  int64_t grain = mvs_common_divisor(a->grain, b->grain);
  return mvs_type_last_extent(a->space) / grain <= MVS_MOST_PIECES;
}

bool mvs_fuse_same_nest(const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  return a->group_class == b->group_class && a->heavy == MVS_NONE && b->heavy == MVS_NONE &&
         a->reduced_axes == b->reduced_axes && a->by_segment == b->by_segment &&
         mvs_type_same_shape(a->space, b->space) && same_tables(a, b) && same_pieces(a, b);
}

static size_t operands(mvs_fuse *fuse, const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  size_t count = a->sinks.count + b->sinks.count + a->leaves.count;
  mvs_fuse_walk(fuse);
  for (size_t i = 0; i < a->leaves.count; i++) mvs_fuse_meets(fuse, a->leaves.items[i]);
  for (size_t i = 0; i < b->leaves.count; i++) {
    count += mvs_fuse_meets(fuse, b->leaves.items[i]);
  }
  return count;
}

bool mvs_fuse_has_room(mvs_fuse *fuse, const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  bool columns = a->group_class == MVS_GROUP_COLUMNS || b->group_class == MVS_GROUP_COLUMNS;
  return operands(fuse, a, b) <= (columns ? MOST_SUMMED : MOST_OPERANDS);
}

/* The emptied kernel stays in its place, since kernels are known by number. The cone is taken
 * anew: what one loaded from the other is now computed in it. */
void mvs_fuse_join(mvs_fuse *fuse, int from, int into) {
  mvs_fuse_kernel *source = &fuse->kernels.items[from], *target = &fuse->kernels.items[into];
  for (size_t i = 0; i < source->sinks.count; i++) {
    mvs_id sink = source->sinks.items[i];
    fuse->values[sink].kernel = into;
    MVS_PUSH(fuse->arena, &target->sinks, sink);
  }
  sort_ids(&target->sinks);
  target->grain = mvs_common_divisor(target->grain, source->grain);
  source->into = into;
  source->sinks.count = source->leaves.count = source->interior.count = 0;
  mvs_fuse_cone(fuse, into);
}

/* Kernels by level, so that a value looks only among those it may join. */
typedef MVS_LIST(int) level_list;

/* Puts a stored value into the first kernel of its level that has its space and room, else into
 * one of its own. It is a kernel alone first, since room depends on what its cone loads. */
static void assign(mvs_fuse *fuse, level_list *by_level, mvs_id id) {
  mvs_fuse_kernel alone = describe(fuse, id);
  MVS_PUSH(fuse->arena, &alone.sinks, id);
  int own = fuse->values[id].kernel = add_kernel(fuse, &alone);
  mvs_fuse_cone(fuse, own);
  level_list *level = &by_level[alone.level];
  for (size_t i = 0; i < level->count; i++) {
    mvs_fuse_kernel *other = &fuse->kernels.items[level->items[i]];
    if (!mvs_fuse_same_nest(other, &fuse->kernels.items[own])) continue;
    if (!mvs_fuse_has_room(fuse, other, &fuse->kernels.items[own])) continue;
    mvs_fuse_join(fuse, own, level->items[i]);
    return;
  }
  MVS_PUSH(fuse->arena, level, own);
}

/* Values in the order of ids: the first of a level and space founds the kernel, so that the
 * same graph gives the same kernels. */
void mvs_fuse_kernels(mvs_fuse *fuse) {
  int top = 0;
  for (mvs_id id = 0; id < fuse->size; id++) {
    if (fuse->values[id].level > top) top = fuse->values[id].level;
  }
  level_list *by_level = MVS_ARRAY(fuse->arena, (size_t)top + 1, level_list);
  for (mvs_id id = 0; id < fuse->size; id++) {
    const mvs_value *value = &fuse->values[id];
    mvs_op op = node_of(fuse, id)->op;
    if (value->kind == MVS_VALUE_TUPLE ||
        (value->kind == MVS_VALUE_HEAVY && op == MVS_OP_matmul)) {
      add_heavy(fuse, id);
    } else if (value->kind == MVS_VALUE_COLUMN ||
               (value->stored && mvs_value_is_computed(value))) {
      assign(fuse, by_level, id);
    }
  }
}
