/* steps.h: the functions around the model, as graphs over flat rows, so that each back end
 * gets them from the same printers. Flat buffers are f32[B, 1024]: here the symbolic batch
 * counts rows of 1024 elements, and buffers are padded to whole rows with zeros.
 *
 *   "adamw"       : p, m, v, g; decay, rate f32[B,1], by row; scalars f32[]: lr, beta1, beta2,
 *                   eps, clip (factor), correction1 = 1 - beta1^k, correction2 = 1 - beta2^k,
 *                   taken -> p, m, v
 *                   with g clipped first: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 *                   r = lr rate;
 *                   p (1 - r decay) - r (m / correction1) / (sqrt(v / correction2) + eps);
 *                   all three as they were where taken is 0.
 *                   With Muon beta1 is f32[B,1] by row, and so is `direct`: where that is not 0
 *                   the step is r v and v stays, the direction that "muon" left there
 *                   (passes/muon.c)
 *   "accumulate"  : a, g                        -> a = a + g
 *   "average"     : e, p; scalars decay, taken  -> e = decay e + (1 - decay) p, or e as it was
 *   "sum_squares" : g                           -> rows f64[B, 1], total f64[] (a fixed tree)
 *
 * Where functions read the weights in bf16 (passes/prepare.c), "adamw" also gives `rounded`,
 * its p in bf16, and there is
 *
 *   "round"       : p                           -> rounded = p, bf16[B, 1024]
 *
 * Over scalars, without a batch:
 *
 *   "clip"        : total f64[] (of sum_squares), loss f64[], limit f64[] (infinite: none),
 *                   taken f32[]                 -> norm f64[] = sqrt(total),
 *                   clip f32[] = min(1, limit / (norm + 1e-6)), computed in f64,
 *                   taken f32[] = taken where norm and loss are finite, else 0
 *   "add_losses"  : loss, part f64[]            -> loss = loss + part
 *
 * Over the state, when the model has one:
 *
 *   "sampler_step": x, conditional, unconditional f32[B, ...]; scalars dt, cfg -> x
 *                   x + dt (u + cfg (c - u)), f32
 *   "zt"          : x0, x1, t                   -> zt */
#ifndef MVS_IR_STEPS_H
#define MVS_IR_STEPS_H

#include "compiler/ir/module.h"

/* (1-t) x0 + t x1 for x0, x1 f32[B, ...] and t f32[B]: the noised state. */
mvs_id mvs_build_blend(mvs_graph *graph, mvs_id x0, mvs_id x1, mvs_id t, mvs_span span);
/* Adds the step functions to a module whose model inputs are known. */
void mvs_steps_add(mvs_module *module);
/* Adds "round", and to "adamw" the result "rounded", for a module whose functions read weights
 * in bf16. */
void mvs_steps_add_rounding(mvs_module *module);

#endif
