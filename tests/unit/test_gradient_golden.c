/* test_gradient_golden.c: the gradients of models/dit.mvs in float64: for the rules of
 * tests/data/dev-* against what PyTorch computes for the released model, for the library's
 * other rules against finite differences, and grouped heads and biases likewise; after the
 * gradient pass and after all graph passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <math.h>

#include "compiler/ir/lower.h"
#include "compiler/passes/pass.h"
#include "runtime/safetensors.h"
#include "tests/reference/reference.h"

#define BATCH         2
#define MOST_SETTINGS 16
/* The files hold float32, 6e-8 per element; what is left is the order of float64 sums. */
#define TOLERANCE 2e-7
/* Central differences of a three-block model, see graph_fixture.h. */
#define DIFFERENCE_TOLERANCE 1e-6
#define PROBES               4 /* elements per parameter */

typedef struct model {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_module *module;
  mvs_tensor_map given;
} model;

typedef struct setting {
  const char *name, *value; /* name NULL: the residual rule */
} setting;

static void good(model *m, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(m->arena);
  mvs_diag_render(m->diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

static model model_new(const setting *settings) {
  model m = {.arena = mvs_arena_new()};
  m.diag = mvs_diag_new(m.arena);
  mvs_override overrides[MOST_SETTINGS];
  size_t count = 0;
  for (; settings[count].value; count++) {
    overrides[count].name = settings[count].name;
    good(&m, mvs_parse_expr(m.arena, m.diag, "test", settings[count].value,
                            &overrides[count].value));
  }
  mvs_unit *unit;
  good(&m, mvs_load_unit(m.arena, m.diag, MVS_SOURCE_DIR "/models/dit.mvs", overrides, count,
                         &unit));
  good(&m, mvs_lower(m.arena, m.diag, unit, &m.module));
  mvs_type scalar = mvs_type_make(MVS_F32, 0, NULL);
  mvs_tensor inverse_batch = mvs_tensor_new(m.arena, &scalar, BATCH);
  inverse_batch.data[0] = 1.0 / BATCH;
  mvs_tensor_map_set(m.arena, &m.given, "inverse_batch", inverse_batch);
  return m;
}

static const mvs_graph *graph_after(model *m, const char *pass) {
  mvs_compilation compilation = {.arena = m->arena, .diag = m->diag, .module = m->module};
  good(m, mvs_pipeline_run(&compilation, pass));
  return mvs_module_function(m->module, "grad")->graph;
}

/* --- against the files --- */

/* "w/blocks.2.ffn.w2.weight" of "w/", "blocks.{i}.ffn.w2.weight", 2 */
static const char *key(model *m, const char *prefix, const char *name, int64_t layer) {
  const char *at = strstr(name, "{i}");
  if (!at) return mvs_arena_format(m->arena, "%s%s", prefix, name);
  return mvs_arena_format(m->arena, "%s%.*s%d%s", prefix, (int)(at - name), name, (int)layer,
                          at + 3);
}

static void copy(model *m, const mvs_safetensors *file, const char *name, int64_t elements,
                 double *out) {
  const mvs_file_tensor *tensor = mvs_safetensors_find(file, name);
  if (!tensor) fail_msg("no tensor %s", name);
  assert_int_equal(tensor->elements, elements);
  float *values = MVS_ARRAY(m->arena, (size_t)elements, float);
  assert_true(mvs_file_tensor_to_f32(tensor, 0, elements, values));
  for (int64_t i = 0; i < elements; i++) out[i] = values[i];
}

/* A parameter, or what belongs to it under another prefix, layers in front. */
static mvs_tensor stacked(model *m, const mvs_safetensors *file, const char *prefix,
                          const mvs_param *param) {
  mvs_dim dims[MVS_MAX_RANK] = {{param->layers ? param->layers : 1, false}};
  int lead = param->layers > 0;
  for (int i = 0; i < param->type.rank; i++) dims[i + lead] = param->type.dims[i];
  mvs_type type = mvs_type_make(MVS_F32, param->type.rank + lead, dims);
  mvs_tensor tensor = mvs_tensor_new(m->arena, &type, BATCH);
  int64_t each = mvs_type_elements(&param->type, NULL);
  for (int64_t layer = 0; layer < (param->layers ? param->layers : 1); layer++) {
    copy(m, file, key(m, prefix, param->name, layer), each, tensor.data + layer * each);
  }
  return tensor;
}

static void give_file(model *m, const mvs_safetensors *file) {
  for (size_t i = 0; i < m->module->params.count; i++) {
    const mvs_param *param = &m->module->params.items[i];
    if (!param->trained) continue;
    mvs_tensor_map_set(m->arena, &m->given, param->name, stacked(m, file, "w/", param));
  }
  const mvs_graph *loss = mvs_module_function(m->module, "loss")->graph;
  for (mvs_id id = 0; id < mvs_graph_size(loss); id++) {
    const mvs_node *node = mvs_graph_node(loss, id);
    if (node->op != MVS_OP_input) continue;
    const char *name = node->attr.input.name;
    if (mvs_tensor_map_find(&m->given, name)) continue;
    mvs_tensor tensor = mvs_tensor_new(m->arena, &node->type, BATCH);
    copy(m, file, key(m, "in/", name, 0), mvs_tensor_count(&tensor, BATCH), tensor.data);
    mvs_tensor_map_set(m->arena, &m->given, name, tensor);
  }
}

static double relative(const mvs_tensor *got, const mvs_tensor *want) {
  double apart = 0, size = 0;
  for (int64_t i = 0; i < mvs_tensor_count(want, BATCH); i++) {
    apart += pow(got->data[i] - want->data[i], 2);
    size += pow(want->data[i], 2);
  }
  return sqrt(apart / size);
}

static void compare_file(model *m, const mvs_safetensors *file, const mvs_graph *grad) {
  mvs_tensor_map results = {0};
  mvs_reference_options options = {.diag = m->diag};
  good(m, mvs_reference_run(m->arena, grad, BATCH, &m->given, &options, &results));
  size_t trained = 0;
  for (size_t i = 0; i < m->module->params.count; i++) {
    const mvs_param *param = &m->module->params.items[i];
    trained += param->trained;
    if (!param->trained || param->is_pack) continue;
    const char *name = mvs_arena_format(m->arena, "g/%s", param->name);
    mvs_tensor want = stacked(m, file, "g/", param);
    mvs_tensor *got = mvs_tensor_map_find(&results, name);
    assert_non_null(got);
    double error = relative(got, &want);
    if (!(error < TOLERANCE)) fail_msg("%s is off by %g", name, error);
  }
  assert_int_equal(results.count, trained + 1);
}

#define DIMENSIONS(depth, text)                                                         \
  {"depth", depth}, {"width", "64"}, {"heads", "2"}, {"kv_heads", "2"}, {"ffn", "160"}, \
      {"channels", "8"}, {"latent_h", "4"}, {"latent_w", "6"}, {"text_tokens", text}, { \
    "context_width", "48"                                                               \
  }

static void released_gradients_agree(void **state) {
  const char *rule = *state;
  const setting settings[] = {DIMENSIONS("3", "5"), {NULL, rule}, {NULL, NULL}};
  static const char *const passes[] = {"gradients", "hoist"};
  for (size_t i = 0; i < 2; i++) {
    model m = model_new(settings);
    mvs_safetensors *file;
    const char *path =
        mvs_arena_format(m.arena, MVS_SOURCE_DIR "/tests/data/dev-%s.safetensors", rule);
    good(&m, mvs_safetensors_open(m.arena, m.diag, path, &file));
    give_file(&m, file);
    compare_file(&m, file, graph_after(&m, passes[i]));
    mvs_safetensors_close(file);
    mvs_arena_free(m.arena);
  }
}

/* --- against finite differences --- */

#define SMALL                                                                       \
  {"depth", "3"}, {"width", "12"}, {"heads", "3"}, {"ffn", "7"}, {"channels", "3"}, \
      {"patch", "2"}, {"latent_h", "2"}, {"latent_w", "4"}, {"text_tokens", "3"}, { \
    "context_width", "5"                                                            \
  }

static void differences_agree(void **state) {
  const setting *last = *state;
  const setting settings[] = {
      SMALL, {"kv_heads", "1"}, {"bias", "true"}, last[0], {NULL, NULL}};
  model m = model_new(settings);
  const mvs_graph *loss = mvs_module_function(m.module, "loss")->graph;
  const mvs_graph *grad = graph_after(&m, "hoist");
  mvs_reference_fill(m.arena, loss, BATCH, 1, &m.given);
  for (size_t i = 0; i < m.module->params.count; i++) {
    const mvs_param *param = &m.module->params.items[i];
    if (!param->trained || param->is_pack) continue;
    mvs_gradient_case check = {.function = loss,
                               .value = "loss",
                               .grad = grad,
                               .gradient = mvs_arena_format(m.arena, "g/%s", param->name),
                               .variable = param->name,
                               .batch = BATCH,
                               .given = &m.given,
                               .most = PROBES};
    mvs_gradient_report report;
    good(&m, mvs_reference_check_gradient(m.arena, &check, m.diag, &report));
    if (report.worst < DIFFERENCE_TOLERANCE) continue;
    fail_msg("%s: element %lld: difference %g, claimed %g", param->name,
             (long long)report.element, report.difference, report.claimed);
  }
  mvs_arena_free(m.arena);
}

int main(void) {
  static char *rules[] = {"mvsplit", "layerscale", "plain"};
  static setting others[] = {{NULL, "mvsplit(alpha = 0.3, beta = 0.7)"},
                             {NULL, "prenorm"},
                             {NULL, "rezero"},
                             {NULL, "deepnorm"},
                             {NULL, "sandwich"}};
  enum { RULES = 3, OTHERS = sizeof others / sizeof *others };
  struct CMUnitTest tests[RULES + OTHERS] = {{0}};
  for (int i = 0; i < RULES; i++) {
    tests[i] = (struct CMUnitTest){rules[i], released_gradients_agree, NULL, NULL, rules[i]};
  }
  for (int i = 0; i < OTHERS; i++) {
    tests[RULES + i] =
        (struct CMUnitTest){others[i].value, differences_agree, NULL, NULL, &others[i]};
  }
  return cmocka_run_group_tests_name("gradients of models", tests, NULL, NULL);
}
