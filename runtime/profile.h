/* profile.h: what ran when: every launch by the device's clock, calls and phases by the host's.
 * Owner: the arena given; marks go back to the device when the profile is settled or ended.
 * The executor adds launches and calls while mvs_executor_profile is on; commands add phases.
 * All calls but mvs_profile_new take a NULL profile, which means: none is taken. */
#ifndef MVS_RUNTIME_PROFILE_H
#define MVS_RUNTIME_PROFILE_H

#include "runtime/device.h"

/* A launch, from the end of the one before it (or the start of its call): clears and gaps
 * count with the launch behind them, so that times add up to the call's. */
typedef struct mvs_profile_launch {
  uint32_t kernel;
  int64_t batch, layer;
  double begin, end; /* seconds since mvs_profile_start; 0 until settled */
  void *mark;        /* of its end; NULL once settled */
} mvs_profile_launch;

/* A function's run: when the host gave its work, and its launches. */
typedef struct mvs_profile_call {
  const Mvs__Function *function;
  int64_t batch;
  double begin, end;
  void *mark; /* of its start */
  size_t first_launch, launches;
} mvs_profile_call;

/* A stretch of the host's work. Phases may stand within phases. */
typedef struct mvs_profile_phase {
  const char *name;
  double begin, end; /* end 0: still open */
} mvs_profile_phase;

typedef struct mvs_profile {
  mvs_arena *arena;
  mvs_device *device;
  double host_start; /* mvs_seconds at mvs_profile_start */
  void *base;        /* a mark, at base_seconds after the start */
  double base_seconds;
  bool no_marks;        /* the device did not give one */
  int replays;          /* of each recording, of which the last is timed; 0 counts as 1. For
                           functions that may run again over the same memory */
  size_t settled_calls; /* calls whose launches have their times */
  MVS_LIST(mvs_profile_launch) launches;
  MVS_LIST(mvs_profile_call) calls;
  MVS_LIST(mvs_profile_phase) phases;
  MVS_LIST(void *) recordings; /* of the device, held until settled */
} mvs_profile;

/* Makes an empty profile. */
mvs_profile *mvs_profile_new(mvs_arena *arena, mvs_device *device);
/* Waits for the device and starts both clocks. errors : MVS_ERR_DEVICE */
mvs_status mvs_profile_start(mvs_profile *profile, mvs_diag *diag);
/* Waits for the device and gives launches their times. errors : MVS_ERR_DEVICE */
mvs_status mvs_profile_settle(mvs_profile *profile, mvs_diag *diag);
/* Gives all marks and recordings back; times already settled stay. */
void mvs_profile_end(mvs_profile *profile);

/* Opens a phase; `name` must stay. */
void mvs_profile_open_phase(mvs_profile *profile, const char *name);
/* Closes the innermost open one. */
void mvs_profile_close_phase(mvs_profile *profile);

/* For the executor: a call begins; its launches follow; it ends. */
void mvs_profile_open_call(mvs_profile *profile, const Mvs__Function *function, int64_t batch);
/* Behind a launch. */
void mvs_profile_launched(mvs_profile *profile, const mvs_launch *launch);
/* recording : the call's launches as the device kept them, to be forgotten once they are timed;
 * NULL when they ran as they are */
void mvs_profile_close_call(mvs_profile *profile, void *recording);
/* Drops the last call: what was to be recorded was not, and will run again. */
void mvs_profile_drop_call(mvs_profile *profile);

#endif
