/* metrics.c: observations to metrics.jsonl and diagnostics.jsonl. */
#include "runtime/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#include "runtime/fail.h"
#include "runtime/json_text.h"
#include "runtime/step_lines.h"

#define METRICS_FILE     "metrics.jsonl"
#define DIAGNOSTICS_FILE "diagnostics.jsonl"

/* One file of the two. */
typedef struct lines_writer {
  mvs_arena *arena; /* of the run */
  mvs_step_lines lines;
  mvs_metrics_steps steps;
} lines_writer;

static lines_writer *new_writer(mvs_arena *arena, const mvs_metrics_steps *steps) {
  lines_writer *writer = MVS_NEW(arena, lines_writer);
  *writer = (lines_writer){.arena = arena, .steps = *steps};
  return writer;
}

static mvs_status rewind_lines(void *self, int64_t step) {
  lines_writer *writer = self;
  return writer->lines.open ? mvs_step_lines_rewind(&writer->lines, step) : MVS_OK;
}

static mvs_status sync_lines(void *self) {
  return mvs_step_lines_sync(&((lines_writer *)self)->lines);
}

static void close_lines(void *self) { mvs_step_lines_close(&((lines_writer *)self)->lines); }

/* --- metrics --- */

static void put_number(mvs_text *out, const char *name, double value) {
  mvs_text_addf(out, ", \"%s\": ", name);
  mvs_json_number(out, value, 9);
}

static void metrics_line(const mvs_observation *seen, mvs_text *out) {
  mvs_text_addf(out, "{\"step\": %" PRId64, seen->step);
  put_number(out, "loss", seen->loss);
  put_number(out, "grad_norm", seen->grad_norm);
  put_number(out, "lr", seen->lr);
  put_number(out, "seconds", seen->seconds);
  mvs_text_add(out, "}");
}

/* Writes the line that `print` makes of a step. It is made in an arena that goes when it is
 * written: a run has hundreds of thousands of them. */
static mvs_status put_line(lines_writer *writer, const mvs_observation *seen,
                           void (*print)(const mvs_observation *, mvs_text *)) {
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  print(seen, &text);
  mvs_status status = mvs_step_lines_add(&writer->lines, &text);
  mvs_arena_free(arena);
  return status;
}

/* A step that diverged is logged whatever --log-every says. */
static bool is_due(const lines_writer *writer, const mvs_observation *seen) {
  const mvs_metrics_steps *steps = &writer->steps;
  bool finite = isfinite(seen->loss) && isfinite(seen->grad_norm);
  return seen->step % steps->every == 0 || seen->step == steps->last || !finite;
}

static mvs_status take_metrics(void *self, const mvs_observation *seen) {
  return is_due(self, seen) ? put_line(self, seen, metrics_line) : MVS_OK;
}

mvs_status mvs_metrics_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                            const mvs_metrics_steps *steps, mvs_consumers *list) {
  lines_writer *writer = new_writer(arena, steps);
  const char *path = mvs_arena_format(arena, "%s/" METRICS_FILE, folder);
  MVS_TRY(mvs_step_lines_open(arena, diag, path, steps->after, &writer->lines));
  mvs_consumers_add(
      arena, list,
      &(mvs_consumer){writer, take_metrics, rewind_lines, sync_lines, close_lines});
  return MVS_OK;
}

/* --- diagnostics --- */

/* Opened with the first line: a run that diagnoses nothing has no such file. */
static mvs_status take_tables(void *self, const mvs_observation *seen) {
  lines_writer *writer = self;
  mvs_step_lines *lines = &writer->lines;
  if (!seen->diagnosed) return MVS_OK;
  if (!lines->open)
    MVS_TRY(mvs_step_lines_open(writer->arena, lines->diag, lines->path, seen->step, lines));
  return put_line(writer, seen, mvs_observation_line);
}

mvs_status mvs_diagnostics_lines_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                      const mvs_metrics_steps *steps, mvs_consumers *list) {
  lines_writer *writer = new_writer(arena, steps);
  const char *path = mvs_arena_format(arena, "%s/" DIAGNOSTICS_FILE, folder);
  writer->lines = (mvs_step_lines){.diag = diag, .path = path};
  if (access(path, F_OK) == 0)
    MVS_TRY(mvs_step_lines_open(arena, diag, path, steps->after, &writer->lines));
  mvs_consumers_add(
      arena, list, &(mvs_consumer){writer, take_tables, rewind_lines, sync_lines, close_lines});
  return MVS_OK;
}
