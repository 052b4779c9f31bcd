/* test_region_gradients.c: gradients through stacks against finite differences in float64:
 * every part of the region op, in both directions, alone and together, chained, and over
 * MV-Split's merge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "compiler/passes/region_builder.h"
#include "tests/unit/graph_fixture.h"

#define LAYERS 4

/* A region being built, and short words for its body. */
typedef struct stack {
  fixture *f;
  mvs_region_builder *builder;
  mvs_graph *body;
} stack;

static stack stack_new(fixture *f, const char *label, bool reverse) {
  mvs_region like = {.label = label, .count = LAYERS};
  stack s = {f, mvs_region_builder_new(f->graph, &like, reverse), NULL};
  s.body = s.builder->region->body;
  return s;
}

static mvs_id in_body(const stack *s, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(s->body, op, a, b, s->f->span);
}

static mvs_id bend(const stack *s, mvs_id a) {
  return mvs_build_unary(s->body, MVS_OP_tanh, a, s->f->span);
}

/* The layer's slice of a new stacked parameter [.., 5]. */
static mvs_id weight(const stack *s, const char *name) {
  mvs_id outer = fixture_stacked_param(s->f, mvs_arena_format(s->f->arena, "s.{i}.%s", name),
                                       LAYERS, 1, (int64_t[]){5});
  mvs_type type = mvs_region_slice_type(mvs_graph_type(s->f->graph, outer));
  return mvs_region_builder_stacked(s->builder, outer, &type);
}

static mvs_id invariant(const stack *s, const char *name) {
  mvs_id outer = fixture_param(s->f, name, 2, (int64_t[]){3, 5});
  return mvs_region_builder_invariant(s->builder, outer);
}

/* [B, 3, 5] that depends on a parameter. */
static mvs_id start(fixture *f, const char *name) {
  mvs_id a = fixture_param(f, name, 2, (int64_t[]){3, 5});
  return fixture_binary(f, MVS_OP_add, a, fixture_input(f, "x", 3, (int64_t[]){0, 3, 5}));
}

static mvs_id taken(const stack *s, mvs_id node, uint32_t index) {
  return mvs_build_get(s->f->graph, node, index, s->f->span);
}

/* The sum of several weighted values is the loss, so that each has its own cotangent. */
static void losses(fixture *f, const mvs_id *values, int count) {
  mvs_id sum = mvs_build_constant(f->graph, 0);
  for (int i = 0; i < count; i++) {
    mvs_id part = fixture_weigh(f, mvs_arena_format(f->arena, "weights%d", i), values[i]);
    sum = fixture_binary(f, MVS_OP_add, sum, part);
  }
  fixture_loss(f, sum);
}

/* --- the parts --- */

/* x' = tanh(x w) */
static void one_carried(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_region_builder_next(s.builder, 0, bend(&s, in_body(&s, MVS_OP_mul, x, weight(&s, "w"))));
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
}

/* Two carried values that trade places, and one that nothing uses after the stack. */
static void several_carried(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_id y = mvs_region_builder_carried(s.builder, start(f, "b"));
  mvs_id z = mvs_region_builder_carried(s.builder, start(f, "c"));
  mvs_region_builder_next(s.builder, 0, y);
  mvs_region_builder_next(s.builder, 1, bend(&s, in_body(&s, MVS_OP_sub, x, z)));
  mvs_region_builder_next(s.builder, 2, in_body(&s, MVS_OP_mul, z, weight(&s, "w")));
  mvs_id node = mvs_region_builder_finish(s.builder);
  losses(f, (mvs_id[]){taken(&s, node, 0), taken(&s, node, 1)}, 2);
}

static void invariants(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_id shared = invariant(&s, "shared");
  mvs_id wave = mvs_build_unary(s.body, MVS_OP_sin, shared, f->span); /* hoisted later */
  mvs_id inputs =
      mvs_region_builder_invariant(s.builder, fixture_input(f, "c", 3, (int64_t[]){0, 3, 5}));
  mvs_id inner = in_body(&s, MVS_OP_mul, x, in_body(&s, MVS_OP_add, shared, wave));
  mvs_region_builder_next(s.builder, 0, bend(&s, in_body(&s, MVS_OP_add, inner, inputs)));
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
}

static void stacked_outputs(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_id w = weight(&s, "w");
  mvs_id y = in_body(&s, MVS_OP_mul, x, w);
  mvs_region_builder_output(s.builder, in_body(&s, MVS_OP_mul, y, y));
  mvs_region_builder_output(s.builder, x);
  mvs_region_builder_output(s.builder, w);
  mvs_region_builder_next(s.builder, 0, bend(&s, y));
  mvs_id node = mvs_region_builder_finish(s.builder);
  losses(f,
         (mvs_id[]){taken(&s, node, 0), taken(&s, node, 1), taken(&s, node, 2),
                    taken(&s, node, 3)},
         4);
}

/* Reads of the same output at distances 1 and 2, of another at 1, and of one beyond the stack.
 */
static void reads(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  const mvs_type *type = mvs_graph_type(s.body, x);
  mvs_id y = in_body(&s, MVS_OP_mul, x, weight(&s, "w"));
  mvs_id before = mvs_region_builder_read(s.builder, 0, 1, type);
  mvs_id earlier = mvs_region_builder_read(s.builder, 0, 2, type);
  mvs_id sums = mvs_region_builder_read(s.builder, 1, 1, type);
  mvs_id never = mvs_region_builder_read(s.builder, 0, LAYERS + 2, type);
  mvs_id z = in_body(&s, MVS_OP_add, y, in_body(&s, MVS_OP_mul, before, weight(&s, "v")));
  z = in_body(&s, MVS_OP_sub, z, in_body(&s, MVS_OP_mul, earlier, sums));
  z = in_body(&s, MVS_OP_add, z, never);
  mvs_region_builder_output(s.builder, y);
  mvs_region_builder_output(s.builder, in_body(&s, MVS_OP_add, z, sums));
  mvs_region_builder_next(s.builder, 0, bend(&s, z));
  mvs_id node = mvs_region_builder_finish(s.builder);
  losses(f, (mvs_id[]){taken(&s, node, 0), taken(&s, node, 1)}, 2);
}

/* The layer's number scales the branch; a counter is carried along. */
static void layer_number(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_attr zero = {.constant = {0, MVS_I32}}, one = {.constant = {1, MVS_I32}};
  mvs_id count = mvs_region_builder_carried(
      s.builder, mvs_graph_add(f->graph, MVS_OP_constant, NULL, 0, &zero, f->span));
  mvs_id step = mvs_graph_add(s.body, MVS_OP_constant, NULL, 0, &one, f->span);
  mvs_id number = mvs_build_cast(s.body, mvs_region_builder_layer(s.builder), MVS_F32, f->span);
  mvs_id counted = mvs_build_cast(s.body, count, MVS_F32, f->span);
  mvs_id factor = in_body(&s, MVS_OP_sub, number, in_body(&s, MVS_OP_mul, counted, counted));
  mvs_id branch = in_body(&s, MVS_OP_mul, factor, weight(&s, "w"));
  mvs_region_builder_next(s.builder, 0, bend(&s, in_body(&s, MVS_OP_mul, x, branch)));
  mvs_region_builder_next(s.builder, 1, in_body(&s, MVS_OP_add, count, step));
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
}

/* The second stack starts from the first's end and takes its outputs layer by layer. */
static void chained(fixture *f, bool reverse) {
  stack first = stack_new(f, "s", false);
  mvs_id x = mvs_region_builder_carried(first.builder, start(f, "a"));
  mvs_id y = bend(&first, in_body(&first, MVS_OP_mul, x, weight(&first, "w")));
  mvs_region_builder_next(first.builder, 0, y);
  mvs_region_builder_output(first.builder, in_body(&first, MVS_OP_mul, y, y));
  mvs_id node = mvs_region_builder_finish(first.builder);
  stack second = stack_new(f, "t", reverse);
  mvs_id z = mvs_region_builder_carried(second.builder, taken(&first, node, 0));
  mvs_id skip = mvs_region_builder_stacked(second.builder, taken(&first, node, 1),
                                           mvs_graph_type(second.body, z));
  mvs_id shared = mvs_region_builder_invariant(second.builder, taken(&first, node, 0));
  mvs_id sum = in_body(&second, MVS_OP_add, in_body(&second, MVS_OP_mul, z, skip), shared);
  mvs_region_builder_next(
      second.builder, 0,
      bend(&second, in_body(&second, MVS_OP_mul, sum, weight(&second, "v"))));
  mvs_id end = mvs_region_builder_finish(second.builder);
  losses(f, (mvs_id[]){taken(&second, end, 0), taken(&first, node, 1)}, 2);
}

/* --- a block: matmul branch, MV-Split merge, norm, spelled by primitives --- */

static mvs_id mean(const stack *s, mvs_id x) {
  mvs_id rows = mvs_build_unary(s->body, MVS_OP_segment_mean, x, s->f->span);
  mvs_attr table = {.segments = {fixture_segments(s->f)}};
  return mvs_graph_add(s->body, MVS_OP_segment_broadcast, &rows, 1, &table, s->f->span);
}

static mvs_id rms_norm(const stack *s, mvs_id x) {
  mvs_id sum = mvs_build_sum(s->body, in_body(s, MVS_OP_mul, x, x), 4, s->f->span);
  mvs_id square = in_body(s, MVS_OP_mul, sum, mvs_build_constant(s->body, 0.2));
  mvs_id stable = in_body(s, MVS_OP_add, square, mvs_build_constant(s->body, 1e-2));
  return in_body(s, MVS_OP_mul, x, mvs_build_unary(s->body, MVS_OP_rsqrt, stable, s->f->span));
}

static void mvsplit(fixture *f, bool reverse) {
  stack s = stack_new(f, "s", reverse);
  mvs_id initial = fixture_binary(f, MVS_OP_mul, fixture_param(f, "a", 1, (int64_t[]){5}),
                                  fixture_tokens(f, "x", 5));
  mvs_id x = mvs_region_builder_carried(s.builder, initial);
  mvs_id w = fixture_stacked_param(f, "s.{i}.w", LAYERS, 2, (int64_t[]){5, 5});
  mvs_type matrix = fixture_type(2, (int64_t[]){5, 5});
  mvs_id slice = mvs_region_builder_stacked(s.builder, w, &matrix);
  mvs_id branch = mvs_build_matmul(s.body, MVS_MATMUL_NT, x, slice, MVS_NONE, MVS_F32, f->span);
  branch =
      in_body(&s, MVS_OP_mul, branch, mvs_build_unary(s.body, MVS_OP_sigmoid, branch, f->span));
  mvs_id centred = in_body(&s, MVS_OP_sub, branch, mean(&s, branch));
  mvs_id moved = in_body(&s, MVS_OP_sub, mean(&s, branch), mean(&s, x));
  mvs_id merged = in_body(&s, MVS_OP_add, x, in_body(&s, MVS_OP_mul, weight(&s, "b"), centred));
  merged = in_body(&s, MVS_OP_add, merged, in_body(&s, MVS_OP_mul, weight(&s, "c"), moved));
  mvs_region_builder_next(s.builder, 0, rms_norm(&s, merged));
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
}

/* --- limits --- */

/* A block as long as a model file can make it: no pass recurses along it or takes its square.
 */
static void long_blocks_are_fine(void **state) {
  (void)state;
  fixture *f = fixture_new();
  stack s = stack_new(f, "s", false);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_id wave = invariant(&s, "shared"), y = x, w = weight(&s, "w");
  for (int i = 0; i < 5000; i++) {
    y = bend(&s, in_body(&s, MVS_OP_mul, y, y));
    wave = in_body(&s, MVS_OP_mul, wave, wave);
    w = mvs_build_unary(s.body, MVS_OP_neg, w, f->span);
  }
  y = in_body(&s, MVS_OP_add, y, in_body(&s, MVS_OP_mul, wave, w));
  mvs_region_builder_next(s.builder, 0, y);
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
  fixture_run(f, mvs_pass_simplify, "simplify");
  fixture_run(f, mvs_pass_gradients, "gradients");
  f->compilation.facts |= MVS_FACT_GRADIENTS;
  fixture_run(f, mvs_pass_simplify, "simplify");
  fixture_run(f, mvs_pass_hoist, "hoist");
  fixture_free(f);
}

/* Each layer's values to keep come in as stacked inputs, of which there is a limit. */
static void wide_blocks_are_refused(void **state) {
  (void)state;
  fixture *f = fixture_new();
  stack s = stack_new(f, "wide", false);
  mvs_id x = mvs_region_builder_carried(s.builder, start(f, "a"));
  mvs_id w = fixture_stacked_param(f, "s.{i}.w", LAYERS, 2, (int64_t[]){5, 5});
  mvs_type matrix = fixture_type(2, (int64_t[]){5, 5});
  mvs_id slice = mvs_region_builder_stacked(s.builder, w, &matrix);
  mvs_id y = x;
  for (int i = 0; i < MVS_MAX_INPUTS; i++) {
    y = bend(&s, mvs_build_matmul(s.body, MVS_MATMUL_NT, y, slice, MVS_NONE, MVS_F32, f->span));
  }
  mvs_region_builder_next(s.builder, 0, y);
  fixture_loss(f, taken(&s, mvs_region_builder_finish(s.builder), 0));
  assert_int_equal(mvs_pass_gradients(&f->compilation), MVS_ERR_LIMIT);
  mvs_text words = mvs_text_new(f->arena);
  mvs_diag_render(f->diag, &words);
  assert_non_null(strstr(mvs_text_string(&words), "the gradient of 'wide' needs"));
  fixture_free(f);
}

/* --- the tests --- */

typedef struct part {
  const char *name;
  void (*build)(fixture *f, bool reverse);
  bool reverse;
} part;

#define BOTH_WAYS(build) \
  {#build, build, false}, { #build " in reverse", build, true }
static part parts[] = {BOTH_WAYS(one_carried), BOTH_WAYS(several_carried),
                       BOTH_WAYS(invariants),  BOTH_WAYS(stacked_outputs),
                       BOTH_WAYS(reads),       BOTH_WAYS(layer_number),
                       BOTH_WAYS(chained),     BOTH_WAYS(mvsplit)};

static void gradient_agrees(void **state) {
  const part *p = *state;
  fixture *f = fixture_new();
  p->build(f, p->reverse);
  fixture_check_gradients(f, f->graph, 2);
  fixture_free(f);
}

/* The same, with norms and means recognised before the gradients are taken. */
static void simplified_gradient_agrees(void **state) {
  const part *p = *state;
  fixture *f = fixture_new();
  p->build(f, p->reverse);
  const mvs_graph *loss = f->graph;
  fixture_run(f, mvs_pass_simplify, "simplify");
  fixture_check_gradients(f, loss, 3);
  fixture_free(f);
}

int main(void) {
  enum { COUNT = sizeof parts / sizeof *parts };
  struct CMUnitTest tests[2 * COUNT + 2] = {{0}};
  for (int i = 0; i < COUNT; i++) {
    tests[2 * i] = (struct CMUnitTest){parts[i].name, gradient_agrees, NULL, NULL, &parts[i]};
    tests[2 * i + 1] =
        (struct CMUnitTest){parts[i].name, simplified_gradient_agrees, NULL, NULL, &parts[i]};
  }
  tests[2 * COUNT] = (struct CMUnitTest)cmocka_unit_test(long_blocks_are_fine);
  tests[2 * COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(wide_blocks_are_refused);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
