/* progress.h: one line on the terminal that is written over; nothing where stderr is no
 * terminal. */
#ifndef MVS_RUNTIME_PROGRESS_H
#define MVS_RUNTIME_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than anybody reads in one line. */
#define MVS_MOST_COLUMNS 160

typedef struct mvs_progress {
  bool shown;              /* stderr is a terminal */
  int64_t first, last;     /* steps done at the start, and wanted */
  int64_t samples, tokens; /* per step; tokens 0: samples are counted instead */
  double started, drawn;   /* seconds, monotonic */
} mvs_progress;

/* Starts counting time. */
void mvs_progress_start(mvs_progress *progress, int64_t first, int64_t last, int64_t samples,
                        int64_t tokens);
/* Shows step, loss, gradient norm, tokens a second and the time left, some times a second. */
void mvs_progress_show(mvs_progress *progress, int64_t step, double loss, double grad_norm);
/* Clears the line, for others to be printed above it. */
void mvs_progress_clear(const mvs_progress *progress);
/* Clears the line and shows no more. */
void mvs_progress_end(mvs_progress *progress);
/* Writes a time as "1:05" or, from an hour on, "2h05"; "-" for what is none. */
void mvs_time_text(char *out, size_t size, double seconds);
/* Columns of a terminal that a line may fill; MVS_MOST_COLUMNS where it does not say, or says
 * `least` or fewer, which is not believed. */
int mvs_terminal_columns(int descriptor, int least);
/* Seconds on a clock that only goes forward. */
double mvs_seconds(void);

#endif
