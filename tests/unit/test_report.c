/* test_report.c: what the page's data say of tables that do not fit it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/report.h"

/* With so many runs on a page each table has the least share of it, 2,048 cells. */
#define RUNS 300

/* One table of `sites` by `layers` over `steps` steps; a cell holds its layer. */
static mvs_run_record record_of(mvs_arena *arena, size_t sites, size_t layers, int64_t steps) {
  mvs_run_record record = {.home = arena, .folder = "run", .first_loss = NAN};
  mvs_recorded_table table = {.name = "rho", .n_sites = sites, .n_layers = layers};
  table.sites = MVS_ARRAY(arena, sites, const char *);
  table.layers = MVS_ARRAY(arena, layers, int64_t);
  double *row = MVS_ARRAY(arena, sites * layers, double);
  for (size_t site = 0; site < sites; site++)
    table.sites[site] = mvs_arena_format(arena, "site%zu", site);
  for (size_t layer = 0; layer < layers; layer++) table.layers[layer] = (int64_t)layer;
  for (size_t at = 0; at < sites * layers; at++) row[at] = (double)(at % layers);
  mvs_digest_start(arena, sites * layers, 256, &table.digest);
  mvs_digest_start(arena, MVS_METRIC_COUNT, 256, &record.metrics);
  for (int64_t step = 1; step <= steps; step++) mvs_digest_add(&table.digest, step, row);
  MVS_PUSH(arena, &record.tables, table);
  return record;
}

/* The number behind the first NAME":. */
static int number_of(const char *data, const char *name) {
  const char *at = strstr(data, name);
  int value = -1;
  assert_non_null(at);
  assert_int_equal(sscanf(at + strlen(name), "\":%d", &value), 1);
  return value;
}

/* Steps first, then layers, down to two of each: sites are never folded. */
static void tables_of_many_sites(void **state) {
  (void)state;
  const struct {
    size_t sites, layers;
    int64_t steps;
    int rows_a_cell, layers_a_cell;
  } cases[] = {{70, 40, 1, 1, 2},     {70, 40, 100, 64, 4}, {200, 32, 1, 1, 4},
               {600, 400, 3, 2, 256}, {2000, 1, 64, 32, 1}, {4, 8, 16, 1, 1}};
  for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
    mvs_arena *arena = mvs_arena_new();
    mvs_run_record record =
        record_of(arena, cases[at].sites, cases[at].layers, cases[at].steps);
    mvs_report_run *runs = MVS_ARRAY(arena, RUNS, mvs_report_run);
    for (int run = 0; run < RUNS; run++) runs[run] = (mvs_report_run){.name = "run"};
    runs[0].record = &record;
    mvs_report report = {.title = "model", .runs = runs, .n_runs = RUNS};
    mvs_text text = mvs_text_new(arena);
    mvs_report_data(&text, &report);
    const char *data = mvs_text_string(&text);
    assert_int_equal(number_of(data, "rows_a_cell"), cases[at].rows_a_cell);
    assert_int_equal(number_of(data, "layers_a_cell"), cases[at].layers_a_cell);
    mvs_arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tables_of_many_sites)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
