/* consumers.h: all who want to see what a step showed: the files of the run's folder, the
 * watch, reports. The train loop hands each observation to the list and knows none of them; one
 * more is one call of mvs_consumers_add. */
#ifndef MVS_RUNTIME_CONSUMERS_H
#define MVS_RUNTIME_CONSUMERS_H

#include "runtime/observation.h"

typedef struct mvs_consumer {
  void *self;
  /* Sees a step: every step once, in order. What it wants to keep it copies. */
  mvs_status (*take)(void *self, const mvs_observation *seen);
  /* Takes back what it made of steps after `step`: the run goes back to there and those steps
   * come again. NULL: nothing to take back. */
  mvs_status (*rewind)(void *self, int64_t step);
  /* Makes durable what it wrote: a checkpoint that outlives the machine's sudden end must find
   * what was said of the steps before it. NULL: it writes nothing that cannot be made again. */
  mvs_status (*sync)(void *self);
  /* Ends it, also after a failure. NULL: nothing to end. */
  void (*close)(void *self);
} mvs_consumer;

/* Zeroed: an empty list. */
typedef MVS_LIST(mvs_consumer) mvs_consumers;

/* Adds one behind the others. From then on the list closes it. */
void mvs_consumers_add(mvs_arena *arena, mvs_consumers *list, const mvs_consumer *consumer);
/* Shows all of them a step, in the order of adding; the first failure ends it. */
mvs_status mvs_consumers_take(const mvs_consumers *list, const mvs_observation *seen);
/* Takes all of them back to `step`. */
mvs_status mvs_consumers_rewind(const mvs_consumers *list, int64_t step);
/* Makes durable what all of them wrote; before a checkpoint gets its name. */
mvs_status mvs_consumers_sync(const mvs_consumers *list);
/* Closes all and empties the list. */
void mvs_consumers_close(mvs_consumers *list);

#endif
