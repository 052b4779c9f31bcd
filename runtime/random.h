/* random.h: random numbers as a pure function of what they are for (Philox-4x32-10).
 * source : docs/numerics.md#random-numbers; the kernels' own draws have the same bits'
 * contract. */
#ifndef MVS_RUNTIME_RANDOM_H
#define MVS_RUNTIME_RANDOM_H

#include <stdint.h>

/* Which numbers: a seed, an independent stream of it, a sample and a step. */
typedef struct mvs_random_key {
  uint32_t seed, stream, sample, step;
} mvs_random_key;

/* The four words of block `counter` under `key`. */
void mvs_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);
/* The number at `position`, uniform in (0, 1). */
float mvs_random_uniform(mvs_random_key key, uint32_t position);
/* The numbers at positions first .. first + count - 1, normal with mean 0 and deviation 1. Each
 * depends on its position alone. */
void mvs_random_normals(mvs_random_key key, uint32_t first, int64_t count, float *out);

#endif
