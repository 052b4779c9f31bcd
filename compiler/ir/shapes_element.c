/* shapes_element.c: shape rules of sources and elementwise ops. Sources say their type in the
 * attribute. Elementwise ops broadcast aligned at the right and compute in f32 unless an
 * operand is f64 or all are i32; a bf16 operand widens. The result is never bf16 but by `cast`,
 * which keeps each rounding visible as a node (see docs/numerics.md). */
#include <inttypes.h>

#include "compiler/ir/shapes.h"

/* --- sources --- */

/* Types of inputs are what the model or builder declares. */
mvs_status mvs_shape_of_input(const mvs_shape_call *call, mvs_type *out) {
  if (!call->attr->input.name) return mvs_shape_error(call, "has no name");
  *out = call->attr->input.type;
  return MVS_OK;
}

/* The attribute has the type in this graph, with the layer in front for stacked ones; that it
 * fits the module's entry is a rule of the verifier. */
mvs_status mvs_shape_of_param(const mvs_shape_call *call, mvs_type *out) {
  size_t count = mvs_graph_module(call->graph)->params.count;
  uint32_t index = call->attr->param.index;
  if (index >= count) {
    return mvs_shape_error(call, "parameter %" PRIu32 " of %zu", index, count);
  }
  *out = call->attr->param.type;
  return MVS_OK;
}

/* Only in a region's body; what stands on the other side of the border is compared by the
 * region's own rule. */
mvs_status mvs_shape_of_argument(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *type = &call->attr->argument.type;
  if ((unsigned)call->attr->argument.kind > MVS_ARG_LAYER) {
    return mvs_shape_error(call, "unknown kind");
  }
  if (!mvs_graph_region(call->graph))
    return mvs_shape_error(call, "stands outside of a region");
  if (call->attr->argument.kind == MVS_ARG_LAYER && (type->dtype != MVS_I32 || type->rank)) {
    return mvs_shape_error(call, "the layer is i32, not %s", mvs_shape_type_text(call, type));
  }
  *out = *type;
  return MVS_OK;
}

/* -> rank 0, so that it meets every shape */
mvs_status mvs_shape_of_constant(const mvs_shape_call *call, mvs_type *out) {
  *out = (mvs_type){.dtype = call->attr->constant.dtype};
  return MVS_OK;
}

/* Any shape; counts along one axis of it. */
mvs_status mvs_shape_of_iota(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *type = &call->attr->iota.type;
  int axis = call->attr->iota.axis;
  if (type->rank > MVS_MAX_RANK || axis < 0 || axis >= type->rank) {
    return mvs_shape_error(call, "axis %d of a tensor of rank %d", axis, type->rank);
  }
  if (type->dtype != MVS_I32 && type->dtype != MVS_F32) {
    return mvs_shape_error(call, "counts in i32 or f32");
  }
  *out = *type;
  return MVS_OK;
}

/* --- elements --- */

/* The type elements are computed in: f64 when any input is, i32 when all are, else f32. bf16
 * alone gives f32: an op never rounds. */
static mvs_dtype computed_dtype(const mvs_shape_call *call, int from) {
  bool integers = true;
  for (int i = from; i < call->count; i++) {
    mvs_dtype dtype = mvs_shape_input(call, i)->dtype;
    if (dtype == MVS_F64) return MVS_F64;
    integers = integers && dtype == MVS_I32;
  }
  return integers ? MVS_I32 : MVS_F32;
}

/* Says whether segments or extents are at odds. */
static mvs_status broadcast_failed(const mvs_shape_call *call, const mvs_type *a,
                                   const mvs_type *b) {
  if (a->segments && b->segments && a->segments != b->segments && a->rank == b->rank) {
    mvs_arena *home = mvs_graph_arena(call->graph);
    mvs_text left = mvs_text_new(home), right = mvs_text_new(home);
    mvs_segments_text(a->segments, &left);
    mvs_segments_text(b->segments, &right);
    return mvs_shape_mismatch(call, "segments differ, %s and %s", mvs_text_string(&left),
                              mvs_text_string(&right));
  }
  return mvs_shape_mismatch(call, "shapes do not fit, %s and %s", mvs_shape_type_text(call, a),
                            mvs_shape_type_text(call, b));
}

/* The common shape of all inputs, two at a time from the left; the dtype is left to the
 * caller. */
static mvs_status broadcast_inputs(const mvs_shape_call *call, mvs_type *out) {
  mvs_type type = *mvs_shape_input(call, 0);
  for (int i = 1; i < call->count; i++) {
    const mvs_type *next = mvs_shape_input(call, i);
    if (!mvs_type_broadcast(&type, next, &type)) return broadcast_failed(call, &type, next);
  }
  *out = type;
  return MVS_OK;
}

/* Arithmetic: common shape, computed dtype. */
static mvs_status element(const mvs_shape_call *call, mvs_type *out) {
  MVS_TRY(broadcast_inputs(call, out));
  out->dtype = computed_dtype(call, 0);
  return MVS_OK;
}

/* Functions with no meaning on integers. */
static mvs_status float_element(const mvs_shape_call *call, mvs_type *out) {
  for (int i = 0; i < call->count; i++) MVS_TRY(mvs_shape_needs_float(call, i));
  return element(call, out);
}

/* 1 or 0, as f32 whatever is compared. */
static mvs_status comparison(const mvs_shape_call *call, mvs_type *out) {
  MVS_TRY(broadcast_inputs(call, out));
  out->dtype = MVS_F32;
  return MVS_OK;
}

#define SAME_AS(rule, id)                                                   \
  mvs_status mvs_shape_of_##id(const mvs_shape_call *call, mvs_type *out) { \
    return rule(call, out);                                                 \
  }
SAME_AS(element, neg)
SAME_AS(float_element, exp)
SAME_AS(float_element, log)
SAME_AS(float_element, sqrt)
SAME_AS(float_element, rsqrt)
SAME_AS(float_element, sin)
SAME_AS(float_element, cos)
SAME_AS(float_element, tanh)
SAME_AS(float_element, sigmoid)
SAME_AS(element, abs)
SAME_AS(element, floor)
SAME_AS(element, add)
SAME_AS(element, sub)
SAME_AS(element, mul)
SAME_AS(element, div)
SAME_AS(element, max)
SAME_AS(element, min)
SAME_AS(comparison, less)
SAME_AS(comparison, equal)
SAME_AS(element, fma)
#undef SAME_AS

/* x of any shape -> the same in the attribute's dtype; f32 to bf16 rounds to nearest, ties to
 * even */
mvs_status mvs_shape_of_cast(const mvs_shape_call *call, mvs_type *out) {
  *out = *mvs_shape_input(call, 0);
  out->dtype = call->attr->cast.dtype;
  return MVS_OK;
}

/* The condition chooses and takes no part in the arithmetic, so the dtype is that of the rest.
 */
mvs_status mvs_shape_of_select(const mvs_shape_call *call, mvs_type *out) {
  MVS_TRY(broadcast_inputs(call, out));
  out->dtype = computed_dtype(call, 1);
  return MVS_OK;
}

/* Fails unless `from` stretches to exactly the shape of `to`: extents of 1 may grow, none may
 * shrink. */
static mvs_status check_stretch(const mvs_shape_call *call, const mvs_type *from,
                                const mvs_type *to) {
  mvs_type common;
  if (mvs_type_broadcast(from, to, &common) && mvs_type_same_shape(&common, to)) return MVS_OK;
  return mvs_shape_mismatch(call, "%s does not stretch to %s", mvs_shape_type_text(call, from),
                            mvs_shape_type_text(call, to));
}

/* seed i32, step i32, sample i32[B, 1, ...] -> f32 of the attribute's shape */
mvs_status mvs_shape_of_random(const mvs_shape_call *call, mvs_type *out) {
  static const char *const names[] = {"seed", "step", "sample"};
  for (int i = 0; i < 3; i++) {
    const mvs_type *type = mvs_shape_input(call, i);
    if (type->dtype != MVS_I32 || (i < 2 && type->rank != 0)) {
      return mvs_shape_mismatch(call, "its %s cannot be %s", names[i],
                                mvs_shape_type_text(call, type));
    }
  }
  const mvs_type *type = &call->attr->random.type;
  MVS_TRY(mvs_shape_check_type(call, type));
  if (type->dtype != MVS_F32) return mvs_shape_error(call, "draws f32 only");
  MVS_TRY(check_stretch(call, mvs_shape_input(call, 2), type));
  *out = *type;
  return MVS_OK;
}

/* The attribute's shape and segments, the input's dtype. */
mvs_status mvs_shape_of_broadcast(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *from = mvs_shape_input(call, 0), *to = &call->attr->shape.type;
  MVS_TRY(mvs_shape_check_type(call, to));
  MVS_TRY(check_stretch(call, from, to));
  *out = *to;
  out->dtype = from->dtype;
  return MVS_OK;
}

/* x [..., C], r [..., 1] -> like x */
mvs_status mvs_shape_of_normalize(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *x = mvs_shape_input(call, 0), *r = mvs_shape_input(call, 1);
  MVS_TRY(mvs_shape_needs_float(call, 0));
  mvs_type wanted = *x;
  if (x->rank > 0) wanted.dims[x->rank - 1] = (mvs_dim){1, false};
  if (x->rank == 0 || !mvs_type_same_shape(&wanted, r)) {
    return mvs_shape_mismatch(call, "%s is not the inverse rms of %s",
                              mvs_shape_type_text(call, r), mvs_shape_type_text(call, x));
  }
  return element(call, out);
}
