/* write.c: the executable, and running a program at once.
 *
 * Writing needs no linker: the prebuilt trainer is copied and the program appended
 * (docs/program_format.md). Running goes through the same kernels and tables but lets the
 * JIT place the code, and calls the trainer's main in this process, so `mvcc run` and an
 * executable print the same and take the same options. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/host/host.h"
#include "compiler/base/processor.h"
#include "compiler/mvcc/driver.h"
#include "runtime/trainer.h"

/* Where the prebuilt trainer may be, relative to the folder of mvcc. */
static const char *const trainer_places[] = {"mvs-trainer", "../libexec/mvcc/mvs-trainer",
                                             "../lib/mvcc/mvs-trainer"};

/* The folder of this executable, with a slash at its end; NULL when the system does not say. */
static char *own_folder(mvs_arena *arena) {
  enum { MOST = 4096 };
  char *path = mvs_arena_alloc(arena, MOST);
  ssize_t length = readlink("/proc/self/exe", path, MOST - 1);
  if (length <= 0 || length >= MOST - 1) return NULL;
  path[length] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash) return NULL;
  slash[1] = '\0';
  return path;
}

/* MVCC_TRAINER, or a file beside mvcc or in the folders of an installation. */
static mvs_status find_trainer(const mvs_driver *driver, const char **out) {
  *out = getenv("MVCC_TRAINER");
  if (*out && **out) return MVS_OK;
  const char *folder = own_folder(driver->session);
  for (size_t i = 0; folder && i < sizeof trainer_places / sizeof *trainer_places; i++) {
    *out = mvs_arena_format(driver->session, "%s%s", folder, trainer_places[i]);
    if (access(*out, R_OK) == 0) return MVS_OK;
  }
  mvs_diag_error(driver->diag, (mvs_span){0},
                 "cannot find mvs-trainer beside mvcc%s%s; name it in MVCC_TRAINER",
                 folder ? " in " : "", folder ? folder : "");
  return MVS_ERR_IO;
}

mvs_status mvs_driver_write(mvs_driver *driver) {
  const char *trainer;
  MVS_TRY(find_trainer(driver, &trainer));
  mvs_host_options options = {.cpu_level = driver->options->cpu_level};
  MVS_TRY(mvs_host_compile(driver->graphs, driver->diag, driver->build, &options));
  return mvs_program_write_executable(driver->build->program, trainer, driver->options->output,
                                      driver->diag);
}

/* --cpu, or what MVCC_CPU asks of trainers too (runtime/host_level.c); NULL: the best. */
static mvs_status level_of_run(mvs_driver *driver, const char **out) {
  const char *asked = getenv("MVCC_CPU");
  *out = driver->options->cpu_level;
  if (*out || !asked || !*asked) return MVS_OK;
  *out = asked;
  if (mvs_cpu_of_name(asked) < MVS_CPU_LEVELS) return MVS_OK;
  mvs_diag_error(driver->diag, (mvs_span){0}, "MVCC_CPU knows %s, not '%s'", MVS_CPU_NAMES,
                 asked);
  return MVS_ERR_NAME;
}

/* argv[0] is what the user would type, since the trainer's messages start with it. */
mvs_status mvs_driver_run(mvs_driver *driver, int *code) {
  mvs_host_options options = {0};
  MVS_TRY(level_of_run(driver, &options.cpu_level));
  MVS_TRY(mvs_host_load(driver->graphs, driver->diag, driver->build, &options));
  int count = driver->options->rest_count;
  char **arguments = MVS_ARRAY(driver->session, (size_t)count + 2, char *);
  arguments[0] = mvs_arena_format(driver->session, "mvcc run %s", driver->options->input);
  for (int i = 0; i < count; i++) arguments[i + 1] = driver->options->rest[i];
  *code = mvs_trainer_main(driver->build->program, count + 1, arguments);
  return MVS_OK;
}
