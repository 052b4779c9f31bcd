/* test_ir.c: types, interning, the text form and its reader against hostile text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"

static const mvs_span nowhere = {0};

/* Reads `text`; the words of the diagnostics go to `words`. */
static mvs_module *read_text(mvs_arena *arena, const char *text, size_t length,
                             const char **words) {
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_source *source = MVS_NEW(arena, mvs_source);
  *source = (mvs_source){"test", text, length};
  mvs_module *module = NULL;
  mvs_status status = mvs_module_read(arena, diag, source, &module);
  mvs_text rendered = mvs_text_new(arena);
  mvs_diag_render(diag, &rendered);
  *words = mvs_text_string(&rendered);
  assert_true((status == MVS_OK) == (mvs_diag_errors(diag) == 0));
  return status == MVS_OK ? module : NULL;
}

static const char *dump_text(mvs_arena *arena, const mvs_module *module) {
  mvs_text text = mvs_text_new(arena);
  mvs_module_dump(module, &text);
  return mvs_text_string(&text);
}

/* --- types --- */

static void types_broadcast(void **state) {
  (void)state;
  mvs_dim batch = {1, true}, one = {1, false}, three = {3, false}, four = {4, false};
  mvs_segments left = {1, {{"a", 3, 0, 0}}}, right = {1, {{"b", 3, 0, 0}}};
  mvs_type x = mvs_type_make(MVS_F32, 3, (mvs_dim[]){batch, three, four});
  mvs_type row = mvs_type_make(MVS_F32, 1, &four), out;
  mvs_type mean = mvs_type_make(MVS_F32, 3, (mvs_dim[]){one, one, four});
  x.segments = &left;
  assert_true(mvs_type_broadcast(&row, &x, &out));
  assert_true(mvs_type_same_shape(&out, &x));
  assert_ptr_equal(out.segments, &left);
  assert_true(mvs_type_broadcast(&mean, &x, &out));
  assert_ptr_equal(out.segments, &left);
  mvs_type other = x;
  other.segments = &right;
  assert_false(mvs_type_broadcast(&x, &other, &out));
  mvs_type three_row = mvs_type_make(MVS_F32, 1, &three);
  assert_false(mvs_type_broadcast(&x, &three_row, &out));
  mvs_type samples = mvs_type_make(MVS_F32, 1, &batch);
  mvs_type column = mvs_type_make(MVS_F32, 2, (mvs_dim[]){batch, one});
  assert_false(mvs_type_broadcast(&samples, &column, &out)); /* [B, B] */
}

static void types_count(void **state) {
  (void)state;
  mvs_type type = mvs_type_make(MVS_BF16, 2, (mvs_dim[]){{2, true}, {3, false}});
  bool per_batch;
  assert_int_equal(mvs_type_elements(&type, &per_batch), 6);
  assert_true(per_batch);
  assert_int_equal(mvs_type_count(&type, 5), 30);
  assert_int_equal(mvs_dtype_size(type.dtype), 2);
  mvs_dtype dtype;
  for (int i = 0; i < MVS_DTYPE_COUNT; i++) {
    assert_true(mvs_dtype_parse(mvs_dtype_name((mvs_dtype)i), &dtype));
    assert_int_equal(dtype, i);
  }
  assert_false(mvs_dtype_parse("f16", &dtype));
}

/* --- interning --- */

static mvs_graph *new_graph(mvs_arena *arena) {
  return mvs_module_add_function(mvs_module_new(arena, "m"), "f")->graph;
}

static mvs_id add_input(mvs_graph *graph, const char *name, int rank, const mvs_dim *dims) {
  mvs_attr attr = {.input = {name, mvs_type_make(MVS_F32, rank, dims)}};
  return mvs_graph_add(graph, MVS_OP_input, NULL, 0, &attr, nowhere);
}

static void equal_nodes_are_one(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_graph *graph = new_graph(arena);
  mvs_dim dims[] = {{1, true}, {4, false}};
  mvs_id x = add_input(graph, "x", 2, dims);
  char same_name[] = "x";
  assert_int_equal(add_input(graph, same_name, 2, dims), x);
  assert_int_not_equal(add_input(graph, "y", 2, dims), x);
  mvs_id sum = mvs_build_binary(graph, MVS_OP_add, x, x, nowhere);
  assert_int_equal(mvs_build_binary(graph, MVS_OP_add, x, x, nowhere), sum);
  assert_int_not_equal(mvs_build_binary(graph, MVS_OP_mul, x, x, nowhere), sum);
  assert_int_not_equal(mvs_build_constant(graph, 0.0), mvs_build_constant(graph, -0.0));
  assert_int_equal(mvs_build_constant(graph, 0.5), mvs_build_constant(graph, 0.5));
  assert_int_not_equal(mvs_build_sum(graph, x, 1, nowhere),
                       mvs_build_sum(graph, x, 2, nowhere));
  mvs_arena_free(arena);
}

static void passes_are_not_shared(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_graph *graph = new_graph(arena);
  mvs_id x = add_input(graph, "x", 0, NULL);
  mvs_id first = mvs_build_unary(graph, MVS_OP_exp, x, nowhere);
  mvs_graph_set_pass(graph, 1);
  mvs_graph_set_rule(graph, "redo");
  mvs_id again = mvs_build_unary(graph, MVS_OP_exp, x, nowhere);
  assert_int_not_equal(first, again);
  assert_int_equal(mvs_graph_node(graph, again)->pass, 1);
  assert_string_equal(mvs_graph_node(graph, again)->rule, "redo");
  mvs_graph_set_pass(graph, 0);
  assert_int_equal(mvs_build_unary(graph, MVS_OP_exp, x, nowhere), first);
  mvs_arena_free(arena);
}

static void nodes_do_not_move(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_graph *graph = new_graph(arena);
  mvs_id x = add_input(graph, "x", 0, NULL);
  const mvs_node *place = mvs_graph_node(graph, x);
  for (int i = 0; i < 5000; i++) mvs_build_constant(graph, i);
  assert_ptr_equal(mvs_graph_node(graph, x), place);
  assert_int_equal(mvs_graph_size(graph), 5001);
  for (mvs_id id = 1; id < 5001; id++) {
    assert_true(mvs_graph_node(graph, id)->attr.constant.value == (double)(id - 1));
    assert_int_equal(mvs_graph_find(graph, mvs_graph_node(graph, id)), id);
  }
  mvs_arena_free(arena);
}

static void equal_tables_are_one(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = mvs_module_new(arena, "m");
  mvs_segments a = {2, {{"image", 4, 2, 2}, {"text", 3, 0, 0}}}, b = a;
  const mvs_segments *first = mvs_module_segments(module, &a);
  assert_ptr_equal(mvs_module_segments(module, &b), first);
  b.items[0].rows = 1, b.items[0].columns = 4;
  assert_ptr_not_equal(mvs_module_segments(module, &b), first);
  assert_int_equal(mvs_segments_length(first), 7);
  mvs_arena_free(arena);
}

static void trained_elements_count_layers(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  const char *words;
  static const char text[] =
      "param 0 \"b.{i}.w\" : f32[4, 5] layers=3 trained init=normal(0.1)\n"
      "param 1 n : f32[7] init=constant(1)\nparam 2 v : f32[2] trained init=uniform(0.5)\n";
  mvs_module *module = read_text(arena, text, sizeof text - 1, &words);
  assert_non_null(module);
  assert_int_equal(mvs_module_trained_elements(module), 62);
  mvs_arena_free(arena);
}

/* --- the text form --- */

#define TOKENS "6{\"the image\":4(2x2), text:2}"
static const char every_op[] =
    "module \"a \\x22name\\x22\"\n"
    "output velocity\n"
    "residual \"mvsplit(alpha = 0)\"\n"
    "residual_origin \"command line\"\n"
    "param 0 w : f32[4, 4] trained writer init=normal(0.02) by rule\n"
    "param 1 \"b.{i}.w\" : f32[4, 4] layers=3 trained rate=0.5 decay=0 init=uniform(0.1)\n"
    "param 2 ones : f32[4] init=constant(1)\n"
    "input x : f32[B, 6, 4] unconditional=0\n"
    "input c : f32[B, 4] conditioning unconditional=-1.5\n"
    "\nfunction f\n"
    "%0 = input x : f32[B, " TOKENS
    ", 4]\n"
    "%1 = param 0 : f32[4, 4]\n"
    "%2 = param 1 : f32[3, 4, 4]\n"
    "%3 = param 2 : f32[4]\n"
    "%4 = matmul NT %0, %1, %3 : f32[B, " TOKENS
    ", 4]\n"
    "%5 = matmul TN %0, %0 : f32[4, 4]\n"
    "%6 = inv_rms eps=1e-05 %4 : f32[B, " TOKENS
    ", 1]\n"
    "%7 = normalize %4, %6 : f32[B, " TOKENS
    ", 4]\n"
    "%8 = region \"b c\" count=3 carried(%7) invariant(%1) stacked(%2) reads(0@1, 0@2) {\n"
    "  %0 = argument carried 0 : f32[B, " TOKENS
    ", 4]\n"
    "  %1 = argument invariant 0 : f32[4, 4]\n"
    "  %2 = argument stacked 0 : f32[4, 4]\n"
    "  %3 = argument read 1 : f32[B, 2, 4]\n"
    "  %4 = argument layer 0 : i32\n"
    "  %5 = segment_sum %0 : f32[B, 2, 4]\n"
    "  %6 = fma %5, %3, %4 : f32[B, 2, 4]\n"
    "  %7 = segment_spread %6 : f32[B, " TOKENS
    ", 4]\n"
    "  %8 = matmul NN %7, %2 : f32[B, " TOKENS
    ", 4]\n"
    "  results carried(%8) stacked(%6)\n"
    "} : (f32[B, " TOKENS
    ", 4], f32[3, B, 2, 4])\n"
    "%9 = get 0 %8 : f32[B, " TOKENS
    ", 4]\n"
    "%10 = get 1 %8 : f32[3, B, 2, 4]\n"
    "%11 = region b count=3 reverse carried(%9) stacked(%10) forward=%8 {\n"
    "  %0 = argument carried 0 : f32[B, " TOKENS
    ", 4]\n"
    "  results carried(%0)\n"
    "} : (f32[B, " TOKENS
    ", 4])\n"
    "%12 = constant -inf : f64\n"
    "%13 = constant 0.3333333333333333 : f32\n"
    "%14 = iota axis=1 : i32[2, 3]\n"
    "%15 = input seed : i32\n"
    "%16 = input sample : i32[B, 1]\n"
    "%17 = random uniform stream=4 %15, %15, %16 : f32[B, 3]\n"
    "%18 = cast %17 : bf16[B, 3] pass=2\n"
    "%19 = broadcast %18 : bf16[B, 3] by \"a rule\"\n"
    "%20 = sum axes(0, 2) %0 : f32[1, " TOKENS
    ", 1]\n"
    "%21 = max_over axes(1) %0 : f32[B, 1, 4]\n"
    "%22 = reshape %0 : f32[6*B, 4]\n"
    "%23 = reshape %0 : f32[B, 6, 2, 2]\n"
    "%24 = transpose order(0, 2, 1, 3) %23 : f32[B, 2, 6, 2]\n"
    "%25 = slice axis=1 start=4 length=2 total=6 %0 : f32[B, 2, 4]\n"
    "%26 = slice axis=2 start=0 length=1 total=4 %0 : f32[B, " TOKENS
    ", 1]\n"
    "%27 = pad axis=1 start=4 length=2 total=6 %25 : f32[B, " TOKENS
    ", 4]\n"
    "%28 = concat axis=1 %25, %25 : f32[B, 4, 4]\n"
    "%29 = attention scale=0.5 %23, %23, %23 : (f32[B, 6, 2, 2], f32[B, 2, 6])\n"
    "%30 = get 0 %29 : f32[B, 6, 2, 2]\n"
    "%31 = get 1 %29 : f32[B, 2, 6]\n"
    "%32 = attention_grad scale=0.5 %23, %23, %23, %30, %31, %30 : "
    "(f32[B, 6, 2, 2], f32[B, 6, 2, 2], f32[B, 6, 2, 2])\n"
    "%33 = get 2 %32 : f32[B, 6, 2, 2]\n"
    "results y=%9, \"z z\"=%33, function=%12\n"
    "\nfunction empty\n"
    "results\n"
    "\nfunction last\n"
    "%0 = constant 1e+300 : f64\n"
    "results one=%0\n";

/* Takes the comments away: they are not read back. */
static const char *without_comments(mvs_arena *arena, const char *text) {
  mvs_text out = mvs_text_new(arena);
  while (*text) {
    size_t line = strcspn(text, "\n");
    const char *comment = strstr(text, "  # ");
    size_t kept = comment && comment < text + line ? (size_t)(comment - text) : line;
    mvs_text_add_bytes(&out, text, kept);
    mvs_text_add(&out, "\n");
    text += text[line] ? line + 1 : line;
  }
  return mvs_text_string(&out);
}

static void text_reads_back(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  const char *words;
  mvs_module *module = read_text(arena, every_op, sizeof every_op - 1, &words);
  if (!module) fail_msg("%s", words);
  assert_string_equal(without_comments(arena, dump_text(arena, module)), every_op);
  assert_string_equal(module->name, "a \"name\"");
  assert_int_equal(module->next_stream, 5);
  const mvs_graph *graph = mvs_module_function(module, "f")->graph;
  assert_ptr_equal(mvs_graph_node(graph, 11)->attr.region.body->forward,
                   mvs_graph_node(graph, 8)->attr.region.body);
  mvs_text dot = mvs_text_new(arena);
  mvs_graph_dot(graph, "f", &dot);
  assert_non_null(strstr(mvs_text_string(&dot), "subgraph cluster_2"));
  mvs_arena_free(arena);
}

static void dump_shows_places(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_graph *graph = new_graph(arena);
  mvs_source source = {"a.mvs", "one\ntwo\n", 8};
  mvs_id x = add_input(graph, "x", 0, NULL);
  mvs_id y = mvs_build_unary(graph, MVS_OP_neg, x, (mvs_span){&source, 4, 7});
  mvs_text text = mvs_text_new(arena);
  mvs_node_dump(graph, y, &text);
  assert_string_equal(mvs_text_string(&text), "%1 = neg %0 : f32  # a.mvs:2");
  mvs_arena_free(arena);
}

static const struct {
  const char *text, *words;
} bad_texts[] = {
    {"modul m", "expected a module, param, input or function"},
    {"module \"abc", "the name is not closed"},
    {"module \"\\q\"", "expected xNN after the backslash"},
    {"module \"\\x00\"", "expected xNN after the backslash"},
    {"module 7", "expected a name"},
    {"module", "expected a name"},
    {"param 1 w : f32 init=constant(1)", "expected parameter 0"},
    {"param 0 w : f33 init=constant(1)", "'f33' is no dtype"},
    {"param 0 w : f32[4, 4 init=constant(1)", "expected ']'"},
    {"param 0 w : f32[0] init=constant(1)", "expected an integer from 1"},
    {"param 0 w : f32[99999999999999999999999] init=constant(1)", "expected an integer from 1"},
    {"param 0 w : f32[1,1,1,1,1,1,1,1,1] init=constant(1)", "more than 8 axes"},
    {"param 0 w : f32 init=cauchy(1)", "expected one of 'constant' to 'uniform'"},
    {"param 0 w : f32 init=constant(one)", "expected a number"},
    {"param 0 w : f32 layers=1000000 init=constant(1)", "expected an integer from 1 to 100000"},
    {"input x : f32[1, 9{a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1}] unconditional=0",
     "more than 8 segments"},
    {"input x : f32[1, 4{a:4(2y2)}] unconditional=0", "expected 'x'"},
    {"function f %1 = constant 1 : f32 results", "expected %0"},
    {"function f %0 = frobnicate : f32 results", "'frobnicate' is no op"},
    {"function f %0 = constant 1 : f32 %1 = neg %1 : f32 results", "input %1 is not a node"},
    {"function f %0 = constant 1 : f32 %1 = constant 1 : f32 results", "same as %0"},
    {"function f %0 = constant 1 : f32 %1 = neg %0 : f64 results", "the type is f32"},
    {"function f %0 = constant 1 : f32 results y=%1", "%1 is not a node"},
    {"function f results function f results", "two functions 'f'"},
    {"function f %0 = constant 1 : f32 pass=900 results", "expected an integer from 1 to 255"},
    {"function f %0 = matmul XX %0 : f32 results", "expected one of 'NT' to 'TN'"},
    {"function f %0 = region r count=0 { results } : (f32) results",
     "expected an integer from 1"},
    {"function f %0 = region r count=1 { results } : (f32) results", "has 0 results"},
    {"function f %0 = region r count=1 carried(%0) { results } : (f32) results",
     "carries 1 values in and 0 out"},
    {"function f %0 = region r count=1 forward=%0 { results } : (f32) results",
     "%0 is no region before this one"},
    {"function f %0 = region r count=1 { results stacked(%4) } : (f32) results",
     "result 0 is not a node"},
    {"function f %0 = region r count=1 reads(4@1) { %0 = constant 1 : f32 results stacked(%0) }"
     " : (f32[1]) results",
     "read 0 has no such output"},
    {"function f %0 = region r count=2 { %0 = constant 1 : f32 results stacked(%0) } : "
     "(f32[2], f32) results",
     "%0 has 1 results, not 2"},
    {"function f %0 = iota axis=1 : f32[1] results", "axis 1 of a tensor of rank 1"},
    {"function f %0 = transpose order(0,0,0,0,0,0,0,0,0) %0 : f32 results", "too many axes"},
};

static void bad_text_is_explained(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++) {
    mvs_arena *arena = mvs_arena_new();
    const char *words;
    if (read_text(arena, bad_texts[i].text, strlen(bad_texts[i].text), &words)) {
      fail_msg("read without complaint: %s", bad_texts[i].text);
    }
    if (!strstr(words, bad_texts[i].words)) {
      fail_msg("wanted: %s\ngot: %s", bad_texts[i].words, words);
    }
    mvs_arena_free(arena);
  }
}

static void deep_text_has_a_limit(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  const char *words;
  mvs_text_add(&text, "function f ");
  for (int i = 0; i < 1000; i++) mvs_text_add(&text, "%0 = region r count=1 { ");
  assert_null(read_text(arena, mvs_text_string(&text), text.length, &words));
  assert_non_null(strstr(words, "regions nest deeper than 64"));
  mvs_arena_free(arena);
}

/* Cuts the text everywhere and changes each byte in turn: no crash, and what is still read
 * obeys the verifier or is refused by it. */
static void damaged_text_is_survived(void **state) {
  (void)state;
  static const char letters[] = "%0({:@\"# -9xB\n";
  size_t length = sizeof every_op - 1;
  for (size_t at = 0; at < length; at += 3) {
    mvs_arena *arena = mvs_arena_new();
    const char *words;
    read_text(arena, every_op, at, &words);
    char *copy = mvs_arena_copy(arena, every_op, length);
    copy[at] = letters[at / 3 % (sizeof letters - 1)];
    mvs_module *module = read_text(arena, copy, length, &words);
    if (module) mvs_module_verify(module, "damage", mvs_diag_new(arena));
    mvs_arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(types_broadcast),
      cmocka_unit_test(types_count),
      cmocka_unit_test(equal_nodes_are_one),
      cmocka_unit_test(passes_are_not_shared),
      cmocka_unit_test(nodes_do_not_move),
      cmocka_unit_test(equal_tables_are_one),
      cmocka_unit_test(trained_elements_count_layers),
      cmocka_unit_test(text_reads_back),
      cmocka_unit_test(dump_shows_places),
      cmocka_unit_test(bad_text_is_explained),
      cmocka_unit_test(deep_text_has_a_limit),
      cmocka_unit_test(damaged_text_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
