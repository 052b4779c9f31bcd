/* history.c: files of lines to observations. */
#include "tests/watch/history.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/fail.h"

static void split(mvs_arena *arena, const char *text, const char ***out, size_t *count) {
  *out = MVS_ARRAY(arena, strlen(text) + 1, const char *);
  for (const char *at = text; *at; at += *at == ',') {
    size_t length = strcspn(at, ",");
    (*out)[(*count)++] = mvs_arena_copy(arena, at, length);
    at += length;
  }
}

mvs_watch_roles mvs_history_roles(mvs_arena *arena, const char *writers, const char *readers) {
  mvs_watch_roles roles = {0};
  split(arena, writers, &roles.writers, &roles.n_writers);
  split(arena, readers, &roles.readers, &roles.n_readers);
  return roles;
}

static mvs_status read_file(mvs_arena *arena, mvs_diag *diag, const char *path,
                            mvs_history *out) {
  FILE *file = fopen(path, "re");
  if (!file) return MVS_FAIL(diag, MVS_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
  char *line = NULL;
  size_t room = 0;
  mvs_status status = MVS_OK;
  while (status == MVS_OK && getline(&line, &room, file) > 0) {
    mvs_observation seen;
    status = mvs_observation_read(arena, diag, line, &seen);
    if (status == MVS_OK) MVS_PUSH(arena, out, seen);
  }
  free(line);
  fclose(file);
  return status;
}

static int by_step(const void *left, const void *right) {
  int64_t a = ((const mvs_observation *)left)->step, b = ((const mvs_observation *)right)->step;
  return (a > b) - (a < b);
}

/* What one of the two does not know the other may. */
static void join(mvs_observation *into, const mvs_observation *from) {
  if (isnan(into->loss)) into->loss = from->loss;
  if (isnan(into->grad_norm)) into->grad_norm = from->grad_norm;
  if (into->n_tables == 0) into->n_tables = from->n_tables, into->tables = from->tables;
}

mvs_status mvs_history_read(mvs_arena *arena, mvs_diag *diag, int count, char **paths,
                            mvs_history *out) {
  *out = (mvs_history){0};
  for (int i = 0; i < count; i++) MVS_TRY(read_file(arena, diag, paths[i], out));
  if (out->count == 0) return MVS_OK;
  qsort(out->items, out->count, sizeof *out->items, by_step);
  size_t kept = 0;
  for (size_t at = 1; at < out->count; at++) {
    if (out->items[at].step == out->items[kept].step) {
      join(&out->items[kept], &out->items[at]);
    } else {
      out->items[++kept] = out->items[at];
    }
  }
  out->count = kept + 1;
  return MVS_OK;
}

void mvs_history_watch(mvs_arena *arena, const mvs_watch_roles *roles,
                       const mvs_history *history, mvs_alarms *out) {
  mvs_watch *watch = mvs_watch_new(arena, roles);
  for (size_t at = 0; at < history->count; at++)
    mvs_watch_take(watch, arena, &history->items[at], out);
}
