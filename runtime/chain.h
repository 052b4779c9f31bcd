/* chain.h: in which jobs of the pool the host does launches that follow one another.
 *
 * A job of a chain runs several kernels behind one another on a block of rows, then on the next
 * block: what one kernel wrote is still in the core's cache when the next one reads it, and no
 * thread waits for another in between. That is allowed where no block of any of them touches
 * what another block of another one writes, which is told by addresses: so it covers what a
 * kernel reads of the one before as well as memory that the plan uses again. Other launches
 * wait until the chain is done, side by side, where nothing forbids it.
 *
 * Bits do not depend on it: kernels, their blocks' results and the order of each block are the
 * same. Owner: the arena given. */
#ifndef MVS_RUNTIME_CHAIN_H
#define MVS_RUNTIME_CHAIN_H

#include "runtime/device.h"

/* One stage of one launch. */
typedef struct mvs_chain_part {
  uint16_t launch, stage;
} mvs_chain_part;

typedef struct mvs_chain_job {
  const mvs_chain_part *parts;
  size_t count;
  /* 0: the units of all parts, side by side in any order. Else each part's rows are cut into as
   * many equal blocks, and a thread does a block of all parts, one behind the other. */
  int64_t blocks;
  int64_t turns; /* equal parts of the blocks: a thread does one of them at a time */
  bool worth_threads;
} mvs_chain_job;

typedef struct mvs_chain_plan {
  const mvs_chain_job *jobs;
  size_t count;
} mvs_chain_plan;

/* Plans `count` launches, at most MVS_LAUNCHES_TOGETHER, for a pool of `threads`, with the
 * host's operands (workspace included; each launch must have its own). Jobs are done one after
 * another. */
mvs_chain_plan mvs_chain_plan_new(mvs_arena *arena, const mvs_program *program,
                                  const mvs_launch *launches, size_t count, int threads);
/* Blocks of a chain are rows of a nest: rows of each of `blocks`, 0 when they cannot be had. */
int64_t mvs_chain_rows(const Mvs__Nest *nest, int64_t batch, int64_t blocks);

/* Whether a launch of its own is worth handing over to threads. */
bool mvs_chain_worth_threads(const mvs_program *program, const mvs_launch *launch);

#endif
