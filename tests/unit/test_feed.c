/* The feed, and uploads, on a device whose two lanes run as late and in as mixed an order as
 * their events allow: whatever the timing, each piece of work finds what was filled for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/feed.h"
#include "runtime/upload.h"

#define BLOCKS 200 /* filled in one run */
#define BYTES  64  /* of a block */
#define MOST   (BLOCKS * 8)

/* What a lane has been given. */
typedef enum late_kind { LATE_COPY, LATE_SIGNAL, LATE_AWAIT } late_kind;
typedef struct late_work {
  late_kind kind;
  char *to;
  const char *from;
  int event;
  int64_t point; /* of the event: the signal that this is, or that it waits for */
} late_work;

typedef struct late_device {
  mvs_device table;
  late_work lanes[2][MOST];
  int given[2], done[2];
  int events;
  uint32_t haste;                  /* of the lane of work, of 8: the other lane has the rest */
  int64_t signalled[8], passed[8]; /* per event: signals given, signals done */
  uint64_t random;
} late_device;

static uint32_t draw(late_device *device, uint32_t below) {
  device->random = device->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(device->random >> 33) % below;
}

/* Does the next piece of a lane; false when there is none or it has to wait. */
static bool advance(late_device *device, int lane) {
  if (device->done[lane] == device->given[lane]) return false;
  const late_work *work = &device->lanes[lane][device->done[lane]];
  if (work->kind == LATE_AWAIT && device->passed[work->event] < work->point) return false;
  if (work->kind == LATE_COPY) memcpy(work->to, work->from, BYTES);
  if (work->kind == LATE_SIGNAL) device->passed[work->event] = work->point;
  device->done[lane]++;
  return true;
}

static int any_lane(late_device *device) {
  return draw(device, 8) < device->haste ? MVS_LANE_WORK : MVS_LANE_SENDS;
}

/* A little work, of lanes drawn by lot: less than is given, so that lanes fall behind. */
static void wander(late_device *device) {
  for (uint32_t left = draw(device, 3); left > 0; left--) advance(device, any_lane(device));
}

static void give(mvs_device *table, int lane, late_work work) {
  late_device *device = (late_device *)table;
  assert_true(device->given[lane] < MOST);
  device->lanes[lane][device->given[lane]++] = work;
  wander(device);
}

static mvs_status late_alloc(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out) {
  (void)device, (void)diag;
  *out = calloc(1, (size_t)bytes);
  assert_non_null(*out);
  return MVS_OK;
}

static void late_release(mvs_device *device, void *memory) {
  (void)device;
  free(memory);
}

static void late_send(mvs_device *device, void *to, const void *from, int64_t bytes) {
  assert_int_equal(bytes, BYTES);
  give(device, MVS_LANE_SENDS, (late_work){.kind = LATE_COPY, .to = to, .from = from});
}

static void late_copy(mvs_device *device, void *to, const void *from, int64_t bytes,
                      mvs_copy kind) {
  assert_int_equal(bytes, BYTES);
  assert_int_equal(kind, MVS_COPY_WITHIN);
  give(device, MVS_LANE_WORK, (late_work){.kind = LATE_COPY, .to = to, .from = from});
}

static mvs_status late_event_new(mvs_device *table, mvs_diag *diag, void **out) {
  late_device *device = (late_device *)table;
  (void)diag;
  assert_true(device->events < 8);
  *out = &device->passed[device->events++];
  return MVS_OK;
}

static void late_event_free(mvs_device *device, void *event) { (void)device, (void)event; }

static int number_of(late_device *device, void *event) {
  return (int)((int64_t *)event - device->passed);
}

static void late_signal(mvs_device *table, void *event, mvs_lane lane) {
  late_device *device = (late_device *)table;
  int number = number_of(device, event);
  int64_t point = ++device->signalled[number];
  give(table, lane, (late_work){.kind = LATE_SIGNAL, .event = number, .point = point});
}

static void late_await(mvs_device *table, void *event, mvs_lane lane) {
  late_device *device = (late_device *)table;
  int number = number_of(device, event);
  int64_t point = device->signalled[number];
  give(table, lane, (late_work){.kind = LATE_AWAIT, .event = number, .point = point});
}

static mvs_status late_reach(mvs_device *table, void *event, mvs_diag *diag) {
  late_device *device = (late_device *)table;
  int number = number_of(device, event);
  (void)diag;
  while (device->passed[number] < device->signalled[number]) {
    int lane = any_lane(device);
    bool any = advance(device, lane) || advance(device, 1 - lane);
    assert_true(any); /* else both lanes wait for one another */
  }
  return MVS_OK;
}

static late_device *new_device(uint64_t random) {
  late_device *device = calloc(1, sizeof *device);
  assert_non_null(device);
  device->random = random;
  device->haste = (uint32_t)(random % 9);
  device->table = (mvs_device){.name = "late",
                               .alloc = late_alloc,
                               .release = late_release,
                               .copy = late_copy,
                               .alloc_staging = late_alloc,
                               .release_staging = late_release,
                               .send = late_send,
                               .event_new = late_event_new,
                               .event_free = late_event_free,
                               .signal = late_signal,
                               .await = late_await,
                               .reach = late_reach};
  return device;
}

static void fill_and_send(mvs_feed *feed, int number) {
  char *block;
  assert_int_equal(mvs_feed_open(feed, &block), MVS_OK);
  memset(block, number, BYTES);
  mvs_feed_send(feed);
}

/* Work that reads the place is stood for by a copy out of it. */
static void one_run(uint64_t random) {
  late_device *device = new_device(random);
  static char seen[BLOCKS][BYTES];
  mvs_arena *arena = mvs_arena_new();
  mvs_session session = {.arena = arena, .diag = mvs_diag_new(arena), .device = &device->table};
  mvs_feed *feed;
  memset(seen, 0, sizeof seen);
  assert_int_equal(mvs_feed_new(&session, BYTES, &feed), MVS_OK);
  fill_and_send(feed, 1);
  for (int number = 0; number < BLOCKS; number++) {
    mvs_feed_take(feed);
    late_copy(&device->table, seen[number], mvs_feed_place(feed), BYTES, MVS_COPY_WITHIN);
    /* Some blocks are filled ahead of the work, some while it goes on, some after it. */
    wander(device);
    if (number + 1 < BLOCKS) fill_and_send(feed, (number + 2) % 128);
  }
  while (advance(device, MVS_LANE_SENDS) || advance(device, MVS_LANE_WORK)) continue;
  assert_int_equal(device->done[MVS_LANE_WORK], device->given[MVS_LANE_WORK]);
  for (int number = 0; number < BLOCKS; number++)
    for (int at = 0; at < BYTES; at++) assert_int_equal(seen[number][at], (number + 1) % 128);
  for (size_t at = 0; at < session.memory.count; at++) free(session.memory.items[at]);
  for (size_t at = 0; at < session.staging.count; at++) free(session.staging.items[at]);
  mvs_arena_free(arena);
  free(device);
}

static void blocks_come_in_order_whatever_the_timing(void **state) {
  (void)state;
  for (uint64_t random = 1; random <= 300; random++) one_run(random);
}

/* Parts sent to memory that is still to be cleared, then read by work. */
static void one_upload(uint64_t random) {
  late_device *device = new_device(random);
  static char target[BLOCKS][BYTES], seen[BLOCKS][BYTES];
  static const char zeros[BYTES];
  mvs_arena *arena = mvs_arena_new();
  mvs_session session = {.arena = arena, .diag = mvs_diag_new(arena), .device = &device->table};
  mvs_upload *upload;
  memset(seen, 0, sizeof seen);
  for (int number = 0; number < BLOCKS; number++)
    late_copy(&device->table, target[number], zeros, BYTES, MVS_COPY_WITHIN);
  assert_int_equal(mvs_upload_new(&session, BYTES, &upload), MVS_OK);
  for (int number = 0; number < BLOCKS; number++) {
    void *part;
    assert_int_equal(mvs_upload_open(upload, &part), MVS_OK);
    memset(part, (number + 1) % 128, BYTES);
    mvs_upload_send(upload, target[number], BYTES);
  }
  mvs_upload_end(upload);
  for (int number = 0; number < BLOCKS; number++)
    late_copy(&device->table, seen[number], target[number], BYTES, MVS_COPY_WITHIN);
  while (advance(device, MVS_LANE_WORK) || advance(device, MVS_LANE_SENDS)) continue;
  for (int number = 0; number < BLOCKS; number++)
    for (int at = 0; at < BYTES; at++) assert_int_equal(seen[number][at], (number + 1) % 128);
  for (size_t at = 0; at < session.staging.count; at++) free(session.staging.items[at]);
  mvs_arena_free(arena);
  free(device);
}

static void uploads_are_there_whatever_the_timing(void **state) {
  (void)state;
  for (uint64_t random = 1; random <= 300; random++) one_upload(random);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_come_in_order_whatever_the_timing),
      cmocka_unit_test(uploads_are_there_whatever_the_timing),
  };
  return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
