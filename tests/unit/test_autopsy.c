/* test_autopsy.c: the report on a step made up for it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/autopsy.h"
#include "runtime/signals.h"

#define LAYERS 20

typedef struct fixture {
  mvs_arena *arena;
  mvs_autopsy *autopsy;
  mvs_observation seen;
  mvs_table table;
} fixture;

static int set_up(void **state) {
  static fixture here;
  here = (fixture){.arena = mvs_arena_new()};
  here.autopsy = mvs_autopsy_new(here.arena);
  mvs_table_make(here.arena, MVS_TABLE_GRADIENT, 2, LAYERS, &here.table);
  here.table.sites[0] = "blocks.ffn.w2", here.table.sites[1] = "embed";
  for (int layer = 0; layer < LAYERS; layer++) here.table.layers[layer] = layer;
  *state = &here;
  return 0;
}

static int tear_down(void **state) {
  mvs_arena_free(((fixture *)*state)->arena);
  return 0;
}

/* Layers from 1.00 up; the embedding has one value. */
static void fill(fixture *here, int64_t step) {
  here->seen = (mvs_observation){.step = step, .loss = 2, .grad_norm = 9, .n_tables = 1};
  here->seen.tables = &here->table;
  for (int layer = 0; layer < LAYERS; layer++) {
    here->table.values[layer] = 1 + 0.01 * layer;
    here->table.values[LAYERS + layer] = NAN;
  }
  here->table.values[LAYERS] = 0.001;
}

static const char *report(fixture *here) {
  mvs_text text = mvs_text_new(here->arena);
  mvs_autopsy_take(here->autopsy, &here->seen);
  mvs_autopsy_write(here->autopsy, &here->seen, &text);
  return mvs_text_string(&text);
}

static void expect(const char *got, const char *words) {
  if (!strstr(got, words)) fail_msg("wanted: %s\ngot: %s", words, got);
}

static int lines(const char *text) {
  int count = 0;
  for (; *text; text++) count += *text == '\n';
  return count;
}

/* The largest first; what grew most is seldom among them. */
static void a_spike(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 20; step++) fill(here, step), (void)report(here);
  fill(here, 21);
  here->table.values[7] = 50, here->table.values[LAYERS] = 0.1;
  const char *got = report(here);
  expect(got, "step 21: loss 2, gradient norm 9\nnot finite: no gradient\n");
  expect(got,
         "weights\n  50         ×46.7      blocks.ffn.w2, layer 7\n"
         "  1.19       ×1         blocks.ffn.w2, layer 19\n");
  expect(got, "grew most:\n  0.1        ×100       embed, layer 0\n");
  assert_int_equal(lines(got), 4 + 15 + 5);
}

static void names_what_is_not_finite(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 3; step++) fill(here, step), (void)report(here);
  fill(here, 4);
  here->table.values[3] = INFINITY, here->table.values[LAYERS] = NAN;
  expect(report(here), "not finite:\n  blocks.ffn.w2, layer 3\n  embed, layer 0\nlargest");
}

/* The first step has nothing before it; a step without norms has a line alone. */
static void without_a_past(void **state) {
  fixture *here = *state;
  fill(here, 1);
  expect(report(here), "  1.19                  blocks.ffn.w2, layer 19\n");
  here->seen.n_tables = 0;
  assert_string_equal(report(here), "step 1: loss 2, gradient norm 9\n");
}

/* All that has a norm is among the largest: there is no list of others. */
static void few(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 3; step++) {
    fill(here, step);
    for (int layer = 5; layer < LAYERS; layer++) here->table.values[layer] = NAN;
    if (step < 3) (void)report(here);
  }
  const char *got = report(here);
  assert_int_equal(lines(got), 3 + 6);
  assert_null(strstr(got, "grew most"));
}

/* Behind a turn the steps that were undone are not those before. */
static void gone_back(void **state) {
  fixture *here = *state;
  for (int64_t step = 1; step <= 20; step++) fill(here, step), (void)report(here);
  mvs_autopsy_forget(here->autopsy);
  fill(here, 11);
  expect(report(here), "  1.19                  blocks.ffn.w2, layer 19\n");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(a_spike), TEST(names_what_is_not_finite),
                                     TEST(without_a_past), TEST(few), TEST(gone_back)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
