/* program.c: the tables of a program behind an executable. The frame around them is put right
 * first, else no input would pass its checksum; what passes the checks is taken apart as
 * starting a trainer does. Sound tables come from program_tables.py. */
#include "codegen/program.h"

#include <stdlib.h>
#include <xxhash.h>

#include "runtime/params.h"
#include "runtime/placement.h"
#include "tests/fuzz/fuzz.h"

enum { FRAME = 24 };

/* What is refused here is told to the user by mvs_placement_new. */
static void place(mvs_arena *arena, const mvs_program *program, mvs_recompute recompute) {
  mvs_placement *placement;
  mvs_params_list(arena, program);
  for (size_t at = 0; at < program->n_functions; at++) {
    mvs_diag *diag = mvs_diag_new(arena);
    const Mvs__Function *function = program->functions[at];
    fuzz_judge(mvs_placement_new(arena, diag, program, function, 3, recompute, at % 2, &placement),
               diag);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t *packed = malloc(FRAME + size);
  uint64_t length = size, checksum = XXH3_64bits(data, size);
  mvs_program *program;
  const char *why = NULL;
  memcpy(packed, "MVSPROG2", 8);
  memcpy(packed + 8, &length, 8);
  memcpy(packed + 16, &checksum, 8);
  if (size) memcpy(packed + FRAME, data, size);
  mvs_status status = mvs_program_unpack(packed, FRAME + size, &program, &why);
  if (status != MVS_OK && !why) abort();
  if (status == MVS_OK) {
    mvs_arena *arena = mvs_arena_new();
    place(arena, program, MVS_RECOMPUTE_NONE);
    place(arena, program, MVS_RECOMPUTE_BLOCK);
    mvs_program_free(program);
    mvs_arena_free(arena);
  }
  free(packed);
  return 0;
}
