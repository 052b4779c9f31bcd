/* cuda_algorithms.h: the table of matmul algorithms: which of cuBLASLt's runs for a product on
 * this GPU. Entries come from a checkpoint (those of the run count before all others), from the
 * user's cache, or from a measurement; one is never changed again, so a product has the same
 * bits for as long as the table lives.
 * Owner: whoever opened it. Nothing here fails: what cannot be read is measured anew. */
#ifndef MVS_RUNTIME_CUDA_ALGORITHMS_H
#define MVS_RUNTIME_CUDA_ALGORITHMS_H

#include "runtime/cuda_library.h"

/* cublasLtMatmulAlgo_t: bytes that mean something to the version that made them, alone. */
typedef struct mvs_cuda_algorithm {
  uint64_t data[8];
} mvs_cuda_algorithm;

typedef enum mvs_cuda_origin {
  MVS_CUDA_FIRST, /* the library's own first choice, not measured */
  MVS_CUDA_MEASURED,
  MVS_CUDA_CACHED,
  MVS_CUDA_OF_RUN
} mvs_cuda_origin;

typedef struct mvs_cuda_algorithms mvs_cuda_algorithms;

/* library : "cuBLASLt 13.1.0"; with the GPU it says what entries are good for */
mvs_cuda_algorithms *mvs_cuda_algorithms_new(const mvs_cuda_place *place, const char *library);
/* Gives the table up; what was measured is in the user's cache by then. NULL is allowed. */
void mvs_cuda_algorithms_free(mvs_cuda_algorithms *table);
/* The entry of a product, from the table or the user's cache.
 * product : one line of text that says all that the choice may depend on */
bool mvs_cuda_algorithms_find(mvs_cuda_algorithms *table, const char *product,
                              mvs_cuda_algorithm *out, mvs_cuda_origin *origin);
/* Adds an entry, over one that the library did not take; a measured one goes into the cache. */
void mvs_cuda_algorithms_add(mvs_cuda_algorithms *table, const char *product,
                             const mvs_cuda_algorithm *algorithm, mvs_cuda_origin origin);
/* All entries as text, for a checkpoint. Valid until the next call. */
const char *mvs_cuda_algorithms_text(mvs_cuda_algorithms *table);
/* Takes the entries of such a text as the run's. False with a sentence in `why`
 * [MVS_CUDA_WORDS] when they are of another GPU or library, or damaged; none is taken then. */
bool mvs_cuda_algorithms_adopt(mvs_cuda_algorithms *table, const char *text, char *why);

#endif
