/* test_golden.c: graph passes on files: tests/golden/PASS/NAME.ir is read, the pass is run on
 * it alone, and the module it leaves is compared with NAME.txt. Files called writers.ir go as
 * under --means writer. MVS_BLESS=1 in the environment rewrites what is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four first. */
#include <cmocka.h>
#include <glob.h>

#include "compiler/base/source.h"
#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/pass.h"

#define MOST_BYTES (1 << 20)
#define GRAPH_FACTS                                                             \
  (MVS_FACT_SIMPLE | MVS_FACT_PACKED | MVS_FACT_GRADIENTS | MVS_FACT_CROSSING | \
   MVS_FACT_HOISTED | MVS_FACT_PREPARED)

static void good(mvs_arena *arena, mvs_diag *diag, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

/* The pass that a file's folder names. */
static const mvs_pass *pass_of(mvs_arena *arena, const char *path) {
  char *folder = mvs_arena_string(arena, path);
  *strrchr(folder, '/') = '\0';
  const char *name = strrchr(folder, '/') + 1;
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    if (strcmp(pass->name, name) == 0) return pass;
  }
  fail_msg("no pass is called '%s'", name);
  return NULL;
}

static const char *outcome(mvs_arena *arena, const char *path) {
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *source;
  mvs_span none = {0};
  mvs_module *module;
  good(arena, diag, mvs_source_read(arena, diag, path, MOST_BYTES, none, &source));
  good(arena, diag, mvs_module_read(arena, diag, source, &module));
  good(arena, diag, mvs_module_verify(module, "reading", diag));
  const mvs_pass *pass = pass_of(arena, path);
  mvs_compilation compilation = {
      .arena = arena, .diag = diag, .module = module, .facts = pass->needs};
  if (strstr(path, "/writers.")) compilation.means = MVS_MEANS_WRITER;
  good(arena, diag, pass->run(&compilation));
  good(arena, diag, mvs_module_verify(module, pass->name, diag));
  mvs_text text = mvs_text_new(arena);
  mvs_module_dump(module, &text);
  return mvs_text_string(&text);
}

static void bless(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  assert_int_equal(fclose(file), 0);
}

static void pass_gives_what_is_wanted(void **state) {
  mvs_arena *arena = mvs_arena_new();
  const char *path = *state;
  const char *got = outcome(arena, path);
  char *wanted_path =
      mvs_arena_format(arena, "%.*s.txt", (int)(strrchr(path, '.') - path), path);
  if (getenv("MVS_BLESS")) bless(wanted_path, got);
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *wanted;
  mvs_span none = {0};
  good(arena, diag, mvs_source_read(arena, diag, wanted_path, MOST_BYTES, none, &wanted));
  assert_string_equal(got, wanted->text);
  mvs_arena_free(arena);
}

/* Every pass finds the facts that it needs, and what it breaks is given again before the end.
 */
static void the_table_is_in_order(void **state) {
  (void)state;
  unsigned facts = 0;
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    if ((pass->needs & facts) != pass->needs) fail_msg("'%s' comes too early", pass->name);
    facts = (facts & ~pass->breaks) | pass->gives;
    assert_non_null(pass->summary);
  }
  assert_int_equal(facts & GRAPH_FACTS, GRAPH_FACTS);
}

static void unknown_passes_are_named(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_compilation compilation = {
      .arena = arena, .diag = diag, .module = mvs_module_new(arena, "m")};
  assert_int_equal(mvs_pipeline_run(&compilation, "simplfy"), MVS_ERR_NAME);
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  assert_non_null(strstr(mvs_text_string(&words), "there is no pass 'simplfy'"));
  assert_non_null(strstr(mvs_text_string(&words), "simplify"));
  mvs_arena_free(arena);
}

/* --explain tells which rules fired, what is kept for the backward pass and what leaves. */
static void passes_explain_themselves(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *source;
  mvs_span none = {0};
  mvs_module *module;
  const char *path = MVS_SOURCE_DIR "/tests/golden/gradients/swiglu.ir";
  good(arena, diag, mvs_source_read(arena, diag, path, MOST_BYTES, none, &source));
  good(arena, diag, mvs_module_read(arena, diag, source, &module));
  mvs_text explain = mvs_text_new(arena);
  mvs_compilation compilation = {
      .arena = arena, .diag = diag, .module = module, .explain = &explain};
  good(arena, diag, mvs_pipeline_run(&compilation, "prepare"));
  static const char *const wanted[] = {
      "simplify grad: sum of pads is concat, 1 times (values padded to places that do not "
      "overlap "
      "lie side by side)\n",
      "crossing blocks: kept per layer, 112 bytes per sample: "
      "bf16[B, 7{image:4(2x2), context:3}, 8]\n",
      "crossing blocks: 4 elementwise values are redone\n",
      "hoist grad: 4 values leave their stack\n",
      " casts read the bf16 weights, 0 values are computed when the weights change\n"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    if (strstr(mvs_text_string(&explain), wanted[i])) continue;
    fail_msg("not told: %s\n%s", wanted[i], mvs_text_string(&explain));
  }
  mvs_arena_free(arena);
}

/* The files of all graph passes; plan passes have a program of their own. */
static void find_files(glob_t *found) {
  int flags = 0;
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    if (!(pass->gives & GRAPH_FACTS)) continue;
    char pattern[sizeof MVS_SOURCE_DIR + 100];
    snprintf(pattern, sizeof pattern, "%s/tests/golden/%s/*.ir", MVS_SOURCE_DIR, pass->name);
    if (glob(pattern, flags, NULL, found) == 0 || found->gl_pathc) flags = GLOB_APPEND;
  }
}

int main(void) {
  glob_t found = {0};
  find_files(&found);
  struct CMUnitTest *tests = calloc(found.gl_pathc + 3, sizeof *tests);
  if (!tests) return 1;
  for (size_t i = 0; i < found.gl_pathc; i++) {
    tests[i] = (struct CMUnitTest){found.gl_pathv[i] + strlen(MVS_SOURCE_DIR "/tests/golden/"),
                                   pass_gives_what_is_wanted, NULL, NULL, found.gl_pathv[i]};
  }
  tests[found.gl_pathc] = (struct CMUnitTest)cmocka_unit_test(the_table_is_in_order);
  tests[found.gl_pathc + 1] = (struct CMUnitTest)cmocka_unit_test(unknown_passes_are_named);
  tests[found.gl_pathc + 2] = (struct CMUnitTest)cmocka_unit_test(passes_explain_themselves);
  int failed = _cmocka_run_group_tests("golden", tests, found.gl_pathc + 3, NULL, NULL);
  free(tests);
  globfree(&found);
  return failed;
}
