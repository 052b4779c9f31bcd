/* random.c: random numbers as a pure function of what they are for: the scalar twin of
 * codegen/host/philox.c, for initial values and sampling noise. log and cos are libm's in
 * double and round once to float, so these bits do not depend on vector code. */
#include "runtime/random.h"

#include <math.h>

#define ROUNDS 10
/* Multipliers and key increments of Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3". */
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0       0x9E3779B9u
#define WEYL_1       0xBB67AE85u
#define TWO_PI       6.283185307179586

/* Known answers of the paper's authors are checked in tests/unit/test_random.c. */
void mvs_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
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

/* Box and Muller's cosine half: two words for one number, and no state to keep. */
float mvs_random_normal(mvs_random_key key, uint32_t position) {
  uint32_t words[4];
  draw(key, position, words);
  double radius = sqrt(-2 * log(uniform_of(words[0])));
  return (float)(radius * cos(TWO_PI * uniform_of(words[1])));
}
