/* Functions in float64 on the reference evaluator: what `draw` draws and drops, the formulas of
 * steps.h, and comparisons as they are lowered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "compiler/ir/lower.h"
#include "compiler/ir/steps.h"
#include "tests/reference/reference.h"

#define SAMPLES 4000
#define DROPOUT 0.2
#define SHIFT   4.0

/* Two conditions of different types. */
static const char model_text[] =
    "model m {\n"
    "  input z : f32[3, 4]\n"
    "  input label : i32[] = 10\n"
    "  input words : f32[3, 4] = -1\n"
    "  output y : z + words + embed(label, 11, 3, 4)\n"
    "}\n"
    "train { objective rectified_flow(shift = 4, dropout = 0.2) }\n";

/* The same with Muon, which changes what "adamw" takes. */
static const char muon_text[] =
    "model m {\n"
    "  input z : f32[3, 4]\n"
    "  output y : linear(z, 4) as map\n"
    "}\n"
    "train { objective rectified_flow optimizer muon(momentum = 0.8) }\n";

static mvs_module *lowered_from(mvs_arena *arena, const char *text_of_model) {
  char path[] = "/tmp/mvs_test_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  size_t length = strlen(text_of_model);
  assert_int_equal(write(file, text_of_model, length), (ssize_t)length);
  close(file);
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_unit *unit;
  mvs_module *module = NULL;
  mvs_status status = mvs_load_unit(arena, diag, path, NULL, 0, &unit);
  if (status == MVS_OK) status = mvs_lower(arena, diag, unit, &module);
  unlink(path);
  mvs_text text = mvs_text_new(arena);
  mvs_diag_render(diag, &text);
  if (status != MVS_OK) print_error("%s\n", mvs_text_string(&text));
  assert_int_equal(status, MVS_OK);
  return module;
}

static mvs_module *lowered(mvs_arena *arena) { return lowered_from(arena, model_text); }

/* What the test gives and what comes out. */
typedef struct call {
  mvs_arena *arena;
  mvs_graph *graph;
  int64_t batch;
  mvs_tensor_map given, results;
} call;

static call start(mvs_arena *arena, mvs_module *module, const char *function, int64_t batch) {
  mvs_function *found = mvs_module_function(module, function);
  assert_non_null(found);
  return (call){.arena = arena, .graph = found->graph, .batch = batch};
}

/* The type of an input of the graph. */
static const mvs_type *input_type(const call *at, const char *name) {
  for (mvs_id id = 0; id < mvs_graph_size(at->graph); id++) {
    const mvs_node *node = mvs_graph_node(at->graph, id);
    if (node->op == MVS_OP_input && strcmp(node->attr.input.name, name) == 0) {
      return &node->type;
    }
  }
  print_error("no input %s\n", name);
  fail();
  return NULL;
}

/* Gives an input whose element i is first + i * step. */
static double *give(call *at, const char *name, double first, double step) {
  mvs_tensor tensor = mvs_tensor_new(at->arena, input_type(at, name), at->batch);
  int64_t count = mvs_tensor_count(&tensor, at->batch);
  for (int64_t i = 0; i < count; i++) tensor.data[i] = first + (double)i * step;
  mvs_tensor_map_set(at->arena, &at->given, name, tensor);
  return tensor.data;
}

static void run(call *at) {
  assert_int_equal(
      mvs_reference_run(at->arena, at->graph, at->batch, &at->given, NULL, &at->results),
      MVS_OK);
}

static const double *result(const call *at, const char *name) {
  const mvs_tensor *found = mvs_tensor_map_find(&at->results, name);
  assert_non_null(found);
  return found->data;
}

static call drawn(mvs_arena *arena) {
  call at = start(arena, lowered(arena), "draw", SAMPLES);
  give(&at, "seed", 7, 0);
  give(&at, "step", 3, 0);
  give(&at, "sample", 0, 1);
  give(&at, "label", 4, 0);
  give(&at, "words", 0.5, 0);
  run(&at);
  return at;
}

/* The share is within 4 standard deviations; a sample loses all its conditions or none. */
static void conditions_are_dropped_together(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  call at = drawn(arena);
  const double *label = result(&at, "label"), *words = result(&at, "words");
  double dropped = 0;
  for (int i = 0; i < SAMPLES; i++) {
    bool gone = label[i] == 10;
    assert_true(gone || label[i] == 4);
    for (int e = 0; e < 12; e++) assert_true(words[i * 12 + e] == (gone ? -1 : 0.5));
    dropped += gone;
  }
  double bound = 4 * sqrt(DROPOUT * (1 - DROPOUT) / SAMPLES);
  assert_true(fabs(dropped / SAMPLES - DROPOUT) < bound);
  mvs_arena_free(arena);
}

/* t' = s t / (1 + (s-1) t) lies below s/(1+s) for t below 1/2: half of the draws. */
static void times_are_shifted(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  call at = drawn(arena);
  const double *t = result(&at, "t"), *x1 = result(&at, "x1");
  double below = 0, mean = 0, square = 0;
  for (int i = 0; i < SAMPLES; i++) {
    assert_true(t[i] >= 0 && t[i] < 1);
    below += t[i] < SHIFT / (1 + SHIFT);
  }
  for (int i = 0; i < SAMPLES * 12; i++) mean += x1[i], square += x1[i] * x1[i];
  assert_true(fabs(below / SAMPLES - 0.5) < 4 * 0.5 / sqrt(SAMPLES));
  assert_true(fabs(mean / (SAMPLES * 12)) < 4 / sqrt(SAMPLES * 12));
  assert_true(fabs(square / (SAMPLES * 12) - 1) < 4 * sqrt(2) / sqrt(SAMPLES * 12));
  mvs_arena_free(arena);
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-12 * (1 + fabs(b)); }

/* Two rows with a decay and a rate of their own, in a step that is taken or not. */
static call adamw(mvs_arena *arena, double taken) {
  static const char *const names[] = {"lr",   "beta1",       "beta2",       "eps",
                                      "clip", "correction1", "correction2", "taken"};
  const double values[] = {0.01, 0.9, 0.95, 1e-8, 0.5, 0.19, 0.0975, taken};
  call at = start(arena, lowered(arena), "adamw", 2);
  for (int i = 0; i < 8; i++) give(&at, names[i], values[i], 0);
  give(&at, "decay", 0.1, -0.1);
  give(&at, "rate", 2, -1.5);
  return at;
}

static void adamw_is_the_formula(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  call at = adamw(arena, 1);
  const double *p = give(&at, "p", 1, 0.001), *m = give(&at, "m", -0.1, 0.0003);
  const double *v = give(&at, "v", 0.2, 0.0001), *g = give(&at, "g", -2, 0.004);
  run(&at);
  for (int i = 0; i < 2 * MVS_FLAT_ROW; i++) {
    double clipped = 0.5 * g[i], decay = i < MVS_FLAT_ROW ? 0.1 : 0;
    double lr = 0.01 * (i < MVS_FLAT_ROW ? 2 : 0.5);
    double m1 = 0.9 * m[i] + (1 - 0.9) * clipped;
    double v1 = 0.95 * v[i] + (1 - 0.95) * clipped * clipped;
    double want = p[i] * (1 - lr * decay) - lr * (m1 / 0.19) / (sqrt(v1 / 0.0975) + 1e-8);
    assert_true(near(result(&at, "p")[i], want));
    assert_true(near(result(&at, "m")[i], m1));
    assert_true(near(result(&at, "v")[i], v1));
  }
  mvs_arena_free(arena);
}

/* The second row is of Muon: v is the step and stays, and m has another momentum. */
static void rows_of_muon_take_their_step_from_v(void **state) {
  (void)state;
  static const char *const names[] = {"lr",          "beta2",       "eps",  "clip",
                                      "correction1", "correction2", "taken"};
  const double values[] = {0.01, 0.95, 1e-8, 0.5, 0.19, 0.0975, 1};
  mvs_arena *arena = mvs_arena_new();
  call at = start(arena, lowered_from(arena, muon_text), "adamw", 2);
  for (int i = 0; i < 7; i++) give(&at, names[i], values[i], 0);
  give(&at, "beta1", 0.9, -0.1), give(&at, "direct", 0, 1);
  give(&at, "decay", 0.1, 0.2), give(&at, "rate", 1, 0.5);
  const double *p = give(&at, "p", 1, 0.001), *m = give(&at, "m", -0.1, 0.0003);
  const double *v = give(&at, "v", 0.2, 0.0001), *g = give(&at, "g", -2, 0.004);
  run(&at);
  for (int i = 0; i < 2 * MVS_FLAT_ROW; i++) {
    bool direct = i >= MVS_FLAT_ROW;
    double clipped = 0.5 * g[i], beta1 = direct ? 0.8 : 0.9, lr = direct ? 0.015 : 0.01;
    double m1 = beta1 * m[i] + (1 - beta1) * clipped;
    double v1 = direct ? v[i] : 0.95 * v[i] + (1 - 0.95) * clipped * clipped;
    double step = direct ? v[i] : (m1 / 0.19) / (sqrt(v1 / 0.0975) + 1e-8);
    double want = p[i] * (1 - lr * (direct ? 0.3 : 0.1)) - lr * step;
    assert_true(near(result(&at, "p")[i], want));
    assert_true(near(result(&at, "m")[i], m1));
    assert_true(near(result(&at, "v")[i], v1));
  }
  mvs_arena_free(arena);
}

/* Gradients that are no numbers leave everything as it was. */
static void a_step_not_taken_changes_nothing(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  call at = adamw(arena, 0), mean = start(arena, lowered(arena), "average", 2);
  const double *p = give(&at, "p", 1, 0.001), *m = give(&at, "m", -0.1, 0.0003);
  const double *v = give(&at, "v", 0.2, 0.0001);
  give(&at, "g", NAN, 0), give(&at, "clip", NAN, 0);
  const double *e = give(&mean, "e", 1, 0.5);
  give(&mean, "p", -3, 0.25), give(&mean, "decay", 0.99, 0), give(&mean, "taken", 0, 0);
  run(&at), run(&mean);
  for (int i = 0; i < 2 * MVS_FLAT_ROW; i++) {
    assert_true(result(&at, "p")[i] == p[i] && result(&at, "m")[i] == m[i]);
    assert_true(result(&at, "v")[i] == v[i] && result(&mean, "e")[i] == e[i]);
  }
  mvs_arena_free(arena);
}

/* The factor and whether the step is taken; f32 results round once. */
static void clip_is_the_formula(void **state) {
  (void)state;
  const struct {
    double total, loss, limit, before, factor, taken;
  } rows[] = {
      {16, 1, 1, 1, 1 / (4 + 1e-6), 1},   {0.25, 1, 1, 1, 1, 1},
      {16, 1, INFINITY, 1, 1, 1},         {0, 1, 1e-3, 1, 1, 1},
      {INFINITY, 1, 1, 1, 0, 0},          {16, -INFINITY, 1, 1, 1 / (4 + 1e-6), 0},
      {16, NAN, 1, 1, 1 / (4 + 1e-6), 0}, {16, 1, 1, 0, 1 / (4 + 1e-6), 0},
  };
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = lowered(arena);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    call at = start(arena, module, "clip", 1);
    give(&at, "total", rows[i].total, 0), give(&at, "loss", rows[i].loss, 0);
    give(&at, "limit", rows[i].limit, 0), give(&at, "taken", rows[i].before, 0);
    run(&at);
    assert_true(*result(&at, "norm") == sqrt(rows[i].total));
    assert_true(near(*result(&at, "clip"), rows[i].factor));
    assert_true(*result(&at, "taken") == rows[i].taken);
  }
  call at = start(arena, module, "clip", 1), sum = start(arena, module, "add_losses", 1);
  give(&at, "total", NAN, 0), give(&at, "loss", 1, 0);
  give(&at, "limit", 1, 0), give(&at, "taken", 1, 0);
  give(&sum, "loss", 0.25, 0), give(&sum, "part", 1.5, 0);
  run(&at), run(&sum);
  assert_true(isnan(*result(&at, "norm")) && *result(&at, "taken") == 0);
  assert_true(*result(&sum, "loss") == 1.75);
  mvs_arena_free(arena);
}

static void rows_add_and_average(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = lowered(arena);
  call sum = start(arena, module, "accumulate", 2), mean = start(arena, module, "average", 2);
  call squares = start(arena, module, "sum_squares", 2);
  const double *a = give(&sum, "a", 1, 0.5), *g = give(&sum, "g", -3, 0.25);
  const double *e = give(&mean, "e", 1, 0.5), *p = give(&mean, "p", -3, 0.25);
  give(&mean, "decay", 0.99, 0), give(&mean, "taken", 1, 0);
  const double *x = give(&squares, "g", -1, 0.001);
  run(&sum), run(&mean), run(&squares);
  double total = 0;
  for (int i = 0; i < 2 * MVS_FLAT_ROW; i++) {
    assert_true(near(result(&sum, "a")[i], a[i] + g[i]));
    assert_true(near(result(&mean, "e")[i], 0.99 * e[i] + (1 - 0.99) * p[i]));
    total += x[i] * x[i];
  }
  assert_true(near(*result(&squares, "total"), total));
  mvs_arena_free(arena);
}

static void sampler_and_blend_are_the_formulas(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = lowered(arena);
  call step = start(arena, module, "sampler_step", 2), blend = start(arena, module, "zt", 2);
  const double *x = give(&step, "x", 1, 0.5), *c = give(&step, "conditional", -1, 0.25);
  const double *u = give(&step, "unconditional", 2, -0.1);
  give(&step, "dt", 0.03, 0), give(&step, "cfg", 2, 0);
  const double *x0 = give(&blend, "x0", 1, 0.5), *x1 = give(&blend, "x1", -1, 0.25);
  const double *t = give(&blend, "t", 0.25, 0.5);
  run(&step), run(&blend);
  for (int i = 0; i < 24; i++) {
    double velocity = u[i] + 2 * (c[i] - u[i]), time = t[i / 12];
    assert_true(near(result(&step, "x")[i], x[i] + 0.03 * velocity));
    assert_true(near(result(&blend, "zt")[i], (1 - time) * x0[i] + time * x1[i]));
  }
  mvs_arena_free(arena);
}

/* Two halves of a batch, each told the whole batch, give the loss of the whole. */
static void losses_of_micro_batches_add_up(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_module *module = lowered(arena);
  double whole = 0, parts = 0;
  for (int run_number = 0; run_number < 3; run_number++) {
    call at = start(arena, module, "loss", run_number == 0 ? 4 : 2);
    double shift = run_number == 2 ? 2 : 0; /* samples before this part */
    mvs_reference_fill(arena, at.graph, at.batch, 5, &at.given);
    give(&at, "x0", 1 + shift * 12 * 0.5, 0.5), give(&at, "x1", -1 + shift * 12 * 0.25, 0.25);
    give(&at, "t", 0.1 + shift * 0.2, 0.2), give(&at, "label", shift, 1);
    give(&at, "words", shift * 12 * 0.01, 0.01), give(&at, "inverse_batch", 0.25, 0);
    run(&at);
    *(run_number == 0 ? &whole : &parts) += *result(&at, "loss");
  }
  assert_true(near(parts, whole));
  mvs_arena_free(arena);
}

/* Each comparison sets a digit. Of equal numbers, one less, one more, and of NaN on either
 * side: IEEE 754 has all but != false of NaN. */
static const char comparisons_text[] =
    "model m {\n"
    "  input a : f32[4, 1]\n"
    "  input b : f32[4, 1]\n"
    "  output y : (a < b) + 10 * (a <= b) + 100 * (a > b) +\n"
    "             1000 * (a >= b) + 10000 * (a == b) +\n"
    "    100000 * (a != b)\n"
    "}\n";

static void comparisons_are_ieee(void **state) {
  (void)state;
  static const double wanted[] = {11010, 100011, 101100, 100000};
  mvs_arena *arena = mvs_arena_new();
  call at = start(arena, lowered_from(arena, comparisons_text), "forward", 2);
  double *a = give(&at, "a", 1, 0), *b = give(&at, "b", 1, 0);
  for (int sample = 0; sample < 2; sample++) {
    double *x = a + 4 * sample, *y = b + 4 * sample;
    x[1] = 0, x[2] = INFINITY;
    if (sample) x[3] = NAN, y[2] = -INFINITY;
    if (!sample) y[3] = NAN;
  }
  run(&at);
  for (int i = 0; i < 8; i++) assert_true(result(&at, "y")[i] == wanted[i % 4]);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conditions_are_dropped_together),
      cmocka_unit_test(times_are_shifted),
      cmocka_unit_test(adamw_is_the_formula),
      cmocka_unit_test(rows_of_muon_take_their_step_from_v),
      cmocka_unit_test(a_step_not_taken_changes_nothing),
      cmocka_unit_test(clip_is_the_formula),
      cmocka_unit_test(rows_add_and_average),
      cmocka_unit_test(sampler_and_blend_are_the_formulas),
      cmocka_unit_test(losses_of_micro_batches_add_up),
      cmocka_unit_test(comparisons_are_ieee),
  };
  return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
