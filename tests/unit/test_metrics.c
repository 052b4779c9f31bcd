/* test_metrics.c: which steps have lines in the run's files, and what is taken back. */
#include <math.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/metrics.h"
#include "runtime/step_lines.h"

#define LAYERS 400 /* a line of such a table is longer than any fixed buffer would be */

typedef struct fixture {
  mvs_arena *arena;
  mvs_diag *diag;
  char folder[64];
  mvs_consumers list;
} fixture;

static int set_up(void **state) {
  static fixture here;
  here = (fixture){.arena = mvs_arena_new()};
  here.diag = mvs_diag_new(here.arena);
  snprintf(here.folder, sizeof here.folder, "/tmp/test_metrics_XXXXXX");
  *state = &here;
  return mkdtemp(here.folder) ? 0 : 1;
}

static const char *path_of(fixture *here, const char *name) {
  return mvs_arena_format(here->arena, "%s/%s", here->folder, name);
}

static int tear_down(void **state) {
  fixture *here = *state;
  mvs_consumers_close(&here->list);
  unlink(path_of(here, "metrics.jsonl"));
  unlink(path_of(here, "diagnostics.jsonl"));
  int failed = rmdir(here->folder);
  mvs_arena_free(here->arena);
  return failed;
}

static void open_both(fixture *here, int64_t after, int64_t every, int64_t last) {
  mvs_metrics_steps steps = {.after = after, .every = every, .last = last};
  mvs_arena *arena = here->arena;
  assert_int_equal(mvs_metrics_open(arena, here->diag, here->folder, &steps, &here->list),
                   MVS_OK);
  assert_int_equal(
      mvs_diagnostics_lines_open(arena, here->diag, here->folder, &steps, &here->list), MVS_OK);
}

/* Every second step is diagnosed. */
static void show(fixture *here, int64_t step, double loss) {
  mvs_observation seen = mvs_observation_at(step);
  mvs_table table;
  mvs_table_make(here->arena, "rho", 1, LAYERS, &table);
  table.sites[0] = "blocks.operator";
  for (int at = 0; at < LAYERS; at++) table.layers[at] = at, table.values[at] = 1.0 / 3;
  seen.loss = loss, seen.grad_norm = 1;
  seen.tables = &table, seen.n_tables = seen.diagnosed = step % 2 == 0;
  assert_int_equal(mvs_consumers_take(&here->list, &seen), MVS_OK);
}

/* The steps of a file's lines, as text. */
static const char *steps_of(fixture *here, const char *name) {
  FILE *file = fopen(path_of(here, name), "r");
  if (!file) return "no file";
  mvs_text text = mvs_text_new(here->arena);
  char *line = NULL;
  size_t room = 0;
  mvs_text_add(&text, "");
  while (getline(&line, &room, file) > 0) {
    mvs_observation seen;
    assert_int_equal(mvs_observation_read(here->arena, here->diag, line, &seen), MVS_OK);
    mvs_text_addf(&text, "%d ", (int)seen.step);
  }
  free(line);
  fclose(file);
  return mvs_text_string(&text);
}

/* One in so many, the last, and one that is not finite; every diagnosed step. */
static void which_steps(void **state) {
  fixture *here = *state;
  open_both(here, 0, 4, 10);
  assert_string_equal(steps_of(here, "diagnostics.jsonl"), "no file");
  for (int step = 1; step <= 10; step++) show(here, step, step == 6 ? NAN : 1);
  assert_string_equal(steps_of(here, "metrics.jsonl"), "4 6 8 10 ");
  assert_string_equal(steps_of(here, "diagnostics.jsonl"), "2 4 6 8 10 ");
}

/* Going back within a run and opening for a run that goes on drop the same lines. */
static void taken_back(void **state) {
  fixture *here = *state;
  open_both(here, 0, 1, 10);
  for (int step = 1; step <= 8; step++) show(here, step, 1);
  assert_int_equal(mvs_consumers_rewind(&here->list, 5), MVS_OK);
  assert_string_equal(steps_of(here, "metrics.jsonl"), "1 2 3 4 5 ");
  assert_string_equal(steps_of(here, "diagnostics.jsonl"), "2 4 ");
  for (int step = 6; step <= 8; step++) show(here, step, 1);
  mvs_consumers_close(&here->list);
  open_both(here, 6, 1, 10);
  assert_string_equal(steps_of(here, "metrics.jsonl"), "1 2 3 4 5 6 ");
  assert_string_equal(steps_of(here, "diagnostics.jsonl"), "2 4 6 ");
}

/* A file that cannot be read is left as it is. Under its name is a folder, whose lines nobody
 * can read. */
static void what_cannot_be_read_is_not_cut(void **state) {
  fixture *here = *state;
  open_both(here, 0, 1, 10);
  for (int step = 1; step <= 4; step++) show(here, step, 1);
  const char *path = path_of(here, "metrics.jsonl");
  mvs_step_lines lines = {.diag = here->diag,
                          .path = path_of(here, "."),
                          .open = true,
                          .descriptor = open(path, O_WRONLY | O_APPEND)};
  assert_int_equal(mvs_step_lines_rewind(&lines, 2), MVS_ERR_IO);
  mvs_step_lines_close(&lines);
  assert_string_equal(steps_of(here, "metrics.jsonl"), "1 2 3 4 ");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(which_steps), TEST(taken_back),
                                     TEST(what_cannot_be_read_is_not_cut)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
