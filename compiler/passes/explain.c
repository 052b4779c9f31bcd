/* explain.c: what became of the model, kernel by kernel, for --explain. */
#include "compiler/passes/plan.h"

void mvs_plan_explain(const mvs_plan *plan, mvs_text *out) {
  (void)plan;
  (void)out;
}
