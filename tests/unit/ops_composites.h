/* ops_composites.h: expressions that several tests build. */
#ifndef MVS_TESTS_OPS_COMPOSITES_H
#define MVS_TESTS_OPS_COMPOSITES_H

#include "tests/unit/ops_suite.h"

typedef struct ops_composite {
  const char *name;
  /* y of x [B, T, C] with segments, in the suite's storage. */
  mvs_id (*build)(ops_suite *s, mvs_id x);
  bool weights; /* it has some, so that there are gradients */
} ops_composite;

extern const ops_composite ops_composites[];
extern const int ops_composite_count;

#endif
