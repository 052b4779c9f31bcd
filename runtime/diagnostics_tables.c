/* diagnostics_tables.c: which tables there are, and how numbers get into them.
 *
 *   gradient        families with layers x all layers: norms, every step
 *   gradient.outer  families outside of stacks, every step
 *   dynamics        norms over layers of writers and projections, every step
 *   ratio           of attention writers over queries, every step
 *   gain_mean, gain_max  gains of the rule x all layers
 *   any other       a probe's output: sites x anchors
 *   writer.deep     medians of g_mean, g_ctr and their ratio over deep anchors */
#include "runtime/diagnostics_tables.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/params.h"
#include "runtime/series.h"

/* Parts that the depth is divided into. */
#define STAGES 4
/* Layers from this share of the last one on are deep. */
#define DEEP 0.75
/* Bytes between two vectors: more than any kernel asks for. */
#define SPACING 64

/* One trained parameter's numbers among the vectors; -1: not computed. */
typedef struct param_vectors {
  int64_t squares, mean, most; /* bytes */
  size_t row, gain_row;        /* of its family; of its gain */
} param_vectors;

/* Where a number of a probe goes. */
typedef struct probe_cell {
  size_t probe, output, table, site;
} probe_cell;

struct mvs_diagnostics_tables {
  mvs_session *session;
  const mvs_program *program;
  const mvs_probes *probes;
  const int64_t *anchors;
  size_t anchor_count;
  int64_t layers; /* of the deepest stack */
  param_vectors *params;
  int64_t bytes;
  MVS_LIST(mvs_table) tables;
  size_t every; /* tables of every step: the first so many */
  size_t outer, dynamics, ratio, gain_mean, gain_max, deep; /* SIZE_MAX: there is none */
  MVS_LIST(probe_cell) cells;
  double *scratch; /* [3, anchors] */
};

static bool is_layered(const Mvs__Param *param) { return param->layers > 0; }

/* The whole name, without the layer: gains of one rule are rows of their own. */
static const char *gain_name(mvs_arena *arena, const Mvs__Param *param) {
  const char *at = strstr(param->name, "{i}.");
  if (!at) return param->name;
  return mvs_arena_format(arena, "%.*s%s", (int)(at - param->name), param->name, at + 4);
}

/* --- laying out --- */

/* Adds a table with room for `most` rows; sites are named as they come. */
static size_t add_table(mvs_diagnostics_tables *t, const char *name, size_t most,
                        const int64_t *layers, size_t count) {
  mvs_table table;
  mvs_table_make(t->session->arena, name, most, count, &table);
  for (size_t at = 0; at < count; at++) table.layers[at] = layers ? layers[at] : (int64_t)at;
  table.n_sites = 0;
  MVS_PUSH(t->session->arena, &t->tables, table);
  return t->tables.count - 1;
}

/* The row of that name, a new one behind the others where there is none. */
static size_t row_of(mvs_diagnostics_tables *t, size_t table, const char *site) {
  mvs_table *of = &t->tables.items[table];
  for (size_t at = 0; at < of->n_sites; at++)
    if (strcmp(of->sites[at], site) == 0) return at;
  of->sites[of->n_sites] = site;
  return of->n_sites++;
}

static int64_t reserve(mvs_diagnostics_tables *t, int64_t bytes) {
  int64_t offset = t->bytes;
  t->bytes += (bytes + SPACING - 1) / SPACING * SPACING;
  return offset;
}

static void lay_out_params(mvs_diagnostics_tables *t) {
  const mvs_program *program = t->program;
  size_t gradient = add_table(t, "gradient", program->n_params, NULL, (size_t)t->layers);
  t->outer = add_table(t, "gradient.outer", program->n_params, NULL, 0);
  t->params = MVS_ARRAY(t->session->arena, program->n_params + 1, param_vectors);
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *param = program->params[at];
    param_vectors *v = &t->params[at];
    int64_t count = is_layered(param) ? param->layers : 1;
    *v = (param_vectors){.squares = -1, .mean = -1, .most = -1};
    if (!param->trained) continue;
    v->row = row_of(t, is_layered(param) ? gradient : t->outer,
                    mvs_param_family(t->session->arena, param));
    v->squares = reserve(t, count * (int64_t)sizeof(double));
    if (!param->gain || !is_layered(param)) continue;
    v->mean = reserve(t, count * (int64_t)sizeof(float));
    v->most = reserve(t, count * (int64_t)sizeof(float));
  }
}

/* All layers, the deep ones, and the stages, each with these roles. */
static const char *const role_names[] = {"w_o", "w_2", "q", "k"};
#define ROLES 4
#define PARTS (2 + STAGES)

static void lay_out_dynamics(mvs_diagnostics_tables *t) {
  mvs_arena *arena = t->session->arena;
  t->dynamics = t->ratio = SIZE_MAX;
  if (t->program->n_sites == 0) return;
  t->dynamics = add_table(t, "dynamics", PARTS * ROLES, NULL, 0);
  t->ratio = add_table(t, "ratio", 2, NULL, 0);
  for (int part = 0; part < PARTS; part++) {
    const char *where = part == 0   ? "global"
                        : part == 1 ? "deep"
                                    : mvs_arena_format(arena, "stage%d", part - 2);
    for (size_t k = 0; k < ROLES; k++)
      row_of(t, t->dynamics, mvs_arena_format(arena, "%s.%s", where, role_names[k]));
  }
  row_of(t, t->ratio, "");
  row_of(t, t->ratio, "deep");
}

static void lay_out_gains(mvs_diagnostics_tables *t) {
  size_t count = t->program->n_params;
  t->gain_mean = t->gain_max = SIZE_MAX;
  bool any = false;
  for (size_t at = 0; at < count; at++) any = any || t->params[at].mean >= 0;
  if (!any) return;
  t->gain_mean = add_table(t, "gain_mean", count, NULL, (size_t)t->layers);
  t->gain_max = add_table(t, "gain_max", count, NULL, (size_t)t->layers);
  for (size_t at = 0; at < count; at++) {
    if (t->params[at].mean < 0) continue;
    const char *name = gain_name(t->session->arena, t->program->params[at]);
    t->params[at].gain_row = row_of(t, t->gain_mean, name);
    row_of(t, t->gain_max, name);
  }
}

static size_t find_table(const mvs_diagnostics_tables *t, const char *name) {
  size_t at = 0;
  while (at < t->tables.count && strcmp(t->tables.items[at].name, name) != 0) at++;
  return at;
}

static void lay_out_probes(mvs_diagnostics_tables *t, const Mvs__Function *grad) {
  for (size_t probe = 0; probe < grad->n_probes; probe++) {
    const Mvs__Function *function = mvs_probes_function(t->probes, probe);
    for (size_t output = 0; output < function->n_outputs; output++) {
      const char *name = function->outputs[output]->name;
      size_t table = find_table(t, name);
      if (table == t->tables.count)
        table = add_table(t, name, grad->n_probes, t->anchors, t->anchor_count);
      probe_cell cell = {probe, output, table, row_of(t, table, grad->probes[probe]->site)};
      MVS_PUSH(t->session->arena, &t->cells, cell);
    }
  }
}

static const char *const deep_names[] = {"g_mean", "g_ctr", "ratio"};

static void lay_out_deep(mvs_diagnostics_tables *t) {
  mvs_arena *arena = t->session->arena;
  size_t mean = find_table(t, "g_mean");
  t->deep = SIZE_MAX;
  if (mean == t->tables.count || t->anchor_count == 0) return;
  size_t sites = t->tables.items[mean].n_sites;
  t->deep = add_table(t, "writer.deep", 3 * sites, NULL, 0);
  for (size_t site = 0; site < sites; site++)
    for (size_t k = 0; k < 3; k++)
      row_of(
          t, t->deep,
          mvs_arena_format(arena, "%s.%s", t->tables.items[mean].sites[site], deep_names[k]));
  t->scratch = MVS_ARRAY(arena, 3 * t->anchor_count, double);
}

mvs_diagnostics_tables *mvs_diagnostics_tables_new(mvs_session *session,
                                                   const mvs_probes *probes,
                                                   const int64_t *layers, size_t count) {
  mvs_diagnostics_tables *t = MVS_NEW(session->arena, mvs_diagnostics_tables);
  *t = (mvs_diagnostics_tables){.session = session,
                                .program = session->program,
                                .probes = probes,
                                .anchors = layers,
                                .anchor_count = count};
  for (size_t at = 0; at < t->program->n_params; at++)
    if (t->program->params[at]->layers > t->layers) t->layers = t->program->params[at]->layers;
  lay_out_params(t);
  lay_out_dynamics(t);
  t->every = t->tables.count;
  if (!probes) return t;
  lay_out_gains(t);
  lay_out_probes(t, mvs_program_function(session->program, "grad"));
  lay_out_deep(t);
  return t;
}

int64_t mvs_diagnostics_vector(const mvs_diagnostics_tables *t, const Mvs__Tensor *output) {
  const char *slash = strchr(output->name, '/');
  const param_vectors *v = &t->params[strtoul(slash + 1, NULL, 10)];
  if (strncmp(output->name, "squares", 7) == 0) return v->squares;
  return strncmp(output->name, "gain_mean", 9) == 0 ? v->mean : v->most;
}

int64_t mvs_diagnostics_vector_bytes(const mvs_diagnostics_tables *t) { return t->bytes; }

/* --- filling in --- */

static double *cell(mvs_diagnostics_tables *t, size_t table, size_t row, size_t column) {
  mvs_table *of = &t->tables.items[table];
  return &of->values[row * mvs_table_columns(of) + column];
}

static const double *squares_of(const mvs_diagnostics_tables *t, const void *from,
                                size_t param) {
  return (const double *)((const char *)from + t->params[param].squares);
}

/* Parameters of one family add up. */
static void fill_gradients(mvs_diagnostics_tables *t, const void *from) {
  const size_t tables[] = {t->outer, 0};
  for (size_t k = 0; k < 2; k++) {
    mvs_table *of = &t->tables.items[tables[k]];
    size_t count = of->n_sites * mvs_table_columns(of);
    for (size_t at = 0; at < count; at++) of->values[at] = NAN;
  }
  for (size_t at = 0; at < t->program->n_params; at++) {
    const Mvs__Param *param = t->program->params[at];
    if (t->params[at].squares < 0) continue;
    bool layered = is_layered(param);
    const double *squares = squares_of(t, from, at);
    for (int64_t layer = 0; layer < (layered ? param->layers : 1); layer++) {
      double *sum = cell(t, layered ? 0 : t->outer, t->params[at].row, (size_t)layer);
      *sum = (isnan(*sum) ? 0 : *sum) + squares[layer];
    }
  }
  for (size_t k = 0; k < 2; k++) {
    mvs_table *of = &t->tables.items[tables[k]];
    size_t count = of->n_sites * mvs_table_columns(of);
    for (size_t at = 0; at < count; at++) of->values[at] = sqrt(of->values[at]);
  }
}

/* What a site's parameter is to the dynamics. */
typedef struct role {
  const char *name;
  int32_t param;
} role;

static size_t roles_of(const Mvs__Site *site, role *out) {
  if (site->writer) {
    out[0] = (role){site->attends ? "w_o" : "w_2", site->weight};
    return 1;
  }
  size_t count = 0;
  if (site->query >= 0) out[count++] = (role){"q", site->query};
  if (site->key >= 0) out[count++] = (role){"k", site->key};
  return count;
}

/* The norm of one role over layers first .. end-1; NaN where no site has it. */
static double role_norm(const mvs_diagnostics_tables *t, const void *from, const char *name,
                        int64_t first, int64_t end) {
  double sum = NAN;
  for (size_t at = 0; at < t->program->n_sites; at++) {
    role roles[2];
    size_t count = roles_of(t->program->sites[at], roles);
    for (size_t k = 0; k < count; k++) {
      if (strcmp(roles[k].name, name) != 0) continue;
      const Mvs__Param *param = t->program->params[roles[k].param];
      const double *squares = squares_of(t, from, (size_t)roles[k].param);
      for (int64_t layer = first; layer < end && layer < param->layers; layer++)
        sum = (isnan(sum) ? 0 : sum) + squares[layer];
    }
  }
  return sqrt(sum);
}

/* The released tool divides the depth so; its last stage takes what is left. */
static void fill_dynamics(mvs_diagnostics_tables *t, const void *from) {
  if (t->dynamics == SIZE_MAX) return;
  int64_t size = t->layers > STAGES ? (t->layers + STAGES - 1) / STAGES : 1;
  int64_t deep = (int64_t)(DEEP * (double)(t->layers - 1));
  size_t row = 0;
  for (int part = 0; part < PARTS; part++) {
    int64_t first = part == 0 ? 0 : part == 1 ? deep : (part - 2) * size;
    bool open = part < 2 || part == PARTS - 1;
    int64_t end = open ? t->layers : first + size;
    for (size_t k = 0; k < ROLES; k++, row++)
      *cell(t, t->dynamics, row, 0) = role_norm(t, from, role_names[k], first, end);
  }
  for (size_t part = 0; part < 2; part++) {
    double writers = *cell(t, t->dynamics, ROLES * part, 0);
    *cell(t, t->ratio, part, 0) = writers / (*cell(t, t->dynamics, ROLES * part + 2, 0) + 1e-9);
  }
}

static void fill_gains(mvs_diagnostics_tables *t, const void *from) {
  for (size_t at = 0; at < t->program->n_params; at++) {
    const param_vectors *v = &t->params[at];
    const Mvs__Param *param = t->program->params[at];
    if (v->mean < 0) continue;
    size_t row = v->gain_row;
    const float *mean = (const float *)((const char *)from + v->mean);
    const float *most = (const float *)((const char *)from + v->most);
    for (int64_t layer = 0; layer < param->layers; layer++) {
      *cell(t, t->gain_mean, row, (size_t)layer) = mean[layer];
      *cell(t, t->gain_max, row, (size_t)layer) = most[layer];
    }
  }
}

/* One writer's medians over the deep anchors: of two in the middle the lower, as the released
 * tool takes it. */
static void fill_deep_row(mvs_diagnostics_tables *t, size_t row, size_t mean, size_t centred) {
  int64_t deep = (int64_t)(DEEP * (double)t->anchors[t->anchor_count - 1]);
  size_t counts[3] = {0};
  for (size_t at = 0; at < t->anchor_count; at++) {
    double g_mean = *cell(t, mean, row, at), g_ctr = *cell(t, centred, row, at);
    const double each[] = {g_mean, g_ctr, g_mean / (g_ctr + 1e-12)};
    for (size_t k = 0; t->anchors[at] >= deep && k < 3; k++)
      if (!isnan(each[k])) t->scratch[k * t->anchor_count + counts[k]++] = each[k];
  }
  for (size_t k = 0; k < 3; k++)
    *cell(t, t->deep, 3 * row + k, 0) =
        mvs_quantile(t->scratch + k * t->anchor_count, counts[k], 0.5);
}

static void fill_probes(mvs_diagnostics_tables *t, const void *results) {
  for (size_t at = 0; at < t->cells.count; at++) {
    const probe_cell *to = &t->cells.items[at];
    for (size_t layer = 0; layer < t->anchor_count; layer++)
      *cell(t, to->table, to->site, layer) =
          mvs_probes_value(t->probes, results, to->probe, to->output, layer);
  }
  if (t->deep == SIZE_MAX) return;
  size_t mean = find_table(t, "g_mean"), centred = find_table(t, "g_ctr");
  for (size_t row = 0; row < t->tables.items[mean].n_sites; row++)
    fill_deep_row(t, row, mean, centred);
}

void mvs_diagnostics_tables_fill(mvs_diagnostics_tables *t, const void *vectors,
                                 const void *results, bool diagnosed, mvs_observation *seen) {
  fill_gradients(t, vectors);
  fill_dynamics(t, vectors);
  if (diagnosed) fill_gains(t, vectors);
  if (diagnosed && results) fill_probes(t, results);
  seen->tables = t->tables.items;
  seen->n_tables = diagnosed ? t->tables.count : t->every;
  seen->diagnosed = diagnosed;
}
