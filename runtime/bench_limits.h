/* bench_limits.h: what this machine can do of a function's heavy work, measured beside it: its
 * matmuls one after another, its attention kernels likewise, and a plain copy of memory.
 * Operands are random numbers in memory that turns round, larger than caches, so that speed,
 * power and clock are those of real values. Owner: the session. */
#ifndef MVS_RUNTIME_BENCH_LIMITS_H
#define MVS_RUNTIME_BENCH_LIMITS_H

#include "runtime/session.h"

typedef struct mvs_bench_limits mvs_bench_limits;

typedef enum mvs_bench_part {
  MVS_BENCH_MATMULS,
  MVS_BENCH_ATTENTION,
  MVS_BENCH_COPY
} mvs_bench_part;

/* Takes the memory: before mvs_memory_choose, which then sees what is left. */
mvs_status mvs_bench_limits_new(mvs_session *session, const char *function, int64_t batch,
                                mvs_bench_limits **out);
/* Whether the function has any of it; there is always a copy. */
bool mvs_bench_limits_have(const mvs_bench_limits *limits, mvs_bench_part part);
/* Does all of the function's matmuls, or attention kernels, all layers included; or one copy.
 * errors : MVS_ERR_INTERNAL */
mvs_status mvs_bench_limits_run(mvs_bench_limits *limits, mvs_bench_part part);
/* Bytes that one copy reads and writes. */
double mvs_bench_copy_bytes(const mvs_bench_limits *limits);
/* All parts one after another, the copy as large as to move so many bytes: least work, with the
 * power and clock that it takes. */
mvs_status mvs_bench_limits_run_all(mvs_bench_limits *limits, double bytes);
/* Seconds of one launch of each heavy kernel in that sequence; 0 for the others.
 * seconds : [n_kernels] */
mvs_status mvs_bench_limits_kernels(mvs_bench_limits *limits, double *seconds);
/* Gives recordings back; the memory stays with the session. NULL is allowed. */
void mvs_bench_limits_end(mvs_bench_limits *limits);

#endif
