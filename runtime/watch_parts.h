/* watch_parts.h: what the files of the watch share: the state between steps. The numbers of the
 * rules are here too, so that they can be read in one place: few, without units, the same for
 * any model. Those of the warnings were chosen on half of the runs of tests/watch and frozen
 * before the other half and the trace were scored (docs/testing.md). */
#ifndef MVS_RUNTIME_WATCH_PARTS_H
#define MVS_RUNTIME_WATCH_PARTS_H

#include "runtime/series.h"
#include "runtime/watch.h"

/* Least past of a judgement. Collapse is told by factors, which a few values bear out: where
 * only each hundredth step is diagnosed there are no more. */
#define LEAST_PAST 32
#define LEAST_FEW  8
/* Notes: deviations of a single value; how many values in a row must grow, and within how many
 * more an overflow then lies. */
#define NOTE_DISTANCE   8
#define OVERFLOW_VALUES MVS_SERIES_RECENT
#define OVERFLOW_AHEAD  20
/* Warnings: half a window of past; deviations of the median of the newest values; and how many
 * families at once: one alone goes astray by chance, in all its layers. */
#define WARNING_PAST     (MVS_SERIES_WINDOW / 2)
#define SHALLOW_DISTANCE 5
#define BALANCE_DISTANCE 6
#define FAMILIES_AT_ONCE 2
/* A rule that spoke speaks again only after so many quiet observations; a trouble ends with
 * them. */
#define QUIET 32
/* Witnesses of a collapse: deviations of one loss or of the median of the newest; factors of
 * what jumps by orders of magnitude and of what does not; the share of its way to 1 that a
 * cosine has gone. One stands for so many observations, since some jump once and others stay.
 */
#define LOSS_DISTANCE    8
#define LASTING_DISTANCE 5
#define LARGE_FACTOR     10
#define RHO_FACTOR       3
#define COSINE_SHARE     0.75
#define WITNESS_STANDS   16
/* Kinds of witnesses that make a collapse when the loss is not among them, and observations in
 * a row of a raised loss that make one where nothing else bears witness. */
#define WITNESSES      3
#define LASTING_VALUES 16
/* Tokens that were equal from the start: no past tells it. */
#define EQUAL_COSINE 0.99
#define EQUAL_VALUES 5

/* One signal, its past and its present. */
typedef struct mvs_tracked {
  const char *name, *family;
  mvs_signal_kind kind;
  mvs_series values, medians; /* medians: of the newest values, one for each */
  int64_t stood;              /* its own observations since it last bore witness */
  double witness;             /* the value that did */
  double now, recent;         /* this step's value and median; NaN: not observed */
  mvs_spread of_values, of_medians;
} mvs_tracked;

/* Rules that speak once in a trouble. */
typedef enum mvs_watch_rule {
  MVS_RULE_OUTLIER,
  MVS_RULE_OVERFLOW,
  MVS_RULE_BALANCE,
  MVS_RULE_SHALLOW,
  MVS_RULE_COUNT
} mvs_watch_rule;

/* What a collapse was called. */
typedef enum mvs_collapse {
  MVS_COLLAPSE_NONE,
  MVS_COLLAPSE_LOSS, /* not yet known of what kind */
  MVS_COLLAPSE_NAMED
} mvs_collapse;

/* What the watch counts. Unless said otherwise in observations, from 1; 0: never. All of one
 * type, so that it is saved as a row of numbers. */
typedef struct mvs_watch_counts {
  int64_t count;
  int64_t steps[MVS_SERIES_RECENT + 1]; /* of the newest observations, at count modulo size */
  int64_t held[MVS_RULE_COUNT];         /* when a rule last held */
  int64_t troubled;            /* when the trouble began that goes on; 0: there is none */
  int64_t trouble;             /* when there last was any sign of it */
  int64_t good_step;           /* a step: the last one before it */
  int64_t collapsed;           /* an mvs_collapse: what was called and goes on */
  int64_t raised, equal, calm; /* in a row: raised loss, equal tokens; no sign of collapse */
  int64_t in_layers;           /* whether the newest tables show the collapse in some layers: */
  int64_t first, last;         /* from one to the other */
} mvs_watch_counts;

struct mvs_watch {
  mvs_arena *arena;
  const mvs_watch_roles *roles;
  MVS_LIST(mvs_tracked) signals;
  mvs_watch_counts counts;
};

/* The alarms of one step, on their way out. */
typedef struct mvs_watching {
  mvs_watch *watch;
  mvs_arena *arena; /* of the alarms' words */
  const mvs_observation *seen;
  mvs_alarms *out;
} mvs_watching;

/* Adds an alarm. */
void mvs_watching_say(mvs_watching *at, mvs_alarm_level level, const char *rule,
                      const char *text);
/* Whether a rule that holds now may speak: it was quiet before. */
bool mvs_watching_may_speak(mvs_watching *at, mvs_watch_rule rule);
/* Appends "NAME V (was M)" or, of what is kept as a logarithm, "NAME ×F (V)", of a value of the
 * signal, for a sentence. */
void mvs_tracked_put(const mvs_tracked *signal, double value, mvs_text *out);

/* --- watch_warnings.c --- */

/* Notes of single values. */
void mvs_watch_notes(mvs_watching *at);
/* Warnings of balances and shallow layers; whether any rule holds. */
bool mvs_watch_warnings(mvs_watching *at);

/* --- watch_collapse.c --- */

/* Lets every signal bear witness; whether any does. */
bool mvs_watch_witness(mvs_watching *at);
/* Calls a collapse where the witnesses agree. */
void mvs_watch_call(mvs_watching *at);
/* Names a collapse of the loss once it is known to be of the mean mode. */
void mvs_watch_name(mvs_watching *at);

#endif
