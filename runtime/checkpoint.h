/* checkpoint.h: DIR/step-N.safetensors: weights under the released names, `ema/`, the
 * optimizer's `adam_m/` and `adam_v/`, and counters in the metadata. A file has its name only
 * once it is whole and durable, so a crash at any time leaves the newest complete one loadable.
 * Several may stand side by side; the last few are kept. */
#ifndef MVS_RUNTIME_CHECKPOINT_H
#define MVS_RUNTIME_CHECKPOINT_H

#include "runtime/optimizer.h"

/* What a path given to --weights means: a file is itself; a folder, or `latest` in it, is its
 * newest complete checkpoint. errors : MVS_ERR_IO when the folder holds none */
mvs_status mvs_checkpoint_resolve(mvs_arena *arena, mvs_diag *diag, const char *path,
                                  const char **out);
/* The newest complete checkpoint of a folder; *path is NULL when there is none. */
mvs_status mvs_checkpoint_newest(mvs_arena *arena, const char *folder, const char **path,
                                 int64_t *step);
/* Saves the state after `step` steps and removes all but the newest `keep` checkpoints.
 * errors : MVS_ERR_IO; earlier checkpoints stay */
mvs_status mvs_checkpoint_save(mvs_session *session, const mvs_optimizer *optimizer,
                               const char *folder, int64_t step, int64_t keep);
/* Reads a checkpoint back into the optimizer's buffers. errors : as weights.h */
mvs_status mvs_checkpoint_load(mvs_session *session, mvs_optimizer *optimizer, const char *path,
                               int64_t *step);
/* Removes temporary files that a crashed run left in its folder. */
void mvs_checkpoint_sweep(const char *folder);

#endif
