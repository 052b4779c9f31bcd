/* graph.c: IR text. What reads back must dump to a text that reads back to the same dump. */
#include <stdlib.h>

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "tests/fuzz/fuzz.h"

static mvs_module *read_text(mvs_arena *arena, mvs_diag *diag, const char *text, size_t size) {
  mvs_source source = {
      .name = "fuzz", .text = mvs_arena_copy(arena, text, size), .length = size};
  mvs_module *module = NULL;
  mvs_status status = mvs_module_read(arena, diag, &source, &module);
  fuzz_judge(status, diag);
  return status == MVS_OK ? module : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_module *module = read_text(arena, diag, (const char *)data, size);
  /* A text may say what only a pass could have got wrong: then the verifier has a word for it.
   */
  if (module && mvs_module_verify(module, "read", diag) == MVS_OK) {
    mvs_text first = mvs_text_new(arena), second = mvs_text_new(arena);
    mvs_module_dump(module, &first);
    mvs_module *again =
        read_text(arena, mvs_diag_new(arena), mvs_text_string(&first), first.length);
    if (!again) abort();
    mvs_module_dump(again, &second);
    if (strcmp(mvs_text_string(&first), mvs_text_string(&second)) != 0) abort();
  }
  mvs_arena_free(arena);
  return 0;
}
