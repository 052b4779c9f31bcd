/* watch_run.h: the watch over a run that goes on: a consumer of observations that writes
 * DIR/alarms.jsonl and keeps what it saw for DIR/autopsy-STEP.txt, and
 * what the train loop asks of it: what to print, and whether the run fell. Owner: the session's
 * arena; the list of consumers closes the file. */
#ifndef MVS_RUNTIME_WATCH_RUN_H
#define MVS_RUNTIME_WATCH_RUN_H

#include "runtime/alarms.h"
#include "runtime/consumers.h"
#include "runtime/session.h"

typedef struct mvs_watch_run mvs_watch_run;

/* Writers and readers of the residual stream, by what the program says of its parameters. */
mvs_watch_roles mvs_watch_program_roles(mvs_arena *arena, const mvs_program *program);
/* Adds the watch to the list. Alarms of steps after `after` are dropped. The file appears with
 * the first alarm. errors : MVS_ERR_IO */
mvs_status mvs_watch_run_open(mvs_session *session, const char *folder, int64_t after,
                              mvs_consumers *list, mvs_watch_run **out);
/* The next alarm that was not yet asked for, NULL: there is none. Good until the next step. */
const mvs_alarm *mvs_watch_run_next(mvs_watch_run *run);
/* The collapse that was called at the step seen last, or NULL. */
const char *mvs_watch_run_fell(const mvs_watch_run *run);
/* The autopsy of the step seen last, or NULL: there was no alarm, or too many in this process.
 * To be added to, and then written. */
mvs_text *mvs_watch_run_autopsy(mvs_watch_run *run);
/* Writes it to DIR/autopsy-STEP.txt, behind its alarms. errors : MVS_ERR_IO */
mvs_status mvs_watch_run_write(mvs_watch_run *run);
/* The watch itself. */
const mvs_watch *mvs_watch_run_watch(const mvs_watch_run *run);
/* Adds an alarm of the caller's to the file, unless it ends with that one. errors :
 * MVS_ERR_IO */
mvs_status mvs_watch_run_add(mvs_watch_run *run, const mvs_alarm *alarm);
/* What the watch knows, as text for a checkpoint. */
const char *mvs_watch_run_state(const mvs_watch_run *run, mvs_arena *arena);
/* Goes on from such a state; NULL, or one that cannot be read (another version wrote it): from
 * nothing. `note` becomes a sentence about the latter, else NULL. errors : MVS_ERR_MEMORY */
mvs_status mvs_watch_run_restore(mvs_watch_run *run, const char *state, const char **note);

#endif
