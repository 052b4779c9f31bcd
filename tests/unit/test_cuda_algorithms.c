/* test_cuda_algorithms.c: the table of matmul algorithms as text and on disk. No GPU is needed:
 * what is in an entry means nothing to the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/cuda_algorithms.h"

#define LIBRARY "cuBLASLt 13.1.0"

static const mvs_cuda_place place = {.model = "NVIDIA H200, 132 multiprocessors",
                                     .driver_text = "driver of CUDA 13.0"};
static const mvs_cuda_algorithm one = {{1, 2, 3, 4, 5, 6, 7, UINT64_MAX}}, two = {{9}};
static char folder[] = "/tmp/mvcc-algorithms-XXXXXX";

static mvs_cuda_algorithms *open_table(const char *gpu, const char *driver,
                                       const char *library) {
  mvs_cuda_place here = place;
  if (gpu) here.model = gpu;
  if (driver) here.driver_text = driver;
  mvs_cuda_algorithms *table = mvs_cuda_algorithms_new(&here, library);
  assert_non_null(table);
  return table;
}

static bool holds(mvs_cuda_algorithms *table, const char *product,
                  const mvs_cuda_algorithm *wanted, mvs_cuda_origin origin) {
  mvs_cuda_algorithm found;
  mvs_cuda_origin from;
  return mvs_cuda_algorithms_find(table, product, &found, &from) && from == origin &&
         memcmp(&found, wanted, sizeof found) == 0;
}

static bool has(mvs_cuda_algorithms *table, const char *product) {
  mvs_cuda_algorithm found;
  mvs_cuda_origin from;
  return mvs_cuda_algorithms_find(table, product, &found, &from);
}

static int no_cache(void **state) {
  (void)state;
  return setenv("MVCC_CACHE", "off", 1);
}

static void text_there_and_back(void **state) {
  (void)state;
  mvs_cuda_algorithms *from = open_table(NULL, NULL, LIBRARY);
  mvs_cuda_algorithms *to = open_table(NULL, "driver of CUDA 13.2", LIBRARY);
  char why[MVS_CUDA_WORDS];
  mvs_cuda_algorithms_add(from, "nt 5x6x7 bf16", &one, MVS_CUDA_MEASURED);
  mvs_cuda_algorithms_add(from, "tn 1x2x3 f32", &two, MVS_CUDA_FIRST);
  mvs_cuda_algorithms_add(to, "tn 1x2x3 f32", &one, MVS_CUDA_MEASURED);
  assert_true(mvs_cuda_algorithms_adopt(to, mvs_cuda_algorithms_text(from), why));
  assert_true(holds(to, "nt 5x6x7 bf16", &one, MVS_CUDA_OF_RUN));
  assert_true(holds(to, "tn 1x2x3 f32", &two, MVS_CUDA_OF_RUN));
  assert_false(has(to, "nt 5x6x7"));
  mvs_cuda_algorithms_free(from);
  mvs_cuda_algorithms_free(to);
}

static void another_gpu_or_library(void **state) {
  (void)state;
  mvs_cuda_algorithms *from = open_table(NULL, NULL, LIBRARY);
  mvs_cuda_algorithms *others[] = {
      open_table(NULL, NULL, "cuBLASLt 13.2.0"),
      open_table("NVIDIA H200, 66 multiprocessors", NULL, LIBRARY)};
  char why[MVS_CUDA_WORDS];
  mvs_cuda_algorithms_add(from, "nt", &one, MVS_CUDA_MEASURED);
  for (int at = 0; at < 2; at++) {
    assert_false(mvs_cuda_algorithms_adopt(others[at], mvs_cuda_algorithms_text(from), why));
    assert_non_null(
        strstr(why, "are of NVIDIA H200, 132 multiprocessors, cuBLASLt 13.1.0, not"));
    assert_false(has(others[at], "nt"));
    mvs_cuda_algorithms_free(others[at]);
  }
  mvs_cuda_algorithms_free(from);
}

/* Every byte of the text counts, and so does its length. */
static void damage_is_found(void **state) {
  (void)state;
  mvs_cuda_algorithms *from = open_table(NULL, NULL, LIBRARY);
  mvs_cuda_algorithms_add(from, "nt 5x6x7 bf16", &one, MVS_CUDA_MEASURED);
  char *text = strdup(mvs_cuda_algorithms_text(from)), why[MVS_CUDA_WORDS];
  size_t length = strlen(text);
  for (size_t at = 0; at + 1 < length; at++) {
    mvs_cuda_algorithms *to = open_table(NULL, NULL, LIBRARY);
    char was = text[at];
    text[at] ^= 1;
    assert_false(mvs_cuda_algorithms_adopt(to, text, why));
    text[at] = '\0';
    assert_false(mvs_cuda_algorithms_adopt(to, text, why));
    text[at] = was;
    assert_false(has(to, "nt 5x6x7 bf16"));
    mvs_cuda_algorithms_free(to);
  }
  free(text);
  mvs_cuda_algorithms_free(from);
}

static int with_cache(void **state) {
  (void)state;
  return mkdtemp(folder) ? setenv("MVCC_CACHE", folder, 1) : -1;
}

static int remove_cache(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

/* Measured entries are found by the next process on the same GPU, driver and library. */
static void the_cache_keeps_what_was_measured(void **state) {
  (void)state;
  mvs_cuda_algorithms *first = open_table(NULL, NULL, LIBRARY);
  mvs_cuda_algorithms_add(first, "measured", &one, MVS_CUDA_MEASURED);
  mvs_cuda_algorithms_add(first, "first", &two, MVS_CUDA_FIRST);
  mvs_cuda_algorithms_add(first, "run", &two, MVS_CUDA_OF_RUN);
  mvs_cuda_algorithms *next = open_table(NULL, NULL, LIBRARY);
  assert_true(holds(next, "measured", &one, MVS_CUDA_CACHED));
  assert_false(has(next, "first"));
  assert_false(has(next, "run"));
  mvs_cuda_algorithms *others[] = {
      open_table("NVIDIA H100, 132 multiprocessors", NULL, LIBRARY),
      open_table(NULL, "driver of CUDA 13.1", LIBRARY),
      open_table(NULL, NULL, "cuBLASLt 13.1.1")};
  for (int at = 0; at < 3; at++) {
    assert_false(has(others[at], "measured"));
    mvs_cuda_algorithms_free(others[at]);
  }
  mvs_cuda_algorithms_free(first);
  mvs_cuda_algorithms_free(next);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(text_there_and_back, no_cache),
      cmocka_unit_test_setup(another_gpu_or_library, no_cache),
      cmocka_unit_test_setup(damage_is_found, no_cache),
      cmocka_unit_test_setup_teardown(the_cache_keeps_what_was_measured, with_cache,
                                      remove_cache),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
