/* module.c: a model's functions, parameters and segment tables. Functions and tables are found
 * by walking their lists: there are a dozen of each. Tables are interned, with names copied
 * into the module's arena, so that types compare them by pointer and a module outlives the text
 * it was read from. */
#include "compiler/ir/module.h"

mvs_module *mvs_module_new(mvs_arena *arena, const char *name) {
  mvs_module *module = MVS_NEW(arena, mvs_module);
  module->arena = arena;
  module->name = name;
  return module;
}

mvs_function *mvs_module_function(mvs_module *module, const char *name) {
  for (size_t i = 0; i < module->functions.count; i++) {
    if (strcmp(module->functions.items[i].name, name) == 0) return &module->functions.items[i];
  }
  return NULL;
}

/* The list may move when it grows, so callers keep the graph and not the entry. */
mvs_function *mvs_module_add_function(mvs_module *module, const char *name) {
  mvs_function function = {name, mvs_graph_new(module->arena, module, NULL)};
  MVS_PUSH(module->arena, &module->functions, function);
  return &module->functions.items[module->functions.count - 1];
}

/* The copy owns its names: those given may lie in a source that is read again. */
const mvs_segments *mvs_module_segments(mvs_module *module, const mvs_segments *table) {
  for (size_t i = 0; i < module->segment_tables.count; i++) {
    const mvs_segments *known = module->segment_tables.items[i];
    if (mvs_segments_equal(known, table)) return known;
  }
  mvs_segments *copy = MVS_NEW(module->arena, mvs_segments);
  *copy = *table;
  for (int i = 0; i < copy->count; i++) {
    copy->items[i].name = mvs_arena_string(module->arena, table->items[i].name);
  }
  MVS_PUSH(module->arena, &module->segment_tables, copy);
  return copy;
}

mvs_type mvs_param_node_type(const mvs_param *param) {
  mvs_type type = param->type;
  if (param->layers == 0) return type;
  type.rank++;
  type.dims[0] = (mvs_dim){param->layers, false};
  for (int i = 0; i < param->type.rank; i++) type.dims[i + 1] = param->type.dims[i];
  return type;
}

/* Takes room for all layers, in whole rows. */
static bool take_room(int64_t layers, int64_t elements, int64_t *flat) {
  int64_t size;
  if (!mvs_mul(layers ? layers : 1, elements, &size)) return false;
  if (!mvs_add(size, MVS_FLAT_ROW - 1, &size)) return false;
  return mvs_add(*flat, size / MVS_FLAT_ROW * MVS_FLAT_ROW, flat);
}

/* The first part of a pack takes room for all of it; parts come before their pack, in the order
 * of their places. */
bool mvs_module_offsets(const mvs_module *module, int64_t *offsets, int64_t *flat) {
  *flat = 0;
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (param->is_pack || !param->trained) continue;
    const mvs_param *whole = param->pack ? &module->params.items[param->pack] : param;
    size_t first = i;
    for (size_t k = 0; param->pack && k < i && first == i; k++) {
      if (module->params.items[k].pack == param->pack) first = k;
    }
    offsets[i] = *flat;
    if (first != i) {
      offsets[i] = offsets[first] + param->pack_place;
      continue;
    }
    if (!take_room(param->layers, mvs_type_elements(&whole->type, NULL), flat)) return false;
  }
  return true;
}

/* Stacked parameters count once per layer, and a pack is counted by its parts. */
int64_t mvs_module_trained_elements(const mvs_module *module) {
  int64_t total = 0;
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (!param->trained || param->is_pack) continue;
    total += mvs_type_elements(&param->type, NULL) * (param->layers ? param->layers : 1);
  }
  return total;
}

double mvs_param_rate(const mvs_param *param) {
  return param->group.has_rate ? param->group.rate : 1;
}

/* The rank is that of one layer: a gain of every layer is a vector. */
double mvs_param_decay(const mvs_param *param) {
  if (param->group.has_decay) return param->group.decay;
  return param->type.rank >= 2 ? 1 : 0;
}

bool mvs_param_learns(const mvs_param *param) {
  return param->trained && mvs_param_rate(param) > 0;
}

/* What stands outside of the stacks reads data or writes the output, and has rows that mean
 * something each: classes, channels. Muon is for maps between hidden features. */
bool mvs_param_orthogonal(const mvs_module *module, const mvs_param *param) {
  return module->settings.muon && param->layers > 0 && param->type.rank == 2 &&
         mvs_param_learns(param);
}
