/* feed.c: two slots in turn, and an event on each side of them.
 *
 * Four orders must hold for slot s: the host writes it after its last block has left
 * (`landed`, waited for on the host); a send into it starts after its last block was taken
 * (`taken`, waited for by the lane of sends); a take reads it after the send (`landed`, waited
 * for by the lane of work); and the work that reads `place` is over before the next take
 * overwrites it, since both stand in the lane of work. */
#include "runtime/feed.h"

#include <assert.h>

typedef struct feed_slot {
  char *staging;        /* host */
  char *landing;        /* device */
  void *landed, *taken; /* events */
} feed_slot;

struct mvs_feed {
  mvs_device *device;
  mvs_diag *diag;
  int64_t bytes;
  feed_slot slots[MVS_FEED_SLOTS];
  char *place;
  int64_t sent, taken; /* blocks */
};

static mvs_status prepare_slot(mvs_session *session, int64_t bytes, feed_slot *slot) {
  void *staging, *landing;
  MVS_TRY(mvs_session_staging(session, bytes, &staging));
  MVS_TRY(mvs_session_alloc(session, bytes, &landing));
  slot->staging = staging, slot->landing = landing;
  MVS_TRY(mvs_session_event(session, &slot->landed));
  return mvs_session_event(session, &slot->taken);
}

mvs_status mvs_feed_new(mvs_session *session, int64_t bytes, mvs_feed **out) {
  mvs_feed *feed = MVS_NEW(session->arena, mvs_feed);
  void *place;
  *feed = (mvs_feed){.device = session->device, .diag = session->diag, .bytes = bytes};
  MVS_TRY(mvs_session_alloc(session, bytes, &place));
  feed->place = place;
  for (int at = 0; at < MVS_FEED_SLOTS; at++)
    MVS_TRY(prepare_slot(session, bytes, &feed->slots[at]));
  *out = feed;
  return MVS_OK;
}

mvs_status mvs_feed_open(mvs_feed *feed, char **out) {
  feed_slot *slot = &feed->slots[feed->sent % MVS_FEED_SLOTS];
  *out = slot->staging;
  return feed->device->reach(feed->device, slot->landed, feed->diag);
}

/* The slot's last block has been taken, or its `taken` would be of the one before. */
void mvs_feed_send(mvs_feed *feed) {
  mvs_device *device = feed->device;
  feed_slot *slot = &feed->slots[feed->sent % MVS_FEED_SLOTS];
  assert(feed->sent - feed->taken < MVS_FEED_SLOTS);
  device->await(device, slot->taken, MVS_LANE_SENDS);
  device->send(device, slot->landing, slot->staging, feed->bytes);
  device->signal(device, slot->landed, MVS_LANE_SENDS);
  feed->sent++;
}

void mvs_feed_take(mvs_feed *feed) {
  mvs_device *device = feed->device;
  feed_slot *slot = &feed->slots[feed->taken % MVS_FEED_SLOTS];
  assert(feed->taken < feed->sent);
  device->await(device, slot->landed, MVS_LANE_WORK);
  device->copy(device, feed->place, slot->landing, feed->bytes, MVS_COPY_WITHIN);
  device->signal(device, slot->taken, MVS_LANE_WORK);
  feed->taken++;
}

char *mvs_feed_place(const mvs_feed *feed) { return feed->place; }
