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
  for (uint32_t at = 0; at < COUNT; at++) {
    double normal = mvs_random_normal(key, at), flat = mvs_random_uniform(key, at);
    assert_true(isfinite(normal));
    assert_true(flat > 0 && flat <= 1);
    sum += normal, squares += normal * normal, uniform += flat;
  }
  assert_true(fabs(sum / COUNT) < 0.016);
  assert_true(fabs(squares / COUNT - 1) < 0.023);
  assert_true(fabs(uniform / COUNT - 0.5) < 0.005);
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
                                     cmocka_unit_test(every_part_of_the_key_counts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
