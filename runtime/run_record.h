/* run_record.h: what the folder of a run says (run.json, metrics.jsonl, diagnostics.jsonl,
 * alarms.jsonl, pictures), read back into bounded memory, and read on while the run goes on.
 * What is missing is simply not there; what is there must be what a trainer writes.
 * Owner: the arena given, and of pictures the record (mvs_run_record_close). */
#ifndef MVS_RUNTIME_RUN_RECORD_H
#define MVS_RUNTIME_RUN_RECORD_H

#include <stdbool.h>

#include "compiler/base/diag.h"
#include "runtime/alarm.h"
#include "runtime/digest.h"

/* Columns of the digest of metrics.jsonl. */
typedef enum mvs_metric {
  MVS_METRIC_LOSS,
  MVS_METRIC_GRAD_NORM,
  MVS_METRIC_LR,
  MVS_METRIC_SECONDS,
  MVS_METRIC_COUNT
} mvs_metric;

typedef struct mvs_recorded_alarm {
  int64_t step;
  mvs_alarm_level level;
  const char *rule, *text;
} mvs_recorded_alarm;

/* A table of diagnostics over time: cells are [n_sites, n_layers or 1]. */
typedef struct mvs_recorded_table {
  const char *name;
  size_t n_sites, n_layers;
  const char **sites;
  int64_t *layers;
  mvs_digest digest;
} mvs_recorded_table;

typedef struct mvs_run_setting {
  const char *name, *value;
} mvs_run_setting;

typedef MVS_LIST(mvs_run_setting) mvs_run_settings;

/* samples*.png of the folder, as it stands on the disk. */
typedef struct mvs_run_picture {
  const char *name; /* without ".png" */
  const unsigned char *bytes;
  size_t size;
} mvs_run_picture;

/* A file of lines, of which the first `offset` bytes were read. */
typedef struct mvs_followed {
  const char *path;
  int64_t offset, lines;
  int64_t last_length; /* of the line before the offset, and what it held */
  uint64_t last_hash;
} mvs_followed;

typedef struct mvs_run_record {
  mvs_arena *home;
  mvs_diag *diag;
  const char *folder;
  /* of run.json; NULL and -1 where it does not say */
  const char *model, *residual, *version, *device;
  int64_t parameters, memory_bytes;
  mvs_run_settings options, settings; /* settings: of the program */
  mvs_followed metrics_file, diagnostics_file, alarms_file;
  mvs_digest metrics;
  int64_t steps;               /* of the newest line of metrics, 0: none */
  int64_t first_bad, bad_rows; /* steps without a finite loss or norm: the first, how many */
  double newest[MVS_METRIC_COUNT], first_loss;
  MVS_LIST(mvs_recorded_table) tables;
  MVS_LIST(mvs_recorded_alarm) alarms;
  mvs_arena *album; /* of the pictures: a run that goes on has them read again and again */
  MVS_LIST(mvs_run_picture) pictures;
} mvs_run_record;

/* Starts a record of a folder that holds a run; nothing but run.json is read yet.
 * errors : MVS_ERR_IO when there is no such run, MVS_ERR_FORMAT */
mvs_status mvs_run_record_open(mvs_arena *home, mvs_diag *diag, const char *folder,
                               mvs_run_record *out);
/* Reads what was added since. A line that has no end yet is left for the next time; files that
 * were cut since (a run that went back to a checkpoint) are read anew.
 * errors : MVS_ERR_FORMAT naming file and line, MVS_ERR_IO */
mvs_status mvs_run_record_refresh(mvs_run_record *record);
/* Reads the pictures; those of before are dropped. Of more than a page should hold, every
 * second, fourth, ... of the run and the newest are taken. One that cannot be read takes no
 * other with it. errors : MVS_ERR_FORMAT, MVS_ERR_IO, MVS_ERR_LIMIT */
mvs_status mvs_run_record_pictures(mvs_run_record *record);
/* Drops the pictures, the one thing that is not in the arena given. */
void mvs_run_record_close(mvs_run_record *record);
/* The value of an option of run.json, or NULL. */
const char *mvs_run_record_option(const mvs_run_record *record, const char *name);

/* Figures of a run for tables. Costs and means are exact up to the buckets of the digest. */
typedef struct mvs_run_figures {
  double first_loss, last_loss; /* of the first step; mean over the last tenth of the steps */
  double norm, most_norm;       /* gradient: the same mean, and the largest */
  double seconds;               /* a step, median */
  int64_t alarms[MVS_ALARM_LEVELS];
  const mvs_recorded_alarm *collapse; /* the first, NULL: none */
} mvs_run_figures;

/* NaN where the run does not say. */
mvs_run_figures mvs_run_record_figures(const mvs_run_record *record);

#endif
