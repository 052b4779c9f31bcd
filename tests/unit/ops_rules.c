/* ops_rules.c: residual rules that nobody foresaw, and those of the library, from the text of a
 * model to gradients: all functions of the program against the reference, gradients against
 * finite differences. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/ir/lower.h"
#include "tests/unit/ops_suite.h"
#include "tests/unit/ops_tests.h"

/* An image of 2 x 3 patches and three tokens of text, in blocks of attention and SwiGLU. Rows
 * of q, k and v are 16, 8 and 8: one product. */
static const char *const block_model =
    "let width = 16\n"
    "model m {\n"
    "  input z : f32[2, 2, 3]\n"
    "  input context : f32[3, 5]\n"
    "  image = patch_embed(z, 1, width) as patch_embed\n"
    "  text = project(context, width) as context_proj\n"
    "  x = concat(image, text)\n"
    "  residual rule as join\n"
    "  stack 3 as blocks {\n"
    "    x <- attention(x, 2, 1, rope2d, rms(eps = 0.01), bias = true) as operator\n"
    "    x <- swiglu(x, 7, bias = true) as ffn\n"
    "  }\n"
    "  output velocity : unpatchify(linear(x.image, 2, bias = true) as final_proj, 1)\n"
    "}\n"
    "sample { euler(steps = 2) }\n";

/* Attention alone, in one of its variants. */
#define VARIANT(options)                                            \
  "model m {\n"                                                     \
  "  input z : f32[2, 2, 3]\n"                                      \
  "  x = patch_embed(z, 1, 16) as patch_embed\n"                    \
  "  residual plain as join\n"                                      \
  "  stack 2 as blocks { x <- attention(x, 4, 2, " options          \
  ") as mixer }\n"                                                  \
  "  output velocity : unpatchify(linear(x, 2) as final_proj, 1)\n" \
  "}\n"

/* Seven features, and segments of six tokens and one. */
static const char *const odd_model =
    "model m {\n"
    "  input z : f32[2, 2, 3]\n"
    "  input context : f32[1, 7]\n"
    "  x = concat(image = patch_embed(z, 1, 7) as patch_embed, text = context)\n"
    "  residual rule as join\n"
    "  stack 3 as blocks { x <- mlp(x, 5) as ffn }\n"
    "  output velocity : unpatchify(linear(x.image, 2) as final_proj, 1)\n"
    "}\n";

/* The same with one cheap branch: attention takes long to compile. */
static const char *const short_model =
    "model m {\n"
    "  input z : f32[2, 2, 3]\n"
    "  input context : f32[3, 8]\n"
    "  x = concat(image = patch_embed(z, 1, 8) as patch_embed, text = context)\n"
    "  residual rule as join\n"
    "  stack 3 as blocks { x <- mlp(x, 5) as ffn }\n"
    "  output velocity : unpatchify(linear(x.image, 2) as final_proj, 1)\n"
    "}\n";

/* More blocks than a read goes back. */
static const char *const deep_model =
    "model m {\n"
    "  input z : f32[2, 2, 3]\n"
    "  x = patch_embed(z, 1, 6) as patch_embed\n"
    "  residual rule as join\n"
    "  stack 5 as blocks { x <- mlp(x, 5) as ffn }\n"
    "  output velocity : unpatchify(linear(x, 2) as final_proj, 1)\n"
    "}\n";

/* Two streams with a name each, one of them carried beside the rule. */
static const char *const two_streams =
    "model m {\n"
    "  input z : f32[3, 4, 4]\n"
    "  x = patch_embed(z, 2, 10) as patch_embed\n"
    "  memory = 0 * x\n"
    "  residual rule as join\n"
    "  stack 4 as blocks {\n"
    "    x <- mlp(x + memory, 9) as ffn\n"
    "    memory = 0.5 * memory + center(x) / (1 + layer)\n"
    "  }\n"
    "  output velocity : unpatchify(linear(x - memory, 12) as final_proj, 2)\n"
    "}\n";

/* What looks like a held value and is none: it is read before the block it is taken from. */
static const char *const kept_stream =
    "model m {\n"
    "  input z : f32[3, 4, 4]\n"
    "  x = patch_embed(z, 2, 10) as patch_embed\n"
    "  memory = 0.3 * x\n"
    "  residual rule as join\n"
    "  stack 4 as blocks {\n"
    "    x <- mlp(x + memory, 9) as ffn\n"
    "    memory = where(equal(layer, 1), x, memory)\n"
    "  }\n"
    "  output velocity : unpatchify(linear(x - memory, 12) as final_proj, 2)\n"
    "}\n";

typedef struct user_rule {
  const char *name, *text, *model, *precision;
} user_rule;

/* Read by number and as a whole, in the update, behind it and where the stack is left. */
static const char all_blocks[] =
    "residual rule(a: gain = 0.3, b: scalar = 0.5) {\n"
    "  exit { x + 0.5 * at_block(entered, 2) + 0.1 * x0 }\n"
    "  after {\n"
    "    param w : f32[depth] = 0.2\n"
    "    h = history(x)\n"
    "    r = rsqrt(mean_features(h * h) + 0.1)\n"
    "    e = where(layer < reshape(index(depth), [depth, 1, 1]), 0, exp(max_features(h) * r))\n"
    "    x0 + sum_over(reshape(w, [depth, 1, 1]) * h, 0) + sum_over(e * h, 0) /"
    " sum_over(e, 0)\n"
    "  }\n"
    "  y = f(rmsnorm(x, eps = 0.1))\n"
    "  x + y + a * at_block(entered, 2) + b * at_block(y, 1) * first(y)\n"
    "}\n";

static const user_rule rules[] = {
    {"weighted by features, with a mean",
     "residual rule(a: gain = 0.3, b: scalar = 0.5, eps = 0.01) {\n"
     "  y = a * x + (1 - a) * f(rmsnorm(x, eps = eps))\n"
     "  rmsnorm(y + b * mean(y), eps = eps)\n"
     "}\n",
     block_model, "f32"},
    {"fading with depth",
     "residual rule(a: gain = 0.5) { x + a * f * exp(-layer / depth) - 0.1 * center(x) }\n",
     short_model, "f32"},
    {"gated by each token",
     "residual rule(w: gain = 0.4) {\n"
     "  g = sigmoid(sum_features(w * x))\n"
     "  g * x + (1 - g) * f\n"
     "}\n",
     short_model, "f32"},
    {"bounded, with a root and a logarithm",
     "residual rule(c: scalar = 0.7) {\n"
     "  tanh(x + c * f) + log(1 + exp(mean(f))) - sqrt(mean_features(x * x) + 0.1)\n"
     "}\n",
     short_model, "f32"},
    {"softmax over the features, around the stack",
     "residual rule(t: gain = 0.2) {\n"
     "  entry { 2 * x }\n"
     "  exit { rmsnorm(x, eps = 0.01) as last_norm }\n"
     "  e = exp(t * x - max_features(t * x))\n"
     "  x + e / sum_features(e) * f(rmsnorm(x, eps = 0.01))\n"
     "}\n",
     short_model, "f32"},
    {"halves in exchange",
     "residual rule(a: gain = 0.3) {\n"
     "  u, v = halves(f)\n"
     "  x + a * concat_features(0 - v, u) * rsqrt(mean_features(f * f) + 0.1)\n"
     "}\n",
     short_model, "f32"},
    {"the smaller of two",
     "residual rule(a: gain = 0.2) {\n"
     "  rmsnorm(where(less(f, x), f, a * x) + abs(x - f) * a, eps = 0.01)\n"
     "}\n",
     short_model, "f32"},
    {"beside a second stream",
     "residual rule(a: gain = 0.2, b: gain = 1) {\n"
     "  rmsnorm(b * x + a * center(f) + mean(f), eps = 0.01)\n"
     "}\n",
     two_streams, "f32"},
    {"another for each branch",
     "residual rule(a: gain = 0.3, b: scalar = 0.5, c: gain = 1, twice = 2 * c) {\n"
     "  u = if branch == \"operator\" then x + a * (f - 0.5 * mean(f)) else x + b * f\n"
     "  if update == updates { rmsnorm(u + twice * mean(x), eps = 0.01) } else { u }\n"
     "}\n",
     block_model, "f32"},
    {"momentum in a second stream, clipped",
     "residual rule(decay: scalar = 0.7, a: scalar = 0.5) {\n"
     "  entry { concat_features([x, 0 * x]) }\n"
     "  exit { u, m = halves(x)\n u + a0(m) }\n"
     "  s = streams(x, 2)\n"
     "  m = decay * s[1] + (1 - decay) * f(rmsnorm(s[0], eps = 0.01))\n"
     "  for i in 2 { m = m - 0.1 * tanh(m) / (i + 1) }\n"
     "  concat_features(s[0] + a * m, m)\n"
     "}\n"
     "layer a0(m) { 0.1 * m }\n",
     short_model, "f32"},
    {"two and three blocks ago, and the first of all",
     "residual rule(a: gain = 0.3, b: scalar = 0.5) {\n"
     "  y = f(rmsnorm(x, eps = 0.01))\n"
     "  w = sigmoid(sum_features(a * earlier(x, 2)))\n"
     "  x + y + w * earlier(y) + a * earlier(x, 3) * first(y) + b * first(w)\n"
     "}\n",
     deep_model, "f32"},
    {"after each block, with its start",
     "residual rule(a: gain = 0.3) {\n"
     "  after {\n"
     "    param w : f32[3] = 0.2\n"
     "    rmsnorm(x + w[0] * earlier(x) + w[1] * earlier(x, 2) + w[2] * center(x0), eps = "
     "0.01)\n"
     "  }\n"
     "  x + a * f\n"
     "}\n",
     deep_model, "f32"},
    {"a weight for each token, two of one read, and one that others see",
     "residual rule(a: gain = 0.4, b: scalar = 0.3) {\n"
     "  w = sigmoid(sum_features(a * x))\n"
     "  e = earlier(x, 2)\n"
     "  x + f(rmsnorm(x, eps = 0.01)) + w * earlier(x) + b * e + w * e + a * earlier(x, 3)\n"
     "}\n",
     deep_model, "f32"},
    {"values of blocks by their numbers, and of all of them",
     all_blocks,
     deep_model, "f32"},
    {"where the stack is left, the first block's stream and those of all",
     "residual rule(a: gain = 0.3) {\n"
     "  exit { x + 0.5 * first(entered) + 0.2 * max_over(history(entered), 0) }\n"
     "  h = first(entered) * sum_over(history(entered), 0) / depth\n"
     "  x + f(rmsnorm(x + a * h, eps = 0.1))\n"
     "}\n",
     deep_model, "f32"},
    {"a carried name that is read before it is set",
     "residual rule(a: gain = 0.7) { rmsnorm(x + a * f, eps = 0.01) }\n", kept_stream, "f32"},
    {"values of blocks by their numbers, and of all of them, in bf16",
     all_blocks,
     deep_model, "bf16"},
    {"weighted by features, in bf16",
     "residual rule(a: gain = 0.3, b: scalar = 0.5) {\n"
     "  rmsnorm(a * x + f + b * mean(f), eps = 0.1)\n"
     "}\n",
     block_model, "bf16"},
};

/* The library's rules, as residual lines, on segments of six tokens and one, of seven features.
 * Gains are drawn like all parameters, so that one which starts at zero hides nothing. */
static const char *const library[] = {
    "plain",
    "prenorm",
    "layerscale",
    "rezero",
    "deepnorm",
    "sandwich",
    "mvsplit",
    "mvsplit_on(on = \"ffn\")",
    "skipinit",
    "fixup",
    "lnscale",
    "keel",
    "hardcenter",
    "laurel",
    "laurel_lowrank(rank = 3)",
    "orthogonal",
    "scalargate",
    "evenstep",
    "evenstep(part = center)",
};

/* Those of several streams, an odd number too and more turns than one kernel redoes, and of
 * earlier blocks; at eight features, where no gradient is as small as the noise of differences.
 */
static const char *const wider_library[] = {
    "denseformer",
    "denseformer(reach = 1, dilation = 2)",
    "laurel_previous(rank = 3)",
    "hyper(n = 3)",
    "hyper(n = 12)", /* more slices than a kernel has operands */
    "hyper_dynamic(n = 2, eps = 0.01)",
    "mhc(n = 2, times = 2, eps = 0.01)",
    "mhc(n = 3, times = 9, eps = 0.01)",
    "attnres(groups = 2, eps = 0.01)",
    "attnres(size = 1, eps = 0.01)",
    "denseformer_full",
};

/* What attention's values and heads may go through before the output projection. */
static const char *const variants[] = {
    VARIANT("mix = minus_identity"),
    VARIANT("values = value_residual"),
    VARIANT("mix = identity_minus, values = value_residual"),
    VARIANT("mix = identity_minus, gate = token_gate(bias = true)"),
    VARIANT("mix = lazy(share = 0.3), qk_norm = rms(eps = 0.01)"),
    VARIANT("mix = lazy(trained = true), gate = token_gate"),
    VARIANT("gate = token_gate(by_head = true)"),
};

/* Writes the model to a file, since models are read from files, and lowers it. A rule without a
 * text is the library's of that name. */
static void lower(ops_suite *s, const user_rule *rule) {
  char path[] = "/tmp/ops_rules_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  const char *text = mvs_arena_format(
      s->arena, "%s%strain { optimizer adamw(lr = 1e-3) batch 4 precision %s }\n", rule->text,
      rule->model, rule->precision);
  assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
  assert_int_equal(close(file), 0);
  mvs_unit *unit;
  mvs_override line = {0};
  bool own = *rule->text != 0;
  if (!own)
    ops_good(s, mvs_parse_expr(s->arena, s->diag, "test", rule->name, &line.value), rule->name);
  mvs_status status = mvs_load_unit(s->arena, s->diag, path, &line, own ? 0 : 1, &unit);
  assert_int_equal(unlink(path), 0);
  ops_good(s, status, rule->name);
  ops_good(s, mvs_lower(s->arena, s->diag, unit, &s->module), rule->name);
  s->compilation.module = s->module;
}

/* Leaves only the functions that the rule has a part in. */
static void drop_others(ops_suite *s) {
  size_t kept = 0;
  for (size_t i = 0; i < s->module->functions.count; i++) {
    const mvs_function function = s->module->functions.items[i];
    bool own = !strcmp(function.name, "forward") || !strcmp(function.name, "loss");
    if (own) s->module->functions.items[kept++] = function;
  }
  s->module->functions.count = kept;
}

/* Moments and sums of squares are positive where the optimizer takes their root. */
static void add_cases(ops_suite *s, const user_rule *rule) {
  for (size_t i = 0; i < s->module->functions.count; i++) {
    const mvs_function *function = &s->module->functions.items[i];
    s->tolerance = (ops_tolerance){0, 1e-4, "a model of six blocks with norms down to 0.1"};
    if (strcmp(rule->precision, "bf16") == 0)
      s->tolerance = (ops_tolerance){0, 0.1, "six blocks of bf16 values, 2^-8 apart each"};
    bool roots = strcmp(function->name, "adamw") == 0 || strcmp(function->name, "clip") == 0;
    s->low = roots ? 0.1 : -1;
    ops_add_case(s, function->name, function->graph);
  }
}

static const mvs_graph *graph_of(ops_suite *s, const char *name) {
  const mvs_function *function = mvs_module_function(s->module, name);
  assert_non_null(function);
  return function->graph;
}

static void try_rule(const user_rule *rule, const char *level) {
  ops_suite *s = ops_suite_new();
  s->level = level;
  lower(s, rule);
  if (rule != rules) drop_others(s);
  add_cases(s, rule);
  const mvs_graph *loss = graph_of(s, "loss");
  ops_compile(s);
  if (!level) ops_check_gradients(s, loss, 2, 2);
  ops_check(s, 1);
  if (!level) ops_check(s, 3);
  if (s->failures) print_error("with the rule %s\n", rule->name);
  ops_suite_end(s);
}

void ops_user_rules_agree(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) try_rule(&rules[i], NULL);
}

void ops_library_rules_agree(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof library / sizeof *library; i++) {
    user_rule rule = {library[i], "", odd_model, "f32"};
    try_rule(&rule, NULL);
  }
  for (size_t i = 0; i < sizeof wider_library / sizeof *wider_library; i++) {
    user_rule rule = {wider_library[i], "", short_model, "f32"};
    try_rule(&rule, NULL);
  }
}

void ops_variants_of_attention_agree(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    user_rule rule = {"plain", "", variants[i], "f32"};
    try_rule(&rule, NULL);
  }
}

void ops_user_rules_agree_on_the_other_level(void **state) {
  (void)state;
  const char *level = ops_level_runs("x86-64-v4") ? "x86-64-v3" : "x86-64-v4";
  try_rule(&rules[0], level);
  try_rule(&rules[sizeof rules / sizeof *rules - 1], level);
}
