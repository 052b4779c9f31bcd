/* shapes.h: inside of the shape rules, one per row of ops.def. A rule reads the call and writes
 * the result's type; what every result obeys (extents, limits, segments) is checked after it.
 */
#ifndef MVS_IR_SHAPES_H
#define MVS_IR_SHAPES_H

#include "compiler/ir/module.h"

/* An op that is about to be added, or is asked about. */
typedef struct mvs_shape_call {
  const mvs_graph *graph;
  mvs_op op;
  const mvs_id *inputs;
  int count;
  const mvs_attr *attr;
  mvs_span span;
  mvs_diag *diag; /* may be NULL */
} mvs_shape_call;

/* Writes the type of result 0 to *out. The number of inputs fits the op's row, all of them are
 * single values of the graph, and attr is set where the row has an attribute. */
typedef mvs_status mvs_shape_rule(const mvs_shape_call *call, mvs_type *out);

#define MVS_OP(id, least, most, class, attribute) mvs_shape_rule mvs_shape_of_##id;
#include "compiler/ir/ops.def"
#undef MVS_OP

/* The type of input `index`. */
const mvs_type *mvs_shape_input(const mvs_shape_call *call, int index);
/* Reports "OP: words" at the call; returns MVS_ERR_SHAPE. */
mvs_status mvs_shape_error(const mvs_shape_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, with the types of the first inputs shown: a label for the last of them, notes at
 * the places the others come from. */
mvs_status mvs_shape_mismatch(const mvs_shape_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A type as text, in the graph's arena; for messages only. */
const char *mvs_shape_type_text(const mvs_shape_call *call, const mvs_type *type);
/* An extent as text, "B" for the batch. */
const char *mvs_shape_dim(const mvs_shape_call *call, mvs_dim dim);
/* Fails unless input `index` is f32, bf16 or f64. */
mvs_status mvs_shape_needs_float(const mvs_shape_call *call, int index);
/* Fails unless a type given by an attribute, or a result, is well formed: rank, extents,
 * limits, one batch axis at most, segments that fill the token axis. */
mvs_status mvs_shape_check_type(const mvs_shape_call *call, const mvs_type *type);

#endif
