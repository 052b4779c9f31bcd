/* test_observation.c: observations there and back, and what the reader refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/observation.h"

static mvs_arena *arena;

/* Reads a line; *message is what was said about it. */
static mvs_status read(const char *line, mvs_observation *out, const char **message) {
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_text text = mvs_text_new(arena);
  mvs_status status = mvs_observation_read(arena, diag, line, out);
  mvs_diag_render(diag, &text);
  *message = mvs_text_string(&text);
  return status;
}

/* Two tables: one by layer with a hole, one of the whole model. */
static void there_and_back(void **state) {
  (void)state;
  mvs_observation seen = mvs_observation_at(100), got;
  mvs_table tables[2];
  mvs_table_make(arena, "rho", 1, 3, &tables[0]);
  mvs_table_make(arena, "ratio", 1, 0, &tables[1]);
  tables[0].sites[0] = "blocks.operator", tables[1].sites[0] = "";
  tables[0].layers[1] = 1, tables[0].layers[2] = 4;
  tables[0].values[0] = 0.1, tables[0].values[2] = INFINITY, tables[1].values[0] = 0.5;
  seen.tables = tables, seen.n_tables = 2, seen.diagnosed = true;
  mvs_text text = mvs_text_new(arena);
  mvs_observation_line(&seen, &text);
  const char *line = mvs_text_string(&text), *message;
  assert_string_equal(line,
                      "{\"step\":100,\"tables\":{\"rho\":{\"layers\":[0,1,4],\"sites\":"
                      "{\"blocks.operator\":[0.1,null,null]}},"
                      "\"ratio\":{\"layers\":[],\"sites\":{\"\":[0.5]}}}}");
  assert_int_equal(read(line, &got, &message), MVS_OK);
  assert_int_equal(got.step, 100);
  assert_true(isnan(got.loss));
  const mvs_table *rho = mvs_observation_table(&got, "rho");
  assert_int_equal(rho->layers[2], 4);
  assert_true(rho->values[0] == 0.1 && isnan(rho->values[1]) && isnan(rho->values[2]));
  assert_true(mvs_observation_table(&got, "ratio")->values[0] == 0.5);
  assert_null(mvs_observation_table(&got, "tcs"));
}

static void lines_of_metrics(void **state) {
  (void)state;
  mvs_observation got;
  const char *message;
  assert_int_equal(
      read("{\"step\": 7, \"loss\": 1.5, \"grad_norm\": null, \"lr\": 1e-3}\n", &got, &message),
      MVS_OK);
  assert_true(got.step == 7 && got.loss == 1.5 && isnan(got.grad_norm) && got.lr == 1e-3);
  assert_int_equal(got.n_tables, 0);
}

static void refused(void **state) {
  (void)state;
  static const struct {
    const char *line, *says;
  } rows[] = {
      {"{\"step\":1", "not a line of JSON"},
      {"[1]", "an observation is an object"},
      {"{\"loss\":1}", "'step' is no count"},
      {"{\"step\":-1}", "'step' is no count"},
      {"{\"step\":1,\"step\":1}", "duplicate"},
      {"{\"step\":1,\"lass\":1}", "'lass' is no part of an observation"},
      {"{\"step\":1,\"loss\":\"1\"}", "'loss' is no number"},
      {"{\"step\":1,\"tables\":[]}", "'tables' is no object"},
      {"{\"step\":1,\"tables\":{\"rho\":{\"sites\":{}}}}", "not a table"},
      {"{\"step\":1,\"tables\":{\"rho\":{\"layers\":[1,1],\"sites\":{}}}}", "do not go up"},
      {"{\"step\":1,\"tables\":{\"rho\":{\"layers\":[\"0\"],\"sites\":{}}}}", "do not go up"},
      {"{\"step\":1,\"tables\":{\"rho\":{\"layers\":[0,1],\"sites\":{\"a\":[1]}}}}",
       "'a' of 'rho' has not 2 numbers"},
      {"{\"step\":1,\"tables\":{\"rho\":{\"layers\":[],\"sites\":{\"a\":[true]}}}}",
       "'a' is no number"},
  };
  for (size_t at = 0; at < sizeof rows / sizeof *rows; at++) {
    mvs_observation got;
    const char *message;
    assert_int_equal(read(rows[at].line, &got, &message), MVS_ERR_FORMAT);
    if (!strstr(message, rows[at].says)) fail_msg("%s: %s", rows[at].line, message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(there_and_back),
      cmocka_unit_test(lines_of_metrics),
      cmocka_unit_test(refused),
  };
  arena = mvs_arena_new();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mvs_arena_free(arena);
  return failed;
}
