/* probes.c: calls of diagnostics behind the steps of a call.
 *
 * Every probe and layer has its own row of results, each number in a slot of its own, since
 * kernels may promise themselves aligned operands. They lie on the device until the step is
 * over. */
#include "runtime/probes.h"

#include <math.h>

/* Bytes between two results: more than any kernel asks for. */
#define SLOT 64

struct mvs_probes {
  mvs_session *session;
  mvs_call *call;
  const Mvs__Function *function; /* that is looked at */
  mvs_call **calls;              /* per probe; probes of one function share one */
  const int64_t *layers;
  size_t count;   /* layers */
  size_t outputs; /* the most of any function: slots of a row */
  char *results;  /* device */
  int64_t bytes;
};

/* Rows are as long as the function with the most outputs needs, so that they need no list of
 * offsets. */
static int64_t row_of(const mvs_probes *probes, size_t probe, size_t layer) {
  return (int64_t)((probe * probes->count + layer) * probes->outputs) * SLOT;
}

/* Functions over one sample have no batch; any number does. */
static mvs_status make_call(mvs_probes *probes, size_t probe) {
  const char *name = probes->function->probes[probe]->function;
  for (size_t at = 0; at < probe; at++) {
    if (strcmp(probes->function->probes[at]->function, name) != 0) continue;
    probes->calls[probe] = probes->calls[at];
    return MVS_OK;
  }
  MVS_TRY(mvs_call_new(probes->session->executor, name, mvs_call_placement(probes->call)->batch,
                       &probes->calls[probe]));
  mvs_call_set_aside(probes->calls[probe]);
  size_t outputs = mvs_call_function(probes->calls[probe])->n_outputs;
  if (outputs > probes->outputs) probes->outputs = outputs;
  return MVS_OK;
}

/* Numbers that nobody has computed are NaN. */
static mvs_status make_results(mvs_probes *probes) {
  int64_t rows = (int64_t)(probes->function->n_probes * probes->count);
  probes->bytes = rows * (int64_t)probes->outputs * SLOT;
  float *start =
      MVS_ARRAY(probes->session->arena, (size_t)probes->bytes / sizeof(float), float);
  for (size_t at = 0; at < (size_t)probes->bytes / sizeof(float); at++) start[at] = NAN;
  void *memory;
  MVS_TRY(mvs_session_upload(probes->session, start, probes->bytes, &memory));
  probes->results = memory;
  return MVS_OK;
}

mvs_status mvs_probes_new(mvs_session *session, mvs_call *call, const int64_t *layers,
                          size_t count, mvs_probes **out) {
  mvs_probes *probes = MVS_NEW(session->arena, mvs_probes);
  *probes = (mvs_probes){.session = session,
                         .call = call,
                         .function = mvs_call_function(call),
                         .layers = layers,
                         .count = count};
  probes->calls = MVS_ARRAY(session->arena, probes->function->n_probes + 1, mvs_call *);
  for (size_t at = 0; at < probes->function->n_probes; at++) MVS_TRY(make_call(probes, at));
  MVS_TRY(make_results(probes));
  *out = probes;
  return MVS_OK;
}

/* Runs one probe in one layer. */
static mvs_status run_probe(const mvs_probes *probes, size_t probe, size_t layer) {
  const Mvs__Probe *of = probes->function->probes[probe];
  mvs_call *call = probes->calls[probe];
  const Mvs__Function *function = mvs_call_function(call);
  char *row = probes->results + row_of(probes, probe, layer);
  for (size_t at = 0; at < of->n_operands; at++)
    MVS_TRY(mvs_call_bind_input(
        call, function->inputs[at]->name,
        mvs_call_operand(probes->call, of->operands[at], probes->layers[layer])));
  for (size_t at = 0; at < function->n_outputs; at++)
    MVS_TRY(mvs_call_bind_output(call, function->outputs[at]->name, row + at * SLOT));
  return mvs_call_run(call);
}

/* Called behind every step of the body, in every layer: most find no anchor, and the rest
 * compare some dozens of pairs, which is nothing beside a launch. */
static mvs_status look(void *user, uint32_t loop, uint32_t step, int64_t layer) {
  const mvs_probes *probes = user;
  size_t index = 0;
  while (index < probes->count && probes->layers[index] < layer) index++;
  if (index == probes->count || probes->layers[index] != layer) return MVS_OK;
  for (size_t at = 0; at < probes->function->n_probes; at++) {
    const Mvs__Probe *probe = probes->function->probes[at];
    if (probe->loop == loop && probe->step == step) MVS_TRY(run_probe(probes, at, index));
  }
  return MVS_OK;
}

void mvs_probes_watch(mvs_probes *probes, bool on) {
  mvs_call_watch(probes->call, on ? look : NULL, probes);
}

const void *mvs_probes_results(const mvs_probes *probes, int64_t *bytes) {
  *bytes = probes->bytes;
  return probes->results;
}

/* memcpy: a slot is aligned on the device, the staging it was brought to need not be. */
double mvs_probes_value(const mvs_probes *probes, const void *results, size_t probe,
                        size_t output, size_t layer) {
  const char *row = (const char *)results + row_of(probes, probe, layer);
  float value;
  memcpy(&value, row + output * SLOT, sizeof value);
  return value;
}

const Mvs__Function *mvs_probes_function(const mvs_probes *probes, size_t probe) {
  return mvs_call_function(probes->calls[probe]);
}

/* Each once, and a NULL behind: the memory plan counts the temporaries of the largest. */
const char *const *mvs_probes_functions(mvs_arena *arena, const Mvs__Function *function) {
  const char **names = MVS_ARRAY(arena, function->n_probes + 1, const char *);
  size_t count = 0;
  for (size_t at = 0; at < function->n_probes; at++) {
    size_t known = 0;
    while (known < count && strcmp(names[known], function->probes[at]->function) != 0) known++;
    names[known] = function->probes[at]->function;
    if (known == count) count++;
  }
  return names;
}
