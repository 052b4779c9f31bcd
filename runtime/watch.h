/* watch.h: looks at every step of a run and says when it goes wrong, on three levels.
 *   notes     single values far from their own past; values that grow towards overflow
 *   warnings  balances of gradients or the gradients of shallow layers leave their own past
 *   collapse  the run has fallen: named, with all that was seen of it
 * Every judgement is relative to the run's own trailing window (series.h). It works from what
 * there is: loss and gradient norm alone, gradients by family, diagnostics of the mean mode.
 * docs/trainer.md#watching-a-run says what each rule means and how often it was wrong.
 * Owner: the arena given to mvs_watch_new. It neither prints nor writes files. */
#ifndef MVS_RUNTIME_WATCH_H
#define MVS_RUNTIME_WATCH_H

#include "runtime/alarm.h"
#include "runtime/signals.h"

typedef struct mvs_watch mvs_watch;

/* A watch that has seen nothing. Roles are kept, not copied. */
mvs_watch *mvs_watch_new(mvs_arena *arena, const mvs_watch_roles *roles);
/* Sees the next step; alarms and their words are added in `arena`. */
void mvs_watch_take(mvs_watch *watch, mvs_arena *arena, const mvs_observation *seen,
                    mvs_alarms *out);
/* The last step that no trouble found at the next step can reach back to; 0: none yet. */
int64_t mvs_watch_settled_step(const mvs_watch *watch);
/* The last step before the trouble that goes on now began; the settled one when there is none.
 * What was saved up to here is good. */
int64_t mvs_watch_good_step(const mvs_watch *watch);
/* Appends all that the watch knows as text: one that is loaded from it goes on with the same
 * alarms to the last bit. */
void mvs_watch_save(const mvs_watch *watch, mvs_text *out);
/* Takes the place of what the watch knew. False when `text` is not what save writes; the watch
 * has then seen nothing. */
bool mvs_watch_load(mvs_watch *watch, const char *text);

#endif
