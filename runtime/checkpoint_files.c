/* checkpoint_files.c: names of checkpoints in a folder.
 *
 * Files are found by listing, never by a pointer file that could be out of step with them:
 * `latest` is the newest step-N.safetensors that reads as a whole tensor file. What is
 * called otherwise is the user's and is not touched; removal goes by name and number alone. */
#include "runtime/checkpoint_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/fail.h"
#include "runtime/options.h"
#include "runtime/safetensors.h"

#define PREFIX "step-"
#define SUFFIX ".safetensors"

typedef MVS_LIST(int64_t) step_list;

/* Reads N of "step-N.safetensors"; false for any other name. */
static bool step_of(const char *name, int64_t *step) {
  char *end;
  if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return false;
  const char *digits = name + strlen(PREFIX);
  if (*digits < '0' || *digits > '9') return false;
  errno = 0;
  *step = strtoll(digits, &end, 10);
  return !errno && strcmp(end, SUFFIX) == 0;
}

/* For qsort; steps are never negative, but their difference may not fit an int. */
static int newest_first(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return a == b ? 0 : a < b ? 1 : -1;
}

/* All step-N.safetensors of a folder, newest first; a missing folder has none. errno is 0, or
 * says why the folder cannot be read. */
static step_list list_steps(mvs_arena *arena, const char *folder) {
  step_list steps = {0};
  DIR *open = opendir(folder);
  if (!open && errno == ENOENT) errno = 0;
  if (!open) return steps;
  errno = 0;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    int64_t step;
    if (step_of(entry->d_name, &step)) MVS_PUSH(arena, &steps, step);
    errno = 0;
  }
  int reason = errno;
  closedir(open);
  if (steps.count) qsort(steps.items, steps.count, sizeof *steps.items, newest_first);
  errno = reason;
  return steps;
}

/* The number has no leading zeros: names are compared as numbers, never as text. */
const char *mvs_checkpoint_path(mvs_arena *arena, const char *folder, int64_t step) {
  return mvs_arena_format(arena, "%s/" PREFIX "%" PRId64 SUFFIX, folder, step);
}

/* A file is complete when it reads as a tensor file, whose tensors cover it to the last byte,
 * and says that it is of the step that it is called by: a copy under another name would count
 * as that step from then on. One that a run which goes on has just removed is not. */
static mvs_status look_at(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                          bool *complete) {
  mvs_safetensors *file;
  mvs_diag *own = mvs_diag_new(arena);
  mvs_status status = mvs_safetensors_open(arena, own, path, &file);
  *complete = false;
  if (status == MVS_OK) {
    const char *number = mvs_safetensors_metadata(file, MVS_CHECKPOINT_STEP);
    int64_t of;
    *complete = number && mvs_parse_integer(number, &of) && of == step;
    mvs_safetensors_close(file);
    return MVS_OK;
  }
  if (status == MVS_ERR_FORMAT || access(path, F_OK) != 0) return MVS_OK;
  mvs_diag_join(diag, own);
  return status;
}

/* Damaged ones are passed over in silence: the run that resumes will write new ones. */
mvs_status mvs_checkpoint_newest(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                 const char **path, int64_t *step) {
  return mvs_checkpoint_before(arena, diag, folder, INT64_MAX, 1, path, step);
}

mvs_status mvs_checkpoint_before(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                 int64_t most, int64_t every, const char **path,
                                 int64_t *step) {
  *path = NULL;
  step_list steps = list_steps(arena, folder);
  if (errno)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot read the folder '%s': %s", folder,
                    strerror(errno));
  for (size_t at = 0; at < steps.count && !*path; at++) {
    bool complete;
    if (steps.items[at] > most || steps.items[at] % every != 0) continue;
    const char *candidate = mvs_checkpoint_path(arena, folder, steps.items[at]);
    MVS_TRY(look_at(arena, diag, candidate, steps.items[at], &complete));
    if (complete) *path = candidate, *step = steps.items[at];
  }
  return MVS_OK;
}

/* Links are followed: RUN may be one. */
static bool is_folder(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

/* RUN of "RUN/latest", or NULL when the path does not end so. */
static const char *folder_of_latest(mvs_arena *arena, const char *path) {
  static const char word[] = "latest";
  size_t length = strlen(path), tail = sizeof word - 1;
  while (length > 1 && path[length - 1] == '/') length--;
  if (length < tail || strncmp(path + length - tail, word, tail) != 0) return NULL;
  if (length == tail) return ".";
  if (path[length - tail - 1] != '/') return NULL;
  return mvs_arena_copy(arena, path, length - tail - (length - tail > 1));
}

/* A file that is really called `latest` is taken as a file. */
mvs_status mvs_checkpoint_resolve(mvs_arena *arena, mvs_diag *diag, const char *path,
                                  const char **out) {
  const char *folder = is_folder(path) ? path : NULL;
  struct stat facts;
  if (!folder && stat(path, &facts) != 0) folder = folder_of_latest(arena, path);
  *out = path;
  if (!folder) return MVS_OK;
  int64_t step;
  if (!is_folder(folder))
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot open '%s': there is no folder '%s'", path,
                    folder);
  MVS_TRY(mvs_checkpoint_newest(arena, diag, folder, out, &step));
  if (*out) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_IO, "'%s' holds no complete checkpoint (step-N.safetensors)",
                  folder);
}

/* Failures to remove are no failures to save, and are let pass. */
void mvs_checkpoint_remove_old(mvs_arena *arena, const char *folder, int64_t saved,
                               const mvs_checkpoint_keep *keep) {
  step_list steps = list_steps(arena, folder);
  bool settled = keep->settled == 0, good = keep->good == 0;
  int64_t kept = 0;
  for (size_t at = 0; at < steps.count; at++) {
    int64_t step = steps.items[at];
    if (step > saved) continue;
    bool regular = step % keep->every == 0, guards = regular && !good && step <= keep->good;
    bool stays = kept++ < keep->newest || !settled || guards;
    if (regular && step <= keep->settled) settled = true;
    good = good || guards;
    if (!stays) unlink(mvs_checkpoint_path(arena, folder, step));
  }
}

/* Behind a kill in the middle the newest one left is an older one, never one with a gap below.
 */
mvs_status mvs_checkpoint_remove_after(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                       int64_t step) {
  step_list steps = list_steps(arena, folder);
  for (size_t at = 0; at < steps.count && steps.items[at] > step; at++) {
    const char *path = mvs_checkpoint_path(arena, folder, steps.items[at]);
    if (unlink(path) != 0)
      return MVS_FAIL(diag, MVS_ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
  }
  return MVS_OK;
}
