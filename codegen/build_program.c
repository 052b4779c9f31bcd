/* build_program.c: the planned module as the program's tables and its list of kernels.
 *
 * Groups become steps one to one, in their order; a region is one step that runs the steps of
 * its body for each layer, so that tables do not grow with depth. Nothing is decided here:
 * places and slots are the plan's, addresses the runtime's. */
#include <inttypes.h>
#include <xxhash.h>

#include "codegen/build_tables.h"

/* The dump of a kernel, by which equal ones are found. */
typedef struct kernel_key {
  uint64_t hash;
  const char *text;
} kernel_key;

typedef struct tables {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_build *build;
  const mvs_module *module;        /* of the part being filled */
  MVS_LIST(kernel_key) keys;       /* per kernel of the build */
  MVS_LIST(Mvs__Kernel *) records; /* the same as tables */
  /* of the function being filled */
  const mvs_function_plan *plan;
  Mvs__Function *function;
  MVS_LIST(Mvs__Loop *) loops;
  MVS_LIST(const mvs_region *) regions; /* per loop */
} tables;

typedef MVS_LIST(Mvs__Step *) step_list;

/* A copy: the tables outlive the passes' arenas. */
static char *text(const tables *t, const char *string) {
  return mvs_arena_string(t->arena, string ? string : "");
}

/* --- kernels --- */

/* Part of kernels' names, which profiles and benchmarks show. */
static const char *kind_name(mvs_kernel_class class) {
  static const char *const names[] = {"rows", "columns", "matmul", "attention",
                                      "attention_grad"};
  return names[class];
}

/* Sizes and dtypes by name: the runtime asks cuBLASLt for this product, and reads no kernel
 * form. */
static Mvs__Matmul *matmul_record(const tables *t, const mvs_matmul_shape *shape) {
  static const char *const forms[] = {
      [MVS_MATMUL_NT] = "nt", [MVS_MATMUL_NN] = "nn", [MVS_MATMUL_TN] = "tn"};
  Mvs__Matmul *out = MVS_NEW(t->arena, Mvs__Matmul);
  mvs__matmul__init(out);
  out->form = text(t, forms[shape->form]);
  out->m = mvs_tables_extent(t->arena, shape->m);
  out->n = shape->n;
  out->k = mvs_tables_extent(t->arena, shape->k);
  out->a = text(t, mvs_dtype_name(shape->a));
  out->b = text(t, mvs_dtype_name(shape->b));
  out->c = text(t, mvs_dtype_name(shape->c));
  out->bias = shape->bias;
  return out;
}

static Mvs__Attention *attention_record(const tables *t, const mvs_attention_shape *shape,
                                        bool gradient) {
  Mvs__Attention *out = MVS_NEW(t->arena, Mvs__Attention);
  mvs__attention__init(out);
  out->tokens = shape->tokens;
  out->heads = shape->heads;
  out->kv_heads = shape->kv_heads;
  out->head_dim = shape->head_dim;
  out->scale = shape->scale;
  out->dtype = text(t, mvs_dtype_name(shape->dtype));
  out->gradient = gradient;
  out->n_strides = (size_t)mvs_attention_operands(gradient);
  out->strides = MVS_ARRAY(t->arena, out->n_strides, int64_t);
  memcpy(out->strides, shape->strides, out->n_strides * sizeof *out->strides);
  return out;
}

/* Per operand, and their sums. */
static void fill_traffic(const tables *t, const mvs_kernel *kernel, const mvs_cost *cost,
                         Mvs__Kernel *out) {
  out->traffic = MVS_ARRAY(t->arena, (size_t)kernel->operand_count + 1, Mvs__Traffic *);
  for (int i = 0; i < kernel->operand_count; i++) {
    const mvs_traffic *from = &cost->operands[i];
    Mvs__Traffic *traffic = out->traffic[out->n_traffic++] = MVS_NEW(t->arena, Mvs__Traffic);
    mvs__traffic__init(traffic);
    out->read_fixed += traffic->read_fixed = (int64_t)from->read.fixed;
    out->read_per_batch += traffic->read_per_batch = (int64_t)from->read.per_batch;
    out->write_fixed += traffic->write_fixed = (int64_t)from->write.fixed;
    out->write_per_batch += traffic->write_per_batch = (int64_t)from->write.per_batch;
  }
}

/* What the runtime wants to know of a kernel without its code: costs for rooflines and for what
 * to redo, and what a library would have to compute in its place. */
static Mvs__Kernel *kernel_record(const tables *t, const mvs_kernel *kernel) {
  Mvs__Kernel *out = MVS_NEW(t->arena, Mvs__Kernel);
  mvs__kernel__init(out);
  mvs_cost cost;
  mvs_kernel_cost(kernel, &cost);
  out->name = text(t, kernel->name);
  out->kind = text(t, kind_name(kernel->kernel_class));
  out->why = text(t, kernel->why);
  fill_traffic(t, kernel, &cost, out);
  out->flops_fixed = cost.flops.fixed;
  out->flops_per_batch = cost.flops.per_batch;
  bool gradient = kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD;
  if (kernel->kernel_class == MVS_KERNEL_MATMUL) {
    out->matmul = matmul_record(t, &kernel->matmul);
  } else if (gradient || kernel->kernel_class == MVS_KERNEL_ATTENTION) {
    out->attention = attention_record(t, &kernel->attention, gradient);
  }
  return out;
}

/* The number of the kernel, or of the equal one that is there already. Equal is what dumps
 * alike: names and source lines are no part of the text, offsets of operands are in the step,
 * so that the two norms of a block are one kernel with two launches. */
static size_t intern_kernel(tables *t, mvs_kernel *kernel) {
  mvs_text dump = mvs_text_new(t->arena);
  mvs_kernel_dump(kernel, &dump);
  kernel_key key = {XXH3_64bits(dump.data, dump.length), mvs_text_string(&dump)};
  for (size_t i = 0; i < t->keys.count; i++) {
    if (t->keys.items[i].hash == key.hash && !strcmp(t->keys.items[i].text, key.text)) return i;
  }
  size_t number = t->keys.count;
  kernel->name = mvs_arena_format(t->arena, "k%zu_%s", number, kind_name(kernel->kernel_class));
  MVS_PUSH(t->arena, &t->keys, key);
  MVS_PUSH(t->arena, &t->build->kernels, kernel);
  MVS_PUSH(t->arena, &t->records, kernel_record(t, kernel));
  return number;
}

/* --- steps --- */

/* The slots of a buffer lie behind one another without gaps: one that is taken by its number
 * starts on no more than its size is a multiple of, at every batch. Before kernels are
 * compared: equal ones may assume the same. */
static void lower_alignment(const tables *t, mvs_launch *launch) {
  mvs_kernel *kernel = launch->kernel;
  for (int i = 0; i < kernel->operand_count; i++) {
    const mvs_operand *operand = &launch->operands[i];
    if (!operand->per_layer && operand->shift == 0) continue;
    const mvs_buffer *buffer = &t->plan->buffers.items[operand->buffer];
    int64_t size = mvs_dtype_size(kernel->operands[i]);
    while (buffer->fixed % (kernel->alignment[i] * size) ||
           buffer->per_batch % (kernel->alignment[i] * size)) {
      kernel->alignment[i] /= 2;
    }
  }
}

/* A launch: the kernel, found or new, and where its operands are. */
static mvs_status launch_step(tables *t, const mvs_schedule *schedule, const mvs_group *group,
                              Mvs__Step *step) {
  mvs_launch *launch;
  MVS_TRY(mvs_launch_build(t->arena, t->diag, schedule, group, &launch));
  lower_alignment(t, launch);
  int count = launch->kernel->operand_count;
  step->kernel = (int32_t)intern_kernel(t, launch->kernel);
  step->operands = MVS_ARRAY(t->arena, (size_t)count + 1, Mvs__Operand *);
  for (int i = 0; i < count; i++) {
    Mvs__Operand *out = step->operands[step->n_operands++] = MVS_NEW(t->arena, Mvs__Operand);
    mvs__operand__init(out);
    out->buffer = launch->operands[i].buffer;
    out->offset = launch->operands[i].offset;
    out->per_layer = launch->operands[i].per_layer;
    out->shift = launch->operands[i].shift;
  }
  return MVS_OK;
}

/* Loops hold steps, and steps loops. */
static mvs_status fill_steps(tables *t, const mvs_schedule *schedule, step_list *out);

/* The forward loop of a backward one has its number already: it ran before. */
static int32_t loop_of(const tables *t, const mvs_region *region) {
  for (size_t i = 0; region && i < t->regions.count; i++) {
    if (t->regions.items[i] == region) return (int32_t)i;
  }
  return -1;
}

/* --- alternatives --- */

/* The plan's lists grow in its own arena. */
static uint32_t *numbers(const tables *t, const uint32_t *items, size_t count) {
  uint32_t *out = MVS_ARRAY(t->arena, count + 1, uint32_t);
  if (count) memcpy(out, items, count * sizeof *out);
  return out;
}

/* For --explain and `info`: the shape and the source line of a value that may be redone. */
static char *what_of(const tables *t, const mvs_node *node) {
  mvs_text words = mvs_text_new(t->arena);
  mvs_type_text(&node->type, &words);
  if (node->span.source) {
    int line, column;
    mvs_span_position(node->span, &line, &column);
    mvs_text_addf(&words, " of %s:%d", node->span.source->name, line);
  }
  return text(t, mvs_text_string(&words));
}

/* Adds the cost of a step, or of all layers of a loop inside. The runtime weighs bytes saved
 * against it (docs/house.md, "Keep or redo"). */
static void add_cost(const tables *t, const Mvs__Step *step, double times,
                     Mvs__Alternative *out) {
  if (step->kernel < 0) {
    const Mvs__Loop *loop = t->loops.items[step->loop];
    for (size_t i = 0; i < loop->n_steps; i++) {
      add_cost(t, loop->steps[i], times * (double)loop->count, out);
    }
    return;
  }
  const Mvs__Kernel *kernel = t->records.items[step->kernel];
  out->bytes_fixed += (int64_t)times * (kernel->read_fixed + kernel->write_fixed);
  out->bytes_per_batch += (int64_t)times * (kernel->read_per_batch + kernel->write_per_batch);
  out->flops_fixed += times * kernel->flops_fixed;
  out->flops_per_batch += times * kernel->flops_per_batch;
}

/* Groups are steps one to one, so their numbers are those of steps. */
static void add_alternatives(const tables *t, const mvs_schedule *body, Mvs__Loop *loop) {
  loop->alternatives = MVS_ARRAY(t->arena, body->alternatives.count + 1, Mvs__Alternative *);
  for (size_t i = 0; i < body->alternatives.count; i++) {
    const mvs_alternative *from = &body->alternatives.items[i];
    Mvs__Alternative *out = MVS_NEW(t->arena, Mvs__Alternative);
    mvs__alternative__init(out);
    out->buffer = from->buffer;
    out->what = what_of(t, mvs_graph_node(body->graph, from->value));
    out->steps = numbers(t, from->groups.items, from->groups.count);
    out->n_steps = from->groups.count;
    out->own_steps = numbers(t, from->own_groups.items, from->own_groups.count);
    out->n_own_steps = from->own_groups.count;
    for (size_t k = 0; k < out->n_steps; k++) add_cost(t, loop->steps[out->steps[k]], 1, out);
    loop->alternatives[loop->n_alternatives++] = out;
  }
}

/* A loop takes its number before those inside it, as regions have in the plan. */
static mvs_status loop_step(tables *t, const mvs_schedule *body, const mvs_group *group,
                            Mvs__Step *step) {
  Mvs__Loop *loop = MVS_NEW(t->arena, Mvs__Loop);
  mvs__loop__init(loop);
  step->kernel = -1;
  step->loop = (uint32_t)t->loops.count;
  loop->label = text(t, group->region->label);
  loop->count = group->region->count;
  loop->reverse = group->region->reverse;
  loop->forward = loop_of(t, group->region->forward);
  MVS_PUSH(t->arena, &t->loops, loop);
  MVS_PUSH(t->arena, &t->regions, (const mvs_region *)group->region);
  step_list steps = {0};
  MVS_TRY(fill_steps(t, body, &steps));
  loop->steps = steps.items;
  loop->n_steps = steps.count;
  add_alternatives(t, body, loop);
  return MVS_OK;
}

/* Bodies stand in the order of their groups (schedule.c, reorder). */
static mvs_status fill_steps(tables *t, const mvs_schedule *schedule, step_list *out) {
  size_t bodies = 0;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    Mvs__Step *step = MVS_NEW(t->arena, Mvs__Step);
    mvs__step__init(step);
    if (group->group_class == MVS_GROUP_REGION) {
      MVS_TRY(loop_step(t, schedule->bodies.items[bodies++], group, step));
    } else {
      MVS_TRY(launch_step(t, schedule, group, step));
    }
    MVS_PUSH(t->arena, out, step);
  }
  return MVS_OK;
}

/* --- buffers and tensors --- */

/* The enumerations are equal in meaning, not by number: the program format is a contract. */
static Mvs__Buffer__Kind buffer_kind(mvs_buffer_kind kind) {
  switch (kind) {
    case MVS_BUFFER_INPUT:
      return MVS__BUFFER__KIND__INPUT;
    case MVS_BUFFER_OUTPUT:
      return MVS__BUFFER__KIND__OUTPUT;
    case MVS_BUFFER_PARAM:
      return MVS__BUFFER__KIND__PARAM;
    case MVS_BUFFER_GRAD:
      return MVS__BUFFER__KIND__GRAD;
    case MVS_BUFFER_PREPARED:
      return MVS__BUFFER__KIND__PREPARED;
    case MVS_BUFFER_TEMP:
      break;
  }
  return MVS__BUFFER__KIND__TEMP;
}

/* Gradients and parameters are named by the first part of a pack, since the tables have no
 * packs; the part starts where the pack does. */
static Mvs__Buffer *buffer_record(const tables *t, const mvs_buffer *buffer) {
  Mvs__Buffer *out = MVS_NEW(t->arena, Mvs__Buffer);
  mvs__buffer__init(out);
  out->kind = buffer_kind(buffer->kind);
  out->name = text(t, buffer->name);
  bool flat = buffer->kind == MVS_BUFFER_PARAM || buffer->kind == MVS_BUFFER_GRAD;
  out->param = flat ? mvs_tables_param(t->module, buffer->param) : buffer->param;
  out->rounded = buffer->kind == MVS_BUFFER_PARAM && buffer->dtype == MVS_BF16;
  out->fixed = buffer->fixed;
  out->per_batch = buffer->per_batch;
  out->slots_kept = buffer->slots_kept;
  out->slots_least = buffer->slots_least;
  out->zero_slots = buffer->zero_slots;
  out->zero_at_end = buffer->zero_at_end;
  out->crossing = buffer->crossing;
  out->first_step = buffer->first_step;
  out->last_step = buffer->last_step;
  out->body_first = buffer->body_first;
  out->body_last = buffer->body_last;
  out->home = buffer->home == UINT32_MAX ? -1 : (int32_t)buffer->home;
  return out;
}

/* Per batch as in the plan: callers know the batch when they bind it. */
static Mvs__Tensor *tensor_record(const tables *t, const char *name, const mvs_type *type,
                                  size_t buffer) {
  Mvs__Tensor *out = MVS_NEW(t->arena, Mvs__Tensor);
  mvs__tensor__init(out);
  out->name = text(t, name);
  out->dtype = text(t, mvs_dtype_name(type->dtype));
  out->buffer = (uint32_t)buffer;
  out->dims = MVS_ARRAY(t->arena, MVS_MAX_RANK, Mvs__Extent *);
  for (int i = 0; i < type->rank; i++) {
    out->dims[out->n_dims++] = mvs_tables_extent(t->arena, type->dims[i]);
  }
  return out;
}

/* The type of the function's input or result of that name, or NULL. */
static const mvs_type *interface_type(const mvs_graph *graph, bool output, const char *name) {
  if (output) {
    const mvs_results *results = mvs_graph_result_list(graph);
    for (size_t i = 0; i < results->count; i++) {
      const char *result = results->items[i].name;
      if (result && !strcmp(result, name)) {
        return mvs_graph_type(graph, results->items[i].id);
      }
    }
    return NULL;
  }
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op == MVS_OP_input && !strcmp(node->attr.input.name, name)) return &node->type;
  }
  return NULL;
}

/* The plan's buffers say how many bytes, the graph says which shape. */
static mvs_status add_tensor(tables *t, size_t buffer) {
  const mvs_buffer *from = &t->plan->buffers.items[buffer];
  bool output = from->kind == MVS_BUFFER_OUTPUT;
  const mvs_type *type = interface_type(t->plan->top->graph, output, from->name);
  if (!type) {
    mvs_diag_error(t->diag, (mvs_span){0}, "internal error: function %s has no %s named %s",
                   t->plan->name, output ? "result" : "input", from->name);
    return MVS_ERR_INTERNAL;
  }
  Mvs__Tensor *tensor = tensor_record(t, from->name, type, buffer);
  if (output) {
    t->function->outputs[t->function->n_outputs++] = tensor;
  } else {
    t->function->inputs[t->function->n_inputs++] = tensor;
  }
  return MVS_OK;
}

/* Records stand in the order of the plan, so that the numbers in places are theirs. */
static mvs_status fill_buffers(tables *t) {
  size_t count = t->plan->buffers.count;
  t->function->buffers = MVS_ARRAY(t->arena, count + 1, Mvs__Buffer *);
  t->function->inputs = MVS_ARRAY(t->arena, count + 1, Mvs__Tensor *);
  t->function->outputs = MVS_ARRAY(t->arena, count + 1, Mvs__Tensor *);
  for (size_t i = 0; i < count; i++) {
    const mvs_buffer *buffer = &t->plan->buffers.items[i];
    t->function->buffers[t->function->n_buffers++] = buffer_record(t, buffer);
    if (buffer->kind == MVS_BUFFER_INPUT || buffer->kind == MVS_BUFFER_OUTPUT) {
      MVS_TRY(add_tensor(t, i));
    }
  }
  return MVS_OK;
}

/* Only "grad" is looked at. */
static void fill_probes(const tables *t, const mvs_plan *whole) {
  if (strcmp(t->plan->name, "grad") != 0) return;
  const mvs_schedule *top = t->plan->top;
  uint32_t *loops = MVS_ARRAY(t->arena, top->bodies.count + 1, uint32_t);
  for (size_t i = 0; i < top->bodies.count; i++) {
    loops[i] = (uint32_t)loop_of(t, top->bodies.items[i]->region);
  }
  mvs_tables_probes(t->arena, t->module, whole, t->plan, loops, t->function);
}

/* Buffers first: steps name them by number. Probes last: they name loops and steps. */
static mvs_status fill_function(tables *t, const mvs_plan *whole, const mvs_function_plan *plan,
                                Mvs__Function **out) {
  Mvs__Function *function = MVS_NEW(t->arena, Mvs__Function);
  mvs__function__init(function);
  t->plan = plan;
  t->function = function;
  t->loops.count = t->regions.count = 0;
  t->loops.capacity = 0; /* the last function keeps its list */
  t->loops.items = NULL;
  function->name = text(t, plan->name);
  MVS_TRY(fill_buffers(t));
  step_list steps = {0};
  MVS_TRY(fill_steps(t, plan->top, &steps));
  function->steps = steps.items;
  function->n_steps = steps.count;
  function->loops = t->loops.items;
  function->n_loops = t->loops.count;
  fill_probes(t, whole);
  *out = function;
  return MVS_OK;
}

/* --- specialisations --- */

/* Functions of one specialisation share kernels with those of others where their dumps agree.
 */
static mvs_status fill_part(tables *t, const mvs_build_part *part, int32_t specialisation,
                            mvs_program *program) {
  t->module = part->module;
  for (size_t i = 0; i < part->plan->functions.count; i++) {
    Mvs__Function **function = &program->functions[program->n_functions];
    MVS_TRY(fill_function(t, part->plan, &part->plan->functions.items[i], function));
    (*function)->specialisation = specialisation;
    program->n_functions++;
  }
  return MVS_OK;
}

/* True when two functions differ in no more than their specialisation. Compared packed: the
 * form of protobuf-c's bytes is fixed by the fields, and a field added later is compared too.
 * */
static bool same_function(mvs_arena *arena, const Mvs__Function *a, const Mvs__Function *b) {
  Mvs__Function left = *a, right = *b;
  left.specialisation = right.specialisation = 0;
  size_t size = mvs__function__get_packed_size(&left);
  if (strcmp(a->name, b->name) != 0 || size != mvs__function__get_packed_size(&right)) {
    return false;
  }
  uint8_t *bytes = mvs_arena_alloc(arena, 2 * size);
  mvs__function__pack(&left, bytes);
  mvs__function__pack(&right, bytes + size);
  return memcmp(bytes, bytes + size, size) == 0;
}

/* Functions that came out equal in all parts (those over flat buffers) stand once. Equal in
 * some parts only, they stand once for each: a function is of one specialisation or of all. */
static void merge_functions(mvs_arena *arena, mvs_program *program, size_t parts) {
  size_t kept = 0, count = program->n_functions;
  for (size_t i = 0; i < count; i++) {
    Mvs__Function *function = program->functions[i];
    if (!function) continue;
    size_t same = 1;
    for (size_t k = i + 1; k < count; k++) {
      Mvs__Function *other = program->functions[k];
      same += other && same_function(arena, function, other);
    }
    for (size_t k = i + 1; same == parts && k < count; k++) {
      Mvs__Function *other = program->functions[k];
      if (other && same_function(arena, function, other)) program->functions[k] = NULL;
    }
    if (same == parts) function->specialisation = -1;
    program->functions[kept++] = function;
  }
  program->n_functions = kept;
}

static size_t function_count(const mvs_build_part *parts, size_t count) {
  size_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += parts[i].plan->functions.count;
  return sum;
}

/* The model's tables are the first part's: parts differ in shapes of inputs alone, which each
 * specialisation says again. Kernels are interned over all parts. */
mvs_status mvs_build_parts(mvs_arena *arena, mvs_diag *diag, const char *let,
                           const mvs_build_part *parts, size_t count, mvs_build **out) {
  *out = NULL;
  mvs_build *build = MVS_NEW(arena, mvs_build);
  mvs_program *program = build->program = MVS_NEW(arena, mvs_program);
  mvs__program__init(program);
  tables t = {.arena = arena, .diag = diag, .build = build};
  MVS_TRY(mvs_tables_model(arena, diag, parts[0].module, program));
  program->functions = MVS_ARRAY(arena, function_count(parts, count) + 1, Mvs__Function *);
  program->specialisations = MVS_ARRAY(arena, count, Mvs__Specialisation *);
  for (size_t i = 0; i < count; i++) {
    MVS_TRY(fill_part(&t, &parts[i], (int32_t)i, program));
    if (count > 1) {
      mvs_tables_specialisation(arena, parts[i].value, parts[i].module, program);
    }
  }
  if (count > 1) {
    program->specialised = text(&t, let);
    merge_functions(arena, program, count);
  }
  program->kernels = t.records.items;
  program->n_kernels = t.records.count;
  *out = build;
  return MVS_OK;
}

mvs_status mvs_build_program(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                             const mvs_plan *plan, mvs_build **out) {
  mvs_build_part part = {NULL, module, plan};
  return mvs_build_parts(arena, diag, NULL, &part, 1, out);
}
