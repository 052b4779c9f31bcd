/* compare.h: one model under several residual rules or settings: the parts of `mvcc compare`.
 * Owner: everything is in the driver's session arena; processes are waited for by whoever
 * started them (compare_run.c). */
#ifndef MVS_MVCC_COMPARE_H
#define MVS_MVCC_COMPARE_H

#include <sys/types.h>

#include "compiler/mvcc/driver.h"
#include "runtime/report.h"

/* What is compared: a rule, under one of the settings that are varied. */
typedef struct mvs_compared_rule {
  const char *name;      /* "mvsplit, width = 32"; "the model's own" where nothing is varied */
  const char *folder;    /* DIR/mvsplit-width-32, one of a kind */
  const char *trainer;   /* the executable */
  const char **values;   /* [n_varied], as they were given */
  mvs_override *changes; /* [n_varied] */
} mvs_compared_rule;

typedef enum mvs_compared_stage {
  MVS_STAGE_WAITING,
  MVS_STAGE_TRAINING,
  MVS_STAGE_SAMPLING,
  MVS_STAGE_ENDED
} mvs_compared_stage;

typedef struct mvs_compared_run {
  const mvs_compared_rule *rule;
  const char *seed;
  const char *folder, *log;
  mvs_compared_stage stage;
  pid_t process;          /* while training or sampling */
  const char *state;      /* as the page says it */
  const char *note;       /* why, or NULL */
  bool failed;            /* it neither ended nor showed why the rule does not train */
  mvs_run_record *record; /* NULL before there is one */
} mvs_compared_run;

typedef struct mvs_comparison {
  mvs_driver *driver;
  const char *folder;
  const char **varied; /* what tells the rules apart, the residual line (NULL) before lets */
  size_t n_varied;
  mvs_compared_rule *rules;
  size_t n_rules;
  mvs_compared_run *runs; /* [n_rules * n_seeds], seed by seed, so that rules are seen early */
  size_t n_runs;
  int64_t n_seeds, jobs, samples, threads; /* threads 0: as the options say */
} mvs_comparison;

/* What is to be compared, from --residual and --vary: each rule with each value, or the model's
 * own. errors : MVS_ERR_NAME, MVS_ERR_LIMIT */
mvs_status mvs_compare_rules(mvs_comparison *all);
/* The options under which a rule is compiled: as if it alone had been asked for. */
mvs_command_line mvs_compare_options(const mvs_comparison *all, const mvs_compared_rule *rule);
/* The value of an option among the trainer's words ("--seed"), or NULL. */
const char *mvs_compare_option(const mvs_comparison *all, const char *name);
/* Trains all runs, `jobs` at a time, and samples from those that ended; the page is written
 * while they go on. Ctrl-C ends them with a checkpoint. */
mvs_status mvs_compare_run(mvs_comparison *all);
/* Reads on what a run has written; a folder that cannot be read is told in the run's note. */
void mvs_compare_look(mvs_comparison *all, mvs_compared_run *run);
/* DIR/report.html. */
mvs_status mvs_compare_page(const mvs_comparison *all, bool live);
/* The table for people. */
void mvs_compare_table(const mvs_comparison *all, mvs_text *out);
/* DIR/compare.json, the same for programs. */
mvs_status mvs_compare_json(const mvs_comparison *all);

#endif
