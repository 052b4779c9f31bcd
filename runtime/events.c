/* events.c: TensorBoard's files: records of TFRecord framing, each an Event message.
 *
 * A record is its length (8 bytes), a checksum of the length, the message, a checksum of the
 * message; checksums are CRC32C, masked as TensorFlow does so that a checksum of data holding
 * checksums stays good. Messages go through protobuf-c (event.proto). */
#include "runtime/events.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "compiler/base/output_file.h"
#include "runtime/event.pb-c.h"
#include "runtime/fail.h"
#include "runtime/median.h"

/* With more layers than this, curves of each would hide those that sum them up. */
#define FEW_LAYERS    8
#define SESSION_START 1
#define PREFIX        "events.out.tfevents."
/* Of a time in a name: with more they would not sort by time. */
#define DIGITS 10

typedef struct events {
  mvs_diag *diag;
  const char *path;
  int descriptor; /* -1: not open */
  bool follows;   /* there are files of this run before this one */
  mvs_metrics_steps steps;
} events;

/* --- records --- */

/* CRC32C (Castagnoli, reflected), bit by bit into a table once. */
static uint32_t checksum(const uint8_t *bytes, size_t size) {
  static uint32_t table[256];
  for (uint32_t at = 0; !table[255] && at < 256; at++) {
    uint32_t value = at;
    for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
    table[at] = value;
  }
  uint32_t sum = ~0u;
  for (size_t at = 0; at < size; at++) sum = table[(sum ^ bytes[at]) & 255] ^ sum >> 8;
  sum = ~sum;
  return (sum >> 15 | sum << 17) + 0xa282ead8u;
}

/* Little-endian, whatever the machine. */
static void put_bytes(uint8_t *out, uint64_t value, int count) {
  for (int at = 0; at < count; at++) out[at] = (uint8_t)(value >> 8 * at);
}

/* One call each, so that TensorBoard may follow. */
static mvs_status write_event(events *self, mvs_arena *scratch, Tb__Event *event) {
  struct timeval now;
  gettimeofday(&now, NULL);
  event->wall_time = (double)now.tv_sec + 1e-6 * (double)now.tv_usec;
  size_t size = tb__event__get_packed_size(event);
  uint8_t *record = mvs_arena_alloc(scratch, size + 16);
  put_bytes(record, size, 8);
  put_bytes(record + 8, checksum(record, 8), 4);
  tb__event__pack(event, record + 12);
  put_bytes(record + 12 + size, checksum(record + 12, size), 4);
  if (mvs_write_all(self->descriptor, record, (int64_t)size + 16)) return MVS_OK;
  return MVS_FAIL(self->diag, MVS_ERR_IO, "cannot write '%s': %s", self->path, strerror(errno));
}

/* --- values --- */

/* The values of one event, in an arena that goes with it. */
typedef struct value_list {
  mvs_arena *home;
  MVS_LIST(Tb__Value *) values;
} value_list;

/* What is not finite is drawn too: TensorBoard marks NaN. */
static void add_value(value_list *out, const char *tag, double number) {
  Tb__Value *value = MVS_NEW(out->home, Tb__Value);
  tb__value__init(value);
  value->tag = (char *)tag;
  value->simple_value = (float)number;
  MVS_PUSH(out->home, &out->values, value);
}

/* Median and largest of those that are there; nothing where none is. */
static void add_layers(value_list *out, const char *tag, const mvs_table *table,
                       const double *row) {
  double *sorted = MVS_ARRAY(out->home, table->n_layers, double);
  size_t count = 0;
  for (size_t at = 0; at < table->n_layers; at++)
    if (isfinite(row[at])) sorted[count++] = row[at];
  if (count == 0) return;
  add_value(out, mvs_arena_format(out->home, "%s/median", tag), mvs_median(sorted, count));
  add_value(out, mvs_arena_format(out->home, "%s/largest", tag), sorted[count - 1]);
  for (size_t at = 0; table->n_layers <= FEW_LAYERS && at < table->n_layers; at++)
    if (isfinite(row[at]))
      add_value(out,
                mvs_arena_format(out->home, "%s/layer %lld", tag, (long long)table->layers[at]),
                row[at]);
}

/* "rho/blocks.ffn"; a value of the whole model has its table's name alone. */
static void add_table(value_list *out, const mvs_table *table) {
  size_t columns = mvs_table_columns(table);
  for (size_t site = 0; site < table->n_sites; site++) {
    const double *row = table->values + site * columns;
    const char *name = table->sites[site];
    const char *tag =
        *name ? mvs_arena_format(out->home, "%s/%s", table->name, name) : table->name;
    if (table->n_layers) {
      add_layers(out, tag, table, row);
    } else if (isfinite(row[0])) {
      add_value(out, tag, row[0]);
    }
  }
}

/* All that a step showed is one event. */
static mvs_status write_values(events *self, const mvs_observation *seen, mvs_arena *scratch) {
  value_list list = {.home = scratch};
  add_value(&list, "loss", seen->loss);
  add_value(&list, "grad_norm", seen->grad_norm);
  add_value(&list, "lr", seen->lr);
  add_value(&list, "seconds", seen->seconds);
  for (size_t at = 0; seen->diagnosed && at < seen->n_tables; at++)
    add_table(&list, &seen->tables[at]);
  Tb__Summary summary = TB__SUMMARY__INIT;
  summary.n_value = list.values.count, summary.value = list.values.items;
  Tb__Event event = TB__EVENT__INIT;
  event.step = seen->step;
  event.what_case = TB__EVENT__WHAT_SUMMARY, event.summary = &summary;
  return write_event(self, scratch, &event);
}

/* --- the consumer --- */

/* The steps that have a line in metrics.jsonl. */
static mvs_status take(void *self, const mvs_observation *seen) {
  events *out = self;
  bool finite = isfinite(seen->loss) && isfinite(seen->grad_norm);
  bool due = seen->step % out->steps.every == 0 || seen->step == out->steps.last;
  if (!due && finite) return MVS_OK;
  mvs_arena *scratch = mvs_arena_new();
  mvs_status status = write_values(out, seen, scratch);
  mvs_arena_free(scratch);
  return status;
}

/* TensorBoard drops what it has of this step and later ones, also from older files. */
static mvs_status take_back(void *self, int64_t step) {
  mvs_arena *scratch = mvs_arena_new();
  Tb__SessionLog log = TB__SESSION_LOG__INIT;
  log.status = SESSION_START;
  Tb__Event event = TB__EVENT__INIT;
  event.step = step + 1;
  event.what_case = TB__EVENT__WHAT_SESSION_LOG, event.session_log = &log;
  mvs_status status = write_event(self, scratch, &event);
  mvs_arena_free(scratch);
  return status;
}

/* Events were written one by one. */
static void close_file(void *self) {
  events *out = self;
  if (out->descriptor >= 0) close(out->descriptor);
  out->descriptor = -1;
}

/* The first event says the version of the format; readers want it so. A run that is gone on
 * with takes back what it will do again, all of it when it had no checkpoint yet. */
static mvs_status begin(events *self, mvs_arena *arena) {
  Tb__Event event = TB__EVENT__INIT;
  event.what_case = TB__EVENT__WHAT_FILE_VERSION;
  event.file_version = "brain.Event:2";
  MVS_TRY(write_event(self, arena, &event));
  return self->follows ? take_back(self, self->steps.after) : MVS_OK;
}

/* The number in the name of the newest file, -1 when there is none. What has a longer one is
 * somebody else's. */
static bool newest_number(const char *folder, long long *out) {
  long long newest = -1;
  DIR *open = opendir(folder);
  if (!open) return false;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0) continue;
    const char *digits = entry->d_name + strlen(PREFIX);
    bool ours = strspn(digits, "0123456789") == DIGITS;
    long long number = ours ? strtoll(digits, NULL, 10) : -1;
    if (number > newest) newest = number;
  }
  closedir(open);
  *out = newest;
  return true;
}

/* Names sort by time, which is the order in which TensorBoard reads them. A file of a run that
 * died may end within a record, behind which nothing would be read: each start has its own,
 * also within one second and when the clock went back. */
mvs_status mvs_events_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                           const mvs_metrics_steps *steps, mvs_consumers *list) {
  events *self = MVS_NEW(arena, events);
  *self = (events){.diag = diag, .steps = *steps};
  long long newest, now = (long long)time(NULL);
  if (!newest_number(folder, &newest))
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot read the folder '%s': %s", folder,
                    strerror(errno));
  self->follows = newest >= 0;
  self->path = mvs_arena_format(arena, "%s/" PREFIX "%010lld.mvcc", folder,
                                now > newest ? now : newest + 1);
  self->descriptor = open(self->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (self->descriptor < 0)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot write '%s': %s", self->path, strerror(errno));
  mvs_consumers_add(
      arena, list,
      &(mvs_consumer){.self = self, .take = take, .rewind = take_back, .close = close_file});
  return begin(self, arena);
}
