/* Arenas, text, tables, diagnostics and file reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "compiler/base/checked.h"
#include "compiler/base/source.h"
#include "compiler/base/table.h"

static void arena_zeroes_and_aligns(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  for (size_t size = 0; size < 100000; size = size * 2 + 1) {
    unsigned char *place = mvs_arena_alloc(arena, size);
    assert_int_equal((uintptr_t)place % _Alignof(max_align_t), 0);
    for (size_t at = 0; at < size; at++) assert_int_equal(place[at], 0);
    memset(place, 0xFF, size);
  }
  mvs_arena_free(arena);
  mvs_arena_free(NULL);
}

static void arena_grows_lists(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  MVS_LIST(int) first = {0};
  MVS_LIST(int) second = {0};
  for (int at = 0; at < 5000; at++) {
    MVS_PUSH(arena, &first, at);
    if (at % 3 == 0) MVS_PUSH(arena, &second, -at);
  }
  assert_int_equal(first.count, 5000);
  for (int at = 0; at < 5000; at++) assert_int_equal(first.items[at], at);
  for (int at = 0; at < (int)second.count; at++) assert_int_equal(second.items[at], -3 * at);
  mvs_arena_free(arena);
}

static void arena_reports_overflow_as_lack_of_memory(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  jmp_buf place;
  volatile int jumps = 0;
  assert_null(mvs_arena_on_oom(&place));
  if (setjmp(place) == 0) {
    mvs_arena_array(arena, SIZE_MAX / 2, 3);
  } else {
    jumps++;
  }
  assert_int_equal(jumps, 1);
  assert_true(mvs_arena_on_oom(NULL) == &place);
  assert_true(mvs_arena_oom_bytes() == SIZE_MAX);
  mvs_arena_free(arena);
}

static void text_appends(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  assert_string_equal(mvs_text_string(&text), "");
  for (int at = 0; at < 1000; at++) mvs_text_addf(&text, "%d,", at % 10);
  mvs_text_add_bytes(&text, "end", 2);
  assert_int_equal(text.length, 2002);
  assert_string_equal(mvs_text_string(&text) + 1990, "5,6,7,8,9,en");
  mvs_text_addf(&text, "%0300d", 7);
  assert_int_equal(text.length, 2302);
  mvs_arena_free(arena);
}

static void table_finds_what_was_set(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_table *table = mvs_table_new(arena);
  static int values[500];
  for (int at = 0; at < 500; at++)
    assert_null(mvs_table_set(table, mvs_arena_format(arena, "k%d", at), &values[at]));
  for (int at = 0; at < 500; at++)
    assert_ptr_equal(mvs_table_get(table, mvs_arena_format(arena, "k%d", at)), &values[at]);
  assert_null(mvs_table_get(table, "k500"));
  assert_ptr_equal(mvs_table_set(table, "k7", &values[8]), &values[7]);
  assert_ptr_equal(mvs_table_get(table, "k7"), &values[8]);
  mvs_arena_free(arena);
}

static void diag_renders_as_clang_does(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const char *text = "one\n\tsecond line\r\nthird";
  mvs_source *source = mvs_source_new(arena, "a.mvs", text, strlen(text));
  mvs_diag_error(diag, (mvs_span){source, 5, 11}, "wrong %s", "word");
  mvs_diag_label(diag, "is f32[%d]", 3);
  mvs_diag_note(diag, (mvs_span){source, 0, 3}, "from here");
  mvs_diag_hint(diag, "try another");
  mvs_diag_error(diag, (mvs_span){0}, "no place");
  mvs_text out = mvs_text_new(arena);
  mvs_diag_render(diag, &out);
  assert_string_equal(mvs_text_string(&out),
                      "a.mvs:2:2: error: wrong word\n"
                      "    2 |  second line\n"
                      "      |  ^~~~~~ is f32[3]\n"
                      "a.mvs:1:1: note: from here\n"
                      "    1 | one\n"
                      "      | ^~~\n"
                      "      = hint: try another\n"
                      "mvcc: error: no place\n");
  mvs_text line = mvs_text_new(arena);
  mvs_diag_sentence(diag, &line);
  assert_string_equal(mvs_text_string(&line), "wrong word; try another");
  mvs_arena_free(arena);
}

static void diag_counts_what_it_does_not_keep(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  for (int at = 0; at < MVS_MAX_DIAGNOSTICS + 2; at++) {
    mvs_diag_error(diag, (mvs_span){0}, "error %d", at);
    mvs_diag_hint(diag, "hint %d", at);
  }
  mvs_text out = mvs_text_new(arena);
  mvs_diag_render(diag, &out);
  assert_int_equal(mvs_diag_errors(diag), MVS_MAX_DIAGNOSTICS + 2);
  const char *end =
      "error 19\n      = hint: hint 19\n"
      "mvcc: error: too many errors, the rest is not shown\n";
  assert_non_null(strstr(mvs_text_string(&out), end));
  mvs_arena_free(arena);
}

static void diag_shows_part_of_a_long_line(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  char *line = mvs_arena_alloc(arena, 100000);
  memset(line, 'x', 99999);
  line[50000] = 'Y';
  mvs_source *source = mvs_source_new(arena, "a.mvs", line, 99999);
  mvs_diag_error(diag, (mvs_span){source, 50000, 50001}, "here");
  mvs_text out = mvs_text_new(arena);
  mvs_diag_render(diag, &out);
  assert_true(out.length < 500);
  const char *shown = strchr(mvs_text_string(&out), '\n') + 1;
  const char *caret_line = strchr(shown, '\n') + 1;
  assert_int_equal(strchr(shown, 'Y') - shown, strchr(caret_line, '^') - caret_line);
  mvs_arena_free(arena);
}

static void suggestions_are_near(void **state) {
  (void)state;
  const char *names[] = {"depth", "width", "heads", "x"};
  assert_string_equal(mvs_suggest("dpeth", names, 4), "depth");
  assert_string_equal(mvs_suggest("widths", names, 4), "width");
  assert_null(mvs_suggest("latent", names, 4));
  assert_null(mvs_suggest("y", names, 4));
  assert_null(mvs_suggest("", names, 4));
}

static void sources_have_limits(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *source;
  mvs_span none = {0};
  char path[] = "/tmp/mvs_test_XXXXXX";
  int file = mkstemp(path);
  assert_int_equal(write(file, "12345", 5), 5);
  close(file);
  assert_int_equal(mvs_source_read(arena, diag, path, 5, none, &source), MVS_OK);
  assert_int_equal(source->length, 5);
  assert_string_equal(source->text, "12345");
  assert_int_equal(mvs_source_read(arena, diag, path, 4, none, &source), MVS_ERR_LIMIT);
  assert_null(source);
  unlink(path);
  assert_int_equal(mvs_source_read(arena, diag, path, 5, none, &source), MVS_ERR_IO);
  assert_int_equal(mvs_source_read(arena, diag, "/tmp", 5, none, &source), MVS_ERR_IO);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_zeroes_and_aligns),
      cmocka_unit_test(arena_grows_lists),
      cmocka_unit_test(arena_reports_overflow_as_lack_of_memory),
      cmocka_unit_test(text_appends),
      cmocka_unit_test(table_finds_what_was_set),
      cmocka_unit_test(diag_renders_as_clang_does),
      cmocka_unit_test(diag_counts_what_it_does_not_keep),
      cmocka_unit_test(diag_shows_part_of_a_long_line),
      cmocka_unit_test(suggestions_are_near),
      cmocka_unit_test(sources_have_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
