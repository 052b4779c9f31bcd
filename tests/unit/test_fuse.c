/* test_fuse.c: fuse and schedule on graphs that show one decision each
 * (tests/golden/plan/NAME.ir and the dump of its plan; MVS_BLESS=1 rewrites what is wanted),
 * and on whole models: how many kernels stand between the matmuls of a block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four first. */
#include <cmocka.h>
#include <glob.h>

#include "compiler/base/source.h"
#include "compiler/ir/lower.h"
#include "tests/unit/plan_fixture.h"

#define MOST_SETTINGS 16

/* --- golden dumps --- */

static void bless(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  assert_int_equal(fclose(file), 0);
}

static const char *read_file(planned *p, const char *path) {
  mvs_source *source;
  mvs_span none = {0};
  plan_good(p, mvs_source_read(p->arena, p->diag, path, 1 << 20, none, &source));
  return source->text;
}

static void plan_is_as_wanted(void **state) {
  const char *path = *state;
  planned *p = plan_new();
  plan_text(p, path, read_file(p, path));
  mvs_text text = mvs_text_new(p->arena);
  mvs_plan_dump(p->compilation.plan, &text);
  char *wanted = mvs_arena_format(p->arena, "%.*s.txt", (int)(strrchr(path, '.') - path), path);
  if (getenv("MVS_BLESS")) bless(wanted, mvs_text_string(&text));
  assert_string_equal(mvs_text_string(&text), read_file(p, wanted));
  plan_free(p);
}

/* --- models --- */

typedef struct setting {
  const char *name, *value; /* name NULL: the residual rule */
} setting;

static planned *plan_model(const char *path, const setting *settings) {
  planned *p = plan_new();
  mvs_override overrides[MOST_SETTINGS];
  size_t count = 0;
  for (; settings[count].value; count++) {
    overrides[count].name = settings[count].name;
    plan_good(p, mvs_parse_expr(p->arena, p->diag, "test", settings[count].value,
                                &overrides[count].value));
  }
  mvs_unit *unit;
  plan_good(p, mvs_load_unit(p->arena, p->diag, path, overrides, count, &unit));
  plan_good(p, mvs_lower(p->arena, p->diag, unit, &p->compilation.module));
  plan_good(p, mvs_pipeline_run(&p->compilation, NULL));
  return p;
}

typedef struct counts {
  int rows, columns, copies, products, attentions;
  int between; /* most light kernels between two heavy ones */
} counts;

static bool is_copy(const mvs_group *group) {
  return group->nests.count > 0 && group->nests.items[0].interior.count == 0;
}

static counts count_groups(const mvs_schedule *schedule) {
  counts c = {0};
  int run = 0;
  for (size_t i = 0; i < schedule->groups.count; i++) {
    const mvs_group *group = &schedule->groups.items[i];
    c.rows += group->group_class == MVS_GROUP_ROWS;
    c.columns += group->group_class == MVS_GROUP_COLUMNS;
    c.copies += is_copy(group);
    c.products += group->group_class == MVS_GROUP_MATMUL;
    c.attentions += group->group_class == MVS_GROUP_ATTENTION ||
                    group->group_class == MVS_GROUP_ATTENTION_GRAD;
    run = group->nests.count > 0 ? run + 1 : 0;
    if (run > c.between) c.between = run;
  }
  return c;
}

/* Light kernels of a block: of rows, of columns, and most between two heavy ones. */
typedef struct block_cost {
  int rows, columns, between;
} block_cost;

/* A residual rule and what its block costs. */
typedef struct rule_case {
  const char *rule;
  block_cost forward, backward;
} rule_case;

/* Rules that read all earlier blocks have to have some. */
static const char *depth_of(const char *rule) {
  return !strcmp(rule, "attnres") || !strcmp(rule, "denseformer_full") ? "40" : "3";
}

/* Copies among the rows. A carried value that other blocks read is copied to where it stays:
 * laurel's stream, and the cotangent of an f32 stream. */
static int copies_of(const char *rule, bool backward) {
  if (strcmp(rule, "laurel_previous") == 0) return 1;
  return backward && strcmp(rule, "denseformer") == 0;
}

static void costs_are(counts c, block_cost wanted, int copies) {
  assert_int_equal(c.rows, wanted.rows);
  assert_int_equal(c.columns, wanted.columns);
  assert_true(c.between <= wanted.between); /* kernels may wait, as memory has it */
  assert_int_equal(c.copies, copies);
}

#define DIT MVS_SOURCE_DIR "/models/dit.mvs"

/* Forward: rotation with QK-norm, SwiGLU, and one kernel for each merge and norm; pre-norms
 * need one more before the first branch, for the block ends between merge and norm. */
static void blocks_fuse(void **state) {
  const rule_case *wanted = *state;
  static const char *const precisions[] = {"false", "true"};
  static const char *const functions[] = {"forward", "grad"};
  for (int i = 0; i < 4; i++) {
    const setting settings[] = {{NULL, wanted->rule},
                                {"depth", depth_of(wanted->rule)},
                                {"kv_heads", "4"},
                                {"bf16", precisions[i / 2]},
                                {NULL, NULL}};
    planned *p = plan_model(DIT, settings);
    counts c = count_groups(plan_body(plan_function(p, functions[i % 2]), 0));
    costs_are(c, wanted->forward, copies_of(wanted->rule, false));
    plan_free(p);
  }
}

/* Backward every merge and norm is one kernel again, and so are rotation with QK-norm and
 * SwiGLU; one more adds what comes back through the branch to the stream. A gradient of a gain
 * is two of columns (tokens, then samples), token means one of columns, and two of rows more.
 */
static void backward_blocks_fuse(void **state) {
  const rule_case *wanted = *state;
  const setting settings[] = {
      {NULL, wanted->rule}, {"depth", depth_of(wanted->rule)}, {NULL, NULL}};
  planned *p = plan_model(DIT, settings);
  counts c = count_groups(plan_body(plan_function(p, "grad"), 1));
  costs_are(c, wanted->backward, copies_of(wanted->rule, true));
  plan_free(p);
}

/* A variant of attention, as values of the model's lets, and what its block costs. */
typedef struct attention_case {
  const char *mix, *gate, *kv_heads, *values;
  block_cost forward, backward;
} attention_case;

/* The same products and the same attention, with one kernel of elements between attention and
 * the product behind it. Backward there are the columns of what is trained, and of values that
 * several heads read. */
static void variants_of_attention_fuse(void **state) {
  (void)state;
  static const attention_case cases[] = {
      {"attended", "ungated", "8", "identity", {4, 0, 1}, {5, 0, 1}},
      {"minus_identity", "ungated", "8", "identity", {5, 0, 1}, {5, 0, 1}},
      {"minus_identity", "ungated", "4", "identity", {5, 0, 1}, {5, 1, 2}},
      {"identity_minus", "ungated", "8", "identity", {5, 0, 1}, {6, 0, 1}},
      {"lazy(share = 0.25)", "ungated", "8", "identity", {5, 0, 1}, {6, 0, 1}},
      {"lazy(trained = true)", "ungated", "8", "identity", {5, 0, 1}, {6, 3, 4}},
      {"attended", "token_gate", "8", "identity", {5, 0, 1}, {6, 0, 1}},
      {"minus_identity", "token_gate", "8", "identity", {5, 0, 1}, {6, 0, 1}},
      {"attended", "ungated", "8", "value_residual", {4, 0, 1}, {5, 3, 4}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const setting settings[] = {{NULL, "plain"},
                                {"depth", "3"},
                                {"bf16", "true"},
                                {"mix", cases[i].mix},
                                {"gate", cases[i].gate},
                                {"kv_heads", cases[i].kv_heads},
                                {"values", cases[i].values},
                                {NULL, NULL}};
    planned *p = plan_model(DIT, settings);
    for (size_t body = 0; body < 2; body++) {
      counts c = count_groups(plan_body(plan_function(p, "grad"), body));
      costs_are(c, body ? cases[i].backward : cases[i].forward, 0);
      assert_int_equal(c.products, body ? 8 : 4);
      assert_int_equal(c.attentions, 1);
    }
    plan_free(p);
  }
}

/* Four products a block, q, k and v being one, and two for the gradients of each; none has its
 * operands copied together first. */
static void products_are_joined(void **state) {
  (void)state;
  static const char *const choices[] = {"false", "true"};
  for (int i = 0; i < 8; i++) {
    const setting settings[] = {{"depth", "3"},
                                {"kv_heads", i / 4 ? "8" : "2"},
                                {"bf16", choices[i / 2 % 2]},
                                {"bias", choices[i % 2]},
                                {NULL, NULL}};
    planned *p = plan_model(DIT, settings);
    for (size_t body = 0; body < 2; body++) {
      counts c = count_groups(plan_body(plan_function(p, "grad"), body));
      assert_int_equal(c.products, body ? 8 : 4);
      assert_int_equal(c.copies, 0);
    }
    plan_free(p);
  }
}

/* The plan has as many groups and buffers whatever the depth, from one on at which the rule has
 * all of its groups. */
static void plan_does_not_grow(const char *rule, const char *shallow) {
  size_t groups[2], buffers[2];
  const char *const depths[] = {shallow, "1000"};
  for (int i = 0; i < 2; i++) {
    const setting settings[] = {{NULL, rule}, {"depth", depths[i]}, {NULL, NULL}};
    planned *p = plan_model(DIT, settings);
    const mvs_function_plan *grad = plan_function(p, "grad");
    groups[i] = grad->top->groups.count + plan_body(grad, 0)->groups.count +
                plan_body(grad, 1)->groups.count;
    buffers[i] = grad->buffers.count;
    plan_free(p);
  }
  assert_int_equal(groups[0], groups[1]);
  assert_int_equal(buffers[0], buffers[1]);
}

static void plans_do_not_grow_with_depth(void **state) {
  (void)state;
  plan_does_not_grow("mvsplit", "2");
  plan_does_not_grow("attnres", "40");
  plan_does_not_grow("denseformer_full", "40");
}

/* A rule and a layer of a user's own: the same kernels as the library's. */
static void rules_of_a_user_fuse(void **state) {
  (void)state;
  planned *p =
      plan_model(MVS_SOURCE_DIR "/tests/golden/plan/user.mvs", (setting[]){{NULL, NULL}});
  counts c = count_groups(plan_body(plan_function(p, "forward"), 0));
  /* its rule: the mean of a row, then the means of tokens, then the norm */
  assert_true(c.between <= 3);
  assert_int_equal(c.rows, 6);
  assert_int_equal(c.columns, 2);
  assert_int_equal(c.copies, 0);
  plan_free(p);
}

/* Every kernel stands in the report, with its lines, its weights and its bytes. */
static void plans_are_explained(void **state) {
  (void)state;
  planned *p = plan_model(DIT, (setting[]){{"depth", "2"}, {NULL, NULL}});
  mvs_text text = mvs_text_new(p->arena);
  mvs_plan_explain(p->compilation.plan, &text);
  const char *words = mvs_text_string(&text);
  assert_non_null(strstr(words, "function grad"));
  assert_non_null(strstr(words, "stack blocks, 2 blocks backwards"));
  assert_non_null(strstr(words, "weights blocks.{i}.ffn.w13.weight"));
  assert_non_null(strstr(words, "std/residuals.mvs:"));
  assert_non_null(strstr(words, "rms normalise"));
  assert_non_null(strstr(words, "the least possible"));
  assert_non_null(strstr(words, "at most 2 between two of the heavy ones"));
  plan_free(p);
}

/* --- limits --- */

/* A long sum is cut into kernels of few enough operands. */
static void long_sums_are_cut(void **state) {
  (void)state;
  planned *p = plan_new();
  mvs_text text = mvs_text_new(p->arena);
  mvs_text_add(&text, "module m\nfunction f\n");
  for (int i = 0; i < 150; i++) mvs_text_addf(&text, "%%%d = input x%d : f32[B, 8]\n", i, i);
  mvs_text_add(&text, "%150 = add %0, %1 : f32[B, 8]\n");
  for (int i = 2; i < 150; i++) {
    mvs_text_addf(&text, "%%%d = add %%%d, %%%d : f32[B, 8]\n", 149 + i, 148 + i, i);
  }
  mvs_text_add(&text, "results y=%298\n");
  plan_text(p, "sum", mvs_text_string(&text));
  const mvs_schedule *top = plan_function(p, "f")->top;
  assert_true(top->groups.count >= 3 && top->groups.count <= 6);
  plan_free(p);
}

/* A reduction is a phase, and a kernel has 64: 130 in a row take three kernels. */
static void long_chains_are_cut(void **state) {
  (void)state;
  planned *p = plan_new();
  mvs_text text = mvs_text_new(p->arena);
  mvs_text_add(&text, "module m\nfunction f\n%0 = input x : f32[B, 8]\n");
  for (int i = 0; i < 260; i += 2) {
    mvs_text_addf(&text, "%%%d = sum axes(1) %%%d : f32[B, 1]\n", i + 1, i);
    mvs_text_addf(&text, "%%%d = mul %%%d, %%%d : f32[B, 8]\n", i + 2, i, i + 1);
  }
  mvs_text_add(&text, "results y=%260\n");
  plan_text(p, "chain", mvs_text_string(&text));
  assert_int_equal(plan_function(p, "f")->top->groups.count, 3);
  plan_free(p);
}

static void sums_over_several_axes_are_refused(void **state) {
  (void)state;
  planned *p = plan_new();
  mvs_status status = plan_try(p, "several",
                               "module m\nfunction f\n%0 = input x : f32[B, 5, 8]\n"
                               "%1 = sum axes(0, 1) %0 : f32[1, 1, 8]\nresults y=%1\n");
  assert_int_equal(status, MVS_ERR_INTERNAL);
  mvs_text words = mvs_text_new(p->arena);
  mvs_diag_render(p->diag, &words);
  assert_non_null(strstr(mvs_text_string(&words), "fuse: %1 reduces several axes at once"));
  plan_free(p);
}

int main(void) {
  static rule_case rules[] = {
      {"plain", {4, 0, 1}, {5, 0, 1}},
      {"prenorm", {5, 0, 1}, {4, 0, 1}},
      {"layerscale", {4, 0, 1}, {5, 4, 3}},
      {"rezero", {5, 0, 1}, {5, 4, 3}},
      {"deepnorm", {4, 0, 1}, {5, 0, 1}},
      {"sandwich", {5, 0, 1}, {5, 0, 1}},
      {"mvsplit", {4, 2, 2}, {7, 4, 4}},
      {"mvsplit_on", {4, 1, 2}, {6, 2, 4}},
      {"skipinit", {4, 0, 1}, {5, 4, 3}},
      {"fixup", {5, 0, 1}, {5, 6, 3}},
      {"lnscale", {5, 0, 1}, {4, 0, 1}},
      {"keel", {5, 0, 1}, {5, 0, 1}},
      {"hardcenter", {4, 2, 2}, {7, 2, 3}},
      {"laurel", {5, 0, 1}, {7, 4, 4}}, /* two numbers go through a sigmoid, after their sums */
      {"laurel_lowrank", {5, 0, 1}, {4, 0, 1}},
      {"orthogonal", {5, 0, 1}, {5, 0, 1}},
      {"mvsplit(rate = 0)", {4, 2, 2}, {7, 2, 3}}, /* gains that stay have no sums */
      {"scalargate", {4, 0, 1}, {5, 4, 3}},
      {"evenstep", {4, 0, 1}, {5, 4, 3}},
      {"evenstep(part = center)", {4, 2, 2}, {7, 4, 4}},
      /* What is read of earlier blocks is read where x was anyway; the gradients of its weights
       * are columns, and one of rows adds what later blocks send back. */
      {"denseformer", {5, 0, 1}, {6, 2, 4}},
      {"laurel_previous", {6, 0, 2}, {7, 4, 4}},
      /* The softmax over sources is read where the norm before the branch was; its queries'
       * gradients are columns. Of a history one kernel of rows stores the row, one of columns
       * sums all. */
      {"attnres", {5, 0, 1}, {4, 4, 3}},
      {"denseformer_full", {6, 1, 3}, {6, 5, 7}},
      /* Several streams. Mixing is no kernel of its own. Of n^2 numbers a token, made by a
       * product, an update takes two passes more, forward and backward: the rms of the streams,
       * and what the product gives; mhc's turns are one, in the backward pass cut where values
       * were kept. */
      {"hyper", {5, 0, 1}, {5, 6, 3}},
      {"hyper_dynamic", {10, 0, 3}, {14, 8, 7}},
      {"mhc", {9, 0, 3}, {17, 4, 4}},
  };
  enum { RULES = sizeof rules / sizeof *rules, OTHERS = 8 };
  glob_t found = {0};
  glob(MVS_SOURCE_DIR "/tests/golden/plan/*.ir", 0, NULL, &found);
  size_t count = found.gl_pathc + 2 * RULES + OTHERS, at = 0;
  struct CMUnitTest *tests = calloc(count, sizeof *tests);
  if (!tests) return 1;
  for (size_t i = 0; i < found.gl_pathc; i++) {
    tests[at++] =
        (struct CMUnitTest){found.gl_pathv[i] + strlen(MVS_SOURCE_DIR "/tests/golden/"),
                            plan_is_as_wanted, NULL, NULL, found.gl_pathv[i]};
  }
  for (int i = 0; i < RULES; i++) {
    tests[at++] = (struct CMUnitTest){rules[i].rule, blocks_fuse, NULL, NULL, &rules[i]};
    tests[at++] =
        (struct CMUnitTest){rules[i].rule, backward_blocks_fuse, NULL, NULL, &rules[i]};
  }
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(variants_of_attention_fuse);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(products_are_joined);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(plans_do_not_grow_with_depth);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(rules_of_a_user_fuse);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(plans_are_explained);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(long_sums_are_cut);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(long_chains_are_cut);
  tests[at++] = (struct CMUnitTest)cmocka_unit_test(sums_over_several_axes_are_refused);
  int failed = _cmocka_run_group_tests("fuse", tests, at, NULL, NULL);
  free(tests);
  globfree(&found);
  return failed;
}
