/* memory.h: how much memory a piece of work needs, worked out before any is taken, and which of
 * keeping or redoing fits. Sizes are those of the placements, so the prediction is exact for
 * device memory; the program itself and mapped files come on top. */
#ifndef MVS_RUNTIME_MEMORY_H
#define MVS_RUNTIME_MEMORY_H

#include "runtime/session.h"

/* Device memory by purpose, in bytes. */
typedef struct mvs_memory {
  int64_t parameters, gradients, optimizer, average; /* flat buffers */
  int64_t prepared; /* what the weights alone decide: their bf16 copy, results of "prepare" */
  int64_t temporaries; /* the shared block and the workspace */
  int64_t tensors;     /* inputs and outputs of functions */
  int64_t libraries;   /* what the device's libraries work in; 0 with no device open */
  int64_t total;
} mvs_memory;

/* What the work holds besides parameters and temporaries. */
typedef struct mvs_memory_use {
  const char *const *functions; /* that will be called at `batch`, ended by NULL; missing ones
                                   are passed over */
  const char *const *asides;    /* that will be called while those run, or NULL */
  const char *const *between;   /* that will be called at `between_batch` while none of those
                                   runs, or NULL */
  int64_t batch, between_batch;
  int gradient_flats, optimizer_flats, average_flats; /* flat buffers of each purpose */
  int landings; /* of the samples: how often they are held besides (feed.h), filled ahead */
} mvs_memory_use;

/* Adds up the memory for a choice of recompute. errors : MVS_ERR_LIMIT */
mvs_status mvs_memory_plan(mvs_session *session, const mvs_memory_use *use,
                           mvs_recompute recompute, mvs_memory *out);
/* Follows --recompute, or redoes as few values as fit the budget (--memory, else what the
 * device has left), those first that save most for their cost, and tells the executor. what   :
 * the work, for the message ("training with 64 samples at a time") advice : which option would
 * help ("a smaller --micro-batch") errors : MVS_ERR_MEMORY saying what is needed, what there is
 * and what would help */
mvs_status mvs_memory_choose(mvs_session *session, const mvs_memory_use *use, const char *what,
                             const char *advice, mvs_recompute *out);

/* What became of blocks, for people: "kept", "redone", "kept but for 3 of 14 values". */
const char *mvs_recompute_text(const mvs_session *session, const mvs_memory_use *use,
                               mvs_recompute recompute);

#endif
