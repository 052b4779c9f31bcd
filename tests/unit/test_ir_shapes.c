/* test_ir_shapes.c: every shape rule, by graphs as text: those that fit, and the words for
 * those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "compiler/ir/dump.h"

/* What all cases start with; the node under test is %20. */
#define TOKENS "5{a:4(2x2), b:1}"
static const char common[] =
    "param 0 w : f32[4, 4] trained init=normal(0.5)\n"
    "function f\n"
    "%0 = input tokens : f32[B, " TOKENS
    ", 4]\n"
    "%1 = input others : f32[B, 5{c:5}, 4]\n"
    "%2 = input w : f32[3, 4]\n"
    "%3 = input i : i32\n"
    "%4 = input half : bf16[B, 4]\n"
    "%5 = input wide : f64[B, 4]\n"
    "%6 = input counts : i32[4]\n"
    "%7 = input b : f32[B]\n"
    "%8 = input means : f32[B, 2, 4]\n"
    "%9 = input q : f32[B, 5, 4, 2]\n"
    "%10 = input k : f32[B, 5, 3, 2]\n"
    "%11 = input k2 : f32[B, 5, 2, 2]\n"
    "%12 = input sample : i32[B, 1]\n"
    "%13 = input rms : f32[B, 5, 1]\n"
    "%14 = attention scale=1 %9, %11, %11 : (f32[B, 5, 4, 2], f32[B, 4, 5])\n"
    "%15 = get 0 %14 : f32[B, 5, 4, 2]\n"
    "%16 = get 1 %14 : f32[B, 4, 5]\n"
    "%17 = input square : f32[4, 4]\n"
    "%18 = input row : f32[4]\n"
    "%19 = input deep : f32[1, 1, 1, 1, 1, 1, 1, 1]\n"
    "%20 = ";

static const char *const fits[] = {
    "add %0, %18 : f32[B, " TOKENS ", 4]",
    "add %13, %0 : f32[B, " TOKENS ", 4]",
    "mul %4, %18 : f32[B, 4]",
    "mul %5, %4 : f64[B, 4]",
    "mul %6, %3 : i32[4]",
    "less %6, %3 : f32[4]",
    "equal %5, %5 : f32[B, 4]",
    "select %5, %4, %18 : f32[B, 4]",
    "select %4, %6, %3 : i32[B, 4]",
    "fma %4, %18, %5 : f64[B, 4]",
    "cast %3 : bf16",
    "exp %4 : f32[B, 4]",
    "neg %6 : i32[4]",
    "floor %5 : f64[B, 4]",
    "iota axis=0 : i32[4]",
    "iota axis=1 : f32[B, 4]",
    "random normal stream=0 %3, %3, %12 : f32[B, 7]",
    "random uniform stream=0 %3, %3, %3 : f32[7]",
    "broadcast %13 : f32[B, 5, 3]",
    "broadcast %4 : bf16[3, B, 4]",
    "normalize %0, %13 : f32[B, " TOKENS ", 4]",
    "sum axes(0) %4 : f32[1, 4]",
    "sum axes(1) %0 : f32[B, 1, 4]",
    "sum axes(0, 2) %0 : f32[1, " TOKENS ", 1]",
    "sum axes(0) %5 : f64[1, 4]",
    "max_over axes(0) %6 : i32[1]",
    "inv_rms eps=1e-06 %4 : f32[B, 1]",
    "inv_rms eps=0 %0 : f32[B, " TOKENS ", 1]",
    "segment_sum %0 : f32[B, 2, 4]",
    "segment_mean %1 : f32[B, 1, 4]",
    "segment_broadcast %8 : f32[B, " TOKENS ", 4]",
    "segment_spread %8 : f32[B, " TOKENS ", 4]",
    "reshape %0 : f32[5*B, 4]",
    "reshape %0 : f32[B, 5{z:5}, 2, 2]",
    "reshape %18 : f32[2, 2]",
    "transpose order(1, 0) %2 : f32[4, 3]",
    "transpose order(0, 2, 1) %0 : f32[B, 4, 5]",
    "transpose order(2, 1, 0) %0 : f32[4, " TOKENS ", B]",
    "slice axis=1 start=0 length=4 total=5 %0 : f32[B, 4{a:4(2x2)}, 4]",
    "slice axis=2 start=3 length=1 total=4 %0 : f32[B, " TOKENS ", 1]",
    "pad axis=1 start=0 length=2 total=5 %8 : f32[B, " TOKENS ", 4]",
    "concat axis=1 %8, %0 : f32[B, 7{x:7}, 4]",
    "concat axis=2 %0, %13 : f32[B, " TOKENS ", 5]",
    "get 1 %14 : f32[B, 4, 5] pass=1",
    "matmul NT %0, %2 : bf16[B, " TOKENS ", 3]",
    "matmul NT %0, %17, %18 : f32[B, " TOKENS ", 4]",
    "matmul NN %0, %17 : f32[B, " TOKENS ", 4]",
    "matmul TN %0, %0 : f32[4, 4]",
    "matmul TN %4, %5 : f64[4, 4]",
    "attention scale=1 %9, %9, %9 : (f32[B, 5, 4, 2], f32[B, 4, 5])",
    "attention_grad scale=1 %9, %11, %11, %15, %16, %9 : "
    "(f32[B, 5, 4, 2], f32[B, 5, 2, 2], f32[B, 5, 2, 2])",
};

static const struct {
  const char *node, *words;
} misfits[] = {
    /* sources */
    {"param 3 : f32[4, 4]", "param: parameter 3 of 1"},
    {"argument layer 0 : i32", "argument: stands outside of a region"},
    {"iota axis=1 : i32[4]", "iota: axis 1 of a tensor of rank 1"},
    {"iota axis=0 : bf16[4]", "iota: counts in i32 or f32"},
    {"input x : f32[B, B]", "input: f32[B, B] has the batch on more than one axis"},
    {"input x : f32[1099511627776, 2]",
     "input: the tensor has more than 1099511627776 elements"},
    {"input x : f32[2, 4{a:3}]", "input: segments hold 3 tokens, the token axis 4"},
    {"input x : f32[2, B{a:3}]", "input: segments need a token axis, axis 1"},
    /* elements */
    {"add %0, %2 : f32", "add: shapes do not fit, f32[B, 5{a:4(2x2), b:1}, 4] and f32[3, 4]"},
    {"add %0, %1 : f32", "add: segments differ, {a:4(2x2), b:1} and {c:5}"},
    {"add %7, %4 : f32", "add: shapes do not fit, f32[B] and bf16[B, 4]"},
    {"add %0 : f32", "add: takes 2 to 2 inputs, got 1"},
    {"select %18, %2, %17 : f32", "select: shapes do not fit, f32[3, 4] and f32[4, 4]"},
    {"add %14, %0 : f32", "add: the results of attention are taken with get"},
    {"exp %6 : f32", "exp: needs a float, got i32[4]"},
    {"sigmoid %3 : f32", "sigmoid: needs a float, got i32"},
    {"random normal stream=0 %18, %3, %12 : f32[B, 7]", "random: its seed cannot be f32[4]"},
    {"random normal stream=0 %3, %6, %12 : f32[B, 7]", "random: its step cannot be i32[4]"},
    {"random normal stream=0 %3, %3, %18 : f32[B, 7]", "random: its sample cannot be f32[4]"},
    {"random normal stream=0 %3, %3, %6 : f32[B, 7]", "random: i32[4] does not stretch"},
    {"random normal stream=0 %3, %3, %12 : bf16[B, 7]", "random: draws f32 only"},
    {"broadcast %0 : f32[B, 5, 8]", "does not stretch to f32[B, 5, 8]"},
    {"broadcast %0 : f32[5, 4]", "does not stretch to f32[5, 4]"},
    {"normalize %0, %18 : f32", "normalize: f32[4] is not the inverse rms of f32[B, 5"},
    {"normalize %3, %3 : f32", "normalize: needs a float, got i32"},
    /* reductions */
    {"sum axes(3) %0 : f32", "sum: names an axis that f32[B, 5"},
    {"max_over axes(1) %7 : f32", "max_over: names an axis that f32[B] does not have"},
    {"inv_rms eps=0 %6 : f32", "inv_rms: needs a float, got i32[4]"},
    {"inv_rms eps=0 %7 : f32", "inv_rms: reduces the batch axis of f32[B]"},
    /* segments */
    {"segment_mean %8 : f32", "segment_mean: f32[B, 2, 4] has no segments"},
    {"segment_sum %8 : f32", "segment_sum: f32[B, 2, 4] has no segments"},
    {"segment_broadcast %8 : f32[B, 5, 4]", "segment_broadcast: has no table of segments"},
    {"segment_spread %8 : f32[B, 5{c:5}, 4]",
     "segment_spread: f32[B, 2, 4] does not hold one row for each of 1 segments"},
    {"segment_spread %1 : f32[B, 5{c:1, d:1, e:1, f:1, g:1}, 4]",
     "segment_spread: f32[B, 5{c:5}, 4] does not hold one row for each of 5 segments"},
    /* views */
    {"reshape %0 : f32[B, 21]", "holds 20*B elements, f32[B, 21] holds 21*B"},
    {"reshape %18 : f32[4*B]", "reshape: f32[4] holds 4 elements, f32[4*B] holds 4*B"},
    {"transpose order(0, 0) %2 : f32", "transpose: does not name each axis of f32[3, 4] once"},
    {"transpose order(0) %2 : f32", "transpose: does not name each axis of f32[3, 4] once"},
    {"transpose order(0, 2) %2 : f32", "transpose: does not name each axis of f32[3, 4] once"},
    {"slice axis=0 start=0 length=1 total=1 %0 : f32", "slice: axis 0 of f32[B, 5"},
    {"slice axis=3 start=0 length=1 total=1 %0 : f32",
     "slice: f32[B, 5{a:4(2x2), b:1}, 4] has"},
    {"slice axis=2 start=0 length=1 total=5 %0 : f32", "slice: axis 2 has 4 elements, not 5"},
    {"slice axis=2 start=2 length=3 total=4 %0 : f32",
     "slice: 3 elements from 2 on leave an axis of 4"},
    {"slice axis=2 start=0 length=0 total=4 %0 : f32", "slice: 0 elements from 0 on"},
    {"slice axis=2 start=-1 length=2 total=4 %0 : f32", "slice: 2 elements from -1 on"},
    {"slice axis=2 start=9223372036854775807 length=2 total=4 %0 : f32",
     "slice: 2 elements from"},
    {"slice axis=2 start=0 length=1 total=4 %0 : f32[B, 5{z:5}, 1]",
     "slice: segments differ from those of the input"},
    {"pad axis=1 start=4 length=2 total=5 %8 : f32",
     "pad: 2 elements from 4 on leave an axis of 5"},
    {"pad axis=1 start=0 length=3 total=5 %8 : f32", "pad: axis 1 has 2 elements, not 3"},
    {"concat axis=1 %0, %9 : f32", "concat: parts differ outside of axis 1"},
    {"concat axis=1 %4, %5 : f32", "concat: parts differ outside of axis 1"},
    {"concat axis=0 %4, %4 : f32", "concat: axis 0 of bf16[B, 4] is the batch"},
    {"concat axis=2 %0, %1 : f32", "concat: segments differ from those of the input"},
    {"get 2 %14 : f32", "get: result 2 of 2"},
    {"get 0 %0 : f32", "get: input has one result, which needs no get"},
    /* heavy */
    {"matmul NT %0, %8 : f32", "matmul: the second operand is a matrix, not f32[B, 2, 4]"},
    {"matmul NN %0, %2 : f32", "matmul: inner sizes differ, 4 and 3"},
    {"matmul NT %7, %2 : f32", "matmul: inner sizes differ, B and 4"},
    {"matmul NT %3, %2 : f32", "matmul: needs a float, got i32"},
    {"matmul TN %0, %8 : f32", "matmul: inner sizes differ, 5 and 2"},
    {"matmul TN %0, %1 : f32", "matmul: segments differ"},
    {"matmul TN %0, %4 : f32", "matmul: ranks differ, 3 and 2"},
    {"matmul TN %0, %0, %18 : f32", "matmul: only x W^T takes a bias"},
    {"matmul NT %0, %2, %18 : f32", "matmul: a bias of f32[4] for 3 outputs"},
    {"matmul NT %0, %2, %18 : bf16", "matmul: a bias of f32 for a result of bf16"},
    {"matmul NT %0, %2 : i32", "matmul: has a float result"},
    {"attention scale=1 %0, %0, %0 : (f32)", "attention: queries are [B, T, H, D]"},
    {"attention scale=1 %9, %10, %10 : (f32)", "attention: 4 heads are no multiple of 3 key"},
    {"attention scale=1 %9, %8, %8 : (f32)", "attention: keys are f32[B, 2, 4] and do not fit"},
    {"attention scale=1 %9, %11, %9 : (f32)",
     "attention: keys are f32[B, 5, 2, 2], values f32"},
    {"attention_grad scale=1 %9, %11, %11, %11, %16, %9 : (f32)",
     "the result is f32[B, 5, 2, 2]"},
    {"attention_grad scale=1 %9, %11, %11, %15, %16, %11 : (f32)", "its gradient is f32[B, 5"},
    {"attention_grad scale=1 %9, %11, %11, %15, %8, %9 : (f32)", "the log-sum is f32[B, 2, 4]"},
    /* regions */
    {"region r count=2 carried(%4) { %0 = argument carried 0 : bf16[B, 3] results carried(%0) "
     "} "
     ": (f32)",
     "region: r carries bf16[B, 4] in and bf16[B, 3] out"},
    {"region r count=2 carried(%4) { %0 = argument carried 1 : bf16[B, 4] results carried(%0) "
     "} "
     ": (f32)",
     "region: r: no carried value 1 comes in"},
    {"region r count=2 carried(%4) invariant(%4) { %0 = argument carried 0 : bf16[B, 4] "
     "%1 = argument invariant 0 : f32 results carried(%0) } : (f32)",
     "region: r: invariant value 0 is f32 inside and bf16[B, 4] outside"},
    {"region r count=2 stacked(%2) { %0 = argument stacked 0 : f32[4] results stacked(%0) } : "
     "(f32)",
     "region: r: no stacked value 0 comes in"},
    {"region r count=3 stacked(%2) { %0 = argument stacked 0 : f32[5] results stacked(%0) } : "
     "(f32)",
     "region: r: stacked value 0 is f32[5] inside and f32[4] outside"},
    {"region r count=1 invariant(%19) { %0 = argument invariant 0 : f32[1, 1, 1, 1, 1, 1, 1, "
     "1] "
     "results stacked(%0) } : (f32)",
     "region: r: output 0 has too many axes to stack"},
    {"region r count=1 { %0 = argument layer 0 : f32 results stacked(%0) } : (f32)",
     "argument: the layer is i32, not f32"},
    {"region r count=1 reads(0@1) { %0 = argument layer 0 : i32 %1 = argument read 0 : f32 "
     "results stacked(%0) } : (i32[1])",
     "region: r: read value 0 is f32 inside and i32 outside"},
};

/* Reads the common graph with one more node; the words of the diagnostics, or NULL without any.
 */
static const char *read_node(mvs_arena *arena, const char *node) {
  mvs_diag *diag = mvs_diag_new(arena);
  const char *text = mvs_arena_format(arena, "%s%s\nresults", common, node);
  mvs_source source = {"test", text, strlen(text)};
  mvs_module *module;
  if (mvs_module_read(arena, diag, &source, &module) == MVS_OK) return NULL;
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  return mvs_text_string(&words);
}

static void types_are_inferred(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
    mvs_arena *arena = mvs_arena_new();
    const char *words = read_node(arena, fits[i]);
    if (words) fail_msg("%s\n%s", fits[i], words);
    mvs_arena_free(arena);
  }
}

static void misfits_are_explained(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof misfits / sizeof *misfits; i++) {
    mvs_arena *arena = mvs_arena_new();
    const char *words = read_node(arena, misfits[i].node);
    if (!words) fail_msg("fits: %s", misfits[i].node);
    if (!strstr(words, misfits[i].words))
      fail_msg("wanted: %s\ngot: %s", misfits[i].words, words);
    mvs_arena_free(arena);
  }
}

/* The places of both operands are shown, as far as they have one. */
static void misfit_shows_both_operands(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source source = {"block.mvs", "x\nh = matmul(x, w)\n", 19};
  mvs_graph *graph = mvs_module_add_function(mvs_module_new(arena, "m"), "f")->graph;
  mvs_dim rows[] = {{1, true}, {1024, false}}, weights[] = {{2304, false}, {768, false}};
  mvs_attr x = {.input = {"x", mvs_type_make(MVS_BF16, 2, rows)}};
  mvs_attr w = {.input = {"w", mvs_type_make(MVS_BF16, 2, weights)}};
  mvs_id ids[] = {mvs_graph_add(graph, MVS_OP_input, NULL, 0, &x, (mvs_span){&source, 0, 1}),
                  mvs_graph_add(graph, MVS_OP_input, NULL, 0, &w, (mvs_span){0})};
  mvs_attr attr = {.matmul = {MVS_MATMUL_NT, MVS_F32}};
  mvs_type type;
  mvs_span span = {&source, 6, 18};
  assert_int_equal(mvs_graph_infer(graph, MVS_OP_matmul, ids, 2, &attr, span, diag, &type),
                   MVS_ERR_SHAPE);
  assert_int_equal(mvs_graph_infer(graph, MVS_OP_matmul, ids, 2, NULL, span, NULL, &type),
                   MVS_ERR_SHAPE);
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  assert_string_equal(mvs_text_string(&words),
                      "block.mvs:2:5: error: matmul: inner sizes differ, 1024 and 768\n"
                      "    2 | h = matmul(x, w)\n"
                      "      |     ^~~~~~~~~~~~ the second operand is bf16[2304, 768]\n"
                      "block.mvs:1:1: note: the first operand is bf16[B, 1024] from here\n"
                      "    1 | x\n"
                      "      | ^\n");
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(types_are_inferred),
      cmocka_unit_test(misfits_are_explained),
      cmocka_unit_test(misfit_shows_both_operands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
