/* test_any_model.c: models nobody thought of, from their text on, against the float64
 * reference; and those that were wrong once (tests/random). The seed of a wrong model is
 * printed with the smallest model that is wrong too.
 *
 * MVS_SEED=N tries that one alone, MVS_SEEDS=N tries more from there on, MVS_SHRINK=0 prints
 * wrong models as they are, MVS_REFUSED=1 prints those that the compiler refuses, MVS_TEXT=1
 * all, MVS_FILE=PATH tries one file. Machine code is optimised in every eighth model: that
 * takes most of the time, and its bits are those of plain code. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "compiler/base/diag.h"
#include "tests/unit/any_model.h"

/* Under the sanitizers a model takes ten times as long. */
#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 16 };
#else
enum { SEEDS = 240 };
#endif
enum { SECONDS = 240, OPTIMISED = 8 };

static int number_of(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? (int)strtol(text, NULL, 10) : otherwise;
}

typedef struct counts {
  int agree, refused, wrong;
  double worst;
} counts;

static void count(counts *all, const any_result *result) {
  all->agree += result->outcome == ANY_AGREES;
  all->refused += result->outcome == ANY_REFUSED;
  all->wrong += result->outcome == ANY_WRONG;
  if (result->worst > all->worst) all->worst = result->worst;
}

static void tell_wrong(mvs_arena *arena, const any_choices *choices, const any_check *check,
                       any_result result, const char *text) {
  if (number_of("MVS_SHRINK", 1)) {
    const char *small = any_model_shrink(arena, choices, check, &result);
    if (small) text = small;
  }
  fprintf(stderr, "%s\n%s\n", text, result.words); /* longer than cmocka's line */
}

static void try_seed(int seed, counts *all) {
  any_check check = {.quick = seed % OPTIMISED != 0, .seconds = SECONDS};
  mvs_arena *arena = mvs_arena_new();
  any_choices choices = any_choices_seed(arena, (uint64_t)seed);
  const char *text = any_model_text(arena, &choices);
  if (number_of("MVS_TEXT", 0)) puts(text);
  any_result result = any_model_try(arena, text, &check);
  count(all, &result);
  if (result.outcome == ANY_WRONG) {
    print_error("seed %d is wrong\n", seed);
    tell_wrong(arena, &choices, &check, result, text);
  }
  if (result.outcome == ANY_REFUSED && number_of("MVS_REFUSED", 0))
    printf("seed %d is refused\n%s\n", seed, result.words);
  mvs_arena_free(arena);
}

/* A loaded machine tries fewer. */
static void any_models_agree(void **state) {
  (void)state;
  bool asked = getenv("MVS_SEED") || getenv("MVS_SEEDS");
  int first = number_of("MVS_SEED", 1);
  int seeds = number_of("MVS_SEEDS", getenv("MVS_SEED") ? 1 : SEEDS), tried = 0;
  counts all = {0};
  for (time_t start = time(NULL); tried < seeds; tried++) {
    if (!asked && time(NULL) - start > SECONDS) break;
    try_seed(first + tried, &all);
  }
  print_message(
      "seeds %d to %d: %d agree, %d refused, %d wrong; farthest off by %.2f of what "
      "rounding may do\n",
      first, first + tried - 1, all.agree, all.refused, all.wrong, all.worst);
  assert_int_equal(all.wrong, 0);
  assert_true(all.agree > 0);
  if (tried >= 100) assert_true(all.refused * 6 <= tried); /* few leave the range of f32 */
}

/* --- models that were wrong once --- */

static void try_file(const char *path, const any_check *check, counts *all) {
  mvs_arena *arena = mvs_arena_new();
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("cannot open %s", path);
  mvs_text text = mvs_text_new(arena);
  char bytes[4096];
  for (size_t got; (got = fread(bytes, 1, sizeof bytes, file)) > 0;)
    mvs_text_add_bytes(&text, bytes, got);
  fclose(file);
  any_result result = any_model_try(arena, mvs_text_string(&text), check);
  count(all, &result);
  if (result.outcome != ANY_AGREES) fprintf(stderr, "%s\n%s\n", path, result.words);
  mvs_arena_free(arena);
}

static void wrong_models_stay_mended(void **state) {
  (void)state;
  const char *one = getenv("MVS_FILE"), *folder = MVS_SOURCE_DIR "/tests/random";
  any_check check = {.seconds = SECONDS};
  counts all = {0};
  if (one) try_file(one, &check, &all);
  DIR *files = one ? NULL : opendir(folder);
  for (const struct dirent *entry; files && (entry = readdir(files));) {
    mvs_arena *arena = mvs_arena_new();
    const char *end = strrchr(entry->d_name, '.');
    if (end && !strcmp(end, ".mvs"))
      try_file(mvs_arena_format(arena, "%s/%s", folder, entry->d_name), &check, &all);
    mvs_arena_free(arena);
  }
  if (files) closedir(files);
  print_message("%d kept models: %d agree, farthest off by %.2f\n",
                all.agree + all.refused + all.wrong, all.agree, all.worst);
  assert_int_equal(all.refused + all.wrong, 0);
  assert_true(all.agree > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_models_stay_mended),
                                     cmocka_unit_test(any_models_agree)};
  if (getenv("MVS_FILE")) cmocka_set_test_filter("wrong_models_stay_mended");
  return cmocka_run_group_tests_name("any model", tests, NULL, NULL);
}
