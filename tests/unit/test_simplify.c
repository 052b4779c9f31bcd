/* test_simplify.c: the rewrite rules on tests/golden/simplify*: what they leave computes the
 * same in float64, nothing fires twice, and every rule of the table fires somewhere. What they
 * leave is compared as text by test_golden.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four first. */
#include <cmocka.h>
#include <glob.h>

#include "compiler/base/source.h"
#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/simplify.h"
#include "tests/reference/reference.h"

/* Rewriting changes the order of a few additions and products. */
#define TOLERANCE 1e-12

static mvs_rule_count *counts; /* over all files */

static void good(mvs_arena *arena, mvs_diag *diag, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

static double distance(const mvs_tensor *a, const mvs_tensor *b, int64_t batch) {
  double worst = 0;
  int64_t count = mvs_tensor_count(a, batch);
  assert_int_equal(count, mvs_tensor_count(b, batch));
  for (int64_t i = 0; i < count; i++) worst = fmax(worst, fabs(a->data[i] - b->data[i]));
  return worst;
}

static void same_values(mvs_compilation *c, const char *name, const mvs_graph *before,
                        const mvs_graph *after, int64_t batch) {
  mvs_tensor_map given = {0}, wanted = {0}, got = {0};
  mvs_reference_fill(c->arena, before, batch, 1, &given);
  mvs_reference_options options = {.diag = c->diag};
  good(c->arena, c->diag,
       mvs_reference_run(c->arena, before, batch, &given, &options, &wanted));
  good(c->arena, c->diag, mvs_reference_run(c->arena, after, batch, &given, &options, &got));
  assert_int_equal(wanted.count, got.count);
  for (size_t i = 0; i < wanted.count; i++) {
    assert_string_equal(wanted.items[i].name, got.items[i].name);
    assert_true(mvs_type_equal(&wanted.items[i].tensor.type, &got.items[i].tensor.type));
    double apart = distance(&wanted.items[i].tensor, &got.items[i].tensor, batch);
    if (!(apart <= TOLERANCE)) fail_msg("%s: %s differs by %g", name, got.items[i].name, apart);
  }
}

static void check_function(mvs_compilation *c, mvs_function *function) {
  mvs_graph *before = function->graph, *after, *again;
  good(c->arena, c->diag,
       mvs_rewrite_graph(c, before, mvs_simplify_rules, mvs_simplify_rule_count, counts,
                         &after));
  for (int64_t batch = 1; batch <= 3; batch += 2) {
    same_values(c, function->name, before, after, batch);
  }
  mvs_rule_count *more = MVS_ARRAY(c->arena, mvs_simplify_rule_count, mvs_rule_count);
  good(c->arena, c->diag,
       mvs_rewrite_graph(c, after, mvs_simplify_rules, mvs_simplify_rule_count, more, &again));
  for (size_t i = 0; i < mvs_simplify_rule_count; i++) {
    if (more[i].fired)
      fail_msg("%s: '%s' fires again", function->name, mvs_simplify_rules[i].name);
  }
}

static void check_files(const char *pattern, unsigned facts) {
  glob_t found;
  assert_int_equal(glob(pattern, 0, NULL, &found), 0);
  for (size_t i = 0; i < found.gl_pathc; i++) {
    mvs_arena *arena = mvs_arena_new();
    mvs_diag *diag = mvs_diag_new(arena);
    mvs_source *source;
    mvs_span none = {0};
    mvs_module *module;
    good(arena, diag, mvs_source_read(arena, diag, found.gl_pathv[i], 1 << 20, none, &source));
    good(arena, diag, mvs_module_read(arena, diag, source, &module));
    mvs_compilation c = {.arena = arena, .diag = diag, .module = module, .facts = facts};
    if (strstr(found.gl_pathv[i], "/writers.")) c.means = MVS_MEANS_WRITER;
    for (size_t j = 0; j < module->functions.count; j++) {
      check_function(&c, &module->functions.items[j]);
    }
    mvs_arena_free(arena);
  }
  globfree(&found);
}

static void rules_keep_values(void **state) {
  (void)state;
  check_files(MVS_SOURCE_DIR "/tests/golden/simplify/*.ir", 0);
}

static void late_rules_keep_values(void **state) {
  (void)state;
  check_files(MVS_SOURCE_DIR "/tests/golden/simplify-again/*.ir", MVS_FACT_GRADIENTS);
}

static void every_rule_fires(void **state) {
  (void)state;
  for (size_t i = 0; i < mvs_simplify_rule_count; i++) {
    const mvs_rule *rule = &mvs_simplify_rules[i];
    if (!counts[i].fired) fail_msg("no golden file for '%s': %s", rule->name, rule->why);
  }
}

/* A rule that never settles is told by its name. */
static bool always(mvs_match *match) {
  match->a = match->node->inputs[0];
  return true;
}
static mvs_id turn_around(mvs_graph *graph, const mvs_match *match) {
  return mvs_build_binary(graph, MVS_OP_add, match->node->inputs[1], match->a,
                          match->node->span);
}

static void endless_rules_are_stopped(void **state) {
  (void)state;
  static const mvs_rule rule = {"turn around", MVS_OP_add, 0, always, turn_around, ""};
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_module *module = mvs_module_new(arena, "m");
  mvs_graph *graph = mvs_module_add_function(module, "f")->graph, *out;
  mvs_span none = {0};
  mvs_type scalar = {.dtype = MVS_F32};
  mvs_attr x = {.input = {"x", scalar}}, y = {.input = {"y", scalar}};
  mvs_id inputs[] = {mvs_graph_add(graph, MVS_OP_input, NULL, 0, &x, none),
                     mvs_graph_add(graph, MVS_OP_input, NULL, 0, &y, none)};
  mvs_result result = {"z", mvs_build_binary(graph, MVS_OP_add, inputs[0], inputs[1], none)};
  MVS_PUSH(arena, mvs_graph_results(graph), result);
  mvs_compilation c = {.arena = arena, .diag = diag, .module = module};
  assert_int_equal(mvs_rewrite_graph(&c, graph, &rule, 1, NULL, &out), MVS_ERR_INTERNAL);
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  assert_non_null(strstr(mvs_text_string(&words), "turn around"));
  mvs_arena_free(arena);
}

int main(void) {
  counts = calloc(mvs_simplify_rule_count, sizeof *counts);
  if (!counts) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rules_keep_values), cmocka_unit_test(late_rules_keep_values),
      cmocka_unit_test(every_rule_fires), cmocka_unit_test(endless_rules_are_stopped)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  free(counts);
  return failed;
}
