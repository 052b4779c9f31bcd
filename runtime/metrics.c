/* metrics.c: metrics.jsonl: one line a step, flushed as it is written, so that a reader may
 * follow along.
 *
 * A resumed run goes back to its checkpoint, which may lie before the last line written:
 * lines behind it, and a line that a kill cut short, are dropped on opening. The file of a
 * run that was interrupted anywhere is then the file of one that was not. */
#include "runtime/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#include "runtime/fail.h"

/* errno is that of the call that failed. */
static mvs_status cannot_write(mvs_metrics *metrics) {
  return MVS_FAIL(metrics->diag, MVS_ERR_IO, "cannot write '%s': %s", metrics->path,
                  strerror(errno));
}

/* The length of the part of the file whose lines are whole and of steps up to `step`. */
static long kept_length(FILE *file, int64_t step) {
  char line[512];
  long kept = 0;
  rewind(file);
  while (fgets(line, sizeof line, file)) {
    int64_t number;
    bool whole = strchr(line, '\n') != NULL;
    if (!whole || sscanf(line, "{\"step\": %" SCNd64, &number) != 1 || number > step) break;
    kept = ftell(file);
  }
  return kept;
}

/* Opened for appending: two runs in one folder would interleave lines rather than overwrite
 * them. */
mvs_status mvs_metrics_open(mvs_arena *arena, mvs_diag *diag, const char *path, int64_t step,
                            mvs_metrics *out) {
  *out = (mvs_metrics){.diag = diag, .path = mvs_arena_string(arena, path)};
  out->file = fopen(path, "a+e");
  if (!out->file) return cannot_write(out);
  long kept = kept_length(out->file, step);
  if (fflush(out->file) != 0 || ftruncate(fileno(out->file), kept) != 0) {
    mvs_status status = cannot_write(out);
    mvs_metrics_close(out);
    return status;
  }
  return MVS_OK;
}

/* JSON knows no infinities and no NaN. */
static void put_number(FILE *file, const char *name, double value) {
  if (isfinite(value)) {
    fprintf(file, ", \"%s\": %.9g", name, value);
  } else {
    fprintf(file, ", \"%s\": null", name);
  }
}

/* Nine significant digits give every float32 back exactly. */
mvs_status mvs_metrics_add(mvs_metrics *metrics, const mvs_metrics_row *row) {
  fprintf(metrics->file, "{\"step\": %" PRId64, row->step);
  put_number(metrics->file, "loss", row->loss);
  put_number(metrics->file, "grad_norm", row->grad_norm);
  put_number(metrics->file, "lr", row->lr);
  put_number(metrics->file, "seconds", row->seconds);
  fputs("}\n", metrics->file);
  if (fflush(metrics->file) != 0 || ferror(metrics->file)) return cannot_write(metrics);
  return MVS_OK;
}

/* Lines were flushed one by one, so nothing can be lost here. */
void mvs_metrics_close(mvs_metrics *metrics) {
  if (metrics->file) fclose(metrics->file);
  metrics->file = NULL;
}
