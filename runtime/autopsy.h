/* autopsy.h: what the gradients looked like when an alarm was raised: the largest norms by
 * family and layer beside those of the steps before, and what was not finite. It keeps the
 * norms of the newest steps for that. Owner: the arena given to mvs_autopsy_new. */
#ifndef MVS_RUNTIME_AUTOPSY_H
#define MVS_RUNTIME_AUTOPSY_H

#include "runtime/observation.h"

typedef struct mvs_autopsy mvs_autopsy;

/* An empty memory. */
mvs_autopsy *mvs_autopsy_new(mvs_arena *arena);
/* Remembers the norms of a step, if it shows any. */
void mvs_autopsy_take(mvs_autopsy *autopsy, const mvs_observation *seen);
/* The run went back: what was remembered is not before the steps that come. */
void mvs_autopsy_forget(mvs_autopsy *autopsy);
/* Appends the report on the step taken last, lines of text: loss and norm; the 15 largest norms
 * of (family, layer), each with its factor over the median of the steps before; whatever is not
 * finite. */
void mvs_autopsy_write(const mvs_autopsy *autopsy, const mvs_observation *seen, mvs_text *out);

#endif
