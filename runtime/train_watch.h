/* train_watch.h: what `train --watch` does when a run falls: it warns, stops, or finds the
 * checkpoint to go back to and the way to take from there. The train loop does the going back.
 * Owner: the caller; what it holds lives as long as the session. */
#ifndef MVS_RUNTIME_TRAIN_WATCH_H
#define MVS_RUNTIME_TRAIN_WATCH_H

#include "runtime/checkpoint_files.h"
#include "runtime/extremes.h"
#include "runtime/progress.h"
#include "runtime/turns.h"
#include "runtime/watch_run.h"

typedef enum mvs_watch_action {
  MVS_WATCH_OFF,
  MVS_WATCH_WARN,
  MVS_WATCH_STOP,
  MVS_WATCH_ROLLBACK
} mvs_watch_action;

typedef struct mvs_train_watch {
  mvs_session *session;
  const char *folder;
  mvs_watch_action action;
  bool reorders; /* how a run goes on behind a rollback */
  double rate;
  int64_t most;       /* rollbacks of a run */
  mvs_watch_run *run; /* NULL: not watched */
} mvs_train_watch;

/* Adds the options. */
void mvs_train_watch_rows(mvs_arena *arena, mvs_option_rows *list);
/* Reads them. A rollback to the same samples at the same rate would only fall again.
 * errors : MVS_ERR_NAME */
mvs_status mvs_train_watch_read(mvs_session *session, const char *folder, bool fixed_batch,
                                mvs_train_watch *out);
/* The values in force, as run.json holds them. */
const char *mvs_train_watch_action_name(const mvs_train_watch *watch);

/* Prints warnings and collapses of the step seen last, step `step` from 1, to stderr; writes
 * their autopsy, and prints that of a collapse. errors : MVS_ERR_IO, MVS_ERR_DEVICE */
mvs_status mvs_train_watch_show(mvs_train_watch *watch, mvs_training *training, int64_t step,
                                mvs_progress *progress);
/* Whether the run fell at that step and must not go on as it is. */
bool mvs_train_watch_must_act(const mvs_train_watch *watch);
/* Which checkpoints stay, of a run that keeps the newest `newest` and saves one every `every`.
 */
mvs_checkpoint_keep mvs_train_watch_keep(const mvs_train_watch *watch, int64_t newest,
                                         int64_t every);
/* For a run that must act: finds the newest checkpoint before the trouble began and removes
 * those behind it; the turn becomes the last of `turns`, `path` its checkpoint. errors :
 * MVS_ERR_STOPPED when it ends here, with the sentence; MVS_ERR_IO */
mvs_status mvs_train_watch_turn(mvs_train_watch *watch, int64_t step, int64_t every,
                                mvs_turns *turns, const char **path);
/* Notes a turn that was made in alarms.jsonl, once, and on stderr. errors : MVS_ERR_IO */
mvs_status mvs_train_watch_turned(mvs_train_watch *watch, const mvs_turn *turn);

#endif
