/* fuse_merge.c: kernels that may run later join others of their space; nests share launches.
 *
 * Kernels stand at the lowest level where they can run. Moving one up to just below its first
 * user keeps the order right, so it may join any kernel of its space on the way: the mean of x,
 * known from the start, joins the mean of f; a value that only the next norm wants is computed
 * there. Kernels are visited from the last level down, because a user that moved up leaves its
 * producers more room.
 *
 *   level  before                        after
 *     0    COLUMNS {mean x}   MATMUL f   MATMUL f
 *     1    COLUMNS {mean f}              COLUMNS {mean x, mean f}     one pass over the tokens
 *     2    ROWS {merge, norm}            ROWS {merge, norm} */
#include <limits.h>

#include "compiler/passes/fuse.h"

/* Who waits for a kernel: kept for all kernels while they are visited from the last level down,
 * so that users are final before their producers move. */
typedef struct wait {
  int lowest;  /* level of the first user; INT_MAX: none */
  int user;    /* that user, or -1 when several have that level */
  bool direct; /* it takes stored values as they are, not through an alias or a concat */
} wait;

typedef struct merge {
  mvs_fuse *fuse;
  wait *waits;
  int *last_use; /* per node: the highest level that loads it as a root */
} merge;

static mvs_fuse_kernel *kernel_of(const merge *m, int index) {
  return &m->fuse->kernels.items[index];
}

typedef struct use_record {
  merge *merge;
  int user;
  bool direct;
} use_record;

/* Notes the user with the producer of something it loads. */
static void record_use(void *context, int producer) {
  use_record *use = context;
  wait *w = &use->merge->waits[producer];
  int level = kernel_of(use->merge, use->user)->level;
  if (level < w->lowest) {
    *w = (wait){level, use->user, use->direct};
  } else if (level == w->lowest) {
    if (w->user != use->user) w->user = -1;
    w->direct = w->direct && use->direct;
  }
}

/* Called when the user has moved for the last time, so its level is final. */
static void record_uses(merge *m, int user) {
  const mvs_fuse_kernel *kernel = kernel_of(m, user);
  mvs_fuse_stamp_moved(m->fuse, kernel);
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    mvs_id leaf = kernel->leaves.items[i];
    const mvs_value *value = &m->fuse->values[leaf];
    bool direct = value->root == leaf && mvs_value_is_computed(value) && !value->apart &&
                  m->fuse->stamps[leaf] != m->fuse->walk;
    use_record use = {m, user, direct};
    mvs_fuse_producers(m->fuse, leaf, record_use, &use);
    if (m->last_use[value->root] < kernel->level) m->last_use[value->root] = kernel->level;
  }
}

/* True when both load some value, or pieces of one: fused, it is loaded once. */
static bool shares_leaf(mvs_fuse *fuse, const mvs_fuse_kernel *a, const mvs_fuse_kernel *b) {
  mvs_fuse_walk(fuse);
  for (size_t i = 0; i < a->leaves.count; i++) {
    mvs_fuse_meets(fuse, fuse->values[a->leaves.items[i]].root);
  }
  for (size_t i = 0; i < b->leaves.count; i++) {
    if (!mvs_fuse_meets(fuse, fuse->values[b->leaves.items[i]].root)) return true;
  }
  return false;
}

/* Waiting keeps loads alive for longer and stores for shorter: it must not cost memory. Held
 * are loads that nobody else has at the later level; what the caller gave is there in any case.
 * */
static bool wait_is_free(const merge *m, const mvs_fuse_kernel *kernel, int level) {
  int64_t held = 0, saved = 0;
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    mvs_id root = m->fuse->values[kernel->leaves.items[i]].root;
    bool outside = m->fuse->values[root].kind == MVS_VALUE_PLACED;
    if (!outside && m->last_use[root] < level) held += mvs_fuse_bytes(m->fuse, root);
  }
  for (size_t i = 0; i < kernel->sinks.count; i++) {
    saved += mvs_fuse_bytes(m->fuse, kernel->sinks.items[i]);
  }
  return held <= saved;
}

static bool may_join(merge *m, int from, int into) {
  const mvs_fuse_kernel *a = kernel_of(m, from), *b = kernel_of(m, into);
  return b->into < 0 && mvs_fuse_same_nest(a, b) && mvs_fuse_has_room(m->fuse, a, b) &&
         wait_is_free(m, a, b->level);
}

/* The kernel that `index` should join, or -1. First its only first user, inside of which its
 * values are then at hand: rows only, and taken as they are, at the index where they are made.
 * Then any kernel that runs before its users. Rows want a load in common; reductions are small:
 * one launch less. */
static int find_partner(merge *m, int index, const int *order, size_t later) {
  const wait *w = &m->waits[index];
  const mvs_fuse_kernel *kernel = kernel_of(m, index);
  if (kernel->heavy != MVS_NONE) return -1;
  if (w->user >= 0 && w->direct && kernel->group_class == MVS_GROUP_ROWS &&
      may_join(m, index, w->user)) {
    return w->user;
  }
  for (size_t i = later; i-- > 0;) {
    const mvs_fuse_kernel *other = kernel_of(m, order[i]);
    if (other->level <= kernel->level || other->level >= w->lowest) continue;
    if (!may_join(m, index, order[i])) continue;
    if (kernel->group_class == MVS_GROUP_COLUMNS || shares_leaf(m->fuse, kernel, other)) {
      return order[i];
    }
  }
  return -1;
}

/* --- work on the results of reductions --- */

typedef struct source_check {
  const merge *merge;
  int home;   /* the reduction that should take the work */
  bool early; /* all producers of what is loaded are done before it */
} source_check;

static void check_source(void *context, int producer) {
  source_check *check = context;
  int level = kernel_of(check->merge, check->home)->level;
  if (kernel_of(check->merge, producer)->level >= level) check->early = false;
}

/* Elements only. A reduction over an axis of extent 1 is one of them, but inside a reduction it
 * could be taken for another of its kind. */
static bool is_plain(const merge *m, const mvs_fuse_kernel *kernel) {
  for (size_t i = 0; i < kernel->interior.count; i++) {
    mvs_id id = kernel->interior.items[i];
    mvs_value_kind kind = m->fuse->values[id].kind;
    mvs_op op = mvs_graph_node(m->fuse->graph, id)->op;
    if (kind != MVS_VALUE_ELEMENT && kind != MVS_VALUE_FREE) return false;
    if (mvs_ops[op].op_class == MVS_CLASS_REDUCE) return false;
  }
  return true;
}

/* True when all that the kernel loads is there before `home` runs or made by it, and it works
 * on the shape that the reduction leaves: a thread that ends a sum then goes on with it. What
 * an alias or a concat names of a result of `home` would have to be in memory before. */
static bool can_follow(merge *m, int index, int home) {
  const mvs_fuse_kernel *kernel = kernel_of(m, index), *reduction = kernel_of(m, home);
  if (reduction->group_class != MVS_GROUP_COLUMNS || reduction->into >= 0) return false;
  const mvs_type *result = mvs_graph_type(m->fuse->graph, reduction->sinks.items[0]);
  if (!mvs_type_same_shape(result, kernel->space)) return false;
  source_check check = {m, home, true};
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    mvs_id leaf = kernel->leaves.items[i];
    bool own = m->fuse->values[leaf].kernel == home;
    if (!own) mvs_fuse_producers(m->fuse, leaf, check_source, &check);
  }
  return check.early && mvs_fuse_has_room(m->fuse, kernel, reduction);
}

/* The reduction whose results the kernel works on element by element, or -1. */
static int find_reduction(merge *m, int index) {
  const mvs_fuse_kernel *kernel = kernel_of(m, index);
  if (kernel->group_class != MVS_GROUP_ROWS || !is_plain(m, kernel)) return -1;
  for (size_t i = 0; i < kernel->leaves.count; i++) {
    const mvs_value *value = &m->fuse->values[kernel->leaves.items[i]];
    if (value->kind != MVS_VALUE_COLUMN) continue;
    if (can_follow(m, index, value->kernel)) return value->kernel;
  }
  return -1;
}

/* A concat takes its parts in memory, though no kernel loads them for it. */
static bool is_part(const mvs_fuse *fuse, mvs_id id) {
  for (mvs_id user = id + 1; user < fuse->size; user++) {
    const mvs_node *node = mvs_graph_node(fuse->graph, user);
    if (fuse->values[user].kind != MVS_VALUE_CONCAT) continue;
    for (int i = 0; i < node->input_count; i++) {
      if (fuse->values[node->inputs[i]].root == id) return true;
    }
  }
  return false;
}

/* By a result, by a kernel that loads it or an alias of it, or as a part of a concat. */
static bool is_taken(const mvs_fuse *fuse, mvs_id id) {
  const mvs_results *results = mvs_graph_results(fuse->graph);
  for (size_t i = 0; i < results->count; i++) {
    if (fuse->values[results->items[i].id].root == id) return true;
  }
  for (size_t k = 0; k < fuse->kernels.count; k++) {
    const mvs_fuse_kernel *kernel = &fuse->kernels.items[k];
    for (size_t i = 0; i < kernel->leaves.count; i++) {
      if (fuse->values[kernel->leaves.items[i]].root == id) return true;
    }
  }
  return is_part(fuse, id);
}

/* Results of a reduction that only the work after it takes need no place. */
static void drop_untaken(mvs_fuse *fuse, int index) {
  mvs_fuse_kernel *kernel = &fuse->kernels.items[index];
  size_t kept = 0;
  for (size_t i = 0; i < kernel->sinks.count; i++) {
    mvs_id sink = kernel->sinks.items[i];
    bool needed = fuse->values[sink].kind != MVS_VALUE_COLUMN || is_taken(fuse, sink);
    if (needed) kernel->sinks.items[kept++] = sink;
    if (!needed) fuse->values[sink].stored = false;
  }
  kernel->sinks.count = kept;
}

/* Moves a kernel into the reduction whose results it works on. Its values are there no later
 * than before, so that nothing else changes. */
static void follow_reduction(merge *m, int index) {
  int home = find_reduction(m, index);
  if (home < 0) return;
  mvs_fuse_join(m->fuse, index, home);
  drop_untaken(m->fuse, home);
}

/* Indices of living kernels, highest level first, within a level the newest first. */
static int *order_by_level(const mvs_fuse *fuse, size_t *count) {
  int top = 0;
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    if (fuse->kernels.items[i].level > top) top = fuse->kernels.items[i].level;
  }
  size_t *ends = MVS_ARRAY(fuse->arena, (size_t)top + 2, size_t);
  int *order = MVS_ARRAY(fuse->arena, fuse->kernels.count + 1, int);
  for (size_t i = 0; i < fuse->kernels.count; i++)
    ends[top - fuse->kernels.items[i].level + 1]++;
  for (int i = 0; i <= top; i++) ends[i + 1] += ends[i];
  for (size_t i = fuse->kernels.count; i-- > 0;) {
    order[ends[top - fuse->kernels.items[i].level]++] = (int)i;
  }
  *count = 0;
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    if (fuse->kernels.items[order[i]].into < 0) order[(*count)++] = order[i];
  }
  return order;
}

/* Results of the graph are needed to the end: nothing that waits holds them for longer. */
void mvs_fuse_merge(mvs_fuse *fuse) {
  merge m = {.fuse = fuse};
  m.waits = MVS_ARRAY(fuse->arena, fuse->kernels.count + 1, wait);
  m.last_use = MVS_ARRAY(fuse->arena, fuse->size + 1, int);
  for (size_t i = 0; i < fuse->kernels.count; i++) m.waits[i] = (wait){INT_MAX, -1, false};
  const mvs_results *results = mvs_graph_results(fuse->graph);
  for (size_t i = 0; i < results->count; i++) {
    m.last_use[fuse->values[results->items[i].id].root] = INT_MAX;
  }
  size_t count;
  int *order = order_by_level(fuse, &count);
  for (size_t i = 0; i < count; i++) {
    int partner = find_partner(&m, order[i], order, i);
    if (partner >= 0) mvs_fuse_join(fuse, order[i], partner);
    record_uses(&m, partner >= 0 ? partner : order[i]);
  }
  /* Only now are reductions of one space together, so that work on several of them fits. */
  for (size_t i = count; i-- > 0;) {
    if (fuse->kernels.items[order[i]].into < 0) follow_reduction(&m, order[i]);
  }
}

/* --- nests of one launch --- */

/* Makes the groups of two kernels one, when they are alike and of one level: neither waits for
 * the other. All nests of a launch share one list of operands, so the limit is that of all. */
static void gather(mvs_fuse *fuse, int a, int b) {
  mvs_fuse_kernel *left = &fuse->kernels.items[a], *right = &fuse->kernels.items[b];
  if (left->group == right->group || left->level != right->level ||
      left->group_class != right->group_class || left->heavy != MVS_NONE) {
    return;
  }
  mvs_fuse_kernel all = {0};
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    const mvs_fuse_kernel *other = &fuse->kernels.items[i];
    if (other->into >= 0 || (other->group != left->group && other->group != right->group))
      continue;
    all.sinks.count += other->sinks.count;
    for (size_t j = 0; j < other->leaves.count; j++) {
      MVS_PUSH(fuse->arena, &all.leaves, other->leaves.items[j]);
    }
  }
  if (!mvs_fuse_has_room(fuse, &all, &(mvs_fuse_kernel){0})) return;
  int from = right->group;
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    if (fuse->kernels.items[i].group == from) fuse->kernels.items[i].group = left->group;
  }
}

typedef MVS_LIST(int) kernel_list;
typedef struct feeders {
  mvs_fuse *fuse;
  kernel_list found;
} feeders;

static void add_feeder(void *context, int producer) {
  feeders *f = context;
  MVS_PUSH(f->fuse->arena, &f->found, producer);
}

/* Gathers the kernels of a list level by level and kind by kind. */
static void gather_all(mvs_fuse *fuse, const kernel_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    for (size_t j = 0; j < i; j++) {
      const mvs_fuse_kernel *a = &fuse->kernels.items[list->items[j]];
      const mvs_fuse_kernel *b = &fuse->kernels.items[list->items[i]];
      if (a->level == b->level && a->group_class == b->group_class) {
        gather(fuse, list->items[j], list->items[i]);
        break;
      }
    }
  }
}

/* Reductions that load the same values: by segment and over all tokens, say. Side by side in
 * one launch, the second finds them in cache. */
static void gather_reductions(mvs_fuse *fuse) {
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    const mvs_fuse_kernel *a = &fuse->kernels.items[i];
    if (a->into >= 0 || a->group_class != MVS_GROUP_COLUMNS) continue;
    for (size_t j = 0; j < i; j++) {
      const mvs_fuse_kernel *b = &fuse->kernels.items[j];
      if (b->into < 0 && b->group_class == MVS_GROUP_COLUMNS && a->level == b->level &&
          shares_leaf(fuse, a, b)) {
        gather(fuse, (int)j, (int)i);
      }
    }
  }
}

/* Those that feed one heavy op have to be done before it in any case: q's and k's RoPE before
 * attention are one launch. */
void mvs_fuse_gather(mvs_fuse *fuse) {
  for (size_t i = 0; i < fuse->kernels.count; i++) {
    const mvs_fuse_kernel *heavy = &fuse->kernels.items[i];
    if (heavy->heavy == MVS_NONE) continue;
    feeders f = {.fuse = fuse};
    for (size_t j = 0; j < heavy->leaves.count; j++) {
      mvs_fuse_producers(fuse, heavy->leaves.items[j], add_feeder, &f);
    }
    gather_all(fuse, &f.found);
  }
  gather_reductions(fuse);
}
