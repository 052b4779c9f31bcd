/* checkpoint_files.h: the checkpoints DIR/step-N.safetensors of a run's folder.
 * A file has its name only once it is whole and durable, so a crash at any time leaves the
 * newest complete one loadable; completeness is checked all the same, since disks fail too. */
#ifndef MVS_RUNTIME_CHECKPOINT_FILES_H
#define MVS_RUNTIME_CHECKPOINT_FILES_H

#include <stdint.h>

#include "compiler/base/diag.h"

/* The metadata of a checkpoint: the number of steps done, which every one has. */
#define MVS_CHECKPOINT_STEP "mvcc.step"
/* And what a device's libraries chose, where they did. */
#define MVS_CHECKPOINT_CHOICES "mvcc.algorithms"
/* And what the watch knew, where there was one. */
#define MVS_CHECKPOINT_WATCH "mvcc.watch"

/* What a path given to --weights means: a file is itself; a folder, or `latest` in it, is its
 * newest complete checkpoint. errors : MVS_ERR_IO when the folder holds none */
mvs_status mvs_checkpoint_resolve(mvs_arena *arena, mvs_diag *diag, const char *path,
                                  const char **out);
/* The newest complete checkpoint of a folder; *path is NULL when there is none (*step is then
 * as it was). errors : MVS_ERR_IO, MVS_ERR_LIMIT when the folder or a file of it cannot be
 * read, and so cannot be known to be damaged: an older one must not be taken for the newest */
mvs_status mvs_checkpoint_newest(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                 const char **path, int64_t *step);
/* The newest complete one of at most `most` steps and a multiple of `every`, likewise. */
mvs_status mvs_checkpoint_before(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                 int64_t most, int64_t every, const char **path, int64_t *step);
/* Removes the checkpoints of more than `step` steps, the newest first.
 * errors : MVS_ERR_IO when one stays */
mvs_status mvs_checkpoint_remove_after(mvs_arena *arena, mvs_diag *diag, const char *folder,
                                       int64_t step);
/* The path of the checkpoint after `step` steps. */
const char *mvs_checkpoint_path(mvs_arena *arena, const char *folder, int64_t step);
/* Which checkpoints stay. A run that may have to go back goes to one of those that it saves
 * regularly: others are there or not by where it was cut, which must not decide its way. */
typedef struct mvs_checkpoint_keep {
  int64_t newest;  /* so many */
  int64_t every;   /* regular ones are multiples of this; of those stay */
  int64_t good;    /* the last one up to here, */
  int64_t settled; /* and the last one up to here, with all behind it; 0: none of these */
} mvs_checkpoint_keep;

/* Removes what need not stay of the checkpoints up to the one just saved. Later ones can only
 * be damaged files that a resumed run went back behind: they must not push out the good ones.
 */
void mvs_checkpoint_remove_old(mvs_arena *arena, const char *folder, int64_t saved,
                               const mvs_checkpoint_keep *keep);

#endif
