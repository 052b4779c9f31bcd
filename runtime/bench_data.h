/* bench_data.h: made-up training data that fits every model: times do not depend on values. */
#ifndef MVS_RUNTIME_BENCH_DATA_H
#define MVS_RUNTIME_BENCH_DATA_H

#include "runtime/data.h"

/* A source of normal numbers and, for integers, classes in turn. Owner: the session. */
mvs_data *mvs_bench_data(mvs_session *session);

#endif
