/* activity.h: which values a gradient flows through: floats that depend on a trained parameter
 * along a path that has a derivative. The sweep asks it before each rule, so that no gradient
 * of an input, a table or a frozen parameter is built only to be dropped. */
#ifndef MVS_PASSES_ACTIVITY_H
#define MVS_PASSES_ACTIVITY_H

#include "compiler/ir/module.h"

typedef struct mvs_activity {
  bool *nodes; /* per node; a region node counts as active when any result is */
  struct mvs_activity **bodies; /* per region node: its body; NULL elsewhere */
} mvs_activity;

/* Works out the activity of a top-level graph and of its regions' bodies. */
mvs_activity *mvs_activity_new(mvs_arena *arena, mvs_graph *graph);

#endif
