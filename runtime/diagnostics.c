/* diagnostics.c: functions of diagnostics called in a step, and their results as tables.
 *
 * The tables are laid out once; each step fills in numbers. Norms of gradients come first,
 * those of every step, then what diagnosed steps have besides (diagnostics_tables.c names
 * them). */
#include "runtime/diagnostics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/diagnostics_tables.h"

/* Anchor layers of the tool released with arXiv 2605.06169. */
static const int64_t paper_anchors[] = {0,   1,   2,   4,   8,   16,  32,  48,  64,  80,
                                        96,  112, 128, 144, 160, 176, 192, 208, 224, 240,
                                        255, 272, 288, 304, 320, 336, 352, 368, 384};
#define PAPER_ANCHORS (sizeof paper_anchors / sizeof *paper_anchors)

/* What of a step is on its way. */
typedef struct slot {
  void *vectors, *probes; /* staging */
  bool diagnosed;
} slot;

struct mvs_diagnostics {
  mvs_session *session;
  mvs_diagnostics_settings settings;
  mvs_call *gradients, *gains; /* NULL where there are none */
  mvs_probes *probes;          /* NULL without diagnosed steps */
  char *vectors;               /* device: outputs of the two calls, as the tables expect them */
  mvs_diagnostics_tables *tables;
  slot slots[MVS_DIAGNOSTICS_AHEAD];
};

/* --- anchors --- */

static int64_t deepest(const mvs_program *program) {
  int64_t layers = 0;
  for (size_t at = 0; at < program->n_params; at++)
    if (program->params[at]->layers > layers) layers = program->params[at]->layers;
  return layers;
}

static int rising(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return a < b ? -1 : a > b;
}

/* Each layer once, in order. */
static void sort_anchors(mvs_diagnostics_settings *settings) {
  size_t kept = 0;
  if (settings->anchor_count == 0) return;
  qsort(settings->anchors, settings->anchor_count, sizeof *settings->anchors, rising);
  for (size_t at = 0; at < settings->anchor_count; at++)
    if (kept == 0 || settings->anchors[kept - 1] != settings->anchors[at])
      settings->anchors[kept++] = settings->anchors[at];
  settings->anchor_count = kept;
}

static mvs_status read_anchors(mvs_session *session, const char *text, int64_t layers,
                               mvs_diagnostics_settings *settings) {
  settings->anchors = MVS_ARRAY(session->arena, strlen(text) + 1, int64_t);
  for (const char *at = text;;) {
    char *end;
    long long layer = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
    if (layer < 0 || (*end != ',' && *end != '\0'))
      return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                      "--anchors needs layers such as 0,1,2, not '%s'", text);
    if (layer >= layers)
      return MVS_FAIL(session->diag, MVS_ERR_LIMIT,
                      "--anchors names layer %lld, but layers are counted from 0 to %" PRId64,
                      layer, layers - 1);
    settings->anchors[settings->anchor_count++] = layer;
    if (*end == '\0') break;
    at = end + 1;
  }
  sort_anchors(settings);
  return MVS_OK;
}

mvs_status mvs_diagnostics_anchors(mvs_session *session, mvs_diagnostics_settings *settings) {
  const char *text = mvs_option_text(session->options, "anchors", NULL);
  int64_t layers = deepest(session->program);
  settings->anchor_count = 0;
  if (text) return read_anchors(session, text, layers, settings);
  settings->anchors = MVS_ARRAY(session->arena, PAPER_ANCHORS, int64_t);
  for (size_t at = 0; at < PAPER_ANCHORS && paper_anchors[at] < layers; at++)
    settings->anchors[settings->anchor_count++] = paper_anchors[at];
  return MVS_OK;
}

/* --- preparing --- */

/* Outputs get places one behind the other, as the tables lay them out. */
static mvs_status bind_outputs(mvs_diagnostics *d, mvs_call *call) {
  const Mvs__Function *function = mvs_call_function(call);
  for (size_t at = 0; at < function->n_outputs; at++) {
    int64_t offset = mvs_diagnostics_vector(d->tables, function->outputs[at]);
    MVS_TRY(mvs_call_bind_output(call, function->outputs[at]->name, d->vectors + offset));
  }
  return MVS_OK;
}

static mvs_status prepare_calls(mvs_diagnostics *d, const mvs_diagnostics_places *places) {
  mvs_executor *executor = d->session->executor;
  if (mvs_program_function(d->session->program, "diagnose/gradients"))
    MVS_TRY(mvs_call_new(executor, "diagnose/gradients", 1, &d->gradients));
  if (d->gradients && mvs_call_has_input(d->gradients, "g"))
    MVS_TRY(mvs_call_bind_input(d->gradients, "g", places->grads));
  if (d->gradients && mvs_call_has_input(d->gradients, "rows"))
    MVS_TRY(mvs_call_bind_input(d->gradients, "rows", (void *)places->row_squares));
  if (d->settings.every == 0) return MVS_OK;
  if (mvs_program_function(d->session->program, "diagnose/gains"))
    MVS_TRY(mvs_call_new(executor, "diagnose/gains", 1, &d->gains));
  return mvs_probes_new(d->session, places->grad, d->settings.anchors, d->settings.anchor_count,
                        &d->probes);
}

static mvs_status prepare_slots(mvs_diagnostics *d) {
  int64_t bytes = 0;
  if (d->probes) mvs_probes_results(d->probes, &bytes);
  for (int at = 0; at < MVS_DIAGNOSTICS_AHEAD; at++) {
    MVS_TRY(mvs_session_staging(d->session, mvs_diagnostics_vector_bytes(d->tables),
                                &d->slots[at].vectors));
    if (bytes > 0) MVS_TRY(mvs_session_staging(d->session, bytes, &d->slots[at].probes));
  }
  return MVS_OK;
}

mvs_status mvs_diagnostics_new(mvs_session *session, const mvs_diagnostics_settings *settings,
                               const mvs_diagnostics_places *places, mvs_diagnostics **out) {
  mvs_diagnostics *d = MVS_NEW(session->arena, mvs_diagnostics);
  *d = (mvs_diagnostics){.session = session, .settings = *settings};
  MVS_TRY(prepare_calls(d, places));
  d->tables =
      mvs_diagnostics_tables_new(session, d->probes, settings->anchors, settings->anchor_count);
  void *memory;
  MVS_TRY(mvs_session_alloc(session, mvs_diagnostics_vector_bytes(d->tables), &memory));
  d->vectors = memory;
  if (d->gradients) MVS_TRY(bind_outputs(d, d->gradients));
  if (d->gains) MVS_TRY(bind_outputs(d, d->gains));
  MVS_TRY(prepare_slots(d));
  *out = d;
  return MVS_OK;
}

/* --- a step --- */

bool mvs_diagnostics_due(const mvs_diagnostics *d, int64_t step) {
  if (d->settings.every == 0 || mvs_executor_profiled(d->session->executor)) return false;
  return step == 0 || (step + 1) % d->settings.every == 0;
}

void mvs_diagnostics_watch(mvs_diagnostics *d, bool on) {
  if (d->probes) mvs_probes_watch(d->probes, on);
}

mvs_status mvs_diagnostics_gains(mvs_diagnostics *d) {
  return d->gains ? mvs_call_run(d->gains) : MVS_OK;
}

mvs_status mvs_diagnostics_norms(mvs_diagnostics *d) {
  return d->gradients ? mvs_call_run(d->gradients) : MVS_OK;
}

void mvs_diagnostics_fetch(mvs_diagnostics *d, int64_t number, bool diagnosed) {
  mvs_device *device = d->session->device;
  slot *to = &d->slots[number % MVS_DIAGNOSTICS_AHEAD];
  device->fetch(device, to->vectors, d->vectors, mvs_diagnostics_vector_bytes(d->tables));
  to->diagnosed = diagnosed;
  if (!diagnosed) return;
  int64_t bytes;
  const void *results = mvs_probes_results(d->probes, &bytes);
  if (bytes > 0) device->fetch(device, to->probes, results, bytes);
}

void mvs_diagnostics_observe(mvs_diagnostics *d, int64_t number, mvs_observation *seen) {
  const slot *from = &d->slots[number % MVS_DIAGNOSTICS_AHEAD];
  mvs_diagnostics_tables_fill(d->tables, from->vectors, from->probes, from->diagnosed, seen);
}
