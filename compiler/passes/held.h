/* held.h: carried values that hold what blocks gave.
 *
 * A carried value is held when every part of it is taken from the body in one known layer, is
 * the same ever after, and is looked at from that layer on only:
 *     next  = select(layer == blocks, x, argument)      as is or rounded, the value handed on
 *     shown = select(layer < blocks, number, next)      all that anything else reads of either
 * with `blocks` the same in all layers: a number, or one for each row. at_block and history of
 * the language (ir/lower_earlier.c) are lowered to this. What follows from it:
 *     gradients: wherever `next` is read, its last value may stand for it. One copy crosses to
 *       the backward pass, not one for each layer.
 *     memory: argument and result have one place; each layer stores what is there already,
 *       save for the parts that are its own. It is right for a block that is redone, too. */
#ifndef MVS_PASSES_HELD_H
#define MVS_PASSES_HELD_H

#include "compiler/ir/region.h"

/* The node `next` of carried value `index` when that is held, else MVS_NONE. */
mvs_id mvs_held_next(const mvs_region *region, uint32_t index);

#endif
