/* bench.h: what the parts of `bench` share: a piece of work that is measured (a training step,
 * a sampler step), what was measured of it, and the report.
 * Owner: the session. Seconds are of one step, or of one run of the core, its function with
 * the heavy kernels. */
#ifndef MVS_RUNTIME_BENCH_H
#define MVS_RUNTIME_BENCH_H

#include "runtime/bench_limits.h"
#include "runtime/recording.h"

typedef struct mvs_bench mvs_bench;

/* A piece of work. `state` of the bench is its own. */
typedef struct mvs_bench_work {
  const char *step;       /* for people: "training step" */
  const char *core;       /* the function: "grad" */
  const char *core_words; /* for people: "forward + backward" */
  /* Settles batch and micro_batch, before the device is opened. */
  mvs_status (*settle)(mvs_bench *bench);
  /* Chooses the memory plan, makes all that runs, and `recording` of the core. */
  mvs_status (*prepare)(mvs_bench *bench);
  /* Runs whole steps so many times, and tells the seconds of all. */
  mvs_status (*run_steps)(mvs_bench *bench, int64_t times, double *seconds);
  /* Runs steps while the executor profiles. */
  mvs_status (*run_profiled)(mvs_bench *bench, int64_t times);
} mvs_bench_work;

/* Training and sampling. */
extern const mvs_bench_work mvs_bench_training;
extern const mvs_bench_work mvs_bench_sampling;

/* A kernel of the step. Everything is a step's: all of its launches. */
typedef struct mvs_bench_row {
  const Mvs__Kernel *kernel;
  const char *how; /* "generated", or the library that ran it */
  double launches, seconds, bytes, flops;
  double limit; /* seconds at the measured limit: copy speed or the same products alone */
} mvs_bench_row;

struct mvs_bench {
  mvs_session *session;
  const mvs_bench_work *work;
  void *state;
  int64_t batch, micro_batch, blocks;
  const char *kept; /* what became of blocks: mvs_recompute_text */
  mvs_bench_limits *limits;
  mvs_recording *recording; /* of the core */
  /* measured */
  double core_seconds, step_seconds, first_seconds;
  double matmul_seconds, attention_seconds; /* of one core, at their limit */
  double turns_seconds;          /* both and a copy of the least bytes in turns, of one core */
  double copy_rate;              /* bytes a second, read and written */
  double core_least, step_least; /* bytes, see least.h */
  double cores;                  /* runs of the core in a step */
  MVS_LIST(mvs_bench_row) rows;  /* slowest first */
};

/* The least seconds of the core by the limits measured. */
double mvs_bench_core_floor(const mvs_bench *bench);
/* The same of the whole step. */
double mvs_bench_step_floor(const mvs_bench *bench);
/* Prints the table and the totals. */
void mvs_bench_print(const mvs_bench *bench);
/* Writes them as JSON. errors : MVS_ERR_IO */
mvs_status mvs_bench_write(const mvs_bench *bench, const char *path);

#endif
