/* aside.c: two events tie the lanes together. Ranges that are read are few (some inputs of some
 * small functions), so they are a list; a hit waits for all of it, since what is aside is done
 * in order and the last of it is waited for in any case. What reads nothing is waited for by
 * its results alone. */
#include "runtime/aside.h"

typedef struct range {
  const char *from, *to;
} range;

struct mvs_aside {
  mvs_arena *arena;
  mvs_device *device;
  void *begun, *done; /* events; NULL before the first call */
  bool open;
  struct {
    range *items;
    size_t count, capacity;
  } read;
};

mvs_aside *mvs_aside_new(mvs_arena *arena, mvs_device *device) {
  mvs_aside *aside = MVS_NEW(arena, mvs_aside);
  *aside = (mvs_aside){.arena = arena, .device = device};
  return aside;
}

void mvs_aside_free(mvs_aside *aside) {
  if (aside->begun) aside->device->event_free(aside->device, aside->begun);
  if (aside->done) aside->device->event_free(aside->device, aside->done);
  aside->begun = aside->done = NULL;
}

mvs_status mvs_aside_begin(mvs_aside *aside, mvs_diag *diag) {
  mvs_device *device = aside->device;
  if (!device->set_lane) return MVS_OK;
  if (!aside->begun) MVS_TRY(device->event_new(device, diag, &aside->begun));
  if (!aside->done) MVS_TRY(device->event_new(device, diag, &aside->done));
  device->signal(device, aside->begun, MVS_LANE_WORK);
  device->await(device, aside->begun, MVS_LANE_ASIDE);
  device->set_lane(device, MVS_LANE_ASIDE);
  aside->open = true;
  return MVS_OK;
}

void mvs_aside_reads(mvs_aside *aside, const void *from, int64_t bytes) {
  range one = {from, (const char *)from + bytes};
  if (aside->device->set_lane) MVS_PUSH(aside->arena, &aside->read, one);
}

void mvs_aside_end(mvs_aside *aside) {
  mvs_device *device = aside->device;
  if (!device->set_lane) return;
  device->set_lane(device, MVS_LANE_WORK);
  device->signal(device, aside->done, MVS_LANE_ASIDE);
}

void mvs_aside_before_write(mvs_aside *aside, const void *to, int64_t bytes) {
  const char *first = to, *last = first + bytes;
  for (size_t at = 0; at < aside->read.count; at++)
    if (first < aside->read.items[at].to && aside->read.items[at].from < last) {
      mvs_aside_join(aside);
      return;
    }
}

bool mvs_aside_is_open(const mvs_aside *aside) { return aside->open; }

void mvs_aside_join(mvs_aside *aside) {
  if (!aside->open) return;
  aside->device->await(aside->device, aside->done, MVS_LANE_WORK);
  aside->open = false;
  aside->read.count = 0;
}
