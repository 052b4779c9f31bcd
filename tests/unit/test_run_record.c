/* test_run_record.c: a run's files read back while they grow, are cut and grow anew, and the
 * digest that holds them in bounded memory. */
#include <math.h>
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

#include "runtime/run_record.h"

/* --- the digest --- */

#define ROWS  1000
#define MOST  16
#define SPIKE 617

/* Every bucket against a plain sum over its rows; one spike, some rows without a number. */
static void buckets_stand_for_their_rows(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_digest digest;
  double rows[ROWS + 1][2];
  mvs_digest_start(arena, 2, MOST, &digest);
  for (int step = 1; step <= ROWS; step++) {
    rows[step][0] = step == SPIKE ? 1e6 : sin(step);
    rows[step][1] = step % 7 == 0 ? NAN : (double)step;
    mvs_digest_add(&digest, step, rows[step]);
    assert_true(digest.count <= MOST);
  }
  assert_int_equal(digest.rows_a_bucket, 64); /* 1000 rows, between 8 and 16 buckets */
  int64_t next = 1;
  for (size_t at = 0; at < digest.count; at++) {
    const mvs_bucket *bucket = digest.buckets[at];
    assert_int_equal(bucket->first, next);
    for (size_t cell = 0; cell < 2; cell++) {
      double least = INFINITY, most = -INFINITY, sum = 0;
      uint32_t finite = 0;
      for (int64_t step = bucket->first; step <= bucket->last; step++) {
        double value = rows[step][cell];
        if (isnan(value)) continue;
        least = fmin(least, value), most = fmax(most, value), sum += value, finite++;
      }
      assert_true(bucket->least[cell] == least && bucket->most[cell] == most);
      assert_int_equal(bucket->finite[cell], finite);
      /* Sums of pairs are added in another order: 64 numbers in double. */
      assert_true(fabs(mvs_bucket_mean(bucket, cell) - sum / finite) <=
                  1e-13 * fabs(sum) + 1e-15);
    }
    next = bucket->last + 1;
  }
  assert_int_equal(next, ROWS + 1);
  mvs_arena_free(arena);
}

static void nothing_finite_is_no_number(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_digest digest;
  mvs_digest_start(arena, 1, 2, &digest);
  for (int step = 1; step <= 5; step++)
    mvs_digest_add(&digest, step, (double[]){step % 2 ? NAN : INFINITY});
  assert_true(isnan(mvs_bucket_mean(digest.buckets[0], 0)) &&
              isnan(digest.buckets[0]->most[0]));
  mvs_digest_clear(&digest);
  mvs_digest_add(&digest, 1, (double[]){3});
  assert_int_equal(digest.count, 1);
  assert_true(mvs_bucket_mean(digest.buckets[0], 0) == 3);
  mvs_arena_free(arena);
}

/* --- the record --- */

typedef struct fixture {
  mvs_arena *arena;
  mvs_diag *diag;
  char folder[64];
  mvs_run_record record;
} fixture;

static const char *path_of(fixture *here, const char *name) {
  return mvs_arena_format(here->arena, "%s/%s", here->folder, name);
}

/* `mode` as of fopen. */
static void put(fixture *here, const char *name, const char *mode, const char *text) {
  FILE *file = fopen(path_of(here, name), mode);
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static int set_up(void **state) {
  static fixture here;
  here = (fixture){.arena = mvs_arena_new()};
  here.diag = mvs_diag_new(here.arena);
  snprintf(here.folder, sizeof here.folder, "/tmp/test_record_XXXXXX");
  *state = &here;
  if (!mkdtemp(here.folder)) return 1;
  put(&here, "run.json", "w", "{\"model\": \"m\", \"options\": {\"steps\": \"4\"}}");
  return mvs_run_record_open(here.arena, here.diag, here.folder, &here.record) != MVS_OK;
}

static int tear_down(void **state) {
  fixture *here = *state;
  static const char *const names[] = {"run.json", "metrics.jsonl", "diagnostics.jsonl",
                                      "alarms.jsonl"};
  for (size_t at = 0; at < sizeof names / sizeof *names; at++) unlink(path_of(here, names[at]));
  rmdir(here->folder);
  mvs_arena_free(here->arena);
  return 0;
}

static void refresh(fixture *here) {
  assert_int_equal(mvs_run_record_refresh(&here->record), MVS_OK);
}

#define LINE(step, loss) \
  "{\"step\": " #step ", \"loss\": " #loss ", \"grad_norm\": 1, \"lr\": 1, \"seconds\": 1}\n"

/* A line counts once its end is there. */
static void files_are_read_on(void **state) {
  fixture *here = *state;
  refresh(here);
  assert_int_equal(here->record.steps, 0);
  put(here, "metrics.jsonl", "w", LINE(1, 5) "{\"step\": 2, \"lo");
  refresh(here);
  assert_int_equal(here->record.steps, 1);
  put(here, "metrics.jsonl", "a", "ss\": 4, \"grad_norm\": null}\n" LINE(3, 3));
  refresh(here);
  assert_int_equal(here->record.steps, 3);
  assert_int_equal(here->record.metrics.count, 3);
  assert_int_equal(here->record.first_bad, 2); /* the norm of step 2 was not finite */
  assert_true(here->record.newest[MVS_METRIC_LOSS] == 3);
  assert_true(here->record.first_loss == 5);
}

/* A run that went back to a checkpoint: shorter, as long with another last line, longer with
 * lines of the same length, longer with lines that end elsewhere. */
static void files_that_went_back_are_read_anew(void **state) {
  fixture *here = *state;
  const char *const next[] = {LINE(1, 5) LINE(2, 7), LINE(1, 5) LINE(2, 7) LINE(3, 8),
                              LINE(1, 5) LINE(2, 7) LINE(3, 8) LINE(4, 8),
                              LINE(1, 5) LINE(2, 7) LINE(3, 99999999) LINE(4, 9)};
  for (size_t at = 0; at < sizeof next / sizeof *next; at++) {
    put(here, "metrics.jsonl", "w", LINE(1, 5) LINE(2, 4) LINE(3, 3));
    refresh(here);
    assert_int_equal(here->record.steps, 3);
    assert_true(mvs_bucket_mean(here->record.metrics.buckets[1], MVS_METRIC_LOSS) == 4);
    put(here, "metrics.jsonl", "w", next[at]);
    refresh(here);
    assert_int_equal(here->record.steps, at == 0 ? 2 : at == 1 ? 3 : 4);
    assert_true(mvs_bucket_mean(here->record.metrics.buckets[1], MVS_METRIC_LOSS) == 7);
  }
  unlink(path_of(here, "metrics.jsonl"));
  refresh(here);
  assert_int_equal(here->record.steps, 0);
  assert_int_equal(mvs_diag_errors(here->diag), 0);
}

/* Tables of other layers are other tables; alarms of one step may be several. */
static void tables_and_alarms(void **state) {
  fixture *here = *state;
  put(here, "diagnostics.jsonl", "w",
      "{\"step\":2,\"tables\":{\"rho\":{\"layers\":[0,5],\"sites\":{\"a\":[1,null]}}}}\n"
      "{\"step\":4,\"tables\":{\"rho\":{\"layers\":[0,5],\"sites\":{\"a\":[3,4]}}}}\n"
      "{\"step\":6,\"tables\":{\"rho\":{\"layers\":[0,7],\"sites\":{\"a\":[3,4]}}}}\n");
  put(here, "alarms.jsonl", "w",
      "{\"step\":3,\"level\":\"note\",\"rule\":\"a\",\"text\":\"b\"}\n"
      "{\"step\":3,\"level\":\"collapse\",\"rule\":\"c\",\"text\":\"d\"}\n");
  refresh(here);
  assert_int_equal(here->record.tables.count, 2);
  const mvs_recorded_table *rho = &here->record.tables.items[0];
  assert_int_equal(rho->digest.count, 2);
  assert_int_equal(rho->layers[1], 5);
  assert_true(isnan(rho->digest.buckets[0]->most[1]) && rho->digest.buckets[1]->most[1] == 4);
  mvs_run_figures figures = mvs_run_record_figures(&here->record);
  assert_int_equal(figures.alarms[MVS_ALARM_NOTE], 1);
  assert_string_equal(figures.collapse->rule, "c");
}

/* The last tenth of 40 steps is steps 36 to 40. */
static void figures_of_the_end(void **state) {
  fixture *here = *state;
  mvs_text lines = mvs_text_new(here->arena);
  for (int step = 1; step <= 40; step++)
    mvs_text_addf(
        &lines, "{\"step\": %d, \"loss\": %d, \"grad_norm\": %d, \"lr\": 1, \"seconds\": %g}\n",
        step, step, step == 7 ? 90 : 2, step == 1 ? 100.0 : 0.5);
  put(here, "metrics.jsonl", "w", mvs_text_string(&lines));
  refresh(here);
  mvs_run_figures figures = mvs_run_record_figures(&here->record);
  assert_true(figures.first_loss == 1 && figures.last_loss == 38);
  assert_true(figures.norm == 2 && figures.most_norm == 90 && figures.seconds == 0.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(buckets_stand_for_their_rows),
      cmocka_unit_test(nothing_finite_is_no_number),
      cmocka_unit_test_setup_teardown(files_are_read_on, set_up, tear_down),
      cmocka_unit_test_setup_teardown(files_that_went_back_are_read_anew, set_up, tear_down),
      cmocka_unit_test_setup_teardown(tables_and_alarms, set_up, tear_down),
      cmocka_unit_test_setup_teardown(figures_of_the_end, set_up, tear_down)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
