/* lower.h: from the tree to graphs of primitive ops.
 *
 * Lowering interprets the unit: numbers and closures are evaluated, tensor expressions add
 * nodes. It makes these functions of the module: "forward" : the model's inputs by name -> the
 * output by name ("velocity") "loss"    : x0, x1 (like the state), t f32[B], the conditioning
 * inputs -> loss f64[] (rectified flow: z_t = (1-t) x0 + t x1, target x0 - x1, mean squared
 * error) "draw"    : seed, step i32[], sample i32[B], conditioning inputs -> x1, t, and each
 *               conditioning input with dropout applied, by its own name
 *   and the flat step functions of steps.h.
 * The gradient pass later makes "grad" from "loss". */
#ifndef MVS_IR_LOWER_H
#define MVS_IR_LOWER_H

#include "compiler/ir/module.h"
#include "dsl/parse.h"

/* Lowers a unit. errors : MVS_ERR_NAME, MVS_ERR_SHAPE, MVS_ERR_LIMIT, with carets in diag. */
mvs_status mvs_lower(mvs_arena *arena, mvs_diag *diag, const mvs_unit *unit, mvs_module **out);

#endif
