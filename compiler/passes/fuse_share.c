/* fuse_share.c: values that several kernels would compute get a place when that is cheaper.
 *
 * Storing a value in the first kernel that computes it costs one store, and one load in each
 * later kernel; it saves those kernels the loads and the row reductions that only this value
 * needs. The best candidate is stored, and so on until none gains. No kernel is added for it.
 */
#include "compiler/passes/fuse.h"

/* A row reduction done again reads its operand twice, mostly from cache: counted as a quarter.
 */
#define REDUCTION_SHARE 4
/* Each round stores one value; a body has a few. */
#define MOST_ROUNDS 64

typedef MVS_LIST(int) kernel_list;

typedef struct share {
  mvs_fuse *fuse;
  kernel_list *homes; /* per node: kernels that compute it */
  mvs_id_list pending;
} share;

static const mvs_node *node_of(const share *s, mvs_id id) {
  return mvs_graph_node(s->fuse->graph, id);
}

static const mvs_fuse_kernel *kernel_of(const share *s, int index) {
  return &s->fuse->kernels.items[index];
}

/* Lists for every node the kernels that compute it. */
static void find_homes(share *s) {
  for (mvs_id id = 0; id < s->fuse->size; id++) s->homes[id].count = 0;
  for (size_t k = 0; k < s->fuse->kernels.count; k++) {
    const mvs_fuse_kernel *kernel = kernel_of(s, (int)k);
    if (kernel->into >= 0) continue;
    for (size_t i = 0; i < kernel->interior.count; i++) {
      MVS_PUSH(s->fuse->arena, &s->homes[kernel->interior.items[i]], (int)k);
    }
  }
}

/* True for what may still get a place. Numbers and indices are cheaper computed than loaded. */
static bool is_open(const share *s, mvs_id id) {
  const mvs_value *value = &s->fuse->values[id];
  if (node_of(s, id)->op == MVS_OP_reshape) return false;
  return mvs_value_is_computed(value) && !value->stored && value->kind != MVS_VALUE_FREE;
}

/* Stamps what the kernel still computes and loads when `id` is loaded. */
static void walk_without(share *s, int index, mvs_id id) {
  mvs_fuse *fuse = s->fuse;
  const mvs_fuse_kernel *kernel = kernel_of(s, index);
  mvs_fuse_walk(fuse);
  mvs_fuse_meets(fuse, id);
  s->pending.count = 0;
  for (size_t i = 0; i < kernel->sinks.count; i++) {
    mvs_fuse_meets(fuse, kernel->sinks.items[i]);
    MVS_PUSH(fuse->arena, &s->pending, kernel->sinks.items[i]);
  }
  while (s->pending.count > 0) {
    mvs_id next = s->pending.items[--s->pending.count];
    if (mvs_fuse_is_loaded(fuse, index, next)) continue;
    const mvs_node *node = node_of(s, next);
    for (int i = 0; i < node->input_count; i++) {
      if (mvs_fuse_meets(fuse, node->inputs[i]))
        MVS_PUSH(fuse->arena, &s->pending, node->inputs[i]);
    }
  }
}

/* Bytes that the kernel no longer loads, and reductions that it no longer does, when `id` is
 * loaded instead of computed: leaves and interior that the walk without it does not meet. */
static int64_t saved_bytes(share *s, int index, mvs_id id) {
  mvs_fuse *fuse = s->fuse;
  const mvs_fuse_kernel *kernel = kernel_of(s, index);
  int64_t saved = 0;
  walk_without(s, index, id);
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    mvs_id leaf = kernel->leaves.items[i];
    if (fuse->stamps[leaf] != fuse->walk) saved += mvs_fuse_bytes(fuse, leaf);
  }
  for (size_t i = 0; i < kernel->interior.count; i++) {
    mvs_id inner = kernel->interior.items[i];
    bool dropped = fuse->stamps[inner] != fuse->walk || inner == id;
    if (dropped && fuse->values[inner].kind == MVS_VALUE_ROW) {
      saved += mvs_fuse_bytes(fuse, node_of(s, inner)->inputs[0]) / REDUCTION_SHARE;
    }
  }
  return saved;
}

/* The first kernel that computes the value in the value's own space, or -1: there a store is
 * one element for each that is computed. Scalars of a row are stored once a row. */
static int find_home(const share *s, mvs_id id) {
  const mvs_type *type = mvs_graph_type(s->fuse->graph, id);
  int best = -1;
  for (size_t i = 0; i < s->homes[id].count; i++) {
    int index = s->homes[id].items[i];
    const mvs_fuse_kernel *kernel = kernel_of(s, index);
    if (kernel->group_class != MVS_GROUP_ROWS) continue;
    mvs_row_fit fit = mvs_type_row_fit(kernel->space, type);
    bool scalar = fit == MVS_ROW_SCALAR && s->fuse->values[id].rows;
    bool full = mvs_type_same_shape(kernel->space, type);
    if (!full && !scalar) continue;
    if (best < 0 || kernel->level < kernel_of(s, best)->level) best = index;
  }
  return best;
}

/* Bytes that storing the value at home saves over all later kernels that compute it. Kernels of
 * the same level cannot wait for it and gain nothing. */
static int64_t gain_of(share *s, mvs_id id, int home) {
  int64_t bytes = mvs_fuse_bytes(s->fuse, id), gain = -bytes;
  for (size_t i = 0; i < s->homes[id].count; i++) {
    const mvs_fuse_kernel *kernel = kernel_of(s, s->homes[id].items[i]);
    if (kernel->level <= kernel_of(s, home)->level) continue;
    gain += saved_bytes(s, s->homes[id].items[i], id) - bytes;
  }
  return gain;
}

/* The value that gains most, or MVS_NONE. */
static mvs_id find_best(share *s, int *best_home) {
  mvs_id best = MVS_NONE;
  int64_t best_gain = 0;
  for (mvs_id id = 0; id < s->fuse->size; id++) {
    if (!is_open(s, id) || s->homes[id].count < 2) continue;
    int home = find_home(s, id);
    if (home < 0) continue;
    mvs_fuse_stamp_moved(s->fuse, kernel_of(s, home));
    if (s->fuse->stamps[id] == s->fuse->walk) continue;
    mvs_fuse_kernel more = {0};
    more.sinks.count = 1;
    if (!mvs_fuse_has_room(s->fuse, kernel_of(s, home), &more)) continue;
    int64_t gain = gain_of(s, id, home);
    if (gain <= best_gain) continue;
    best = id;
    best_gain = gain;
    *best_home = home;
  }
  return best;
}

/* Levels stand: the home had the value at its own level already, and users are higher. Only the
 * cones of those that computed it change. */
static void store_in(share *s, mvs_id id, int home) {
  mvs_fuse *fuse = s->fuse;
  mvs_id_list *sinks = &fuse->kernels.items[home].sinks;
  mvs_fuse_store(fuse, id);
  fuse->values[id].kernel = home;
  MVS_PUSH(fuse->arena, sinks, id);
  size_t at = sinks->count - 1;
  for (; at > 0 && sinks->items[at - 1] > id; at--) sinks->items[at] = sinks->items[at - 1];
  sinks->items[at] = id;
  for (size_t i = 0; i < s->homes[id].count; i++) mvs_fuse_cone(fuse, s->homes[id].items[i]);
}

/* One value a round, since each that gets a place changes what the others would save. */
void mvs_fuse_share(mvs_fuse *fuse) {
  share s = {.fuse = fuse};
  s.homes = MVS_ARRAY(fuse->arena, fuse->size + 1, kernel_list);
  for (int round = 0; round < MOST_ROUNDS; round++) {
    int home = -1;
    find_homes(&s);
    mvs_id best = find_best(&s, &home);
    if (best == MVS_NONE) return;
    store_in(&s, best, home);
  }
}
