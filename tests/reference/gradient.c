/* gradient.c: gradients against central differences, and the values to try them on. */
#include <math.h>

#include "tests/reference/reference.h"

#define DEFAULT_STEP 1e-5 /* near the cube root of the unit roundoff: both errors are ~1e-10 \
                           */

/* --- values --- */

static uint32_t name_hash(const char *name) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
  return hash;
}

static void fill_tensor(mvs_arena *arena, const char *name, const mvs_type *type, int64_t batch,
                        uint32_t seed, mvs_tensor_map *map) {
  if (mvs_tensor_map_find(map, name)) return;
  mvs_tensor tensor = mvs_tensor_new(arena, type, batch);
  for (int64_t i = 0; i < mvs_tensor_count(&tensor, batch); i++) {
    double draw =
        mvs_reference_random(MVS_RANDOM_UNIFORM, seed, name_hash(name), (uint32_t)i, 0, 0);
    tensor.data[i] = type->dtype == MVS_I32 ? (double)i : 2 * draw - 1;
  }
  mvs_tensor_map_set(arena, map, name, tensor);
}

/* A parameter under its name, a pack under those of its parts. */
static void fill_param(mvs_arena *arena, const mvs_module *module, uint32_t index,
                       uint32_t seed, mvs_tensor_map *map) {
  const mvs_param *param = &module->params.items[index];
  mvs_type type = mvs_param_node_type(param);
  if (!param->is_pack) fill_tensor(arena, param->name, &type, 1, seed, map);
  for (uint32_t i = 0; param->is_pack && i < index; i++) {
    if (module->params.items[i].pack == index) fill_param(arena, module, i, seed, map);
  }
}

void mvs_reference_fill(mvs_arena *arena, const mvs_graph *graph, int64_t batch, uint32_t seed,
                        mvs_tensor_map *map) {
  const mvs_module *module = mvs_graph_module(graph);
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op == MVS_OP_input) {
      fill_tensor(arena, node->attr.input.name, &node->type, batch, seed, map);
    } else if (node->op == MVS_OP_param) {
      fill_param(arena, module, node->attr.param.index, seed, map);
    }
  }
}

/* --- differences --- */

/* The value of a named result; its first element when it is to be a scalar. */
static mvs_status result_of(mvs_arena *arena, const mvs_graph *graph, int64_t batch,
                            const mvs_tensor_map *given, const char *name, mvs_diag *diag,
                            mvs_tensor *out) {
  mvs_reference_options options = {.diag = diag};
  mvs_tensor_map results = {0};
  MVS_TRY(mvs_reference_run(arena, graph, batch, given, &options, &results));
  const mvs_tensor *found = mvs_tensor_map_find(&results, name);
  if (!found) {
    if (diag) mvs_diag_error(diag, (mvs_span){0}, "there is no result '%s'", name);
    return MVS_ERR_NAME;
  }
  *out = *found;
  return MVS_OK;
}

/* The function's value with one element of the variable moved by `by`. */
static mvs_status moved_value(const mvs_gradient_case *check, mvs_tensor *variable,
                              const mvs_tensor_map *given, int64_t element, double by,
                              mvs_diag *diag, double *out) {
  mvs_arena *scratch = mvs_arena_new();
  if (!scratch) return MVS_ERR_MEMORY;
  mvs_tensor value;
  double before = variable->data[element];
  variable->data[element] = before + by;
  mvs_status status =
      result_of(scratch, check->function, check->batch, given, check->value, diag, &value);
  variable->data[element] = before;
  if (status == MVS_OK && mvs_tensor_count(&value, check->batch) != 1) status = MVS_ERR_SHAPE;
  if (status == MVS_OK) *out = value.data[0];
  mvs_arena_free(scratch);
  return status;
}

/* A copy of the map whose variable may be changed. */
static mvs_tensor_map copy_map(mvs_arena *arena, const mvs_gradient_case *check) {
  mvs_tensor_map copy = {0};
  for (size_t i = 0; i < check->given->count; i++) {
    const mvs_named_tensor *entry = &check->given->items[i];
    mvs_tensor tensor = entry->tensor;
    if (strcmp(entry->name, check->variable) == 0) {
      tensor = mvs_tensor_new(arena, &entry->tensor.type, check->batch);
      memcpy(tensor.data, entry->tensor.data,
             (size_t)mvs_tensor_count(&tensor, check->batch) * sizeof *tensor.data);
    }
    mvs_tensor_map_set(arena, &copy, entry->name, tensor);
  }
  return copy;
}

/* The difference quotient of one element into the report; `distance` keeps the worst so far. */
static mvs_status probe(const mvs_gradient_case *check, mvs_tensor *variable,
                        const mvs_tensor_map *given, int64_t element, double claimed,
                        mvs_diag *diag, mvs_gradient_report *report, double *distance) {
  double step = check->step > 0 ? check->step : DEFAULT_STEP, above, below;
  MVS_TRY(moved_value(check, variable, given, element, step, diag, &above));
  MVS_TRY(moved_value(check, variable, given, element, -step, diag, &below));
  double difference = (above - below) / (2 * step), apart = fabs(difference - claimed);
  report->scale = fmax(report->scale, fmax(fabs(difference), fabs(claimed)));
  report->probed++;
  /* Written so that a NaN counts as the worst and stays so. */
  if (!(apart <= *distance) && !isnan(*distance)) {
    *distance = apart;
    report->element = element;
    report->difference = difference;
    report->claimed = claimed;
  }
  return MVS_OK;
}

mvs_status mvs_reference_check_gradient(mvs_arena *arena, const mvs_gradient_case *check,
                                        mvs_diag *diag, mvs_gradient_report *report) {
  mvs_tensor_map given = copy_map(arena, check);
  mvs_tensor *variable = mvs_tensor_map_find(&given, check->variable), claimed;
  if (!variable) {
    if (diag) mvs_diag_error(diag, (mvs_span){0}, "'%s' is not given", check->variable);
    return MVS_ERR_NAME;
  }
  MVS_TRY(result_of(arena, check->grad, check->batch, &given, check->gradient, diag, &claimed));
  int64_t count = mvs_tensor_count(variable, check->batch);
  if (mvs_tensor_count(&claimed, check->batch) != count) return MVS_ERR_SHAPE;
  int64_t probes = check->most > 0 && check->most < count ? check->most : count;
  mvs_gradient_report found = {0};
  double distance = 0;
  for (int64_t i = 0; i < probes; i++) {
    int64_t element = i * count / probes;
    MVS_TRY(probe(check, variable, &given, element, claimed.data[element], diag, &found,
                  &distance));
  }
  found.worst = found.scale > 0 ? distance / found.scale : distance;
  *report = found;
  return MVS_OK;
}
