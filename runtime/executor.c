/* executor.c: operands to addresses, steps to launches.
 *
 * A call is a function at one batch: where its inputs and outputs are, and a placement of
 * its temporaries in the block that all calls share. Running it walks the steps in order; a
 * loop runs its body once per layer, forwards or backwards. An operand's address is a base,
 * a slot picked by layer and shift, and an offset, so depth is arithmetic here and not a
 * list. Before a backward body the steps of its forward block that were not kept run again
 * into the same slots. Launches are in order on the device, and nothing waits. */
#include "runtime/executor.h"

#include <inttypes.h>

#include "runtime/aside.h"
#include "runtime/fail.h"

/* A profiled call of fewer launches runs as it is. */
#define WORTH_RECORDING 4
/* Operands of launches that wait. */
#define WAITING_OPERANDS    (8 * MVS_LAUNCH_OPERANDS)
#define WORKSPACE_ALIGNMENT 64

/* What all calls of one lane share, since they run one after another. */
typedef struct common_memory {
  char *block, *workspace;
  int64_t block_bytes, workspace_bytes;
} common_memory;

/* Launches that the device has not been given yet: it takes several together. */
typedef struct waiting {
  mvs_launch launches[MVS_LAUNCHES_TOGETHER];
  void *operands[WAITING_OPERANDS];
  size_t count, used; /* of both */
  int64_t workspace;  /* bytes given out */
} waiting;

struct mvs_executor {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_program *program;
  mvs_device *device;
  float *params, *grads;
  common_memory common, beside; /* of calls in the order of work, of those set aside */
  mvs_aside *aside;
  mvs_recompute recompute;
  bool apart; /* placements leave room for launches done together */
  mvs_profile *profile;
  int64_t layout;   /* counts changes of the addresses above */
  uint64_t version; /* of the weights, from 1 */
  void *rounded;    /* them in bf16, NULL until asked for */
  uint64_t rounded_version;
  mvs_prepared *prepared; /* of the present program first, then of its other views */
  waiting waiting;
};

struct mvs_call {
  mvs_executor *executor;
  const Mvs__Function *function;
  mvs_placement *placement;
  char **bases;           /* per buffer: where its first slot starts */
  char **copied_out;      /* per output that is no OUTPUT buffer: where the caller wants it */
  bool has_run;           /* once: what is recorded must have run before */
  mvs_prepared *prepared; /* where the values lie that it reads, or as "prepare" writes */
  bool reads_rounded, reads_prepared;
  bool aside;            /* runs while another call does, beside it */
  mvs_step_watch *watch; /* told of the steps of loops, NULL: nobody */
  void *watcher;
};

/* Nothing is allocated on the device before the first call runs. */
mvs_executor *mvs_executor_new(mvs_arena *arena, mvs_diag *diag, const mvs_program *program,
                               mvs_device *device) {
  mvs_executor *executor = MVS_NEW(arena, mvs_executor);
  *executor = (mvs_executor){.arena = arena, .diag = diag, .device = device, .version = 1};
  mvs_executor_set_apart(executor, true);
  executor->aside = mvs_aside_new(arena, device);
  mvs_executor_set_program(executor, program);
  return executor;
}

static void release_common(mvs_executor *executor, common_memory *memory) {
  mvs_device *device = executor->device;
  if (memory->block) device->release(device, memory->block);
  if (memory->workspace) device->release(device, memory->workspace);
  *memory = (common_memory){0};
}

/* The device must still be open. */
void mvs_executor_free(mvs_executor *executor) {
  if (!executor) return;
  for (mvs_prepared *each = executor->prepared; each; each = each->next) {
    if (each->memory) executor->device->release(executor->device, each->memory);
    each->memory = NULL;
  }
  if (executor->rounded) executor->device->release(executor->device, executor->rounded);
  executor->rounded = NULL;
  release_common(executor, &executor->common);
  release_common(executor, &executor->beside);
  mvs_aside_free(executor->aside);
}

/* Prepared values are laid out per view: what calls of another one read stays as it is. */
void mvs_executor_set_program(mvs_executor *executor, const mvs_program *program) {
  executor->program = program;
  mvs_prepared **link = &executor->prepared;
  while (*link && (*link)->program != program) link = &(*link)->next;
  mvs_prepared *found = *link ? *link : mvs_prepared_new(executor->arena, program);
  if (*link) *link = found->next;
  found->next = executor->prepared;
  executor->prepared = found;
}

/* Takes effect with the next run of any call. */
void mvs_executor_set_flats(mvs_executor *executor, float *params, float *grads) {
  executor->params = params;
  executor->grads = grads;
  executor->layout++;
  mvs_executor_weights_changed(executor, false);
}

/* A number, so that nothing has to know who depends on the weights. */
void mvs_executor_weights_changed(mvs_executor *executor, bool rounded) {
  executor->version++;
  if (rounded) executor->rounded_version = executor->version;
}

/* Taken when first asked for: commands that run no such function take none. */
mvs_status mvs_executor_rounded(mvs_executor *executor, void **out) {
  int64_t bytes = mvs_rounded_bytes(executor->program);
  if (bytes > 0 && !executor->rounded)
    MVS_TRY(
        executor->device->alloc(executor->device, bytes, executor->diag, &executor->rounded));
  *out = executor->rounded;
  return MVS_OK;
}

void mvs_executor_profile(mvs_executor *executor, mvs_profile *profile) {
  executor->profile = profile;
}

mvs_profile *mvs_executor_profiled(const mvs_executor *executor) { return executor->profile; }

int64_t mvs_executor_layout(const mvs_executor *executor) { return executor->layout; }

/* Only calls made afterwards follow it: a placement belongs to one choice. */
void mvs_executor_set_recompute(mvs_executor *executor, mvs_recompute recompute) {
  executor->recompute = recompute;
}

/* Without it launches wait for one another as memory is used again; nothing else changes. */
void mvs_executor_set_apart(mvs_executor *executor, bool apart) {
  executor->apart = apart && executor->device->launch_all;
}

bool mvs_executor_apart(const mvs_executor *executor) { return executor->apart; }

/* All dtypes of the program but these two have four bytes. */
int64_t mvs_dtype_bytes(const char *dtype) {
  if (strcmp(dtype, "bf16") == 0) return 2;
  return strcmp(dtype, "f64") == 0 ? 8 : 4;
}

/* Fits 64 bits wherever a placement was made. */
int64_t mvs_tensor_elements(const Mvs__Tensor *tensor, int64_t batch) {
  int64_t count = 1;
  for (size_t at = 0; at < tensor->n_dims; at++)
    count *= tensor->dims[at]->size * (tensor->dims[at]->per_batch ? batch : 1);
  return count;
}

/* "prepare" writes what the others read. */
static void find_prepared(mvs_call *call) {
  const Mvs__Function *function = call->function;
  call->prepared = call->executor->prepared;
  for (size_t at = 0; at < function->n_buffers; at++) {
    const Mvs__Buffer *buffer = function->buffers[at];
    bool prepared = buffer->kind == MVS__BUFFER__KIND__PREPARED;
    call->reads_prepared |= prepared && function != call->prepared->function;
    call->reads_rounded |= buffer->rounded;
  }
}

/* Inputs and outputs are bound by the caller before the first run. */
mvs_status mvs_call_new(mvs_executor *executor, const char *name, int64_t batch,
                        mvs_call **out) {
  *out = NULL;
  const Mvs__Function *function = mvs_program_function(executor->program, name);
  if (!function)
    return MVS_FAIL(executor->diag, MVS_ERR_INTERNAL,
                    "internal: the program has no function '%s'", name);
  mvs_call *call = MVS_NEW(executor->arena, mvs_call);
  call->executor = executor;
  call->function = function;
  call->bases = MVS_ARRAY(executor->arena, function->n_buffers, char *);
  call->copied_out = MVS_ARRAY(executor->arena, function->n_outputs, char *);
  MVS_TRY(mvs_placement_new(executor->arena, executor->diag, executor->program, function, batch,
                            executor->recompute, executor->apart, &call->placement));
  find_prepared(call);
  if (call->reads_prepared && !call->prepared->call)
    MVS_TRY(mvs_call_new(executor, "prepare", 1, &call->prepared->call));
  *out = call;
  return MVS_OK;
}

void mvs_call_set_aside(mvs_call *call) { call->aside = true; }

void mvs_call_watch(mvs_call *call, mvs_step_watch *watch, void *user) {
  call->watch = watch;
  call->watcher = user;
}

const Mvs__Function *mvs_call_function(const mvs_call *call) { return call->function; }

const mvs_placement *mvs_call_placement(const mvs_call *call) { return call->placement; }

/* The place in the list, -1 when it is not there. */
static int find_tensor(Mvs__Tensor *const *tensors, size_t count, const char *name) {
  for (size_t at = 0; at < count; at++)
    if (strcmp(tensors[at]->name, name) == 0) return (int)at;
  return -1;
}

bool mvs_has_tensor(Mvs__Tensor *const *tensors, size_t count, const char *name) {
  return find_tensor(tensors, count, name) >= 0;
}

bool mvs_call_has_input(const mvs_call *call, const char *name) {
  return find_tensor(call->function->inputs, call->function->n_inputs, name) >= 0;
}

bool mvs_call_has_output(const mvs_call *call, const char *name) {
  return find_tensor(call->function->outputs, call->function->n_outputs, name) >= 0;
}

/* An input is a buffer of its own, so binding is one pointer. */
static bool bind_input(mvs_call *call, const char *name, char *memory) {
  const Mvs__Function *function = call->function;
  int at = find_tensor(function->inputs, function->n_inputs, name);
  if (at >= 0) call->bases[function->inputs[at]->buffer] = memory;
  return at >= 0;
}

/* An output that the function only hands through (an input with no dropout) has no buffer of
 * its own: it is copied when the call ends. */
static bool bind_output(mvs_call *call, const char *name, char *memory) {
  const Mvs__Function *function = call->function;
  int at = find_tensor(function->outputs, function->n_outputs, name);
  if (at < 0) return false;
  uint32_t buffer = function->outputs[at]->buffer;
  if (function->buffers[buffer]->kind == MVS__BUFFER__KIND__OUTPUT) {
    call->bases[buffer] = memory;
  } else {
    call->copied_out[at] = memory;
  }
  return true;
}

/* Program and runtime disagree on a name: our own mistake. */
static mvs_status no_such_name(mvs_call *call, const char *name) {
  return MVS_FAIL(call->executor->diag, MVS_ERR_INTERNAL,
                  "internal: function '%s' of the program has no '%s'", call->function->name,
                  name);
}

/* For scalars that a function takes and gives under one name. */
mvs_status mvs_call_bind(mvs_call *call, const char *name, void *memory) {
  bool input = bind_input(call, name, memory), output = bind_output(call, name, memory);
  return input || output ? MVS_OK : no_such_name(call, name);
}

mvs_status mvs_call_bind_input(mvs_call *call, const char *name, void *memory) {
  return bind_input(call, name, memory) ? MVS_OK : no_such_name(call, name);
}

mvs_status mvs_call_bind_output(mvs_call *call, const char *name, void *memory) {
  return bind_output(call, name, memory) ? MVS_OK : no_such_name(call, name);
}

/* --- running --- */

/* Memory is only ever exchanged for more: sizes settle after the first step. */
static mvs_status grow(mvs_executor *executor, char **memory, int64_t *have, int64_t bytes) {
  if (bytes <= *have) return MVS_OK;
  if (*memory) executor->device->release(executor->device, *memory);
  *memory = NULL, *have = 0;
  void *fresh;
  MVS_TRY(executor->device->alloc(executor->device, bytes, executor->diag, &fresh));
  *memory = fresh, *have = bytes;
  executor->layout++;
  return MVS_OK;
}

/* Where a parameter or its gradient starts, NULL without a flat buffer. */
static char *flat_address(const mvs_executor *executor, const Mvs__Buffer *buffer) {
  const Mvs__Param *of = executor->program->params[buffer->param];
  bool param = buffer->kind == MVS__BUFFER__KIND__PARAM;
  char *flat = (char *)(param ? executor->params : executor->grads);
  int64_t element = sizeof(float);
  if (buffer->rounded) flat = executor->rounded, element = 2;
  return flat && of->trained ? flat + of->offset * element : NULL;
}

static common_memory *memory_of(const mvs_call *call) {
  return call->aside ? &call->executor->beside : &call->executor->common;
}

/* Finds where every buffer starts. The shared block may have moved since the last call. */
static mvs_status resolve_buffers(mvs_call *call) {
  mvs_executor *executor = call->executor;
  const mvs_placement *placement = call->placement;
  common_memory *memory = memory_of(call);
  MVS_TRY(grow(executor, &memory->block, &memory->block_bytes, placement->bytes));
  MVS_TRY(
      grow(executor, &memory->workspace, &memory->workspace_bytes, placement->workspace_bytes));
  for (size_t at = 0; at < call->function->n_buffers; at++) {
    const Mvs__Buffer *buffer = call->function->buffers[at];
    if (buffer->kind == MVS__BUFFER__KIND__TEMP) {
      call->bases[at] = memory->block + placement->offsets[at];
    } else if (buffer->kind == MVS__BUFFER__KIND__PREPARED) {
      call->bases[at] = call->prepared->memory + call->prepared->offsets[buffer->param];
    } else if (buffer->kind == MVS__BUFFER__KIND__PARAM ||
               buffer->kind == MVS__BUFFER__KIND__GRAD) {
      call->bases[at] = flat_address(executor, buffer);
    }
    if (!call->bases[at])
      return MVS_FAIL(executor->diag, MVS_ERR_INTERNAL,
                      "internal: buffer %zu ('%s') of function '%s' has no memory", at,
                      buffer->name ? buffer->name : "", call->function->name);
  }
  return MVS_OK;
}

/* base + slot * bytes + offset, with slot = (layer + shift) mod slots; steps outside loops
 * stand at layer 0. */
static char *slot_address(const mvs_call *call, const Mvs__Operand *operand, int64_t layer) {
  const mvs_placement *placement = call->placement;
  int64_t slots = placement->slots[operand->buffer], slot = 0;
  if (slots > 1) {
    slot = ((operand->per_layer ? layer : 0) + operand->shift) % slots;
    if (slot < 0) slot += slots;
  }
  return call->bases[operand->buffer] + slot * placement->slot_bytes[operand->buffer];
}

static char *operand_address(const mvs_call *call, const Mvs__Operand *operand, int64_t layer) {
  return slot_address(call, operand, layer) + operand->offset;
}

void *mvs_call_operand(const mvs_call *call, const Mvs__Operand *operand, int64_t layer) {
  return operand_address(call, operand, layer);
}

/* What a kernel writes lies in the slots of its operands, wherever in them. */
static void tell_writes(mvs_call *call, const Mvs__Step *step, int64_t layer) {
  const Mvs__Kernel *kernel = call->executor->program->kernels[step->kernel];
  for (size_t at = 0; at < step->n_operands; at++) {
    const Mvs__Operand *operand = step->operands[at];
    const Mvs__Traffic *traffic = kernel->traffic[at];
    if (traffic->write_fixed || traffic->write_per_batch)
      mvs_aside_before_write(call->executor->aside, slot_address(call, operand, layer),
                             call->placement->slot_bytes[operand->buffer]);
  }
}

/* Gives the device what waits. Whatever else is to see or change memory comes behind it. */
static void send_waiting(mvs_executor *executor) {
  waiting *all = &executor->waiting;
  mvs_device *device = executor->device;
  if (all->count == 1) {
    device->launch(device, all->launches);
  } else if (all->count > 0) {
    device->launch_all(device, all->launches, all->count);
  }
  all->count = all->used = 0;
  all->workspace = 0;
}

/* The last of those that wait: at once, where the device takes one at a time or launches are
 * timed. */
static void launch(mvs_executor *executor) {
  waiting *all = &executor->waiting;
  mvs_launch one = all->launches[all->count++];
  bool together = executor->device->launch_all && !executor->profile;
  if (!together || all->count == MVS_LAUNCHES_TOGETHER) send_waiting(executor);
  mvs_profile_launched(executor->profile, &one);
}

/* A stretch of workspace that no other waiting launch has. */
static void *take_workspace(mvs_call *call, int64_t bytes) {
  waiting *all = &call->executor->waiting;
  common_memory *memory = memory_of(call);
  bytes = (bytes + WORKSPACE_ALIGNMENT - 1) / WORKSPACE_ALIGNMENT * WORKSPACE_ALIGNMENT;
  if (all->workspace + bytes > memory->workspace_bytes) send_waiting(call->executor);
  void *at = memory->workspace + all->workspace;
  all->workspace += bytes;
  return at;
}

/* Operands in the kernel's order, its workspace last. */
static mvs_status run_kernel(mvs_call *call, const Mvs__Step *step, int64_t layer) {
  mvs_executor *executor = call->executor;
  const Mvs__Kernel *kernel = executor->program->kernels[step->kernel];
  waiting *all = &executor->waiting;
  size_t count = step->n_operands;
  if (count >= MVS_LAUNCH_OPERANDS)
    return MVS_FAIL(executor->diag, MVS_ERR_INTERNAL, "internal: kernel '%s' has %zu operands",
                    kernel->name, count);
  if (all->used + count >= WAITING_OPERANDS) send_waiting(executor);
  int64_t bytes =
      kernel->workspace_fixed + kernel->workspace_per_batch * call->placement->batch;
  void *workspace = bytes ? take_workspace(call, bytes) : NULL;
  void **operands = &all->operands[all->used];
  for (size_t at = 0; at < count; at++)
    operands[at] = operand_address(call, step->operands[at], layer);
  if (workspace) operands[count++] = workspace;
  all->used += count;
  all->launches[all->count] = (mvs_launch){.kernel = (uint32_t)step->kernel,
                                           .operands = operands,
                                           .operand_count = count,
                                           .batch = call->placement->batch,
                                           .layer = layer};
  if (!call->aside && mvs_aside_is_open(executor->aside)) tell_writes(call, step, layer);
  launch(executor);
  return MVS_OK;
}

/* Clears the slots that stand for layers before the first. A buffer that holds fewer slots than
 * layers is used as a ring, whose slots all stand for such layers at the start. */
static void clear_slots(mvs_call *call, uint32_t loop, int64_t step) {
  mvs_device *device = call->executor->device;
  const mvs_placement *placement = call->placement;
  for (size_t at = 0; at < call->function->n_buffers; at++) {
    const Mvs__Buffer *buffer = call->function->buffers[at];
    bool here = buffer->home >= 0 ? buffer->home == (int64_t)loop : buffer->first_step == step;
    if (!here || buffer->zero_slots == 0) continue;
    send_waiting(call->executor);
    int64_t slots = placement->slots[at], count = buffer->zero_slots;
    if (slots < buffer->slots_kept || count > slots) count = slots;
    int64_t first = buffer->zero_at_end ? slots - count : 0;
    char *from = call->bases[at] + first * placement->slot_bytes[at];
    int64_t bytes = count * placement->slot_bytes[at];
    if (!call->aside) mvs_aside_before_write(call->executor->aside, from, bytes);
    device->clear(device, from, bytes);
  }
}

/* A backward loop redoes each block just before its own body, where the plan says so. */
static mvs_status run_loop(mvs_call *call, uint32_t index, int64_t top_step);

/* With `again`, only the steps that it marks: those that bring back what the backward needs.
 * Nobody watches those, nor a run whose launches are timed. */
static mvs_status run_body(mvs_call *call, uint32_t index, int64_t layer, const bool *again) {
  const Mvs__Loop *loop = call->function->loops[index];
  bool watched = call->watch && !again && !call->executor->profile;
  for (size_t at = 0; at < loop->n_steps; at++) {
    const Mvs__Step *step = loop->steps[at];
    if (again && !again[at]) continue;
    MVS_TRY(step->kernel < 0 ? run_loop(call, step->loop, -1) : run_kernel(call, step, layer));
    if (!watched) continue;
    send_waiting(call->executor);
    MVS_TRY(call->watch(call->watcher, index, (uint32_t)at, layer));
  }
  return MVS_OK;
}

/* What is redone goes into the slots that the forward pass wrote last, of which there is one
 * where blocks are not kept: so the order is block by block, and never all of them first. */
static mvs_status run_loop(mvs_call *call, uint32_t index, int64_t top_step) {
  const Mvs__Loop *loop = call->function->loops[index];
  bool *const *steps = call->placement->redo->steps;
  const bool *again = loop->forward >= 0 ? steps[loop->forward] : NULL;
  clear_slots(call, index, top_step);
  for (int64_t at = 0; at < loop->count; at++) {
    int64_t layer = loop->reverse ? loop->count - 1 - at : at;
    if (again) MVS_TRY(run_body(call, (uint32_t)loop->forward, layer, again));
    MVS_TRY(run_body(call, index, layer, NULL));
  }
  return MVS_OK;
}

/* Within the device: an output that is an input's own memory, or a part of it. */
static void copy_outputs(mvs_call *call) {
  mvs_device *device = call->executor->device;
  for (size_t at = 0; at < call->function->n_outputs; at++) {
    const Mvs__Tensor *output = call->function->outputs[at];
    if (!call->copied_out[at]) continue;
    int64_t bytes =
        mvs_tensor_elements(output, call->placement->batch) * mvs_dtype_bytes(output->dtype);
    if (!call->aside)
      mvs_aside_before_write(call->executor->aside, call->copied_out[at], bytes);
    device->copy(device, call->copied_out[at], call->bases[output->buffer], bytes,
                 MVS_COPY_WITHIN);
  }
}

/* In the program's order, which is one that its memory plan was made for. */
static mvs_status run_steps(mvs_call *call) {
  const Mvs__Function *function = call->function;
  for (size_t at = 0; at < function->n_steps; at++) {
    const Mvs__Step *step = function->steps[at];
    MVS_TRY(step->kernel < 0 ? run_loop(call, step->loop, (int64_t)at)
                             : run_kernel(call, step, 0));
  }
  send_waiting(call->executor);
  copy_outputs(call);
  return MVS_OK;
}

/* --- profiling --- */

/* A recording of its own costs more than a few gaps between launches. */
static bool is_worth_recording(const mvs_call *call) {
  return call->executor->device->record &&
         mvs_function_launches(call->function) >= WORTH_RECORDING;
}

/* With a mark behind every launch. They are recorded together where that can be, so that the
 * device does not wait for the host between them; such a recording serves once. */
static mvs_status run_profiled(mvs_call *call) {
  mvs_executor *executor = call->executor;
  mvs_device *device = executor->device;
  bool recorded = call->has_run && is_worth_recording(call) && device->record(device);
  mvs_profile_open_call(executor->profile, call->function, call->placement->batch);
  mvs_status status = run_steps(call);
  void *work = recorded ? device->recorded(device) : NULL;
  if (recorded && !work && status == MVS_OK) {
    mvs_profile_drop_call(executor->profile);
    mvs_profile_open_call(executor->profile, call->function, call->placement->batch);
    status = run_steps(call);
  }
  if (work) device->replay(device, work);
  for (int at = 1; work && at < executor->profile->replays; at++) device->replay(device, work);
  mvs_profile_close_call(executor->profile, work);
  return status;
}

/* --- what the weights alone decide --- */

/* Rounds the whole flat buffer: after the weights were read or drawn, or others were set. */
static mvs_status round_weights(mvs_executor *executor) {
  int64_t rows = executor->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
  void *rounded;
  mvs_call *call;
  MVS_TRY(mvs_executor_rounded(executor, &rounded));
  if (executor->rounded_version == executor->version) return MVS_OK;
  MVS_TRY(mvs_call_new(executor, "round", rows, &call));
  MVS_TRY(mvs_call_bind_input(call, "p", executor->params));
  MVS_TRY(mvs_call_bind_output(call, "rounded", rounded));
  MVS_TRY(mvs_call_run(call));
  executor->rounded_version = executor->version;
  return MVS_OK;
}

/* Whatever the weights, at the same addresses. */
static mvs_status run_prepare(mvs_executor *executor, mvs_prepared *prepared) {
  if (!prepared->memory) {
    void *memory;
    MVS_TRY(
        executor->device->alloc(executor->device, prepared->bytes, executor->diag, &memory));
    prepared->memory = memory;
  }
  return mvs_call_run(prepared->call);
}

/* Runs "prepare" for the present weights, or once where constants alone decide. */
static mvs_status prepare(mvs_executor *executor, mvs_prepared *prepared) {
  bool fresh = prepared->version == executor->version || !prepared->of_weights;
  if (prepared->version != 0 && fresh) return MVS_OK;
  MVS_TRY(run_prepare(executor, prepared));
  prepared->version = executor->version;
  return MVS_OK;
}

/* The copy in bf16 was written with the weights themselves. */
mvs_status mvs_call_prepare(mvs_call *call) {
  bool changes = call->reads_prepared && call->prepared->of_weights;
  return changes ? run_prepare(call->executor, call->prepared) : MVS_OK;
}

void mvs_call_prepared(mvs_call *call) {
  mvs_executor_weights_changed(call->executor, true);
  if (call->reads_prepared) call->prepared->version = call->executor->version;
}

mvs_status mvs_call_refresh(mvs_call *call) {
  mvs_executor_weights_changed(call->executor, false);
  if (call->reads_rounded) MVS_TRY(round_weights(call->executor));
  return call->reads_prepared ? prepare(call->executor, call->prepared) : MVS_OK;
}

/* Inputs lie without gaps where they are bound. */
static void tell_reads(mvs_call *call) {
  const Mvs__Function *function = call->function;
  for (size_t at = 0; at < function->n_inputs; at++) {
    const Mvs__Tensor *input = function->inputs[at];
    mvs_aside_reads(
        call->executor->aside, call->bases[input->buffer],
        mvs_tensor_elements(input, call->placement->batch) * mvs_dtype_bytes(input->dtype));
  }
}

/* Its results are for whoever comes behind the call that it runs beside. */
static mvs_status run_aside(mvs_call *call) {
  mvs_executor *executor = call->executor;
  MVS_TRY(mvs_aside_begin(executor->aside, executor->diag));
  tell_reads(call);
  mvs_status status = run_steps(call);
  mvs_aside_end(executor->aside);
  return status;
}

/* A call in the order of work ends when all that ran beside it has, too. */
static mvs_status run_in_order(mvs_call *call) {
  mvs_status status = call->executor->profile ? run_profiled(call) : run_steps(call);
  mvs_aside_join(call->executor->aside);
  return status;
}

mvs_status mvs_call_run(mvs_call *call) {
  if (call->reads_rounded) MVS_TRY(round_weights(call->executor));
  if (call->reads_prepared) MVS_TRY(prepare(call->executor, call->prepared));
  MVS_TRY(resolve_buffers(call));
  mvs_status status = call->aside ? run_aside(call) : run_in_order(call);
  call->has_run = true;
  return status;
}
