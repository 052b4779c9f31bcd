/* recording.h: work made of several calls that runs again and again: recorded by the device
 * where it can, and then given to it as one piece. Owner: the session. */
#ifndef MVS_RUNTIME_RECORDING_H
#define MVS_RUNTIME_RECORDING_H

#include "runtime/session.h"

typedef struct mvs_recording mvs_recording;

/* Prepares work. `run` gives it to the device, by calls and by clears and copies within the
 * device; each run must do the same at the same addresses, and nothing that waits or that
 * copies to or from the host. */
mvs_recording *mvs_recording_new(mvs_session *session, mvs_status (*run)(void *user),
                                 void *user);
/* Does it. errors : those of `run` */
mvs_status mvs_recording_run(mvs_recording *recording);
/* Gives up what the device recorded; the session does it at its end. */
void mvs_recording_free(mvs_recording *recording);

#endif
