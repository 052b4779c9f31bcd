/* crossing.h: what the backward pass takes from the forward pass, and how.
 *
 * kept     the value has a place in memory in the forward pass whatever the backward asks: a
 *          carried value, the input or result of a matmul or attention, the result of a
 *          reduction (small, and dear to redo, save of rows of a few elements)
 * redone   elements and views of kept values: the expression is built again in the backward
 * pass with pass = 1, so that no common subexpression joins the two
 *
 * The gradient rules ask for values through mvs_gradient_value, which decides by this. */
#ifndef MVS_PASSES_CROSSING_H
#define MVS_PASSES_CROSSING_H

#include "compiler/ir/module.h"

/* Longest row whose reduction is work like that on elements: it is redone rather than kept, and
 * its results are stored whole where another space takes them. */
#define MVS_SHORT_ROW 8

typedef struct mvs_crossing {
  bool *kept;
  bool *varying;   /* depends on what differs between layer runs and steps: carried values,
                      reads, inputs. Weights, constants and the layer's number do not count */
  mvs_id *part_of; /* a kept and varying concat that holds the value as one of its parts, or
                      MVS_NONE; one that does not vary is made again from its parts */
  mvs_id *rounded; /* a kept bf16 rounding of the value, or MVS_NONE */
} mvs_crossing;

/* Decides for all nodes of a graph (a body when it has a region). */
mvs_crossing *mvs_crossing_new(mvs_arena *arena, mvs_graph *graph);

#endif
