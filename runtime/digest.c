/* digest.c: buckets of rows. When all buckets are full, neighbours are merged in pairs and
 * from then on each takes twice as many rows: between half and all of the buckets are in use,
 * and every bucket but the newest stands for equally many rows. */
#include "runtime/digest.h"

#include <assert.h>
#include <math.h>

/* Even, so that all buckets have a neighbour to be merged with. */
void mvs_digest_start(mvs_arena *home, size_t cells, size_t most_buckets, mvs_digest *out) {
  assert(most_buckets >= 2 && most_buckets % 2 == 0);
  *out = (mvs_digest){
      .home = home, .cells = cells, .most_buckets = most_buckets, .rows_a_bucket = 1};
  out->buckets = MVS_ARRAY(home, most_buckets, mvs_bucket *);
  out->spare = MVS_ARRAY(home, most_buckets, mvs_bucket *);
}

/* Memory is taken bucket by bucket: most series are short. */
static mvs_bucket *new_bucket(mvs_digest *digest) {
  if (digest->n_spare) return digest->spare[--digest->n_spare];
  mvs_bucket *bucket = MVS_NEW(digest->home, mvs_bucket);
  bucket->least = MVS_ARRAY(digest->home, digest->cells, double);
  bucket->most = MVS_ARRAY(digest->home, digest->cells, double);
  bucket->sum = MVS_ARRAY(digest->home, digest->cells, double);
  bucket->finite = MVS_ARRAY(digest->home, digest->cells, uint32_t);
  return bucket;
}

/* The next rows begin with a bucket each again. */
void mvs_digest_clear(mvs_digest *digest) {
  while (digest->count) digest->spare[digest->n_spare++] = digest->buckets[--digest->count];
  digest->rows_a_bucket = 1;
}

/* A bucket that was merged away holds what it held then. */
static void empty(const mvs_digest *digest, mvs_bucket *bucket, int64_t step) {
  bucket->first = step;
  bucket->rows = 0;
  for (size_t cell = 0; cell < digest->cells; cell++) {
    bucket->least[cell] = bucket->most[cell] = NAN;
    bucket->sum[cell] = 0;
    bucket->finite[cell] = 0;
  }
}

/* fmin and fmax pass over NaN, which is what "nothing seen" is here. */
static void merge(const mvs_digest *digest, mvs_bucket *into, const mvs_bucket *from) {
  into->last = from->last;
  into->rows += from->rows;
  for (size_t cell = 0; cell < digest->cells; cell++) {
    into->least[cell] = fmin(into->least[cell], from->least[cell]);
    into->most[cell] = fmax(into->most[cell], from->most[cell]);
    into->sum[cell] += from->sum[cell];
    into->finite[cell] += from->finite[cell];
  }
}

/* In place: bucket i is written from 2 i and 2 i + 1, which are never before it. */
static void halve(mvs_digest *digest) {
  size_t half = digest->count / 2;
  for (size_t at = 0; at < half; at++) {
    mvs_bucket *kept = digest->buckets[2 * at], *gone = digest->buckets[2 * at + 1];
    merge(digest, kept, gone);
    digest->buckets[at] = kept;
    digest->spare[digest->n_spare++] = gone;
  }
  digest->count = half;
  digest->rows_a_bucket *= 2;
}

/* The newest bucket alone takes rows. */
void mvs_digest_add(mvs_digest *digest, int64_t step, const double *row) {
  mvs_bucket *bucket = digest->count ? digest->buckets[digest->count - 1] : NULL;
  if (!bucket || bucket->rows >= digest->rows_a_bucket) {
    if (digest->count == digest->most_buckets) halve(digest);
    bucket = digest->buckets[digest->count++] = new_bucket(digest);
    empty(digest, bucket, step);
  }
  bucket->last = step;
  bucket->rows++;
  for (size_t cell = 0; cell < digest->cells; cell++) {
    if (!isfinite(row[cell])) continue;
    bucket->least[cell] = fmin(bucket->least[cell], row[cell]);
    bucket->most[cell] = fmax(bucket->most[cell], row[cell]);
    bucket->sum[cell] += row[cell];
    bucket->finite[cell]++;
  }
}

/* Of the rows that had a number. */
double mvs_bucket_mean(const mvs_bucket *bucket, size_t cell) {
  return bucket->finite[cell] ? bucket->sum[cell] / bucket->finite[cell] : NAN;
}
