/* ops_regions.c: stacks: every part of the region op, both ways, forward and backward. */
#include "compiler/passes/region_builder.h"
#include "tests/unit/ops_suite.h"
#include "tests/unit/ops_tests.h"

#define LAYERS 4

/* A stack being built; words for its body. */
typedef struct stack {
  ops_suite *s;
  mvs_region_builder *builder;
  mvs_graph *body;
  mvs_type type; /* of the stream */
} stack;

/* A name in the stack's own family. */
static const char *named(const ops_suite *s, const char *name) {
  return mvs_arena_format(s->arena, "%s%s", s->stack ? s->stack : "", name);
}

static stack stack_new(ops_suite *s, const char *label, bool reverse) {
  mvs_region like = {.label = named(s, label), .count = LAYERS};
  stack made = {s, mvs_region_builder_new(s->graph, &like, reverse), NULL, {0}};
  made.body = made.builder->region->body;
  made.type = ops_shared(s, MVS_F32, s->shape);
  return made;
}

static mvs_id binary(const stack *k, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(k->body, op, a, b, k->s->span);
}

static mvs_id unary(const stack *k, mvs_op op, mvs_id a) {
  return mvs_build_unary(k->body, op, a, k->s->span);
}

/* tanh(a * b) */
static mvs_id bend(const stack *k, mvs_id a, mvs_id b) {
  return unary(k, MVS_OP_tanh, binary(k, MVS_OP_mul, a, b));
}

/* This layer's slice of a new stacked value with these inner extents. */
static mvs_id weight(const stack *k, const char *name, int rank, const int64_t *extents) {
  ops_suite *s = k->s;
  mvs_type inner = ops_type(MVS_F32, rank, extents);
  int64_t all[MVS_MAX_RANK] = {LAYERS};
  for (int i = 0; i < rank; i++) all[i + 1] = extents[i];
  mvs_id outer =
      s->loss ? ops_stacked_param(s, mvs_arena_format(s->arena, "s.{i}.%s", named(s, name)),
                                  LAYERS, rank, extents)
              : ops_input(s, named(s, name), ops_type(MVS_F32, rank + 1, all));
  return mvs_region_builder_stacked(k->builder, outer, &inner);
}

static mvs_id gain(const stack *k, const char *name) {
  return weight(k, name, 1, (int64_t[]){k->type.dims[2].size});
}

/* A token tensor outside, which depends on a weight. */
static mvs_id start(ops_suite *s, const char *name) {
  mvs_type type = ops_shared(s, MVS_F32, s->shape);
  mvs_id w = ops_weight(s, mvs_arena_format(s->arena, "%s_gain", named(s, name)), 1,
                        (int64_t[]){type.dims[2].size});
  return ops_binary(s, MVS_OP_mul, ops_input(s, named(s, name), type), w);
}

static mvs_id carried(const stack *k, const char *name) {
  return mvs_region_builder_carried(k->builder, start(k->s, name));
}

static mvs_id finish(const stack *k) { return mvs_region_builder_finish(k->builder); }

/* Adds the weighted sum of a value to the loss. */
static void add_to_loss(ops_suite *s, const char *weights, mvs_id y) {
  mvs_type type = *mvs_graph_type(s->graph, y), scalar = {.dtype = MVS_F32};
  y = ops_binary(s, MVS_OP_mul, y, ops_input(s, named(s, weights), type));
  y = mvs_build_reshape(s->graph, ops_sum(s, y, (1u << type.rank) - 1), &scalar, s->span);
  s->total = s->total == MVS_NONE ? y : ops_binary(s, MVS_OP_add, s->total, y);
}

/* Takes results 0 .. count-1 of a region: as results of the function, or into the loss. */
static void take(const stack *k, mvs_id node, int count) {
  ops_suite *s = k->s;
  for (int i = 0; i < count; i++) {
    mvs_id y = mvs_build_get(s->graph, node, (uint32_t)i, s->span);
    if (s->loss) {
      add_to_loss(s, mvs_arena_format(s->arena, "weights%d", i), y);
    } else {
      ops_result(s, mvs_arena_format(s->arena, "r%d", i), y);
    }
  }
}

/* --- parts --- */

static void one_carried(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_region_builder_next(k.builder, 0, bend(&k, x, gain(&k, "w")));
  take(&k, finish(&k), 1);
}

/* Two carried values that trade places, and one that is only used inside. */
static void several_carried(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a"), y = carried(&k, "b"), z = carried(&k, "c");
  mvs_region_builder_next(k.builder, 0, y);
  mvs_region_builder_next(k.builder, 1, unary(&k, MVS_OP_tanh, binary(&k, MVS_OP_sub, x, z)));
  mvs_region_builder_next(k.builder, 2, bend(&k, z, gain(&k, "w")));
  take(&k, finish(&k), 2);
}

/* Two streams, each with a norm, that feed one another. */
static void two_streams(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a"), y = carried(&k, "b");
  mvs_attr last = {.epsilon = {0.01}};
  mvs_id r = mvs_graph_add(k.body, MVS_OP_inv_rms, &x, 1, &last, s->span);
  mvs_id normal = binary(&k, MVS_OP_normalize, x, r);
  mvs_id after = binary(&k, MVS_OP_add, y, bend(&k, normal, gain(&k, "w")));
  mvs_id mean = unary(&k, MVS_OP_segment_mean, after);
  mvs_attr table = {.segments = {k.type.segments}};
  mean = mvs_graph_add(k.body, MVS_OP_segment_broadcast, &mean, 1, &table, s->span);
  mvs_region_builder_next(k.builder, 0, binary(&k, MVS_OP_sub, after, mean));
  mvs_region_builder_next(k.builder, 1, binary(&k, MVS_OP_mul, after, gain(&k, "v")));
  take(&k, finish(&k), 2);
}

static void invariants(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_id shared = ops_weight(s, named(s, "shared"), 1, (int64_t[]){k.type.dims[2].size});
  shared = mvs_region_builder_invariant(k.builder, shared);
  mvs_id inputs = mvs_region_builder_invariant(k.builder, start(s, "c"));
  mvs_id inner = binary(&k, MVS_OP_add, shared, unary(&k, MVS_OP_sin, shared));
  mvs_region_builder_next(k.builder, 0, bend(&k, binary(&k, MVS_OP_add, x, inputs), inner));
  take(&k, finish(&k), 1);
}

/* The carried value, what becomes of it, a stacked input and a new value, all collected. */
static void stacked_outputs(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a"), w = gain(&k, "w");
  mvs_id y = binary(&k, MVS_OP_mul, x, w), next = bend(&k, y, gain(&k, "v"));
  mvs_region_builder_output(k.builder, binary(&k, MVS_OP_mul, y, y));
  mvs_region_builder_output(k.builder, x);
  mvs_region_builder_output(k.builder, w);
  mvs_region_builder_output(k.builder, next);
  mvs_region_builder_next(k.builder, 0, next);
  take(&k, finish(&k), 5);
}

/* Reads of one output at distances 1 and 2, of another at 1, and of one beyond the stack. */
static void reads(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_id y = binary(&k, MVS_OP_mul, x, gain(&k, "w"));
  mvs_id before = mvs_region_builder_read(k.builder, 0, 1, &k.type);
  mvs_id earlier = mvs_region_builder_read(k.builder, 0, 2, &k.type);
  mvs_id sums = mvs_region_builder_read(k.builder, 1, 1, &k.type);
  mvs_id never = mvs_region_builder_read(k.builder, 0, LAYERS + 2, &k.type);
  mvs_id z = binary(&k, MVS_OP_add, y, binary(&k, MVS_OP_mul, before, gain(&k, "v")));
  z = binary(&k, MVS_OP_sub, z, binary(&k, MVS_OP_mul, earlier, sums));
  z = binary(&k, MVS_OP_add, z, never);
  mvs_region_builder_output(k.builder, y);
  mvs_region_builder_output(k.builder, binary(&k, MVS_OP_add, z, sums));
  mvs_region_builder_next(k.builder, 0, unary(&k, MVS_OP_tanh, z));
  take(&k, finish(&k), s->loss ? 2 : 3);
}

/* One read, whose output nobody else wants: a ring of slots. */
static void ring(ops_suite *s, bool reverse, int64_t distance) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_id before = mvs_region_builder_read(k.builder, 0, distance, &k.type);
  mvs_id y = binary(&k, MVS_OP_add, bend(&k, x, gain(&k, "w")), before);
  mvs_region_builder_output(k.builder, binary(&k, MVS_OP_mul, x, gain(&k, "v")));
  mvs_region_builder_next(k.builder, 0, y);
  take(&k, finish(&k), 1);
}

static void ring_of_one(ops_suite *s, bool reverse) { ring(s, reverse, 1); }
static void ring_of_two(ops_suite *s, bool reverse) { ring(s, reverse, 2); }
static void ring_of_three(ops_suite *s, bool reverse) { ring(s, reverse, 3); }

/* A read of the carried value itself, as dense connections have it. */
static void read_of_carried(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_id before = mvs_region_builder_read(k.builder, 0, 2, &k.type);
  mvs_id y = binary(&k, MVS_OP_add, bend(&k, x, gain(&k, "w")), before);
  mvs_region_builder_output(k.builder, x);
  mvs_region_builder_next(k.builder, 0, y);
  take(&k, finish(&k), s->loss ? 1 : 2);
}

static void layer_number(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a");
  mvs_id count = mvs_region_builder_carried(k.builder, ops_constant(s, MVS_I32, 0));
  mvs_attr one = {.constant = {1, MVS_I32}};
  mvs_id step = mvs_graph_add(k.body, MVS_OP_constant, NULL, 0, &one, s->span);
  mvs_id number = mvs_build_cast(k.body, mvs_region_builder_layer(k.builder), MVS_F32, s->span);
  mvs_id counted = mvs_build_cast(k.body, count, MVS_F32, s->span);
  mvs_id factor = binary(&k, MVS_OP_sub, number, binary(&k, MVS_OP_mul, counted, counted));
  mvs_region_builder_next(k.builder, 0,
                          bend(&k, x, binary(&k, MVS_OP_mul, factor, gain(&k, "w"))));
  mvs_region_builder_next(k.builder, 1, binary(&k, MVS_OP_add, count, step));
  take(&k, finish(&k), s->loss ? 1 : 2);
}

/* The second stack starts at the first's end and takes its outputs layer by layer. */
static void chained(ops_suite *s, bool reverse) {
  stack first = stack_new(s, "s", false);
  mvs_id y = bend(&first, carried(&first, "a"), gain(&first, "w"));
  mvs_region_builder_next(first.builder, 0, y);
  mvs_region_builder_output(first.builder, binary(&first, MVS_OP_mul, y, y));
  mvs_id node = finish(&first);
  mvs_id last = mvs_build_get(s->graph, node, 0, s->span);
  mvs_id all = mvs_build_get(s->graph, node, 1, s->span);
  stack second = stack_new(s, "t", reverse);
  mvs_id z = mvs_region_builder_carried(second.builder, last);
  mvs_id skip = mvs_region_builder_stacked(second.builder, all, &second.type);
  mvs_id shared = mvs_region_builder_invariant(second.builder, last);
  mvs_id sum = binary(&second, MVS_OP_add, binary(&second, MVS_OP_mul, z, skip), shared);
  mvs_region_builder_next(second.builder, 0, bend(&second, sum, gain(&second, "v")));
  take(&second, finish(&second), 1);
}

/* A matmul branch, attention, MV-Split's merge and a norm. */
static void block(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  int64_t width = k.type.dims[2].size, count = k.type.dims[1].size;
  mvs_id x = carried(&k, "a"), qkv[3];
  for (int i = 0; i < 3; i++) {
    int64_t heads = i ? 1 : 2;
    mvs_type type = ops_type(MVS_F32, 4, (int64_t[]){0, count, heads, 3});
    mvs_id w = weight(&k, (const char *[]){"q", "k", "v"}[i], 2, (int64_t[]){3 * heads, width});
    qkv[i] = mvs_build_matmul(k.body, MVS_MATMUL_NT, x, w, MVS_NONE, MVS_F32, s->span);
    qkv[i] = mvs_build_reshape(k.body, qkv[i], &type, s->span);
  }
  mvs_attr scale = {.attention = {0.5}}, table = {.segments = {k.type.segments}};
  mvs_id f = mvs_graph_add(k.body, MVS_OP_attention, qkv, 3, &scale, s->span);
  mvs_type flat = ops_type(MVS_F32, 3, (int64_t[]){0, count, 6});
  flat.segments = k.type.segments;
  f = mvs_build_reshape(k.body, mvs_build_get(k.body, f, 0, s->span), &flat, s->span);
  mvs_id w = weight(&k, "o", 2, (int64_t[]){width, 6});
  f = mvs_build_matmul(k.body, MVS_MATMUL_NT, f, w, gain(&k, "bias"), MVS_F32, s->span);
  mvs_id rows = binary(&k, MVS_OP_sub, unary(&k, MVS_OP_segment_mean, f),
                       unary(&k, MVS_OP_segment_mean, x));
  mvs_id moved = mvs_graph_add(k.body, MVS_OP_segment_broadcast, &rows, 1, &table, s->span);
  mvs_id merged = binary(&k, MVS_OP_add, x, binary(&k, MVS_OP_mul, gain(&k, "beta"), f));
  merged = binary(&k, MVS_OP_add, merged, binary(&k, MVS_OP_mul, gain(&k, "alpha"), moved));
  mvs_attr last = {.epsilon = {0.01}};
  mvs_id r = mvs_graph_add(k.body, MVS_OP_inv_rms, &merged, 1, &last, s->span);
  mvs_region_builder_next(k.builder, 0, binary(&k, MVS_OP_normalize, merged, r));
  take(&k, finish(&k), 1);
}

/* What outer kernels do with stacked values: element work, sums, a layer, more stacks. */
static void used_outside(ops_suite *s, bool reverse) {
  stack k = stack_new(s, "s", reverse);
  mvs_id x = carried(&k, "a"), y = bend(&k, x, gain(&k, "w"));
  mvs_region_builder_next(k.builder, 0, y);
  mvs_region_builder_output(k.builder, x);
  mvs_region_builder_output(k.builder, binary(&k, MVS_OP_mul, y, y));
  mvs_id node = finish(&k);
  mvs_id xs = mvs_build_get(s->graph, node, 1, s->span);
  mvs_id ys = mvs_build_get(s->graph, node, 2, s->span);
  mvs_id sum = ops_binary(s, MVS_OP_add, xs, ops_unary(s, MVS_OP_exp, ys));
  mvs_id rows = ops_sum(s, sum, 8), tokens = ops_sum(s, sum, 4);
  if (s->loss) {
    add_to_loss(s, "weights", ops_binary(s, MVS_OP_mul, sum, rows));
    return;
  }
  ops_result(s, "sum", sum);
  ops_result(s, "rows", rows);
  ops_result(s, "tokens", tokens);
}

typedef struct part {
  const char *name;
  void (*build)(ops_suite *s, bool reverse);
} part;

#define PART(build) \
  { #build, build }
static const part parts[] = {
    PART(one_carried),     PART(several_carried), PART(two_streams),  PART(invariants),
    PART(stacked_outputs), PART(reads),           PART(ring_of_one),  PART(ring_of_two),
    PART(ring_of_three),   PART(read_of_carried), PART(layer_number), PART(chained),
    PART(block),           PART(used_outside),
};
#define PARTS (int)(sizeof parts / sizeof *parts)

/* Each stack as a function of its own, at 2, 15 and 33 features. */
static void forward(bool passes, const char *level) {
  ops_suite *s = ops_suite_new();
  s->level = level;
  s->total = MVS_NONE;
  s->tolerance = (ops_tolerance){0, 1e-5, "tens of roundings, sums of 33 terms"};
  for (int i = 0; i < PARTS; i++) {
    for (s->shape = 1; s->shape < 7; s->shape += 2) {
      for (int reverse = 0; reverse < 2; reverse++) {
        if (level && s->shape != 3) continue;
        if (!passes && s->shape == 3) continue;
        ops_function(s, "%s_%d%s", parts[i].name, s->shape, reverse ? "_reverse" : "");
        parts[i].build(s, reverse);
      }
    }
  }
  if (passes) {
    ops_compile(s);
  } else {
    ops_compile_raw(s);
  }
  ops_check(s, 1);
  ops_check(s, 3);
  ops_suite_end(s);
}

void ops_regions_agree(void **state) {
  (void)state;
  forward(false, NULL);
}

void ops_regions_agree_after_passes(void **state) {
  (void)state;
  forward(true, NULL);
}

void ops_regions_agree_on_the_other_level(void **state) {
  (void)state;
  forward(true, ops_level_runs("x86-64-v4") ? "x86-64-v3" : "x86-64-v4");
}

/* Layers of a batched stack lie apart by strides that no kernel can know: refused, not wrong.
 */
void ops_batched_stacks_stay_whole(void **state) {
  (void)state;
  ops_suite *s = ops_suite_new();
  s->shape = 3;
  ops_function(s, "one_layer");
  stack k = stack_new(s, "s", false);
  mvs_id x = carried(&k, "a");
  mvs_region_builder_next(k.builder, 0, bend(&k, x, gain(&k, "w")));
  mvs_region_builder_output(k.builder, x);
  mvs_id all = mvs_build_get(s->graph, finish(&k), 1, s->span);
  ops_result(s, "y", ops_unary(s, MVS_OP_neg, ops_slice(s, all, 0, 1, 1)));
  assert_int_equal(mvs_pipeline_run(&s->compilation, NULL), MVS_ERR_INTERNAL);
  mvs_text words = mvs_text_new(s->arena);
  mvs_diag_render(s->diag, &words);
  assert_non_null(strstr(mvs_text_string(&words), "takes a batched stack apart"));
  ops_suite_end(s);
}

/* Both directions in one loss: most of their kernels are the same. */
void ops_region_gradients_agree(void **state) {
  (void)state;
  for (int i = 0; i < PARTS; i++) {
    ops_suite *s = ops_suite_new();
    s->tolerance = (ops_tolerance){0, 2e-5, "sums of 700 terms over tokens and samples"};
    s->shape = i % 2 ? 3 : 5;
    const mvs_graph *loss = ops_loss_start(s);
    s->total = MVS_NONE;
    for (int reverse = 0; reverse < 2; reverse++) {
      s->stack = reverse ? "down_" : "up_";
      parts[i].build(s, reverse);
    }
    ops_loss(s, s->total);
    ops_compile(s);
    ops_check_gradients(s, loss, 2, 3);
    ops_check(s, 1);
    ops_check(s, 3);
    if (s->failures) print_error("in the gradient of %s\n", parts[i].name);
    ops_suite_end(s);
  }
}
