/* profile.c: marks while work is given, times once it is done.
 *
 * A mark stands behind every launch and at the start of every call, so each launch costs one:
 * its time runs from the mark before it. Marks in a recording are part of it, so the host need
 * not keep up with the device. The device's times are single precision milliseconds from one
 * mark to another; they are taken from a base that moves on with every settling, which keeps
 * them good to a microsecond. */
#include "runtime/profile.h"

#include "runtime/fail.h"
#include "runtime/progress.h"

mvs_profile *mvs_profile_new(mvs_arena *arena, mvs_device *device) {
  mvs_profile *profile = MVS_NEW(arena, mvs_profile);
  profile->arena = arena;
  profile->device = device;
  return profile;
}

/* Seconds of the host since the start. */
static double now(const mvs_profile *profile) { return mvs_seconds() - profile->host_start; }

/* A mark that cannot be had is told by the next settling, not at each of thousands. */
static void *take_mark(mvs_profile *profile) {
  void *mark = profile->device->mark(profile->device);
  if (!mark) profile->no_marks = true;
  return mark;
}

/* Taking them back at once keeps their number that of one step. */
static void give_mark(mvs_profile *profile, void **mark) {
  if (*mark) profile->device->unmark(profile->device, *mark);
  *mark = NULL;
}

/* Both clocks start at an idle device: their zero is the same moment. */
mvs_status mvs_profile_start(mvs_profile *profile, mvs_diag *diag) {
  if (!profile) return MVS_OK;
  MVS_TRY(profile->device->synchronize(profile->device, diag));
  profile->host_start = mvs_seconds();
  profile->base = take_mark(profile);
  return MVS_OK;
}

/* --- settling --- */

/* Seconds of a mark since the start. */
static double time_of(const mvs_profile *profile, void *mark) {
  return profile->base_seconds + profile->device->between(profile->device, profile->base, mark);
}

/* The end of a launch is the begin of the next. */
static void settle_call(mvs_profile *profile, mvs_profile_call *call) {
  double before = time_of(profile, call->mark);
  give_mark(profile, &call->mark);
  for (size_t at = 0; at < call->launches; at++) {
    mvs_profile_launch *launch = &profile->launches.items[call->first_launch + at];
    launch->begin = before;
    launch->end = before = time_of(profile, launch->mark);
    give_mark(profile, &launch->mark);
  }
}

/* Only once their work is done. */
static void forget_recordings(mvs_profile *profile) {
  for (size_t at = 0; at < profile->recordings.count; at++)
    profile->device->forget(profile->device, profile->recordings.items[at]);
  profile->recordings.count = 0;
}

/* The new base stands behind all work, so later marks are near it. */
mvs_status mvs_profile_settle(mvs_profile *profile, mvs_diag *diag) {
  if (!profile) return MVS_OK;
  void *base = take_mark(profile);
  MVS_TRY(profile->device->synchronize(profile->device, diag));
  if (profile->no_marks)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the device has no clock left to time launches with");
  for (; profile->settled_calls < profile->calls.count; profile->settled_calls++)
    settle_call(profile, &profile->calls.items[profile->settled_calls]);
  profile->base_seconds = time_of(profile, base);
  give_mark(profile, &profile->base);
  profile->base = base;
  forget_recordings(profile);
  return MVS_OK;
}

/* Also after a failure, when marks stand that no one will ask for. */
void mvs_profile_end(mvs_profile *profile) {
  if (!profile) return;
  for (size_t at = 0; at < profile->launches.count; at++)
    give_mark(profile, &profile->launches.items[at].mark);
  for (size_t at = 0; at < profile->calls.count; at++)
    give_mark(profile, &profile->calls.items[at].mark);
  give_mark(profile, &profile->base);
  forget_recordings(profile);
}

/* --- phases --- */

/* Ended phases stay where they are: their order is that of their begins. */
void mvs_profile_open_phase(mvs_profile *profile, const char *name) {
  if (!profile) return;
  mvs_profile_phase phase = {.name = name, .begin = now(profile)};
  MVS_PUSH(profile->arena, &profile->phases, phase);
}

/* The last one opened is the innermost. */
void mvs_profile_close_phase(mvs_profile *profile) {
  if (!profile) return;
  for (size_t at = profile->phases.count; at > 0; at--) {
    mvs_profile_phase *phase = &profile->phases.items[at - 1];
    if (phase->end != 0) continue;
    phase->end = now(profile);
    return;
  }
}

/* --- calls --- */

void mvs_profile_open_call(mvs_profile *profile, const Mvs__Function *function, int64_t batch) {
  if (!profile) return;
  mvs_profile_call call = {.function = function,
                           .batch = batch,
                           .begin = now(profile),
                           .mark = take_mark(profile),
                           .first_launch = profile->launches.count};
  MVS_PUSH(profile->arena, &profile->calls, call);
}

void mvs_profile_launched(mvs_profile *profile, const mvs_launch *launch) {
  if (!profile) return;
  mvs_profile_launch row = {.kernel = launch->kernel,
                            .batch = launch->batch,
                            .layer = launch->layer,
                            .mark = take_mark(profile)};
  MVS_PUSH(profile->arena, &profile->launches, row);
  profile->calls.items[profile->calls.count - 1].launches++;
}

void mvs_profile_close_call(mvs_profile *profile, void *recording) {
  if (!profile) return;
  profile->calls.items[profile->calls.count - 1].end = now(profile);
  if (recording) MVS_PUSH(profile->arena, &profile->recordings, recording);
}

void mvs_profile_drop_call(mvs_profile *profile) {
  if (!profile) return;
  mvs_profile_call *call = &profile->calls.items[--profile->calls.count];
  give_mark(profile, &call->mark);
  for (size_t at = 0; at < call->launches; at++)
    give_mark(profile, &profile->launches.items[call->first_launch + at].mark);
  profile->launches.count = call->first_launch;
}
