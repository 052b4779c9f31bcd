/* history.h: the observations of a finished run, read from its files, for tests of the watch.
 */
#ifndef MVS_TESTS_WATCH_HISTORY_H
#define MVS_TESTS_WATCH_HISTORY_H

#include "runtime/alarms.h"

typedef struct mvs_history {
  mvs_observation *items; /* by step, each step once */
  size_t count, capacity;
} mvs_history;

/* Families from lists with commas between them. */
mvs_watch_roles mvs_history_roles(mvs_arena *arena, const char *writers, const char *readers);
/* Reads files of lines; lines of one step become one observation. errors : MVS_ERR_IO,
 * MVS_ERR_FORMAT */
mvs_status mvs_history_read(mvs_arena *arena, mvs_diag *diag, int count, char **paths,
                            mvs_history *out);
/* Shows it all to a new watch. */
void mvs_history_watch(mvs_arena *arena, const mvs_watch_roles *roles,
                       const mvs_history *history, mvs_alarms *out);

#endif
