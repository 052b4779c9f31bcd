/* replay.c: shows the watch what a finished run showed, as if it went on now, and prints the
 * alarms as lines of JSON. `replay WRITERS READERS FILE...`: families of weights with commas
 * between them; FILEs are metrics.jsonl and diagnostics.jsonl of one run, whose lines of one
 * step are one observation, or a file that has both in one line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/watch/history.h"

static void print(const mvs_alarms *alarms) {
  mvs_arena *arena = mvs_arena_new();
  for (size_t at = 0; at < alarms->count; at++) {
    mvs_text line = mvs_text_new(arena);
    mvs_alarm_line(&alarms->items[at], &line);
    puts(mvs_text_string(&line));
  }
  mvs_arena_free(arena);
}

int main(int argc, char **argv) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_history history;
  if (argc < 4) {
    fprintf(stderr, "usage: %s WRITERS READERS FILE...\n", argv[0]);
    return 2;
  }
  mvs_watch_roles roles = mvs_history_roles(arena, argv[1], argv[2]);
  if (mvs_history_read(arena, diag, argc - 3, argv + 3, &history) != MVS_OK) {
    mvs_text text = mvs_text_new(arena);
    mvs_diag_render(diag, &text);
    fputs(mvs_text_string(&text), stderr);
    return 1;
  }
  mvs_alarms alarms = {0};
  mvs_history_watch(arena, &roles, &history, &alarms);
  print(&alarms);
  mvs_arena_free(arena);
  return 0;
}
