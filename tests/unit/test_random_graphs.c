/* test_random_graphs.c: graphs nobody thought of, through fusion, memory layout, kernels and
 * machine code, against the float64 reference. The seed of a wrong graph is printed with its
 * text; MVS_SEED=N tries that one alone, MVS_SEEDS=N tries more. */
#include <stdio.h>
#include <stdlib.h>

#include "compiler/ir/dump.h"
#include "tests/unit/ops_suite.h"

enum { FUNCTIONS = 8, STEPS = 24, POOL = 64 };

typedef struct maker {
  ops_suite *s;
  uint64_t state;
  mvs_id pool[POOL];
  int count;
  int shape; /* of the shared token shapes */
  int64_t tokens, inner;
  const mvs_segments *table;
} maker;

static uint32_t next(maker *m) {
  m->state = m->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(m->state >> 33);
}

static int below(maker *m, int bound) { return (int)(next(m) % (uint32_t)bound); }

static const mvs_type *type_of(const maker *m, mvs_id id) {
  return mvs_graph_type(m->s->graph, id);
}

static mvs_id any(maker *m) { return m->pool[below(m, m->count)]; }

static void keep(maker *m, mvs_id id) {
  if (m->count < POOL) m->pool[m->count++] = id;
}

/* --- steps: each adds a node when it finds inputs that fit --- */

static void unary(maker *m) {
  static const mvs_op ops[] = {MVS_OP_neg,  MVS_OP_sin,     MVS_OP_cos,
                               MVS_OP_tanh, MVS_OP_sigmoid, MVS_OP_abs};
  mvs_id a = any(m);
  if (type_of(m, a)->dtype == MVS_F64) return;
  keep(m, ops_unary(m->s, ops[below(m, 6)], a));
}

static void binary(maker *m) {
  static const mvs_op ops[] = {MVS_OP_add, MVS_OP_sub, MVS_OP_mul, MVS_OP_max, MVS_OP_min};
  mvs_id inputs[2] = {any(m), any(m)};
  mvs_op op = ops[below(m, 5)];
  mvs_type type;
  if (mvs_graph_infer(m->s->graph, op, inputs, 2, NULL, m->s->span, NULL, &type) != MVS_OK)
    return;
  bool batched;
  if (mvs_type_elements(&type, &batched) > 20000) return;
  if (batched && !type.dims[0].per_batch)
    return; /* the batch is the first axis by convention */
  keep(m, ops_binary(m->s, op, inputs[0], inputs[1]));
}

static void round_value(maker *m) {
  mvs_id a = any(m);
  if (type_of(m, a)->dtype != MVS_F32) return;
  keep(m, ops_cast(m->s, a, below(m, 3) ? MVS_BF16 : MVS_F64));
}

static void to_f32(maker *m) {
  mvs_id a = any(m);
  if (type_of(m, a)->dtype == MVS_F32) return;
  keep(m, ops_cast(m->s, a, MVS_F32));
}

static void reduce(maker *m) {
  mvs_id a = any(m);
  const mvs_type *type = type_of(m, a);
  if (type->rank == 0) return;
  int axis = below(m, type->rank);
  double scale = type->dims[axis].per_batch ? 0.5 : 1.0 / (double)type->dims[axis].size;
  mvs_id sum;
  if (below(m, 4) == 0) {
    mvs_attr attr = {.axes = {1u << axis}};
    sum = mvs_graph_add(m->s->graph, MVS_OP_max_over, &a, 1, &attr, m->s->span);
  } else {
    sum = ops_sum(m->s, a, 1u << axis);
    sum = ops_binary(m->s, MVS_OP_mul, sum, ops_constant(m->s, MVS_F32, scale));
  }
  keep(m, sum);
}

static void norm(maker *m) {
  mvs_id a = any(m);
  const mvs_type *type = type_of(m, a);
  if (type->rank == 0 || type->dtype == MVS_F64 || type->dims[type->rank - 1].per_batch) return;
  mvs_attr attr = {.epsilon = {0.1}};
  mvs_id r = mvs_graph_add(m->s->graph, MVS_OP_inv_rms, &a, 1, &attr, m->s->span);
  keep(m, r);
  keep(m, ops_binary(m->s, MVS_OP_normalize, a, r));
}

static void segments(maker *m) {
  mvs_id a = any(m);
  const mvs_type *type = type_of(m, a);
  if (!type->segments || type->dtype == MVS_F64) return;
  mvs_attr attr = {.segments = {type->segments}};
  mvs_op op = below(m, 2) ? MVS_OP_segment_mean : MVS_OP_segment_sum;
  mvs_id means = mvs_graph_add(m->s->graph, op, &a, 1, NULL, m->s->span);
  mvs_op back = below(m, 2) ? MVS_OP_segment_broadcast : MVS_OP_segment_spread;
  keep(m, means);
  keep(m, mvs_graph_add(m->s->graph, back, &means, 1, &attr, m->s->span));
}

static void slice(maker *m) {
  mvs_id a = any(m);
  const mvs_type *type = type_of(m, a);
  if (type->rank < 2) return;
  int axis = 1 + below(m, type->rank - 1);
  int64_t size = type->dims[axis].size, length;
  if (size < 2 || type->dims[axis].per_batch) return;
  length = below(m, 2) && size % 2 == 0 ? size / 2 : 1 + below(m, (int)size - 1);
  int64_t start = below(m, 2) ? 0 : size - length;
  mvs_id part = ops_slice(m->s, a, axis, start, length);
  keep(m, part);
  if (below(m, 3)) return;
  mvs_attr attr = {.slice = {axis, start, length, size, axis == 1 ? type->segments : NULL}};
  keep(m, mvs_graph_add(m->s->graph, MVS_OP_pad, &part, 1, &attr, m->s->span));
}

static void concat(maker *m) {
  mvs_id parts[2] = {any(m), any(m)};
  const mvs_type *a = type_of(m, parts[0]);
  if (a->rank < 2 || a->dtype == MVS_F64) return;
  int axis = 1 + below(m, a->rank - 1);
  const mvs_segments *table = NULL;
  const mvs_type *b = type_of(m, parts[1]);
  if (axis == 1 && a->segments && b->rank == a->rank) {
    int lengths[3] = {(int)a->dims[1].size, (int)b->dims[1].size, 0};
    table = ops_segments(m->s, lengths);
  }
  mvs_attr attr = {.concat = {axis, table}};
  mvs_type type;
  if (mvs_graph_infer(m->s->graph, MVS_OP_concat, parts, 2, &attr, m->s->span, NULL, &type) !=
      MVS_OK) {
    return;
  }
  keep(m, mvs_graph_add(m->s->graph, MVS_OP_concat, parts, 2, &attr, m->s->span));
}

static void transpose(maker *m) {
  mvs_id a = any(m);
  int rank = type_of(m, a)->rank;
  if (rank < 3) return;
  int order[MVS_MAX_RANK];
  for (int i = 0; i < rank; i++) order[i] = i;
  int x = 1 + below(m, rank - 1), y = 1 + below(m, rank - 1), old = order[x];
  order[x] = order[y];
  order[y] = old;
  if (type_of(m, a)->segments && order[1] != 1) return;
  keep(m, ops_transpose(m->s, a, order));
}

/* Splits an axis, or joins two neighbours. */
static void reshape(maker *m) {
  mvs_id a = any(m);
  mvs_type type = *type_of(m, a);
  if (type.rank < 2 || type.rank > 5) return;
  int axis = 1 + below(m, type.rank - 1);
  int64_t size = type.dims[axis].size;
  if (below(m, 2) && size % 2 == 0) {
    for (int i = type.rank; i > axis + 1; i--) type.dims[i] = type.dims[i - 1];
    int64_t faster = below(m, 2) ? 2 : size / 2;
    type.dims[axis].size = size / faster;
    type.dims[axis + 1] = (mvs_dim){faster, false};
    type.rank++;
  } else if (axis + 1 < type.rank) {
    type.dims[axis].size *= type.dims[axis + 1].size;
    for (int i = axis + 1; i + 1 < type.rank; i++) type.dims[i] = type.dims[i + 1];
    type.rank--;
  } else {
    return;
  }
  if (axis == 1) type.segments = NULL;
  keep(m, mvs_build_reshape(m->s->graph, a, &type, m->s->span));
}

static void iota(maker *m) {
  mvs_type type = *type_of(m, any(m));
  if (type.rank < 2) return;
  int axis = 1 + below(m, type.rank - 1);
  type.dtype = MVS_F32;
  for (int i = 0; i < type.rank; i++) {
    if (i != axis && below(m, 2)) type.dims[i] = (mvs_dim){1, false};
  }
  if (type.dims[0].per_batch) type.dims[0] = (mvs_dim){1, false};
  type.segments = NULL;
  mvs_attr attr = {.iota = {type, axis}};
  mvs_id index = mvs_graph_add(m->s->graph, MVS_OP_iota, NULL, 0, &attr, m->s->span);
  keep(m, ops_binary(m->s, MVS_OP_mul, index, ops_constant(m->s, MVS_F32, 0.01)));
}

/* A value stretched along the last axis, so that reductions meet one that does not move. */
static void broadcast(maker *m) {
  mvs_id a = any(m);
  mvs_type type = *type_of(m, a);
  if (type.rank < 2 || type.dims[type.rank - 1].size != 1) return;
  type.dims[type.rank - 1].size = 5 + below(m, 20);
  mvs_attr attr = {.shape = {type}};
  keep(m, mvs_graph_add(m->s->graph, MVS_OP_broadcast, &a, 1, &attr, m->s->span));
}

static void matmul(maker *m) {
  mvs_id a = any(m);
  const mvs_type *type = type_of(m, a);
  if (type->rank < 2 || type->dtype != MVS_F32) return;
  int64_t k = type->dims[type->rank - 1].size;
  static int serial;
  char *name = mvs_arena_format(m->s->arena, "w%d", serial++);
  mvs_id w = ops_input(m->s, name, ops_type(MVS_F32, 2, (int64_t[]){5, k}));
  mvs_id y = mvs_build_matmul(m->s->graph, MVS_MATMUL_NT, a, w, MVS_NONE, MVS_F32, m->s->span);
  keep(m, ops_binary(m->s, MVS_OP_mul, y, ops_constant(m->s, MVS_F32, 1.0 / (double)k)));
}

static void (*const steps[])(maker *m) = {
    unary,  unary,     binary,  binary,  binary,   binary,   binary,   round_value, to_f32,
    reduce, reduce,    norm,    norm,    segments, segments, slice,    slice,       concat,
    concat, transpose, reshape, reshape, iota,     matmul,   broadcast};

static void make_inputs(maker *m) {
  ops_suite *s = m->s;
  mvs_type x = ops_shared(s, MVS_F32, m->shape), b = ops_shared(s, MVS_BF16, m->shape);
  m->table = x.segments;
  m->tokens = x.dims[1].size;
  m->inner = x.dims[2].size;
  keep(m, ops_input(s, "x", x));
  keep(m, ops_input(s, "b", b));
  keep(m, ops_input(s, "gain", ops_type(MVS_F32, 1, (int64_t[]){m->inner})));
  keep(m, ops_input(s, "row", ops_type(MVS_F32, 3, (int64_t[]){0, m->tokens, 1})));
  keep(m, ops_input(s, "sample", ops_type(MVS_F32, 3, (int64_t[]){0, 1, m->inner})));
  keep(m, ops_input(s, "heads", ops_type(MVS_F32, 4, (int64_t[]){0, m->tokens, 2, 6})));
  keep(m, ops_constant(s, MVS_F32, 0.5));
}

static void make_function(ops_suite *s, uint64_t seed, int number) {
  maker m = {.s = s, .state = seed * 1000003 + (uint64_t)number * 97 + 1};
  for (int i = 0; i < 4; i++) next(&m);
  ops_function(s, "f%d", number);
  m.shape = below(&m, OPS_SHAPES);
  make_inputs(&m);
  for (int i = 0; i < STEPS; i++) steps[below(&m, sizeof steps / sizeof *steps)](&m);
  /* The newest values, and some on the way. */
  int results = 0;
  for (int i = m.count - 1; i >= 7 && results < 4; i--) {
    bool newest = i == m.count - 1;
    if (!newest && below(&m, 4)) continue;
    ops_result(s, mvs_arena_format(s->arena, "r%d", results++), m.pool[i]);
  }
  if (results == 0) ops_result(s, "r0", ops_unary(s, MVS_OP_neg, m.pool[0]));
}

static void dump_kernels(const ops_suite *s) {
  mvs_text text = mvs_text_new(s->arena);
  mvs_plan_dump(s->compilation.plan, &text);
  for (size_t i = 0; i < s->build->kernels.count; i++) {
    mvs_kernel_dump(s->build->kernels.items[i], &text);
  }
  fputs(mvs_text_string(&text), stderr);
}

static int try_seed(uint64_t seed) {
  ops_suite *s = ops_suite_new();
  s->tolerance = (ops_tolerance){2e-2, 2e-2, "values may cross a rounding to bf16"};
  const char *only = getenv("MVS_FUNCTION");
  for (int i = 0; i < FUNCTIONS; i++) {
    if (!only || atoi(only) == i) make_function(s, seed, i);
  }
  if (getenv("MVS_SEED")) {
    mvs_text text = mvs_text_new(s->arena);
    mvs_module_dump(s->module, &text);
    fputs(mvs_text_string(&text), stderr);
  }
  ops_good(s, mvs_pass_simplify(&s->compilation), "simplify");
  ops_compile_raw(s);
  if (getenv("MVS_SEED")) dump_kernels(s);
  ops_check(s, 1);
  ops_check(s, 3);
  int failures = s->failures;
  if (failures) print_error("seed %llu: wrong results\n", (unsigned long long)seed);
  ops_suite_free(s);
  return failures;
}

static void random_graphs_agree(void **state) {
  (void)state;
  const char *one = getenv("MVS_SEED"), *many = getenv("MVS_SEEDS");
  uint64_t first = one ? strtoull(one, NULL, 10) : 1;
  uint64_t count = one ? 1 : many ? strtoull(many, NULL, 10) : 30;
  int failures = 0;
  for (uint64_t seed = first; seed < first + count; seed++) {
    if (getenv("MVS_VERBOSE")) print_message("seed %llu\n", (unsigned long long)seed);
    failures += try_seed(seed);
  }
  assert_int_equal(failures, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
