/* memory_copy.c: second places. A nest that computes a value stores it in all its places; other
 * values are copied by groups of their own, put where they are needed first. */
#include "compiler/passes/memory.h"

/* Stores of one nest beyond which a copy gets its own group: kernels have 120 operands. */
#define MOST_STORES 24
/* Copies in one launch. */
#define MOST_NESTS 16

static void list_stores(mvs_graph_layout *g) {
  for (size_t i = 0; i < g->schedule->groups.count; i++) {
    mvs_group *group = &g->schedule->groups.items[i];
    for (size_t n = 0; n < group->nests.count; n++) {
      mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t k = 0; k < nest->outputs.count; k++) {
        mvs_place place = g->schedule->places[nest->outputs.items[k]];
        MVS_PUSH(g->layout->arena, &nest->store_places, place);
      }
    }
  }
}

/* The nest that computes a value, when it can store it once more. */
static mvs_nest_plan *find_nest(const mvs_graph_layout *g, mvs_id id) {
  if (g->writer[id] < 0) return NULL;
  mvs_group *group = &g->schedule->groups.items[g->writer[id]];
  for (size_t n = 0; n < group->nests.count; n++) {
    mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t k = 0; k < nest->outputs.count; k++) {
      if (nest->outputs.items[k] == id) return nest->outputs.count < MOST_STORES ? nest : NULL;
    }
  }
  return NULL;
}

static void add_store(mvs_graph_layout *g, mvs_nest_plan *nest, const mvs_copy *copy) {
  MVS_PUSH(g->layout->arena, &nest->outputs, copy->id);
  MVS_PUSH(g->layout->arena, &nest->store_places, copy->target.place);
}

/* --- where copies stand --- */

typedef struct search {
  mvs_id root;
  bool found;
} search;

static void look(void *context, mvs_id root) {
  search *s = context;
  s->found = s->found || s->root == root;
}

/* A nested concat is read where the one around it is: loads are followed into parts. */
size_t mvs_first_reader(const mvs_graph_layout *g, mvs_id root) {
  for (size_t i = 0; i < g->schedule->groups.count; i++) {
    search s = {root, false};
    mvs_group_loads(g->schedule, &g->schedule->groups.items[i], look, &s);
    if (s.found) return i;
  }
  return g->schedule->groups.count;
}

/* The group before which a copy has to be made: the region that starts from it, or the first
 * that reads the concat; results at the end. */
static size_t position_of(const mvs_graph_layout *g, const mvs_copy *copy) {
  switch (copy->target.kind) {
    case MVS_TARGET_INITIAL:
      return (size_t)g->writer[copy->target.user];
    case MVS_TARGET_PART:
      return mvs_first_reader(g, copy->target.user);
    case MVS_TARGET_FINAL:
      break;
  }
  return g->schedule->groups.count;
}

/* --- copy groups --- */

typedef MVS_LIST(mvs_group) group_list;

static mvs_nest_plan copy_nest(const mvs_graph_layout *g, const mvs_copy *copy) {
  mvs_nest_plan nest = {.space = *mvs_graph_type(g->graph, copy->id)};
  MVS_PUSH(g->layout->arena, &nest.outputs, copy->id);
  MVS_PUSH(g->layout->arena, &nest.store_places, copy->target.place);
  MVS_PUSH(g->layout->arena, &nest.leaves, copy->id);
  return nest;
}

/* Copies of one round know nothing of each other and share launches; `first` is the group from
 * which on they may join. */
static void add_copy(mvs_graph_layout *g, group_list *groups, size_t first,
                     const mvs_copy *copy) {
  mvs_group *last = groups->count > first ? &groups->items[groups->count - 1] : NULL;
  if (!last || last->nests.count >= MOST_NESTS) {
    mvs_group group = {.group_class = MVS_GROUP_ROWS, .heavy = MVS_NONE, .why = "copy"};
    MVS_PUSH(g->layout->arena, groups, group);
    last = &groups->items[groups->count - 1];
  }
  MVS_PUSH(g->layout->arena, &last->nests, copy_nest(g, copy));
}

static void insert_groups(mvs_graph_layout *g, const group_list *before) {
  group_list all = {0};
  size_t count = g->schedule->groups.count;
  for (size_t i = 0; i <= count; i++) {
    for (size_t k = 0; k < before[i].count; k++) {
      MVS_PUSH(g->layout->arena, &all, before[i].items[k]);
    }
    if (i < count) MVS_PUSH(g->layout->arena, &all, g->schedule->groups.items[i]);
  }
  g->schedule->groups.items = all.items;
  g->schedule->groups.count = all.count;
  g->schedule->groups.capacity = all.capacity;
}

/* Copies that still have to be placed, and where. */
typedef struct copy_queue {
  size_t *positions; /* per copy, or PLACED */
  size_t count;
} copy_queue;
#define PLACED SIZE_MAX

/* True when a copy reads a buffer that another one still has to fill before the same group, as
 * parts of parts do. */
static bool must_wait(const mvs_graph_layout *g, const copy_queue *queue, size_t index) {
  uint32_t source = g->schedule->places[g->copies.items[index].id].buffer;
  for (size_t i = 0; i < queue->count; i++) {
    bool same_spot = i != index && queue->positions[i] == queue->positions[index];
    if (same_spot && g->copies.items[i].target.place.buffer == source) return true;
  }
  return false;
}

/* Places the copies that need not wait, in launches of their own; false when there was none. */
static bool place_round(mvs_graph_layout *g, copy_queue *queue, group_list *before) {
  size_t spots = g->schedule->groups.count + 1;
  size_t *first = MVS_ARRAY(g->layout->arena, spots, size_t);
  bool *ready = MVS_ARRAY(g->layout->arena, queue->count + 1, bool), any = false;
  for (size_t i = 0; i < spots; i++) first[i] = before[i].count;
  for (size_t i = 0; i < queue->count; i++) {
    ready[i] = queue->positions[i] != PLACED && !must_wait(g, queue, i);
    any = any || ready[i];
  }
  for (size_t i = 0; i < queue->count; i++) {
    if (!ready[i]) continue;
    size_t spot = queue->positions[i];
    add_copy(g, &before[spot], first[spot], &g->copies.items[i]);
    queue->positions[i] = PLACED;
  }
  return any;
}

/* First what a nest that computes the value can store once more, which costs a store and no
 * load; then groups for the rest. Positions are found before any group is inserted, so they
 * count the groups that stood there. */
void mvs_copies_insert(mvs_graph_layout *g) {
  list_stores(g);
  if (g->copies.count == 0) return;
  size_t count = g->schedule->groups.count;
  group_list *before = MVS_ARRAY(g->layout->arena, count + 1, group_list);
  copy_queue queue = {MVS_ARRAY(g->layout->arena, g->copies.count, size_t), g->copies.count};
  for (size_t i = 0; i < g->copies.count; i++) {
    const mvs_copy *copy = &g->copies.items[i];
    mvs_nest_plan *nest = find_nest(g, copy->id);
    if (nest) add_store(g, nest, copy);
    queue.positions[i] = nest ? PLACED : position_of(g, copy);
  }
  while (place_round(g, &queue, before)) {
  }
  for (size_t i = 0; i < queue.count; i++) {
    /* Copies within one buffer wait for each other; their slots differ. */
    if (queue.positions[i] == PLACED) continue;
    group_list *spot = &before[queue.positions[i]];
    add_copy(g, spot, spot->count, &g->copies.items[i]);
  }
  insert_groups(g, before);
}
