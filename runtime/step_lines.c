/* step_lines.c: lines that begin with their step.
 *
 * A resumed run goes back to its checkpoint, which may lie before the last line written:
 * lines behind it, and a line that a kill cut short, are dropped on opening. The file of a
 * run that was interrupted anywhere is then the file of one that was not. */
#include "runtime/step_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/fail.h"

/* errno is that of the call that failed. */
static mvs_status cannot_write(const mvs_step_lines *lines) {
  return MVS_FAIL(lines->diag, MVS_ERR_IO, "cannot write '%s': %s", lines->path,
                  strerror(errno));
}

/* The length of the part of the file whose lines are whole and of steps up to `step`; -1 when
 * it cannot be read, since what was not seen must not be cut off. A line of tables by layer may
 * be long, so it is read whatever its length. */
static long kept_length(FILE *file, int64_t step) {
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  long kept = 0;
  rewind(file);
  while ((length = getline(&line, &room, file)) > 0) {
    int64_t number;
    bool whole = line[length - 1] == '\n';
    if (!whole || sscanf(line, "{\"step\": %" SCNd64, &number) != 1 || number > step) break;
    kept += length;
  }
  free(line);
  return length < 0 && !feof(file) ? -1 : kept;
}

mvs_status mvs_step_lines_rewind(mvs_step_lines *lines, int64_t step) {
  long kept = kept_length(lines->file, step);
  if (kept >= 0 && fflush(lines->file) == 0 && ftruncate(fileno(lines->file), kept) == 0)
    return MVS_OK;
  return cannot_write(lines);
}

/* Opened for appending: two runs in one folder would interleave lines rather than overwrite
 * them. */
mvs_status mvs_step_lines_open(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                               mvs_step_lines *out) {
  *out = (mvs_step_lines){.diag = diag, .path = mvs_arena_string(arena, path)};
  out->file = fopen(path, "a+e");
  if (!out->file) return cannot_write(out);
  mvs_status status = mvs_step_lines_rewind(out, step);
  if (status != MVS_OK) mvs_step_lines_close(out);
  return status;
}

mvs_status mvs_step_lines_add(mvs_step_lines *lines, const char *line) {
  fputs(line, lines->file);
  fputc('\n', lines->file);
  if (fflush(lines->file) != 0 || ferror(lines->file)) return cannot_write(lines);
  return MVS_OK;
}

/* Lines were flushed one by one, so nothing can be lost here. */
void mvs_step_lines_close(mvs_step_lines *lines) {
  if (lines->file) fclose(lines->file);
  lines->file = NULL;
}
