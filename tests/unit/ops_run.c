/* ops_run.c: runs the cases of a suite and compares them with the reference. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/chain.h"
#include "tests/unit/ops_margins.h"
#include "tests/unit/ops_programs.h"

#define GUARD      256  /* bytes behind each result that must stay as they are */
#define GUARD_BYTE 0xA5 /* what they hold */

/* --- numbers in memory --- */

static double take(const void *data, mvs_dtype dtype, int64_t at) {
  if (dtype == MVS_F64) return ((const double *)data)[at];
  if (dtype == MVS_I32) return ((const int32_t *)data)[at];
  if (dtype == MVS_F32) return ((const float *)data)[at];
  uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void put(void *data, mvs_dtype dtype, int64_t at, double value) {
  float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  if (dtype == MVS_F64) ((double *)data)[at] = value;
  if (dtype == MVS_I32) ((int32_t *)data)[at] = (int32_t)value;
  if (dtype == MVS_F32) ((float *)data)[at] = narrow;
  if (dtype == MVS_BF16)
    ((uint16_t *)data)[at] = (uint16_t)(bits >> 16); /* is rounded already */
}

/* --- inputs --- */

/* Whole numbers go round the range in steps that meet all of it. */
static double fitted(const ops_case *each, mvs_dtype dtype, double value) {
  if (dtype == MVS_I32) {
    double least = ceil(each->low), count = floor(each->high) - least + 1;
    return least + fmod(value * 7 + 3, count);
  }
  value = each->low + (each->high - each->low) * (value + 1) / 2;
  if (dtype == MVS_F32) return (float)value;
  return dtype == MVS_BF16 ? mvs_reference_bf16(value) : value;
}

void ops_fill(mvs_arena *arena, const ops_case *each, int64_t batch, mvs_tensor_map *given) {
  mvs_reference_fill(arena, each->graph, batch, 1, given);
  for (size_t i = 0; i < given->count; i++) {
    mvs_tensor *tensor = &given->items[i].tensor;
    for (int64_t at = 0; at < mvs_tensor_count(tensor, batch); at++) {
      tensor->data[at] = fitted(each, tensor->type.dtype, tensor->data[at]);
    }
  }
}

/* --- one run --- */

typedef struct memory {
  char *bytes;
  size_t size; /* without the guard */
} memory;

/* A case at a batch, on a device. */
typedef struct given_run {
  const ops_suite *s;
  const ops_case *each;
  int64_t batch;
  const mvs_tensor_map *given;
  mvs_device *device;
  mvs_executor *executor;
  memory params, grads;
  memory *results; /* per result of the graph: bytes in its dtype */
} given_run;

static memory guarded(size_t size) {
  memory made = {aligned_alloc(64, (size + GUARD + 63) / 64 * 64), size};
  assert_non_null(made.bytes);
  memset(made.bytes, 0xff, size);
  memset(made.bytes + size, GUARD_BYTE, GUARD);
  return made;
}

static bool guard_stands(const memory *m) {
  for (int i = 0; i < GUARD; i++) {
    if ((unsigned char)m->bytes[m->size + (size_t)i] != GUARD_BYTE) return false;
  }
  return true;
}

/* The device's own allocation, for the table entry that spoils fresh memory. */
static mvs_status (*plain_alloc)(mvs_device *, int64_t, mvs_diag *, void **);

static mvs_status spoiled_alloc(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out) {
  MVS_TRY(plain_alloc(device, bytes, diag, out));
  memset(*out, 0xff, (size_t)bytes);
  return MVS_OK;
}

/* Finds the place of a gradient in the flat buffer: that of a pack is its first part's. */
static bool gradient_of(const ops_suite *s, const char *result, int64_t *offset) {
  if (strncmp(result, "g/", 2) != 0) return false;
  for (size_t i = 0; i < s->module->params.count; i++) {
    const mvs_param *params = s->module->params.items;
    if (strcmp(params[i].name, result + 2) != 0) continue;
    size_t part = i;
    while (params[i].is_pack && (params[part].pack != i || params[part].pack_place)) part--;
    *offset = s->build->program->params[part]->offset;
    return true;
  }
  return false;
}

/* All trained parameters as the program lays them out; the padding is zero. */
static void fill_flats(given_run *run) {
  const mvs_program *program = run->s->build->program;
  size_t bytes = (size_t)program->flat_elements * sizeof(float);
  run->params = guarded(bytes);
  run->grads = guarded(bytes);
  memset(run->params.bytes, 0, bytes);
  for (size_t i = 0; i < program->n_params; i++) {
    const Mvs__Param *param = program->params[i];
    const mvs_tensor *tensor = mvs_tensor_map_find(run->given, param->name);
    if (!param->trained || !tensor) continue;
    float *to = (float *)run->params.bytes + param->offset;
    for (int64_t at = 0; at < mvs_tensor_count(tensor, run->batch); at++)
      to[at / param->elements * param->stride + at % param->elements] = (float)tensor->data[at];
  }
  mvs_executor_set_flats(run->executor, (float *)run->params.bytes, (float *)run->grads.bytes);
}

/* Gives every input its place; returns the places, to be freed. */
static memory *bind_inputs(given_run *run, mvs_call *call) {
  const Mvs__Function *function = mvs_call_function(call);
  memory *inputs = calloc(function->n_inputs + 1, sizeof *inputs);
  for (size_t i = 0; i < function->n_inputs; i++) {
    const Mvs__Tensor *input = function->inputs[i];
    const mvs_tensor *tensor = mvs_tensor_map_find(run->given, input->name);
    if (!tensor) fail_msg("%s: no input %s", run->each->name, input->name);
    int64_t count = mvs_tensor_count(tensor, run->batch);
    assert_int_equal(count, mvs_tensor_elements(input, run->batch));
    mvs_dtype dtype = tensor->type.dtype;
    inputs[i] = guarded((size_t)(count * mvs_dtype_size(dtype)));
    memset(inputs[i].bytes + inputs[i].size, 0xff, GUARD); /* NaN, should it be used */
    for (int64_t at = 0; at < count; at++) put(inputs[i].bytes, dtype, at, tensor->data[at]);
    ops_good((ops_suite *)run->s, mvs_call_bind_input(call, input->name, inputs[i].bytes),
             run->each->name);
  }
  return inputs;
}

static void bind_results(given_run *run, mvs_call *call) {
  const mvs_results *list = mvs_graph_result_list(run->each->graph);
  run->results = calloc(list->count + 1, sizeof *run->results);
  for (size_t i = 0; i < list->count; i++) {
    const mvs_type *type = mvs_graph_type(run->each->graph, list->items[i].id);
    int64_t offset, size = mvs_type_count(type, run->batch) * mvs_dtype_size(type->dtype);
    run->results[i] = guarded((size_t)size);
    if (gradient_of(run->s, list->items[i].name, &offset)) continue;
    ops_good((ops_suite *)run->s,
             mvs_call_bind_output(call, list->items[i].name, run->results[i].bytes),
             run->each->name);
  }
}

/* Copies gradients out of the flat buffer, and checks that nothing else was written in it. */
static bool collect_gradients(given_run *run) {
  const mvs_results *list = mvs_graph_result_list(run->each->graph);
  for (size_t i = 0; i < list->count; i++) {
    int64_t offset;
    if (!gradient_of(run->s, list->items[i].name, &offset)) continue;
    char *from = run->grads.bytes + offset * (int64_t)sizeof(float);
    memcpy(run->results[i].bytes, from, run->results[i].size);
    memset(from, 0xff, run->results[i].size);
  }
  for (size_t at = 0; at < run->grads.size; at++) {
    if ((unsigned char)run->grads.bytes[at] != 0xff) return false;
  }
  return true;
}

static bool guards_stand(const given_run *run, const memory *inputs, size_t input_count) {
  const mvs_results *list = mvs_graph_result_list(run->each->graph);
  bool stand = guard_stands(&run->params) && guard_stands(&run->grads);
  for (size_t i = 0; i < list->count; i++) stand &= guard_stands(&run->results[i]);
  for (size_t i = 0; i < input_count; i++) {
    for (int at = 0; at < GUARD; at++) {
      stand &= (unsigned char)inputs[i].bytes[inputs[i].size + (size_t)at] == 0xff;
    }
  }
  return stand;
}

static void run_case(given_run *run, mvs_recompute recompute) {
  ops_suite *s = (ops_suite *)run->s;
  mvs_call *call;
  mvs_executor_set_recompute(run->executor, recompute);
  fill_flats(run);
  ops_good(s, mvs_call_new(run->executor, run->each->name, run->batch, &call), run->each->name);
  memory *inputs = bind_inputs(run, call);
  bind_results(run, call);
  ops_good(s, mvs_call_run(call), run->each->name);
  ops_good(s, run->device->synchronize(run->device, s->diag), run->each->name);
  size_t count = mvs_call_function(call)->n_inputs;
  if (!guards_stand(run, inputs, count) || !collect_gradients(run)) {
    print_error("%s, batch %lld: writes outside of its results\n", run->each->name,
                (long long)run->batch);
    s->failures++;
  }
  for (size_t i = 0; i < count; i++) free(inputs[i].bytes);
  free(inputs);
  free(run->params.bytes);
  free(run->grads.bytes);
}

static void free_results(const given_run *run) {
  size_t count = mvs_graph_result_list(run->each->graph)->count;
  for (size_t i = 0; i < count; i++) free(run->results[i].bytes);
  free(run->results);
}

/* --- comparing --- */

static const char *level_name(const ops_suite *s) { return s->level ? s->level : "best level"; }

/* What a result of that dtype can hold of the value at all. */
static double representable(mvs_dtype dtype, double value) {
  return dtype == MVS_F32 && fabs(value) > FLT_MAX ? copysign(INFINITY, value) : value;
}

/* True when a result has the value, infinities and NaN included. */
static bool is_near(double got, double want, double allowed) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  return got == want || (isfinite(want) && fabs(got - want) <= allowed);
}

static void tell(given_run *run, const mvs_result *result, double got, const mvs_tensor *want,
                 int64_t where) {
  print_error("%s, batch %lld, %s: %s[%lld of %lld] is %.9g, wanted %.9g (tolerance: %s)\n",
              run->each->name, (long long)run->batch, level_name(run->s), result->name,
              (long long)where, (long long)mvs_tensor_count(want, run->batch), got,
              want->data[where], run->each->tolerance.reason);
  ((ops_suite *)run->s)->failures++;
}

static void compare(given_run *run, const mvs_result *result, const memory *got,
                    const mvs_tensor *want) {
  const ops_tolerance *tolerance = &run->each->tolerance;
  double largest = 1, worst = 0;
  int64_t count = mvs_tensor_count(want, run->batch), where = -1;
  for (int64_t at = 0; at < count; at++) {
    double size = fabs(want->data[at]);
    if (isfinite(size)) largest = fmax(largest, size);
  }
  for (int64_t at = 0; at < count; at++) {
    double value = take(got->bytes, want->type.dtype, at);
    double wanted = representable(want->type.dtype, want->data[at]);
    double allowed = tolerance->each * fabs(wanted) + tolerance->whole * largest;
    if (is_near(value, wanted, allowed)) continue;
    double distance = fabs(value - wanted);
    if (where >= 0 && !(distance > worst)) continue;
    worst = distance;
    where = at;
  }
  if (where < 0) return;
  tell(run, result, take(got->bytes, want->type.dtype, where), want, where);
}

/* The element of a result that is farthest off beyond its margin; -1: none is. */
static int64_t beyond(given_run *run, const ops_margins *margins, size_t result,
                      const mvs_tensor *want) {
  ops_suite *s = (ops_suite *)run->s;
  int64_t where = -1;
  double worst = 1;
  for (int64_t at = 0; at < mvs_tensor_count(want, run->batch); at++) {
    double value = take(run->results[result].bytes, want->type.dtype, at);
    double wanted = representable(want->type.dtype, want->data[at]);
    double allowed = ops_margins_allowed(margins, result, at);
    double share = fabs(value - wanted) / allowed;
    if (is_near(value, wanted, allowed)) {
      if (isfinite(share)) s->worst = fmax(s->worst, share);
    } else if (where < 0 || !(share <= worst)) {
      worst = share, where = at;
    }
  }
  return where;
}

/* All results against margins of ever more samples, until nothing is beyond them. */
static void compare_measured(given_run *run, mvs_arena *arena, const mvs_tensor_map *wanted) {
  static const int samples[] = {3, 6, 24};
  const mvs_results *list = mvs_graph_result_list(run->each->graph);
  ops_margins *margins = ops_margins_new(arena, run->each, run->batch, run->given, wanted);
  for (size_t round = 0; round < 3; round++) {
    bool last = round == 2, good = true;
    ops_suite *s = (ops_suite *)run->s;
    ops_good(s, ops_margins_sample(margins, samples[round]), run->each->name);
    s->beyond |= !(ops_margins_largest(margins) < 1e18); /* squares are sums' terms */
    if (s->beyond) return;
    for (size_t i = 0; i < list->count; i++) {
      const mvs_tensor *want = &wanted->items[i].tensor;
      int64_t where = beyond(run, margins, i, want);
      good &= where < 0;
      double got = where < 0 ? 0 : take(run->results[i].bytes, want->type.dtype, where);
      if (where >= 0 && last) tell(run, &list->items[i], got, want, where);
    }
    if (good) return;
  }
}

static void compare_bits(given_run *first, const given_run *other, const char *what) {
  const mvs_results *list = mvs_graph_result_list(first->each->graph);
  for (size_t i = 0; i < list->count; i++) {
    if (!memcmp(first->results[i].bytes, other->results[i].bytes, first->results[i].size))
      continue;
    print_error("%s, batch %lld, %s: %s has other bits with %s\n", first->each->name,
                (long long)first->batch, level_name(first->s), list->items[i].name, what);
    ((ops_suite *)first->s)->failures++;
  }
}

/* --- devices --- */

static void open_device(given_run *run, int threads) {
  ops_suite *s = (ops_suite *)run->s;
  ops_good(s, mvs_device_open("cpu", s->build->program, threads, s->diag, &run->device),
           "device");
  plain_alloc = run->device->alloc;
  run->device->alloc = spoiled_alloc;
  run->executor = mvs_executor_new(s->arena, s->diag, s->build->program, run->device);
}

static void close_device(given_run *run) {
  mvs_executor_free(run->executor);
  run->device->close(run->device);
}

/* --- chains backwards --- */

/* What the host does, in an order that no thread is likely to take: of each job the last block,
 * or the last unit, is done before any other is begun. So a block that reads what another one
 * writes finds it wrong every time, not when threads happen to meet. */
typedef struct backwards {
  const mvs_program *program;
  char *scratch;
} backwards;

static backwards behind; /* of the device in use */

/* Code that a JIT has loaded has addresses of its own. */
static void run_nest(const Mvs__Nest *nest, const mvs_host_call *call, int64_t from,
                     int64_t to) {
  union {
    uintptr_t address;
    mvs_host_kernel *run;
  } entry = {(uintptr_t)nest->address};
  entry.run(call, from, to);
}

/* Block number `block` of a part, or with no blocks all of its units. */
static void run_part(const mvs_launch *launch, const mvs_chain_job *job, size_t stage,
                     int64_t block) {
  const Mvs__Stage *of = behind.program->kernels[launch->kernel]->stages[stage];
  mvs_host_call call = {launch->operands, launch->batch, launch->layer, behind.scratch, 0, 0};
  for (size_t n = of->n_nests; n-- > 0;) {
    int64_t rows = mvs_nest_rows_at(of->nests[n], launch->batch), some = rows;
    if (job->blocks) {
      some = mvs_chain_rows(of->nests[n], launch->batch, job->blocks);
      call.before = block * some, call.behind = rows - (block + 1) * some;
    }
    for (int64_t unit = mvs_nest_units_of(of->nests[n], launch->batch, some); unit-- > 0;)
      run_nest(of->nests[n], &call, unit, unit + 1);
  }
}

/* As for one thread: then chains need the fewest samples. */
static void launch_backwards(mvs_device *device, const mvs_launch *launches, size_t count) {
  (void)device;
  mvs_arena *arena = mvs_arena_new();
  mvs_chain_plan plan = mvs_chain_plan_new(arena, behind.program, launches, count, 1);
  for (size_t at = 0; at < plan.count; at++) {
    const mvs_chain_job *job = &plan.jobs[at];
    for (int64_t block = job->blocks ? job->blocks : 1; block-- > 0;) {
      for (size_t i = 0; i < job->count; i++) {
        const mvs_chain_part *part = &job->parts[job->blocks ? i : job->count - 1 - i];
        run_part(&launches[part->launch], job, part->stage, block);
      }
    }
  }
  mvs_arena_free(arena);
}

/* Opens a device that does chains so. */
static void open_backwards(given_run *run) {
  const mvs_program *program = run->s->build->program;
  int64_t most = 64;
  for (size_t i = 0; i < program->n_kernels; i++)
    if (program->kernels[i]->scratch > most) most = program->kernels[i]->scratch;
  open_device(run, 1);
  behind = (backwards){program, aligned_alloc(64, (size_t)(most + 63) / 64 * 64)};
  assert_non_null(behind.scratch);
  run->device->launch_all = launch_backwards;
}

static void close_backwards(given_run *run) {
  free(behind.scratch);
  close_device(run);
}

/* One more run that must give the bits of the first. */
static void run_again(given_run *first, given_run like, mvs_recompute recompute,
                      const char *what) {
  run_case(&like, recompute);
  compare_bits(first, &like, what);
  free_results(&like);
}

/* --- cases --- */

static void check_on(const given_run *one, const given_run *two, const ops_case *each,
                     int64_t batch) {
  mvs_arena *arena = mvs_arena_new();
  ops_suite *s = (ops_suite *)one->s;
  mvs_tensor_map given = {0}, wanted = {0};
  mvs_reference_options options = {.round_bf16 = true, .diag = s->diag};
  ops_fill(arena, each, batch, &given);
  ops_good(s, mvs_reference_run(arena, each->graph, batch, &given, &options, &wanted),
           each->name);
  given_run first = *one, second = *two;
  first.each = second.each = each;
  first.batch = second.batch = batch;
  first.given = second.given = &given;
  run_case(&first, MVS_RECOMPUTE_NONE);
  const mvs_results *list = mvs_graph_result_list(each->graph);
  if (s->measured) compare_measured(&first, arena, &wanted);
  for (size_t i = 0; i < list->count && !s->measured; i++) {
    compare(&first, &list->items[i], &first.results[i], &wanted.items[i].tensor);
  }
  run_again(&first, second, MVS_RECOMPUTE_NONE, "two threads");
  const Mvs__Function *function = mvs_program_function(s->build->program, each->name);
  if (mvs_function_can_redo(function)) {
    run_again(&first, first, MVS_RECOMPUTE_BLOCK, "blocks redone");
    run_again(&first, second, MVS_RECOMPUTE_BLOCK, "blocks redone by two threads");
    int most = s->every_plan ? mvs_redo_most(function) : 0;
    for (int redone = 1; redone < most; redone++) {
      run_again(&first, redone % 2 ? first : second, redone, "some values redone");
    }
  }
  free_results(&first);
  mvs_arena_free(arena);
}

void ops_check_case(ops_suite *s, const ops_case *each, int64_t batch) {
  given_run one = {.s = s}, two = {.s = s};
  if (ops_programs_folder()) return;
  open_device(&one, 1);
  open_device(&two, 2);
  if (each) check_on(&one, &two, each, batch);
  for (size_t i = 0; !each && i < s->cases.count; i++) {
    check_on(&one, &two, &s->cases.items[i], batch);
  }
  close_device(&one);
  close_device(&two);
}

void ops_check(ops_suite *s, int64_t batch) {
  if (ops_level_runs(s->level)) ops_check_case(s, NULL, batch);
}

void ops_check_batches(ops_suite *s) {
  static const int64_t batches[] = {1, 2, 3, 5};
  for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) ops_check(s, batches[i]);
}

/* One case by one thread, launch by launch, and by several with chains of launches; blocks are
 * redone once, too. */
static void check_threads_of(ops_suite *s, const ops_case *each, int64_t batch) {
  mvs_arena *arena = mvs_arena_new();
  mvs_tensor_map given = {0};
  ops_fill(arena, each, batch, &given);
  given_run first = {.s = s, .each = each, .batch = batch, .given = &given};
  open_device(&first, 1);
  first.device->launch_all = NULL;
  run_case(&first, MVS_RECOMPUTE_NONE);
  for (int threads = 1; threads <= 3; threads++) {
    given_run other = first;
    open_device(&other, threads);
    run_again(&first, other, threads < 3 ? MVS_RECOMPUTE_NONE : MVS_RECOMPUTE_BLOCK,
              "chains, threads and a large batch");
    close_device(&other);
  }
  given_run other = first;
  open_backwards(&other);
  run_again(&first, other, MVS_RECOMPUTE_NONE, "chains backwards");
  run_again(&first, other, MVS_RECOMPUTE_BLOCK, "chains backwards, blocks redone");
  close_backwards(&other);
  free_results(&first);
  close_device(&first);
  mvs_arena_free(arena);
}

void ops_check_threads(ops_suite *s, int64_t batch) {
  if (!ops_level_runs(s->level) || ops_programs_folder()) return;
  for (size_t i = 0; i < s->cases.count; i++) check_threads_of(s, &s->cases.items[i], batch);
}

/* --- comparisons between functions --- */

static const ops_case *case_of(const ops_suite *s, const char *name) {
  for (size_t i = 0; i < s->cases.count; i++) {
    if (strcmp(s->cases.items[i].name, name) == 0) return &s->cases.items[i];
  }
  fail_msg("there is no case %s", name);
  return NULL;
}

/* Runs a case with its own inputs. */
static void run_named(given_run *run, mvs_arena *arena, const char *name, int64_t batch) {
  mvs_tensor_map *given = MVS_NEW(arena, mvs_tensor_map);
  run->each = case_of(run->s, name);
  run->batch = batch;
  ops_fill(arena, run->each, batch, given);
  run->given = given;
  run_case(run, MVS_RECOMPUTE_NONE);
}

static int compare_shared(const given_run *a, const given_run *b) {
  const mvs_results *left = mvs_graph_result_list(a->each->graph);
  const mvs_results *right = mvs_graph_result_list(b->each->graph);
  int shared = 0;
  for (size_t i = 0; i < left->count; i++) {
    for (size_t k = 0; k < right->count; k++) {
      if (strcmp(left->items[i].name, right->items[k].name) != 0) continue;
      shared++;
      assert_int_equal(a->results[i].size, b->results[k].size);
      if (!memcmp(a->results[i].bytes, b->results[k].bytes, a->results[i].size)) continue;
      print_error("%s and %s: %s has other bits\n", a->each->name, b->each->name,
                  left->items[i].name);
      ((ops_suite *)a->s)->failures++;
    }
  }
  return shared;
}

void ops_check_same_bits(ops_suite *s, const char *a, const char *b, int64_t batch) {
  if (!ops_level_runs(s->level) || ops_programs_folder()) return;
  mvs_arena *arena = mvs_arena_new();
  given_run left = {.s = s}, right;
  open_device(&left, 2);
  right = left;
  run_named(&left, arena, a, batch);
  run_named(&right, arena, b, batch);
  assert_true(compare_shared(&left, &right) > 0);
  free_results(&left);
  free_results(&right);
  close_device(&left);
  mvs_arena_free(arena);
}

void ops_check_gradients(ops_suite *s, const mvs_graph *loss, int64_t batch, int64_t most) {
  if (ops_programs_folder()) return;
  mvs_arena *arena = mvs_arena_new();
  mvs_tensor_map given = {0};
  const mvs_graph *grad = case_of(s, "grad")->graph;
  ops_case as_filled = *case_of(s, "grad");
  as_filled.graph = loss;
  ops_fill(arena, &as_filled, batch, &given);
  for (size_t i = 0; i < s->module->params.count; i++) {
    const char *name = s->module->params.items[i].name;
    mvs_gradient_case check = {.function = loss,
                               .value = "loss",
                               .grad = grad,
                               .gradient = mvs_arena_format(arena, "g/%s", name),
                               .variable = name,
                               .batch = batch,
                               .given = &given,
                               .most = most};
    mvs_gradient_report report;
    if (!s->module->params.items[i].trained || !mvs_tensor_map_find(&given, name)) continue;
    ops_good(s, mvs_reference_check_gradient(arena, &check, s->diag, &report), name);
    /* Central differences are good to about 1e-9 of smooth functions, and to 1e-10 of a loss of
     * order one where the gradient is small. */
    if (report.worst * report.scale <= 1e-6 * fmax(report.scale, 1e-4)) continue;
    print_error("g/%s[%lld] is %g, the difference quotient %g\n", name,
                (long long)report.element, report.claimed, report.difference);
    s->failures++;
  }
  mvs_arena_free(arena);
}
