/* test_ir_verify.c: a sound module passes, and every rule of the verifier can fail. Each case
 * breaks a module in one place, past the const of the interface, and names the rule that must
 * notice. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"

#define TOKENS "5{a:4(2x2), b:1}"
static const char sound[] =
    "module m\n"
    "param 0 w : f32[4, 4] trained init=normal(0.5)\n"
    "param 1 \"blocks.{i}.w\" : f32[4, 4] layers=3 trained init=normal(0.5)\n"
    "param 2 ones : f32[4] init=constant(1)\n"
    "param 3 q : f32[2, 4] trained pack=5 at=0 init=normal(0.5)\n"
    "param 4 k : f32[2, 4] trained pack=5 at=8 init=normal(0.5)\n"
    "param 5 \"q+k\" : f32[4, 4] trained is_pack init=constant(0)\n"
    "input x : f32[B, 5, 4] unconditional=0\n"
    "input c : f32[B, 4] conditioning unconditional=0\n"
    "function f\n"
    "%0 = input x : f32[B, " TOKENS
    ", 4]\n"
    "%1 = param 0 : f32[4, 4]\n"
    "%2 = param 1 : f32[3, 4, 4]\n"
    "%3 = matmul NT %0, %1 : f32[B, " TOKENS
    ", 4]\n"
    "%4 = inv_rms eps=1e-05 %3 : f32[B, " TOKENS
    ", 1]\n"
    "%5 = normalize %3, %4 : f32[B, " TOKENS
    ", 4]\n"
    "%6 = region blocks count=3 carried(%5) invariant(%1) stacked(%2) reads(0@1) {\n"
    "  %0 = argument carried 0 : f32[B, " TOKENS
    ", 4]\n"
    "  %1 = argument invariant 0 : f32[4, 4]\n"
    "  %2 = argument stacked 0 : f32[4, 4]\n"
    "  %3 = argument read 0 : f32[B, 2, 4]\n"
    "  %4 = argument layer 0 : i32\n"
    "  %5 = segment_mean %0 : f32[B, 2, 4]\n"
    "  %6 = add %5, %3 : f32[B, 2, 4]\n"
    "  %7 = segment_broadcast %6 : f32[B, " TOKENS
    ", 4]\n"
    "  %8 = matmul NT %7, %2 : f32[B, " TOKENS
    ", 4]\n"
    "  %9 = reshape %6 : f32[B, 2, 4, 1, 1, 1, 1, 1]\n"
    "  results carried(%8) stacked(%6, %5)\n"
    "} : (f32[B, " TOKENS
    ", 4], f32[3, B, 2, 4], f32[3, B, 2, 4])\n"
    "%7 = get 0 %6 : f32[B, " TOKENS
    ", 4]\n"
    "%8 = constant 1 : f32\n"
    "%9 = constant 2 : f32\n"
    "%10 = mul %7, %8 : f32[B, " TOKENS
    ", 4]\n"
    "%11 = sum axes(1, 2) %10 : f32[B, 1, 1]\n"
    "%12 = slice axis=1 start=0 length=4 total=5 %10 : f32[B, 4, 4]\n"
    "%13 = transpose order(0, 2, 1) %12 : f32[B, 4, 4]\n"
    "%14 = input seed : i32\n"
    "%15 = input sample : i32[B, 1]\n"
    "%16 = random normal stream=1 %14, %14, %15 : f32[B, 3]\n"
    "%17 = reshape %0 : f32[B, 5, 2, 2]\n"
    "%18 = attention scale=0.5 %17, %17, %17 : (f32[B, 5, 2, 2], f32[B, 2, 5])\n"
    "%19 = get 1 %18 : f32[B, 2, 5]\n"
    "%20 = param 2 : f32[4]\n"
    "%21 = matmul NT %0, %1, %20 : f32[B, " TOKENS
    ", 4]\n"
    "%22 = exp %21 : f32[B, " TOKENS
    ", 4] pass=2\n"
    "%23 = neg %22 : f32[B, " TOKENS
    ", 4] pass=2\n"
    "results y=%11, z=%16\n"
    "function g\n"
    "%0 = input x : f32[B, 4]\n"
    "results y=%0\n";

static mvs_module *read_module(mvs_arena *arena, mvs_diag *diag, const char *text) {
  mvs_source *source = MVS_NEW(arena, mvs_source);
  *source = (mvs_source){"test", text, strlen(text)};
  mvs_module *module = NULL;
  if (mvs_module_read(arena, diag, source, &module) != MVS_OK) {
    mvs_text words = mvs_text_new(arena);
    mvs_diag_render(diag, &words);
    fail_msg("%s", mvs_text_string(&words));
  }
  return module;
}

static mvs_graph *top(mvs_module *module) { return mvs_module_function(module, "f")->graph; }
static mvs_node *node(mvs_module *module, mvs_id id) {
  return (mvs_node *)mvs_graph_node(top(module), id);
}
static mvs_id *inputs(mvs_module *module, mvs_id id) {
  return (mvs_id *)node(module, id)->inputs;
}
static mvs_region *region(mvs_module *module) { return node(module, 6)->attr.region.body; }
static mvs_node *inner(mvs_module *module, mvs_id id) {
  return (mvs_node *)mvs_graph_node(region(module)->body, id);
}
static mvs_result *body_result(mvs_module *module, int index) {
  return &mvs_graph_results(region(module)->body)->items[index];
}
static mvs_results *results(mvs_module *module) { return mvs_graph_results(top(module)); }
static mvs_segments *table(mvs_module *module) { return module->segment_tables.items[0]; }

/* One way to break a module. */
#define BREAK(name, statement) \
  static void name(mvs_module *m) { statement; }

BREAK(same_param_names, m->params.items[2].name = "w")
BREAK(batched_param, m->params.items[2].type.dims[0].per_batch = true)
BREAK(negative_layers, m->params.items[0].layers = -1)
BREAK(stacked_without_mark, m->params.items[0].layers = 3)
BREAK(random_constant, m->params.items[0].trained = false)
BREAK(nan_init, m->params.items[0].init.value = NAN)
BREAK(climbing, m->params.items[0].group.has_rate = true; m->params.items[0].group.rate = -1)
BREAK(endless_decay, m->params.items[0].group.has_decay = true;
      m->params.items[0].group.decay = INFINITY)
BREAK(part_of_its_own, m->params.items[4].group.has_rate = true;
      m->params.items[4].group.rate = 2)
BREAK(hole_in_pack, m->params.items[4].pack_place = 9)
BREAK(part_without_pack, m->params.items[3].pack = 0)
BREAK(part_of_a_part, m->params.items[3].pack = 4)
BREAK(same_function_names, m->functions.items[1].name = "f")
BREAK(function_without_graph, m->functions.items[1].graph = NULL)
BREAK(same_model_inputs, m->inputs.items[1].name = "x")
BREAK(copied_table, mvs_segments *copy = MVS_NEW(m->arena, mvs_segments); *copy = *table(m);
      MVS_PUSH(m->arena, &m->segment_tables, copy))
BREAK(empty_segment, table(m)->items[1].length = 0)
BREAK(wrong_grid, table(m)->items[0].rows = 3)

BREAK(unknown_op, node(m, 3)->op = (mvs_op)999)
BREAK(too_few_inputs, node(m, 3)->input_count = 1)
BREAK(own_input, inputs(m, 3)[0] = 3)
BREAK(nameless_input, node(m, 0)->attr.input.name = NULL)
BREAK(unknown_form, node(m, 3)->attr.matmul.form = (mvs_matmul_form)7)
BREAK(rank_nine, node(m, 3)->type.rank = 9)
BREAK(strange_body, region(m)->body = m->functions.items[1].graph)
BREAK(body_result_missing, body_result(m, 0)->id = 999)

BREAK(tuple_used, inputs(m, 10)[0] = 6)
BREAK(get_of_single, inputs(m, 7)[0] = 5)
BREAK(get_too_far, node(m, 7)->attr.index.value = 9)
BREAK(param_missing, node(m, 1)->attr.param.index = 9)
BREAK(part_named, node(m, 1)->attr.param.index = 3)
BREAK(param_of_other_type, node(m, 1)->attr.param.index = 2)
BREAK(argument_outside, node(m, 14)->op = MVS_OP_argument;
      node(m, 14)->attr.argument.kind = MVS_ARG_LAYER; node(m, 14)->attr.argument.index = 0)
BREAK(input_inside, inner(m, 4)->op = MVS_OP_input; inner(m, 4)->attr.input.name = "seed")
BREAK(argument_missing, inner(m, 0)->attr.argument.index = 5)
BREAK(nan_constant, node(m, 8)->attr.constant.value = NAN)
BREAK(negative_epsilon, node(m, 4)->attr.epsilon.value = -1)
BREAK(infinite_scale, node(m, 18)->attr.attention.scale = INFINITY)
BREAK(axis_missing, node(m, 12)->attr.slice.axis = 7)
BREAK(no_axes, node(m, 11)->attr.axes.mask = 0)
BREAK(window_outside, node(m, 12)->attr.slice.start = 3)
BREAK(axis_twice, node(m, 13)->attr.permutation.axis[1] = 0)
BREAK(bias_on_nn, node(m, 21)->attr.matmul.form = MVS_MATMUL_NN)
BREAK(strange_rms, inputs(m, 5)[1] = 3)
BREAK(sample_unseen, inputs(m, 16)[2] = 14)
BREAK(earlier_pass, node(m, 23)->pass = 1)
BREAK(two_batches, node(m, 3)->type.dims[2].per_batch = true)
BREAK(empty_axis, node(m, 3)->type.dims[2].size = 0)
BREAK(foreign_table, mvs_segments *copy = MVS_NEW(m->arena, mvs_segments); *copy = *table(m);
      node(m, 3)->type.segments = copy)
BREAK(wrong_tokens, node(m, 3)->type.dims[1].size = 6)
BREAK(hidden_rounding, node(m, 11)->type.dtype = MVS_BF16)

BREAK(no_label, region(m)->label = NULL)
BREAK(no_layers, region(m)->count = 0)
BREAK(invariant_missing, region(m)->invariant_count = 2)
BREAK(output_missing, region(m)->output_count = 3)
BREAK(read_of_now, region(m)->reads[0].distance = 0)
BREAK(layers_missing, region(m)->count = 4)
BREAK(forward_alike, region(m)->forward = region(m))

BREAK(strange_invariant, inputs(m, 6)[1] = 0)
BREAK(carried_changes, body_result(m, 0)->id = 6)
BREAK(output_too_deep, body_result(m, 2)->id = 9)
BREAK(wrong_type, node(m, 11)->type.dtype = MVS_F64)
BREAK(wrong_repeat, node(m, 17)->attr.shape.type.dtype = MVS_BF16)
BREAK(equal_nodes, node(m, 9)->attr.constant.value = 1)

BREAK(no_results, results(m)->count = 0)
BREAK(result_missing, results(m)->items[0].id = 999)
BREAK(tuple_result, results(m)->items[0].id = 6)
BREAK(nameless_result, results(m)->items[0].name = NULL)
BREAK(same_results, results(m)->items[1].name = "y")

static void input_of_two_types(mvs_module *m) {
  mvs_attr attr = {.input = {"x", {.dtype = MVS_F32}}};
  mvs_graph_add(top(m), MVS_OP_input, NULL, 0, &attr, (mvs_span){0});
}

static void argument_of_two_types(mvs_module *m) {
  mvs_type type = {.dtype = MVS_F32};
  mvs_region_argument(region(m), MVS_ARG_CARRIED, 0, &type, (mvs_span){0});
}

static void stream_of_two_types(mvs_module *m) {
  mvs_attr attr = node(m, 16)->attr;
  attr.random.type.dims[1].size = 7;
  mvs_graph_add(top(m), MVS_OP_random, (mvs_id[]){14, 14, 15}, 3, &attr, (mvs_span){0});
}

static void region_of_two_nodes(mvs_module *m) {
  mvs_attr attr = {.region = {region(m)}};
  mvs_graph_add(top(m), MVS_OP_region, (mvs_id[]){7, 1, 2}, 3, &attr, (mvs_span){0});
}

/* Regions within regions, one deeper than allowed. */
static void deep_regions(mvs_module *m) {
  enum { DEPTH = MVS_MAX_NESTING + 1 };
  mvs_region *regions[DEPTH];
  mvs_type type = {.dtype = MVS_F32};
  mvs_span none = {0};
  mvs_graph *outer = top(m);
  for (int i = 0; i < DEPTH; i++) {
    regions[i] = mvs_region_new(outer, "deep", 1, false, none);
    regions[i]->carried_count = 1;
    mvs_region_argument(regions[i], MVS_ARG_CARRIED, 0, &type, none);
    outer = regions[i]->body;
  }
  for (int i = DEPTH; i-- > 0;) {
    mvs_graph *around = i ? regions[i - 1]->body : top(m);
    mvs_id initial = i ? 0 : 8;
    if (i == DEPTH - 1) {
      mvs_result result = {NULL, 0};
      MVS_PUSH(m->arena, mvs_graph_results(regions[i]->body), result);
    }
    mvs_attr attr = {.region = {regions[i]}};
    mvs_id tuple = mvs_graph_add(around, MVS_OP_region, &initial, 1, &attr, none);
    mvs_result result = {"deep", mvs_build_get(around, tuple, 0, none)};
    MVS_PUSH(m->arena, mvs_graph_results(around), result);
  }
}

static const struct breakage {
  const char *rule;
  void (*apply)(mvs_module *module);
} breakages[] = {
    {"parameter names are unique", same_param_names},
    {"parameters have neither batch nor segments", batched_param},
    {"a parameter's layers are within the depth limit", negative_layers},
    {"names of stacked parameters, and only they, hold {i}", stacked_without_mark},
    {"parameters that are not trained start constant", random_constant},
    {"parameters start finite", nan_init},
    {"rates and decays of parameters are finite and not negative", climbing},
    {"rates and decays of parameters are finite and not negative", endless_decay},
    {"the parts of a pack fill it, one behind the other", part_of_its_own},
    {"the parts of a pack fill it, one behind the other", hole_in_pack},
    {"the parts of a pack fill it, one behind the other", part_without_pack},
    {"the parts of a pack fill it, one behind the other", part_of_a_part},
    {"function names are unique", same_function_names},
    {"functions have a top-level graph of this module", function_without_graph},
    {"model input names are unique", same_model_inputs},
    {"segment tables are interned", copied_table},
    {"segments have a name and tokens", empty_segment},
    {"a segment's grid has as many cells as tokens", wrong_grid},
    {"the op is in the table", unknown_op},
    {"the number of inputs is within the op's range", too_few_inputs},
    {"inputs come before their use", own_input},
    {"what the attribute points to is there", nameless_input},
    {"enumerations hold known values", unknown_form},
    {"the rank is within the limit", rank_nine},
    {"a region and its body belong together", strange_body},
    {"a region's results are nodes of its body", body_result_missing},
    {"several results are used only through get", tuple_used},
    {"get takes a result of an op that has several", get_of_single},
    {"get names a result that exists", get_too_far},
    {"a parameter is one of the module's", param_missing},
    {"a graph names a pack, not its parts", part_named},
    {"a parameter has the type of its row, the layer in front", param_of_other_type},
    {"arguments stand in region bodies only", argument_outside},
    {"named inputs and parameters stand outside of region bodies", input_inside},
    {"an argument names a part the region has", argument_missing},
    {"a constant is a number its type can hold", nan_constant},
    {"an epsilon is finite and not negative", negative_epsilon},
    {"the scale of attention is finite", infinite_scale},
    {"an attribute's axis exists", axis_missing},
    {"a reduction names axes of its input", no_axes},
    {"a slice or pad lies within its axis", window_outside},
    {"a transpose names each axis once", axis_twice},
    {"only x W^T has a bias", bias_on_nn},
    {"normalize takes the inverse rms of its own input", strange_rms},
    {"draws per sample see the sample's number", sample_unseen},
    {"a recomputed value uses nothing of a later pass", earlier_pass},
    {"the batch is on one axis at most", two_batches},
    {"extents are positive and within the limit", empty_axis},
    {"a segment table is one of the module's", foreign_table},
    {"segments fill the token axis", wrong_tokens},
    {"computing ops do not round to bf16", hidden_rounding},
    {"a region has a label", no_label},
    {"a region's count is within the depth limit", no_layers},
    {"a region has as many inputs as its counts say", invariant_missing},
    {"a region has as many results as its counts say, at least one", output_missing},
    {"reads name an output and a distance within the depth limit", read_of_now},
    {"stacked inputs have one slice for each layer", layers_missing},
    {"regions nest no deeper than the limit", deep_regions},
    {"a region and the one it redoes run against each other", forward_alike},
    {"a region's arguments have the types of what comes in", strange_invariant},
    {"carried values leave a layer with the type they came in with", carried_changes},
    {"stacked outputs have room for the layer axis", output_too_deep},
    {"the type is the one its shape rule gives", wrong_type},
    {"the attribute repeats the type correctly", wrong_repeat},
    {"equal nodes are one", equal_nodes},
    {"a function has results", no_results},
    {"results are nodes", result_missing},
    {"a result is one value, not several", tuple_result},
    {"results of a function are named", nameless_result},
    {"result names are unique", same_results},
    {"inputs of one name have one type", input_of_two_types},
    {"arguments of one name have one type", argument_of_two_types},
    {"a random stream draws one tensor", stream_of_two_types},
    {"a region belongs to one node", region_of_two_nodes},
};
#define BREAKAGES (sizeof breakages / sizeof *breakages)

static void check_breakage(const struct breakage *breakage) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_module *module = read_module(arena, diag, sound);
  breakage->apply(module);
  assert_int_equal(mvs_module_verify(module, "test", diag), MVS_ERR_INTERNAL);
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  const char *wanted =
      mvs_arena_format(arena, "internal error after test: broken rule: %s", breakage->rule);
  if (!strstr(mvs_text_string(&words), wanted)) {
    fail_msg("wanted: %s\ngot: %s", wanted, mvs_text_string(&words));
  }
  mvs_arena_free(arena);
}

static void test_each_rule_fails(void **state) {
  (void)state;
  for (size_t i = 0; i < BREAKAGES; i++) check_breakage(&breakages[i]);
}

static void test_each_rule_is_tested(void **state) {
  (void)state;
  assert_true(mvs_verify_rule_count() >= 40);
  for (size_t i = 0; i < mvs_verify_rule_count(); i++) {
    bool found = false;
    for (size_t k = 0; k < BREAKAGES; k++) {
      found = found || strcmp(mvs_verify_rule_name(i), breakages[k].rule) == 0;
    }
    if (!found) fail_msg("no test breaks the rule: %s", mvs_verify_rule_name(i));
  }
}

static void test_sound_module_passes(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_module *module = read_module(arena, diag, sound);
  mvs_status status = mvs_module_verify(module, "test", diag);
  mvs_text words = mvs_text_new(arena);
  mvs_diag_render(diag, &words);
  if (status != MVS_OK) fail_msg("%s", mvs_text_string(&words));
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sound_module_passes),
      cmocka_unit_test(test_each_rule_fails),
      cmocka_unit_test(test_each_rule_is_tested),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
