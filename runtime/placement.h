/* placement.h: where the temporary values of a function live, for one batch and one choice of
 * keeping or redoing what the backward pass needs.
 * Owner: the arena given. A placement holds offsets, no memory: functions that run one after
 * another share one block. */
#ifndef MVS_RUNTIME_PLACEMENT_H
#define MVS_RUNTIME_PLACEMENT_H

#include <stdbool.h>

#include "runtime/recompute.h"
#include "runtime/work.h"

typedef struct mvs_placement {
  const Mvs__Function *function;
  int64_t batch;
  const mvs_redo *redo;    /* the values and steps that are redone */
  int64_t *slots;          /* per buffer; see plan.h */
  int64_t *slot_bytes;     /* per buffer; slots lie behind one another without gaps */
  int64_t *offsets;        /* per buffer: of TEMP buffers, bytes from the start of the block */
  int64_t bytes;           /* of the block of temporaries */
  int64_t workspace_bytes; /* most that one kernel's stages share */
} mvs_placement;

/* Works out a placement.
 * apart  : for a device that does launches together (mvs_device.launch_all): values of a block
 * keep to themselves until its end, where that costs little, and there is workspace for several
 * launches
 * errors : MVS_ERR_LIMIT when sizes leave 64 bits at this batch */
mvs_status mvs_placement_new(mvs_arena *arena, mvs_diag *diag, const mvs_program *program,
                             const Mvs__Function *function, int64_t batch,
                             mvs_recompute recompute, bool apart, mvs_placement **out);

/* True when the function has a backward loop that may redo its forward blocks. */
bool mvs_function_can_redo(const Mvs__Function *function);

#endif
