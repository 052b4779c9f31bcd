/* lower_param.c: parameters, constants and how they start. Names follow from the labels in
 * force; a parameter declared inside a stack is one entry for all layers, with "{i}" for the
 * layer in its name, and one stacked tensor outside of the body. The first run of the model
 * makes the entries, a second finds them by name; within a run a name may be declared once.
 * Till the end of the first run a parameter has its own start and a note of its family: `init`
 * and `group` lines of the model may follow the declaration (lower_family.c). */
#include <inttypes.h>
#include <math.h>

#include "compiler/ir/lowering.h"

/* --- declared types --- */

/* Extents are expressions; parameters and constants are f32, inputs f32 or i32. */
mvs_status mvs_lower_declared_type(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                                   bool batched, mvs_type *out) {
  mvs_value list;
  int64_t extents[MVS_MAX_RANK], total = 1;
  int count;
  MVS_TRY(mvs_lower_expr(lo, scope, stmt->shape, &list));
  MVS_TRY(mvs_lower_extents(lo, &list, 1, stmt->shape->span, extents, &count));
  *out = (mvs_type){.rank = (uint8_t)(count + batched)};
  bool known = mvs_dtype_parse(stmt->dtype, &out->dtype);
  bool index = known && batched && out->dtype == MVS_I32;
  if (!known || (out->dtype != MVS_F32 && !index)) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, stmt->span, "'%s' must be %s, not %s",
                           stmt->names[0], batched ? "f32 or i32" : "f32", stmt->dtype);
  }
  if (batched) out->dims[0] = (mvs_dim){1, true};
  for (int i = 0; i < count; i++) {
    out->dims[batched + i] = (mvs_dim){extents[i], false};
    if (!mvs_mul(total, extents[i], &total) || total > MVS_MAX_EXTENT) {
      return mvs_lower_error(lo, MVS_ERR_LIMIT, stmt->shape->span,
                             "'%s' has more than %" PRId64 " elements", stmt->names[0],
                             MVS_MAX_EXTENT);
    }
  }
  return MVS_OK;
}

/* --- initial values --- */

mvs_status mvs_lower_init_value(mvs_lowering *lo, const mvs_value *value, mvs_span span,
                                mvs_init_value *out) {
  if (value->kind == MVS_VALUE_NUMBER) {
    *out = (mvs_init_value){MVS_INIT_CONSTANT, value->number, false};
    return MVS_OK;
  }
  if (value->kind == MVS_VALUE_INIT) {
    *out = value->init;
    return MVS_OK;
  }
  mvs_lower_error(lo, MVS_ERR_SHAPE, span, "an initial value is needed here, not %s",
                  mvs_value_noun(value));
  mvs_diag_hint(lo->diag, "a number, normal(std), uniform(bound) or fan_in(gain)");
  return MVS_ERR_SHAPE;
}

/* Inputs that one output element sums over: all axes but the first. For a patch convolution
 * [out, C, p, p] these are C p p; for a vector there is one. */
static double inputs_of(const mvs_type *type) {
  double count = 1;
  for (int i = 1; i < type->rank; i++) count *= (double)type->dims[i].size;
  return count;
}

mvs_init mvs_lower_settled(const mvs_init_value *value, const mvs_type *type,
                           const char *origin) {
  mvs_init init = {value->kind, value->value, origin};
  if (value->fan_in) init.value /= sqrt(inputs_of(type));
  return init;
}

/* --- parameters --- */

/* The index of a declared parameter, or SIZE_MAX. */
static size_t find_param(const mvs_lowering *lo, const char *name) {
  return (size_t)(uintptr_t)mvs_table_get(lo->params, name) - 1;
}

/* Two parameters of one name: the label that would tell them apart is missing. */
static mvs_status duplicate(mvs_lowering *lo, const mvs_param *known, mvs_span span) {
  mvs_lower_error(lo, MVS_ERR_NAME, span, "two parameters are named '%s'", known->name);
  mvs_diag_note(lo->diag, known->span, "the first is declared here");
  mvs_diag_hint(lo->diag, "tell the calls apart with labels: layer(...) as NAME");
  return MVS_ERR_NAME;
}

/* All layers of a parameter are one tensor outside the stack. */
static mvs_status check_size(mvs_lowering *lo, const mvs_param *param) {
  int64_t all = mvs_type_elements(&param->type, NULL);
  bool fits = mvs_mul(all, param->layers ? param->layers : 1, &all);
  if (fits && all <= MVS_MAX_EXTENT) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_LIMIT, param->span,
                         "'%s' has more than %" PRId64 " elements over all layers", param->name,
                         MVS_MAX_EXTENT);
}

/* Finds the entry of an earlier run, or makes it. A second time in this run is an error. */
static mvs_status declare(mvs_lowering *lo, mvs_param *param, size_t *index) {
  *index = find_param(lo, param->name);
  if (mvs_table_set(lo->seen, param->name, lo)) {
    return duplicate(lo, &lo->module->params.items[*index], param->span);
  }
  if (*index != SIZE_MAX) return MVS_OK;
  MVS_TRY(check_size(lo, param));
  if (lo->module->params.count == MVS_MAX_PARAMS) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, param->span,
                           "the model has more than %d parameters", MVS_MAX_PARAMS);
  }
  *index = lo->module->params.count;
  MVS_PUSH(lo->arena, &lo->module->params, *param);
  mvs_table_set(lo->params, param->name, (void *)(uintptr_t)(*index + 1));
  return MVS_OK;
}

/* The tensor of a parameter: inside a stack this layer's slice of all of them. Each declaration
 * adds one stacked input, in the order of the statements, which is the order of the region's
 * inputs. */
static mvs_value param_tensor(mvs_lowering *lo, size_t index, const mvs_type *type,
                              mvs_span span) {
  mvs_attr attr = {.param = {(uint32_t)index, *type}};
  if (lo->stack) attr.param.type = mvs_region_stack_type(lo->stack->region, type);
  mvs_id outer = mvs_graph_add(lo->top, MVS_OP_param, NULL, 0, &attr, span);
  if (!lo->stack) return mvs_value_tensor(lo->top, outer);
  mvs_region *region = lo->stack->region;
  MVS_PUSH(lo->arena, &lo->stack->stacked, outer);
  mvs_id inner =
      mvs_region_argument(region, MVS_ARG_STACKED, region->stacked_count++, type, span);
  return mvs_value_tensor(region->body, inner);
}

/* What trained parameters and constants have in common. */
static mvs_param describe(mvs_lowering *lo, const char *name, const mvs_type *type,
                          mvs_span span) {
  return (mvs_param){.name = mvs_arena_format(lo->arena, "%s%s", lo->prefix, name),
                     .type = *type,
                     .layers = lo->stack ? lo->stack->region->count : 0,
                     .span = span};
}

/* In a second run the start is computed again and dropped: the entry of the first run stays as
 * it is. */
mvs_status mvs_lower_param(mvs_lowering *lo, const char *name, const mvs_type *type,
                           mvs_family family, const mvs_init_value *init, const char *origin,
                           mvs_span span, mvs_value *out) {
  mvs_param param = describe(lo, name, type, span);
  param.trained = true;
  param.writer = family == MVS_FAMILY_WRITERS;
  param.gain = family == MVS_FAMILY_GAINS;
  param.init = mvs_lower_settled(init, type, origin);
  size_t index, before = lo->module->params.count;
  MVS_TRY(declare(lo, &param, &index));
  if (lo->module->params.count > before) {
    const mvs_family_lines *rule = lo->stack ? &lo->stack->lines : NULL;
    mvs_pending_param pending = {index, family, rule};
    MVS_PUSH(lo->arena, &lo->pending, pending);
  }
  *out = param_tensor(lo, index, type, span);
  return MVS_OK;
}

mvs_status mvs_lower_param_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  mvs_type type;
  mvs_init_value init = {MVS_INIT_NORMAL, 1, true};
  bool writer = stmt->writer;
  MVS_TRY(mvs_lower_declared_type(lo, scope, stmt, false, &type));
  if (writer && stmt->writer_if) MVS_TRY(mvs_lower_truth(lo, scope, stmt->writer_if, &writer));
  if (stmt->value) {
    mvs_value given;
    MVS_TRY(mvs_lower_expr(lo, scope, stmt->value, &given));
    MVS_TRY(mvs_lower_init_value(lo, &given, stmt->value->span, &init));
  }
  const char *origin =
      mvs_arena_format(lo->arena, "layer, %s", mvs_lower_place(lo, stmt->span));
  mvs_family family = writer           ? MVS_FAMILY_WRITERS
                      : type.rank >= 2 ? MVS_FAMILY_WEIGHTS
                                       : MVS_FAMILY_VECTORS;
  mvs_value value;
  MVS_TRY(
      mvs_lower_param(lo, stmt->names[0], &type, family, &init, origin, stmt->span, &value));
  mvs_scope_set(lo, scope, stmt->names[0], value);
  return MVS_OK;
}

/* A constant's elements are all one number, so its name stands for the number: no tensor is
 * read. The same constant may be declared more than once, as two norms of one rule do. */
mvs_status mvs_lower_constant_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  mvs_type type;
  double number;
  MVS_TRY(mvs_lower_declared_type(lo, scope, stmt, false, &type));
  MVS_TRY(mvs_lower_number(lo, scope, stmt->value, &number));
  mvs_param param = describe(lo, stmt->names[0], &type, stmt->span);
  param.init = (mvs_init){MVS_INIT_CONSTANT, number, "constant"};
  size_t index = find_param(lo, param.name);
  if (index != SIZE_MAX) {
    const mvs_param *known = &lo->module->params.items[index];
    bool same = !known->trained && known->init.value == number &&
                known->layers == param.layers && mvs_type_equal(&known->type, &type);
    if (!same) return duplicate(lo, known, stmt->span);
  } else {
    MVS_TRY(declare(lo, &param, &index));
  }
  mvs_scope_set(lo, scope, stmt->names[0], mvs_value_number(number));
  return MVS_OK;
}
