/* command_watch.c: a run followed in the terminal, from its files alone: the trainer may be in
 * another terminal or on another machine that shares the folder.
 *
 * On a terminal some lines are drawn over each other: where the run stands, loss and gradient
 * norm as rows of small bars over all steps so far, the newest alarms. Elsewhere (a pipe, a
 * log) it is a plain line now and then and one for every alarm. It ends when the run has; what
 * it prints of the run's own words is free of control characters. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/commands.h"
#include "runtime/interrupt.h"
#include "runtime/progress.h"
#include "runtime/report.h"

#define COUNT(list)    (sizeof(list) / sizeof((list)[0]))
#define MOST_BARS      120
#define LEAST_COLUMNS  20
#define SHOWN_ALARMS   6
#define TERMINAL_PAUSE 0.5
#define LINE_PAUSE     5
/* Between two looks at Ctrl-C. */
#define NAP_MILLIS 50

static const mvs_option_row watch_rows[] = {
    {"folder", MVS_OPTION_OPERANDS, "DIR", 1, 1, "the run's folder"},
    {"every", MVS_OPTION_NUMBER, "SECONDS", 0.05, 86400,
     "between two looks (default 0.5 on a terminal, else 5)"},
    {"once", MVS_OPTION_FLAG, NULL, 0, 0, "look once and end"},
};

typedef struct watcher {
  mvs_session *session;
  mvs_run_record record;
  bool terminal, wide_characters;
  size_t told_alarms; /* of those that were printed already, as lines */
  int64_t told_step;
  int drawn; /* lines on the terminal */
} watcher;

/* The folder is an operand, as for ls. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, watch_rows, COUNT(watch_rows));
}

/* --- parts of lines --- */

/* Words of a file, cut to the columns that a line has left, never within a character; a control
 * character could move the cursor. */
static void print_words(const char *words, int room) {
  for (int at = 0, used = 0; words[at]; at++) {
    unsigned char byte = (unsigned char)words[at];
    bool follows = (byte & 0xc0) == 0x80; /* a further byte of the same character */
    if (!follows && used++ >= room) return;
    putchar(byte < 0x20 || byte == 0x7f ? '?' : byte);
  }
}

/* The steps from `from` to `to` of all bars, as one number: of loss the mean, of gradient norms
 * the largest, for which one looks. */
static double bar_value(const mvs_digest *digest, mvs_metric metric, size_t from, size_t to) {
  double sum = 0, most = NAN;
  int count = 0;
  for (size_t at = from; at < to; at++) {
    double mean = mvs_bucket_mean(digest->buckets[at], metric);
    most = fmax(most, digest->buckets[at]->most[metric]);
    if (isfinite(mean)) sum += mean, count++;
  }
  if (metric == MVS_METRIC_GRAD_NORM) return most;
  return count ? sum / count : NAN;
}

/* Heights go with the logarithm where all is positive: a fall from 100 to 1 leaves room below.
 */
static void print_bars(const watcher *self, mvs_metric metric, size_t room) {
  static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char plain[] = "_.:-=+*#";
  const mvs_digest *digest = &self->record.metrics;
  double values[MOST_BARS], low = NAN, high = NAN;
  size_t bars = digest->count < room ? digest->count : room;
  for (size_t at = 0; at < bars; at++) {
    values[at] =
        bar_value(digest, metric, at * digest->count / bars, (at + 1) * digest->count / bars);
    low = fmin(low, values[at]), high = fmax(high, values[at]);
  }
  bool logarithm = low > 0;
  for (size_t at = 0; at < bars; at++) {
    double share =
        logarithm ? log(values[at] / low) / log(high / low) : (values[at] - low) / (high - low);
    int level = isfinite(share) ? (int)(share * 7 + 0.5) : 0;
    if (!isfinite(values[at])) {
      putchar('!');
    } else if (self->wide_characters) {
      fputs(blocks[level], stdout);
    } else {
      putchar(plain[level]);
    }
  }
}

/* 0 where the record does not say. */
static int64_t wanted_steps(const watcher *self) {
  const char *text = mvs_run_record_option(&self->record, "steps");
  return text ? strtoll(text, NULL, 10) : 0;
}

/* "step 120 of 500 (24 %), 21.3 ms a step, 0:08 left" */
static void print_place(const watcher *self) {
  int64_t wanted = wanted_steps(self), step = self->record.steps;
  double seconds = mvs_run_record_figures(&self->record).seconds;
  printf("step %" PRId64, step);
  if (wanted > 0)
    printf(" of %" PRId64 " (%.0f %%)", wanted, 100.0 * (double)step / (double)wanted);
  if (!isfinite(seconds)) return;
  printf(", %.4g %s a step", seconds < 1 ? 1e3 * seconds : seconds, seconds < 1 ? "ms" : "s");
  if (step >= wanted) return;
  char left[32];
  mvs_time_text(left, sizeof left, seconds * (double)(wanted - step));
  printf(", %s left", left);
}

/* One line, on a terminal no longer than it is wide. */
static void print_alarm(const mvs_recorded_alarm *alarm, int room) {
  int used = printf("%s at %" PRId64 ", ", mvs_alarm_level_name(alarm->level), alarm->step);
  print_words(alarm->rule, 40);
  printf(": ");
  print_words(alarm->text, room - used - (int)strlen(alarm->rule) - 2);
  printf("\n");
}

/* --- on a terminal --- */

/* The newest number and the way to it. */
static void draw_metric(const watcher *self, const char *name, mvs_metric metric, int width) {
  int room = width - 30;
  printf("%-14s%-11.5g ", name, self->record.newest[metric]);
  print_bars(self, metric, room < 8 ? 8 : room < MOST_BARS ? (size_t)room : MOST_BARS);
  printf("\033[K\n");
}

/* The newest alarms, the gravest of them first to be kept. */
static int draw_alarms(const watcher *self, int width) {
  int lines = 0;
  for (int level = MVS_ALARM_LEVELS - 1; level >= 0; level--) {
    for (size_t at = self->record.alarms.count; at > 0 && lines < SHOWN_ALARMS; at--) {
      const mvs_recorded_alarm *alarm = &self->record.alarms.items[at - 1];
      if ((int)alarm->level != level) continue;
      printf("\033[K");
      print_alarm(alarm, width);
      lines++;
    }
  }
  return lines;
}

/* Every line clears what stood behind its end, the last all that stood below. */
static void draw(watcher *self) {
  const mvs_run_record *record = &self->record;
  mvs_run_figures figures = mvs_run_record_figures(record);
  int width = mvs_terminal_columns(STDOUT_FILENO, LEAST_COLUMNS);
  if (self->drawn) printf("\033[%dA\r", self->drawn);
  print_words(record->model ? record->model : "?", 40);
  printf(", ");
  print_words(record->residual ? record->residual : "?", width - 60 > 10 ? width - 60 : 10);
  printf("\033[K\n");
  print_place(self);
  printf("\033[K\n");
  draw_metric(self, "loss", MVS_METRIC_LOSS, width);
  draw_metric(self, "gradient norm", MVS_METRIC_GRAD_NORM, width);
  printf("%-14s%.5g\033[K\n", "learning rate", record->newest[MVS_METRIC_LR]);
  printf("%-14scollapse %" PRId64 ", warning %" PRId64 ", note %" PRId64 "\033[K\n", "alarms",
         figures.alarms[MVS_ALARM_COLLAPSE], figures.alarms[MVS_ALARM_WARNING],
         figures.alarms[MVS_ALARM_NOTE]);
  self->drawn = 6 + draw_alarms(self, width);
  printf("\033[J");
}

/* --- elsewhere --- */

/* Nothing new is no line. */
static void print_line(watcher *self) {
  const mvs_run_record *record = &self->record;
  for (; self->told_alarms < record->alarms.count; self->told_alarms++)
    print_alarm(&record->alarms.items[self->told_alarms], MVS_MOST_COLUMNS);
  if (self->told_step == record->steps) return;
  self->told_step = record->steps;
  print_place(self);
  printf(": loss %.6g, gradient norm %.4g, lr %.4g\n", record->newest[MVS_METRIC_LOSS],
         record->newest[MVS_METRIC_GRAD_NORM], record->newest[MVS_METRIC_LR]);
}

/* --- the loop --- */

/* After a rewind alarms may be fewer than were told. */
static mvs_status look(watcher *self) {
  MVS_TRY(mvs_run_record_refresh(&self->record));
  if (self->told_alarms > self->record.alarms.count)
    self->told_alarms = self->record.alarms.count;
  if (self->terminal) {
    draw(self);
  } else {
    print_line(self);
  }
  fflush(stdout);
  return MVS_OK;
}

/* In naps, so that Ctrl-C is seen at once. */
static void wait_for(double seconds) {
  struct timespec nap = {0, NAP_MILLIS * 1000000};
  double end = mvs_seconds() + seconds;
  while (mvs_seconds() < end && !mvs_interrupt_asked()) nanosleep(&nap, NULL);
}

/* Bars of eight heights where the terminal says that it can show them. */
static bool has_wide_characters(void) {
  static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t at = 0; at < COUNT(names); at++) {
    const char *value = getenv(names[at]);
    if (value && *value) return strstr(value, "UTF-8") || strstr(value, "utf8");
  }
  return false;
}

/* The last line says how the run stands, for scripts. */
static mvs_status run_command(mvs_session *session) {
  size_t count;
  const char *const *folders = mvs_option_operands(session->options, &count);
  watcher self = {.session = session,
                  .terminal = isatty(STDOUT_FILENO),
                  .wide_characters = has_wide_characters()};
  bool once = mvs_option_given(session->options, "once");
  double pause =
      mvs_option_number(session->options, "every", self.terminal ? TERMINAL_PAUSE : LINE_PAUSE);
  MVS_TRY(mvs_run_record_open(session->arena, session->diag, folders[0], &self.record));
  mvs_interrupt_catch();
  mvs_status status = look(&self);
  while (status == MVS_OK && !once && !mvs_interrupt_asked() &&
         strcmp(mvs_report_state(&self.record), "unfinished") == 0) {
    wait_for(pause);
    status = look(&self);
  }
  mvs_interrupt_release();
  if (status == MVS_OK) printf("%s\n", mvs_report_state(&self.record));
  return status;
}

const mvs_command mvs_command_watch = {
    "watch", "Follows a run in the terminal; in a pipe, a line now and then.", rows,
    run_command};
