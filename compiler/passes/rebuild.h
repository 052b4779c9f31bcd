/* rebuild.h: one graph being rebuilt into another, node by node and with its regions: by
 * rewrite.c with rules, by hoist.c with a hook that takes body nodes out of their region, by
 * prepare.c with one that takes top-level nodes out of their function, by pack.c with one that
 * joins products.
 * Owner: the rewriter's arena, which must outlive the graph that comes out. */
#ifndef MVS_PASSES_REBUILD_H
#define MVS_PASSES_REBUILD_H

#include "compiler/passes/live.h"
#include "compiler/passes/region_builder.h"
#include "compiler/passes/rule.h"

typedef struct mvs_region_pair {
  const mvs_region *from;
  mvs_region *to;
} mvs_region_pair;

struct mvs_rebuild;
struct mvs_region_work;

/* Places a node itself, by writing body->map[id], or leaves it out when nothing that is copied
 * needs it; false: it is copied as usual. Called in the order of ids, so that what the node
 * reads has its place. work: the region whose body it is in, NULL at the top. */
typedef bool mvs_place_hook(struct mvs_region_work *work, struct mvs_rebuild *body, mvs_id id);

/* Builds something else in the place of a top-level node, whose inputs are built; MVS_NONE: it
 * is copied as usual. */
typedef mvs_id mvs_replace_hook(struct mvs_rebuild *work, mvs_id id);

typedef struct mvs_rewriter {
  mvs_arena *arena;
  const mvs_rule *rules;
  size_t rule_count;
  unsigned when; /* conditions of rules that hold: MVS_RULE_LATE, MVS_RULE_WRITER */
  mvs_rule_count *counts;
  const char *last_fired; /* in this round; NULL when no rule fired */
  mvs_place_hook *place;  /* NULL: none */
  size_t placed;          /* for the hook's report */
  mvs_replace_hook *replace; /* NULL: none */
  void *replacing;        /* the hooks' own */
  MVS_LIST(mvs_region_pair) regions;
} mvs_rewriter;

/* One graph being rebuilt: the top level or a body. */
typedef struct mvs_rebuild {
  mvs_rewriter *at;
  mvs_graph *from, *to;
  const mvs_live *live;
  mvs_rule_source source;
  mvs_id *map;      /* old node -> new node */
  mvs_id **results; /* old region node -> its results in the new graph */
} mvs_rebuild;

/* A region being rebuilt: where its carried values went. */
typedef struct mvs_region_work {
  mvs_rebuild *outer;
  const mvs_node *node;
  const mvs_region *from;
  const mvs_live_region *need;
  mvs_region_builder *builder;
  mvs_id *carried;   /* new argument per old carried value; MVS_NONE: dropped */
  uint32_t *numbers; /* new number per old carried value; UINT32_MAX: not carried any more */
  void *lifted;      /* the hook's own */
} mvs_region_work;

/* `count` ids, all MVS_NONE. */
mvs_id *mvs_new_ids(mvs_arena *arena, size_t count);
/* Counts the users of every node of `from` among those that live. */
mvs_rule_source mvs_rebuild_source(mvs_arena *arena, mvs_graph *from, const mvs_live *live);
/* Rebuilds one node whose inputs are: copies it and applies the rules. Regions have no single
 * replacement: MVS_NONE, with their results in `results`. */
mvs_id mvs_rebuild_node(mvs_rebuild *work, mvs_id id);
/* Rebuilds a region node. */
void mvs_rebuild_region(mvs_rebuild *outer, mvs_id id);
/* Marks in the new graph what the marked values have become; of those that are gone, none. */
void mvs_rebuild_marks(const mvs_rebuild *work);
/* Rebuilds a whole top-level graph. */
mvs_graph *mvs_rebuild_graph(mvs_rewriter *at, mvs_graph *from);
/* The outer value, in the new outer graph, of an argument that is an invariant or stacked. */
mvs_id mvs_rebuild_port(const mvs_region_work *work, const mvs_node *argument);

#endif
