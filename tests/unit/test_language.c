/* The language, from files: tests/errors/parse_*.mvs with the exact messages, tests/golden/ast
 * with the exact trees. MVS_BLESS=1 in the environment rewrites what is wanted. */
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

#include "compiler/base/checked.h"
#include "compiler/base/source.h"
#include "dsl/parse.h"

/* What loading the file gives: its tree, or the messages. */
static mvs_text outcome(mvs_arena *arena, const char *path, const mvs_override *overrides,
                        size_t count) {
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_text text = mvs_text_new(arena);
  mvs_unit *unit;
  mvs_status status = mvs_load_unit(arena, diag, path, overrides, count, &unit);
  assert_int_equal(status == MVS_OK, mvs_diag_errors(diag) == 0);
  if (status == MVS_OK) {
    mvs_unit_dump(unit, &text);
  } else {
    mvs_diag_render(diag, &text);
  }
  return text;
}

static void bless(const char *path, const mvs_text *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(mvs_text_string(text), 1, text->length, file), text->length);
  assert_int_equal(fclose(file), 0);
}

/* Compares the outcome of NAME.mvs with NAME.txt; the test runs in the file's own folder, so
 * that messages show the bare name. */
static void file_gives_what_is_wanted(void **state) {
  mvs_arena *arena = mvs_arena_new();
  char *path = mvs_arena_string(arena, *state);
  char *slash = strrchr(path, '/');
  *slash = '\0';
  assert_int_equal(chdir(path), 0);
  mvs_text got = outcome(arena, slash + 1, NULL, 0);
  char *wanted_path = mvs_arena_string(arena, slash + 1);
  memcpy(strrchr(wanted_path, '.'), ".txt", 4);
  if (getenv("MVS_BLESS")) bless(wanted_path, &got);
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *wanted;
  mvs_span none = {0};
  assert_int_equal(mvs_source_read(arena, diag, wanted_path, 1 << 20, none, &wanted), MVS_OK);
  assert_string_equal(mvs_text_string(&got), wanted->text);
  mvs_arena_free(arena);
}

/* `option` is what messages call it by. */
static mvs_expr *parsed(mvs_arena *arena, mvs_diag *diag, const char *option,
                        const char *text) {
  mvs_expr *expr;
  mvs_parse_expr(arena, diag, option, text, &expr);
  return expr;
}

static void overrides_replace_lets(void **state) {
  (void)state;
  assert_int_equal(chdir(MVS_SOURCE_DIR "/tests/golden/ast"), 0);
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_override overrides[] = {{"depth", parsed(arena, diag, "--set dpeth", "3 + 1")},
                              {NULL, parsed(arena, diag, "--residual", "mine(a = 2)")}};
  mvs_text got = outcome(arena, "use.mvs", overrides, 2);
  assert_non_null(strstr(mvs_text_string(&got), "let depth = 3 + 1\n"));
  assert_non_null(strstr(mvs_text_string(&got), "from command line: mine(a = 2)\n"));
  overrides[0].name = "dpeth";
  got = outcome(arena, "use.mvs", overrides, 1);
  assert_string_equal(mvs_text_string(&got),
                      "mvcc: error: --set dpeth: the model has no `let` of that name\n"
                      "      = hint: did you mean 'depth'?\n");
  mvs_arena_free(arena);
}

static void several_values_make_a_tuple(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_expr *expr = parsed(arena, diag, "--set", "64, 128, 256");
  assert_int_equal(expr->kind, MVS_EXPR_TUPLE);
  assert_int_equal(expr->argument_count, 3);
  assert_null(parsed(arena, diag, "--set", ""));
  assert_null(parsed(arena, diag, "--set", "1 2"));
  assert_null(parsed(arena, diag, "--set", "let a = 1"));
  mvs_arena_free(arena);
}

/* One source of `count` repeats between `before` and `after`; returns the status of its parse.
 */
static mvs_status parse_repeated(const char *before, const char *repeated, size_t count,
                                 const char *after) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_text text = mvs_text_new(arena);
  mvs_text_add(&text, before);
  for (size_t at = 0; at < count; at++) mvs_text_add(&text, repeated);
  mvs_text_add(&text, after);
  mvs_source *source = mvs_source_new(arena, "t", mvs_text_string(&text), text.length);
  mvs_file *file;
  mvs_status status = mvs_parse(arena, diag, source, &file);
  assert_int_equal(status == MVS_OK, file != NULL);
  assert_int_equal(status == MVS_OK, mvs_diag_errors(diag) == 0);
  mvs_arena_free(arena);
  return status;
}

static void depth_is_bounded(void **state) {
  (void)state;
  assert_int_equal(parse_repeated("let a = 1", " + 1", 200, "\n"), MVS_OK);
  assert_int_equal(parse_repeated("let a = 1", " + 1", 20000, "\n"), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("let a = ", "(", 1000, "\n"), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("let a = ", "- ", 20000, "1\n"), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("let a = x", ".y", 20000, "\n"), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("model m { ", "if a { } else ", 9000, "{ } }"),
                   MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("", "# long\n", 200000, ""), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("let a = f(", "1, ", 9000, ")"), MVS_ERR_LIMIT);
  assert_int_equal(parse_repeated("", "model { x = }\n", 5000, ""), MVS_ERR_SYNTAX);
}

static void nul_bytes_are_refused(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *source = mvs_source_new(arena, "t", "let a = 1\0\n", 11);
  mvs_file *file;
  assert_int_equal(mvs_parse(arena, diag, source, &file), MVS_ERR_SYNTAX);
  mvs_text text = mvs_text_new(arena);
  mvs_diag_render(diag, &text);
  assert_string_equal(mvs_text_string(&text),
                      "t:1:10: error: a NUL byte stands here: this is not a text file\n"
                      "    1 | let a = 1?\n"
                      "      |          ^\n");
  mvs_arena_free(arena);
}

static void use_is_bounded(void **state) {
  (void)state;
  char folder[] = "/tmp/mvs_test_XXXXXX";
  assert_non_null(mkdtemp(folder));
  assert_int_equal(chdir(folder), 0);
  mvs_arena *arena = mvs_arena_new();
  for (int at = 0; at < MVS_MAX_NESTING + 1; at++) {
    mvs_text text = mvs_text_new(arena);
    mvs_text_addf(&text, "use \"%d.mvs\"\n", at + 1);
    bless(mvs_arena_format(arena, "%d.mvs", at), &text);
  }
  mvs_text got = outcome(arena, "0.mvs", NULL, 0);
  assert_non_null(strstr(mvs_text_string(&got), "error: `use` nests more than 64 deep\n"));
  for (int at = 0; at < MVS_MAX_NESTING + 1; at++)
    unlink(mvs_arena_format(arena, "%d.mvs", at));
  assert_int_equal(chdir("/"), 0);
  assert_int_equal(rmdir(folder), 0);
  mvs_arena_free(arena);
}

/* Every whole example of the manual parses, and every part of a file parses in some block. */
static void examples_parse(void **state) {
  (void)state;
  static const char *const frames[][2] = {{"", ""}, {"model m {\n", "}\n"}};
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *manual;
  const char *path = MVS_SOURCE_DIR "/docs/language.md";
  mvs_status status = mvs_source_read(arena, diag, path, 1 << 20, (mvs_span){0}, &manual);
  assert_int_equal(status, MVS_OK);
  int examples = 0;
  for (const char *at = manual->text; (at = strstr(at, "\n```mvs")); at++) {
    const char *begin = strchr(at + 1, '\n') + 1, *end = strstr(begin, "```");
    bool part = strncmp(at, "\n```mvs-fragment", 16) == 0, parsed_once = false;
    assert_non_null(end);
    for (int frame = 0; frame < (part ? 2 : 1); frame++) {
      mvs_text text = mvs_text_new(arena);
      mvs_text_add(&text, frames[frame][0]);
      mvs_text_add_bytes(&text, begin, (size_t)(end - begin));
      mvs_text_add(&text, frames[frame][1]);
      mvs_source *source = mvs_source_new(arena, "m", mvs_text_string(&text), text.length);
      mvs_file *file;
      parsed_once |= mvs_parse(arena, mvs_diag_new(arena), source, &file) == MVS_OK;
    }
    if (!parsed_once) print_error("does not parse: %.*s\n", (int)(end - begin), begin);
    assert_true(parsed_once);
    examples++;
  }
  assert_true(examples > 10);
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
      cmocka_unit_test(overrides_replace_lets), cmocka_unit_test(several_values_make_a_tuple),
      cmocka_unit_test(depth_is_bounded),       cmocka_unit_test(nul_bytes_are_refused),
      cmocka_unit_test(use_is_bounded),         cmocka_unit_test(examples_parse),
  };
  glob_t errors, trees;
  size_t count = 6;
  count += add_files(tests + count, 250, &errors, MVS_SOURCE_DIR "/tests/errors/parse_*.mvs");
  count += add_files(tests + count, 250, &trees, MVS_SOURCE_DIR "/tests/golden/ast/*.mvs");
  int failed = _cmocka_run_group_tests("language", tests, count, NULL, NULL);
  globfree(&errors);
  globfree(&trees);
  return failed;
}
