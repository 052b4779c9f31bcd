/* checkpoint.h: saves and loads the state of training: weights under the released names,
 * `ema/`, the optimizer's `adam_m/` and `adam_v/`, and the number of steps done. Nothing else
 * is needed to go on bit for bit: data, noise and times follow from the seed and the step. */
#ifndef MVS_RUNTIME_CHECKPOINT_H
#define MVS_RUNTIME_CHECKPOINT_H

#include "runtime/checkpoint_files.h"
#include "runtime/optimizer.h"

/* Which state is saved, and how. */
typedef struct mvs_checkpoint_facts {
  int64_t step; /* steps done */
  mvs_checkpoint_keep keep;
  const char *watch; /* what the watch knows; NULL: nothing */
} mvs_checkpoint_facts;

/* About how many bytes a checkpoint takes: the state without its header. */
int64_t mvs_checkpoint_bytes(const mvs_program *program, bool average);
/* Saves the state. errors : MVS_ERR_IO; earlier checkpoints stay */
mvs_status mvs_checkpoint_save(mvs_session *session, const mvs_optimizer *optimizer,
                               const char *folder, const mvs_checkpoint_facts *facts);
/* Reads a checkpoint back into the optimizer's buffers. `watch` becomes what the watch knew, or
 * NULL, in the session's arena. errors : as weights.h */
mvs_status mvs_checkpoint_load(mvs_session *session, mvs_optimizer *optimizer, const char *path,
                               int64_t *step, const char **watch);
/* Hands the device what its libraries had chosen when the checkpoint was written, so that the
 * run goes on with the same bits; before anything is prepared.
 * note   : NULL, or a sentence saying why the device cannot go by it
 * errors : MVS_ERR_IO, MVS_ERR_FORMAT */
mvs_status mvs_checkpoint_adopt(mvs_session *session, const char *path, const char **note);

#endif
