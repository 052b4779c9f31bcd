/* recording.c: the first run is a plain one, the second is recorded, later ones replay it.
 *
 * The first run settles what a recording cannot: memory grows to its size, libraries choose
 * and load their kernels. What is recorded holds addresses, so it is thrown away when the
 * executor's memory has moved since, and the work then starts over with a plain run. A device
 * that records nothing, or that failed to, runs the work plainly each time; so does one whose
 * launches are timed. */
#include "runtime/recording.h"

struct mvs_recording {
  mvs_session *session;
  mvs_status (*run)(void *user);
  void *user;
  void *work;     /* the device's; NULL: none */
  int64_t layout; /* of the executor when the work last ran; -1: never */
  bool refused;   /* the device could not record it */
};

static void end(void *recording) { mvs_recording_free(recording); }

mvs_recording *mvs_recording_new(mvs_session *session, mvs_status (*run)(void *user),
                                 void *user) {
  mvs_recording *recording = MVS_NEW(session->arena, mvs_recording);
  *recording = (mvs_recording){.session = session, .run = run, .user = user, .layout = -1};
  mvs_ending ending = {end, recording};
  MVS_PUSH(session->arena, &session->endings, ending);
  return recording;
}

/* Records without running; `work` stays NULL where that did not work out. */
static mvs_status record(mvs_recording *recording) {
  mvs_device *device = recording->session->device;
  mvs_status status = MVS_OK;
  if (device->record(device)) {
    status = recording->run(recording->user);
    recording->work = device->recorded(device);
  }
  recording->refused = !recording->work;
  return status;
}

mvs_status mvs_recording_run(mvs_recording *recording) {
  mvs_device *device = recording->session->device;
  mvs_executor *executor = recording->session->executor;
  bool plain = !device->record || recording->refused || mvs_executor_profiled(executor);
  if (plain) return recording->run(recording->user);
  if (recording->layout != mvs_executor_layout(executor)) {
    mvs_recording_free(recording);
    MVS_TRY(recording->run(recording->user));
    recording->layout = mvs_executor_layout(executor);
    return MVS_OK;
  }
  if (!recording->work) MVS_TRY(record(recording));
  if (!recording->work) return recording->run(recording->user);
  device->replay(device, recording->work);
  return MVS_OK;
}

void mvs_recording_free(mvs_recording *recording) {
  mvs_device *device = recording->session->device;
  if (recording->work) device->forget(device, recording->work);
  recording->work = NULL;
}
