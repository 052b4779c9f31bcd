/* run_record.c: the files of a run's folder, read line by line from where reading stopped.
 *
 * A run that goes on and one that ended are read by the same code: a refresh takes whole lines
 * behind the offset and leaves the rest. Going back to a checkpoint cuts the files, and new
 * lines may have grown over the cut by the time we look: a file that does not have the line
 * before the offset any more is read anew from its start. */
#include "runtime/run_record.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/input_file.h"
#include "compiler/base/source.h"
#include "runtime/fail.h"
#include "runtime/json_text.h"
#include "runtime/median.h"
#include "runtime/observation.h"

/* Buckets: more points than a curve has pixels on most screens, fewer columns for maps, of
 * which a run may have thousands of rows. */
#define METRIC_BUCKETS 1024
#define TABLE_BUCKETS  256
/* What a page should not be burdened with; a grid of samples is some 10 KB. */
#define MOST_PICTURES      24
#define MOST_PICTURE_BYTES ((size_t)8 << 20)

static const char *const level_names[] = {"note", "warning", "collapse"};

const char *mvs_alarm_level_name(mvs_alarm_level level) { return level_names[level]; }

/* --- run.json --- */

/* Absent from the records of older runs: then NULL. */
static const char *string_of(mvs_run_record *record, const json_t *object, const char *name) {
  const char *value = json_string_value(json_object_get(object, name));
  return value ? mvs_arena_string(record->home, value) : NULL;
}

/* -1 for what is missing or no whole number. */
static int64_t count_of(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* Texts by name, as run_folder.c writes them; a list that is not there is empty. */
static mvs_status read_texts(mvs_run_record *record, const char *path, json_t *object,
                             mvs_run_settings *out) {
  const char *name;
  json_t *value;
  json_object_foreach(object, name, value) {
    if (!json_is_string(value))
      return MVS_FAIL(record->diag, MVS_ERR_FORMAT, "'%s' is damaged: '%s' is no string", path,
                      name);
    mvs_run_setting setting = {mvs_arena_string(record->home, name),
                               mvs_arena_string(record->home, json_string_value(value))};
    MVS_PUSH(record->home, out, setting);
  }
  return MVS_OK;
}

/* Some of it is missing from the records of older runs. */
static mvs_status read_run(mvs_run_record *record, const char *path, json_t *run) {
  json_t *options = json_object_get(run, "options");
  if (!json_is_object(options))
    return MVS_FAIL(record->diag, MVS_ERR_FORMAT, "'%s' is damaged: it describes no run", path);
  record->model = string_of(record, run, "model");
  record->residual = string_of(record, run, "residual");
  record->version = string_of(record, run, "version");
  record->device = string_of(record, run, "device");
  record->parameters = count_of(run, "parameters");
  record->memory_bytes = count_of(run, "memory_bytes");
  MVS_TRY(read_texts(record, path, json_object_get(run, "settings"), &record->settings));
  return read_texts(record, path, options, &record->options);
}

/* run.json is written before the first step and not again, so it is read once. */
mvs_status mvs_run_record_open(mvs_arena *home, mvs_diag *diag, const char *folder,
                               mvs_run_record *out) {
  *out = (mvs_run_record){.home = home,
                          .diag = diag,
                          .folder = mvs_arena_string(home, folder),
                          .first_bad = -1,
                          .first_loss = NAN};
  out->metrics_file.path = mvs_arena_format(home, "%s/metrics.jsonl", folder);
  out->diagnostics_file.path = mvs_arena_format(home, "%s/diagnostics.jsonl", folder);
  out->alarms_file.path = mvs_arena_format(home, "%s/alarms.jsonl", folder);
  for (size_t at = 0; at < MVS_METRIC_COUNT; at++) out->newest[at] = NAN;
  mvs_digest_start(home, MVS_METRIC_COUNT, METRIC_BUCKETS, &out->metrics);
  const char *path = mvs_arena_format(home, "%s/run.json", folder);
  if (access(path, R_OK) != 0)
    return MVS_FAIL(diag, MVS_ERR_IO, "there is no run in '%s' (no run.json)", folder);
  json_t *run;
  MVS_TRY(mvs_json_read(diag, path, &run));
  mvs_status status = read_run(out, path, run);
  json_decref(run);
  return status;
}

/* Some twenty: no table is needed. */
const char *mvs_run_record_option(const mvs_run_record *record, const char *name) {
  for (size_t at = 0; at < record->options.count; at++)
    if (strcmp(record->options.items[at].name, name) == 0)
      return record->options.items[at].value;
  return NULL;
}

/* --- one line of each file; false: the file is not the one that was read before --- */

/* What a line is taken into. `scratch` lasts for one refresh. */
typedef struct line_reader {
  mvs_run_record *record;
  mvs_arena *scratch;
  mvs_diag *diag; /* of its own, so that a second reading can forget the first's complaint */
} line_reader;

typedef mvs_status take_line(line_reader *in, const char *line, bool *follows);

/* Steps go up by what --log-every says, or the file went back. */
static mvs_status take_metrics(line_reader *in, const char *line, bool *follows) {
  mvs_run_record *record = in->record;
  mvs_observation seen;
  MVS_TRY(mvs_observation_read(in->scratch, in->diag, line, &seen));
  *follows = seen.step > record->steps;
  if (!*follows) return MVS_OK;
  const double row[MVS_METRIC_COUNT] = {seen.loss, seen.grad_norm, seen.lr, seen.seconds};
  if (record->metrics.count == 0) record->first_loss = seen.loss;
  mvs_digest_add(&record->metrics, seen.step, row);
  memcpy(record->newest, row, sizeof row);
  record->steps = seen.step;
  if (isfinite(seen.loss) && isfinite(seen.grad_norm)) return MVS_OK;
  if (record->bad_rows++ == 0) record->first_bad = seen.step;
  return MVS_OK;
}

/* The same table has the same name and places; --anchors may change between resumes, and then
 * one of the same name is another table. */
static bool is_same_table(const mvs_recorded_table *a, const mvs_table *b) {
  if (strcmp(a->name, b->name) != 0 || a->n_sites != b->n_sites || a->n_layers != b->n_layers)
    return false;
  for (size_t at = 0; at < a->n_sites; at++)
    if (strcmp(a->sites[at], b->sites[at]) != 0) return false;
  return memcmp(a->layers, b->layers, a->n_layers * sizeof *a->layers) == 0;
}

/* A table is set up when it is first seen. */
static mvs_recorded_table *find_table(mvs_run_record *record, const mvs_table *seen) {
  for (size_t at = 0; at < record->tables.count; at++)
    if (is_same_table(&record->tables.items[at], seen)) return &record->tables.items[at];
  mvs_recorded_table table = {.name = mvs_arena_string(record->home, seen->name),
                              .n_sites = seen->n_sites,
                              .n_layers = seen->n_layers};
  table.sites = MVS_ARRAY(record->home, seen->n_sites, const char *);
  table.layers = MVS_ARRAY(record->home, seen->n_layers, int64_t);
  for (size_t at = 0; at < seen->n_sites; at++)
    table.sites[at] = mvs_arena_string(record->home, seen->sites[at]);
  memcpy(table.layers, seen->layers, seen->n_layers * sizeof *seen->layers);
  size_t columns = mvs_table_columns(seen);
  mvs_digest_start(record->home, seen->n_sites * columns, TABLE_BUCKETS, &table.digest);
  MVS_PUSH(record->home, &record->tables, table);
  return &record->tables.items[record->tables.count - 1];
}

/* -1 before the first. */
static int64_t newest_step(const mvs_digest *digest) {
  return digest->count ? digest->buckets[digest->count - 1]->last : -1;
}

/* A line that does not follow has added nothing yet: its tables are all of one step. */
static mvs_status take_diagnostics(line_reader *in, const char *line, bool *follows) {
  mvs_observation seen;
  MVS_TRY(mvs_observation_read(in->scratch, in->diag, line, &seen));
  for (size_t at = 0; at < seen.n_tables; at++) {
    mvs_recorded_table *table = find_table(in->record, &seen.tables[at]);
    *follows = seen.step > newest_step(&table->digest);
    if (!*follows) return MVS_OK;
    mvs_digest_add(&table->digest, seen.step, seen.tables[at].values);
  }
  return MVS_OK;
}

/* Whatever else a line holds is for other readers. */
static mvs_status read_alarm(line_reader *in, const json_t *object, mvs_recorded_alarm *out) {
  const char *level = json_string_value(json_object_get(object, "level"));
  const char *rule = json_string_value(json_object_get(object, "rule"));
  const char *text = json_string_value(json_object_get(object, "text"));
  size_t at = 0;
  while (level && at < MVS_ALARM_LEVELS && strcmp(level, level_names[at]) != 0) at++;
  out->step = count_of(object, "step");
  if (out->step < 0 || !level || at == MVS_ALARM_LEVELS || !rule || !text)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT,
                    "an alarm is a step, a level (note, warning, collapse), a rule and a text");
  out->level = (mvs_alarm_level)at;
  out->rule = mvs_arena_string(in->record->home, rule);
  out->text = mvs_arena_string(in->record->home, text);
  return MVS_OK;
}

/* Several alarms may be of one step, so only a step that goes back shows another file. */
static mvs_status take_alarm(line_reader *in, const char *line, bool *follows) {
  mvs_run_record *record = in->record;
  mvs_recorded_alarm alarm = {0};
  json_error_t error;
  json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
  if (!object) return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "not a line of JSON: %s", error.text);
  mvs_status status = read_alarm(in, object, &alarm);
  json_decref(object);
  MVS_TRY(status);
  const mvs_recorded_alarm *last =
      record->alarms.count ? &record->alarms.items[record->alarms.count - 1] : NULL;
  *follows = !last || alarm.step >= last->step;
  if (*follows) MVS_PUSH(record->home, &record->alarms, alarm);
  return MVS_OK;
}

/* --- forgetting, for files that are read anew --- */

/* Memory of buckets is kept for the reading that follows. */
static void forget_metrics(mvs_run_record *record) {
  mvs_digest_clear(&record->metrics);
  record->steps = record->bad_rows = 0;
  record->first_bad = -1;
}

/* A table that does not come again stays empty, and an empty one is none. */
static void forget_diagnostics(mvs_run_record *record) {
  for (size_t at = 0; at < record->tables.count; at++)
    mvs_digest_clear(&record->tables.items[at].digest);
}

/* Their words stay in the arena. */
static void forget_alarms(mvs_run_record *record) { record->alarms.count = 0; }

/* --- following a file --- */

/* FNV-1a: tells a line from the one that stood there before, no more. */
static uint64_t hash_of(const char *line, size_t length) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t at = 0; at < length; at++)
    hash = (hash ^ (unsigned char)line[at]) * 0x100000001b3u;
  return hash;
}

/* Whether the line before the offset is still there; the stream then stands at the offset. */
static bool is_same_file(const mvs_followed *file, FILE *stream, char **line, size_t *room) {
  if (fseeko(stream, file->offset - file->last_length, SEEK_SET) != 0) return false;
  if (file->offset == 0) return true;
  ssize_t length = getline(line, room, stream);
  return length == file->last_length && hash_of(*line, (size_t)length) == file->last_hash;
}

/* Reads whole lines behind the offset. *follows is false when the file is another one. */
static mvs_status read_lines(line_reader *in, mvs_followed *file, FILE *stream, take_line *take,
                             bool *follows) {
  char *line = NULL;
  size_t room = 0;
  mvs_status status = MVS_OK;
  *follows = is_same_file(file, stream, &line, &room);
  while (status == MVS_OK && *follows) {
    ssize_t length = getline(&line, &room, stream);
    if (length < 0 && !feof(stream))
      status =
          MVS_FAIL(in->diag, MVS_ERR_IO, "cannot read '%s': %s", file->path, strerror(errno));
    if (length <= 0 || line[length - 1] != '\n') break;
    status = take(in, line, follows);
    file->lines++;
    file->offset += length;
    file->last_length = length;
    file->last_hash = hash_of(line, (size_t)length);
  }
  free(line);
  return status;
}

/* A missing file has no lines. */
static mvs_status read_on(line_reader *in, mvs_followed *file, take_line *take, bool *follows) {
  const char *why;
  FILE *stream = mvs_input_stream(file->path, &why);
  *follows = file->offset == 0;
  if (!stream && access(file->path, F_OK) != 0 && errno == ENOENT) return MVS_OK;
  if (!stream) return MVS_FAIL(in->diag, MVS_ERR_IO, "cannot read '%s': %s", file->path, why);
  mvs_status status = read_lines(in, file, stream, take, follows);
  if (status == MVS_OK && ferror(stream))
    status = MVS_FAIL(in->diag, MVS_ERR_IO, "cannot read '%s' to its end", file->path);
  fclose(stream);
  return status;
}

/* The cut may also happen while we read: what a reading from the start says counts. */
static mvs_status follow(line_reader *in, mvs_followed *file, take_line *take,
                         void (*forget)(mvs_run_record *record)) {
  bool follows;
  bool from_start = file->offset == 0;
  in->diag = mvs_diag_new(in->scratch);
  mvs_status status = read_on(in, file, take, &follows);
  if (!from_start && (status != MVS_OK || !follows)) {
    forget(in->record);
    file->offset = file->lines = file->last_length = 0;
    in->diag = mvs_diag_new(in->scratch);
    status = read_on(in, file, take, &follows);
  }
  if (status == MVS_OK && follows) return MVS_OK;
  if (status == MVS_OK)
    status = MVS_FAIL(in->diag, MVS_ERR_FORMAT, "its step does not follow the one before");
  mvs_diag_join(in->record->diag, in->diag);
  if (status == MVS_ERR_FORMAT)
    mvs_diag_hint(in->record->diag, "line %" PRId64 " of '%s'", file->lines, file->path);
  return status;
}

/* What lines are parsed into goes after each refresh. */
mvs_status mvs_run_record_refresh(mvs_run_record *record) {
  mvs_arena *scratch = mvs_arena_new();
  line_reader in = {.record = record, .scratch = scratch};
  mvs_status status = follow(&in, &record->metrics_file, take_metrics, forget_metrics);
  if (status == MVS_OK)
    status = follow(&in, &record->diagnostics_file, take_diagnostics, forget_diagnostics);
  if (status == MVS_OK) status = follow(&in, &record->alarms_file, take_alarm, forget_alarms);
  mvs_arena_free(scratch);
  return status;
}

/* --- pictures --- */

/* For scandir. */
static int is_picture(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return strncmp(entry->d_name, "samples", 7) == 0 && length > 4 &&
         strcmp(entry->d_name + length - 4, ".png") == 0;
}

/* It is shown as it is, so what is no PNG is refused here and not by a browser. */
static mvs_status read_picture(mvs_run_record *record, mvs_diag *diag, const char *name) {
  static const unsigned char signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const char *path = mvs_arena_format(record->album, "%s/%s", record->folder, name);
  mvs_source *file;
  MVS_TRY(
      mvs_source_read(record->album, diag, path, MOST_PICTURE_BYTES, (mvs_span){0}, &file));
  if (file->length <= sizeof signature || memcmp(file->text, signature, sizeof signature) != 0)
    return MVS_FAIL(diag, MVS_ERR_FORMAT, "'%s' is no PNG file", path);
  mvs_run_picture picture = {mvs_arena_copy(record->album, name, strlen(name) - 4),
                             (const unsigned char *)file->text, file->length};
  MVS_PUSH(record->album, &record->pictures, picture);
  return MVS_OK;
}

/* Of so many pictures every `stride`-th is shown: counted from the first, so that runs which
 * are compared show those of the same steps. */
static int stride_of(int count) {
  int stride = 1;
  while ((count - 1) / stride + 2 > MOST_PICTURES) stride *= 2;
  return stride;
}

void mvs_run_record_close(mvs_run_record *record) {
  mvs_arena_free(record->album);
  record->album = NULL;
  memset(&record->pictures, 0, sizeof record->pictures);
}

/* samples-900 stands before samples-1000, as numbers do. What keeps one from being read may
 * keep all (no descriptors, no permission), so only the first that fails is told. */
mvs_status mvs_run_record_pictures(mvs_run_record *record) {
  struct dirent **names;
  mvs_run_record_close(record);
  record->album = mvs_arena_new();
  int count = scandir(record->folder, &names, is_picture, versionsort);
  if (count < 0)
    return MVS_FAIL(record->diag, MVS_ERR_IO, "cannot read the folder '%s': %s", record->folder,
                    strerror(errno));
  mvs_status status = MVS_OK;
  mvs_diag *diag = record->diag, *untold = mvs_diag_new(record->album);
  for (int at = 0; at < count; at++) {
    bool taken = at % stride_of(count) == 0 || at == count - 1;
    mvs_status read = taken ? read_picture(record, diag, names[at]->d_name) : MVS_OK;
    if (status == MVS_OK && read != MVS_OK) {
      status = read;
      diag = untold;
    }
    free(names[at]);
  }
  free(names);
  return status;
}

/* --- figures --- */

/* Over the buckets that hold the last tenth of the steps. */
static double last_mean(const mvs_run_record *record, mvs_metric metric) {
  const mvs_digest *digest = &record->metrics;
  int64_t since = record->steps - record->steps / 10;
  double sum = 0, rows = 0;
  for (size_t at = 0; at < digest->count; at++) {
    const mvs_bucket *bucket = digest->buckets[at];
    if (bucket->last < since) continue;
    sum += bucket->sum[metric];
    rows += bucket->finite[metric];
  }
  return rows > 0 ? sum / rows : NAN;
}

/* The first step also opens devices and makes plans; a median does not mind. */
static double median_seconds(const mvs_digest *digest) {
  double means[METRIC_BUCKETS];
  size_t count = 0;
  for (size_t at = 0; at < digest->count; at++) {
    double mean = mvs_bucket_mean(digest->buckets[at], MVS_METRIC_SECONDS);
    if (isfinite(mean)) means[count++] = mean;
  }
  return mvs_median(means, count);
}

mvs_run_figures mvs_run_record_figures(const mvs_run_record *record) {
  mvs_run_figures out = {.first_loss = record->metrics.count ? record->first_loss : NAN,
                         .last_loss = last_mean(record, MVS_METRIC_LOSS),
                         .norm = last_mean(record, MVS_METRIC_GRAD_NORM),
                         .most_norm = NAN,
                         .seconds = median_seconds(&record->metrics)};
  for (size_t at = 0; at < record->metrics.count; at++)
    out.most_norm =
        fmax(out.most_norm, record->metrics.buckets[at]->most[MVS_METRIC_GRAD_NORM]);
  for (size_t at = 0; at < record->alarms.count; at++) {
    const mvs_recorded_alarm *alarm = &record->alarms.items[at];
    out.alarms[alarm->level]++;
    if (alarm->level == MVS_ALARM_COLLAPSE && !out.collapse) out.collapse = alarm;
  }
  return out;
}
