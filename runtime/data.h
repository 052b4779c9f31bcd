/* data.h: where training samples come from. A source holds `count` samples and gives any of
 * them by number; which sample stands at which place of the run is decided here, by the seed
 * alone. Owner: the opener closes the source. */
#ifndef MVS_RUNTIME_DATA_H
#define MVS_RUNTIME_DATA_H

#include "runtime/session.h"

typedef struct mvs_data mvs_data;
struct mvs_data {
  const char *name;
  int64_t count;
  /* Writes samples index[0 .. count-1] of a tensor ("x0", or a conditioning input) behind one
   * another, in the dtype of the program's input. Only names that were checked are asked for.
   */
  void (*fill)(mvs_data *data, const char *tensor, const int64_t *index, int64_t count,
               void *out);
  /* Checks that the source has a tensor with this dtype and shape of one sample.
   * errors : MVS_ERR_NAME, MVS_ERR_SHAPE */
  mvs_status (*check)(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                      int rank, const int64_t *shape);
  void (*close)(mvs_data *data);
};

/* Opens "digits", a folder of safetensors shards, or one such file.
 * errors : MVS_ERR_NAME, MVS_ERR_IO, MVS_ERR_FORMAT */
mvs_status mvs_data_open(mvs_session *session, const char *name, mvs_data **out);
/* Checks x0 and every conditioning input of the program against a source. */
mvs_status mvs_data_check(mvs_session *session, mvs_data *data);
/* Takes the first specialisation of the program that fits the source. errors : as
 * mvs_data_check */
mvs_status mvs_data_specialise(mvs_session *session, mvs_data *data);
/* The openers behind mvs_data_open. */
mvs_status mvs_data_open_digits(mvs_session *session, mvs_data **out);
/* The same for a folder or file of shards. */
mvs_status mvs_data_open_shards(mvs_session *session, const char *path, mvs_data **out);

/* The order in which a run sees samples: epoch after epoch, each a permutation made from (seed,
 * epoch), so a place in the run needs no state but its number. */
typedef struct mvs_order {
  int64_t count;
  uint64_t seed;
  int64_t epoch;        /* whose permutation is at hand; -1: none */
  int64_t *permutation; /* [count] */
} mvs_order;

/* Makes the order over `count` samples. */
mvs_order *mvs_order_new(mvs_arena *arena, int64_t count, uint64_t seed);
/* The sample at place `at` of the run (from 0, without end). */
int64_t mvs_order_sample(mvs_order *order, int64_t at);

#endif
