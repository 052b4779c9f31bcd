/* source.c: whole files in memory. A model file may be named by anyone, so nothing of it is
 * trusted: the size is checked before memory is asked for, and
 * what was read decides the length when the file changes meanwhile. Texts end with a NUL beyond
 * their length, which readers may look at; a NUL within is for the parser to refuse. Writing
 * files is the command line's and the runtime's. */
#include "compiler/base/source.h"

#include <errno.h>
#include <unistd.h>

#include "compiler/base/input_file.h"

mvs_source *mvs_source_new(mvs_arena *home, const char *name, const char *text, size_t length) {
  mvs_source *source = MVS_NEW(home, mvs_source);
  source->name = mvs_arena_string(home, name);
  source->text = mvs_arena_copy(home, text, length);
  source->length = length;
  return source;
}

/* One sentence for all that the operating system refuses; `from` shows who asked. */
static mvs_status io_error(mvs_diag *diag, mvs_span from, const char *path,
                           const char *reason) {
  mvs_diag_error(diag, from, "cannot read '%s': %s", path, reason);
  return MVS_ERR_IO;
}

/* Reads until the end of the file or until `size` bytes are there; -1 with errno on failure. */
static ssize_t read_all(int file, char *into, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = read(file, into + have, size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    have += (size_t)got;
  }
  return (ssize_t)have;
}

/* Checks and reads a file that is open; closing it is the caller's, on every path. */
static mvs_status read_open(mvs_arena *home, mvs_diag *diag, const char *path, int file,
                            int64_t bytes, size_t limit, mvs_span from, mvs_source **out) {
  if ((uint64_t)bytes > limit) {
    mvs_diag_error(diag, from, "'%s' has %lld bytes, the limit is %zu", path, (long long)bytes,
                   limit);
    return MVS_ERR_LIMIT;
  }
  /* The size may change between the two calls: what is read decides. */
  size_t size = (size_t)bytes;
  char *text = mvs_arena_alloc(home, size + 1);
  ssize_t got = read_all(file, text, size);
  if (got < 0) return io_error(diag, from, path, strerror(errno));
  mvs_source *source = MVS_NEW(home, mvs_source);
  source->name = mvs_arena_string(home, path);
  source->text = text;
  source->length = (size_t)got;
  *out = source;
  return MVS_OK;
}

mvs_status mvs_source_read(mvs_arena *home, mvs_diag *diag, const char *path, size_t limit,
                           mvs_span from, mvs_source **out) {
  *out = NULL;
  int64_t bytes;
  const char *why;
  int file = mvs_input_open(path, &bytes, &why);
  if (file < 0) return io_error(diag, from, path, why);
  mvs_status status = read_open(home, diag, path, file, bytes, limit, from, out);
  close(file);
  return status;
}
