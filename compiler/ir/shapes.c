/* shapes.c: how a shape rule is reached, and what all of them share. A rule gives the type of
 * result 0 of an op, or says why the inputs do not fit. Before it runs, the number of inputs
 * and their existence are checked, so it may index freely; after it ran, the type is checked
 * for what holds for all (limits, one batch axis, segments that fill the token axis). The same
 * rules serve the user's mistakes (with a diag: words and a caret), the reader of dumps and the
 * compiler's own assertion (without: the status alone, no text is made). */
#include "compiler/ir/shapes.h"

#include <inttypes.h>
#include <stdarg.h>

static mvs_shape_rule *const rules[MVS_OP_COUNT] = {
#define MVS_OP(id, least, most, class, attribute) [MVS_OP_##id] = mvs_shape_of_##id,
#include "compiler/ir/ops.def"
#undef MVS_OP
};

const mvs_type *mvs_shape_input(const mvs_shape_call *call, int index) {
  return mvs_graph_type(call->graph, call->inputs[index]);
}

const char *mvs_shape_type_text(const mvs_shape_call *call, const mvs_type *type) {
  mvs_text text = mvs_text_new(mvs_graph_arena(call->graph));
  mvs_type_text(type, &text);
  return mvs_text_string(&text);
}

const char *mvs_shape_dim(const mvs_shape_call *call, mvs_dim dim) {
  mvs_arena *home = mvs_graph_arena(call->graph);
  if (!dim.per_batch) return mvs_arena_format(home, "%" PRId64, dim.size);
  return dim.size == 1 ? "B" : mvs_arena_format(home, "%" PRId64 "*B", dim.size);
}

/* Messages start with the op: "matmul: inner sizes differ, ...". */
static const char *op_name(const mvs_shape_call *call) { return mvs_ops[call->op].name; }

mvs_status mvs_shape_error(const mvs_shape_call *call, const char *format, ...) {
  if (!call->diag) return MVS_ERR_SHAPE;
  va_list list;
  va_start(list, format);
  const char *words = mvs_arena_format_list(mvs_graph_arena(call->graph), format, list);
  va_end(list);
  mvs_diag_error(call->diag, call->span, "%s: %s", op_name(call), words);
  return MVS_ERR_SHAPE;
}

/* Shows where the inputs come from. More than three are named by the message alone. */
static void show_inputs(const mvs_shape_call *call) {
  static const char *const ordinals[] = {"first", "second", "third"};
  int shown = call->count < 3 ? call->count : 3;
  for (int i = 0; i < shown; i++) {
    const char *type = mvs_shape_type_text(call, mvs_shape_input(call, i));
    const mvs_node *node = mvs_graph_node(call->graph, call->inputs[i]);
    const char *which = shown == 1 ? "only" : ordinals[i];
    if (i + 1 == shown) {
      mvs_diag_label(call->diag, "the %s operand is %s", which, type);
    } else if (node->span.source) {
      mvs_diag_note(call->diag, node->span, "the %s operand is %s from here", which, type);
    }
  }
}

/* The caret is at the call; the last operand is labelled there, the others are noted where they
 * were made, which is often where the mistake is. */
mvs_status mvs_shape_mismatch(const mvs_shape_call *call, const char *format, ...) {
  if (!call->diag) return MVS_ERR_SHAPE;
  va_list list;
  va_start(list, format);
  const char *words = mvs_arena_format_list(mvs_graph_arena(call->graph), format, list);
  va_end(list);
  mvs_diag_error(call->diag, call->span, "%s: %s", op_name(call), words);
  show_inputs(call);
  return MVS_ERR_SHAPE;
}

mvs_status mvs_shape_needs_float(const mvs_shape_call *call, int index) {
  const mvs_type *type = mvs_shape_input(call, index);
  if (type->dtype != MVS_I32) return MVS_OK;
  return mvs_shape_mismatch(call, "needs a float, got %s", mvs_shape_type_text(call, type));
}

/* Extents are positive, their product within the limit, the batch on one axis at most. */
static mvs_status check_extents(const mvs_shape_call *call, const mvs_type *type) {
  int64_t total = 1;
  int batch_axes = 0;
  for (int i = 0; i < type->rank; i++) {
    int64_t size = type->dims[i].size;
    if (size < 1) return mvs_shape_error(call, "axis %d has no elements", i);
    if (!mvs_mul(total, size, &total) || total > MVS_MAX_EXTENT) {
      return mvs_shape_error(call, "the tensor has more than %" PRId64 " elements per sample",
                             MVS_MAX_EXTENT);
    }
    batch_axes += type->dims[i].per_batch;
  }
  if (batch_axes > 1) {
    return mvs_shape_error(call, "%s has the batch on more than one axis",
                           mvs_shape_type_text(call, type));
  }
  return MVS_OK;
}

/* Segments divide axis 1 without rest. */
static mvs_status check_segments(const mvs_shape_call *call, const mvs_type *type) {
  if (!type->segments) return MVS_OK;
  if (type->rank < 2 || type->dims[1].per_batch) {
    return mvs_shape_error(call, "segments need a token axis, axis 1");
  }
  int64_t length = mvs_segments_length(type->segments);
  if (length == type->dims[1].size) return MVS_OK;
  return mvs_shape_error(call, "segments hold %" PRId64 " tokens, the token axis %" PRId64,
                         length, type->dims[1].size);
}

/* Dims are looked at after the rank and dtype are known to be sound: types of a dump or of a
 * damaged graph come here too. */
mvs_status mvs_shape_check_type(const mvs_shape_call *call, const mvs_type *type) {
  if (type->rank > MVS_MAX_RANK) {
    return mvs_shape_error(call, "rank %d is above the limit of %d", type->rank, MVS_MAX_RANK);
  }
  if ((unsigned)type->dtype >= MVS_DTYPE_COUNT) return mvs_shape_error(call, "unknown dtype");
  MVS_TRY(check_extents(call, type));
  return check_segments(call, type);
}

/* The row of the op against what came. */
static mvs_status check_arity(const mvs_shape_call *call) {
  const mvs_op_info *info = &mvs_ops[call->op];
  if (call->count < info->least_inputs || call->count > info->most_inputs) {
    return mvs_shape_error(call, "takes %d to %d inputs, got %d", info->least_inputs,
                           info->most_inputs, call->count);
  }
  if (info->attribute != MVS_ATTR_none && !call->attr) {
    return mvs_shape_error(call, "its attribute is missing");
  }
  return MVS_OK;
}

/* A value of several results has no single type, so only `get` may look at it. */
static mvs_status check_inputs(const mvs_shape_call *call) {
  for (int i = 0; i < call->count; i++) {
    mvs_id id = call->inputs[i];
    if (id >= mvs_graph_size(call->graph)) {
      return mvs_shape_error(call, "input %%%u is not a node", (unsigned)id);
    }
    mvs_op op = mvs_graph_node(call->graph, id)->op;
    if (mvs_op_is_tuple(op) && call->op != MVS_OP_get) {
      return mvs_shape_error(call, "the results of %s are taken with get", mvs_ops[op].name);
    }
  }
  return MVS_OK;
}

/* `out` is written last and only on success; `call` borrows everything given. */
mvs_status mvs_graph_infer(const mvs_graph *graph, mvs_op op, const mvs_id *inputs, int count,
                           const mvs_attr *attr, mvs_span span, mvs_diag *diag, mvs_type *out) {
  mvs_shape_call call = {graph, op, inputs, count, attr, span, diag};
  mvs_type type = {0};
  MVS_TRY(check_arity(&call));
  MVS_TRY(check_inputs(&call));
  MVS_TRY(rules[op](&call, &type));
  MVS_TRY(mvs_shape_check_type(&call, &type));
  *out = type;
  return MVS_OK;
}
