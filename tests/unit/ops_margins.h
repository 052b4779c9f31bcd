/* ops_margins.h: how far f32 may be from the reference, measured on the case at hand.
 *
 * The reference is evaluated again with every value moved as rounding may move it
 * (tests/reference/rounding.c). What that does to an element of a result is what rounding does
 * to it, whatever cancels, divides or grows on the way: an expression that is well conditioned
 * is held to a few last places, one that is not gets what it needs and no more. An element may
 * be OPS_MARGIN times as far off as it, or its tensor's elements in the root mean square, was
 * seen to move. Of an element that is off, more samples are taken before it counts as wrong:
 * one at a kink (a maximum of equals, a floor) jumps in some samples only. The first sample
 * rounds to f32 instead: what cancels to an exact 0 may be at a border that no other one meets.
 * Owner: the arena given. */
#ifndef MVS_TESTS_OPS_MARGINS_H
#define MVS_TESTS_OPS_MARGINS_H

#include "tests/unit/ops_suite.h"

/* Roundings add up to a sample as they do in the kernels, by other draws and in sums of other
 * trees: eight times the spread of such a random walk. In 300 models the farthest element was
 * off by 0.96 of what is allowed (seeds 1 to 300 of test_any_model). */
#define OPS_MARGIN 8

typedef struct ops_margins ops_margins;

/* No samples yet. `wanted` holds the results of the reference. */
ops_margins *ops_margins_new(mvs_arena *arena, const ops_case *each, int64_t batch,
                             const mvs_tensor_map *given, const mvs_tensor_map *wanted);
/* Takes more samples. errors : of the reference */
mvs_status ops_margins_sample(ops_margins *margins, int count);
/* The largest value on the way, NaN where there was one: beyond f32 nothing can be said. */
double ops_margins_largest(const ops_margins *margins);
/* How far an element of a result may be off. */
double ops_margins_allowed(const ops_margins *margins, size_t result, int64_t element);

#endif
