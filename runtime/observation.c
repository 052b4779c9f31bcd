/* observation.c: observations as lines of JSON, and back.
 *
 * The reader takes nothing that the writers cannot have written: a file that was edited or cut
 * is told, not guessed at, since alarms and pages are made from what it says. */
#include "runtime/observation.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#include "runtime/fail.h"
#include "runtime/json_text.h"

mvs_observation mvs_observation_at(int64_t step) {
  return (mvs_observation){
      .step = step, .loss = NAN, .grad_norm = NAN, .lr = NAN, .seconds = NAN};
}

/* A table without layers has one number a site. */
size_t mvs_table_columns(const mvs_table *table) {
  return table->n_layers ? table->n_layers : 1;
}

/* A value that nobody fills in says so. */
void mvs_table_make(mvs_arena *arena, const char *name, size_t n_sites, size_t n_layers,
                    mvs_table *out) {
  *out = (mvs_table){.name = name, .n_sites = n_sites, .n_layers = n_layers};
  size_t count = n_sites * mvs_table_columns(out);
  out->sites = MVS_ARRAY(arena, n_sites, const char *);
  out->layers = MVS_ARRAY(arena, n_layers, int64_t);
  out->values = MVS_ARRAY(arena, count, double);
  for (size_t at = 0; at < count; at++) out->values[at] = NAN;
}

const mvs_table *mvs_observation_table(const mvs_observation *seen, const char *name) {
  for (size_t at = 0; at < seen->n_tables; at++)
    if (strcmp(seen->tables[at].name, name) == 0) return &seen->tables[at];
  return NULL;
}

/* --- writing --- */

static void put_table(mvs_text *out, const mvs_table *table) {
  size_t columns = mvs_table_columns(table);
  mvs_json_string(out, table->name);
  mvs_text_add(out, ":{\"layers\":[");
  for (size_t at = 0; at < table->n_layers; at++)
    mvs_text_addf(out, "%s%" PRId64, at ? "," : "", table->layers[at]);
  mvs_text_add(out, "],\"sites\":{");
  for (size_t site = 0; site < table->n_sites; site++) {
    if (site) mvs_text_add(out, ",");
    mvs_json_string(out, table->sites[site]);
    for (size_t at = 0; at < columns; at++) {
      mvs_text_add(out, at ? "," : ":[");
      mvs_json_number(out, table->values[site * columns + at], 9);
    }
    mvs_text_add(out, "]");
  }
  mvs_text_add(out, "}}");
}

void mvs_observation_line(const mvs_observation *seen, mvs_text *out) {
  mvs_text_addf(out, "{\"step\":%" PRId64 ",\"tables\":{", seen->step);
  for (size_t at = 0; at < seen->n_tables; at++) {
    if (at) mvs_text_add(out, ",");
    put_table(out, &seen->tables[at]);
  }
  mvs_text_add(out, "}}");
}

/* --- reading --- */

/* Where what is read goes, and where complaints go. */
typedef struct reader {
  mvs_arena *arena;
  mvs_diag *diag;
} reader;

static mvs_status read_number(reader *in, const char *name, const json_t *value, double *out) {
  *out = NAN;
  if (json_is_null(value)) return MVS_OK;
  if (!json_is_number(value))
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is no number", name);
  *out = json_number_value(value);
  return MVS_OK;
}

/* Going up, so that readers may search and maps have an order. */
static mvs_status read_layers(reader *in, const char *name, const json_t *list, int64_t *out) {
  for (size_t at = 0; at < json_array_size(list); at++) {
    const json_t *value = json_array_get(list, at);
    out[at] = json_is_integer(value) ? json_integer_value(value) : -1;
    if (out[at] < 0 || (at > 0 && out[at] <= out[at - 1]))
      return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "the layers of '%s' do not go up from 0", name);
  }
  return MVS_OK;
}

static mvs_status read_site(reader *in, mvs_table *table, size_t site, const json_t *row) {
  size_t columns = mvs_table_columns(table);
  if (!json_is_array(row) || json_array_size(row) != columns)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' of '%s' has not %zu numbers",
                    table->sites[site], table->name, columns);
  for (size_t at = 0; at < columns; at++)
    MVS_TRY(read_number(in, table->sites[site], json_array_get(row, at),
                        &table->values[site * columns + at]));
  return MVS_OK;
}

/* Nothing but the two keys: a third would be of a version that knows more, and half of what it
 * says is worse than none. */
static mvs_status read_table(reader *in, const char *name, json_t *value, mvs_table *out) {
  json_t *layers = json_object_get(value, "layers"), *sites = json_object_get(value, "sites");
  if (json_object_size(value) != 2 || !json_is_array(layers) || !json_is_object(sites))
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is not a table of layers and sites", name);
  mvs_table_make(in->arena, mvs_arena_string(in->arena, name), json_object_size(sites),
                 json_array_size(layers), out);
  MVS_TRY(read_layers(in, name, layers, out->layers));
  size_t site = 0;
  const char *key;
  json_t *row;
  json_object_foreach(sites, key, row) {
    out->sites[site] = mvs_arena_string(in->arena, key);
    MVS_TRY(read_site(in, out, site++, row));
  }
  return MVS_OK;
}

static mvs_status read_tables(reader *in, json_t *value, mvs_observation *out) {
  if (!json_is_object(value))
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'tables' is no object");
  out->tables = MVS_ARRAY(in->arena, json_object_size(value), mvs_table);
  const char *key;
  json_t *table;
  json_object_foreach(value, key, table)
      MVS_TRY(read_table(in, key, table, &out->tables[out->n_tables++]));
  out->diagnosed = true;
  return MVS_OK;
}

/* Both kinds of files go through here: metrics have numbers, diagnostics tables. */
static mvs_status read_key(reader *in, const char *key, json_t *value, mvs_observation *out) {
  const struct {
    const char *name;
    double *place;
  } numbers[] = {{"loss", &out->loss},
                 {"grad_norm", &out->grad_norm},
                 {"lr", &out->lr},
                 {"seconds", &out->seconds}};
  for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
    if (strcmp(key, numbers[at].name) == 0)
      return read_number(in, key, value, numbers[at].place);
  if (strcmp(key, "tables") == 0) return read_tables(in, value, out);
  if (strcmp(key, "step") == 0) return MVS_OK; /* read before all others */
  return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is no part of an observation", key);
}

static mvs_status read_object(reader *in, json_t *object, mvs_observation *out) {
  const json_t *step = json_object_get(object, "step");
  if (!json_is_object(object))
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "an observation is an object");
  if (!json_is_integer(step) || json_integer_value(step) < 0)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'step' is no count");
  *out = mvs_observation_at(json_integer_value(step));
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) MVS_TRY(read_key(in, key, value, out));
  return MVS_OK;
}

/* What was parsed goes before the return, whatever the status: the strings were copied. */
mvs_status mvs_observation_read(mvs_arena *arena, mvs_diag *diag, const char *line,
                                mvs_observation *out) {
  reader in = {.arena = arena, .diag = diag};
  json_error_t error;
  json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
  if (!object) return MVS_FAIL(diag, MVS_ERR_FORMAT, "not a line of JSON: %s", error.text);
  mvs_status status = read_object(&in, object, out);
  json_decref(object);
  return status;
}
