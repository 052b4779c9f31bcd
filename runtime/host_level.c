/* host_level.c: CPUID decides, MVCC_CPU may ask for less.
 *
 * A variable and not an option, so that whole test suites, and programs started by others
 * (`mvcc compare`), can be held to a level. It never falls back: who names a level wants to
 * know what that level does. */
#include "runtime/host_level.h"

#include <stdlib.h>

#include "runtime/fail.h"

/* What was asked for, checked against what there is. */
static mvs_status named_level(const char *name, mvs_diag *diag, mvs_cpu_level *out) {
  *out = mvs_cpu_of_name(name);
  if (*out == MVS_CPU_LEVELS)
    return MVS_FAIL(diag, MVS_ERR_NAME, "MVCC_CPU knows %s, not '%s'", MVS_CPU_NAMES, name);
  const char *lacks = mvs_cpu_lacks(*out);
  if (lacks) return MVS_FAIL(diag, MVS_ERR_DEVICE, "MVCC_CPU is %s: %s", name, lacks);
  return MVS_OK;
}

mvs_status mvs_host_level(const mvs_program *program, mvs_diag *diag, mvs_cpu_level *out) {
  const char *name = getenv("MVCC_CPU");
  bool named = name && *name;
  if (named) MVS_TRY(named_level(name, diag, out));
  if (!named) *out = mvs_cpu_best();
  mvs_cpu_level least = mvs_cpu_of_name(program->cpu_level);
  if (*out < MVS_CPU_LEVELS && (least == MVS_CPU_LEVELS || *out >= least)) return MVS_OK;
  if (named)
    return MVS_FAIL(diag, MVS_ERR_DEVICE,
                    "MVCC_CPU is %s: this program has code for %s and better", name,
                    program->cpu_level);
  return MVS_FAIL(diag, MVS_ERR_DEVICE,
                  "this program is compiled for %s processors and %s; compile it with a lower "
                  "--cpu",
                  program->cpu_level, mvs_cpu_lacks(least));
}

void mvs_host_level_take(mvs_program *program) {
  mvs_arena *arena = mvs_arena_new();
  mvs_cpu_level level;
  if (mvs_host_level(program, mvs_diag_new(arena), &level) == MVS_OK)
    mvs_program_take_forms(program, level);
  mvs_arena_free(arena);
}
