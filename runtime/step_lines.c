/* step_lines.c: lines that begin with their step.
 *
 * A resumed run goes back to its checkpoint, which may lie before the last line written:
 * lines behind it, and a line that a kill cut short, are dropped on opening. The file of a
 * run that was interrupted anywhere is then the file of one that was not. A line goes to the
 * system in one call, whole or (on a disk that fills up) as a start that is dropped likewise.
 */
#include "runtime/step_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/input_file.h"
#include "compiler/base/output_file.h"
#include "runtime/fail.h"

/* errno is that of the call that failed. */
static mvs_status cannot_write(const mvs_step_lines *lines) {
  return MVS_FAIL(lines->diag, MVS_ERR_IO, "cannot write '%s': %s", lines->path,
                  strerror(errno));
}

/* The number that a line begins with; false when it begins otherwise. One of more than 64 bits
 * reads as the largest. */
static bool read_step(const char *line, int64_t *out) {
  static const char head[] = "{\"step\":";
  const char *begin = line + sizeof head - 1;
  char *end;
  if (strncmp(line, head, sizeof head - 1) != 0) return false;
  *out = strtoll(begin, &end, 10);
  return end != begin;
}

/* The length of the part of the file whose lines are whole and of steps up to `step`. A line of
 * tables by layer may be long, so it is read whatever its length. What cannot be read to its
 * end must not be taken for one that ends there: its lines would be cut away. */
static bool kept_length(FILE *file, int64_t step, off_t *kept) {
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  bool wanted = true;
  *kept = 0;
  while (wanted && (length = getline(&line, &room, file)) > 0) {
    int64_t number;
    bool whole = line[length - 1] == '\n';
    wanted = whole && read_step(line, &number) && number <= step;
    if (wanted) *kept += length;
  }
  bool read = !wanted || feof(file);
  int reason = errno;
  free(line);
  errno = reason;
  return read;
}

mvs_status mvs_step_lines_rewind(mvs_step_lines *lines, int64_t step) {
  off_t kept;
  const char *why = NULL;
  FILE *file = mvs_input_stream(lines->path, &why);
  bool good = file && kept_length(file, step, &kept);
  if (!why) why = strerror(errno);
  if (file) fclose(file);
  if (!good)
    return MVS_FAIL(lines->diag, MVS_ERR_IO, "cannot read '%s': %s", lines->path, why);
  return ftruncate(lines->descriptor, kept) == 0 ? MVS_OK : cannot_write(lines);
}

/* Appending: whatever else writes to the file, nothing is overwritten. */
mvs_status mvs_step_lines_open(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                               mvs_step_lines *out) {
  *out = (mvs_step_lines){.diag = diag, .path = mvs_arena_string(arena, path)};
  out->descriptor = open(out->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (out->descriptor < 0) return cannot_write(out);
  out->open = true;
  mvs_status status = mvs_step_lines_rewind(out, step);
  if (status != MVS_OK) mvs_step_lines_close(out);
  return status;
}

mvs_status mvs_step_lines_add(mvs_step_lines *lines, mvs_text *line) {
  mvs_text_add(line, "\n");
  bool written = mvs_write_all(lines->descriptor, mvs_text_string(line), (int64_t)line->length);
  return written ? MVS_OK : cannot_write(lines);
}

mvs_status mvs_step_lines_end(const mvs_step_lines *lines, const char *line, bool *out) {
  mvs_arena *scratch = mvs_arena_new();
  size_t length = strlen(line) + 1;
  char *tail = mvs_arena_alloc(scratch, length);
  off_t size = lseek(lines->descriptor, 0, SEEK_END);
  ssize_t got =
      size < (off_t)length ? 0 : pread(lines->descriptor, tail, length, size - (off_t)length);
  *out = got == (ssize_t)length && memcmp(tail, line, length - 1) == 0;
  mvs_arena_free(scratch);
  if (size >= 0 && got >= 0) return MVS_OK;
  return MVS_FAIL(lines->diag, MVS_ERR_IO, "cannot read '%s': %s", lines->path,
                  strerror(errno));
}

mvs_status mvs_step_lines_sync(const mvs_step_lines *lines) {
  return !lines->open || mvs_sync(lines->descriptor) ? MVS_OK : cannot_write(lines);
}

/* Lines were written one by one, so nothing can be lost here. */
void mvs_step_lines_close(mvs_step_lines *lines) {
  if (lines->open) close(lines->descriptor);
  lines->open = false;
}
