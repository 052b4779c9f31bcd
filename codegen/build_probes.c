/* build_probes.c: where the values lie that diagnostics look at, and when they may be looked
 * at.
 *
 * A probe stands behind the step that completes its values; none of them may have been
 * overwritten by then. "grad" keeps nothing for it: a diagnostic whose values are not all in
 * memory at one time, or not without gaps, is left out, and --explain says so. */
#include "codegen/build_tables.h"
#include "compiler/passes/memory.h"
#include "compiler/passes/strides.h"

/* One probe being placed. */
typedef struct placing {
  mvs_arena *arena;
  const mvs_function_plan *plan; /* of "grad" */
  const mvs_schedule *body;
  const mvs_probe *probe;
} placing;

static bool stores(const mvs_schedule *body, const mvs_group *group, mvs_id id) {
  if (group->nests.count == 0) {
    const mvs_node *node = mvs_graph_node(body->graph, id);
    return group->heavy == id || (node->op == MVS_OP_get && node->inputs[0] == group->heavy);
  }
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t k = 0; k < nest->outputs.count; k++) {
      if (nest->outputs.items[k] == id) return true;
    }
  }
  return false;
}

/* The last step that stores the value or a part of it; -1: it is there from the start. Copies
 * store other places of a value and may come later, which only makes the probe wait. */
static int stored_by(const mvs_schedule *body, mvs_id id) {
  int last = -1;
  for (size_t i = 0; i < body->groups.count; i++) {
    if (stores(body, &body->groups.items[i], id)) last = (int)i;
  }
  const mvs_node *node = mvs_graph_node(body->graph, id);
  if (last >= 0 || node->op != MVS_OP_concat) return last;
  for (int i = 0; i < node->input_count; i++) {
    mvs_id part = body->roots[node->inputs[i]];
    int step = part == MVS_NONE ? -1 : stored_by(body, part);
    if (step > last) last = step;
  }
  return last;
}

/* In memory, all of it in one stretch. */
static bool is_placed(const placing *p, mvs_id id) {
  const mvs_place *place = &p->body->places[id];
  return place->buffer != UINT32_MAX &&
         mvs_strides_are_whole(mvs_graph_type(p->body->graph, id), place->strides);
}

/* Finds the step; false when there is none. A buffer of the body itself is free again behind
 * its last step; all others outlive the body.
 *   x stored by step 0, last read by 3;  f stored by step 5:  at 5 x is gone, no probe
 *   with x carried: it has a slot of its own in another buffer, so the probe stands behind 5 */
static bool find_step(const placing *p, uint32_t *out) {
  int step = 0;
  for (int i = 0; i < p->probe->count; i++) {
    if (!is_placed(p, p->probe->values[i])) return false;
    int stored = stored_by(p->body, p->probe->values[i]);
    if (stored > step) step = stored;
  }
  for (int i = 0; i < p->probe->count; i++) {
    const mvs_place *place = &p->body->places[p->probe->values[i]];
    const mvs_buffer *buffer = &p->plan->buffers.items[place->buffer];
    if (buffer->body_last >= 0 && buffer->body_last < step) return false;
  }
  *out = (uint32_t)step;
  return true;
}

/* The value that an input of the function stands for: inputs are named by their number, of one
 * digit, since there are MVS_PROBE_VALUES at most. */
static int value_of(const char *name) { return name[0] - '0'; }

/* The value's place as a launch would name it: the executor gives it to the function as input.
 * */
static Mvs__Operand *operand_of(const placing *p, int value) {
  mvs_id id = p->probe->values[value];
  const mvs_place *place = &p->body->places[id];
  mvs_dtype dtype = mvs_graph_type(p->body->graph, id)->dtype;
  mvs_operand from = mvs_place_operand(place, dtype, 0);
  Mvs__Operand *out = MVS_NEW(p->arena, Mvs__Operand);
  mvs__operand__init(out);
  out->buffer = from.buffer;
  out->offset = from.offset;
  out->per_layer = from.per_layer;
  out->shift = from.shift;
  return out;
}

/* The body of which the probe is, in the plan of "grad", with its number there. */
static const mvs_schedule *body_of(const mvs_schedule *top, const mvs_probe *probe,
                                   uint32_t *number) {
  for (size_t i = 0; i < top->bodies.count; i++) {
    if (top->bodies.items[i]->region != probe->region) continue;
    *number = (uint32_t)i;
    return top->bodies.items[i];
  }
  return NULL;
}

/* Operands in the order of the function's inputs, which is that of its buffers: an input that
 * the function came to need first may stand behind others. */
static Mvs__Probe *probe_record(const placing *p, const mvs_module *module,
                                const mvs_function_plan *function) {
  Mvs__Probe *out = MVS_NEW(p->arena, Mvs__Probe);
  mvs__probe__init(out);
  out->function = mvs_arena_string(p->arena, p->probe->function);
  out->site = mvs_arena_string(p->arena, module->sites.items[p->probe->site].name);
  out->operands = MVS_ARRAY(p->arena, MVS_PROBE_VALUES, Mvs__Operand *);
  for (size_t i = 0; i < function->buffers.count; i++) {
    const mvs_buffer *buffer = &function->buffers.items[i];
    if (buffer->kind != MVS_BUFFER_INPUT) continue;
    out->operands[out->n_operands++] = operand_of(p, value_of(buffer->name));
  }
  return out;
}

static const mvs_function_plan *plan_of(const mvs_plan *plan, const char *name) {
  for (size_t i = 0; i < plan->functions.count; i++) {
    if (!strcmp(plan->functions.items[i].name, name)) return &plan->functions.items[i];
  }
  return NULL;
}

void mvs_tables_probes(mvs_arena *arena, const mvs_module *module, const mvs_plan *plan,
                       const mvs_function_plan *grad, const uint32_t *loops,
                       Mvs__Function *out) {
  out->probes = MVS_ARRAY(arena, module->probes.count + 1, Mvs__Probe *);
  for (size_t i = 0; i < module->probes.count; i++) {
    placing p = {.arena = arena, .plan = grad, .probe = &module->probes.items[i]};
    uint32_t body = 0, step;
    p.body = body_of(grad->top, p.probe, &body);
    if (!p.body || !find_step(&p, &step)) continue;
    Mvs__Probe *record = probe_record(&p, module, plan_of(plan, p.probe->function));
    record->loop = loops[body];
    record->step = step;
    out->probes[out->n_probes++] = record;
  }
}
