/* test_random.c: Philox against the published answers, and the two distributions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/random.h"

/* From the known-answer file of Random123 1.14 (philox4x32, 10 rounds). */
static const struct {
  uint32_t counter[4], key[2], words[4];
} known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void known_answers(void **state) {
  (void)state;
  for (size_t at = 0; at < sizeof known / sizeof *known; at++) {
    uint32_t words[4];
    mvs_philox(known[at].counter, known[at].key, words);
    for (int word = 0; word < 4; word++) assert_int_equal(words[word], known[at].words[word]);
  }
}

/* 100,000 draws: the mean of normals has a deviation of 0.0032, their variance one of 0.0045;
 * five of these are allowed. */
static void moments(void **state) {
  (void)state;
  enum { COUNT = 100000 };
  mvs_random_key key = {.seed = 7, .stream = 3};
  double sum = 0, squares = 0, uniform = 0;
  static float normals[COUNT];
  mvs_random_normals(key, 0, COUNT, normals);
  for (uint32_t at = 0; at < COUNT; at++) {
    double normal = normals[at], flat = mvs_random_uniform(key, at);
    assert_true(isfinite(normal));
    assert_true(flat > 0 && flat <= 1);
    sum += normal, squares += normal * normal, uniform += flat;
  }
  assert_true(fabs(sum / COUNT) < 0.016);
  assert_true(fabs(squares / COUNT - 1) < 0.023);
  assert_true(fabs(uniform / COUNT - 0.5) < 0.005);
}

/* Against the formula in libm's double: polynomials and libm differ by some 1e-16, which moves
 * the rounding to float in about one number of 1e8. */
static void normals_are_the_formula(void **state) {
  (void)state;
  enum { COUNT = 200000, FIRST = 1000 };
  const mvs_random_key key = {.seed = 11, .stream = 5, .sample = 2, .step = 9};
  static float normals[COUNT], again[COUNT];
  int different = 0;
  mvs_random_normals(key, FIRST, COUNT, normals);
  for (uint32_t at = 0; at < COUNT; at++) {
    const uint32_t counter[4] = {FIRST + at, key.sample, key.step, 0}, pair[2] = {11, 5};
    uint32_t words[4];
    mvs_philox(counter, pair, words);
    double u = ((words[0] >> 8) + 0.5) * 0x1p-24, v = ((words[1] >> 8) + 0.5) * 0x1p-24;
    float wanted = (float)(sqrt(-2 * log(u)) * cos(2 * M_PI * v));
    assert_true(fabs(normals[at] - wanted) <= 1.2e-7 * fabs(wanted)); /* one step of a float */
    different += normals[at] != wanted;
  }
  assert_true(different <= 1);
  /* Whatever the division, a number is its position's. */
  for (int at = 0; at < COUNT; at += 777) {
    int count = COUNT - at < 777 ? COUNT - at : 777;
    mvs_random_normals(key, (uint32_t)(FIRST + at), count, again + at);
  }
  assert_memory_equal(normals, again, sizeof normals);
}

static void every_part_of_the_key_counts(void **state) {
  (void)state;
  mvs_random_key key = {.seed = 1, .stream = 2, .sample = 3, .step = 4};
  float first = mvs_random_uniform(key, 5);
  mvs_random_key other[4] = {key, key, key, key};
  other[0].seed++, other[1].stream++, other[2].sample++, other[3].step++;
  for (int at = 0; at < 4; at++) assert_true(mvs_random_uniform(other[at], 5) != first);
  assert_true(mvs_random_uniform(key, 6) != first);
  assert_true(mvs_random_uniform(key, 5) == first);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers), cmocka_unit_test(moments),
                                     cmocka_unit_test(normals_are_the_formula),
                                     cmocka_unit_test(every_part_of_the_key_counts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
