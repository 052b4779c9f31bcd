/* ops_suite.c: suites, words for building graphs, and the way through the compiler. */
#include "tests/unit/ops_suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "tests/unit/ops_programs.h"

/* --- suites --- */

ops_suite *ops_suite_new(void) {
  mvs_arena *arena = mvs_arena_new();
  ops_suite *s = MVS_NEW(arena, ops_suite);
  s->arena = arena;
  s->diag = mvs_diag_new(arena);
  s->module = mvs_module_new(arena, "ops");
  s->compilation = (mvs_compilation){.arena = arena, .diag = s->diag, .module = s->module};
  s->tolerance.reason = "exact";
  s->low = -1, s->high = 1;
  return s;
}

void ops_suite_free(ops_suite *s) { mvs_arena_free(s->arena); }

void ops_suite_end(ops_suite *s) {
  int failures = s->failures;
  ops_suite_free(s);
  if (failures) fail_msg("%d wrong results, told above", failures);
}

void ops_good(ops_suite *s, mvs_status status, const char *after) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(s->arena);
  mvs_diag_render(s->diag, &words);
  if (getenv("OPS_DUMP")) {
    mvs_text d = mvs_text_new(s->arena);
    mvs_module_dump(s->module, &d);
    if (s->compilation.plan) mvs_plan_dump(s->compilation.plan, &d);
    fprintf(stderr, "%s\n", mvs_text_string(&d));
  }
  fail_msg("%s: %s", after, mvs_text_string(&words));
}

void ops_add_case(ops_suite *s, const char *name, const mvs_graph *graph) {
  ops_case each = {.name = name,
                   .graph = graph,
                   .tolerance = s->tolerance,
                   .low = s->low,
                   .high = s->high};
  MVS_PUSH(s->arena, &s->cases, each);
}

void ops_function(ops_suite *s, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const char *name = mvs_arena_format_list(s->arena, format, list);
  va_end(list);
  s->graph = mvs_module_add_function(s->module, name)->graph;
  s->loss = strcmp(name, "loss") == 0;
  ops_add_case(s, name, s->graph);
}

void ops_result(ops_suite *s, const char *name, mvs_id id) {
  mvs_result result = {name, id};
  MVS_PUSH(s->arena, mvs_graph_results(s->graph), result);
}

/* --- compiling --- */

static void load(ops_suite *s) {
  ops_good(s, mvs_build_program(s->arena, s->diag, s->module, s->compilation.plan, &s->build),
           "build");
  for (size_t i = 0; i < s->build->kernels.count; i++) {
    ops_good(s, mvs_kernel_verify(s->build->kernels.items[i], s->diag), "kernel");
  }
  const char *folder = ops_programs_folder();
  if (folder) {
    if (!s->level) ops_programs_write(s, folder); /* one level is enough to compare with */
    return;
  }
  mvs_host_options options = {.cpu_level = s->level, .quick = s->quick};
  ops_good(s, mvs_host_load(s->arena, s->diag, s->build, &options), "host");
}

void ops_compile_raw(ops_suite *s) {
  ops_good(s, mvs_module_verify(s->module, "building", s->diag), "verify");
  ops_good(s, mvs_pass_fuse(&s->compilation), "fuse");
  ops_good(s, mvs_pass_schedule(&s->compilation), "schedule");
  ops_good(s, mvs_pass_memory(&s->compilation), "memory");
  load(s);
}

/* The case of the loss becomes that of its gradients, whose meaning the reference takes from
 * the graph before part of it moves to "prepare": finite differences are the tests' own. A
 * function that a pass makes has no graph before either. --means writer rounds elsewhere than
 * the graph as built says: a branch is rounded and its mean is not, so that of one token's
 * branch less its mean, which is 0, the rounding is left. */
void ops_compile(ops_suite *s) {
  ops_good(s, mvs_module_verify(s->module, "building", s->diag), "verify");
  ops_good(s, mvs_pipeline_run(&s->compilation, "hoist"), "graph passes");
  for (size_t i = 0; i < s->cases.count; i++) {
    ops_case *each = &s->cases.items[i];
    if (strcmp(each->name, "loss") == 0) each->name = "grad", each->graph = NULL;
    const mvs_graph *graph = mvs_module_function(s->module, each->name)->graph;
    if (!each->graph) each->graph = graph;
    if (s->compilation.means == MVS_MEANS_WRITER) each->rounds = graph;
  }
  ops_good(s, mvs_pass_prepare(&s->compilation), "prepare");
  ops_compile_raw(s);
}

bool ops_level_runs(const char *level) {
  __builtin_cpu_init();
  if (!level) return true;
  return !mvs_cpu_lacks(mvs_cpu_of_name(level));
}

/* --- types --- */

const int ops_lengths[][5] = {{1}, {1, 2}, {5}, {4, 3}, {1, 1, 5}, {1, 1}, {16, 17}};

const ops_shape ops_shapes[OPS_SHAPES] = {
    {0, 1, true},   {1, 2, false},  {2, 7, false}, {3, 15, true},
    {0, 16, false}, {4, 17, false}, {5, 33, true}, {3, 100, false},
};

mvs_type ops_type(mvs_dtype dtype, int rank, const int64_t *extents) {
  mvs_dim dims[MVS_MAX_RANK] = {{0}};
  for (int i = 0; i < rank; i++) dims[i] = (mvs_dim){extents[i] ? extents[i] : 1, !extents[i]};
  return mvs_type_make(dtype, rank, dims);
}

const mvs_segments *ops_segments(ops_suite *s, const int *lengths) {
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  mvs_segments table = {.count = 0};
  for (; lengths[table.count]; table.count++) {
    table.items[table.count] =
        (mvs_segment){.name = names[table.count], .length = lengths[table.count]};
  }
  return mvs_module_segments(s->module, &table);
}

mvs_type ops_tokens(ops_suite *s, mvs_dtype dtype, const int *lengths, int64_t inner) {
  const mvs_segments *table = ops_segments(s, lengths);
  mvs_type type = ops_type(dtype, 3, (int64_t[]){0, mvs_segments_length(table), inner});
  type.segments = table;
  return type;
}

mvs_type ops_shared(ops_suite *s, mvs_dtype dtype, int shape) {
  return ops_tokens(s, dtype, ops_lengths[ops_shapes[shape].lengths], ops_shapes[shape].inner);
}

bool ops_tries(const ops_suite *s, int shape) { return !s->few || ops_shapes[shape].few; }

/* --- nodes --- */

mvs_id ops_input(ops_suite *s, const char *name, mvs_type type) {
  mvs_attr attr = {.input = {name, type}};
  return mvs_graph_add(s->graph, MVS_OP_input, NULL, 0, &attr, s->span);
}

mvs_id ops_stacked_param(ops_suite *s, const char *name, int64_t layers, int rank,
                         const int64_t *extents) {
  mvs_param param = {.name = name,
                     .type = ops_type(MVS_F32, rank, extents),
                     .layers = layers,
                     .trained = true};
  mvs_attr attr = {.param = {(uint32_t)s->module->params.count, param.type}};
  if (layers) {
    int64_t all[MVS_MAX_RANK] = {layers};
    for (int i = 0; i < rank; i++) all[i + 1] = extents[i];
    attr.param.type = ops_type(MVS_F32, rank + 1, all);
  }
  MVS_PUSH(s->arena, &s->module->params, param);
  return mvs_graph_add(s->graph, MVS_OP_param, NULL, 0, &attr, s->span);
}

mvs_id ops_param(ops_suite *s, const char *name, int rank, const int64_t *extents) {
  return ops_stacked_param(s, name, 0, rank, extents);
}

mvs_id ops_weight(ops_suite *s, const char *name, int rank, const int64_t *extents) {
  if (s->loss) return ops_param(s, name, rank, extents);
  return ops_input(s, name, ops_type(MVS_F32, rank, extents));
}

const mvs_graph *ops_loss_start(ops_suite *s) {
  ops_function(s, "loss");
  return s->graph;
}

/* Weights of its own give every element of y another cotangent. */
void ops_loss(ops_suite *s, mvs_id y) {
  mvs_type type = *mvs_graph_type(s->graph, y);
  type.dtype = MVS_F32;
  mvs_id sum = ops_binary(s, MVS_OP_mul, y, ops_input(s, "weights", type));
  sum = ops_cast(s, sum, MVS_F64);
  if (type.rank) sum = ops_sum(s, sum, (1u << type.rank) - 1);
  ops_result(s, "loss", ops_reshape(s, sum, 0, NULL));
}

mvs_id ops_constant(ops_suite *s, mvs_dtype dtype, double value) {
  mvs_attr attr = {.constant = {value, dtype}};
  return mvs_graph_add(s->graph, MVS_OP_constant, NULL, 0, &attr, s->span);
}

mvs_id ops_node(ops_suite *s, mvs_op op, const mvs_attr *attr, ...) {
  mvs_id inputs[16];
  int count = 0;
  va_list list;
  va_start(list, attr);
  for (mvs_id id = va_arg(list, mvs_id); id != MVS_NONE; id = va_arg(list, mvs_id)) {
    assert_true(count < 16);
    inputs[count++] = id;
  }
  va_end(list);
  return mvs_graph_add(s->graph, op, inputs, count, attr, s->span);
}

mvs_id ops_unary(ops_suite *s, mvs_op op, mvs_id a) {
  return mvs_build_unary(s->graph, op, a, s->span);
}

mvs_id ops_binary(ops_suite *s, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(s->graph, op, a, b, s->span);
}

mvs_id ops_cast(ops_suite *s, mvs_id a, mvs_dtype dtype) {
  return mvs_build_cast(s->graph, a, dtype, s->span);
}

mvs_id ops_sum(ops_suite *s, mvs_id a, uint32_t mask) {
  return mvs_build_sum(s->graph, a, mask, s->span);
}

/* The part of a token axis has one segment. */
mvs_id ops_slice(ops_suite *s, mvs_id a, int axis, int64_t start, int64_t length) {
  const mvs_segments *table = NULL;
  if (axis == 1 && mvs_graph_type(s->graph, a)->segments) {
    table = ops_segments(s, (int[]){(int)length, 0});
  }
  return mvs_build_slice(s->graph, a, axis, start, length, table, s->span);
}

mvs_id ops_reshape(ops_suite *s, mvs_id a, int rank, const int64_t *extents) {
  mvs_type type = ops_type(MVS_F32, rank, extents);
  return mvs_build_reshape(s->graph, a, &type, s->span);
}

mvs_id ops_transpose(ops_suite *s, mvs_id a, const int *axes) {
  mvs_attr attr = {.permutation = {.rank = mvs_graph_type(s->graph, a)->rank}};
  for (int i = 0; i < attr.permutation.rank; i++) attr.permutation.axis[i] = (uint8_t)axes[i];
  return mvs_graph_add(s->graph, MVS_OP_transpose, &a, 1, &attr, s->span);
}
