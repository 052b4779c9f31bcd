/* watch_collapse.c: when a run has fallen.
 *
 * In a mean-mode collapse the tokens become equal: the mean part of writers' gradients outgrows
 * the centred one, queries and keys get no gradient, the cosine of tokens goes to 1, and the
 * loss jumps to that of a model that tells tokens no more apart. Each of these can jump for
 * other reasons (a spike of the gradient norm most of all), all at once they do not. So kinds
 * of evidence are counted, and one of them must be of the mean mode. */
#include <inttypes.h>
#include <math.h>

#include "runtime/watch_parts.h"

/* --- witnesses --- */

static bool rose_by(const mvs_tracked *signal, double factor) {
  return signal->now - signal->of_values.median >= log(factor);
}

/* A batch may be hard; the median of some is not. */
static bool loss_rose(const mvs_tracked *signal) {
  return mvs_spread_z(&signal->of_values, signal->now) >= LOSS_DISTANCE ||
         mvs_spread_z(&signal->of_medians, signal->recent) >= LASTING_DISTANCE;
}

/* A loss that was raised counts as such until it has come half of the way back. */
static bool stays_up(const mvs_tracked *signal) {
  return mvs_spread_z(&signal->of_medians, signal->recent) >= 0.5 * LASTING_DISTANCE;
}

static bool bears_witness(const mvs_tracked *signal) {
  double was = signal->of_values.median;
  if (!signal->of_values.known || isnan(signal->now)) return false;
  switch (signal->kind) {
    case MVS_SIGNAL_LOSS:
      return loss_rose(signal);
    case MVS_SIGNAL_NORM:
    case MVS_SIGNAL_BALANCE:
    case MVS_SIGNAL_G_MEAN:
    case MVS_SIGNAL_SHARE:
      return rose_by(signal, LARGE_FACTOR);
    case MVS_SIGNAL_RHO:
      return rose_by(signal, RHO_FACTOR);
    case MVS_SIGNAL_COSINE:
      return was < 1 && signal->now - was >= COSINE_SHARE * (1 - was);
    case MVS_SIGNAL_SHALLOW:
      break;
  }
  return false;
}

static bool stands(const mvs_tracked *signal) { return signal->stood < WITNESS_STANDS; }

/* The witness of a kind, NULL: none stands. */
static const mvs_tracked *witness_of(const mvs_watch *watch, mvs_signal_kind kind) {
  for (size_t i = 0; i < watch->signals.count; i++) {
    const mvs_tracked *signal = &watch->signals.items[i];
    if (signal->kind == kind && stands(signal)) return signal;
  }
  return NULL;
}

/* --- where --- */

/* The first and last layer of a table in which a value of any site is at least `limit`. */
static bool find_layers(const mvs_table *table, double limit, int64_t *first, int64_t *last) {
  bool found = false;
  for (size_t at = 0; table && at < table->n_layers; at++)
    for (size_t site = 0; site < table->n_sites; site++) {
      if (!(table->values[site * table->n_layers + at] >= limit)) continue;
      if (!found) *first = table->layers[at];
      *last = table->layers[at];
      found = true;
    }
  return found;
}

/* Where tokens are more than half way to equal; without cosines, where G_mean jumped. Steps
 * without tables leave it: witnesses stand for a while, too. */
static void note_layers(mvs_watching *at) {
  mvs_watch_counts *counts = &at->watch->counts;
  const mvs_tracked *cosine = witness_of(at->watch, MVS_SIGNAL_COSINE);
  const mvs_tracked *mean = witness_of(at->watch, MVS_SIGNAL_G_MEAN);
  const mvs_table *tokens = mvs_observation_table(at->seen, MVS_TABLE_TCS);
  const mvs_table *writers = mvs_observation_table(at->seen, MVS_TABLE_G_MEAN);
  if (!tokens && !writers) return;
  bool found = false;
  int64_t *first = &counts->first, *last = &counts->last;
  if (cosine) found = find_layers(tokens, 0.5 * (1 + cosine->of_values.median), first, last);
  if (!found && mean)
    found = find_layers(writers, LARGE_FACTOR * exp(mean->of_values.median), first, last);
  if (!found && counts->equal > 0) found = find_layers(tokens, EQUAL_COSINE, first, last);
  counts->in_layers = found;
}

/* --- bearing witness, all of them --- */

/* What was not observed at this step says what it said last. */
bool mvs_watch_witness(mvs_watching *at) {
  mvs_watch *watch = at->watch;
  bool any = false;
  for (size_t i = 0; i < watch->signals.count; i++) {
    mvs_tracked *signal = &watch->signals.items[i];
    if (isnan(signal->now)) continue;
    bool now = bears_witness(signal);
    signal->stood = now ? 0 : signal->stood + 1;
    if (now) signal->witness = signal->now;
    any |= now;
    if (signal->kind == MVS_SIGNAL_LOSS) {
      bool raised = now || (watch->counts.raised > 0 && stays_up(signal));
      watch->counts.raised = raised ? watch->counts.raised + 1 : 0;
      any |= raised;
    }
    if (signal->kind == MVS_SIGNAL_COSINE)
      watch->counts.equal = signal->now >= EQUAL_COSINE ? watch->counts.equal + 1 : 0;
  }
  note_layers(at);
  return any || watch->counts.equal > 0;
}

/* --- the sentence --- */

/* In the order in which a sentence tells them. */
static const mvs_signal_kind told[] = {MVS_SIGNAL_G_MEAN, MVS_SIGNAL_SHARE,   MVS_SIGNAL_RHO,
                                       MVS_SIGNAL_COSINE, MVS_SIGNAL_BALANCE, MVS_SIGNAL_LOSS,
                                       MVS_SIGNAL_NORM};

static const char *sentence(mvs_watching *at, const char *name) {
  mvs_text text = mvs_text_new(at->arena);
  const mvs_watch_counts *counts = &at->watch->counts;
  const char *between = ": ";
  mvs_text_addf(&text, "%s at step %" PRId64, name, at->seen->step);
  if (counts->in_layers)
    mvs_text_addf(&text, ", layers %" PRId64 "–%" PRId64, counts->first, counts->last);
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
    const mvs_tracked *witness = witness_of(at->watch, told[i]);
    if (!witness) continue;
    mvs_text_add(&text, between);
    mvs_tracked_put(witness, witness->witness, &text);
    between = ", ";
  }
  return mvs_text_string(&text);
}

/* --- calling it --- */

static bool is_whole(mvs_signal_kind kind) {
  return kind == MVS_SIGNAL_LOSS || kind == MVS_SIGNAL_NORM;
}

/* A spike makes all gradients larger, those of the means with the others: it is told of G_mean,
 * but only its share counts as evidence of the mean mode. */
static bool is_of_mean_mode(mvs_signal_kind kind) {
  return !is_whole(kind) && kind != MVS_SIGNAL_G_MEAN;
}

static int count_mean_mode(const mvs_watch *watch) {
  int count = 0;
  for (size_t i = 0; i < sizeof told / sizeof *told; i++)
    if (witness_of(watch, told[i]) && is_of_mean_mode(told[i])) count++;
  return count;
}

/* Norm and G_mean of one spike are one thing said twice. */
static bool witnesses_agree(const mvs_watch *watch) {
  int of_mean_mode = count_mean_mode(watch);
  bool spike = witness_of(watch, MVS_SIGNAL_NORM) || witness_of(watch, MVS_SIGNAL_G_MEAN);
  if (of_mean_mode == 0) return false;
  return witness_of(watch, MVS_SIGNAL_LOSS) || of_mean_mode + spike >= WITNESSES;
}

static void call(mvs_watching *at, mvs_collapse what, const char *rule, const char *text) {
  at->watch->counts.collapsed = what;
  mvs_watching_say(at, MVS_ALARM_COLLAPSE, rule, text);
}

static const char *not_finite(mvs_watching *at) {
  const mvs_observation *seen = at->seen;
  return mvs_arena_format(at->arena,
                          "not finite at step %" PRId64 ": loss %g, gradient norm %g",
                          seen->step, seen->loss, seen->grad_norm);
}

void mvs_watch_call(mvs_watching *at) {
  const mvs_watch *watch = at->watch;
  if (!isfinite(at->seen->loss) || !isfinite(at->seen->grad_norm)) {
    call(at, MVS_COLLAPSE_NAMED, "not-finite", not_finite(at));
  } else if (witnesses_agree(watch) || watch->counts.equal >= EQUAL_VALUES) {
    call(at, MVS_COLLAPSE_NAMED, "mean-mode", sentence(at, "mean-mode collapse"));
  } else if (watch->counts.raised >= LASTING_VALUES) {
    call(at, MVS_COLLAPSE_LOSS, "loss", sentence(at, "collapse"));
  }
}

void mvs_watch_name(mvs_watching *at) {
  bool known = witnesses_agree(at->watch) || at->watch->counts.equal >= EQUAL_VALUES;
  if (at->watch->counts.collapsed == MVS_COLLAPSE_LOSS && known)
    call(at, MVS_COLLAPSE_NAMED, "mean-mode", sentence(at, "mean-mode collapse"));
}
