/* test_random_regions.c: regions nobody thought of, through the plan, kernels and machine code,
 * against the float64 reference: several carried values that change places, reads of earlier
 * layers, stacked outputs that a second region takes (which then may redo blocks), results used
 * outside. The seed of a wrong graph is printed with its text; MVS_SEED=N tries that one alone,
 * MVS_SEEDS=N tries more. */
#include <stdlib.h>

#include "compiler/ir/dump.h"
#include "compiler/passes/region_builder.h"
#include "tests/unit/ops_suite.h"

enum { MOST_VALUES = 64, GAIN = 6, WEIGHT = 7, SEEDS = 60 };

typedef struct world {
  ops_suite *s;
  mvs_graph *graph;
  uint64_t state;
  mvs_id values[MOST_VALUES];
  int count;
  const mvs_segments *table;
} world;

static uint32_t draw(world *w, uint32_t below) {
  w->state = w->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(w->state >> 33) % below;
}

static const mvs_type *type_of(const world *w, mvs_id id) {
  return mvs_graph_type(w->graph, id);
}

/* The batch is axis 0 by convention; whole stacks of batched values are only handed on. */
static bool batch_leads(const mvs_type *type) {
  for (int i = 1; i < type->rank; i++) {
    if (type->dims[i].per_batch) return false;
  }
  return true;
}

static mvs_id add(world *w, mvs_op op, const mvs_id *inputs, int count, const mvs_attr *attr) {
  mvs_type type;
  mvs_span span = {0};
  if (mvs_graph_infer(w->graph, op, inputs, count, attr, span, NULL, &type) != MVS_OK)
    return MVS_NONE;
  if (mvs_type_elements(&type, &(bool){0}) > 20000) return MVS_NONE;
  if (!batch_leads(&type)) return MVS_NONE;
  for (int i = 0; i < count; i++) {
    if (!batch_leads(type_of(w, inputs[i]))) return MVS_NONE;
  }
  return mvs_graph_add(w->graph, op, inputs, count, attr, span);
}

static void keep(world *w, mvs_id id) {
  if (id == MVS_NONE) return;
  w->values[w->count < MOST_VALUES ? w->count++ : (int)draw(w, MOST_VALUES)] = id;
}

/* Newer values are taken more often, so that expressions grow deep. */
static mvs_id pick(world *w) {
  uint32_t a = draw(w, (uint32_t)w->count), b = draw(w, (uint32_t)w->count);
  return w->values[a > b ? a : b];
}

static mvs_id unary(world *w, mvs_op op, mvs_id a) { return add(w, op, &a, 1, NULL); }

static mvs_id scaled(world *w, mvs_id a, double by) {
  mvs_id pair[2] = {a, mvs_build_constant(w->graph, by)};
  return add(w, MVS_OP_mul, pair, 2, NULL);
}

static mvs_id random_unary(world *w) {
  static const mvs_op ops[] = {MVS_OP_neg, MVS_OP_tanh, MVS_OP_sigmoid,
                               MVS_OP_abs, MVS_OP_sin,  MVS_OP_cos};
  return unary(w, ops[draw(w, 6)], pick(w));
}

static mvs_id random_binary(world *w) {
  static const mvs_op ops[] = {MVS_OP_add, MVS_OP_sub, MVS_OP_mul, MVS_OP_add, MVS_OP_max};
  mvs_id a = pick(w), pair[2] = {a, pick(w)};
  for (int tries = 0; tries < 8; tries++) {
    mvs_id made = add(w, ops[draw(w, 5)], pair, 2, NULL);
    if (made != MVS_NONE) return made;
    pair[1] = pick(w);
  }
  return MVS_NONE;
}

static mvs_id random_sum(world *w) {
  mvs_id a = pick(w);
  const mvs_type *type = type_of(w, a);
  if (type->rank == 0) return MVS_NONE;
  int axis = draw(w, 2) ? type->rank - 1 : (int)draw(w, type->rank);
  mvs_attr attr = {.axes = {1u << axis}};
  double size = (double)type->dims[axis].size;
  bool most = draw(w, 4) == 0;
  mvs_id made = add(w, most ? MVS_OP_max_over : MVS_OP_sum, &a, 1, &attr);
  return made == MVS_NONE || most ? made : scaled(w, made, 1 / size);
}

static mvs_id random_norm(world *w) {
  mvs_id a = pick(w);
  const mvs_type *type = type_of(w, a);
  if (type->rank == 0 || type->dims[type->rank - 1].per_batch) return MVS_NONE;
  mvs_attr attr = {.epsilon = {0.25}};
  mvs_id r = add(w, MVS_OP_inv_rms, &a, 1, &attr);
  if (r == MVS_NONE) return r;
  if (draw(w, 4) == 0) return r;
  mvs_id pair[2] = {a, r};
  return add(w, MVS_OP_normalize, pair, 2, NULL);
}

static mvs_id random_segment(world *w) {
  mvs_id a = pick(w);
  mvs_attr attr = {.segments = {w->table}};
  switch (draw(w, 4)) {
    case 0:
      return add(w, MVS_OP_segment_mean, &a, 1, NULL);
    case 1: {
      mvs_id sum = add(w, MVS_OP_segment_sum, &a, 1, NULL);
      return sum == MVS_NONE ? sum : scaled(w, sum, 0.2);
    }
    case 2:
      return add(w, MVS_OP_segment_spread, &a, 1, &attr);
    default:
      return add(w, MVS_OP_segment_broadcast, &a, 1, &attr);
  }
}

static const mvs_segments *part_table(world *w, const mvs_type *type, int axis,
                                      int64_t length) {
  if (axis != 1 || !type->segments) return NULL;
  return ops_segments(w->s, (int[]){(int)length, 0});
}

static mvs_id random_slice(world *w) {
  mvs_id a = pick(w);
  const mvs_type *type = type_of(w, a);
  if (type->rank == 0) return MVS_NONE;
  int axis = draw(w, 2) ? type->rank - 1 : (int)draw(w, type->rank);
  int64_t extent = type->dims[axis].size;
  if (type->dims[axis].per_batch || extent < 2) return MVS_NONE;
  int64_t length =
      draw(w, 2) && extent % 2 == 0 ? extent / 2 : 1 + draw(w, (uint32_t)extent - 1);
  int64_t start = draw(w, (uint32_t)(extent - length + 1));
  if (extent % 2 == 0 && length == extent / 2) start = draw(w, 2) * length;
  mvs_attr attr = {.slice = {axis, start, length, extent, part_table(w, type, axis, length)}};
  return add(w, MVS_OP_slice, &a, 1, &attr);
}

static mvs_id random_concat(world *w) {
  mvs_id parts[3] = {pick(w), pick(w), pick(w)};
  const mvs_type *type = type_of(w, parts[0]);
  if (type->rank == 0) return MVS_NONE;
  int axis = draw(w, 2) ? type->rank - 1 : (int)draw(w, type->rank),
      count = 2 + (int)draw(w, 2);
  if (type->dims[axis].per_batch) return MVS_NONE;
  for (int tries = 0; tries < 6; tries++) {
    int64_t total = 0;
    for (int i = 0; i < count; i++) {
      const mvs_type *part = type_of(w, parts[i]);
      if (part->rank > axis) total += part->dims[axis].size;
    }
    mvs_attr attr = {.concat = {axis, part_table(w, type, axis, total)}};
    mvs_id made = add(w, MVS_OP_concat, parts, count, &attr);
    if (made != MVS_NONE) return made;
    parts[1] = draw(w, 2) ? parts[0] : pick(w);
    parts[2] = draw(w, 2) ? unary(w, MVS_OP_neg, parts[0]) : pick(w);
  }
  return MVS_NONE;
}

static mvs_id random_transpose(world *w) {
  mvs_id a = pick(w);
  const mvs_type *type = type_of(w, a);
  if (type->rank < 3) return MVS_NONE;
  mvs_attr attr = {.permutation = {.rank = type->rank}};
  for (int i = 0; i < type->rank && i < MVS_MAX_RANK; i++)
    attr.permutation.axis[i] = (uint8_t)i;
  int from = 1 + (int)draw(w, (uint32_t)type->rank - 1),
      to = 1 + (int)draw(w, (uint32_t)type->rank - 1);
  attr.permutation.axis[from] = (uint8_t)to;
  attr.permutation.axis[to] = (uint8_t)from;
  return add(w, MVS_OP_transpose, &a, 1, &attr);
}

/* Splits the last axis, merges the last two, or puts an axis of extent 1 in. */
static mvs_id random_reshape(world *w) {
  mvs_id a = pick(w);
  mvs_type type = *type_of(w, a);
  int last = type.rank - 1;
  if (type.rank < 2 || type.rank > 4) return MVS_NONE;
  type.segments = NULL;
  switch (draw(w, 4)) {
    case 0:
      if (type.dims[last].size % 2) return MVS_NONE;
      type.dims[last].size /= 2;
      type.dims[type.rank++] = (mvs_dim){2, false};
      break;
    case 1:
      if (type.dims[last - 1].per_batch) return MVS_NONE;
      type.dims[last - 1].size *= type.dims[last].size;
      type.rank--;
      break;
    case 2:
      type.dims[type.rank++] = (mvs_dim){1, false};
      break;
    default:
      if (type.rank < 3 || type.dims[last - 1].per_batch) return MVS_NONE;
      type.dims[last].size *= type.dims[last - 1].size;
      type.dims[last - 1].size = 1;
  }
  mvs_attr attr = {.shape = {type}};
  return add(w, MVS_OP_reshape, &a, 1, &attr);
}

static mvs_id random_broadcast(world *w) {
  mvs_id a = pick(w);
  mvs_attr attr = {.shape = {*type_of(w, pick(w))}};
  attr.shape.type.segments = NULL;
  return add(w, MVS_OP_broadcast, &a, 1, &attr);
}

static mvs_id random_matmul(world *w) {
  mvs_id a = pick(w), b = pick(w);
  const mvs_type *left = type_of(w, a), *right = type_of(w, b);
  if (left->rank < 2 || left->dtype != MVS_F32 || right->dtype != MVS_F32) return MVS_NONE;
  mvs_id pair[2] = {a, b};
  for (int form = 0; form < 3; form++) {
    mvs_attr attr = {.matmul = {(mvs_matmul_form)form, MVS_F32}};
    mvs_id made = add(w, MVS_OP_matmul, pair, 2, &attr);
    if (made != MVS_NONE) return unary(w, MVS_OP_tanh, scaled(w, made, 0.2));
  }
  return MVS_NONE;
}

static mvs_id random_iota(world *w) {
  mvs_type type = *type_of(w, pick(w));
  if (type.rank == 0) return MVS_NONE;
  int axis = (int)draw(w, type.rank);
  if (type.dims[axis].per_batch) return MVS_NONE;
  type.dtype = MVS_F32;
  type.segments = NULL;
  mvs_attr attr = {.iota = {type, axis}};
  mvs_id made = add(w, MVS_OP_iota, NULL, 0, &attr);
  return made == MVS_NONE ? made : unary(w, MVS_OP_sin, made);
}

/* Sums and products come up more often than the rest. */
static mvs_id (*const makers[])(world *) = {
    random_unary,  random_unary,  random_binary,    random_binary,  random_binary,
    random_binary, random_sum,    random_sum,       random_norm,    random_segment,
    random_slice,  random_concat, random_transpose, random_reshape, random_broadcast,
    random_matmul, random_iota};

static void step(world *w) { keep(w, makers[draw(w, sizeof makers / sizeof *makers)](w)); }

static void start(world *w, ops_suite *s, uint64_t seed) {
  static const int sizes[] = {1, 2, 4, 6, 8, 12};
  *w = (world){.s = s, .graph = s->graph, .state = seed * 7919 + 17};
  const int *lengths = ops_lengths[draw(w, OPS_LENGTHS - 1)];
  int64_t inner = sizes[draw(w, 6)];
  w->table = ops_segments(s, lengths);
  int64_t tokens = mvs_segments_length(w->table);
  keep(w, ops_input(s, "x", ops_tokens(s, MVS_F32, lengths, inner)));
  keep(w, ops_input(s, "y", ops_tokens(s, MVS_F32, lengths, inner)));
  keep(w, ops_input(s, "u", ops_type(MVS_F32, 4, (int64_t[]){0, tokens, 3, 4})));
  keep(w, ops_input(s, "v", ops_type(MVS_F32, 1, (int64_t[]){inner})));
  keep(w, ops_input(s, "m", ops_type(MVS_F32, 2, (int64_t[]){5, inner})));
  keep(w, ops_input(s, "b", ops_type(MVS_F32, 2, (int64_t[]){0, 1})));
}

static void results(world *w, int least) {
  int count = least + (int)draw(w, 3);
  for (int i = 0; i < count; i++) {
    mvs_id id = i == 0 ? w->values[w->count - 1] : pick(w);
    ops_result(w->s, mvs_arena_format(w->s->arena, "r%d", i), id);
  }
}

/* --- regions --- */

/* A value of the given type made of whatever the world holds. */
static mvs_id fitted(world *w, const mvs_type *type, mvs_id fallback) {
  mvs_id sum = fallback;
  for (int tries = 0; tries < 12; tries++) {
    mvs_id id = pick(w), pair[2] = {sum, id};
    mvs_type both;
    if (!mvs_type_broadcast(type_of(w, id), type, &both) || !mvs_type_same_shape(&both, type))
      continue;
    sum = add(w, draw(w, 3) ? MVS_OP_add : MVS_OP_mul, pair, 2, NULL);
    if (sum == MVS_NONE) return fallback;
    if (draw(w, 3) == 0) break;
  }
  return draw(w, 4) ? unary(w, MVS_OP_tanh, sum) : sum;
}

/* A region under construction: the world inside, its carried values, their type. */
typedef struct maker {
  mvs_region_builder *builder;
  world in;
  mvs_type type;
  mvs_id first, second;
  bool two;
} maker;

/* Two carried values may start from one, and need not be all there is to read. */
static void add_carried(maker *m, world *w) {
  mvs_id x = w->values[0], y = w->values[1];
  mvs_id initial = draw(w, 2) ? x : unary(w, MVS_OP_tanh, pick(w));
  if (!mvs_type_equal(type_of(w, initial), type_of(w, x))) initial = x;
  m->two = draw(w, 2);
  m->first = m->second = mvs_region_builder_carried(m->builder, initial);
  m->type = *type_of(&m->in, m->first);
  keep(&m->in, m->first);
  if (!m->two) return;
  m->second = mvs_region_builder_carried(m->builder, draw(w, 2) ? y : initial);
  keep(&m->in, m->second);
}

/* `stack` is a region whose stacked outputs this one takes, or MVS_NONE. */
static void add_arguments(maker *m, world *w, mvs_id stack) {
  mvs_dim width = m->type.dims[2];
  mvs_type vector = mvs_type_make(MVS_F32, 1, &width);
  mvs_type square = mvs_type_make(MVS_F32, 2, (mvs_dim[]){width, width});
  if (draw(w, 2)) keep(&m->in, mvs_region_builder_invariant(m->builder, w->values[1]));
  if (draw(w, 2)) keep(&m->in, mvs_region_builder_invariant(m->builder, pick(w)));
  keep(&m->in, mvs_region_builder_stacked(m->builder, w->values[GAIN], &vector));
  keep(&m->in, mvs_region_builder_stacked(m->builder, w->values[WEIGHT], &square));
  uint32_t parts = stack == MVS_NONE ? 0 : mvs_node_result_count(w->graph, stack);
  for (uint32_t i = 0; i < parts; i++) {
    mvs_id outer = mvs_build_get(w->graph, stack, i, (mvs_span){0});
    if (type_of(w, outer)->rank != 4) continue;
    keep(&m->in, mvs_region_builder_stacked(m->builder, outer, &m->type));
  }
}

static void add_results(maker *m, int outputs) {
  world *in = &m->in;
  mvs_region_builder *b = m->builder;
  mvs_region_builder_next(b, 0, draw(in, 8) ? fitted(in, &m->type, m->first) : m->second);
  if (m->two) {
    mvs_region_builder_next(b, 1, draw(in, 4) ? fitted(in, &m->type, m->second) : m->first);
  }
  for (int i = 0; i < outputs; i++) {
    mvs_id value = fitted(in, &m->type, m->first);
    if (draw(in, 5) == 0) value = m->first;
    if (draw(in, 5) == 0) value = b->next.items[0];
    mvs_region_builder_output(b, value);
  }
}

static mvs_id add_region(world *w, int64_t layers, bool reverse, const mvs_region *forward,
                         mvs_id stack) {
  mvs_region like = {.label = "layers", .count = layers};
  maker m = {.builder = mvs_region_builder_new(w->graph, &like, reverse), .in = *w};
  m.builder->region->forward = forward;
  m.in.graph = m.builder->region->body;
  m.in.count = 0;
  add_carried(&m, w);
  add_arguments(&m, w, stack);
  int outputs = (int)draw(w, 4);
  for (int reads = outputs ? (int)draw(w, 3) : 0; reads > 0; reads--) {
    keep(&m.in, mvs_region_builder_read(m.builder, 0, 1 + draw(w, 3), &m.type));
  }
  for (int steps = 4 + (int)draw(w, 14); steps > 0; steps--) step(&m.in);
  add_results(&m, outputs);
  w->state = m.in.state;
  return mvs_region_builder_finish(m.builder);
}

/* The inputs that regions take layer by layer, at fixed places of the list. */
static void add_stacks(world *w, int64_t layers, uint64_t seed) {
  int64_t width = type_of(w, w->values[0])->dims[2].size;
  const char *name = mvs_arena_format(w->s->arena, "w%llu.{i}", (unsigned long long)seed);
  keep(w, ops_input(w->s, "gain", ops_type(MVS_F32, 2, (int64_t[]){layers, width})));
  keep(w, ops_stacked_param(w->s, name, layers, 2, (int64_t[]){width, width}));
}

static mvs_id result_of(world *w, mvs_id region, uint32_t index) {
  return mvs_build_get(w->graph, region, index, (mvs_span){0});
}

static void region_graph(ops_suite *s, uint64_t seed) {
  world w;
  start(&w, s, seed);
  int64_t layers = 1 + draw(&w, 5);
  add_stacks(&w, layers, seed);
  for (int steps = (int)draw(&w, 6); steps > 0; steps--) step(&w);
  mvs_id first = add_region(&w, layers, draw(&w, 3) == 0, NULL, MVS_NONE), last = first;
  const mvs_region *region = mvs_graph_node(w.graph, first)->attr.region.body;
  if (draw(&w, 2)) {
    bool linked = draw(&w, 3) > 0;
    last = add_region(&w, layers, !region->reverse, linked ? region : NULL, first);
  }
  for (uint32_t i = mvs_node_result_count(w.graph, last); i-- > 0;) {
    if (draw(&w, 2)) keep(&w, result_of(&w, last, i));
  }
  uint32_t parts = mvs_node_result_count(w.graph, first);
  if (draw(&w, 2)) keep(&w, result_of(&w, first, draw(&w, parts)));
  for (int steps = (int)draw(&w, 5); steps > 0; steps--) step(&w);
  keep(&w, result_of(&w, last, 0));
  results(&w, 1);
}

static bool agrees(uint64_t seed) {
  ops_suite *s = ops_suite_new();
  s->tolerance =
      (ops_tolerance){1e-4, 3e-4, "f32 sums of deep expressions over several layers"};
  ops_function(s, "regions%llu", (unsigned long long)seed);
  region_graph(s, seed);
  ops_compile_raw(s);
  ops_check(s, 1);
  ops_check(s, 3);
  bool good = s->failures == 0;
  if (!good) {
    mvs_text text = mvs_text_new(s->arena);
    mvs_module_dump(s->module, &text);
    mvs_plan_dump(s->compilation.plan, &text);
    print_error("%s", mvs_text_string(&text));
  }
  ops_suite_free(s);
  return good;
}

static void random_regions_agree(void **state) {
  (void)state;
  const char *one = getenv("MVS_SEED"), *many = getenv("MVS_SEEDS");
  uint64_t first = one ? strtoull(one, NULL, 10) : 1;
  uint64_t count = many ? strtoull(many, NULL, 10) : one ? 1 : SEEDS;
  int wrong = 0;
  for (uint64_t seed = first; seed < first + count; seed++) {
    if (agrees(seed)) continue;
    print_error("seed %llu is wrong\n", (unsigned long long)seed);
    wrong++;
  }
  assert_int_equal(wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_regions_agree)};
  return cmocka_run_group_tests_name("random regions", tests, NULL, NULL);
}
