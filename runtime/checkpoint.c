#include "runtime/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/output_file.h"
#include "runtime/weights.h"

#define PREFIX   "step-"
#define SUFFIX   ".safetensors"
#define STEP_KEY "mvcc.step"

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

static int newest_first(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return a == b ? 0 : a < b ? 1 : -1;
}

static step_list list_steps(mvs_arena *arena, const char *folder) {
  step_list steps = {0};
  DIR *open = opendir(folder);
  if (!open) return steps;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    int64_t step;
    if (step_of(entry->d_name, &step)) MVS_PUSH(arena, &steps, step);
  }
  closedir(open);
  if (steps.count) qsort(steps.items, steps.count, sizeof *steps.items, newest_first);
  return steps;
}

static const char *path_of(mvs_arena *arena, const char *folder, int64_t step) {
  return mvs_arena_format(arena, "%s/" PREFIX "%" PRId64 SUFFIX, folder, step);
}

/* A file is complete when it reads as a tensor file: its tensors cover it to the last byte. */
static bool is_complete(mvs_arena *arena, const char *path) {
  mvs_safetensors *file;
  if (mvs_safetensors_open(arena, mvs_diag_new(arena), path, &file) != MVS_OK) return false;
  bool marked = mvs_safetensors_metadata(file, STEP_KEY) != NULL;
  mvs_safetensors_close(file);
  return marked;
}

mvs_status mvs_checkpoint_newest(mvs_arena *arena, const char *folder, const char **path,
                                 int64_t *step) {
  step_list steps = list_steps(arena, folder);
  *path = NULL;
  for (size_t at = 0; at < steps.count; at++) {
    const char *candidate = path_of(arena, folder, steps.items[at]);
    if (!is_complete(arena, candidate)) continue;
    *path = candidate;
    *step = steps.items[at];
    break;
  }
  return MVS_OK;
}

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
  return mvs_arena_copy(arena, path, length - tail);
}

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
  MVS_TRY(mvs_checkpoint_newest(arena, folder, out, &step));
  if (*out) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_IO, "'%s' holds no complete checkpoint (step-N.safetensors)",
                  folder);
}

/* --- saving --- */

static mvs_status write_state(mvs_session *session, mvs_safetensors_writer *writer,
                              const mvs_optimizer *optimizer, const mvs_param_list *params) {
  MVS_TRY(mvs_safetensors_begin(writer));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->params, true));
  if (optimizer->average)
    MVS_TRY(mvs_weights_append(session, writer, params, optimizer->average, false));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->m, false));
  MVS_TRY(mvs_weights_append(session, writer, params, optimizer->v, false));
  return mvs_safetensors_finish(writer);
}

/* Keeps the one just saved and the newest before it. Later ones can only be damaged files that
 * a resumed run went back behind: they must not push out the good ones. */
static void remove_old(mvs_arena *arena, const char *folder, int64_t saved, int64_t keep) {
  step_list steps = list_steps(arena, folder);
  int64_t kept = 0;
  for (size_t at = 0; at < steps.count; at++)
    if (steps.items[at] <= saved && ++kept > keep)
      unlink(path_of(arena, folder, steps.items[at]));
}

mvs_status mvs_checkpoint_save(mvs_session *session, const mvs_optimizer *optimizer,
                               const char *folder, int64_t step, int64_t keep) {
  /* Names and header of a deep model take megabytes: they go when the file is written. */
  mvs_arena *arena = mvs_arena_new();
  if (!arena) return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory");
  mvs_param_list *params = mvs_params_list(arena, session->program);
  const char *path = path_of(arena, folder, step);
  mvs_safetensors_writer *writer = mvs_safetensors_writer_new(arena, session->diag, path);
  mvs_safetensors_add_metadata(writer, "mvcc.model", session->program->model);
  mvs_safetensors_add_metadata(writer, "mvcc.residual", session->program->residual);
  mvs_safetensors_add_metadata(writer, STEP_KEY, mvs_arena_format(arena, "%" PRId64, step));
  mvs_weights_declare(writer, arena, params, "", true);
  if (optimizer->average) mvs_weights_declare(writer, arena, params, "ema/", false);
  mvs_weights_declare(writer, arena, params, "adam_m/", false);
  mvs_weights_declare(writer, arena, params, "adam_v/", false);
  mvs_status status = write_state(session, writer, optimizer, params);
  if (status == MVS_OK) remove_old(arena, folder, step, keep);
  mvs_safetensors_abandon(writer);
  mvs_arena_free(arena);
  return status;
}

/* --- loading --- */

static mvs_status read_state(mvs_session *session, const mvs_safetensors *file,
                             mvs_optimizer *optimizer, int64_t *step) {
  mvs_param_list *params = mvs_params_list(session->arena, session->program);
  const char *number = mvs_safetensors_metadata(file, STEP_KEY);
  if (!number || !mvs_parse_integer(number, step) || *step < 0)
    return MVS_FAIL(session->diag, MVS_ERR_FORMAT, "'%s' does not say which step it is of",
                    file->path);
  MVS_TRY(mvs_weights_read(session, file, params, "", optimizer->params));
  MVS_TRY(mvs_weights_read(session, file, params, "adam_m/", optimizer->m));
  MVS_TRY(mvs_weights_read(session, file, params, "adam_v/", optimizer->v));
  if (!optimizer->average) return MVS_OK;
  return mvs_weights_read(session, file, params, "ema/", optimizer->average);
}

mvs_status mvs_checkpoint_load(mvs_session *session, mvs_optimizer *optimizer, const char *path,
                               int64_t *step) {
  mvs_safetensors *file;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &file));
  mvs_status status = read_state(session, file, optimizer, step);
  mvs_safetensors_close(file);
  return status;
}

void mvs_checkpoint_sweep(const char *folder) {
  static const char start[] = "." PREFIX, end[] = ".tmp";
  DIR *open = opendir(folder);
  if (!open) return;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    size_t length = strlen(entry->d_name);
    if (strncmp(entry->d_name, start, sizeof start - 1) != 0) continue;
    if (length < sizeof end || strcmp(entry->d_name + length - (sizeof end - 1), end) != 0)
      continue;
    unlinkat(dirfd(open), entry->d_name, 0);
  }
  closedir(open);
}
