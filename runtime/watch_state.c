/* watch_state.c: the state of the watch from step to step, and back from a checkpoint. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/watch.h"
#include "runtime/watch_parts.h"

/* What a saved state begins with; another layout gets another number. */
#define STATE_HEAD "watch 2"

/* All that it learns of signals goes into the same arena, so one that is to forget gets a new
 * arena with it (watch_run.c). */
mvs_watch *mvs_watch_new(mvs_arena *arena, const mvs_watch_roles *roles) {
  mvs_watch *watch = MVS_NEW(arena, mvs_watch);
  *watch = (mvs_watch){.arena = arena, .roles = roles};
  return watch;
}

/* The step is that of the observation; of a rollback the caller says its own. */
void mvs_watching_say(mvs_watching *at, mvs_alarm_level level, const char *rule,
                      const char *text) {
  mvs_alarm alarm = {.step = at->seen->step, .level = level, .rule = rule, .text = text};
  MVS_PUSH(at->arena, at->out, alarm);
}

/* A rule that holds for a hundred steps is one alarm: what counts is when it last held, not
 * when it last spoke. */
bool mvs_watching_may_speak(mvs_watching *at, mvs_watch_rule rule) {
  mvs_watch *watch = at->watch;
  bool quiet =
      watch->counts.held[rule] == 0 || watch->counts.count - watch->counts.held[rule] > QUIET;
  watch->counts.held[rule] = watch->counts.count;
  return quiet;
}

/* Logarithms are kept so that distances are factors; people read numbers, so they are turned
 * back here. */
void mvs_tracked_put(const mvs_tracked *signal, double value, mvs_text *out) {
  bool plain = signal->kind == MVS_SIGNAL_LOSS || signal->kind == MVS_SIGNAL_COSINE;
  mvs_spread past = signal->of_values;
  if (plain) {
    mvs_text_addf(out, "%s %.3g", signal->name, value);
    if (past.known) mvs_text_addf(out, " (was %.3g)", past.median);
  } else {
    mvs_text_addf(out, "%s ×%.3g (%.3g)", signal->name, exp(value - past.median), exp(value));
  }
}

/* --- signals --- */

/* Signals come in the same order most of the time, so the search begins where they should be.
 */
static mvs_tracked *find(mvs_watch *watch, const mvs_signal *signal, size_t hint) {
  size_t count = watch->signals.count;
  for (size_t i = 0; i < count; i++) {
    mvs_tracked *each = &watch->signals.items[(hint + i) % count];
    if (strcmp(each->name, signal->name) == 0) return each;
  }
  mvs_tracked fresh = {.name = mvs_arena_string(watch->arena, signal->name),
                       .family = mvs_arena_string(watch->arena, signal->family),
                       .kind = signal->kind,
                       .stood = WITNESS_STANDS};
  MVS_PUSH(watch->arena, &watch->signals, fresh);
  return &watch->signals.items[count];
}

/* Loss and norm are judged by deviations, whose spread needs a past of some length; the others
 * by factors, which a few values bear out. */
static size_t least_past(mvs_signal_kind kind) {
  bool by_distance = kind == MVS_SIGNAL_LOSS || kind == MVS_SIGNAL_NORM;
  return by_distance ? LEAST_PAST : LEAST_FEW;
}

/* The past is that of before a collapse for as long as one goes on. */
static void update(mvs_watch *watch, mvs_tracked *signal, double value) {
  signal->now = isfinite(value) ? value : NAN;
  if (!watch->counts.collapsed && isfinite(value)) {
    mvs_series_add(&signal->values, value);
    mvs_series_add(&signal->medians, mvs_series_recent(&signal->values));
  }
  signal->recent = watch->counts.collapsed ? signal->now : mvs_series_recent(&signal->values);
  signal->of_values = mvs_series_spread(&signal->values, least_past(signal->kind));
  signal->of_medians = mvs_series_spread(&signal->medians, LEAST_PAST);
}

/* What this step does not show is unknown, not what it was: only the witnesses may stand for a
 * while (watch_collapse.c). The step is noted for mvs_watch_settled_step. */
static void look(mvs_watching *at) {
  mvs_watch *watch = at->watch;
  mvs_signals signals;
  mvs_signals_make(at->arena, watch->roles, at->seen, &signals);
  for (size_t i = 0; i < watch->signals.count; i++) watch->signals.items[i].now = NAN;
  for (size_t i = 0; i < signals.count; i++)
    update(watch, find(watch, &signals.items[i], i), signals.items[i].value);
  watch->counts.steps[++watch->counts.count % (MVS_SERIES_RECENT + 1)] = at->seen->step;
}

/* --- one step --- */

/* A sign that is seen in a median may be as old as the newest values. */
static void note_trouble(mvs_watch *watch, bool sign) {
  if (watch->counts.troubled && watch->counts.count - watch->counts.trouble > QUIET)
    watch->counts.troubled = 0;
  if (!sign) return;
  watch->counts.trouble = watch->counts.count;
  if (watch->counts.troubled) return;
  watch->counts.troubled = watch->counts.count;
  watch->counts.good_step = mvs_watch_settled_step(watch);
}

/* A run that fell may stand up again, and is judged by the past before its fall. */
static void wait_for_recovery(mvs_watching *at, bool sign) {
  mvs_watch *watch = at->watch;
  mvs_watch_name(at);
  watch->counts.calm = sign ? 0 : watch->counts.calm + 1;
  if (watch->counts.calm <= QUIET) return;
  watch->counts.collapsed = MVS_COLLAPSE_NONE;
  watch->counts.calm = 0;
  for (size_t i = 0; i < watch->signals.count; i++)
    watch->signals.items[i].stood = WITNESS_STANDS;
  mvs_watching_say(
      at, MVS_ALARM_NOTE, "recovered",
      mvs_arena_format(at->arena, "no sign of collapse in %d observations", QUIET));
}

/* Witnesses are heard before warnings, since both are signs of trouble, and the trouble's first
 * sign decides which checkpoint is still good; the collapse is called last, so that its
 * sentence has all that was seen. While one goes on nothing else is said: a fallen run warns of
 * everything. */
void mvs_watch_take(mvs_watch *watch, mvs_arena *arena, const mvs_observation *seen,
                    mvs_alarms *out) {
  mvs_watching at = {.watch = watch, .arena = arena, .seen = seen, .out = out};
  look(&at);
  bool finite = isfinite(seen->loss) && isfinite(seen->grad_norm);
  bool sign = mvs_watch_witness(&at) || !finite;
  if (watch->counts.collapsed) {
    wait_for_recovery(&at, sign);
    return;
  }
  mvs_watch_notes(&at);
  if (mvs_watch_warnings(&at)) sign = true;
  note_trouble(watch, sign);
  mvs_watch_call(&at);
}

int64_t mvs_watch_settled_step(const mvs_watch *watch) {
  int64_t size = MVS_SERIES_RECENT + 1, count = watch->counts.count;
  return count < size ? 0 : watch->counts.steps[(count + 1) % size];
}

int64_t mvs_watch_good_step(const mvs_watch *watch) {
  return watch->counts.troubled ? watch->counts.good_step : mvs_watch_settled_step(watch);
}

/* --- there and back --- */

/* No run counts so far: what does is no state that was saved, and could not be counted on. */
#define MOST_COUNT (INT64_C(1) << 53)

/* The counts as a row. */
#define COUNTS (sizeof(mvs_watch_counts) / sizeof(int64_t))
typedef union counts_row {
  mvs_watch_counts counts;
  int64_t row[COUNTS];
} counts_row;

static void save_signal(const mvs_tracked *signal, mvs_text *out) {
  mvs_text_addf(out, "%d %" PRId64 " %a ", (int)signal->kind, signal->stood, signal->witness);
  mvs_series_save(&signal->values, out);
  mvs_text_add(out, " ");
  mvs_series_save(&signal->medians, out);
  mvs_text_addf(out, " %s\t%s\n", signal->family, signal->name);
}

void mvs_watch_save(const mvs_watch *watch, mvs_text *out) {
  counts_row counts = {.counts = watch->counts};
  mvs_text_addf(out, STATE_HEAD " %zu\n", watch->signals.count);
  for (size_t i = 0; i < COUNTS; i++) mvs_text_addf(out, "%" PRId64 " ", counts.row[i]);
  mvs_text_add(out, "\n");
  for (size_t i = 0; i < watch->signals.count; i++) save_signal(&watch->signals.items[i], out);
}

/* What is saved are counts, steps and names of kinds. */
static bool load_number(const char **text, int64_t *out) {
  char *end;
  *out = strtoll(*text, &end, 10);
  bool good = end != *text && *out >= 0 && *out <= MOST_COUNT;
  *text = end;
  return good;
}

/* In hexadecimal: the same bits. */
static bool load_value(const char **text, double *out) {
  char *end;
  *out = strtod(*text, &end);
  bool good = end != *text && isfinite(*out);
  *text = end;
  return good;
}

static bool load_signal(mvs_watch *watch, const char **text) {
  mvs_tracked signal = {.now = NAN};
  int64_t kind;
  bool good = load_number(text, &kind) && load_number(text, &signal.stood) &&
              load_value(text, &signal.witness) && mvs_series_load(&signal.values, text) &&
              mvs_series_load(&signal.medians, text);
  const char *middle = strchr(*text, '\t'), *end = strchr(*text, '\n');
  if (!good || kind > MVS_SIGNAL_COSINE || **text != ' ' || !middle || !end || middle > end)
    return false;
  signal.kind = (mvs_signal_kind)kind;
  signal.family = mvs_arena_copy(watch->arena, *text + 1, (size_t)(middle - *text - 1));
  signal.name = mvs_arena_copy(watch->arena, middle + 1, (size_t)(end - middle - 1));
  MVS_PUSH(watch->arena, &watch->signals, signal);
  *text = end + 1;
  return true;
}

static bool load_state(mvs_watch *watch, const char *text) {
  counts_row counts;
  int64_t signals = 0;
  size_t head = strlen(STATE_HEAD);
  if (strncmp(text, STATE_HEAD, head) != 0) return false;
  text += head;
  bool good = load_number(&text, &signals);
  for (size_t i = 0; good && i < COUNTS; i++) good = load_number(&text, &counts.row[i]);
  for (int64_t i = 0; good && i < signals; i++) good = load_signal(watch, &text);
  if (good) watch->counts = counts.counts;
  return good && strspn(text, " \n") == strlen(text);
}

bool mvs_watch_load(mvs_watch *watch, const char *text) {
  *watch = (mvs_watch){.arena = watch->arena, .roles = watch->roles};
  if (load_state(watch, text)) return true;
  *watch = (mvs_watch){.arena = watch->arena, .roles = watch->roles};
  return false;
}
