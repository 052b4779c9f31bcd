/* test_gradients.c: every gradient rule against finite differences in float64, at odd sizes and
 * with broadcasting; then again through simplify and hoist. Regions have their own program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "tests/unit/graph_fixture.h"

static bool seen[MVS_OP_COUNT]; /* ops through which a checked gradient flowed */

/* --- one case per op --- */

/* [B, 3, 5]: a parameter [3, 5], stretched over the batch and moved by an input; `shift` keeps
 * it where the op is smooth. */
static mvs_id operand(fixture *f, const char *name, double shift) {
  mvs_id a = fixture_param(f, name, 2, (int64_t[]){3, 5});
  mvs_id x = fixture_input(f, "x", 3, (int64_t[]){0, 3, 5});
  mvs_id sum = fixture_binary(f, MVS_OP_add, a, x);
  return fixture_binary(f, MVS_OP_add, sum, mvs_build_constant(f->graph, shift));
}

static mvs_id row(fixture *f, const char *name) {
  return fixture_param(f, name, 1, (int64_t[]){5});
}

static mvs_id column(fixture *f, const char *name) {
  return fixture_param(f, name, 2, (int64_t[]){3, 1});
}

#define UNARY(op, shift)                                                            \
  static mvs_id case_##op(fixture *f) {                                             \
    return mvs_build_unary(f->graph, MVS_OP_##op, operand(f, "a", shift), f->span); \
  }
UNARY(neg, 0)
UNARY(exp, 0)
UNARY(log, 3)
UNARY(sqrt, 3)
UNARY(rsqrt, 3)
UNARY(sin, 0)
UNARY(cos, 0)
UNARY(tanh, 0)
UNARY(sigmoid, 0)
UNARY(abs, 0)

/* Both operands stretch, each along another axis, and one of them over the batch. */
#define BINARY(op, shift)                                                                 \
  static mvs_id case_##op(fixture *f) {                                                   \
    mvs_id left = fixture_binary(                                                         \
        f, MVS_OP_##op, operand(f, "a", 0),                                               \
        fixture_binary(f, MVS_OP_add, row(f, "b"), mvs_build_constant(f->graph, shift))); \
    return fixture_binary(                                                                \
        f, MVS_OP_##op, column(f, "c"),                                                   \
        fixture_binary(f, MVS_OP_add, left, mvs_build_constant(f->graph, 2 * shift)));    \
  }
BINARY(add, 0)
BINARY(sub, 0)
BINARY(mul, 0)
BINARY(div, 3)
BINARY(max, 0)
BINARY(min, 0)

static mvs_id case_cast(fixture *f) {
  mvs_id wide = mvs_build_cast(f->graph, operand(f, "a", 0), MVS_F64, f->span);
  mvs_id square = fixture_binary(f, MVS_OP_mul, wide, wide);
  mvs_id narrow = mvs_build_cast(f->graph, square, MVS_BF16, f->span);
  return fixture_binary(f, MVS_OP_mul, narrow, row(f, "b"));
}

static mvs_id case_select(fixture *f) {
  mvs_id a = operand(f, "a", 0);
  mvs_id condition = fixture_binary(f, MVS_OP_less, a, mvs_build_constant(f->graph, 0));
  mvs_id square = fixture_binary(f, MVS_OP_mul, a, a);
  return mvs_graph_add(f->graph, MVS_OP_select, (mvs_id[]){condition, square, row(f, "b")}, 3,
                       NULL, f->span);
}

static mvs_id case_fma(fixture *f) {
  mvs_id inputs[] = {operand(f, "a", 0), row(f, "b"), column(f, "c")};
  return mvs_graph_add(f->graph, MVS_OP_fma, inputs, 3, NULL, f->span);
}

static mvs_id case_broadcast(fixture *f) {
  mvs_type type = fixture_type(3, (int64_t[]){0, 3, 5});
  mvs_attr shape = {.shape = {type}};
  mvs_id c = column(f, "c");
  mvs_id wide = mvs_graph_add(f->graph, MVS_OP_broadcast, &c, 1, &shape, f->span);
  return mvs_build_unary(f->graph, MVS_OP_exp, wide, f->span);
}

static mvs_id case_normalize(fixture *f) {
  mvs_id x = fixture_binary(f, MVS_OP_mul, operand(f, "a", 0), row(f, "b"));
  mvs_attr epsilon = {.epsilon = {0.1}};
  mvs_id r = mvs_graph_add(f->graph, MVS_OP_inv_rms, &x, 1, &epsilon, f->span);
  return fixture_binary(f, MVS_OP_normalize, x, r);
}

static mvs_id case_sum(fixture *f) {
  mvs_id a = operand(f, "a", 0);
  mvs_id square = fixture_binary(f, MVS_OP_mul, a, a);
  mvs_id last = mvs_build_sum(f->graph, square, 4, f->span);
  return fixture_binary(f, MVS_OP_mul, last, mvs_build_sum(f->graph, square, 3, f->span));
}

static mvs_id case_max_over(fixture *f) {
  mvs_id a = operand(f, "a", 0);
  mvs_attr axes = {.axes = {2}};
  mvs_id top = mvs_graph_add(f->graph, MVS_OP_max_over, &a, 1, &axes, f->span);
  return fixture_binary(f, MVS_OP_sub, a, top);
}

static mvs_id case_inv_rms(fixture *f) {
  mvs_id x = operand(f, "a", 0);
  mvs_attr epsilon = {.epsilon = {0.1}};
  mvs_id r = mvs_graph_add(f->graph, MVS_OP_inv_rms, &x, 1, &epsilon, f->span);
  return fixture_binary(f, MVS_OP_mul, r, row(f, "b"));
}

/* --- segments: 4 + 3 tokens --- */

static mvs_id tokens(fixture *f) {
  mvs_id a = fixture_param(f, "a", 2, (int64_t[]){7, 5});
  return fixture_binary(f, MVS_OP_mul, a, fixture_tokens(f, "x", 5));
}

static mvs_id rows_to_tokens(fixture *f, mvs_op op, mvs_id rows) {
  mvs_attr table = {.segments = {fixture_segments(f)}};
  return mvs_graph_add(f->graph, op, &rows, 1, &table, f->span);
}

static mvs_id case_segment_sum(fixture *f) {
  mvs_id sum = mvs_build_unary(f->graph, MVS_OP_segment_sum, tokens(f), f->span);
  return fixture_binary(f, MVS_OP_mul, sum, row(f, "b"));
}

static mvs_id case_segment_mean(fixture *f) {
  mvs_id mean = mvs_build_unary(f->graph, MVS_OP_segment_mean, tokens(f), f->span);
  return fixture_binary(f, MVS_OP_mul, mean, mean);
}

static mvs_id segment_rows(fixture *f) {
  mvs_id a = fixture_param(f, "a", 2, (int64_t[]){2, 5});
  return fixture_binary(f, MVS_OP_mul, a, fixture_input(f, "m", 3, (int64_t[]){0, 2, 5}));
}

static mvs_id case_segment_broadcast(fixture *f) {
  mvs_id each = rows_to_tokens(f, MVS_OP_segment_broadcast, segment_rows(f));
  return fixture_binary(f, MVS_OP_mul, each, fixture_tokens(f, "x", 5));
}

static mvs_id case_segment_spread(fixture *f) {
  mvs_id each = rows_to_tokens(f, MVS_OP_segment_spread, segment_rows(f));
  return fixture_binary(f, MVS_OP_mul, each, fixture_tokens(f, "x", 5));
}

/* --- views --- */

static mvs_id case_reshape(fixture *f) {
  mvs_type type = fixture_type(3, (int64_t[]){0, 5, 3});
  mvs_id flat = mvs_build_reshape(f->graph, operand(f, "a", 0), &type, f->span);
  return fixture_binary(f, MVS_OP_mul, flat, fixture_param(f, "b", 1, (int64_t[]){3}));
}

static mvs_id case_transpose(fixture *f) {
  mvs_id a = operand(f, "a", 0);
  mvs_attr order = {.permutation = {3, {2, 0, 1}}};
  mvs_id turned = mvs_graph_add(f->graph, MVS_OP_transpose, &a, 1, &order, f->span);
  return fixture_binary(f, MVS_OP_mul, turned, fixture_param(f, "b", 1, (int64_t[]){3}));
}

static mvs_id case_slice(fixture *f) {
  mvs_id some = mvs_build_slice(f->graph, tokens(f), 1, 4, 3, NULL, f->span);
  mvs_id part = mvs_build_slice(f->graph, some, 2, 1, 3, NULL, f->span);
  return fixture_binary(f, MVS_OP_mul, part, part);
}

static mvs_id case_pad(fixture *f) {
  mvs_id a = operand(f, "a", 0);
  mvs_attr window = {.slice = {1, 2, 3, 7, NULL}};
  mvs_id wide = mvs_graph_add(f->graph, MVS_OP_pad, &a, 1, &window, f->span);
  return fixture_binary(f, MVS_OP_add, wide, row(f, "b"));
}

static mvs_id case_concat(fixture *f) {
  mvs_id a = operand(f, "a", 0), b = fixture_input(f, "y", 3, (int64_t[]){0, 4, 5});
  mvs_id parts[] = {a, b, fixture_binary(f, MVS_OP_mul, a, a)};
  mvs_id whole = mvs_build_concat(f->graph, parts, 3, 1, NULL, f->span);
  return fixture_binary(f, MVS_OP_mul, whole, row(f, "b"));
}

/* --- heavy --- */

static mvs_id matmul(fixture *f, mvs_matmul_form form, mvs_id a, mvs_id b, mvs_id bias) {
  return mvs_build_matmul(f->graph, form, a, b, bias, MVS_F32, f->span);
}

static mvs_id case_matmul(fixture *f) {
  mvs_id a = operand(f, "a", 0), w = fixture_param(f, "w", 2, (int64_t[]){7, 5});
  mvs_id y = matmul(f, MVS_MATMUL_NT, a, w, fixture_param(f, "bias", 1, (int64_t[]){7}));
  mvs_id back = matmul(f, MVS_MATMUL_NN, y, w, MVS_NONE);
  return matmul(f, MVS_MATMUL_TN, back, y, MVS_NONE);
}

static mvs_id heads(fixture *f, const char *name, int64_t count) {
  mvs_id a = fixture_param(f, name, 3, (int64_t[]){7, count, 3});
  const char *other = mvs_arena_format(f->arena, "x%s", name);
  mvs_id x = fixture_input(f, other, 4, (int64_t[]){0, 7, count, 3});
  return fixture_binary(f, MVS_OP_add, a, x);
}

static mvs_id case_attention(fixture *f) {
  mvs_id inputs[] = {heads(f, "q", 4), heads(f, "k", 2), heads(f, "v", 2)};
  mvs_attr scale = {.attention = {0.7}};
  mvs_id both = mvs_graph_add(f->graph, MVS_OP_attention, inputs, 3, &scale, f->span);
  return mvs_build_get(f->graph, both, 0, f->span);
}

/* --- the check --- */

typedef struct op_case {
  const char *name;
  fixture_build *build;
} op_case;

#define CASE(op) \
  { #op, case_##op }
static op_case cases[] = {CASE(neg),
                          CASE(exp),
                          CASE(log),
                          CASE(sqrt),
                          CASE(rsqrt),
                          CASE(sin),
                          CASE(cos),
                          CASE(tanh),
                          CASE(sigmoid),
                          CASE(abs),
                          CASE(cast),
                          CASE(add),
                          CASE(sub),
                          CASE(mul),
                          CASE(div),
                          CASE(max),
                          CASE(min),
                          CASE(select),
                          CASE(fma),
                          CASE(broadcast),
                          CASE(normalize),
                          CASE(sum),
                          CASE(max_over),
                          CASE(inv_rms),
                          CASE(segment_sum),
                          CASE(segment_mean),
                          CASE(segment_broadcast),
                          CASE(segment_spread),
                          CASE(reshape),
                          CASE(transpose),
                          CASE(slice),
                          CASE(pad),
                          CASE(concat),
                          CASE(matmul),
                          CASE(attention)};

static void gradient_agrees(void **state) {
  const op_case *c = *state;
  fixture *f = fixture_new();
  fixture_loss(f, c->build(f));
  const mvs_graph *loss = f->graph;
  for (mvs_id id = 0; id < mvs_graph_size(loss); id++)
    seen[mvs_graph_node(loss, id)->op] = true;
  fixture_check_gradients(f, loss, 2);
  fixture_free(f);
}

/* Ops without tensor inputs, without derivative, or that gradients alone use. */
static bool needs_no_case(mvs_op op) {
  switch (op) {
    case MVS_OP_floor:
    case MVS_OP_equal:
    case MVS_OP_random:
    case MVS_OP_iota:
    case MVS_OP_argument:
    case MVS_OP_attention_grad:
    case MVS_OP_region: /* test_region_gradients.c */
      return true;
    default:
      return false;
  }
}

static void every_op_has_a_case(void **state) {
  (void)state;
  for (int op = 0; op < MVS_OP_COUNT; op++) {
    if (!seen[op] && !needs_no_case((mvs_op)op)) fail_msg("no case for %s", mvs_ops[op].name);
  }
}

static void steps_have_no_gradient(void **state) {
  (void)state;
  fixture *f = fixture_new();
  mvs_id a = operand(f, "a", 0);
  mvs_id steps = mvs_build_unary(f->graph, MVS_OP_floor, a, f->span);
  mvs_id b = row(f, "b");
  mvs_id same = fixture_binary(f, MVS_OP_equal, a, b);
  mvs_id less = fixture_binary(f, MVS_OP_less, a, b);
  mvs_id y = fixture_binary(f, MVS_OP_add, fixture_binary(f, MVS_OP_add, steps, same), less);
  fixture_loss(f, y);
  fixture_run(f, mvs_pass_gradients, "gradients");
  mvs_graph *grad = mvs_module_function(f->module, "grad")->graph;
  const mvs_results *results = mvs_graph_results(grad);
  assert_int_equal(results->count, 3);
  for (size_t i = 1; i < 3; i++) {
    const mvs_node *zeros = mvs_graph_node(grad, results->items[i].id);
    assert_int_equal(zeros->op, MVS_OP_broadcast);
    assert_true(mvs_graph_node(grad, zeros->inputs[0])->attr.constant.value == 0);
  }
  fixture_free(f);
}

static void constants_get_no_gradient(void **state) {
  (void)state;
  fixture *f = fixture_new();
  mvs_id a = row(f, "a"), ones = row(f, "ones"), unused = row(f, "unused");
  (void)unused;
  f->module->params.items[1].trained = false;
  fixture_loss(f, fixture_binary(f, MVS_OP_mul, a, ones));
  fixture_run(f, mvs_pass_gradients, "gradients");
  assert_null(mvs_module_function(f->module, "loss"));
  const mvs_results *results = mvs_graph_results(mvs_module_function(f->module, "grad")->graph);
  assert_int_equal(results->count, 3);
  assert_string_equal(results->items[0].name, "loss");
  assert_string_equal(results->items[1].name, "g/a");
  assert_string_equal(results->items[2].name, "g/unused");
  fixture_free(f);
}

/* What is frozen has no gradient, and what only it needs is not computed. */
static void frozen_parameters_get_no_gradient(void **state) {
  (void)state;
  fixture *f = fixture_new();
  mvs_id a = row(f, "a"), still = row(f, "still");
  f->module->params.items[1].group = (mvs_update_group){.has_rate = true, .rate = 0};
  mvs_id inner = fixture_binary(f, MVS_OP_mul, still, still);
  fixture_loss(f, fixture_binary(f, MVS_OP_mul, a, inner));
  fixture_run(f, mvs_pass_gradients, "gradients");
  const mvs_graph *grad = mvs_module_function(f->module, "grad")->graph;
  const mvs_results *results = mvs_graph_result_list(grad);
  assert_int_equal(results->count, 2);
  assert_string_equal(results->items[1].name, "g/a");
  fixture_free(f);
}

int main(void) {
  enum { COUNT = sizeof cases / sizeof *cases };
  struct CMUnitTest tests[COUNT + 4] = {{0}};
  for (int i = 0; i < COUNT; i++) {
    tests[i].name = cases[i].name;
    tests[i].test_func = gradient_agrees;
    tests[i].initial_state = &cases[i];
  }
  tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(every_op_has_a_case);
  tests[COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(steps_have_no_gradient);
  tests[COUNT + 2] = (struct CMUnitTest)cmocka_unit_test(constants_get_no_gradient);
  tests[COUNT + 3] = (struct CMUnitTest)cmocka_unit_test(frozen_parameters_get_no_gradient);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
