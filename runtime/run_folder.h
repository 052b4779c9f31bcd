/* run_folder.h: the folder of `train --out`: run.json (which model, which options),
 * metrics.jsonl and checkpoints. A folder that holds anything is used only with --resume, and
 * then only with the options it was started with. Owner: the session's arena. */
#ifndef MVS_RUNTIME_RUN_FOLDER_H
#define MVS_RUNTIME_RUN_FOLDER_H

#include "runtime/session.h"
#include "runtime/turns.h"

/* An option that a run keeps, with its value in force. */
typedef struct mvs_run_option {
  const char *name, *value; /* value NULL: not given, and it has no default */
  bool may_change;          /* it decides no bit of what was done: may be given anew */
} mvs_run_option;

/* Looks at the folder before anything else is done. A new run's folder must be missing or
 * empty. With `resume` it must hold a run: recorded options that were not given are set as
 * recorded, and a given one with another value is refused; `turns` become those of the run and
 * *device what it was on last (NULL: not recorded).
 * errors : MVS_ERR_NAME, MVS_ERR_IO, MVS_ERR_FORMAT */
mvs_status mvs_run_check(mvs_session *session, const char *folder, bool resume,
                         const mvs_run_option *options, size_t count, mvs_turns *turns,
                         const char **device);
/* Whether the run in the folder, if there is one, is of this program: same model, rule, size
 * and settings. errors : MVS_ERR_NAME, telling what differs; MVS_ERR_FORMAT */
mvs_status mvs_run_check_program(mvs_session *session, const char *folder);
/* Whether two values of an option are the same: as numbers, where both are: 1e-3 is 0.001. */
bool mvs_run_same_value(const char *a, const char *b);
/* Keeps other processes from training in the folder until `*lock`, which must be 0 or one given
 * here before, is closed: two would write over each other's lines and checkpoints. The lock
 * goes with the process, however it ends. A folder that is not there yet is not locked (0). A
 * file system without locks gives a note on stderr. errors : MVS_ERR_IO when another process
 * holds it */
mvs_status mvs_run_lock(mvs_session *session, const char *folder, int *lock);
/* Makes the folder where it is missing, locks it and writes run.json, over an older one if need
 * be.
 * memory_bytes : what the plan takes on the device, for those who compare runs
 * errors       : MVS_ERR_IO */
mvs_status mvs_run_begin(mvs_session *session, const char *folder,
                         const mvs_run_option *options, size_t count, int64_t memory_bytes,
                         const mvs_turns *turns, int *lock);

#endif
