/* test_options.c: what a command line may say, and what is answered when it says something
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/options.h"

static const mvs_option_row rows[] = {
    {"out", MVS_OPTION_TEXT, "FILE", 0, 0, "where to"},
    {"prefix", MVS_OPTION_PREFIX, "PREFIX", 0, 0, "a prefix"},
    {"steps", MVS_OPTION_INTEGER, "N", 1, 100, "how many"},
    {"lr", MVS_OPTION_NUMBER, "RATE", 0, 1e30, "how fast"},
    {"memory", MVS_OPTION_BYTES, "BYTES", 0, 0, "how much"},
    {"recompute", MVS_OPTION_CHOICE, "none|block|auto", 0, 0, "which"},
    {"resume", MVS_OPTION_FLAG, NULL, 0, 0, "go on"},
};

typedef struct parsed {
  mvs_arena *arena;
  mvs_status status;
  mvs_options *options;
  const char *message;
} parsed;

static parsed parse(int count, char **words) {
  parsed out = {.arena = mvs_arena_new()};
  mvs_diag *diag = mvs_diag_new(out.arena);
  mvs_option_rows *list = MVS_NEW(out.arena, mvs_option_rows);
  for (size_t at = 0; at < sizeof rows / sizeof *rows; at++)
    MVS_PUSH(out.arena, list, rows[at]);
  out.status = mvs_options_parse(out.arena, diag, list, count, words, &out.options);
  mvs_text text = mvs_text_new(out.arena);
  mvs_diag_render(diag, &text);
  out.message = mvs_text_string(&text);
  return out;
}

#define PARSE(...) \
  parse(sizeof(char *[]){__VA_ARGS__} / sizeof(char *), (char *[]){__VA_ARGS__})

static void values_of_all_kinds(void **state) {
  (void)state;
  parsed got = PARSE("--out", "a b", "--steps=12", "--lr", "1e-3", "--memory", "1.5GiB",
                     "--recompute", "block", "--resume", "--prefix", "");
  assert_int_equal(got.status, MVS_OK);
  assert_string_equal(mvs_option_text(got.options, "out", NULL), "a b");
  assert_int_equal(mvs_option_integer(got.options, "steps", 0), 12);
  assert_true(mvs_option_number(got.options, "lr", 0) == 1e-3);
  assert_int_equal(mvs_option_integer(got.options, "memory", 0), 1610612736);
  assert_string_equal(mvs_option_text(got.options, "recompute", NULL), "block");
  assert_true(mvs_option_given(got.options, "resume"));
  assert_string_equal(mvs_option_text(got.options, "prefix", NULL), "");
  mvs_arena_free(got.arena);
}

static void defaults(void **state) {
  (void)state;
  parsed got = parse(0, NULL);
  assert_int_equal(got.status, MVS_OK);
  assert_false(mvs_option_given(got.options, "resume"));
  assert_int_equal(mvs_option_integer(got.options, "steps", 5), 5);
  assert_string_equal(mvs_option_text(got.options, "out", "x"), "x");
  assert_int_equal(mvs_option_set(got.options, "lr", "0.5"), MVS_OK);
  assert_true(mvs_option_number(got.options, "lr", 0) == 0.5);
  assert_int_equal(mvs_option_set(got.options, "lr", "x"), MVS_ERR_FORMAT);
  mvs_arena_free(got.arena);
}

static void refuses(parsed got, const char *message) {
  assert_int_not_equal(got.status, MVS_OK);
  assert_null(got.options);
  assert_string_equal(got.message, message);
  mvs_arena_free(got.arena);
}

static void mistakes(void **state) {
  (void)state;
  refuses(PARSE("--stepz", "3"),
          "mvcc: error: unknown option '--stepz'\n      = hint: did you mean '--steps'?\n");
  refuses(PARSE("--nothing-like-it"), "mvcc: error: unknown option '--nothing-like-it'\n");
  refuses(PARSE("run"), "mvcc: error: unexpected argument 'run': options start with --\n");
  refuses(PARSE("--"), "mvcc: error: unexpected argument '--': options start with --\n");
  refuses(PARSE("--out"), "mvcc: error: --out needs a value (FILE)\n");
  refuses(PARSE("--out", "--resume"), "mvcc: error: --out needs a value (FILE)\n");
  refuses(PARSE("--out", ""), "mvcc: error: --out needs a value, not ''\n");
  refuses(PARSE("--steps", "3.5"), "mvcc: error: --steps needs a whole number, not '3.5'\n");
  refuses(PARSE("--steps", "99999999999999999999"),
          "mvcc: error: --steps needs a whole number, not '99999999999999999999'\n");
  refuses(PARSE("--steps", "0"), "mvcc: error: --steps must be within 1 and 100, not '0'\n");
  refuses(PARSE("--lr", "nan"), "mvcc: error: --lr needs a number, not 'nan'\n");
  refuses(PARSE("--lr", "-1"), "mvcc: error: --lr must be at least 0, not '-1'\n");
  refuses(PARSE("--memory", "many"),
          "mvcc: error: --memory needs a size such as 8GiB or 512M, not 'many'\n");
  refuses(PARSE("--recompute", "some"),
          "mvcc: error: --recompute needs none|block|auto, not 'some'\n");
  refuses(PARSE("--recompute", "none|block"),
          "mvcc: error: --recompute needs none|block|auto, not 'none|block'\n");
  refuses(PARSE("--resume=yes"), "mvcc: error: --resume takes no value\n");
  refuses(PARSE("--lr", "1", "--lr=2"), "mvcc: error: --lr is given twice\n");
}

/* Words by themselves are taken where a row asks for them, in their order, and so many. */
static void operands(void **state) {
  (void)state;
  const mvs_option_row more[] = {{"folders", MVS_OPTION_OPERANDS, "DIR...", 1, 2, "which"},
                                 {"out", MVS_OPTION_TEXT, "FILE", 0, 0, "where to"}};
  char *words[] = {"a", "--out", "b", "c", "d"};
  for (int count = 0; count <= 5; count++) {
    mvs_arena *arena = mvs_arena_new();
    mvs_option_rows *list = MVS_NEW(arena, mvs_option_rows);
    for (size_t at = 0; at < 2; at++) MVS_PUSH(arena, list, more[at]);
    mvs_options *options;
    mvs_status status =
        mvs_options_parse(arena, mvs_diag_new(arena), list, count, words, &options);
    bool good = count == 1 || count == 3 || count == 4; /* none; --out alone; three of two */
    assert_int_equal(status, good ? MVS_OK : MVS_ERR_FORMAT);
    if (count == 4) {
      size_t found;
      const char *const *taken = mvs_option_operands(options, &found);
      assert_int_equal(found, 2);
      assert_string_equal(taken[0], "a");
      assert_string_equal(taken[1], "c");
      assert_string_equal(mvs_option_text(options, "out", NULL), "b");
    }
    mvs_arena_free(arena);
  }
}

static void sizes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t bytes;
  } good[] = {{"0", 0},          {"1000", 1000},    {"2k", 2048},      {"2KB", 2000},
              {"1M", 1048576},   {"1MiB", 1048576}, {"0.5G", 1 << 29}, {"3GB", 3000000000},
              {"1T", 1ll << 40}, {"7B", 7}};
  static const char *const bad[] = {"", "G", "-1", "1X", "1GiBs", "1 G", "1e30"};
  int64_t bytes;
  for (size_t at = 0; at < sizeof good / sizeof *good; at++) {
    assert_true(mvs_parse_bytes(good[at].text, &bytes));
    assert_int_equal(bytes, good[at].bytes);
  }
  for (size_t at = 0; at < sizeof bad / sizeof *bad; at++)
    assert_false(mvs_parse_bytes(bad[at], &bytes));
  mvs_arena *arena = mvs_arena_new();
  assert_string_equal(mvs_bytes_text(arena, 512), "512 bytes");
  assert_string_equal(mvs_bytes_text(arena, 1610612736), "1.50 GiB");
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(values_of_all_kinds),
                                     cmocka_unit_test(defaults), cmocka_unit_test(mistakes),
                                     cmocka_unit_test(sizes),
                                     cmocka_unit_test(operands)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
