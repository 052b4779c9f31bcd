/* live.h: which nodes of a graph its results need, region bodies and region parts included.
 * Owner: the arena given to mvs_live_new. */
#ifndef MVS_PASSES_LIVE_H
#define MVS_PASSES_LIVE_H

#include "compiler/ir/module.h"

/* What is needed of one region. A carried value or stacked output is needed when a live `get`
 * takes it or when a live argument of the body names it; the rest when the body names them. */
typedef struct mvs_live_region {
  bool *results; /* carried values, then stacked outputs */
  bool *taken;   /* those among them that a live `get` takes */
  bool *invariants;
  bool *stacked;
  bool *reads;
  struct mvs_live *body;
} mvs_live_region;

typedef struct mvs_live {
  bool *nodes;               /* per node of the graph */
  mvs_live_region **regions; /* per node; NULL where the node is no live region */
} mvs_live;

/* Marks what all results of a top-level graph need. */
mvs_live *mvs_live_new(mvs_arena *arena, mvs_graph *graph);

#endif
