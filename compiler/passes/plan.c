/* plan.c: the plan as text, and what passes ask of it: who stores a value, the bytes that
 * groups move. The dump says everything that codegen reads, a line a buffer and a line a group:
 *
 *   b33 temp f32 320*B x 8 or 1, crossing, steps 5-20
 * 8 slots kept or 1, of 320 bytes a sample; live from top-level step 5 to 20; what goes from
 *     forward to backward
 *   %12@b14[l+1]+64(1280,64,1)
 *     value 12 in buffer 14, in the slot behind the layer's, 64 elements from its start, with
 *     these strides where they are not plain */
#include "compiler/passes/plan.h"

#include <inttypes.h>

#include "compiler/passes/strides.h"

typedef struct dump {
  const mvs_function_plan *function;
  const mvs_schedule *schedule;
  mvs_text *out;
  int depth;
} dump;

static void indent(const dump *d) {
  for (int i = 0; i < d->depth; i++) mvs_text_add(d->out, "  ");
}

/* --- buffers --- */

static void dump_size(const mvs_buffer *buffer, mvs_text *out) {
  if (buffer->fixed && buffer->per_batch) {
    mvs_text_addf(out, "%" PRId64 " + %" PRId64 "*B", buffer->fixed, buffer->per_batch);
  } else if (buffer->per_batch) {
    mvs_text_addf(out, "%" PRId64 "*B", buffer->per_batch);
  } else {
    mvs_text_addf(out, "%" PRId64, buffer->fixed);
  }
}

/* "x 8 or 1": kept, and least; one number where there is no choice. */
static void dump_slots(const mvs_buffer *buffer, mvs_text *out) {
  if (buffer->slots_kept == 1 && buffer->slots_least == 1) return;
  mvs_text_addf(out, " x %" PRId64, buffer->slots_kept);
  if (buffer->slots_least != buffer->slots_kept) {
    mvs_text_addf(out, " or %" PRId64, buffer->slots_least);
  }
  if (buffer->zero_slots) {
    mvs_text_addf(out, ", %s %" PRId64 " cleared", buffer->zero_at_end ? "last" : "first",
                  buffer->zero_slots);
  }
}

static void dump_life(const mvs_buffer *buffer, mvs_text *out) {
  if (buffer->kind != MVS_BUFFER_TEMP) return;
  mvs_text_addf(out, ", steps %d-%d", buffer->first_step, buffer->last_step);
  if (buffer->home != UINT32_MAX) {
    mvs_text_addf(out, ", in region %u at %d-%d", buffer->home, buffer->body_first,
                  buffer->body_last);
  }
}

static void dump_buffers(const dump *d) {
  static const char *const kinds[] = {"input", "output", "param", "grad", "prepared", "temp"};
  for (size_t i = 0; i < d->function->buffers.count; i++) {
    const mvs_buffer *buffer = &d->function->buffers.items[i];
    indent(d);
    mvs_text_addf(d->out, "b%zu %s", i, kinds[buffer->kind]);
    if (buffer->name) mvs_text_addf(d->out, " %s", buffer->name);
    if (buffer->kind >= MVS_BUFFER_PARAM && buffer->kind <= MVS_BUFFER_PREPARED) {
      mvs_text_addf(d->out, " %u", buffer->param);
    }
    mvs_text_addf(d->out, " %s ", mvs_dtype_name(buffer->dtype));
    dump_size(buffer, d->out);
    dump_slots(buffer, d->out);
    if (buffer->crossing) mvs_text_add(d->out, ", crossing");
    dump_life(buffer, d->out);
    mvs_text_add(d->out, "\n");
  }
}

/* --- values --- */

/* "%12@b3[l+1]+64": node, buffer, slot by the layer, offset; strides where they are not plain.
 */
static void dump_value(const dump *d, mvs_id id, const mvs_place *place) {
  const mvs_type *type = mvs_graph_type(d->schedule->graph, id);
  mvs_text_addf(d->out, " %%%u", id);
  if (place->buffer == UINT32_MAX) return;
  mvs_text_addf(d->out, "@b%u", place->buffer);
  if (place->per_layer && place->shift == 0) mvs_text_add(d->out, "[l]");
  if (place->per_layer && place->shift != 0)
    mvs_text_addf(d->out, "[l%+" PRId64 "]", place->shift);
  if (place->offset) mvs_text_addf(d->out, "+%" PRId64, place->offset);
  if (mvs_strides_are_whole(type, place->strides)) return;
  for (int i = 0; i < type->rank; i++) {
    mvs_text_addf(d->out, "%s%" PRId64, i ? "," : "(", place->strides[i]);
  }
  mvs_text_add(d->out, ")");
}

static const mvs_place *place_of(const dump *d, mvs_id id) { return &d->schedule->places[id]; }

static void dump_axes(const mvs_nest_plan *nest, mvs_text *out) {
  if (nest->by_segment) mvs_text_add(out, " by segment");
  for (int i = 0; i < MVS_MAX_RANK && !nest->by_segment; i++) {
    if (nest->reduced_axes >> i & 1) mvs_text_addf(out, " over axis %d", i);
  }
}

static void dump_nest(const dump *d, const mvs_nest_plan *nest) {
  mvs_type space = nest->space;
  space.segments = NULL;
  mvs_text_add(d->out, " ");
  mvs_type_text(&space, d->out);
  dump_axes(nest, d->out);
  mvs_text_add(d->out, " loads");
  for (size_t i = 0; i < nest->leaves.count; i++) {
    dump_value(d, nest->leaves.items[i], place_of(d, nest->leaves.items[i]));
  }
  mvs_text_add(d->out, " stores");
  for (size_t i = 0; i < nest->outputs.count; i++) {
    mvs_id id = nest->outputs.items[i];
    bool placed = i < nest->store_places.count;
    dump_value(d, id, placed ? &nest->store_places.items[i] : place_of(d, id));
  }
}

/* Operands, then results: of an op with several, those that have a place. */
static void dump_heavy(const dump *d, const mvs_group *group) {
  const mvs_node *node = mvs_graph_node(d->schedule->graph, group->heavy);
  for (int i = 0; i < node->input_count; i++) {
    dump_value(d, node->inputs[i], place_of(d, node->inputs[i]));
  }
  mvs_text_add(d->out, " ->");
  if (!mvs_op_is_tuple(node->op)) {
    dump_value(d, group->heavy, place_of(d, group->heavy));
    return;
  }
  for (mvs_id id = group->heavy + 1; id < mvs_graph_size(d->schedule->graph); id++) {
    const mvs_node *get = mvs_graph_node(d->schedule->graph, id);
    if (get->op != MVS_OP_get || get->inputs[0] != group->heavy) continue;
    if (place_of(d, id)->buffer != UINT32_MAX) dump_value(d, id, place_of(d, id));
  }
}

/* --- groups --- */

static void dump_schedule(const dump *outer, const mvs_schedule *schedule);

static void dump_group(const dump *d, size_t index) {
  static const char *const classes[] = {"rows",      "columns",        "matmul",
                                        "attention", "attention_grad", "region"};
  const mvs_group *group = &d->schedule->groups.items[index];
  indent(d);
  mvs_text_addf(d->out, "%zu %s", index, classes[group->group_class]);
  if (group->region) {
    mvs_text_addf(d->out, " %s count=%" PRId64 "%s", group->region->label, group->region->count,
                  group->region->reverse ? " reverse" : "");
  }
  if (group->nests.count == 0) dump_heavy(d, group);
  for (size_t i = 0; i < group->nests.count; i++) {
    if (i) mvs_text_add(d->out, " |");
    dump_nest(d, &group->nests.items[i]);
  }
  if (group->nests.count > 0) mvs_text_addf(d->out, " : %s", group->why);
  mvs_text_addf(d->out, "%s\n", group->redo ? " (redo)" : "");
}

static void dump_schedule(const dump *outer, const mvs_schedule *schedule) {
  dump d = *outer;
  size_t bodies = 0;
  d.schedule = schedule;
  d.depth++;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    dump_group(&d, i);
    if (schedule->groups.items[i].region) dump_schedule(&d, schedule->bodies.items[bodies++]);
  }
}

void mvs_plan_dump(const mvs_plan *plan, mvs_text *out) {
  for (size_t i = 0; i < plan->functions.count; i++) {
    dump d = {&plan->functions.items[i], plan->functions.items[i].top, out, 1};
    mvs_text_addf(out, "function %s\n", plan->functions.items[i].name);
    dump_buffers(&d);
    d.depth = 0;
    dump_schedule(&d, d.schedule);
  }
}

/* --- bytes --- */

static void add_bytes(const mvs_schedule *schedule, mvs_id id, int64_t *fixed,
                      int64_t *per_batch) {
  const mvs_type *type = mvs_graph_type(schedule->graph, id);
  bool batched;
  int64_t bytes = mvs_type_elements(type, &batched) * mvs_dtype_size(type->dtype);
  *(batched ? per_batch : fixed) += bytes;
}

void mvs_schedule_writers(const mvs_schedule *schedule, int *writer) {
  mvs_id size = mvs_graph_size(schedule->graph);
  for (mvs_id id = 0; id < size; id++) writer[id] = -1;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    if (group->nests.count == 0) writer[group->heavy] = (int)i;
    for (size_t n = 0; n < group->nests.count; n++) {
      const mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t k = 0; k < nest->outputs.count; k++) writer[nest->outputs.items[k]] = (int)i;
    }
  }
  for (mvs_id id = 0; id < size; id++) {
    const mvs_node *node = mvs_graph_node(schedule->graph, id);
    if (node->op == MVS_OP_get) writer[id] = writer[node->inputs[0]];
  }
}

bool mvs_group_loaded_before(const mvs_group *group, size_t nest, mvs_id leaf) {
  for (size_t n = 0; n < nest; n++) {
    const mvs_nest_plan *other = &group->nests.items[n];
    for (size_t i = 0; i < other->leaves.count; i++) {
      if (other->leaves.items[i] == leaf) return true;
    }
  }
  return false;
}

static void add_results(const mvs_schedule *schedule, mvs_id heavy, int64_t *fixed,
                        int64_t *per_batch) {
  const mvs_graph *graph = schedule->graph;
  if (!mvs_op_is_tuple(mvs_graph_node(graph, heavy)->op)) {
    add_bytes(schedule, heavy, fixed, per_batch);
    return;
  }
  for (mvs_id id = heavy + 1; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    bool own = node->op == MVS_OP_get && node->inputs[0] == heavy && schedule->roots[id] == id;
    if (own) add_bytes(schedule, id, fixed, per_batch);
  }
}

/* Whole values, also where only a slice is read: what schedule and redo compare is which values
 * move at all. explain.c counts slices. */
void mvs_group_bytes(const mvs_schedule *schedule, const mvs_group *group, int64_t *fixed,
                     int64_t *per_batch) {
  *fixed = *per_batch = 0;
  if (group->nests.count == 0) {
    const mvs_node *node = mvs_graph_node(schedule->graph, group->heavy);
    for (int i = 0; i < node->input_count; i++) {
      add_bytes(schedule, node->inputs[i], fixed, per_batch);
    }
    add_results(schedule, group->heavy, fixed, per_batch);
  }
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->leaves.count; i++) {
      if (mvs_group_loaded_before(group, n, nest->leaves.items[i])) continue;
      add_bytes(schedule, nest->leaves.items[i], fixed, per_batch);
    }
    for (size_t i = 0; i < nest->outputs.count; i++) {
      add_bytes(schedule, nest->outputs.items[i], fixed, per_batch);
    }
  }
}

void mvs_groups_bytes(const mvs_schedule *schedule, const uint32_t *groups, size_t count,
                      int64_t *fixed, int64_t *per_batch) {
  *fixed = *per_batch = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t more, more_per_batch;
    mvs_group_bytes(schedule, &schedule->groups.items[groups[i]], &more, &more_per_batch);
    *fixed += more;
    *per_batch += more_per_batch;
  }
}
