/* pipeline.c: the one place that holds the order of the passes. */
#include <string.h>

#include "compiler/ir/verify.h"
#include "compiler/passes/pass.h"

#define SIMPLE    MVS_FACT_SIMPLE
#define GRADIENTS MVS_FACT_GRADIENTS
#define CROSSING  MVS_FACT_CROSSING
#define HOISTED   MVS_FACT_HOISTED
#define PREPARED  MVS_FACT_PREPARED
#define FUSED     MVS_FACT_FUSED
#define SCHEDULED MVS_FACT_SCHEDULED
#define LAID_OUT  MVS_FACT_LAID_OUT
#define PACKED    MVS_FACT_PACKED
#define DIAGNOSED MVS_FACT_DIAGNOSED
#define GRAPH     (SIMPLE | PACKED | GRADIENTS | CROSSING | HOISTED | PREPARED | DIAGNOSED)

/* Why each stands where it does:
 * simplify        before gradients, because those of recognised norms and means are the cheap
 *                 ones: that of `normalize` reads its output and 1/rms, its parts' would keep x
 * pack            before gradients, which then come out joined by themselves; behind simplify,
 *                 since products join when their left operands are one node
 * muon            behind pack: it works on whole matrices and must know which are parts of one
 * crossing        behind gradients: it tells what they decided as they asked; nothing changes
 * simplify-again  gradients are built node by node without a look at each other (times one,
 *                 sums of pads, stretches that are summed again). LATE rules run here alone
 * hoist           behind that: rules find what is the same for all layers
 * prepare         behind hoist: it does not look into regions, and moves what has left them
 * diagnose        behind the last pass that changes "grad", whose values its functions read */
const mvs_pass mvs_pipeline[] = {
    /* name, run, needs, gives, breaks, summary */
    {"simplify", mvs_pass_simplify, 0, SIMPLE, 0,
     "named rewrite rules on the model as lowered"},
    {"pack", mvs_pass_pack, SIMPLE, PACKED, 0,
     "products of one value with several parameters become one"},
    {"gradients", mvs_pass_gradients, SIMPLE | PACKED, GRADIENTS, SIMPLE,
     "the loss becomes the loss and its gradients"},
    {"muon", mvs_pass_muon, PACKED | GRADIENTS, 0, SIMPLE,
     "the update of matrices by Muon, a function of its own"},
    {"crossing", mvs_pass_crossing, GRADIENTS, CROSSING, 0,
     "what goes from forward to backward, kept or redone"},
    {"simplify-again", mvs_pass_simplify, GRADIENTS, SIMPLE, 0,
     "the rules once more, with those for gradients"},
    {"hoist", mvs_pass_hoist, SIMPLE | GRADIENTS, HOISTED, 0,
     "values that are the same for all layers leave their stack"},
    {"prepare", mvs_pass_prepare, HOISTED, PREPARED, 0,
     "values of weights alone are computed once per change of the weights"},
    {"diagnose", mvs_pass_diagnose, PREPARED, DIAGNOSED, 0,
     "functions that look at the stream, branches and writers while gradients are taken"},
    {"fuse", mvs_pass_fuse, GRAPH, FUSED, 0, "nodes become kernels"},
    {"schedule", mvs_pass_schedule, GRAPH | FUSED, SCHEDULED, 0, "kernels get their order"},
    {"memory", mvs_pass_memory, GRAPH | FUSED | SCHEDULED, LAID_OUT, 0,
     "values get buffers and live ranges"},
    {0}};

static bool known(const char *name) {
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    if (strcmp(pass->name, name) == 0) return true;
  }
  return false;
}

static void name_unknown(mvs_compilation *compilation, const char *until) {
  const char *names[sizeof mvs_pipeline / sizeof *mvs_pipeline];
  size_t count = 0;
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) names[count++] = pass->name;
  mvs_diag_error(compilation->diag, (mvs_span){0}, "there is no pass '%s'", until);
  const char *near = mvs_suggest(until, names, count);
  if (near) mvs_diag_hint(compilation->diag, "did you mean '%s'?", near);
}

/* A pass that comes too early is our mistake, so it is told by facts, not by words for users.
 */
static mvs_status run_pass(mvs_compilation *compilation, const mvs_pass *pass) {
  unsigned missing = pass->needs & ~compilation->facts;
  if (missing) {
    mvs_diag_error(compilation->diag, (mvs_span){0},
                   "pass '%s' runs before a pass that it needs (facts 0x%x)", pass->name,
                   missing);
    return MVS_ERR_INTERNAL;
  }
  MVS_TRY(pass->run(compilation));
  compilation->facts &= ~pass->breaks;
  compilation->facts |= pass->gives;
  if ((pass->gives | pass->breaks) & GRAPH) {
    return mvs_module_verify(compilation->module, pass->name, compilation->diag);
  }
  return MVS_OK;
}

mvs_status mvs_pipeline_run(mvs_compilation *compilation, const char *until) {
  if (until && !known(until)) {
    name_unknown(compilation, until);
    return MVS_ERR_NAME;
  }
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    MVS_TRY(run_pass(compilation, pass));
    if (until && strcmp(pass->name, until) == 0) break;
  }
  return MVS_OK;
}
