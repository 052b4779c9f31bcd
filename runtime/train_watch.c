/* train_watch.c: what follows from alarms.
 *
 * A checkpoint is good when it is of a step before the first sign of the trouble that ended in
 * the collapse, not merely before the collapse: by then weights have moved for dozens of steps.
 * Going back changes the way from there, or the run would fall again, to the same bit. */
#include "runtime/train_watch.h"

#include <inttypes.h>
#include <stdio.h>

#include "runtime/checkpoint_files.h"

#define COUNT(list)       (sizeof(list) / sizeof((list)[0]))
#define DEFAULT_ROLLBACKS 3

static const char *const actions[] = {"off", "warn", "stop", "rollback"};

static const mvs_option_row watch_rows[] = {
    {"watch", MVS_OPTION_CHOICE, "off|warn|stop|rollback", 0, 0,
     "when the run collapses: say so, stop (exit status 3), or go back (default warn)"},
    {"rollback-order", MVS_OPTION_CHOICE, "new|same", 0, 0,
     "samples behind a rollback (default new)"},
    {"rollback-lr", MVS_OPTION_NUMBER, "FACTOR", 1e-6, 1,
     "of the learning rate behind a rollback (default 1)"},
    {"rollbacks", MVS_OPTION_INTEGER, "N", 1, MVS_MOST_TURNS,
     "of a run; the next collapse stops it (default 3)"},
};

void mvs_train_watch_rows(mvs_arena *arena, mvs_option_rows *list) {
  mvs_rows_add(arena, list, watch_rows, COUNT(watch_rows));
}

const char *mvs_train_watch_action_name(const mvs_train_watch *watch) {
  return actions[watch->action];
}

/* Options have been checked against the same words, so one of them matches; the last stands for
 * itself. */
static mvs_watch_action action_of(const char *name) {
  size_t at = 0;
  while (at < COUNT(actions) - 1 && strcmp(actions[at], name) != 0) at++;
  return (mvs_watch_action)at;
}

mvs_status mvs_train_watch_read(mvs_session *session, const char *folder, bool fixed_batch,
                                mvs_train_watch *out) {
  const mvs_options *options = session->options;
  const char *order = mvs_option_text(options, "rollback-order", fixed_batch ? "same" : "new");
  *out = (mvs_train_watch){.session = session,
                           .folder = folder,
                           .action = action_of(mvs_option_text(options, "watch", "warn")),
                           .reorders = strcmp(order, "new") == 0,
                           .rate = mvs_option_number(options, "rollback-lr", 1),
                           .most = mvs_option_integer(options, "rollbacks", DEFAULT_ROLLBACKS),
                           .run = out->run};
  if (out->action != MVS_WATCH_ROLLBACK) return MVS_OK;
  if (out->reorders && fixed_batch)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "--rollback-order new needs --data: a fixed batch has one order");
  if (!out->reorders && out->rate == 1)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "--watch rollback would fall again the same way: it needs --rollback-order "
                    "new or a --rollback-lr below 1");
  return MVS_OK;
}

/* --- alarms --- */

/* Notes are for the file: on a screen they would bury the rest. What ends the run or turns it
 * back is told by that. */
static bool is_told(const mvs_train_watch *watch, const mvs_alarm *alarm) {
  if (alarm->level != MVS_ALARM_COLLAPSE) return alarm->level == MVS_ALARM_WARNING;
  return watch->action == MVS_WATCH_WARN && strcmp(alarm->rule, "not-finite") != 0;
}

/* The sentence of a collapse names its step itself. */
static void print_alarm(const mvs_train_watch *watch, const mvs_alarm *alarm) {
  fprintf(stderr, "%s: %s", watch->session->name, mvs_alarm_level_name(alarm->level));
  if (alarm->level == MVS_ALARM_WARNING) fprintf(stderr, " at step %" PRId64, alarm->step);
  fprintf(stderr, ": %s\n", alarm->text);
}

/* The samples are looked at here, since only the training can show them again. */
static mvs_status examine(mvs_train_watch *watch, mvs_training *training, int64_t step) {
  mvs_text *text = mvs_watch_run_autopsy(watch->run);
  int64_t batch = mvs_training_settings_of(training)->batch, count;
  double *norms = MVS_ARRAY(text->home, (size_t)batch, double);
  MVS_TRY(mvs_extremes_find(watch->session, training, step - 1, norms, &count));
  mvs_extremes_write(norms, count, text);
  return mvs_watch_run_write(watch->run);
}

mvs_status mvs_train_watch_show(mvs_train_watch *watch, mvs_training *training, int64_t step,
                                mvs_progress *progress) {
  if (!watch->run) return MVS_OK;
  const mvs_alarm *alarm;
  while ((alarm = mvs_watch_run_next(watch->run))) {
    if (!is_told(watch, alarm)) continue;
    mvs_progress_clear(progress);
    print_alarm(watch, alarm);
  }
  mvs_text *autopsy = mvs_watch_run_autopsy(watch->run);
  if (!autopsy) return MVS_OK;
  MVS_TRY(examine(watch, training, step));
  if (!mvs_watch_run_fell(watch->run)) return MVS_OK;
  mvs_progress_clear(progress);
  fputs(mvs_text_string(autopsy), stderr);
  return MVS_OK;
}

/* Warnings are not acted on: about half of them are false (docs/testing.md). */
bool mvs_train_watch_must_act(const mvs_train_watch *watch) {
  return watch->run && watch->action >= MVS_WATCH_STOP && mvs_watch_run_fell(watch->run);
}

/* A run that may have to go back keeps what it would go back to, if the trouble of now turns
 * out to be one, and what it would go back to if trouble began at the next step. */
mvs_checkpoint_keep mvs_train_watch_keep(const mvs_train_watch *watch, int64_t newest,
                                         int64_t every) {
  mvs_checkpoint_keep keep = {.newest = newest, .every = every};
  if (!watch->run || watch->action < MVS_WATCH_STOP) return keep;
  keep.good = mvs_watch_good_step(mvs_watch_run_watch(watch->run));
  keep.settled = mvs_watch_settled_step(mvs_watch_run_watch(watch->run));
  return keep;
}

/* --- going back --- */

/* The fallen state is not saved: it would become the newest checkpoint, from which --resume
 * goes on. */
static mvs_status stop(const mvs_train_watch *watch, int64_t good, const char *why) {
  mvs_arena *arena = watch->session->arena;
  const char *newest =
      good >= 0 ? mvs_arena_format(arena,
                                   "the last checkpoint before it began is step %" PRId64, good)
                : "there is no checkpoint of before it began";
  return MVS_FAIL(watch->session->diag, MVS_ERR_STOPPED, "%s%s; %s",
                  mvs_watch_run_fell(watch->run), why, newest);
}

/* Checkpoints behind the good one are of the way that was given up: a resume must not find
 * them. The turn is noted in memory here and recorded by the caller before the first step
 * behind it. */
mvs_status mvs_train_watch_turn(mvs_train_watch *watch, int64_t step, int64_t every,
                                mvs_turns *turns, const char **path) {
  mvs_session *session = watch->session;
  int64_t good = -1, most = mvs_watch_good_step(mvs_watch_run_watch(watch->run));
  MVS_TRY(mvs_checkpoint_before(session->arena, session->diag, watch->folder, most, every, path,
                                &good));
  if (watch->action == MVS_WATCH_STOP) return stop(watch, good, "");
  if ((int64_t)turns->count >= watch->most)
    return stop(watch, good,
                mvs_arena_format(session->arena, ", after %zu of %" PRId64 " rollbacks",
                                 turns->count, watch->most));
  if (!*path) return stop(watch, good, "");
  MVS_TRY(mvs_checkpoint_remove_after(session->arena, session->diag, watch->folder, good));
  turns->items[turns->count++] =
      (mvs_turn){.from = step,
                 .to = good,
                 .reorders = watch->reorders,
                 .rate = watch->rate,
                 .why = mvs_arena_string(session->arena, mvs_watch_run_fell(watch->run))};
  return MVS_OK;
}

mvs_status mvs_train_watch_turned(mvs_train_watch *watch, const mvs_turn *turn) {
  mvs_session *session = watch->session;
  mvs_text text = mvs_text_new(session->arena);
  mvs_text_addf(&text, "back to step %" PRId64 " from step %" PRId64, turn->to, turn->from);
  if (turn->reorders) mvs_text_add(&text, ", on with other samples");
  if (turn->rate < 1) mvs_text_addf(&text, ", on at %g of the learning rate", turn->rate);
  mvs_text_addf(&text, ": %s", turn->why);
  fprintf(stderr, "%s: rollback: %s\n", session->name, mvs_text_string(&text));
  mvs_alarm alarm = {.step = turn->to,
                     .level = MVS_ALARM_NOTE,
                     .rule = "rollback",
                     .text = mvs_text_string(&text)};
  return mvs_watch_run_add(watch->run, &alarm);
}
