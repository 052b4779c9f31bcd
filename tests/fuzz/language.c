/* language.c: a model file, from its text to verified graphs. */
#include "compiler/ir/lower.h"
#include "compiler/ir/verify.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const char *path = fuzz_file("model.mvs", data, size);
  mvs_unit *unit;
  mvs_module *module;
  mvs_status status = mvs_load_unit(arena, diag, path, NULL, 0, &unit);
  for (size_t at = 0; status == MVS_OK && at < mvs_unit_specialisations(unit); at++) {
    status = mvs_lower(arena, diag, mvs_unit_specialise(arena, unit, at), &module);
    if (status == MVS_OK) status = mvs_module_verify(module, "lower", diag);
  }
  fuzz_judge(status, diag);
  mvs_arena_free(arena);
  return 0;
}
