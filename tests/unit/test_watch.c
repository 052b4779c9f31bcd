/* test_watch.c: what the watch says of runs made up for it. Noise comes from a counter, so a
 * run is the same each time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/series.h"
#include "tests/watch/history.h"

#define LAYERS   24
#define FAMILIES 4 /* rows of the gradient table */

static const char *families[FAMILIES] = {"blocks.operator.proj", "blocks.operator.q_proj",
                                         "blocks.ffn.w2", "blocks.ffn.w13"};
static const char *writers[] = {"blocks.operator.proj", "blocks.ffn.w2"};
static const char *readers[] = {"blocks.operator.q_proj"};
static const mvs_watch_roles roles = {2, 1, writers, readers};

typedef struct fixture {
  mvs_arena *arena;
  mvs_watch *watch;
  mvs_alarms alarms;
  /* The step to be shown: noise around a model that trains well, to be spoilt by a test. */
  mvs_observation seen;
  mvs_table tables[5];
} fixture;

/* A value in -1 .. 1 for each place of a run. */
static double noise(int64_t step, int place) {
  uint64_t bits = (uint64_t)step * 0x9E3779B97F4A7C15u + (uint64_t)place * 0xD1B54A32D192ED03u;
  bits ^= bits >> 31, bits *= 0xBF58476D1CE4E5B9u, bits ^= bits >> 29;
  return (double)(bits >> 11) / (double)(1ull << 52) - 1;
}

static void fill(mvs_table *table, int64_t step, double middle, double spread) {
  size_t cells = table->n_sites * mvs_table_columns(table);
  for (size_t at = 0; at < cells; at++)
    table->values[at] = middle * (1 + spread * noise(step, (int)at + 100));
}

static void make_table(fixture *here, int at, const char *name, size_t sites) {
  mvs_table_make(here->arena, name, sites, LAYERS, &here->tables[at]);
  for (size_t i = 0; i < sites; i++) here->tables[at].sites[i] = families[i];
  for (int i = 0; i < LAYERS; i++) here->tables[at].layers[i] = i;
}

/* Loss falls slowly; everything else stays where it is. */
static void healthy(fixture *here, int64_t step) {
  here->seen = mvs_observation_at(step);
  here->seen.loss = 1 + exp(-(double)step / 200) + 0.05 * noise(step, 1);
  here->seen.grad_norm = 0.5 * exp(0.5 * noise(step, 2));
  here->seen.tables = here->tables, here->seen.n_tables = 5;
  fill(&here->tables[0], step, 0.01, 0.3);
  fill(&here->tables[1], step, 0.2, 0.2);
  fill(&here->tables[2], step, 0.8, 0.2);
  fill(&here->tables[3], step, 0.6, 0.1);
  fill(&here->tables[4], step, 0.3, 0.2);
}

static void show(fixture *here) {
  mvs_watch_take(here->watch, here->arena, &here->seen, &here->alarms);
}

static void show_healthy(fixture *here, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; step++) healthy(here, step), show(here);
}

static void start(fixture *here, const mvs_watch_roles *given) {
  here->watch = mvs_watch_new(here->arena, given);
  here->alarms.count = 0;
}

static int set_up(void **state) {
  static fixture here;
  here = (fixture){.arena = mvs_arena_new()};
  make_table(&here, 0, MVS_TABLE_GRADIENT, FAMILIES);
  make_table(&here, 1, MVS_TABLE_G_MEAN, 2);
  make_table(&here, 2, MVS_TABLE_G_CTR, 2);
  make_table(&here, 3, MVS_TABLE_RHO, 2);
  make_table(&here, 4, MVS_TABLE_TCS, 1);
  start(&here, &roles);
  *state = &here;
  return 0;
}

static int tear_down(void **state) {
  mvs_arena_free(((fixture *)*state)->arena);
  return 0;
}

/* All alarms as lines; they are gone then. */
static const char *said(fixture *here) {
  mvs_text text = mvs_text_new(here->arena);
  for (size_t at = 0; at < here->alarms.count; at++) {
    mvs_alarm_line(&here->alarms.items[at], &text);
    mvs_text_add(&text, "\n");
  }
  here->alarms.count = 0;
  return mvs_text_string(&text);
}

static void expect(fixture *here, const char *words) {
  const char *got = said(here);
  if (!strstr(got, words)) fail_msg("wanted: %s\ngot: %s", words, got);
}

static void expect_silence(fixture *here) { assert_string_equal(said(here), ""); }

/* --- levels --- */

static void a_healthy_run(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 3000);
  expect_silence(here);
  assert_int_equal(mvs_watch_good_step(here->watch), 2992);
}

/* Once, and nothing else after it. */
static void notes_an_outlier(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 100);
  healthy(here, 101);
  here->seen.grad_norm = 500;
  show(here);
  expect(here,
         "{\"step\":101,\"level\":\"note\",\"rule\":\"outlier\",\"text\":\"gradient norm ×");
  show_healthy(here, 102, 200);
  expect_silence(here);
}

static void notes_growth_to_overflow(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 20); /* too few for any other note */
  for (int64_t step = 21; step <= 30; step++) {
    healthy(here, step);
    here->seen.grad_norm = 1e3 * pow(30, (double)(step - 20));
    show(here);
  }
  expect(here, "\"rule\":\"overflow\",\"text\":\"gradient norm grew 7 times in a row");
}

/* Gradients of two families grow by 4 % a step in layer 1: 2 in 18 steps. */
static void grow(fixture *here, int64_t step, int64_t since, size_t family) {
  here->tables[0].values[family * LAYERS + 1] *= exp(0.04 * (double)(step - since));
}

static void warns_of_shallow_layers(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 200);
  for (int64_t step = 201; step <= 240; step++) {
    healthy(here, step);
    grow(here, step, 200, 1), grow(here, step, 200, 3);
    show(here);
  }
  int64_t warned = here->alarms.items[0].step;
  assert_true(warned > 205 && warned < 235);
  /* What was saved more than a few steps before the warning is good. */
  assert_int_equal(mvs_watch_good_step(here->watch), warned - 8);
  expect(here, "\"level\":\"warning\",\"rule\":\"shallow-gradients\"");
}

/* One family may go its own way; w13, which no balance here looks at. */
static void one_family_is_no_warning(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 200);
  for (int64_t step = 201; step <= 260; step++) {
    healthy(here, step);
    grow(here, step, 200, 3);
    show(here);
  }
  expect_silence(here);
}

/* All layers of some families lose their gradient by 3 % a step. */
static void fall(fixture *here, size_t first, size_t last) {
  show_healthy(here, 1, 200);
  for (int64_t step = 201; step <= 240; step++) {
    healthy(here, step);
    for (size_t at = first * LAYERS; at < (last + 1) * LAYERS; at++)
      here->tables[0].values[at] *= exp(-0.03 * (double)(step - 200));
    show(here);
  }
}

static void warns_of_balances(void **state) {
  fixture *here = *state;
  fall(here, 1, 1);
  expect(here,
         "\"rule\":\"gradient-balance\",\"text\":\"the balance of gradients leaves its own "
         "past: the gradient of blocks.");
}

/* All others stand for the readers, then; one of the three may go its own way. */
static void balances_without_attention(void **state) {
  fixture *here = *state;
  static const mvs_watch_roles alone = {1, 0, writers + 1, NULL};
  start(here, &alone);
  fall(here, 3, 3);
  expect_silence(here);
  start(here, &alone);
  fall(here, 0, 1);
  expect(here, "\"rule\":\"gradient-balance\"");
}

/* --- collapse --- */

/* Tokens become equal in layers 6 to 23. */
static void collapse(fixture *here, int64_t step) {
  healthy(here, step);
  here->seen.loss = 3;
  here->seen.grad_norm = 50;
  for (int layer = 6; layer < LAYERS; layer++) {
    here->tables[1].values[layer] *= 400, here->tables[1].values[LAYERS + layer] *= 400;
    here->tables[3].values[layer] *= 9, here->tables[3].values[LAYERS + layer] *= 9;
    here->tables[4].values[layer] = 0.99;
    here->tables[0].values[LAYERS + layer] *= 1e-4;
  }
}

static void calls_a_mean_mode_collapse(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 400);
  collapse(here, 401), show(here);
  const char *got = said(here);
  static const char *const wanted[] = {
      "\"level\":\"collapse\",\"rule\":\"mean-mode\",\"text\":\"mean-mode collapse at step "
      "401, "
      "layers 6–23: G_mean ×",
      "G_mean/G_ctr ×", "rho ×", "token cosine 0.99 (was 0.", "loss 3 (was 1."};
  for (size_t at = 0; at < sizeof wanted / sizeof *wanted; at++)
    if (!strstr(got, wanted[at])) fail_msg("wanted: %s\ngot: %s", wanted[at], got);
  assert_int_equal(mvs_watch_good_step(here->watch), 393);
  for (int64_t step = 402; step <= 500; step++) collapse(here, step), show(here);
  expect_silence(here);
  show_healthy(here, 501, 540);
  expect(here, "\"level\":\"note\",\"rule\":\"recovered\"");
}

/* Looked into one step, called the next: what was seen, and where, is told, though that step
 * does not show it; also by a watch that was saved in between. */
static void tells_what_stood_before(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 400);
  healthy(here, 401);
  for (int table = 1; table <= 2; table++)
    for (int layer = 6; layer < LAYERS; layer++) {
      here->tables[table].values[layer] *= 400;
      here->tables[table].values[LAYERS + layer] *= 400;
    }
  show(here);
  assert_null(strstr(said(here), "collapse"));
  mvs_text saved = mvs_text_new(here->arena);
  mvs_watch_save(here->watch, &saved);
  assert_true(mvs_watch_load(here->watch, mvs_text_string(&saved)));
  collapse(here, 402);
  for (int layer = 0; layer < LAYERS; layer++) here->tables[0].values[LAYERS + layer] *= 1e-3;
  here->seen.n_tables = 1; /* gradients alone */
  show(here);
  expect(here, "mean-mode collapse at step 402, layers 6–23: G_mean ×");
  assert_null(strstr(said(here), "nan"));
}

/* From loss and norm alone a collapse is known when the loss stays up. */
static void calls_it_from_the_loss_alone(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 420; step++) {
    if (step <= 400) {
      healthy(here, step);
    } else {
      collapse(here, step);
    }
    here->seen.n_tables = 0;
    show(here);
  }
  expect(here, "\"rule\":\"loss\",\"text\":\"collapse at step 416: loss 3 (was 1.");
}

/* A spike that goes away is none, nor are tables that jump while the loss stays. */
static void a_spike_is_no_collapse(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 400);
  for (int64_t step = 401; step <= 404; step++) {
    healthy(here, step);
    here->seen.loss = 3, here->seen.grad_norm = 50;
    for (int table = 0; table <= 2; table++) /* all gradients, g_mean and g_ctr among them */
      for (size_t at = 0; at < here->tables[table].n_sites * LAYERS; at++)
        here->tables[table].values[at] *= 100;
    show(here);
  }
  show_healthy(here, 405, 600);
  assert_null(strstr(said(here), "collapse"));
}

/* Nor is one that makes tokens alike for a moment: its norm and G_mean are one sign, not two.
 */
static void a_spike_of_all_is_one_sign(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 400);
  for (int64_t step = 401; step <= 404; step++) {
    healthy(here, step);
    here->seen.grad_norm = 50;
    for (int table = 0; table <= 2; table++)
      for (size_t at = 0; at < here->tables[table].n_sites * LAYERS; at++)
        here->tables[table].values[at] *= 100;
    fill(&here->tables[4], step, 0.9, 0.01);
    show(here);
  }
  show_healthy(here, 405, 600);
  assert_null(strstr(said(here), "collapse"));
}

static void equal_from_the_start(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 5; step++) collapse(here, step), show(here);
  expect(here, "mean-mode collapse at step 5, layers 6–23");
}

static void not_finite(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 3);
  healthy(here, 4);
  here->seen.loss = NAN;
  show(here);
  expect(here, "\"level\":\"collapse\",\"rule\":\"not-finite\"");
}

/* --- a run that was recorded --- */

/* Base at half the rate, 400 layers (arXiv 2605.06169): every tenth step, the last good one
 * 26420. Loss and gradient norm alone take longer: the loss must be seen to stay. */
#define LAST_GOOD 26420
static const char *const trace[] = {MVS_SOURCE_DIR "/tests/data/base400.jsonl"};

/* The first collapse of a replay; warnings are counted and printed, not judged: their rules
 * were frozen before they saw this run. */
static const mvs_alarm *replay(fixture *here, bool with_tables) {
  mvs_history history;
  mvs_diag *diag = mvs_diag_new(here->arena);
  assert_int_equal(mvs_history_read(here->arena, diag, 1, (char **)(uintptr_t)trace, &history),
                   MVS_OK);
  assert_int_equal(history.count, 551);
  for (size_t at = 0; !with_tables && at < history.count; at++) history.items[at].n_tables = 0;
  mvs_history_watch(here->arena, &roles, &history, &here->alarms);
  int warnings = 0, notes = 0;
  for (size_t at = 0; at < here->alarms.count; at++) {
    const mvs_alarm *alarm = &here->alarms.items[at];
    if (alarm->level == MVS_ALARM_COLLAPSE) {
      printf("before the collapse: %d warnings, %d notes\n", warnings, notes);
      return alarm;
    }
    warnings += alarm->level == MVS_ALARM_WARNING, notes += alarm->level == MVS_ALARM_NOTE;
  }
  return NULL;
}

static void calls_the_recorded_collapse(void **state) {
  fixture *here = *state;
  const mvs_alarm *called = replay(here, true);
  assert_int_equal(called->step, LAST_GOOD + 10);
  assert_string_equal(called->rule, "mean-mode");
  assert_non_null(
      strstr(called->text, "mean-mode collapse at step 26430, layers 112–384: G_mean "));
  assert_non_null(strstr(called->text, "token cosine 0.99"));
}

static void calls_it_from_loss_and_norm(void **state) {
  fixture *here = *state;
  const mvs_alarm *called = replay(here, false);
  assert_in_range(called->step, LAST_GOOD + 10, LAST_GOOD + 10 * 16);
  assert_string_equal(called->rule, "loss");
}

/* --- there and back --- */

static void goes_on_from_a_saved_state(void **state) {
  fixture *here = *state;
  mvs_watch *whole = here->watch;
  show_healthy(here, 1, 203);
  mvs_text text = mvs_text_new(here->arena);
  mvs_watch_save(whole, &text);
  mvs_watch *loaded = mvs_watch_new(here->arena, &roles);
  assert_true(mvs_watch_load(loaded, mvs_text_string(&text)));
  mvs_alarms again = {0};
  for (int64_t step = 204; step <= 260; step++) {
    healthy(here, step);
    if (step < 240) grow(here, step, 200, 1), grow(here, step, 200, 3);
    if (step >= 240) collapse(here, step);
    show(here);
    mvs_watch_take(loaded, here->arena, &here->seen, &again);
  }
  const char *of_whole = said(here);
  here->alarms = again;
  assert_true(strlen(of_whole) > 200);
  assert_string_equal(of_whole, said(here));
}

/* A state that is cut anywhere is refused, but for its last line end. */
static void refuses_a_cut_state(void **state) {
  fixture *here = *state;
  show_healthy(here, 1, 3);
  mvs_text text = mvs_text_new(here->arena);
  mvs_watch_save(here->watch, &text);
  for (size_t length = 0; length + 1 < text.length; length += 7) {
    char *cut = mvs_arena_copy(here->arena, text.data, length);
    assert_false(mvs_watch_load(here->watch, cut));
  }
  assert_false(mvs_watch_load(here->watch, "watch 2 99999999999999\n1 2 3"));
  /* The first count, too large to go on from, below nothing, beyond 64 bits. */
  const char *first = strchr(mvs_text_string(&text), '\n') + 1, *rest = strchr(first, ' ');
  const char *const counts[] = {"3", "9223372036854775807", "-1", "99999999999999999999"};
  for (size_t at = 0; at < sizeof counts / sizeof *counts; at++) {
    const char *state_text = mvs_arena_format(here->arena, "%.*s%s%s", (int)(first - text.data),
                                              text.data, counts[at], rest);
    assert_int_equal(mvs_watch_load(here->watch, state_text), at == 0);
  }
}

/* Against sorting, at every length. */
static void quantiles(void **state) {
  (void)state;
  double values[40];
  for (int count = 1; count <= 40; count++)
    for (int place = 0; place < count; place++) {
      for (int at = 0; at < count; at++) values[at] = (double)((at * 17 + count) % count);
      double got = mvs_quantile(values, (size_t)count, count > 1 ? place / (count - 1.0) : 0);
      int below = 0, equal = 0;
      for (int at = 0; at < count; at++) below += values[at] < got, equal += values[at] == got;
      assert_true(below <= place && place < below + equal);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(a_healthy_run),
                                     TEST(notes_an_outlier),
                                     TEST(notes_growth_to_overflow),
                                     TEST(warns_of_shallow_layers),
                                     TEST(one_family_is_no_warning),
                                     TEST(warns_of_balances),
                                     TEST(balances_without_attention),
                                     TEST(calls_a_mean_mode_collapse),
                                     TEST(tells_what_stood_before),
                                     TEST(calls_it_from_the_loss_alone),
                                     TEST(a_spike_is_no_collapse),
                                     TEST(a_spike_of_all_is_one_sign),
                                     TEST(equal_from_the_start),
                                     TEST(not_finite),
                                     TEST(calls_the_recorded_collapse),
                                     TEST(calls_it_from_loss_and_norm),
                                     TEST(goes_on_from_a_saved_state),
                                     TEST(refuses_a_cut_state),
                                     TEST(quantiles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
