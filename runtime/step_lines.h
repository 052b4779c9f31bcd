/* step_lines.h: a file of lines that each begin with their step, {"step": N, …}, written one by
 * one as a run goes along, so that a reader may follow. A run that goes back to a checkpoint
 * takes back the lines behind it. */
#ifndef MVS_RUNTIME_STEP_LINES_H
#define MVS_RUNTIME_STEP_LINES_H

#include <stdint.h>

#include "compiler/base/diag.h"

typedef struct mvs_step_lines {
  mvs_diag *diag;
  const char *path;
  bool open;
  int descriptor;
} mvs_step_lines;

/* Opens for appending and drops lines of steps after `step`: those of a run that went on after
 * the checkpoint it now resumes from. errors : MVS_ERR_IO */
mvs_status mvs_step_lines_open(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                               mvs_step_lines *out);
/* Appends a line, given without its end, which is added to the text. errors : MVS_ERR_IO */
mvs_status mvs_step_lines_add(mvs_step_lines *lines, mvs_text *line);
/* Whether the file ends with this line, given without its end. errors : MVS_ERR_IO */
mvs_status mvs_step_lines_end(const mvs_step_lines *lines, const char *line, bool *out);
/* Makes the lines durable. Harmless when the file is not open. errors : MVS_ERR_IO */
mvs_status mvs_step_lines_sync(const mvs_step_lines *lines);
/* Drops the lines of steps after `step`. errors : MVS_ERR_IO */
mvs_status mvs_step_lines_rewind(mvs_step_lines *lines, int64_t step);
/* Closes the file. Harmless when it is not open. */
void mvs_step_lines_close(mvs_step_lines *lines);

#endif
