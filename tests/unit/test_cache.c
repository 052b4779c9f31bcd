/* test_cache.c: which entries stay when a cache grows too large. What NVRTC's entries hold, and
 * what becomes of damaged ones, is tests/e2e/cuda.sh's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "compiler/toolkit/cache.h"

#define ENTRIES 10
#define BYTES   10000 /* with its head three pages of 4 KiB */
#define PAGES   ((uint64_t)3 * 4096)

typedef struct folder {
  mvs_arena *arena;
  char path[32];
} folder;

static const char *file_of(const folder *f, const char *name) {
  return mvs_arena_format(f->arena, "%s/%s", f->path, name);
}

static mvs_cache_key key_of(int number) { return (mvs_cache_key){.low = (uint64_t)number}; }

static const char *entry_of(const folder *f, int number) {
  return file_of(f, mvs_arena_format(f->arena, "%032x", (unsigned)number));
}

/* Sets the time at which a file was last used, so many seconds ago. */
static void age(const char *path, time_t seconds) {
  struct timespec then = {.tv_sec = time(NULL) - seconds};
  assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){then, then}, 0), 0);
}

static void put_file(const char *path) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("x", file);
  fclose(file);
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

/* Entry n was used ENTRIES - n minutes ago. */
static folder filled(void) {
  static char bytes[BYTES];
  folder f = {.arena = mvs_arena_new(), .path = "/tmp/mvcc-cache-XXXXXX"};
  assert_non_null(mkdtemp(f.path));
  const mvs_cache_entry entry = {.data = bytes, .size = BYTES};
  for (int at = 0; at < ENTRIES; at++) {
    mvs_cache_put(f.path, key_of(at), &entry);
    age(entry_of(&f, at), 60 * (ENTRIES - at));
  }
  return f;
}

static void remove_folder(folder *f) {
  static const char *const others[] = {"notes.txt", "0123456789abcdef", "sub"};
  for (int at = 0; at < ENTRIES; at++) unlink(entry_of(f, at));
  for (size_t at = 0; at < sizeof others / sizeof *others; at++) remove(file_of(f, others[at]));
  assert_int_equal(rmdir(f->path), 0); /* nothing else was left */
  mvs_arena_free(f->arena);
}

static void entries_are(const folder *f, int first, int last) {
  for (int at = 0; at < ENTRIES; at++)
    assert_int_equal(is_there(entry_of(f, at)), at >= first && at <= last);
}

static void what_fits_stays(void **state) {
  (void)state;
  folder f = filled();
  mvs_cache_prune(f.path, ENTRIES * PAGES);
  entries_are(&f, 0, ENTRIES - 1);
  remove_folder(&f);
}

/* One byte too many, and a quarter of all goes: 7.5 of 10 may stay. */
static void the_oldest_go(void **state) {
  (void)state;
  folder f = filled();
  mvs_cache_prune(f.path, ENTRIES * PAGES - 1);
  entries_are(&f, 3, ENTRIES - 1);
  mvs_cache_prune(f.path, 0);
  entries_are(&f, ENTRIES, ENTRIES);
  remove_folder(&f);
}

static void what_is_read_is_young(void **state) {
  (void)state;
  folder f = filled();
  mvs_cache_entry read;
  assert_true(mvs_cache_get(f.arena, f.path, key_of(0), &read));
  mvs_cache_prune(f.path, ENTRIES * PAGES - 1);
  assert_true(is_there(entry_of(&f, 0)));
  for (int at = 1; at < ENTRIES; at++) assert_int_equal(is_there(entry_of(&f, at)), at > 3);
  remove_folder(&f);
}

/* $MVCC_CACHE may name a folder that holds other things. Temporary files go an hour after their
 * writer. */
static void other_files_stay(void **state) {
  (void)state;
  folder f = filled();
  const char *left = mvs_arena_format(f.arena, "%s.AbC012", entry_of(&f, 1));
  const char *fresh = mvs_arena_format(f.arena, "%s.AbC345", entry_of(&f, 2));
  const char *notes = file_of(&f, "notes.txt"), *hex = file_of(&f, "0123456789abcdef");
  put_file(left), put_file(fresh), put_file(notes), put_file(hex);
  assert_int_equal(mkdir(file_of(&f, "sub"), 0700), 0);
  age(left, 2 * 3600), age(notes, 2 * 3600), age(hex, 2 * 3600);
  mvs_cache_prune(f.path, ENTRIES * PAGES);
  assert_false(is_there(left));
  assert_true(is_there(fresh));
  unlink(fresh);
  mvs_cache_prune(f.path, 0);
  entries_are(&f, ENTRIES, ENTRIES);
  assert_true(is_there(notes) && is_there(hex) && is_there(file_of(&f, "sub")));
  remove_folder(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_fits_stays), cmocka_unit_test(the_oldest_go),
      cmocka_unit_test(what_is_read_is_young), cmocka_unit_test(other_files_stay)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
