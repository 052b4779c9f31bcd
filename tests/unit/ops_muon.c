/* ops_muon.c: the update by Muon. What the pass builds against the formula in plain loops, and
 * the compiled function against what the pass built, at odd shapes: matrices that are wide,
 * tall and square, joined in a pack or alone, in stacks of different depth. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/ir/lower.h"
#include "tests/unit/ops_suite.h"
#include "tests/unit/ops_tests.h"

/* q, k and v are 16, 8 and 8 rows of 16 and one pack; w13 is 14 x 16, w2 16 x 7, w1 5 x 16. The
 * second stack is of one layer. What stands outside is AdamW's, and so is what is frozen. */
static const char model_text[] =
    "model m {\n"
    "  input z : f32[2, 2, 3]\n"
    "  group late.w2.weight : lr = 0\n"
    "  x = patch_embed(z, 1, 16) as patch_embed\n"
    "  residual scalargate as join\n"
    "  stack 3 as early {\n"
    "    x <- attention(x, 4, 2) as operator\n"
    "    x <- swiglu(x, 7) as ffn\n"
    "  }\n"
    "  stack 1 as late { x <- mlp(x, 5) }\n"
    "  output velocity : unpatchify(linear(x, 2) as final_proj, 1)\n"
    "}\n";

static void lower(ops_suite *s, const char *precision) {
  char path[] = "/tmp/ops_muon_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  const char *text = mvs_arena_format(
      s->arena, "%strain { optimizer muon(lr = 1e-3, momentum = 0.9) batch 4 precision %s }\n",
      model_text, precision);
  assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
  assert_int_equal(close(file), 0);
  mvs_unit *unit;
  mvs_status status = mvs_load_unit(s->arena, s->diag, path, NULL, 0, &unit);
  assert_int_equal(unlink(path), 0);
  ops_good(s, status, "muon");
  ops_good(s, mvs_lower(s->arena, s->diag, unit, &s->module), "muon");
  s->compilation.module = s->module;
}

/* --- the formula --- */

#define MOST 16 /* rows and columns of the test's matrices */
typedef double matrix[MOST][MOST];

/* X <- a X + b (X X^T) X + c (X X^T)^2 X, whichever side is smaller: with all of the other side
 * squared the result is the same. */
static void newton_schulz(matrix x, int rows, int columns) {
  static matrix square, fourth, next;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < rows; j++) {
      square[i][j] = 0;
      for (int k = 0; k < columns; k++) square[i][j] += x[i][k] * x[j][k];
    }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < rows; j++) {
      fourth[i][j] = 0;
      for (int k = 0; k < rows; k++) fourth[i][j] += square[i][k] * square[k][j];
    }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) {
      next[i][j] = 3.4445 * x[i][j];
      for (int k = 0; k < rows; k++)
        next[i][j] += (-4.7750 * square[i][k] + 2.0315 * fourth[i][k]) * x[k][j];
    }
  memcpy(x, next, sizeof next);
}

static double value_of(const mvs_tensor_map *map, const char *name) {
  const mvs_tensor *tensor = mvs_tensor_map_find(map, name);
  assert_non_null(tensor);
  return tensor->data[0];
}

/* One matrix of one layer, `at` its first element in the tensors. */
static void check_matrix(const mvs_tensor_map *given, const double *m, const double *g,
                         const double *u, int rows, int columns) {
  static matrix x;
  double momentum = value_of(given, "momentum"), clip = value_of(given, "clip"), norm = 0;
  for (int i = 0; i < rows * columns; i++) {
    double clipped = clip * g[i], next = momentum * m[i] + (1 - momentum) * clipped;
    double d = momentum * next + (1 - momentum) * clipped;
    x[i / columns][i % columns] = value_of(given, "taken") != 0 ? d : 0;
    norm += x[i / columns][i % columns] * x[i / columns][i % columns];
  }
  for (int i = 0; i < rows * columns; i++) x[i / columns][i % columns] /= sqrt(norm) + 1e-7;
  for (int step = 0; step < 5; step++) newton_schulz(x, rows, columns);
  double scale = 0.2 * sqrt(rows > columns ? rows : columns);
  /* Both in double; five products of up to 16 terms each. */
  for (int i = 0; i < rows * columns; i++)
    assert_true(fabs(u[i] - scale * x[i / columns][i % columns]) < 1e-10);
}

/* All layers of a parameter, found under the name of the first part of its pack. */
static void check_param(const ops_suite *s, const mvs_tensor_map *given,
                        const mvs_tensor_map *results, size_t index) {
  const mvs_param *param = &s->module->params.items[index], *first = param;
  int64_t layer_elements = mvs_type_elements(&param->type, NULL);
  for (size_t i = 0; param->pack && i < index; i++) {
    if (s->module->params.items[i].pack == param->pack && first == param)
      first = &s->module->params.items[i];
  }
  if (param->pack)
    layer_elements = mvs_type_elements(&s->module->params.items[param->pack].type, NULL);
  const char *kinds[] = {"m", "g", "u"};
  const double *data[3];
  for (int k = 0; k < 3; k++) {
    const char *name = mvs_arena_format(s->arena, "%s/%s", kinds[k], first->name);
    const mvs_tensor *tensor = mvs_tensor_map_find(k < 2 ? given : results, name);
    if (!tensor) fail_msg("no tensor %s", name);
    data[k] = tensor->data;
  }
  for (int64_t layer = 0; layer < param->layers; layer++) {
    int64_t at = layer * layer_elements + param->pack_place;
    check_matrix(given, data[0] + at, data[1] + at, data[2] + at, (int)param->type.dims[0].size,
                 (int)param->type.dims[1].size);
  }
}

/* What the pass built, evaluated in double, is the formula for every matrix of the stacks. */
static void check_formula(ops_suite *s, const mvs_graph *graph, double taken) {
  ops_case each = {.name = "muon", .graph = graph, .low = -1, .high = 1};
  mvs_tensor_map given = {0}, results = {0};
  mvs_reference_options options = {.diag = s->diag};
  ops_fill(s->arena, &each, 1, &given);
  mvs_tensor *choice = (mvs_tensor *)mvs_tensor_map_find(&given, "taken");
  choice->data[0] = taken;
  ops_good(s, mvs_reference_run(s->arena, graph, 1, &given, &options, &results), "reference");
  int checked = 0;
  for (size_t i = 0; i < s->module->params.count; i++) {
    const mvs_param *param = &s->module->params.items[i];
    if (param->is_pack || !mvs_param_orthogonal(s->module, param)) continue;
    check_param(s, &given, &results, i);
    checked++;
  }
  assert_int_equal(checked, 7); /* q, k, v, proj, w13, w2 and the late w1 */
  assert_int_equal(results.count, 5);
}

static void try_muon(const char *precision, ops_tolerance tolerance) {
  ops_suite *s = ops_suite_new();
  bool exact = strcmp(precision, "f32") == 0; /* a bf16 value is rounded in any arithmetic */
  lower(s, precision);
  s->tolerance = tolerance;
  ops_add_case(s, "muon", NULL);
  s->low = 0.1; /* second moments have roots */
  if (exact) ops_add_case(s, "adamw", mvs_module_function(s->module, "adamw")->graph);
  ops_compile(s);
  const mvs_graph *graph = s->cases.items[0].graph;
  if (exact) check_formula(s, graph, 1), check_formula(s, graph, 0);
  ops_check(s, 1);
  ops_check(s, 3);
  ops_suite_end(s);
}

void ops_muon_agrees(void **state) {
  (void)state;
  try_muon("f32", (ops_tolerance){0, 1e-5, "five steps of a slope up to 3.44 in f32"});
  try_muon("bf16", (ops_tolerance){0, 0.1, "the same with values 2^-8 apart"});
}
