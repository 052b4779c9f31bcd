/* upload.c: two stretches of staging memory in turn, sent beside the work in hand. Each has an
 * event behind its last send; the host waits for it before it writes there again. */
#include "runtime/upload.h"

#define PARTS 2

struct mvs_upload {
  mvs_device *device;
  mvs_diag *diag;
  void *staging[PARTS]; /* host */
  void *sent[PARTS];    /* events */
  int64_t count;        /* parts sent */
};

/* The memory to be filled may still be cleared: the first part waits for that. */
mvs_status mvs_upload_new(mvs_session *session, int64_t bytes, mvs_upload **out) {
  mvs_upload *upload = MVS_NEW(session->arena, mvs_upload);
  mvs_device *device = session->device;
  *upload = (mvs_upload){.device = device, .diag = session->diag};
  for (int at = 0; at < PARTS; at++) {
    MVS_TRY(mvs_session_staging(session, bytes, &upload->staging[at]));
    MVS_TRY(mvs_session_event(session, &upload->sent[at]));
  }
  device->signal(device, upload->sent[0], MVS_LANE_WORK);
  *out = upload;
  return MVS_OK;
}

mvs_status mvs_upload_open(mvs_upload *upload, void **part) {
  int64_t at = upload->count % PARTS;
  *part = upload->staging[at];
  return upload->device->reach(upload->device, upload->sent[at], upload->diag);
}

void mvs_upload_send(mvs_upload *upload, void *to, int64_t bytes) {
  mvs_device *device = upload->device;
  int64_t at = upload->count++ % PARTS;
  device->send(device, to, upload->staging[at], bytes);
  device->signal(device, upload->sent[at], MVS_LANE_SENDS);
}

void mvs_upload_end(mvs_upload *upload) {
  mvs_device *device = upload->device;
  for (int at = 0; at < PARTS; at++) device->await(device, upload->sent[at], MVS_LANE_WORK);
}
