/* report_data.c: what runs say, as the JSON that the page reads.
 *
 * Curves go in bucket by bucket (step, mean, and least and most where a bucket holds several
 * rows). Tables are folded until they fit their share of the page: columns first down to
 * FEWEST, then layers, alternately. A folded cell shows the one value, among all that it stands
 * for, that lies furthest from the median of its layer: what is unusual stays to be seen. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/json_text.h"
#include "runtime/median.h"
#include "runtime/report.h"

/* Cells of all tables of a page, at about 7 bytes each: some 4 MB. */
#define MOST_CELLS 600000
/* Maps with fewer rows or columns than this say little; folding goes on only if it must. */
#define FEWEST              32
#define LEAST_CELLS_A_TABLE 2048

/* --- small parts --- */

/* Names are ours, but a table's site may hold anything. */
static void put_name(mvs_text *out, const char *name) {
  mvs_json_string(out, name);
  mvs_text_add(out, ":");
}

/* Nothing said is null. */
static void put_string(mvs_text *out, const char *name, const char *value) {
  put_name(out, name);
  if (value) {
    mvs_json_string(out, value);
  } else {
    mvs_text_add(out, "null");
  }
  mvs_text_add(out, ",");
}

/* Enough digits for tables of figures. */
static void put_figure(mvs_text *out, const char *name, double value) {
  put_name(out, name);
  mvs_json_number(out, value, 7);
  mvs_text_add(out, ",");
}

/* Counts below 0 are not known. */
static void put_count(mvs_text *out, const char *name, int64_t value) {
  put_name(out, name);
  mvs_json_number(out, value < 0 ? NAN : (double)value, 15);
  mvs_text_add(out, ",");
}

/* The comma behind the last item of a list or object goes. */
static void close_with(mvs_text *out, char end) {
  if (out->data[out->length - 1] == ',') out->length--;
  mvs_text_addf(out, "%c,", end);
}

/* RFC 4648; what is missing from the last three bytes is said by '='. */
static void put_base64(mvs_text *out, const unsigned char *bytes, size_t size) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t at = 0; at < size; at += 3) {
    size_t left = size - at;
    unsigned group = (unsigned)bytes[at] << 16 | (left > 1 ? (unsigned)bytes[at + 1] << 8 : 0) |
                     (left > 2 ? bytes[at + 2] : 0);
    char text[4] = {digits[group >> 18], digits[group >> 12 & 63],
                    left > 1 ? digits[group >> 6 & 63] : '=',
                    left > 2 ? digits[group & 63] : '='};
    mvs_text_add_bytes(out, text, sizeof text);
  }
}

/* --- curves --- */

typedef enum bucket_part { FIRST_STEP, LAST_STEP, MEAN, LEAST, MOST } bucket_part;

/* Which list of the page a bucket's number goes into. */
static double part_of(const mvs_bucket *bucket, bucket_part part, size_t cell) {
  switch (part) {
    case FIRST_STEP:
      return (double)bucket->first;
    case LAST_STEP:
      return (double)bucket->last;
    case MEAN:
      return mvs_bucket_mean(bucket, cell);
    case LEAST:
      return bucket->least[cell];
    default:
      return bucket->most[cell];
  }
}

/* Steps are whole and long; six digits of a value are more than a screen has. */
static void put_buckets(mvs_text *out, const char *name, const mvs_digest *digest,
                        bucket_part part, size_t cell) {
  int digits = part == FIRST_STEP || part == LAST_STEP ? 15 : 6;
  put_name(out, name);
  mvs_text_add(out, "[");
  for (size_t at = 0; at < digest->count; at++) {
    mvs_json_number(out, part_of(digest->buckets[at], part, cell), digits);
    mvs_text_add(out, ",");
  }
  close_with(out, ']');
}

/* A band is there only where points stand for several steps. */
static void put_curves(mvs_text *out, const mvs_digest *digest) {
  static const char *const names[MVS_METRIC_COUNT] = {"loss", "grad_norm", "lr", "seconds"};
  mvs_text_add(out, "\"curves\":{");
  put_buckets(out, "step", digest, LAST_STEP, 0);
  for (size_t cell = 0; cell < MVS_METRIC_COUNT; cell++) {
    put_name(out, names[cell]);
    mvs_text_add(out, "{");
    put_buckets(out, "mean", digest, MEAN, cell);
    if (digest->rows_a_bucket > 1) {
      put_buckets(out, "least", digest, LEAST, cell);
      put_buckets(out, "most", digest, MOST, cell);
    }
    close_with(out, '}');
  }
  close_with(out, '}');
}

/* --- tables --- */

/* One table on its way to the page: so many buckets and layers share a cell. */
typedef struct folding {
  const mvs_recorded_table *table;
  size_t columns; /* of the table: layers, or one */
  size_t buckets_a_cell, layers_a_cell;
} folding;

/* Cells that hold `count` things, so many in each. */
static size_t folded(size_t count, size_t fold) { return (count + fold - 1) / fold; }

/* Columns are halved while there are more of them than layers, then layers: maps stay about as
 * fine in both. Every turn halves what has more than two, so there is an end for any number of
 * sites. */
static folding fold_table(const mvs_recorded_table *table, size_t most_cells) {
  folding fold = {table, table->n_layers ? table->n_layers : 1, 1, 1};
  for (;;) {
    size_t steps = folded(table->digest.count, fold.buckets_a_cell);
    size_t layers = folded(fold.columns, fold.layers_a_cell);
    if (table->n_sites * steps * layers <= most_cells || (steps <= 2 && layers <= 2))
      return fold;
    if (steps > 2 && (steps >= layers || layers <= FEWEST)) {
      fold.buckets_a_cell *= 2;
    } else {
      fold.layers_a_cell *= 2;
    }
  }
}

/* Over the run, of one place; `room` holds a number a bucket. */
static double middle_of(const mvs_digest *digest, size_t cell, double *room) {
  size_t count = 0;
  for (size_t at = 0; at < digest->count; at++) {
    double mean = mvs_bucket_mean(digest->buckets[at], cell);
    if (isfinite(mean)) room[count++] = mean;
  }
  return mvs_median(room, count);
}

/* Takes `value` where it lies further from its layer's middle than what is there. */
static void take_further(double value, double middle, double *best, double *distance) {
  double here = fabs(value - middle);
  if (!isfinite(here) || here < *distance) return;
  *best = value, *distance = here;
}

/* The cell of buckets from `bucket` on and columns from `column` on; `middle` is by column. */
static double fold_cell(const folding *fold, size_t site, size_t bucket, size_t column,
                        const double *middle) {
  const mvs_digest *digest = &fold->table->digest;
  double best = NAN, distance = -1;
  for (size_t at = bucket; at < digest->count && at < bucket + fold->buckets_a_cell; at++) {
    for (size_t c = column; c < fold->columns && c < column + fold->layers_a_cell; c++) {
      size_t cell = site * fold->columns + c;
      take_further(digest->buckets[at]->least[cell], middle[c], &best, &distance);
      take_further(digest->buckets[at]->most[cell], middle[c], &best, &distance);
    }
  }
  return best;
}

/* A row a layer, step by step in each. */
static void put_site(mvs_text *out, const folding *fold, size_t site) {
  const mvs_digest *digest = &fold->table->digest;
  double *middle = MVS_ARRAY(out->home, fold->columns, double);
  double *room = MVS_ARRAY(out->home, digest->count, double);
  for (size_t at = 0; at < fold->columns; at++)
    middle[at] = middle_of(digest, site * fold->columns + at, room);
  mvs_text_add(out, "[");
  for (size_t column = 0; column < fold->columns; column += fold->layers_a_cell) {
    mvs_text_add(out, "[");
    for (size_t at = 0; at < digest->count; at += fold->buckets_a_cell) {
      mvs_json_number(out, fold_cell(fold, site, at, column, middle), 4);
      mvs_text_add(out, ",");
    }
    close_with(out, ']');
  }
  close_with(out, ']');
}

/* A cell is named by its last step and its first layer, as curves and tables of layers are. */
static void put_axes(mvs_text *out, const folding *fold) {
  const mvs_recorded_table *table = fold->table;
  mvs_text_add(out, "\"step\":[");
  for (size_t at = 0; at < table->digest.count; at += fold->buckets_a_cell) {
    size_t last = at + fold->buckets_a_cell - 1;
    if (last >= table->digest.count) last = table->digest.count - 1;
    mvs_text_addf(out, "%" PRId64 ",", table->digest.buckets[last]->last);
  }
  close_with(out, ']');
  mvs_text_add(out, "\"layers\":[");
  for (size_t at = 0; at < table->n_layers; at += fold->layers_a_cell)
    mvs_text_addf(out, "%" PRId64 ",", table->layers[at]);
  close_with(out, ']');
  put_count(out, "rows_a_cell", table->digest.rows_a_bucket * (int64_t)fold->buckets_a_cell);
  put_count(out, "layers_a_cell", (int64_t)fold->layers_a_cell);
}

/* One diagnostic of one run. */
static void put_table(mvs_text *out, const mvs_recorded_table *table, size_t most_cells) {
  folding fold = fold_table(table, most_cells);
  mvs_text_add(out, "{");
  put_string(out, "name", table->name);
  put_axes(out, &fold);
  mvs_text_add(out, "\"sites\":[");
  for (size_t site = 0; site < table->n_sites; site++) {
    mvs_text_add(out, "{");
    put_string(out, "name", table->sites[site]);
    put_name(out, "values");
    put_site(out, &fold, site);
    close_with(out, '}');
  }
  close_with(out, ']');
  close_with(out, '}');
}

/* A table that a rewind emptied is none. */
static void put_tables(mvs_text *out, const mvs_run_record *record, size_t cells) {
  size_t count = 0;
  for (size_t at = 0; at < record->tables.count; at++)
    count += record->tables.items[at].digest.count > 0;
  size_t share = count ? cells / count : 0;
  if (share < LEAST_CELLS_A_TABLE) share = LEAST_CELLS_A_TABLE;
  mvs_text_add(out, "\"tables\":[");
  for (size_t at = 0; at < record->tables.count; at++)
    if (record->tables.items[at].digest.count > 0)
      put_table(out, &record->tables.items[at], share);
  close_with(out, ']');
}

/* --- the rest of a run --- */

/* All of them: alarms are rare, and a page that left some out would lie. */
static void put_alarms(mvs_text *out, const mvs_run_record *record) {
  mvs_text_add(out, "\"alarms\":[");
  for (size_t at = 0; at < record->alarms.count; at++) {
    const mvs_recorded_alarm *alarm = &record->alarms.items[at];
    mvs_text_add(out, "{");
    put_count(out, "step", alarm->step);
    put_string(out, "level", mvs_alarm_level_name(alarm->level));
    put_string(out, "rule", alarm->rule);
    put_string(out, "text", alarm->text);
    close_with(out, '}');
  }
  close_with(out, ']');
}

/* As data of the page itself: it opens alone. */
static void put_pictures(mvs_text *out, const mvs_run_record *record) {
  mvs_text_add(out, "\"pictures\":[");
  for (size_t at = 0; at < record->pictures.count; at++) {
    const mvs_run_picture *picture = &record->pictures.items[at];
    mvs_text_add(out, "{");
    put_string(out, "name", picture->name);
    mvs_text_add(out, "\"png\":\"");
    put_base64(out, picture->bytes, picture->size);
    mvs_text_add(out, "\"},");
  }
  close_with(out, ']');
}

/* Worked out here once, so that page, table and compare.json agree. */
static void put_figures(mvs_text *out, const mvs_run_record *record) {
  mvs_run_figures figures = mvs_run_record_figures(record);
  mvs_text_add(out, "\"figures\":{");
  put_figure(out, "first_loss", figures.first_loss);
  put_figure(out, "last_loss", figures.last_loss);
  put_figure(out, "norm", figures.norm);
  put_figure(out, "most_norm", figures.most_norm);
  put_figure(out, "seconds", figures.seconds);
  close_with(out, '}');
}

static void put_texts(mvs_text *out, const char *name, const mvs_run_settings *list) {
  put_name(out, name);
  mvs_text_add(out, "{");
  for (size_t at = 0; at < list->count; at++)
    put_string(out, list->items[at].name, list->items[at].value);
  close_with(out, '}');
}

/* What a run has left behind, in the order in which the page needs it. */
static void put_record(mvs_text *out, const mvs_run_record *record, size_t cells) {
  put_string(out, "folder", record->folder);
  put_string(out, "model", record->model);
  put_string(out, "residual", record->residual);
  put_string(out, "version", record->version);
  put_string(out, "device", record->device);
  put_count(out, "parameters", record->parameters);
  put_count(out, "memory_bytes", record->memory_bytes);
  put_count(out, "steps", record->steps);
  put_count(out, "first_bad", record->first_bad);
  put_texts(out, "options", &record->options);
  put_texts(out, "settings", &record->settings);
  put_figures(out, record);
  put_curves(out, &record->metrics);
  put_tables(out, record, cells);
  put_alarms(out, record);
  put_pictures(out, record);
}

/* Every run has an equal share of the page. */
void mvs_report_data(mvs_text *out, const mvs_report *report) {
  size_t cells = report->n_runs ? MOST_CELLS / report->n_runs : 0;
  mvs_text_add(out, "{");
  put_string(out, "title", report->title);
  put_string(out, "remark", report->remark);
  put_string(out, "noun", report->noun ? report->noun : "rule");
  put_string(out, "compiler", "mvcc " MVCC_VERSION);
  mvs_text_addf(out, "\"live\":%s,\"runs\":[", report->live ? "true" : "false");
  for (size_t at = 0; at < report->n_runs; at++) {
    const mvs_report_run *run = &report->runs[at];
    mvs_text_add(out, "{");
    put_string(out, "name", run->name);
    put_string(out, "rule", run->rule);
    put_string(out, "seed", run->seed);
    put_string(out, "state", run->state);
    put_string(out, "note", run->note);
    if (run->record) put_record(out, run->record, cells);
    close_with(out, '}');
  }
  close_with(out, ']');
  close_with(out, '}');
  out->length--; /* the comma behind it */
  out->data[out->length] = '\0';
}
