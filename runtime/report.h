/* report.h: one self-contained HTML page over one run or several: no network, no other file.
 * The page's parts (runtime/report/) are in the executable; what the runs say goes in as one
 * block of JSON, which runtime/report/data.js describes. */
#ifndef MVS_RUNTIME_REPORT_H
#define MVS_RUNTIME_REPORT_H

#include "runtime/run_record.h"

typedef struct mvs_report_run {
  const mvs_run_record *record; /* NULL: it left nothing behind */
  const char *name;             /* how messages and folders call it */
  const char *rule;             /* what is compared; runs of one rule differ in their seed */
  const char *seed;
  const char *state; /* "running", "done", "stopped", "collapsed", "diverged", "failed", … */
  const char *note;  /* a sentence about the state, or NULL */
} mvs_report_run;

typedef struct mvs_report {
  const char *title;
  const char *remark; /* how the figures were taken, or NULL */
  const char *noun;   /* what `rule` of a run names; NULL: a rule */
  bool live;          /* the page will be written again: it then loads itself anew */
  const mvs_report_run *runs;
  size_t n_runs;
} mvs_report;

/* Writes the page; what stood at `path` stays until the new one is whole. Its size is bounded:
 * tables are folded until all of them fit. errors : MVS_ERR_IO, MVS_ERR_MEMORY */
mvs_status mvs_report_write(mvs_diag *diag, const char *path, const mvs_report *report);
/* "done", "diverged" or "unfinished", as far as the record alone can tell. */
const char *mvs_report_state(const mvs_run_record *record);

/* Appends the block of JSON (report_data.c). */
void mvs_report_data(mvs_text *out, const mvs_report *report);

#endif
