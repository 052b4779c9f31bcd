/* schedule.c: the order of groups. A list schedule: among the groups whose inputs are there,
 * first one that frees at least as much memory as it takes, else the one whose nodes the model
 * names first. So gradients of weights come before the products that free what both read, and
 * casts of weights stay near their matmuls. Bodies are scheduled alike. Time is quadratic in
 * the groups of one graph, to which depth adds none.
 *
 * With dY read by two products, dW = dY^T X takes nothing but a result's place (net 0) and may
 * run at once; behind it dX = dY W is the last reader of dY and frees what it takes. Where
 * bytes do not decide, ids do: one model has one order. */
#include "compiler/passes/pass.h"
#include "compiler/passes/plan.h"

typedef MVS_LIST(int) int_list;

typedef struct scheduler {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_schedule *schedule;
  int *writer;         /* per node: the group that stores it, -1: none */
  int_list *loads;     /* per group: roots that it needs, each once, as node ids */
  int *users_left;     /* per node: readers not yet scheduled; results never run out */
  int *waits;          /* per group: groups before it that are not yet scheduled */
  int_list *followers; /* per group: groups that wait for it */
  mvs_id *order_key;   /* per group */
} scheduler;

static const mvs_node *node_of(const scheduler *s, mvs_id id) {
  return mvs_graph_node(s->schedule->graph, id);
}

/* --- what groups read and write --- */

/* The first node of each group orders equals. */
static void find_keys(scheduler *s) {
  for (size_t g = 0; g < s->schedule->groups.count; g++) {
    const mvs_group *group = &s->schedule->groups.items[g];
    s->order_key[g] = group->nests.count == 0 ? group->heavy : MVS_NONE;
    for (size_t n = 0; n < group->nests.count; n++) {
      const mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t i = 0; i < nest->outputs.count; i++) {
        if (nest->outputs.items[i] < s->order_key[g]) s->order_key[g] = nest->outputs.items[i];
      }
    }
  }
}

/* Lets a group wait for another, once. */
static void add_wait(scheduler *s, int group, int before) {
  if (before == group) return;
  for (size_t i = 0; i < s->followers[before].count; i++) {
    if (s->followers[before].items[i] == group) return;
  }
  MVS_PUSH(s->arena, &s->followers[before], group);
  s->waits[group]++;
}

/* A concat that no kernel stores is there when its parts are. */
static void add_load(scheduler *s, int group, mvs_id id) {
  mvs_id root = s->schedule->roots[id];
  if (root == MVS_NONE) return;
  const mvs_node *node = node_of(s, root);
  bool known = false;
  for (size_t i = 0; i < s->loads[group].count && !known; i++) {
    known = s->loads[group].items[i] == (int)root;
  }
  if (!known) {
    MVS_PUSH(s->arena, &s->loads[group], (int)root);
    s->users_left[root]++;
  }
  if (s->writer[root] >= 0) {
    add_wait(s, group, s->writer[root]);
  } else if (s->schedule->gathered[root]) {
    for (int i = 0; i < node->input_count; i++) add_load(s, group, node->inputs[i]);
  }
}

/* Results count as read once more behind the last group, so that nothing ever frees them. */
static void find_loads(scheduler *s) {
  for (size_t g = 0; g < s->schedule->groups.count; g++) {
    const mvs_group *group = &s->schedule->groups.items[g];
    if (group->nests.count == 0) {
      const mvs_node *node = node_of(s, group->heavy);
      for (int i = 0; i < node->input_count; i++) add_load(s, (int)g, node->inputs[i]);
    }
    for (size_t n = 0; n < group->nests.count; n++) {
      const mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t i = 0; i < nest->leaves.count; i++)
        add_load(s, (int)g, nest->leaves.items[i]);
    }
  }
  const mvs_results *results = mvs_graph_result_list(s->schedule->graph);
  for (size_t i = 0; i < results->count; i++) {
    mvs_id root = s->schedule->roots[results->items[i].id];
    if (root != MVS_NONE) s->users_left[root]++;
  }
}

/* --- choosing --- */

static int64_t bytes_of(const scheduler *s, mvs_id id) {
  const mvs_type *type = mvs_graph_type(s->schedule->graph, id);
  return mvs_type_count(type, MVS_NOMINAL_BATCH) * mvs_dtype_size(type->dtype);
}

/* Bytes of what a group stores. Tuples count nothing: all their results are wanted at once. */
static int64_t bytes_taken(const scheduler *s, const mvs_group *group) {
  int64_t taken = 0;
  if (group->group_class == MVS_GROUP_MATMUL) return bytes_of(s, group->heavy);
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->outputs.count; i++) {
      taken += bytes_of(s, nest->outputs.items[i]);
    }
  }
  return taken;
}

/* Results of the graph take no memory that a schedule could save: their places are given. */
static int64_t bytes_of_results(const scheduler *s, int group) {
  int64_t bytes = 0;
  const mvs_results *results = mvs_graph_result_list(s->schedule->graph);
  for (size_t i = 0; i < results->count; i++) {
    mvs_id root = s->schedule->roots[results->items[i].id];
    if (root != MVS_NONE && s->writer[root] == group) bytes += bytes_of(s, root);
  }
  return bytes;
}

/* Bytes of the values that nothing reads after this group. What comes from outside is not freed
 * by anybody. */
static int64_t bytes_freed(const scheduler *s, int group) {
  int64_t freed = 0;
  for (size_t i = 0; i < s->loads[group].count; i++) {
    mvs_id root = (mvs_id)s->loads[group].items[i];
    if (s->writer[root] >= 0 && s->users_left[root] == 1) freed += bytes_of(s, root);
  }
  return freed;
}

/* The group to run next, or -1 when all that is left waits. */
static int choose(const scheduler *s, const bool *done) {
  int best = -1;
  bool best_frees = false;
  for (size_t g = 0; g < s->schedule->groups.count; g++) {
    if (done[g] || s->waits[g] > 0) continue;
    const mvs_group *group = &s->schedule->groups.items[g];
    int64_t net = bytes_taken(s, group) - bytes_of_results(s, (int)g);
    bool frees = bytes_freed(s, (int)g) >= net;
    bool earlier = best < 0 || s->order_key[g] < s->order_key[best];
    if (best < 0 || (frees && !best_frees) || (frees == best_frees && earlier)) {
      best = (int)g;
      best_frees = frees;
    }
  }
  return best;
}

static void finish(scheduler *s, int group) {
  for (size_t i = 0; i < s->loads[group].count; i++) s->users_left[s->loads[group].items[i]]--;
  for (size_t i = 0; i < s->followers[group].count; i++) {
    s->waits[s->followers[group].items[i]]--;
  }
}

static mvs_schedule *body_of(const mvs_schedule *schedule, const mvs_region *region) {
  for (size_t i = 0; i < schedule->bodies.count; i++) {
    if (schedule->bodies.items[i]->region == region) return schedule->bodies.items[i];
  }
  return NULL;
}

/* Puts groups into their order, and bodies into that of their groups. */
static void reorder(mvs_arena *arena, mvs_schedule *schedule, const int *order) {
  size_t count = schedule->groups.count, bodies = 0;
  mvs_group *groups = MVS_ARRAY(arena, count + 1, mvs_group);
  mvs_schedule **sorted = MVS_ARRAY(arena, schedule->bodies.count + 1, mvs_schedule *);
  for (size_t i = 0; i < count; i++) {
    groups[i] = schedule->groups.items[order[i]];
    if (groups[i].region) sorted[bodies++] = body_of(schedule, groups[i].region);
  }
  memcpy(schedule->groups.items, groups, count * sizeof *groups);
  if (bodies) memcpy(schedule->bodies.items, sorted, bodies * sizeof(mvs_schedule *));
}

/* Kernels that wait for each other would be a mistake of levels (fuse.h), so it is told, not
 * asserted: the plan of a user's model is worth a message. */
static mvs_status schedule_graph(mvs_compilation *compilation, mvs_schedule *schedule) {
  size_t nodes = (size_t)mvs_graph_size(schedule->graph) + 1, count = schedule->groups.count;
  mvs_arena *arena = compilation->arena;
  scheduler s = {.arena = arena, .diag = compilation->diag, .schedule = schedule};
  s.writer = MVS_ARRAY(arena, nodes, int);
  s.users_left = MVS_ARRAY(arena, nodes, int);
  s.loads = MVS_ARRAY(arena, count + 1, int_list);
  s.followers = MVS_ARRAY(arena, count + 1, int_list);
  s.waits = MVS_ARRAY(arena, count + 1, int);
  s.order_key = MVS_ARRAY(arena, count + 1, mvs_id);
  bool *done = MVS_ARRAY(arena, count + 1, bool);
  int *order = MVS_ARRAY(arena, count + 1, int);
  mvs_schedule_writers(schedule, s.writer);
  find_keys(&s);
  find_loads(&s);
  for (size_t i = 0; i < count; i++) {
    order[i] = choose(&s, done);
    if (order[i] < 0) {
      mvs_diag_error(compilation->diag, (mvs_span){0}, "schedule: kernels wait for each other");
      return MVS_ERR_INTERNAL;
    }
    done[order[i]] = true;
    finish(&s, order[i]);
  }
  if (count) reorder(arena, schedule, order);
  for (size_t i = 0; i < schedule->bodies.count; i++) {
    MVS_TRY(schedule_graph(compilation, schedule->bodies.items[i]));
  }
  return MVS_OK;
}

mvs_status mvs_pass_schedule(mvs_compilation *compilation) {
  for (size_t i = 0; i < compilation->plan->functions.count; i++) {
    MVS_TRY(schedule_graph(compilation, compilation->plan->functions.items[i].top));
  }
  return MVS_OK;
}
