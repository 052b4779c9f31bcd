/* lower_tensor.c: where a node goes, and the dtypes that the precision asks for. A node goes
 * into the outermost graph that holds all its inputs. In a stack this moves what depends on
 * nothing of the stack out of it, without a pass: tables of angles are computed once. A tensor
 * from outside that meets one of the body comes in as an invariant, each once. Before a node is
 * added its shape rule is asked, so that a user's mistake is told and not asserted. Precision
 * bf16 touches matmuls, attention and what a stack carries (see lower.h); everything else
 * computes in f32. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

/* Brings a tensor of the outer graph into the body as an invariant, once. Lone constants are
 * made anew: a number needs no argument. */
static mvs_id import(mvs_lowering *lo, const mvs_value *value, mvs_span span) {
  mvs_stack_state *stack = lo->stack;
  const mvs_node *node = mvs_graph_node(value->graph, value->id);
  if (node->op == MVS_OP_constant) {
    return mvs_graph_add(stack->region->body, MVS_OP_constant, NULL, 0, &node->attr,
                         node->span);
  }
  for (size_t i = 0; i < stack->invariants.count; i++) {
    if (stack->invariants.items[i].outer == value->id) return stack->invariants.items[i].inner;
  }
  uint32_t index = stack->region->invariant_count++;
  mvs_id inner =
      mvs_region_argument(stack->region, MVS_ARG_INVARIANT, index, &node->type, span);
  mvs_import pair = {value->id, inner};
  MVS_PUSH(lo->arena, &stack->invariants, pair);
  return inner;
}

/* Numbers become constants of that graph. A tensor of the body never goes outwards: home_of
 * chose the body if any input lies in it. */
mvs_id mvs_lower_place_in(mvs_lowering *lo, mvs_graph *graph, const mvs_value *value,
                          mvs_span span) {
  if (value->kind == MVS_VALUE_NUMBER) return mvs_build_constant(graph, value->number);
  if (value->graph == graph) return value->id;
  return import(lo, value, span);
}

/* The outermost graph that can hold a node of these inputs: the body when any input lies in it,
 * else the function's. Regions do not nest here, so there are these two. */
static mvs_graph *home_of(mvs_lowering *lo, const mvs_value *inputs, int count) {
  for (int i = 0; i < count; i++) {
    if (inputs[i].kind == MVS_VALUE_TENSOR && inputs[i].graph != lo->top)
      return inputs[i].graph;
  }
  return lo->top;
}

/* The segment table of a tensor; numbers have none and fit any. */
static const mvs_segments *table_of(const mvs_value *value) {
  return value->kind == MVS_VALUE_TENSOR ? mvs_value_type(value)->segments : NULL;
}

/* Names of lone segments are only a manner of speaking: image + x.image is meant to work. With
 * several segments a difference of names is more likely a mistake. */
mvs_status mvs_lower_renamed(mvs_lowering *lo, mvs_value value, const mvs_segments *table,
                             mvs_span span, mvs_value *out) {
  *out = value;
  const mvs_segments *own = table_of(&value);
  if (!own || !table || own->count != 1 || table->count != 1) return MVS_OK;
  const mvs_segment *a = &own->items[0], *b = &table->items[0];
  if (a->length != b->length || a->rows != b->rows || a->columns != b->columns) return MVS_OK;
  mvs_type type = *mvs_value_type(&value);
  type.segments = table;
  return mvs_lower_reshape(lo, value, &type, span, out);
}

/* Operands take over the segment name of the first that has one. */
static mvs_status agree(mvs_lowering *lo, mvs_op op, mvs_value *inputs, int count,
                        mvs_span span) {
  const mvs_segments *table = NULL;
  if (mvs_ops[op].op_class != MVS_CLASS_ELEMENT && op != MVS_OP_attention) return MVS_OK;
  for (int i = 0; i < count; i++) {
    if (!table) table = table_of(&inputs[i]);
    MVS_TRY(mvs_lower_renamed(lo, inputs[i], table, span, &inputs[i]));
  }
  return MVS_OK;
}

/* Whether `less` meets `more` with an axis of one element in front of its axis `at`. */
static bool fits_with_axis(const mvs_type *less, const mvs_type *more, int at) {
  for (int i = 0; i < more->rank; i++) {
    if (i == at) continue;
    mvs_dim a = less->dims[i - (i > at)], b = more->dims[i];
    bool one = !a.per_batch && !b.per_batch && (a.size == 1 || b.size == 1);
    if (!one && (a.per_batch != b.per_batch || a.size != b.size)) return false;
  }
  return true;
}

/* What is left of a sum over an axis has one axis less than what was summed: where that keeps
 * it from meeting the other operand, the user hears how to give it back. */
static void hint_lost_axis(mvs_lowering *lo, const mvs_value *a, const mvs_value *b) {
  if (a->kind != MVS_VALUE_TENSOR || b->kind != MVS_VALUE_TENSOR) return;
  bool first = mvs_value_type(a)->rank < mvs_value_type(b)->rank;
  const mvs_type *less = mvs_value_type(first ? a : b), *more = mvs_value_type(first ? b : a);
  if (less->rank + 1 != more->rank || less->rank == 0 || !less->dims[0].per_batch) return;
  for (int at = 1; at < more->rank; at++) {
    if (!fits_with_axis(less, more, at)) continue;
    mvs_text shape = mvs_text_new(lo->arena);
    for (int i = 1; i < more->rank; i++) {
      int64_t size = i == at ? 1 : less->dims[i - (i > at)].size;
      mvs_text_addf(&shape, "%s%" PRId64, i > 1 ? ", " : "", size);
    }
    mvs_diag_hint(lo->diag, "reshape(..., [%s]) gives the %s operand the axis that it lacks",
                  mvs_text_string(&shape), first ? "first" : "second");
    return;
  }
}

/* The inputs are copied, since renaming may replace them; the caller's stay. */
mvs_status mvs_lower_node(mvs_lowering *lo, mvs_op op, const mvs_value *given, int count,
                          const mvs_attr *attr, mvs_span span, mvs_value *out) {
  if (lo->nodes++ >= MVS_MAX_NODES) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span,
                           "the model unfolds to more than %d operations", MVS_MAX_NODES);
  }
  mvs_value *inputs = MVS_ARRAY(lo->arena, count ? (size_t)count : 1, mvs_value);
  for (int i = 0; i < count; i++) inputs[i] = given[i];
  MVS_TRY(agree(lo, op, inputs, count, span));
  mvs_graph *graph = home_of(lo, inputs, count);
  mvs_id *ids = MVS_ARRAY(lo->arena, count ? (size_t)count : 1, mvs_id);
  for (int i = 0; i < count; i++) ids[i] = mvs_lower_place_in(lo, graph, &inputs[i], span);
  mvs_type type;
  mvs_status status = mvs_graph_infer(graph, op, ids, count, attr, span, lo->diag, &type);
  bool two = count == 2 && mvs_ops[op].op_class == MVS_CLASS_ELEMENT;
  if (status == MVS_ERR_SHAPE && two) hint_lost_axis(lo, &inputs[0], &inputs[1]);
  MVS_TRY(status);
  *out = mvs_value_tensor(graph, mvs_graph_add(graph, op, ids, count, attr, span));
  return MVS_OK;
}

mvs_status mvs_lower_node1(mvs_lowering *lo, mvs_op op, mvs_value a, mvs_span span,
                           mvs_value *out) {
  return mvs_lower_node(lo, op, &a, 1, NULL, span, out);
}

mvs_status mvs_lower_node2(mvs_lowering *lo, mvs_op op, mvs_value a, mvs_value b, mvs_span span,
                           mvs_value *out) {
  return mvs_lower_node(lo, op, (mvs_value[]){a, b}, 2, NULL, span, out);
}

/* A number has no dtype of its own, so it gets a node even for f32. */
mvs_status mvs_lower_cast(mvs_lowering *lo, mvs_value a, mvs_dtype dtype, mvs_span span,
                          mvs_value *out) {
  *out = a;
  if (a.kind == MVS_VALUE_TENSOR && mvs_value_type(&a)->dtype == dtype) return MVS_OK;
  mvs_attr attr = {.cast = {dtype}};
  return mvs_lower_node(lo, MVS_OP_cast, &a, 1, &attr, span, out);
}

/* A concat moves bits and cannot widen: its parts need one dtype. */
mvs_status mvs_lower_same_dtype(mvs_lowering *lo, mvs_value *values, size_t count,
                                mvs_span span) {
  bool same = true;
  mvs_dtype first = mvs_value_type(&values[0])->dtype;
  for (size_t i = 1; i < count; i++) same &= mvs_value_type(&values[i])->dtype == first;
  for (size_t i = 0; i < count && !same; i++) {
    MVS_TRY(mvs_lower_cast(lo, values[i], MVS_F32, span, &values[i]));
  }
  return MVS_OK;
}

/* Looks through one reshape below, so that a table of segments which is put on and taken off
 * again leaves no trace. */
mvs_status mvs_lower_reshape(mvs_lowering *lo, mvs_value a, const mvs_type *type, mvs_span span,
                             mvs_value *out) {
  const mvs_node *node = mvs_graph_node(a.graph, a.id);
  if (node->op == MVS_OP_reshape) a.id = node->inputs[0];
  mvs_attr attr = {.shape = {*type}};
  attr.shape.type.dtype = mvs_value_type(&a)->dtype;
  *out = a;
  if (mvs_type_equal(mvs_value_type(&a), &attr.shape.type)) return MVS_OK;
  return mvs_lower_node(lo, MVS_OP_reshape, &a, 1, &attr, span, out);
}

/* The dtype in which matmuls and attention read and write. */
static mvs_dtype storage(const mvs_lowering *lo) { return lo->module->settings.precision; }

/* x [..., K], w [N, K], bias [N] -> [..., N]. The bias is rounded as the weights are and added
 * to the f32 sum before the result is rounded: that is what matmul libraries do in one go. */
mvs_status mvs_lower_matmul(mvs_lowering *lo, mvs_value x, mvs_value w, const mvs_value *bias,
                            mvs_span span, mvs_value *out) {
  mvs_value inputs[3] = {x, w};
  int count = bias ? 3 : 2;
  if (bias) inputs[2] = *bias;
  for (int i = 0; i < count; i++) {
    MVS_TRY(mvs_lower_cast(lo, inputs[i], storage(lo), span, &inputs[i]));
  }
  mvs_attr attr = {.matmul = {MVS_MATMUL_NT, storage(lo)}};
  return mvs_lower_node(lo, MVS_OP_matmul, inputs, count, &attr, span, out);
}

/* q [B, T, H, D], k, v [B, T, G, D] -> [B, T, H, D]. The other result, the log-sums, is for the
 * gradient alone. */
mvs_status mvs_lower_attention(mvs_lowering *lo, const mvs_value qkv[3], double scale,
                               mvs_span span, mvs_value *out) {
  mvs_value inputs[3], both;
  for (int i = 0; i < 3; i++) {
    MVS_TRY(mvs_lower_cast(lo, qkv[i], storage(lo), span, &inputs[i]));
  }
  mvs_attr attr = {.attention = {scale}};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_attention, inputs, 3, &attr, span, &both));
  *out = mvs_value_tensor(both.graph, mvs_build_get(both.graph, both.id, 0, span));
  return MVS_OK;
}
