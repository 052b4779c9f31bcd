/* compile.c: a model file through all passes over graphs, to a plan. Fewer executions than
 * `language` for the same time, which stops where most inputs are wrong. */
#include "compiler/ir/lower.h"
#include "compiler/passes/pass.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const char *path = fuzz_file("model.mvs", data, size);
  mvs_unit *unit;
  mvs_compilation compilation = {.arena = arena, .diag = diag};
  mvs_status status = mvs_load_unit(arena, diag, path, NULL, 0, &unit);
  if (status == MVS_OK) {
    unit = (mvs_unit *)(uintptr_t)mvs_unit_specialise(arena, unit, 0);
    status = mvs_lower(arena, diag, unit, &compilation.module);
  }
  if (status == MVS_OK) status = mvs_pipeline_run(&compilation, NULL);
  fuzz_judge(status, diag);
  mvs_arena_free(arena);
  return 0;
}
