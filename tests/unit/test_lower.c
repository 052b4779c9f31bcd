/* Lowering, from files: tests/errors/lower_*.mvs with the exact messages, tests/golden/lower
 * with the exact parameters and forward graphs; the library's rules, the models of the paper
 * and the examples of the manual. MVS_BLESS=1 in the environment rewrites what is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <glob.h>
#include <math.h>

#include "compiler/base/source.h"
#include "compiler/ir/dump.h"
#include "compiler/ir/lower.h"
#include "compiler/ir/verify.h"

/* Loads, lowers and verifies a file; NULL with the messages in `text` when it has errors. */
static mvs_module *lowered(mvs_arena *arena, const char *path, const mvs_override *overrides,
                           size_t count, mvs_text *text) {
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_unit *unit;
  mvs_module *module = NULL;
  mvs_status status = mvs_load_unit(arena, diag, path, overrides, count, &unit);
  if (status == MVS_OK) status = mvs_lower(arena, diag, unit, &module);
  if (status == MVS_OK) status = mvs_module_verify(module, "lower", diag);
  assert_int_equal(status == MVS_OK, mvs_diag_errors(diag) == 0);
  assert_int_not_equal(status, MVS_ERR_INTERNAL);
  if (status == MVS_OK) return module;
  mvs_diag_render(diag, text);
  return NULL;
}

/* The same for a file that must be right. */
static mvs_module *must_lower(mvs_arena *arena, const char *path, const char *const *settings,
                              size_t count) {
  mvs_override overrides[16];
  mvs_diag *diag = mvs_diag_new(arena);
  for (size_t i = 0; i < count; i++) {
    const char *equals = strchr(settings[i], '=');
    bool rule = strncmp(settings[i], "residual ", 9) == 0;
    const char *value = rule ? settings[i] + 9 : equals + 1;
    overrides[i].name =
        rule ? NULL : mvs_arena_copy(arena, settings[i], (size_t)(equals - settings[i]));
    assert_int_equal(mvs_parse_expr(arena, diag, "test", value, &overrides[i].value), MVS_OK);
  }
  mvs_text text = mvs_text_new(arena);
  mvs_module *module = lowered(arena, path, overrides, count, &text);
  if (!module) print_error("%s\n", mvs_text_string(&text));
  assert_non_null(module);
  return module;
}

static void bless(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  assert_int_equal(fclose(file), 0);
}

/* Takes the line numbers from places in the library: editing it changes no golden file. */
static void hide_library_lines(char *text) {
  char *to = text;
  for (const char *at = text; *at;) {
    bool place = strncmp(at, ".mvs:", 5) == 0;
    const char *name = at;
    while (place && name > text && name[-1] != ' ' && name[-1] != '"') name--;
    place = place && strncmp(name, "std/", 4) == 0;
    *to++ = *at++;
    if (!place) continue;
    for (int i = 0; i < 4; i++) *to++ = *at++;
    while (*at >= '0' && *at <= '9') at++;
  }
  *to = '\0';
}

/* Takes the comments from a dump: they name places of the model, which reading loses. */
static void hide_comments(char *text) {
  char *to = text;
  for (const char *at = text; *at;) {
    if (strncmp(at, "  # ", 4) == 0) at += strcspn(at, "\n");
    *to++ = *at++;
  }
  *to = '\0';
}

/* The part of a dump that a golden file holds: everything before the functions around the
 * model.
 */
static char *up_to_forward(mvs_arena *arena, const char *dump) {
  const char *end = strstr(dump, "\nfunction ");
  assert_non_null(end);
  end = strstr(end + 1, "\nfunction ");
  assert_non_null(end);
  return mvs_arena_copy(arena, dump, (size_t)(end - dump));
}

/* Compares what NAME.mvs gives with NAME.txt, in the file's own folder, so that messages show
 * the bare name. */
static void file_gives_what_is_wanted(void **state) {
  mvs_arena *arena = mvs_arena_new();
  char *path = mvs_arena_string(arena, *state);
  char *slash = strrchr(path, '/');
  *slash = '\0';
  assert_int_equal(chdir(path), 0);
  mvs_text text = mvs_text_new(arena);
  mvs_module *module = lowered(arena, slash + 1, NULL, 0, &text);
  const char *got = mvs_text_string(&text);
  if (module) {
    mvs_module_dump(module, &text);
    char *part = up_to_forward(arena, mvs_text_string(&text));
    hide_library_lines(part);
    got = part;
  }
  char *wanted_path = mvs_arena_string(arena, slash + 1);
  memcpy(strrchr(wanted_path, '.'), ".txt", 4);
  if (getenv("MVS_BLESS")) bless(wanted_path, got);
  mvs_source *wanted;
  mvs_status read =
      mvs_source_read(arena, mvs_diag_new(arena), wanted_path, 1 << 20, (mvs_span){0}, &wanted);
  assert_int_equal(read, MVS_OK);
  assert_string_equal(got, wanted->text);
  mvs_arena_free(arena);
}

/* The paper's counts: 5.45 and 13.6 thousand million. */
static void parameter_counts_are_the_papers(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = must_lower(arena, MVS_SOURCE_DIR "/models/dit400.mvs", NULL, 0);
  assert_int_equal(mvs_module_trained_elements(module), 5454496896);
  module = must_lower(arena, MVS_SOURCE_DIR "/models/dit1000.mvs", NULL, 0);
  assert_int_equal(mvs_module_trained_elements(module), 13635847296);
  assert_string_equal(module->residual, "mvsplit(alpha = 0, beta = 0.03)");
  assert_int_equal(module->settings.precision, MVS_BF16);
  mvs_arena_free(arena);
}

/* A graph does not grow with its depth. */
static void depth_is_a_region(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  const char *path = MVS_SOURCE_DIR "/models/dit.mvs";
  mvs_module *few = must_lower(arena, path, (const char *[]){"depth=4"}, 1);
  mvs_module *many = must_lower(arena, path, (const char *[]){"depth=1000"}, 1);
  assert_int_equal(few->params.count, many->params.count);
  assert_int_equal(few->functions.count, many->functions.count);
  for (size_t i = 0; i < few->functions.count; i++) {
    assert_int_equal(mvs_graph_size(few->functions.items[i].graph),
                     mvs_graph_size(many->functions.items[i].graph));
  }
  mvs_arena_free(arena);
}

/* Every rule lowers in both precisions, and what is written reads back to the same text. */
static void rules_lower_and_read_back(void **state) {
  (void)state;
  static const char *const rules[] = {"residual plain",
                                      "residual prenorm",
                                      "residual layerscale",
                                      "residual rezero",
                                      "residual deepnorm",
                                      "residual sandwich",
                                      "residual mvsplit(beta = 1 / sqrt(depth))"};
  static const char *const precisions[] = {"bf16=false", "bf16=true"};
  for (size_t i = 0; i < 2 * sizeof rules / sizeof *rules; i++) {
    mvs_arena *arena = mvs_arena_new();
    const char *settings[] = {rules[i / 2], precisions[i % 2], "bias=true", "patch=2"};
    mvs_module *module = must_lower(arena, MVS_SOURCE_DIR "/models/dit.mvs", settings, 4);
    mvs_text first = mvs_text_new(arena), second = mvs_text_new(arena);
    mvs_module_dump(module, &first);
    mvs_source *source = mvs_source_new(arena, "dump", mvs_text_string(&first), first.length);
    mvs_module *again;
    assert_int_equal(mvs_module_read(arena, mvs_diag_new(arena), source, &again), MVS_OK);
    mvs_module_dump(again, &second);
    hide_comments(first.data);
    hide_comments(second.data);
    assert_string_equal(first.data, second.data);
    mvs_arena_free(arena);
  }
}

static const mvs_param *param_named(const mvs_module *module, const char *name) {
  for (size_t i = 0; i < module->params.count; i++) {
    if (strcmp(module->params.items[i].name, name) == 0) return &module->params.items[i];
  }
  print_error("no parameter %s\n", name);
  fail();
  return NULL;
}

static void init_lines_have_an_order(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  const char *path = MVS_SOURCE_DIR "/models/dit.mvs";
  mvs_module *module = must_lower(arena, path, (const char *[]){"depth=2"}, 1);
  const mvs_param *writer = param_named(module, "blocks.{i}.ffn.w2.weight");
  assert_true(writer->writer);
  assert_int_equal(writer->init.kind, MVS_INIT_CONSTANT);
  assert_true(writer->init.value == 0);
  assert_non_null(strstr(writer->init.origin, "rule mvsplit"));
  assert_true(param_named(module, "blocks.{i}.ffn.w13.weight")->init.value == 1.0 / 32);
  module = must_lower(arena, path, (const char *[]){"residual layerscale"}, 1);
  assert_true(param_named(module, "blocks.{i}.ffn.w2.weight")->init.value == 0.02);
  assert_true(param_named(module, "final_proj.weight")->init.value == 0.02);
  assert_true(param_named(module, "final_proj.bias")->init.value == 0);
  assert_true(param_named(module, "blocks.{i}.fused_mvsplit_norm2.gamma")->init.value == 1e-4);
  mvs_arena_free(arena);
}

/* The table of arXiv 2203.00555: queries and keys by their inputs, the others smaller by beta.
 * The rule names `w1` too, which this model has not. */
static void deepnorm_starts_as_its_paper_says(void **state) {
  (void)state;
  static const struct { const char *name; double inputs; bool smaller; } wanted[] = {
      {"blocks.{i}.operator.q_proj.weight", 1024, false},
      {"blocks.{i}.operator.k_proj.weight", 1024, false},
      {"blocks.{i}.operator.v_proj.weight", 1024, true},
      {"blocks.{i}.operator.proj.weight", 1024, true},
      {"blocks.{i}.ffn.w13.weight", 1024, true},
      {"blocks.{i}.ffn.w2.weight", 3072, true},
      {"final_proj.weight", 1024, false}};
  mvs_arena *arena = mvs_arena_new();
  const char *settings[] = {"depth=8", "residual deepnorm"};
  mvs_module *module = must_lower(arena, MVS_SOURCE_DIR "/models/dit.mvs", settings, 2);
  double beta = pow(8 * 8, -0.25);
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    double start = (wanted[i].smaller ? beta : 1) / sqrt(wanted[i].inputs);
    double got = param_named(module, wanted[i].name)->init.value;
    if (fabs(got / start - 1) > 1e-12) /* a few operations in double */
      fail_msg("%s starts with %g, not %g", wanted[i].name, got, start);
  }
  mvs_arena_free(arena);
}

/* Every whole example of the manual is a model. */
static void examples_lower(void **state) {
  (void)state;
  char folder[] = "/tmp/mvs_test_XXXXXX";
  assert_non_null(mkdtemp(folder));
  assert_int_equal(chdir(folder), 0);
  mvs_arena *arena = mvs_arena_new();
  mvs_source *manual;
  mvs_status status =
      mvs_source_read(arena, mvs_diag_new(arena), MVS_SOURCE_DIR "/docs/language.md", 1 << 20,
                      (mvs_span){0}, &manual);
  assert_int_equal(status, MVS_OK);
  int examples = 0;
  for (const char *at = manual->text; (at = strstr(at, "\n```mvs\n")); at++) {
    const char *begin = at + strlen("\n```mvs\n"), *end = strstr(begin, "```");
    assert_non_null(end);
    bless("example.mvs", mvs_arena_copy(arena, begin, (size_t)(end - begin)));
    must_lower(arena, "example.mvs", NULL, 0);
    examples++;
  }
  assert_true(examples > 5);
  unlink("example.mvs");
  assert_int_equal(chdir("/"), 0);
  assert_int_equal(rmdir(folder), 0);
  mvs_arena_free(arena);
}

/* One test per file of the pattern, appended to `tests`. */
static size_t add_files(struct CMUnitTest *tests, size_t most, glob_t *found,
                        const char *pattern) {
  assert_int_equal(glob(pattern, 0, NULL, found), 0);
  size_t count = found->gl_pathc < most ? found->gl_pathc : most;
  for (size_t at = 0; at < count; at++) {
    tests[at] = (struct CMUnitTest)cmocka_unit_test(file_gives_what_is_wanted);
    tests[at].name = strrchr(found->gl_pathv[at], '/') + 1;
    tests[at].initial_state = found->gl_pathv[at];
  }
  return count;
}

int main(void) {
  struct CMUnitTest tests[512] = {
      cmocka_unit_test(parameter_counts_are_the_papers),
      cmocka_unit_test(depth_is_a_region),
      cmocka_unit_test(rules_lower_and_read_back),
      cmocka_unit_test(init_lines_have_an_order),
      cmocka_unit_test(deepnorm_starts_as_its_paper_says),
      cmocka_unit_test(examples_lower),
  };
  glob_t errors, graphs;
  size_t count = 5;
  count += add_files(tests + count, 250, &errors, MVS_SOURCE_DIR "/tests/errors/lower_*.mvs");
  count += add_files(tests + count, 250, &graphs, MVS_SOURCE_DIR "/tests/golden/lower/*.mvs");
  int failed = _cmocka_run_group_tests("lower", tests, count, NULL, NULL);
  globfree(&errors);
  globfree(&graphs);
  return failed;
}
