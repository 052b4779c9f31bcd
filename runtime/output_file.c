/* output_file.c: files that appear whole or not at all.
 *
 * The temporary name stands in the same folder, so that the rename stays within one file
 * system and is atomic; it starts with a dot and has the process's number, so two processes
 * never write one file. The bytes are made durable before the rename and the folder after
 * it: after a power cut a name means either the old file or the whole new one. On any
 * failure the temporary file is removed. */
#include "runtime/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/fail.h"

/* One write call takes at most about 2 GiB; smaller parts also let a signal through sooner. */
#define MOST_PER_WRITE ((int64_t)1 << 26)

/* Never empty: "." and "/" are folders too. */
const char *mvs_path_folder(mvs_arena *arena, const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return ".";
  return slash == path ? "/" : mvs_arena_copy(arena, path, (size_t)(slash - path));
}

/* What stands behind the last slash; empty for a path that names a folder. */
static const char *path_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* One sentence for everything that keeps a file from being written. */
static mvs_status cannot_write(mvs_diag *diag, const char *path, const char *reason) {
  return MVS_FAIL(diag, MVS_ERR_IO, "cannot write '%s': %s", path, reason);
}

/* What stands at `path` must be a regular file or nothing: a device is never replaced. */
mvs_status mvs_output_begin(mvs_arena *arena, mvs_diag *diag, const char *path,
                            mvs_output_file *out) {
  *out = (mvs_output_file){.diag = diag, .descriptor = -1};
  struct stat facts;
  if (!*path_base(path)) return cannot_write(diag, path, "it names no file");
  if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode))
    return cannot_write(diag, path,
                        S_ISDIR(facts.st_mode) ? "it is a directory" : "not a regular file");
  out->path = mvs_arena_string(arena, path);
  out->temporary = mvs_arena_format(arena, "%s/.%s.%ld.tmp", mvs_path_folder(arena, path),
                                    path_base(path), (long)getpid());
  out->descriptor = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (out->descriptor < 0) return cannot_write(diag, path, strerror(errno));
  return MVS_OK;
}

/* errno is read first: removing the temporary file may change it. */
static mvs_status give_up(mvs_output_file *file) {
  int reason = errno;
  mvs_output_abandon(file);
  return cannot_write(file->diag, file->path, strerror(reason));
}

/* A short write (a full disk gives one before its error) is simply continued. */
mvs_status mvs_output_append(mvs_output_file *file, const void *data, int64_t bytes) {
  const char *from = data;
  while (bytes > 0) {
    size_t part = (size_t)(bytes < MOST_PER_WRITE ? bytes : MOST_PER_WRITE);
    ssize_t done = write(file->descriptor, from, part);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return give_up(file);
    from += done, bytes -= done;
  }
  return MVS_OK;
}

/* Makes the rename itself durable. A file system that cannot sync a folder is let pass. */
static void sync_folder(const char *path) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  int length = slash ? (int)(slash - path) : 0;
  snprintf(folder, sizeof folder, "%.*s", slash ? length + 1 : 1, slash ? path : ".");
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

/* EINVAL: the file system has no fsync, and there is nothing more to be done. The file is
 * closed before it is renamed, since closing may report a late error. */
mvs_status mvs_output_finish(mvs_output_file *file) {
  if (fsync(file->descriptor) != 0 && errno != EINVAL) return give_up(file);
  if (close(file->descriptor) != 0) {
    file->descriptor = -1;
    return give_up(file);
  }
  file->descriptor = -1;
  if (rename(file->temporary, file->path) != 0) return give_up(file);
  sync_folder(file->path);
  file->temporary = NULL;
  return MVS_OK;
}

/* Safe on a file that was never begun. */
void mvs_output_abandon(mvs_output_file *file) {
  if (file->descriptor >= 0) close(file->descriptor);
  file->descriptor = -1;
  if (file->temporary) unlink(file->temporary);
  file->temporary = NULL;
}

/* Nothing is left to abandon: append and finish clean up after themselves. */
mvs_status mvs_output_write(mvs_arena *arena, mvs_diag *diag, const char *path,
                            const void *data, int64_t bytes) {
  mvs_output_file file;
  MVS_TRY(mvs_output_begin(arena, diag, path, &file));
  MVS_TRY(mvs_output_append(&file, data, bytes));
  return mvs_output_finish(&file);
}

/* Makes the temporary file and removes it: the only sure way to know. */
mvs_status mvs_output_check(mvs_arena *arena, mvs_diag *diag, const char *path) {
  mvs_output_file file;
  MVS_TRY(mvs_output_begin(arena, diag, path, &file));
  mvs_output_abandon(&file);
  return MVS_OK;
}

/* Like mkdir -p: what exists already is fine as long as the last one is a folder. */
mvs_status mvs_make_folders(mvs_arena *arena, mvs_diag *diag, const char *path) {
  char *part = mvs_arena_string(arena, path);
  for (char *at = part + 1; part[0]; at++) {
    if (*at != '/' && *at != '\0') continue;
    char kept = *at;
    *at = '\0';
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
      return MVS_FAIL(diag, MVS_ERR_IO, "cannot make the folder '%s': %s", part,
                      strerror(errno));
    *at = kept;
    if (!kept) break;
  }
  struct stat facts;
  if (stat(path, &facts) != 0)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot make the folder '%s': %s", path, strerror(errno));
  if (!S_ISDIR(facts.st_mode)) return MVS_FAIL(diag, MVS_ERR_IO, "'%s' is not a folder", path);
  return MVS_OK;
}
