/* ops_tests.c: tests of compositions: whether fusion keeps values and bits, and limits. */
#include "tests/unit/ops_tests.h"

#include "tests/unit/ops_composites.h"

static const ops_tolerance f32 = {0, 2e-5, "tens of roundings, sums of 100, divided by 0.1"};
/* Each stored value may be one bit of bf16 off; norms divide by down to 0.1. */
static const ops_tolerance bf16 = {0, 4e-2, "some steps of 2^-8, divided by a norm"};

/* Every value that can be a result becomes one, so that nothing is left to fuse. */
static void expose(ops_suite *s) {
  mvs_id count = mvs_graph_size(s->graph);
  for (mvs_id id = 0; id < count; id++) {
    const mvs_node *node = mvs_graph_node(s->graph, id);
    if (mvs_ops[node->op].op_class == MVS_CLASS_SOURCE || mvs_op_is_tuple(node->op)) continue;
    ops_result(s, mvs_arena_format(s->arena, "value%u", id), id);
  }
}

static void add_forward(ops_suite *s, const ops_composite *c, int shape, bool all) {
  ops_function(s, "%s_%d_%s%s", c->name, shape, mvs_dtype_name(s->storage), all ? "_all" : "");
  ops_result(s, "y", c->build(s, ops_input(s, "x", ops_shared(s, s->storage, shape))));
  if (all) expose(s);
}

/* Functions over two, three and four of the shared shapes. */
static void add_forwards(ops_suite *s, const ops_composite *c) {
  static const int shapes[] = {1, 3, 5, 7};
  for (int i = 0; i < (s->few ? 2 : 4); i++) {
    s->storage = MVS_F32, s->tolerance = f32;
    add_forward(s, c, shapes[i], false);
    if (i % 2 && !s->few) add_forward(s, c, shapes[i], true);
    s->storage = MVS_BF16, s->tolerance = bf16;
    if (i == 1) add_forward(s, c, shapes[i], false);
  }
}

static void check_same_bits(ops_suite *s, const ops_composite *c, int shape) {
  const char *name = mvs_arena_format(s->arena, "%s_%d_f32", c->name, shape);
  ops_check_same_bits(s, name, mvs_arena_format(s->arena, "%s_all", name), 3);
}

/* As they are, and after all passes. Sums over several axes need the passes. */
static void composites(bool passes, const char *level, bool few) {
  ops_suite *s = ops_suite_new();
  s->level = level;
  s->few = few;
  for (int i = 0; i < ops_composite_count; i++) {
    bool several = strcmp(ops_composites[i].name, "sums") == 0;
    if (few && i % 2) continue;
    if (passes || !several) add_forwards(s, &ops_composites[i]);
  }
  if (passes) {
    ops_compile(s);
  } else {
    ops_compile_raw(s);
  }
  ops_check(s, 1);
  ops_check(s, 3);
  for (int i = 0; i < ops_composite_count && !passes && !few; i++) {
    if (strcmp(ops_composites[i].name, "sums") == 0) continue;
    check_same_bits(s, &ops_composites[i], 3);
    check_same_bits(s, &ops_composites[i], 7);
  }
  ops_suite_end(s);
}

static void composites_agree(void **state) {
  (void)state;
  composites(false, NULL, false);
}

static void composites_agree_after_passes(void **state) {
  (void)state;
  composites(true, NULL, false);
}

static void composites_agree_on_the_other_level(void **state) {
  (void)state;
  composites(true, ops_level_runs("x86-64-v4") ? "x86-64-v3" : "x86-64-v4", true);
}

/* The whole way of a loss: gradients of all weights, and of the host code for them. */
static void gradients_agree(void **state) {
  (void)state;
  for (int i = 0; i < ops_composite_count; i++) {
    if (!ops_composites[i].weights) continue;
    ops_suite *s = ops_suite_new();
    s->tolerance = (ops_tolerance){0, 5e-5, "sums of 400 terms of such values"};
    const mvs_graph *loss = ops_loss_start(s);
    mvs_id x = ops_input(s, "x", ops_shared(s, MVS_F32, i % 2 ? 3 : 5));
    ops_loss(s, ops_composites[i].build(s, x));
    ops_compile(s);
    ops_check_gradients(s, loss, 2, 5);
    ops_check(s, 1);
    ops_check(s, 3);
    if (s->failures) print_error("in the gradient of %s\n", ops_composites[i].name);
    ops_suite_end(s);
  }
}

/* --- limits --- */

/* More operands than a kernel has; a chain longer than one expression. */
static void large_expressions_are_divided(void **state) {
  (void)state;
  ops_suite *s = ops_suite_new();
  s->tolerance = (ops_tolerance){0, 1e-4, "200 roundings"};
  mvs_type type = ops_shared(s, MVS_F32, 3);
  ops_function(s, "many_inputs");
  mvs_id y = ops_input(s, "x", type);
  for (int i = 0; i < 200; i++) {
    mvs_id x = ops_input(s, mvs_arena_format(s->arena, "x%d", i), type);
    y = i % 2 ? ops_binary(s, MVS_OP_max, y, x) : ops_binary(s, MVS_OP_add, y, x);
  }
  ops_result(s, "y", y);
  ops_function(s, "many_results");
  mvs_id x = ops_input(s, "x", type);
  for (int i = 0; i < 100; i++) {
    y = ops_binary(s, MVS_OP_add, x, mvs_build_constant(s->graph, i));
    ops_result(s, mvs_arena_format(s->arena, "y%d", i), y);
  }
  ops_function(s, "long_chain");
  y = ops_input(s, "x", type);
  for (int i = 0; i < 600; i++) {
    y = ops_binary(s, i % 2 ? MVS_OP_max : MVS_OP_min, ops_unary(s, MVS_OP_neg, y),
                   mvs_build_constant(s->graph, i % 7 - 3.5));
  }
  ops_result(s, "y", y);
  ops_function(s, "many_parts");
  mvs_id parts[100];
  for (int i = 0; i < 100; i++) {
    parts[i] = ops_input(s, mvs_arena_format(s->arena, "x%d", i), type);
    if (i % 3 == 0) parts[i] = ops_unary(s, MVS_OP_neg, parts[i]);
  }
  ops_result(s, "tokens", mvs_build_concat(s->graph, parts, 100, 1, NULL, s->span));
  ops_result(s, "features", mvs_build_concat(s->graph, parts, 100, 2, NULL, s->span));
  ops_compile(s);
  ops_check(s, 2);
  ops_suite_end(s);
}

/* Shapes that are divided over threads, along rows, tokens and columns. */
static void large_shapes_are_divided(void **state) {
  (void)state;
  ops_suite *s = ops_suite_new();
  s->tolerance = (ops_tolerance){0, 1e-4, "sums of 1000 terms"};
  const int lengths[] = {100, 33, 0};
  mvs_type type = ops_tokens(s, MVS_F32, lengths, 200);
  ops_function(s, "large_block");
  mvs_id x = ops_input(s, "x", type);
  for (int i = 0; i < ops_composite_count; i++) {
    if (strcmp(ops_composites[i].name, "attention_block") == 0) {
      ops_result(s, "attention", ops_composites[i].build(s, x));
    }
  }
  mvs_attr table = {.segments = {type.segments}};
  mvs_id rows = ops_unary(s, MVS_OP_segment_mean, x);
  mvs_id centred = ops_node(s, MVS_OP_segment_broadcast, &table, rows, MVS_NONE);
  centred = ops_binary(s, MVS_OP_sub, ops_unary(s, MVS_OP_exp, x), centred);
  ops_result(s, "centred", centred);
  ops_result(s, "samples", ops_sum(s, centred, 1));
  ops_result(s, "tokens", ops_sum(s, centred, 2));
  ops_result(s, "features", ops_sum(s, centred, 4));
  mvs_attr order = {.permutation = {3, {0, 2, 1}}};
  ops_result(s, "turned", ops_node(s, MVS_OP_transpose, &order, centred, MVS_NONE));
  mvs_id outer =
      mvs_build_matmul(s->graph, MVS_MATMUL_TN, x, centred, MVS_NONE, MVS_F32, s->span);
  ops_result(s, "outer", outer);
  ops_result(s, "inner",
             mvs_build_matmul(s->graph, MVS_MATMUL_NN, x, outer, MVS_NONE, MVS_F32, s->span));
  ops_compile_raw(s);
  ops_check(s, 5);
  ops_suite_end(s);
}

/* Where a product is stored besides, it is surely rounded before it is added to. */
static void products_are_not_contracted(void **state) {
  (void)state;
  ops_suite *s = ops_suite_new();
  ops_function(s, "product");
  mvs_id x = ops_input(s, "x", ops_shared(s, MVS_F32, 7));
  mvs_id product = ops_binary(s, MVS_OP_mul, x, x);
  ops_result(s, "y", ops_binary(s, MVS_OP_sub, product, ops_constant(s, MVS_F32, 0.25)));
  ops_function(s, "product_stored");
  x = ops_input(s, "x", ops_shared(s, MVS_F32, 7));
  product = ops_binary(s, MVS_OP_mul, x, x);
  ops_result(s, "product", product);
  ops_result(s, "y", ops_binary(s, MVS_OP_sub, product, ops_constant(s, MVS_F32, 0.25)));
  for (size_t i = 0; i < s->cases.count; i++) {
    s->cases.items[i].tolerance = (ops_tolerance){0, 0x1p-23, "rounded before and after"};
  }
  ops_compile_raw(s);
  ops_check(s, 3);
  ops_check_same_bits(s, "product", "product_stored", 3);
  ops_suite_end(s);
}

const ops_test ops_tests[] = {
    {"composites_agree", composites_agree},
    {"composites_agree_after_passes", composites_agree_after_passes},
    {"composites_agree_on_the_other_level", composites_agree_on_the_other_level},
    {"gradients_agree", gradients_agree},
    {"large_expressions_are_divided", large_expressions_are_divided},
    {"large_shapes_are_divided", large_shapes_are_divided},
    {"products_are_not_contracted", products_are_not_contracted},
    {"regions_agree", ops_regions_agree},
    {"regions_agree_after_passes", ops_regions_agree_after_passes},
    {"regions_agree_on_the_other_level", ops_regions_agree_on_the_other_level},
    {"region_gradients_agree", ops_region_gradients_agree},
    {"batched_stacks_stay_whole", ops_batched_stacks_stay_whole},
    {"user_rules_agree", ops_user_rules_agree},
    {"library_rules_agree", ops_library_rules_agree},
    {"muon_agrees", ops_muon_agrees},
    {"variants_of_attention_agree", ops_variants_of_attention_agree},
    {"user_rules_agree_on_the_other_level", ops_user_rules_agree_on_the_other_level},
    {0},
};
