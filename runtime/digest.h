/* digest.h: a long series of rows of numbers in bounded memory. Steps that share a bucket are
 * held as least, most and mean of each cell, so that a spike is still there however long the
 * series grew. As long as rows are few, each has a bucket of its own and nothing is lost.
 * Owner: the arena given. */
#ifndef MVS_RUNTIME_DIGEST_H
#define MVS_RUNTIME_DIGEST_H

#include <stdint.h>

#include "compiler/base/arena.h"

typedef struct mvs_bucket {
  int64_t first, last; /* steps */
  int64_t rows;
  /* [cells] each; least and most are NaN where no row had a finite number */
  double *least, *most, *sum;
  uint32_t *finite; /* rows that had a finite number here */
} mvs_bucket;

typedef struct mvs_digest {
  mvs_arena *home;
  size_t cells, most_buckets; /* the latter even */
  int64_t rows_a_bucket;      /* a power of two */
  size_t count;
  mvs_bucket **buckets; /* [count], in the order of adding */
  size_t n_spare;
  mvs_bucket **spare; /* emptied by merging, to be filled again */
} mvs_digest;

/* An empty series of rows of `cells` numbers in at most `most_buckets` buckets. */
void mvs_digest_start(mvs_arena *home, size_t cells, size_t most_buckets, mvs_digest *out);
/* Forgets all rows and keeps the memory. */
void mvs_digest_clear(mvs_digest *digest);
/* Adds a row [cells]. Numbers that are not finite count for nothing but their row. */
void mvs_digest_add(mvs_digest *digest, int64_t step, const double *row);
/* The mean of a cell, NaN where nothing finite was seen. */
double mvs_bucket_mean(const mvs_bucket *bucket, size_t cell);

#endif
