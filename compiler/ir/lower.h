/* lower.h: from the tree to graphs of primitive ops.
 *
 * Lowering interprets the unit: numbers and closures are evaluated, tensor expressions add
 * nodes. It makes these functions of the module:
 *
 *   "forward" : the model's inputs by name -> the output by name ("velocity")
 *
 *   "loss"    : x0, x1 (like the state), t f32[B], the conditioning inputs,
 *               inverse_batch f32[] -> loss f64[]
 *               Rectified flow: z_t = (1-t) x0 + t x1, target x0 - x1. The sum over the
 *               call's samples of their mean squared errors, times inverse_batch: the caller
 *               gives 1 / (samples of the whole step), so that micro-batches add up.
 *
 *   "draw"    : seed, step i32[], sample i32[B], the conditioning inputs -> x1, t, and each
 *               conditioning input with dropout applied, by its own name. A sample's
 *               condition is dropped as a whole: one coin decides for all inputs.
 *
 *   and the flat step functions of steps.h.
 *
 * "loss" and "draw" exist only when the output has the state's shape. The state is the
 * model's first f32 input. The gradient pass later makes "grad" from "loss".
 *
 * What later passes may rely on:
 *
 *   - a node stands in the outermost graph that holds all its inputs: nothing in a body is
 *     independent of it, save lone constants, the layer's number and the arguments;
 *   - mean_features(x) is mul(sum(x, last axis), 1/n), so an RMS norm is
 *     mul(x, rsqrt(add(mul(sum(mul(x, x)), 1/n), eps)));
 *   - mean(x) is segment_broadcast(segment_mean(x)), center(x) is sub(x, mean(x));
 *   - a rotation is two slices of the last axis, mul by invariants f32[T, 1, D/2], add and
 *     sub, concat;
 *   - in precision bf16 the operands of matmul (a bias too) and attention stand behind a cast
 *     to bf16, their results are bf16, and so is what a stack carries; all else is f32. */
#ifndef MVS_IR_LOWER_H
#define MVS_IR_LOWER_H

#include "compiler/ir/module.h"
#include "dsl/parse.h"

/* Lowers a unit. errors : MVS_ERR_NAME, MVS_ERR_SHAPE, MVS_ERR_LIMIT, with carets in diag. */
mvs_status mvs_lower(mvs_arena *arena, mvs_diag *diag, const mvs_unit *unit, mvs_module **out);

#endif
