/* test_reference.c: the reference evaluator against values worked out by hand, and its
 * gradients against finite differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "tests/reference/reference.h"

static void fail_with(mvs_arena *arena, mvs_diag *diag, const char *text) {
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  fail_msg("%s\n%s", text, mvs_text_string(&words));
}

static mvs_module *read_module(mvs_arena *arena, mvs_diag *diag, const char *text) {
  mvs_source *source = MVS_NEW(arena, mvs_source);
  *source = (mvs_source){"test", text, strlen(text)};
  mvs_module *module = NULL;
  if (mvs_module_read(arena, diag, source, &module) != MVS_OK ||
      mvs_module_verify(module, "reading", diag) != MVS_OK)
    fail_with(arena, diag, text);
  return module;
}

/* Gives every input of a graph its values, one after the other. */
static void give(mvs_arena *arena, const mvs_graph *graph, int64_t batch, const double *values,
                 mvs_tensor_map *map) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op != MVS_OP_input) continue;
    mvs_tensor tensor = mvs_tensor_new(arena, &node->type, batch);
    int64_t count = mvs_tensor_count(&tensor, batch);
    for (int64_t i = 0; i < count; i++) tensor.data[i] = *values++;
    mvs_tensor_map_set(arena, map, node->attr.input.name, tensor);
  }
}

/* A graph with result y, for a batch of 2: all inputs' values in order, and the values wanted.
 */
static const struct {
  const char *text;
  double given[24], wanted[24];
} values[] = {
    /* elements and broadcasting */
    {"%0 = input a : f32[2] %1 = neg %0 : f32[2] results y=%1", {1, -2}, {-1, 2}},
    {"%0 = input a : f32[1] %1 = exp %0 : f32[1] results y=%1", {1}, {M_E}},
    {"%0 = input a : f32[1] %1 = log %0 : f32[1] results y=%1", {M_E}, {1}},
    {"%0 = input a : f32[1] %1 = sqrt %0 : f32[1] results y=%1", {9}, {3}},
    {"%0 = input a : f32[1] %1 = rsqrt %0 : f32[1] results y=%1", {4}, {0.5}},
    {"%0 = input a : f32[1] %1 = sin %0 : f32[1] results y=%1", {M_PI / 6}, {0.5}},
    {"%0 = input a : f32[1] %1 = cos %0 : f32[1] results y=%1", {M_PI / 3}, {0.5}},
    {"%0 = input a : f32[1] %1 = tanh %0 : f32[1] results y=%1", {0.5}, {0.46211715726000975}},
    {"%0 = input a : f32[2] %1 = sigmoid %0 : f32[2] results y=%1",
     {0, 2},
     {0.5, 0.8807970779778823}},
    {"%0 = input a : f32[2] %1 = abs %0 : f32[2] results y=%1", {-3, 3}, {3, 3}},
    {"%0 = input a : f32[2] %1 = floor %0 : f32[2] results y=%1", {-1.5, 1.5}, {-2, 1}},
    {"%0 = input a : f32[2] %1 = cast %0 : i32[2] results y=%1", {-1.5, 1.5}, {-1, 1}},
    {"%0 = input a : f32[2] %1 = input b : f32[2, 1] %2 = add %0, %1 : f32[2, 2] results y=%2",
     {1, 2, 10, 20},
     {11, 12, 21, 22}},
    {"%0 = input a : f32[2] %1 = input b : f32[B, 1] %2 = sub %0, %1 : f32[B, 2] results y=%2",
     {1, 2, 10, 20},
     {-9, -8, -19, -18}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = mul %0, %1 : f32[2] results y=%2",
     {1, 2, 10},
     {10, 20}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = div %0, %1 : f32[2] results y=%2",
     {1, -2, 4},
     {0.25, -0.5}},
    {"%0 = input a : i32[2] %1 = input b : i32 %2 = div %0, %1 : i32[2] results y=%2",
     {7, -7, 2},
     {3, -3}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = max %0, %1 : f32[2] results y=%2",
     {1, 3, 2},
     {2, 3}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = min %0, %1 : f32[2] results y=%2",
     {1, 3, 2},
     {1, 2}},
    {"%0 = input a : f32[3] %1 = input b : f32 %2 = less %0, %1 : f32[3] results y=%2",
     {1, 2, 3, 2},
     {1, 0, 0}},
    {"%0 = input a : f32[3] %1 = input b : f32 %2 = equal %0, %1 : f32[3] results y=%2",
     {1, 2, 3, 2},
     {0, 1, 0}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = input c : f32[2] "
     "%3 = select %0, %1, %2 : f32[2] results y=%3",
     {0, -1, 5, 6, 7},
     {6, 5}},
    {"%0 = input a : f32[2] %1 = input b : f32 %2 = fma %0, %1, %0 : f32[2] results y=%2",
     {1, 2, 10},
     {11, 22}},
    {"%0 = iota axis=1 : i32[2, 3] results y=%0", {0}, {0, 1, 2, 0, 1, 2}},
    {"%0 = constant 2.5 : f32 %1 = broadcast %0 : f32[B] results y=%1", {0}, {2.5, 2.5}},
    {"%0 = input a : f32[B, 2] %1 = inv_rms eps=0.5 %0 : f32[B, 1] "
     "%2 = normalize %0, %1 : f32[B, 2] results y=%2",
     {1, 2, 0, 1},
     {0.57735026918962576, 1.1547005383792515, 0, 1}},
    /* reductions */
    {"%0 = input a : f32[B, 2, 2] %1 = sum axes(0, 2) %0 : f32[1, 2, 1] results y=%1",
     {1, 2, 3, 4, 5, 6, 7, 8},
     {14, 22}},
    {"%0 = input a : f32[B, 3] %1 = max_over axes(1) %0 : f32[B, 1] results y=%1",
     {1, 5, 2, -3, -1, -2},
     {5, -1}},
    /* segments */
    {"%0 = input a : f32[B, 3{i:2, t:1}, 1] %1 = segment_sum %0 : f32[B, 2, 1] results y=%1",
     {1, 2, 3, 4, 5, 6},
     {3, 3, 9, 6}},
    {"%0 = input a : f32[B, 3{i:2, t:1}, 1] %1 = segment_mean %0 : f32[B, 2, 1] results y=%1",
     {1, 2, 3, 4, 5, 6},
     {1.5, 3, 4.5, 6}},
    {"%0 = input a : f32[B, 2, 1] %1 = segment_broadcast %0 : f32[B, 3{i:2, t:1}, 1] results "
     "y=%1",
     {1, 2, 3, 4},
     {1, 1, 2, 3, 3, 4}},
    {"%0 = input a : f32[B, 2, 1] %1 = segment_spread %0 : f32[B, 3{i:2, t:1}, 1] results y=%1",
     {1, 2, 3, 4},
     {0.5, 0.5, 2, 1.5, 1.5, 4}},
    /* views */
    {"%0 = input a : f32[2, 3] %1 = reshape %0 : f32[3, 2] results y=%1",
     {1, 2, 3, 4, 5, 6},
     {1, 2, 3, 4, 5, 6}},
    {"%0 = input a : f32[2, 3] %1 = transpose order(1, 0) %0 : f32[3, 2] results y=%1",
     {1, 2, 3, 4, 5, 6},
     {1, 4, 2, 5, 3, 6}},
    {"%0 = input a : f32[B, 1, 2, 3] %1 = transpose order(3, 0, 2, 1) %0 : f32[3, B, 2, 1] "
     "results y=%1",
     {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
     {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12}},
    {"%0 = input a : f32[2, 3] %1 = slice axis=1 start=1 length=2 total=3 %0 : f32[2, 2] "
     "results y=%1",
     {1, 2, 3, 4, 5, 6},
     {2, 3, 5, 6}},
    {"%0 = input a : f32[2, 2] %1 = pad axis=1 start=1 length=2 total=4 %0 : f32[2, 4] "
     "results y=%1",
     {1, 2, 3, 4},
     {0, 1, 2, 0, 0, 3, 4, 0}},
    {"%0 = input a : f32[2, 1] %1 = input b : f32[2, 2] %2 = concat axis=1 %0, %1 : f32[2, 3] "
     "results y=%2",
     {1, 2, 3, 4, 5, 6},
     {1, 3, 4, 2, 5, 6}},
    /* matmul: x is [2, 3], the weight [2, 3], [3, 2] and [2, 2] */
    {"%0 = input a : f32[B, 3] %1 = input b : f32[2, 3] %2 = input c : f32[2] "
     "%3 = matmul NT %0, %1, %2 : f32[B, 2] results y=%3",
     {1, 2, 3, 4, 5, 6, 1, 0, 1, 0, 1, 0, 100, 200},
     {104, 202, 110, 205}},
    {"%0 = input a : f32[B, 3] %1 = input b : f32[3, 2] %2 = matmul NN %0, %1 : f32[B, 2] "
     "results y=%2",
     {1, 2, 3, 4, 5, 6, 1, 0, 0, 1, 1, 0},
     {4, 2, 10, 5}},
    {"%0 = input a : f32[B, 3] %1 = input b : f32[B, 2] %2 = matmul TN %0, %1 : f32[3, 2] "
     "results y=%2",
     {1, 2, 3, 4, 5, 6, 1, 0, 0, 1},
     {1, 4, 2, 5, 3, 6}},
    /* attention: with equal keys all weights are equal */
    {"%0 = input q : f32[B, 2, 1, 1] %1 = input k : f32[B, 2, 1, 1] %2 = input v : f32[B, 2, "
     "1, 1] "
     "%3 = attention scale=1 %0, %1, %2 : (f32[B, 2, 1, 1], f32[B, 1, 2]) "
     "%4 = get 0 %3 : f32[B, 2, 1, 1] results y=%4",
     {1, 2, 3, 4, 0, 0, 0, 0, 2, 4, 6, 10},
     {3, 3, 8, 8}},
    {"%0 = input q : f32[B, 2, 1, 1] %1 = input k : f32[B, 2, 1, 1] "
     "%2 = attention scale=2 %0, %1, %1 : (f32[B, 2, 1, 1], f32[B, 1, 2]) "
     "%3 = get 1 %2 : f32[B, 1, 2] results y=%3",
     {1, 0, 0.5, 2, 3, 3, 1, 1},
     {6 + M_LN2, M_LN2, 1 + M_LN2, 4 + M_LN2}},
};

static void check_values(const char *text, const double *given, const double *wanted) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const char *whole = mvs_arena_format(arena, "function f %s", text);
  mvs_graph *graph = read_module(arena, diag, whole)->functions.items[0].graph;
  mvs_tensor_map map = {0}, results = {0};
  mvs_reference_options options = {.diag = diag};
  give(arena, graph, 2, given, &map);
  if (mvs_reference_run(arena, graph, 2, &map, &options, &results) != MVS_OK) {
    fail_with(arena, diag, text);
  }
  const mvs_tensor *y = mvs_tensor_map_find(&results, "y");
  for (int64_t i = 0; i < mvs_tensor_count(y, 2); i++) {
    /* A few roundings of float64, of values near 1. */
    if (fabs(y->data[i] - wanted[i]) <= 1e-13 * fmax(1, fabs(wanted[i]))) continue;
    fail_msg("%s\nelement %d is %.17g, not %.17g", text, (int)i, y->data[i], wanted[i]);
  }
  mvs_arena_free(arena);
}

static void ops_have_their_values(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    check_values(values[i].text, values[i].given, values[i].wanted);
  }
}

/* --- regions --- */

/* x <- x * w[layer] + layer, and the sum of the outputs one and two layers ago. */
#define WALK(reverse)                                                                        \
  "function f %0 = input x : f32[B] %1 = input w : f32[4] "                                  \
  "%2 = region r count=4 " reverse                                                           \
  "carried(%0) stacked(%1) reads(0@1, 0@2) { "                                               \
  "%0 = argument carried 0 : f32[B] %1 = argument stacked 0 : f32 "                          \
  "%2 = argument read 0 : f32[B] %3 = argument read 1 : f32[B] %4 = argument layer 0 : i32 " \
  "%5 = fma %0, %1, %4 : f32[B] %6 = add %2, %3 : f32[B] %7 = add %5, %6 : f32[B] "          \
  "results carried(%5) stacked(%7) } : (f32[B], f32[4, B]) "                                 \
  "%3 = get 0 %2 : f32[B] %4 = get 1 %2 : f32[4, B] results x=%3, all=%4"

static void check_walk(const char *text, bool reverse) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_graph *graph = read_module(arena, diag, text)->functions.items[0].graph;
  const double given[] = {1, 2, 3, 5, 7, 11};
  double x[] = {1, 2}, all[4][2] = {{0}};
  for (int run = 0; run < 4; run++) {
    int layer = reverse ? 3 - run : run, back = reverse ? 1 : -1;
    for (int i = 0; i < 2; i++) {
      x[i] = x[i] * given[2 + layer] + layer;
      all[layer][i] = x[i];
      if (run >= 1) all[layer][i] += all[layer + back][i];
      if (run >= 2) all[layer][i] += all[layer + 2 * back][i];
    }
  }
  mvs_tensor_map map = {0}, results = {0};
  give(arena, graph, 2, given, &map);
  assert_int_equal(mvs_reference_run(arena, graph, 2, &map, NULL, &results), MVS_OK);
  const mvs_tensor *last = mvs_tensor_map_find(&results, "x");
  const mvs_tensor *outputs = mvs_tensor_map_find(&results, "all");
  for (int i = 0; i < 2; i++) assert_true(last->data[i] == x[i]);
  for (int i = 0; i < 8; i++) assert_true(outputs->data[i] == all[i / 2][i % 2]);
  mvs_arena_free(arena);
}

static void regions_walk_both_ways(void **state) {
  (void)state;
  check_walk(WALK(""), false);
  check_walk(WALK("reverse "), true);
}

/* --- rounding and random numbers --- */

static void bf16_rounds_to_even(void **state) {
  (void)state;
  assert_true(mvs_reference_bf16(1.0) == 1.0);
  assert_true(mvs_reference_bf16(1 + 0x1p-8) == 1.0);            /* a tie, to even */
  assert_true(mvs_reference_bf16(1 + 3 * 0x1p-8) == 1 + 0x1p-6); /* a tie, to even */
  assert_true(mvs_reference_bf16(1 + 0x1p-8 + 0x1p-20) == 1 + 0x1p-7);
  assert_true(mvs_reference_bf16(-0.3) == -0.30078125);
  assert_true(isinf(mvs_reference_bf16(3.4e38)));
  assert_true(isnan(mvs_reference_bf16(NAN)));
}

static void rounding_is_an_option(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  static const char text[] =
      "function f %0 = input a : f32[1] %1 = cast %0 : bf16[1] results y=%1";
  mvs_graph *graph = read_module(arena, diag, text)->functions.items[0].graph;
  mvs_tensor_map map = {0}, results = {0};
  give(arena, graph, 1, (double[]){0.3}, &map);
  mvs_reference_options options = {.round_bf16 = true};
  mvs_reference_run(arena, graph, 1, &map, NULL, &results);
  assert_true(mvs_tensor_map_find(&results, "y")->data[0] == 0.3);
  mvs_reference_run(arena, graph, 1, &map, &options, &results);
  assert_true(mvs_tensor_map_find(&results, "y")->data[0] == 0.30078125);
  mvs_arena_free(arena);
}

/* The known answers that come with the generator (Random123, kat_vectors). */
static void philox_gives_known_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], wanted[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    uint32_t words[4];
    memcpy(words, known[i].counter, sizeof words);
    mvs_reference_philox(words, known[i].key);
    assert_memory_equal(words, known[i].wanted, sizeof words);
  }
}

/* A draw depends on sample, step, stream, seed and position, and on nothing else: half of a
 * batch has the values that it has in the whole. */
static void draws_do_not_see_the_batch(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  static const char text[] =
      "function f %0 = input seed : i32 %1 = input step : i32 %2 = input sample : i32[B, 1, 1] "
      "%3 = random normal stream=5 %0, %1, %2 : f32[B, 2, 3] results y=%3";
  mvs_graph *graph = read_module(arena, diag, text)->functions.items[0].graph;
  mvs_tensor_map whole = {0}, half = {0}, results = {0}, rest = {0};
  give(arena, graph, 4, (double[]){7, 9, 100, 101, 102, 103}, &whole);
  give(arena, graph, 2, (double[]){7, 9, 102, 103}, &half);
  mvs_reference_run(arena, graph, 4, &whole, NULL, &results);
  mvs_reference_run(arena, graph, 2, &half, NULL, &rest);
  const double *all = mvs_tensor_map_find(&results, "y")->data;
  const double *last = mvs_tensor_map_find(&rest, "y")->data;
  for (int i = 0; i < 12; i++) assert_true(all[12 + i] == last[i]);
  assert_true(all[6 + 4] == mvs_reference_random(MVS_RANDOM_NORMAL, 7, 5, 4, 101, 9));
  assert_true(all[0] != all[6] && all[0] != all[1]);
  mvs_arena_free(arena);
}

static void draws_have_their_moments(void **state) {
  (void)state;
  enum { DRAWS = 100000 };
  double sum = 0, squares = 0, uniforms = 0;
  for (uint32_t i = 0; i < DRAWS; i++) {
    double normal = mvs_reference_random(MVS_RANDOM_NORMAL, 1, 2, i, 0, 0);
    double uniform = mvs_reference_random(MVS_RANDOM_UNIFORM, 1, 2, i, 0, 0);
    assert_true(uniform > 0 && uniform <= 1);
    sum += normal, squares += normal * normal, uniforms += uniform;
  }
  /* Five standard deviations of each mean: 5 / sqrt(n) times 1, sqrt(2) and sqrt(1 / 12). */
  assert_true(fabs(sum / DRAWS) < 0.0158);
  assert_true(fabs(squares / DRAWS - 1) < 0.0224);
  assert_true(fabs(uniforms / DRAWS - 0.5) < 0.0046);
}

/* --- errors --- */

static void missing_inputs_are_named(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  static const char text[] = "function f %0 = input a : f32[2] results y=%0";
  mvs_graph *graph = read_module(arena, diag, text)->functions.items[0].graph;
  mvs_tensor_map map = {0}, results = {0};
  assert_int_equal(mvs_reference_run(arena, graph, 1, &map, NULL, &results), MVS_ERR_NAME);
  mvs_type type = mvs_type_make(MVS_F32, 1, (mvs_dim[]){{3, false}});
  mvs_tensor_map_set(arena, &map, "a", mvs_tensor_new(arena, &type, 1));
  assert_int_equal(mvs_reference_run(arena, graph, 1, &map, NULL, &results), MVS_ERR_SHAPE);
  mvs_arena_free(arena);
}

/* --- gradients --- */

/* Functions with result "loss", and graphs with a result for the gradient in each input. */
static const struct {
  const char *function, *grad;
} gradients[] = {
    {"%0 = input a : f32[B, 3] %1 = mul %0, %0 : f32[B, 3] %2 = sum axes(0, 1) %1 : f32[1, 1] "
     "results loss=%2",
     "%0 = input a : f32[B, 3] %1 = add %0, %0 : f32[B, 3] results a=%1"},
    /* o sums to the loss, so do is all ones */
    {"%0 = input q : f32[B, 3, 4, 2] %1 = input k : f32[B, 3, 2, 2] "
     "%2 = input v : f32[B, 3, 2, 2] %3 = input m : f32[B, 3, 4, 2] "
     "%4 = attention scale=0.7 %0, %1, %2 : (f32[B, 3, 4, 2], f32[B, 4, 3]) "
     "%5 = get 0 %4 : f32[B, 3, 4, 2] %6 = mul %5, %3 : f32[B, 3, 4, 2] "
     "%7 = sum axes(0, 1, 2, 3) %6 : f32[1, 1, 1, 1] results loss=%7",
     "%0 = input q : f32[B, 3, 4, 2] %1 = input k : f32[B, 3, 2, 2] "
     "%2 = input v : f32[B, 3, 2, 2] %3 = input m : f32[B, 3, 4, 2] "
     "%4 = attention scale=0.7 %0, %1, %2 : (f32[B, 3, 4, 2], f32[B, 4, 3]) "
     "%5 = get 0 %4 : f32[B, 3, 4, 2] %6 = get 1 %4 : f32[B, 4, 3] "
     "%7 = attention_grad scale=0.7 %0, %1, %2, %5, %6, %3 : "
     "(f32[B, 3, 4, 2], f32[B, 3, 2, 2], f32[B, 3, 2, 2]) "
     "%8 = get 0 %7 : f32[B, 3, 4, 2] %9 = get 1 %7 : f32[B, 3, 2, 2] "
     "%10 = get 2 %7 : f32[B, 3, 2, 2] results q=%8, k=%9, v=%10, m=%5"},
    /* the transposes of the segment ops */
    {"%0 = input a : f32[B, 3{i:2, t:1}, 2] %1 = input m : f32[B, 2, 2] "
     "%2 = segment_mean %0 : f32[B, 2, 2] %3 = mul %2, %1 : f32[B, 2, 2] "
     "%4 = sum axes(0, 1, 2) %3 : f32[1, 1, 1] results loss=%4",
     "%0 = input m : f32[B, 2, 2] %1 = segment_spread %0 : f32[B, 3{i:2, t:1}, 2] results "
     "a=%1"},
};

static void check_gradient(const char *function, const char *grad) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const char *text =
      mvs_arena_format(arena, "function loss %s\nfunction grad %s", function, grad);
  mvs_module *module = read_module(arena, diag, text);
  mvs_gradient_case check = {.value = "loss", .batch = 2, .most = 20};
  check.function = module->functions.items[0].graph;
  check.grad = module->functions.items[1].graph;
  mvs_tensor_map map = {0};
  mvs_reference_fill(arena, check.function, 2, 11, &map);
  check.given = &map;
  const mvs_results *list = mvs_graph_result_list(check.grad);
  for (size_t i = 0; i < list->count; i++) {
    mvs_gradient_report report;
    check.variable = check.gradient = list->items[i].name;
    if (mvs_reference_check_gradient(arena, &check, diag, &report) != MVS_OK) {
      fail_with(arena, diag, text);
    }
    assert_true(report.probed > 0 && report.scale > 1e-3);
    /* Truncation and cancellation of a central difference at step 1e-5 are both near 1e-10. */
    if (!(report.worst < 1e-7)) {
      fail_msg("%s: element %d of %s is %.10g, differences say %.10g", grad,
               (int)report.element, check.variable, report.claimed, report.difference);
    }
  }
  mvs_arena_free(arena);
}

static void gradients_match_differences(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) {
    check_gradient(gradients[i].function, gradients[i].grad);
  }
}

static void wrong_gradients_are_noticed(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  static const char text[] =
      "function loss %0 = input a : f32[B, 3] %1 = exp %0 : f32[B, 3] "
      "%2 = sum axes(0, 1) %1 : f32[1, 1] results loss=%2 "
      "function grad %0 = input a : f32[B, 3] results a=%0";
  mvs_module *module = read_module(arena, diag, text);
  mvs_tensor_map map = {0};
  mvs_gradient_case check = {.value = "loss", .gradient = "a", .variable = "a", .batch = 2};
  check.function = module->functions.items[0].graph;
  check.grad = module->functions.items[1].graph;
  check.given = &map;
  mvs_gradient_report report;
  assert_int_equal(mvs_reference_check_gradient(arena, &check, diag, &report), MVS_ERR_NAME);
  mvs_reference_fill(arena, check.function, 2, 11, &map);
  assert_int_equal(mvs_reference_check_gradient(arena, &check, diag, &report), MVS_OK);
  assert_int_equal(report.probed, 6);
  assert_true(report.worst > 0.1);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ops_have_their_values),
      cmocka_unit_test(regions_walk_both_ways),
      cmocka_unit_test(bf16_rounds_to_even),
      cmocka_unit_test(rounding_is_an_option),
      cmocka_unit_test(philox_gives_known_answers),
      cmocka_unit_test(draws_do_not_see_the_batch),
      cmocka_unit_test(draws_have_their_moments),
      cmocka_unit_test(missing_inputs_are_named),
      cmocka_unit_test(gradients_match_differences),
      cmocka_unit_test(wrong_gradients_are_noticed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
