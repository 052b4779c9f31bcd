/* strides.h: element strides of values as reshapes see them. */
#ifndef MVS_PASSES_STRIDES_H
#define MVS_PASSES_STRIDES_H

#include "compiler/ir/graph.h"

/* Strides of a value without gaps. Axes before a batch axis would lie further apart the larger
 * the batch: theirs are those of one sample, and never walked alone. */
void mvs_strides_whole(const mvs_type *type, int64_t *strides);
/* True when the strides are those of a value without gaps, axes of extent 1 aside. */
bool mvs_strides_are_whole(const mvs_type *type, const int64_t *strides);
/* Works out the strides of the same elements in another shape. False when they do not follow:
 * axes with a gap between them would become one. */
bool mvs_strides_reshape(const mvs_type *from, const int64_t *strides, const mvs_type *to,
                         int64_t *out);
/* True for what attention or its gradient reads or writes by tokens and heads: all but the
 * logarithms of sums. False for operands of other ops. */
bool mvs_is_heads(const mvs_graph *graph, mvs_id op, mvs_id value);
/* True when attention can read or write the value: [B, T, H, D] with the heads of a token side
 * by side; tokens may lie further apart. */
bool mvs_strides_fit_heads(const mvs_type *type, const int64_t *strides);

#endif
