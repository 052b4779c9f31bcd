/* random.c: random numbers as a pure function of what they are for: the twin of
 * codegen/host/philox.c, for initial values and sampling noise. Normals are computed in double
 * by polynomials of our own and round once to float. Every step is one IEEE operation, never
 * contracted, so these bits do not depend on the width of the vectors that the compiler makes
 * of the loops, nor on libm. */
#include "runtime/random.h"

#include <math.h>
#include <string.h>

#define ROUNDS 10
/* Numbers made at a time: the words between two loops stay in the first cache. */
#define PART 256
/* A 400-layer model has 5 G initial values: these are worth the widest vectors there are. */
#define EVERY_WIDTH \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/* Multipliers and key increments of Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3". */
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0       0x9E3779B9u
#define WEYL_1       0xBB67AE85u
#define LN_2         0.6931471805599453
#define HALF_PI      1.5707963267948966

/* Known answers of the paper's authors are checked in tests/unit/test_random.c. */
static inline void rounds(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
#pragma GCC unroll 10
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t product0 = (uint64_t)MULTIPLIER_0 * c0, product1 = (uint64_t)MULTIPLIER_1 * c2;
    uint32_t high0 = (uint32_t)(product0 >> 32), high1 = (uint32_t)(product1 >> 32);
    c0 = high1 ^ c1 ^ k0;
    c1 = (uint32_t)product1;
    c2 = high0 ^ c3 ^ k1;
    c3 = (uint32_t)product0;
    k0 += WEYL_0, k1 += WEYL_1;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

void mvs_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
  rounds(counter, key, words);
}

/* The fourth word of the counter is never used: it is free for another axis. */
static void draw(mvs_random_key key, uint32_t position, uint32_t words[4]) {
  const uint32_t counter[4] = {position, key.sample, key.step, 0};
  const uint32_t pair[2] = {key.seed, key.stream};
  mvs_philox(counter, pair, words);
}

/* The middle of one of 2^24 equal parts of (0, 1): never 0, so its logarithm is finite. */
static double uniform_of(uint32_t word) { return ((word >> 8) + 0.5) * 0x1p-24; }

/* Rounded to float, so the largest result is 1. */
float mvs_random_uniform(mvs_random_key key, uint32_t position) {
  uint32_t words[4];
  draw(key, position, words);
  return (float)uniform_of(words[0]);
}

static double double_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* ln(odd / 2^25) for an odd number below 2^25. With odd = 2^e m and sqrt(1/2) <= m < sqrt(2):
 * ln m = 2 atanh(f), f = (m - 1) / (m + 1), |f| < 0.172; the first term left out is 2e-17. */
static inline double log_part(uint32_t odd) {
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, exponent_of_2_52 = 0x4330000000000000;
  uint64_t bits = bits_of((double)(int32_t)odd);
  uint64_t e = (bits - sqrt_half) >> 52;
  double m = double_of(bits - (e << 52));
  double whole = double_of(e | exponent_of_2_52) - 0x1p52 - 25;
  double f = (m - 1) / (m + 1), s = f * f, sum = 1.0 / 21;
  sum = sum * s + 1.0 / 19;
  sum = sum * s + 1.0 / 17;
  sum = sum * s + 1.0 / 15;
  sum = sum * s + 1.0 / 13;
  sum = sum * s + 1.0 / 11;
  sum = sum * s + 1.0 / 9;
  sum = sum * s + 1.0 / 7;
  sum = sum * s + 1.0 / 5;
  sum = sum * s + 1.0 / 3;
  return whole * LN_2 + (2 * f + 2 * f * (s * sum));
}

/* cos(2 pi odd / 2^25): the nearest quarter turn and what is left of the angle, at most pi / 4;
 * Taylor's terms up to 2e-18. */
static inline double cos_part(uint32_t odd) {
  uint64_t quarter = (odd + (1u << 22)) >> 23;
  double a = (double)(int32_t)(odd - ((uint32_t)quarter << 23)) * (HALF_PI * 0x1p-23);
  double s = a * a;
  double c = 1.0 / 20922789888000.0, n = 1.0 / 355687428096000.0;
  c = c * s - 1.0 / 87178291200.0, n = n * s - 1.0 / 1307674368000.0;
  c = c * s + 1.0 / 479001600.0, n = n * s + 1.0 / 6227020800.0;
  c = c * s - 1.0 / 3628800.0, n = n * s - 1.0 / 39916800.0;
  c = c * s + 1.0 / 40320.0, n = n * s + 1.0 / 362880.0;
  c = c * s - 1.0 / 720.0, n = n * s - 1.0 / 5040.0;
  c = c * s + 1.0 / 24.0, n = n * s + 1.0 / 120.0;
  c = c * s - 0.5, n = n * s - 1.0 / 6;
  c = c * s + 1, n = n * s * a + a;
  uint64_t odd_quarter = -(quarter & 1), negative = ((quarter + 1) & 2) << 62;
  return double_of(((bits_of(c) & ~odd_quarter) | (bits_of(n) & odd_quarter)) ^ negative);
}

/* Box and Muller's cosine half: two words for one number, and no state to keep. A uniform
 * number is its word's upper 24 bits and a half: an odd number over 2^25. */
EVERY_WIDTH static void normal_part(const uint32_t *words0, const uint32_t *words1,
                                    float *out) {
  for (int at = 0; at < PART; at++) {
    double radius = sqrt(-2 * log_part(words0[at] >> 8 << 1 | 1));
    out[at] = (float)(radius * cos_part(words1[at] >> 8 << 1 | 1));
  }
}

EVERY_WIDTH static void draw_part(mvs_random_key key, uint32_t first, uint32_t *words0,
                                  uint32_t *words1) {
  for (uint32_t at = 0; at < PART; at++) {
    const uint32_t counter[4] = {first + at, key.sample, key.step, 0};
    const uint32_t pair[2] = {key.seed, key.stream};
    uint32_t words[4];
    rounds(counter, pair, words);
    words0[at] = words[0];
    words1[at] = words[1];
  }
}

void mvs_random_normals(mvs_random_key key, uint32_t first, int64_t count, float *out) {
  for (int64_t at = 0; at < count; at += PART) {
    uint32_t words0[PART], words1[PART];
    float made[PART];
    int64_t left = count - at < PART ? count - at : PART;
    draw_part(key, first + (uint32_t)at, words0, words1);
    normal_part(words0, words1, made);
    memcpy(out + at, made, (size_t)left * sizeof *out);
  }
}
