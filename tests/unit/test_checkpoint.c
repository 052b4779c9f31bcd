/* test_checkpoint.c: the state of training there and back, and which file is the newest. */
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

#include "runtime/checkpoint.h"
#include "runtime/checkpoint_files.h"
#include "runtime/metrics.h"
#include "runtime/weights.h"

#define FLAT 3072 /* three rows: "w" with two layers, then "b" */

typedef struct fixture {
  mvs_program program;
  Mvs__Param params[3], *param_list[3];
  Mvs__Settings settings;
  int64_t shapes[3][2];
  mvs_session session;
  mvs_optimizer optimizer;
  float p[FLAT], m[FLAT], v[FLAT], e[FLAT];
  char folder[64];
} fixture;

static void add_param(fixture *here, int at, const char *name, int rank, int64_t layers,
                      int64_t offset, bool trained) {
  Mvs__Param *param = here->param_list[at] = &here->params[at];
  mvs__param__init(param);
  param->name = (char *)(uintptr_t)name;
  param->shape = here->shapes[at];
  param->n_shape = (size_t)rank;
  here->shapes[at][0] = 4, here->shapes[at][1] = 6;
  param->elements = param->stride = rank == 2 ? 24 : 4;
  param->layers = layers, param->offset = offset, param->trained = trained;
  param->init_value = 1;
}

static int set_up(void **state) {
  fixture *here = calloc(1, sizeof *here);
  if (!here) return -1;
  mvs__program__init(&here->program);
  mvs__settings__init(&here->settings);
  here->program.model = (char *)(uintptr_t) "toy";
  here->program.residual = (char *)(uintptr_t) "plain";
  here->program.settings = &here->settings;
  here->program.params = here->param_list, here->program.n_params = 3;
  here->program.flat_elements = FLAT;
  add_param(here, 0, "blocks.{i}.w", 2, 2, 0, true);
  add_param(here, 1, "b", 1, 0, 1024, true);
  add_param(here, 2, "ones", 1, 0, 0, false);
  here->session.program = &here->program;
  here->session.arena = mvs_arena_new();
  here->session.diag = mvs_diag_new(here->session.arena);
  here->optimizer = (mvs_optimizer){.session = &here->session,
                                    .params = here->p,
                                    .m = here->m,
                                    .v = here->v,
                                    .average = here->e};
  for (int at = 0; at < FLAT; at++) {
    here->p[at] = (float)at, here->m[at] = (float)(2 * at);
    here->v[at] = (float)(3 * at), here->e[at] = (float)(4 * at);
  }
  snprintf(here->folder, sizeof here->folder, "/tmp/mvs-checkpoint-XXXXXX");
  if (!mkdtemp(here->folder)) return -1;
  *state = here;
  MVS_TRY(mvs_device_open_host(&here->program, 1, here->session.diag, &here->session.device));
  here->session.executor = mvs_executor_new(here->session.arena, here->session.diag,
                                            &here->program, here->session.device);
  return MVS_OK;
}

static int tear_down(void **state) {
  fixture *here = *state;
  char command[128];
  for (int step = 0; step < 100; step++) {
    snprintf(command, sizeof command, "%s/step-%d.safetensors", here->folder, step);
    unlink(command);
  }
  rmdir(here->folder);
  mvs_session_close(&here->session);
  mvs_arena_free(here->session.arena);
  free(here);
  return 0;
}

static void save(fixture *here, int64_t step, int64_t keep) {
  mvs_checkpoint_facts facts = {
      .step = step, .keep = {.newest = keep, .every = 1}, .watch = "what it knew"};
  assert_int_equal(mvs_checkpoint_save(&here->session, &here->optimizer, here->folder, &facts),
                   MVS_OK);
}

static const char *path_of(fixture *here, int64_t step) {
  return mvs_checkpoint_path(here->session.arena, here->folder, step);
}

/* What was in the parameters comes back; padding is nobody's and stays. */
static void there_and_back(void **state) {
  fixture *here = *state;
  int64_t step;
  const char *watch;
  save(here, 7, 3);
  const int used[][2] = {{0, 48}, {1024, 1028}};
  memset(here->p, 0, sizeof here->p), memset(here->m, 0, sizeof here->m);
  memset(here->v, 0, sizeof here->v), memset(here->e, 0, sizeof here->e);
  assert_int_equal(
      mvs_checkpoint_load(&here->session, &here->optimizer, path_of(here, 7), &step, &watch),
      MVS_OK);
  assert_string_equal(watch, "what it knew");
  assert_int_equal(step, 7);
  for (int range = 0; range < 2; range++) {
    for (int at = used[range][0]; at < used[range][1]; at++) {
      assert_true(here->p[at] == (float)at && here->m[at] == (float)(2 * at));
      assert_true(here->v[at] == (float)(3 * at) && here->e[at] == (float)(4 * at));
    }
  }
  assert_true(here->p[48] == 0);
}

static void holds_the_released_names(void **state) {
  fixture *here = *state;
  mvs_safetensors *file;
  save(here, 1, 3);
  assert_int_equal(
      mvs_safetensors_open(here->session.arena, here->session.diag, path_of(here, 1), &file),
      MVS_OK);
  static const char *const names[] = {
      "blocks.0.w", "blocks.1.w",       "b", "ones", "ema/blocks.1.w",
      "adam_m/b",   "adam_v/blocks.0.w"};
  for (size_t at = 0; at < sizeof names / sizeof *names; at++)
    assert_non_null(mvs_safetensors_find(file, names[at]));
  assert_int_equal(file->count, 4 + 3 * 3);
  mvs_safetensors_close(file);
}

static const char *choices = "a GPU\n\"nt\" \\ 5x6 00ff\nchecksum 12\n";
static char adopted[128];

static const char *tell_choices(mvs_device *device) {
  (void)device;
  return choices;
}

static bool adopt(mvs_device *device, const char *text, char *why) {
  (void)device;
  snprintf(adopted, sizeof adopted, "%s", text);
  snprintf(why, MVS_DEVICE_WORDS, "they are of another");
  return strcmp(text, choices) == 0;
}

/* What libraries chose comes back to the device as it was, quotes and lines too. */
static void carries_the_device_choices(void **state) {
  fixture *here = *state;
  mvs_device *device = here->session.device;
  const char *note;
  save(here, 1, 3);
  device->choices = tell_choices;
  save(here, 2, 3);
  device->adopt = adopt;
  assert_int_equal(mvs_checkpoint_adopt(&here->session, path_of(here, 2), &note), MVS_OK);
  assert_string_equal(adopted, choices);
  assert_null(note);
  assert_int_equal(mvs_checkpoint_adopt(&here->session, path_of(here, 1), &note), MVS_OK);
  assert_non_null(strstr(note, "names no matmul algorithms"));
  choices = "another";
  assert_int_equal(mvs_checkpoint_adopt(&here->session, path_of(here, 2), &note), MVS_OK);
  assert_string_equal(note, "they are of another");
  device->choices = NULL, device->adopt = NULL;
}

static const char *before(fixture *here, int64_t most, int64_t *step) {
  const char *path;
  assert_int_equal(mvs_checkpoint_before(here->session.arena, here->session.diag, here->folder,
                                         most, 10, &path, step),
                   MVS_OK);
  return path;
}

static const char *newest(fixture *here, int64_t *step) {
  const char *path;
  assert_int_equal(
      mvs_checkpoint_newest(here->session.arena, here->session.diag, here->folder, &path, step),
      MVS_OK);
  return path;
}

static void newest_complete_one(void **state) {
  fixture *here = *state;
  const char *found;
  int64_t step = -1;
  assert_null(newest(here, &step));
  save(here, 9, 9);
  save(here, 10, 9); /* by number, not by name */
  found = newest(here, &step);
  assert_string_equal(found, path_of(here, 10));
  assert_int_equal(link(path_of(here, 10), path_of(here, 11)),
                   0); /* it says that it is of 10 */
  assert_string_equal(newest(here, &step), path_of(here, 10));
  assert_int_equal(unlink(path_of(here, 11)), 0);
  assert_int_equal(truncate(path_of(here, 10), 500), 0);
  found = newest(here, &step);
  assert_string_equal(found, path_of(here, 9));
  assert_int_equal(step, 9);
  const char *latest = mvs_arena_format(here->session.arena, "%s/latest", here->folder);
  assert_int_equal(
      mvs_checkpoint_resolve(here->session.arena, here->session.diag, latest, &found), MVS_OK);
  assert_string_equal(strrchr(found, '/'), "/step-9.safetensors");
  assert_int_equal(
      mvs_checkpoint_resolve(here->session.arena, here->session.diag, here->folder, &found),
      MVS_OK);
  assert_string_equal(found, path_of(here, 9));
}

static void keeps_the_last(void **state) {
  fixture *here = *state;
  for (int step = 1; step <= 4; step++) save(here, step, 2);
  assert_int_not_equal(access(path_of(here, 2), F_OK), 0);
  assert_int_equal(access(path_of(here, 3), F_OK), 0);
  /* A damaged later file does not push out the one just saved. */
  assert_int_equal(truncate(path_of(here, 4), 100), 0);
  save(here, 1, 1);
  assert_int_equal(access(path_of(here, 1), F_OK), 0);
}

static void weights_choose_the_average(void **state) {
  fixture *here = *state;
  float flat[FLAT] = {0};
  bool average;
  save(here, 3, 3);
  assert_int_equal(
      mvs_weights_load(&here->session, path_of(here, 3), "", MVS_EMA_AUTO, flat, &average),
      MVS_OK);
  assert_true(average && flat[5] == 20);
  assert_int_equal(
      mvs_weights_load(&here->session, here->folder, "", MVS_EMA_OFF, flat, &average), MVS_OK);
  assert_true(!average && flat[5] == 5);
  here->optimizer.average = NULL;
  save(here, 4, 3);
  assert_int_equal(
      mvs_weights_load(&here->session, path_of(here, 4), "", MVS_EMA_ON, flat, &average),
      MVS_ERR_NAME);
}

/* Of a run that may have to go back: what that could need stays, however few are wanted. */
static void keeps_what_is_good(void **state) {
  fixture *here = *state;
  mvs_session *session = &here->session;
  static const int64_t steps[] = {10, 20, 25, 30, 40, 45, 50, 60};
  static const bool stays[] = {false, true, false, false, true, true, true, true};
  mvs_checkpoint_keep keep = {.newest = 1, .every = 10, .good = 29, .settled = 44};
  int64_t found;
  for (size_t at = 0; at < 8; at++) save(here, steps[at], 8);
  mvs_checkpoint_remove_old(session->arena, here->folder, 60, &keep);
  for (size_t at = 0; at < 8; at++)
    assert_int_equal(access(path_of(here, steps[at]), F_OK) == 0, stays[at]);
  assert_non_null(before(here, 49, &found));
  assert_int_equal(found, 40);
  assert_null(before(here, 19, &found));
  assert_int_equal(mvs_checkpoint_remove_after(session->arena, session->diag, here->folder, 40),
                   MVS_OK);
  assert_non_null(newest(here, &found));
  assert_int_equal(found, 40);
}

/* Writes metrics of steps first .. last, as a run that goes on after step first-1. */
static void write_metrics(fixture *here, int first, int last, double slope) {
  mvs_consumers list = {0};
  mvs_metrics_steps steps = {.after = first - 1, .every = 1, .last = last};
  mvs_session *session = &here->session;
  assert_int_equal(mvs_metrics_open(session->arena, session->diag, here->folder, &steps, &list),
                   MVS_OK);
  for (int step = first; step <= last; step++) {
    mvs_observation seen = {.step = step, .loss = slope * step};
    assert_int_equal(mvs_consumers_take(&list, &seen), MVS_OK);
  }
  mvs_consumers_close(&list);
}

/* A resumed run drops the lines that its predecessor wrote after the checkpoint. */
static void metrics_go_back(void **state) {
  fixture *here = *state;
  const char *path = mvs_arena_format(here->session.arena, "%s/metrics.jsonl", here->folder);
  write_metrics(here, 1, 12, 0.1);
  FILE *file = fopen(path, "a");
  fputs("{\"step\": 13, \"lo", file);
  fclose(file);
  write_metrics(here, 11, 11, -1);
  file = fopen(path, "r");
  char line[512], last[512] = "";
  int lines = 0;
  while (fgets(line, sizeof line, file)) lines++, memcpy(last, line, sizeof last);
  fclose(file);
  unlink(path);
  assert_int_equal(lines, 11);
  assert_int_equal(strncmp(last, "{\"step\": 11, \"loss\": -11, \"grad_norm\": 0,", 41), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(there_and_back),  TEST(holds_the_released_names),  TEST(newest_complete_one),
      TEST(keeps_the_last),  TEST(keeps_what_is_good),        TEST(weights_choose_the_average),
      TEST(metrics_go_back), TEST(carries_the_device_choices)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
