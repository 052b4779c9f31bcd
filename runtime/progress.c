/* progress.c: one line that is written over.
 *
 * It is drawn a few times a second, cut to the terminal's width (a wrapped line cannot be
 * written over) and cleared at the end, so what remains on the terminal is what was printed.
 * Speed and time left are averages since the start of this process, whose steps alone count. */
#include "runtime/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Often enough to look alive, seldom enough that the terminal costs nothing. */
#define SECONDS_BETWEEN 0.1
/* Longer than any run, and far from what does not fit a whole number. */
#define LONGEST 1e12

/* Not the time of day, which may jump. */
double mvs_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Nothing is drawn before the first step. */
void mvs_progress_start(mvs_progress *progress, int64_t first, int64_t last, int64_t samples,
                        int64_t tokens) {
  *progress = (mvs_progress){.shown = isatty(STDERR_FILENO),
                             .first = first,
                             .last = last,
                             .samples = samples,
                             .tokens = tokens,
                             .started = mvs_seconds()};
}

/* A speed of nothing leaves no number of seconds. */
void mvs_time_text(char *out, size_t size, double seconds) {
  int64_t whole = seconds >= 0 && seconds < LONGEST ? (int64_t)(seconds + 0.5) : -1;
  if (whole < 0) {
    snprintf(out, size, "-");
  } else if (whole >= 3600) {
    snprintf(out, size, "%" PRId64 "h%02" PRId64, whole / 3600, whole / 60 % 60);
  } else {
    snprintf(out, size, "%" PRId64 ":%02" PRId64, whole / 60, whole % 60);
  }
}

/* A line as wide as the terminal would wrap and could not be written over. */
int mvs_terminal_columns(int descriptor, int least) {
  struct winsize size;
  bool told = ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > least;
  return told ? size.ws_col - 1 : MVS_MOST_COLUMNS;
}

/* 1234567 as "1.23M". */
static void put_rate(char *out, size_t size, double rate) {
  const char *units[] = {"", "k", "M", "G"};
  int unit = 0;
  for (; rate >= 1000 && unit < 3; unit++) rate /= 1000;
  snprintf(out, size, "%.*f%s", rate >= 100 ? 0 : rate >= 10 ? 1 : 2, rate, units[unit]);
}

/* The last step is always drawn, for those who watch a short run. */
void mvs_progress_show(mvs_progress *progress, int64_t step, double loss, double grad_norm) {
  double now = mvs_seconds();
  if (!progress->shown) return;
  if (now - progress->drawn < SECONDS_BETWEEN && step < progress->last) return;
  progress->drawn = now;
  double done = (double)(step - progress->first), passed = now - progress->started;
  int64_t unit = progress->tokens ? progress->tokens : 1;
  char rate[32], left[32];
  put_rate(rate, sizeof rate, done * (double)(progress->samples * unit) / passed);
  mvs_time_text(left, sizeof left, passed / done * (double)(progress->last - step));
  char line[MVS_MOST_COLUMNS + 1];
  snprintf(line, sizeof line,
           "step %" PRId64 "/%" PRId64 "  loss %.4f  grad norm %.3f  %s %s/s  %s left", step,
           progress->last, loss, grad_norm, rate, progress->tokens ? "tokens" : "samples",
           left);
  fprintf(stderr, "\r%.*s\033[K", mvs_terminal_columns(STDERR_FILENO, 1), line);
}

/* Leaves the cursor at the start of an empty line. */
void mvs_progress_clear(const mvs_progress *progress) {
  if (progress->shown && progress->drawn > 0) fputs("\r\033[K", stderr);
}

void mvs_progress_end(mvs_progress *progress) {
  mvs_progress_clear(progress);
  progress->shown = false;
}
