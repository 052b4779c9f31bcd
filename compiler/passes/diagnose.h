/* diagnose.h: what the diagnose*.c files share, and how codegen finds what they made.
 *
 * A diagnostic is a function of its own over a few values of "grad": the stream and a branch,
 * q and k, what a writer reads and its gradient. "grad" and its plan stay what they are; on a
 * diagnosed step the executor calls such a function behind the step of a block that completes
 * its values, on the places where they lie. Results are scalars, named as the tables that they
 * go to. */
#ifndef MVS_PASSES_DIAGNOSE_H
#define MVS_PASSES_DIAGNOSE_H

#include "compiler/passes/pass.h"

/* --- diagnose_params.c --- */

/* Adds the functions over parameters: norms of gradients, gains. */
void mvs_diagnose_params(mvs_module *module);

/* --- diagnose_graphs.c: the formulas. Inputs are nodes of `graph`; results are added to it ---
 */

/* rho, r_tr and var_gain of stream x and branch f, [B, T, D] with segments. */
void mvs_diagnose_update(mvs_graph *graph, mvs_id x, mvs_id f);
/* rho alone, where there is no branch to be had. */
void mvs_diagnose_stream(mvs_graph *graph, mvs_id x);
/* tcs of the tokens of one sample, x [T, D]. */
void mvs_diagnose_tokens(mvs_graph *graph, mvs_id x);
/* g_mean and g_ctr of a writer: y [B, T, K], delta [B, T, D], gradient [D, K]. */
void mvs_diagnose_writer(mvs_graph *graph, mvs_id y, mvs_id delta, mvs_id gradient);
/* amplification and coherence of `tokens` tokens of one sample: y [T, K], delta [T, D]. */
void mvs_diagnose_coherence(mvs_graph *graph, mvs_id y, mvs_id delta, int64_t tokens);
/* mu_eff, row_div, ret and leak of one sample: x [T, D], q [T, H, d], k [T, G, d]. */
void mvs_diagnose_attention(mvs_graph *graph, mvs_id x, mvs_id q, mvs_id k, double scale);

#endif
