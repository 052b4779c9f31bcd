/* output_file.c: files that appear whole or not at all.
 *
 * The temporary name stands in the same folder, so that the rename stays within one file
 * system and is atomic; it starts with a dot and has the process's number, so two processes
 * never write one file. The bytes are made durable before the rename and the folder after
 * it: after a power cut a name means either the old file or the whole new one. On any
 * failure the temporary file is removed.
 *
 * A process that is killed cannot remove anything. So a writer holds a lock on its temporary
 * file, which the system takes back with the process: one that nobody holds is rubbish, whoever
 * and wherever its writer was (a number alone says little: it may be another process's by now,
 * or one of another machine). Each writer first sweeps away those of its own file. Where a
 * file system knows no locks they stay. */
#include "compiler/base/output_file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "compiler/base/checked.h"

/* One write call takes at most about 2 GiB; smaller parts also let a signal through sooner. */
#define MOST_PER_WRITE ((int64_t)1 << 26)
#define SUFFIX         ".tmp"
/* A sweep takes a file from a writer once at most; more means that something else is wrong. */
#define MOST_ATTEMPTS 100

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
  mvs_diag_error(diag, (mvs_span){0}, "cannot write '%s': %s", path, reason);
  return MVS_ERR_IO;
}

/* --- what dead writers left --- */

/* The length of NAME in ".NAME.NUMBER.tmp", or 0 for what is called otherwise. */
static size_t name_length(const char *entry) {
  size_t length = strlen(entry), end = sizeof SUFFIX - 1;
  if (entry[0] != '.' || length <= end || strcmp(entry + length - end, SUFFIX) != 0) return 0;
  size_t digits = length - end, at = digits;
  while (at > 1 && isdigit((unsigned char)entry[at - 1])) at--;
  return at < digits && at > 2 && entry[at - 1] == '.' ? at - 2 : 0;
}

bool mvs_output_is_temporary(const char *name) { return name_length(name) > 0; }

/* Taken away while its lock is held, so that no writer can be about to begin on it. */
static void remove_unheld(int folder, const char *entry) {
  int descriptor = openat(folder, entry, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) unlinkat(folder, entry, 0);
  close(descriptor);
}

/* Those of one file, or with NULL of all. What cannot be removed does no harm. */
static void sweep(const char *folder, const char *base) {
  DIR *open = opendir(folder);
  if (!open) return;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    size_t length = name_length(entry->d_name);
    if (length == 0) continue;
    if (base && (strlen(base) != length || memcmp(base, entry->d_name + 1, length) != 0))
      continue;
    remove_unheld(dirfd(open), entry->d_name);
  }
  closedir(open);
}

void mvs_output_sweep(const char *folder) { sweep(folder, NULL); }

/* --- writing --- */

/* errno is read first: removing the temporary file may change it. */
static mvs_status give_up(mvs_output_file *file) {
  int reason = errno;
  mvs_output_abandon(file);
  return cannot_write(file->diag, file->path, strerror(reason));
}

/* Whether the path still names the open file: a sweep may have come between. */
static bool is_at(int descriptor, const char *path) {
  struct stat open, named;
  return fstat(descriptor, &open) == 0 && stat(path, &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

/* Waits for a sweep that is just looking at the file, then takes a new one if it is gone. A
 * file system without locks does without. -1: errno says why */
static int create_locked(const char *path, unsigned mode) {
  for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    if (descriptor < 0) return -1;
    while (flock(descriptor, LOCK_EX) != 0 && errno == EINTR) continue;
    if (is_at(descriptor, path)) return descriptor;
    close(descriptor);
  }
  errno = EBUSY;
  return -1;
}

/* What stands at `path` must be a regular file or nothing: a device is never replaced. */
mvs_status mvs_output_begin(mvs_arena *arena, mvs_diag *diag, const char *path, unsigned mode,
                            mvs_output_file *out) {
  *out = (mvs_output_file){.diag = diag, .descriptor = -1};
  struct stat facts;
  if (!*path_base(path)) return cannot_write(diag, path, "it names no file");
  if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode))
    return cannot_write(diag, path,
                        S_ISDIR(facts.st_mode) ? "it is a directory" : "not a regular file");
  out->path = mvs_arena_string(arena, path);
  out->folder = mvs_path_folder(arena, path);
  const char *temporary = mvs_arena_format(arena, "%s/.%s.%ld" SUFFIX, out->folder,
                                           path_base(path), (long)getpid());
  sweep(out->folder, path_base(path));
  out->descriptor = create_locked(temporary, mode);
  if (out->descriptor < 0) return cannot_write(diag, path, strerror(errno));
  out->temporary = temporary;
  /* A file of a dead process with our number is still there where nothing could be locked. */
  return ftruncate(out->descriptor, 0) == 0 ? MVS_OK : give_up(out);
}

bool mvs_write_all(int descriptor, const void *data, int64_t bytes) {
  const char *from = data;
  while (bytes > 0) {
    size_t part = (size_t)(bytes < MOST_PER_WRITE ? bytes : MOST_PER_WRITE);
    ssize_t done = write(descriptor, from, part);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    from += done, bytes -= done;
  }
  return true;
}

/* A short write (a full disk gives one before its error) is simply continued. */
mvs_status mvs_output_append(mvs_output_file *file, const void *data, int64_t bytes) {
  return mvs_write_all(file->descriptor, data, bytes) ? MVS_OK : give_up(file);
}

bool mvs_sync(int descriptor) {
  int failed;
  do {
    failed = fsync(descriptor);
  } while (failed && errno == EINTR);
  return !failed || errno == EINVAL;
}

/* Makes the names in a folder durable; nothing can be done where it may be written but not
 * read. */
static bool sync_folder(const char *folder) {
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno == EACCES;
  bool synced = mvs_sync(descriptor);
  int reason = errno;
  close(descriptor);
  errno = reason;
  return synced;
}

/* The lock is held until the file has its name. Closing tells nothing that fsync has not. */
mvs_status mvs_output_finish(mvs_output_file *file) {
  if (!mvs_sync(file->descriptor)) return give_up(file);
  if (rename(file->temporary, file->path) != 0) return give_up(file);
  file->temporary = NULL;
  mvs_output_abandon(file);
  if (!sync_folder(file->folder)) return cannot_write(file->diag, file->path, strerror(errno));
  return MVS_OK;
}

/* Safe on a file that was never begun. */
void mvs_output_abandon(mvs_output_file *file) {
  if (file->temporary) unlink(file->temporary);
  if (file->descriptor >= 0) close(file->descriptor);
  file->descriptor = -1;
  file->temporary = NULL;
}

/* Nothing is left to abandon: append and finish clean up after themselves. */
mvs_status mvs_output_write(mvs_arena *arena, mvs_diag *diag, const char *path,
                            const void *data, int64_t bytes) {
  mvs_output_file file;
  MVS_TRY(mvs_output_begin(arena, diag, path, 0666, &file));
  MVS_TRY(mvs_output_append(&file, data, bytes));
  return mvs_output_finish(&file);
}

/* Makes the temporary file and removes it: the only sure way to know. */
mvs_status mvs_output_check(mvs_arena *arena, mvs_diag *diag, const char *path) {
  mvs_output_file file;
  MVS_TRY(mvs_output_begin(arena, diag, path, 0666, &file));
  mvs_output_abandon(&file);
  return MVS_OK;
}

/* --- folders --- */

/* No file system of zero blocks can hold a file: such a number is none. */
int64_t mvs_free_bytes(mvs_arena *arena, const char *folder) {
  struct statvfs facts;
  bool known = statvfs(folder, &facts) == 0;
  while (!known && errno == ENOENT && strcmp(folder, ".") != 0 && strcmp(folder, "/") != 0) {
    folder = mvs_path_folder(arena, folder);
    known = statvfs(folder, &facts) == 0;
  }
  int64_t bytes;
  if (!known || facts.f_blocks == 0) return -1;
  return mvs_mul((int64_t)facts.f_bavail, (int64_t)facts.f_frsize, &bytes) ? bytes : -1;
}

static mvs_status cannot_make(mvs_diag *diag, const char *path) {
  mvs_diag_error(diag, (mvs_span){0}, "cannot make the folder '%s': %s", path, strerror(errno));
  return MVS_ERR_IO;
}

/* Like mkdir -p: what exists already is fine as long as the last one is a folder. A folder that
 * is new needs its name made durable where it stands. */
mvs_status mvs_make_folders(mvs_arena *arena, mvs_diag *diag, const char *path) {
  char *part = mvs_arena_string(arena, path);
  for (char *at = part + 1; part[0]; at++) {
    if (*at != '/' && *at != '\0') continue;
    char kept = *at;
    *at = '\0';
    bool made = mkdir(part, 0777) == 0;
    if (!made && errno != EEXIST) return cannot_make(diag, part);
    if (made && !sync_folder(mvs_path_folder(arena, part))) return cannot_make(diag, part);
    *at = kept;
    if (!kept) break;
  }
  struct stat facts;
  if (stat(path, &facts) != 0) return cannot_make(diag, path);
  if (S_ISDIR(facts.st_mode)) return MVS_OK;
  mvs_diag_error(diag, (mvs_span){0}, "'%s' is not a folder", path);
  return MVS_ERR_IO;
}
