/* models/dit.mvs in float64 against what the released model computes (tests/data/dev-*): the
 * velocity, the loss and the names and shapes of all tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <math.h>

#include "compiler/ir/lower.h"
#include "runtime/safetensors.h"
#include "tests/reference/reference.h"

#define BATCH 2
/* The files hold float32: one rounding of each element, 6e-8 at most. What is left is the order
 * of float64 sums. */
#define TOLERANCE 2e-7

typedef struct golden {
  const char *name, *rule;
} golden;

static const golden cases[] = {
    {"mvsplit", "mvsplit"}, {"layerscale", "layerscale"}, {"plain", "plain"}};

static mvs_module *lowered(mvs_arena *arena, const char *rule) {
  static const char *const settings[][2] = {
      {"depth", "3"},       {"width", "64"},         {"heads", "2"},    {"kv_heads", "2"},
      {"ffn", "160"},       {"channels", "8"},       {"latent_h", "4"}, {"latent_w", "6"},
      {"text_tokens", "5"}, {"context_width", "48"}, {NULL, NULL}};
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_override overrides[16];
  size_t count = 0;
  mvs_unit *unit;
  mvs_module *module;
  for (; settings[count][0]; count++) {
    overrides[count].name = settings[count][0];
    assert_int_equal(
        mvs_parse_expr(arena, diag, "test", settings[count][1], &overrides[count].value),
        MVS_OK);
  }
  overrides[count].name = NULL;
  assert_int_equal(mvs_parse_expr(arena, diag, "test", rule, &overrides[count++].value),
                   MVS_OK);
  assert_int_equal(
      mvs_load_unit(arena, diag, MVS_SOURCE_DIR "/models/dit.mvs", overrides, count, &unit),
      MVS_OK);
  assert_int_equal(mvs_lower(arena, diag, unit, &module), MVS_OK);
  return module;
}

/* Copies a tensor of the file to `out`; it must have the type's extents. */
static void copy(mvs_arena *arena, const mvs_safetensors *file, const char *name,
                 const mvs_type *type, double *out) {
  const mvs_file_tensor *tensor = mvs_safetensors_find(file, name);
  if (!tensor) print_error("no tensor %s\n", name);
  assert_non_null(tensor);
  assert_int_equal(tensor->rank, type->rank);
  for (int i = 0; i < type->rank; i++) {
    mvs_dim dim = type->dims[i];
    assert_int_equal(tensor->shape[i], dim.size * (dim.per_batch ? BATCH : 1));
  }
  float *values = MVS_ARRAY(arena, (size_t)tensor->elements, float);
  assert_true(mvs_file_tensor_to_f32(tensor, 0, tensor->elements, values));
  for (int64_t i = 0; i < tensor->elements; i++) out[i] = values[i];
}

/* "w/blocks.2.ffn.w2.weight" of "blocks.{i}.ffn.w2.weight" */
static const char *key(mvs_arena *arena, const char *name, int64_t layer) {
  const char *at = strstr(name, "{i}");
  if (!at) return mvs_arena_format(arena, "w/%s", name);
  return mvs_arena_format(arena, "w/%.*s%d%s", (int)(at - name), name, (int)layer, at + 3);
}

/* All trained parameters, layers in front. A constant need not be in the file. */
static size_t give_params(mvs_arena *arena, const mvs_module *module,
                          const mvs_safetensors *file, mvs_tensor_map *map) {
  size_t found = 0;
  for (size_t p = 0; p < module->params.count; p++) {
    const mvs_param *param = &module->params.items[p];
    int64_t layers = param->layers ? param->layers : 1;
    mvs_type type = param->type;
    if (param->layers) {
      memmove(type.dims + 1, type.dims, sizeof type.dims - sizeof *type.dims);
      type.dims[0] = (mvs_dim){layers, false};
      type.rank++;
    }
    mvs_tensor tensor = mvs_tensor_new(arena, &type, BATCH);
    int64_t each = mvs_type_elements(&param->type, NULL);
    for (int64_t layer = 0; layer < layers; layer++) {
      const char *name = key(arena, param->name, layer);
      if (!param->trained && !mvs_safetensors_find(file, name)) continue;
      copy(arena, file, name, &param->type, tensor.data + layer * each);
      found++;
    }
    if (param->trained) mvs_tensor_map_set(arena, map, param->name, tensor);
  }
  return found;
}

static void give_input(mvs_arena *arena, const mvs_safetensors *file, const char *name,
                       const mvs_type *type, mvs_tensor_map *map) {
  mvs_tensor tensor = mvs_tensor_new(arena, type, BATCH);
  copy(arena, file, mvs_arena_format(arena, "in/%s", name), type, tensor.data);
  mvs_tensor_map_set(arena, map, name, tensor);
}

/* Gives the inputs of a graph and evaluates it. */
static mvs_tensor run(mvs_arena *arena, mvs_module *module, const char *function,
                      const char *result, const mvs_safetensors *file, mvs_tensor_map *map) {
  mvs_graph *graph = mvs_module_function(module, function)->graph;
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op != MVS_OP_input || mvs_tensor_map_find(map, node->attr.input.name)) continue;
    give_input(arena, file, node->attr.input.name, &node->type, map);
  }
  mvs_tensor_map results = {0};
  assert_int_equal(mvs_reference_run(arena, graph, BATCH, map, NULL, &results), MVS_OK);
  mvs_tensor *found = mvs_tensor_map_find(&results, result);
  assert_non_null(found);
  return *found;
}

static void velocity_agrees(mvs_arena *arena, mvs_module *module, const mvs_safetensors *file,
                            mvs_tensor_map *map) {
  mvs_tensor got = run(arena, module, "forward", "velocity", file, map);
  mvs_tensor want = mvs_tensor_new(arena, &got.type, BATCH);
  copy(arena, file, "out/velocity", &got.type, want.data);
  double apart = 0, size = 0;
  for (int64_t i = 0; i < mvs_tensor_count(&got, BATCH); i++) {
    apart += (got.data[i] - want.data[i]) * (got.data[i] - want.data[i]);
    size += want.data[i] * want.data[i];
  }
  double error = sqrt(apart / size);
  if (error >= TOLERANCE) print_error("velocity is off by %g\n", error);
  assert_true(error < TOLERANCE);
}

static void loss_agrees(mvs_arena *arena, mvs_module *module, const mvs_safetensors *file,
                        mvs_tensor_map *map) {
  mvs_type scalar = mvs_type_make(MVS_F32, 0, NULL);
  mvs_tensor inverse_batch = mvs_tensor_new(arena, &scalar, BATCH);
  inverse_batch.data[0] = 1.0 / BATCH;
  mvs_tensor_map_set(arena, map, "inverse_batch", inverse_batch);
  mvs_tensor loss = run(arena, module, "loss", "loss", file, map);
  const char *record = mvs_safetensors_metadata(file, "golden");
  assert_non_null(record);
  const char *at = strstr(record, "\"loss\": ");
  assert_non_null(at);
  double want = strtod(at + strlen("\"loss\": "), NULL);
  assert_true(fabs(loss.data[0] - want) < TOLERANCE * want);
}

static void released_model_agrees(void **state) {
  const golden *which = *state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_safetensors *file;
  const char *path =
      mvs_arena_format(arena, MVS_SOURCE_DIR "/tests/data/dev-%s.safetensors", which->name);
  assert_int_equal(mvs_safetensors_open(arena, diag, path, &file), MVS_OK);
  mvs_module *module = lowered(arena, which->rule);
  mvs_tensor_map map = {0};
  size_t known = give_params(arena, module, file, &map), written = 0;
  for (size_t i = 0; i < file->count; i++) {
    written += strncmp(file->tensors[i].name, "w/", 2) == 0;
  }
  assert_int_equal(known, written); /* no tensor of the file is left over */
  velocity_agrees(arena, module, file, &map);
  loss_agrees(arena, module, file, &map);
  mvs_safetensors_close(file);
  mvs_arena_free(arena);
}

int main(void) {
  struct CMUnitTest tests[sizeof cases / sizeof *cases];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tests[i] = (struct CMUnitTest)cmocka_unit_test(released_model_agrees);
    tests[i].name = cases[i].name;
    tests[i].initial_state = (void *)&cases[i];
  }
  return cmocka_run_group_tests_name("released model", tests, NULL, NULL);
}
