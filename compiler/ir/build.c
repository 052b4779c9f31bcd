/* build.c: shorthands for the ops that builders use most. Each fills in one attribute and calls
 * mvs_graph_add, so the result is interned like any other node. They check nothing of their
 * own: a misfit is a mistake of the compiler and stops it with the words of the op's shape
 * rule. Code that lowers what a user wrote goes through lower_tensor.c, which asks the shape
 * rule first and reports to the user. */
#include "compiler/ir/graph.h"

mvs_id mvs_build_constant(mvs_graph *graph, double value) {
  mvs_attr attr = {.constant = {value, MVS_F32}};
  return mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &attr, (mvs_span){0});
}

mvs_id mvs_build_unary(mvs_graph *graph, mvs_op op, mvs_id a, mvs_span span) {
  return mvs_graph_add(graph, op, &a, 1, NULL, span);
}

mvs_id mvs_build_binary(mvs_graph *graph, mvs_op op, mvs_id a, mvs_id b, mvs_span span) {
  return mvs_graph_add(graph, op, (mvs_id[]){a, b}, 2, NULL, span);
}

mvs_id mvs_build_cast(mvs_graph *graph, mvs_id a, mvs_dtype dtype, mvs_span span) {
  mvs_attr attr = {.cast = {dtype}};
  return mvs_graph_add(graph, MVS_OP_cast, &a, 1, &attr, span);
}

mvs_id mvs_build_sum(mvs_graph *graph, mvs_id a, uint32_t axes_mask, mvs_span span) {
  mvs_attr attr = {.axes = {axes_mask}};
  return mvs_graph_add(graph, MVS_OP_sum, &a, 1, &attr, span);
}

mvs_id mvs_build_reshape(mvs_graph *graph, mvs_id a, const mvs_type *type, mvs_span span) {
  mvs_attr attr = {.shape = {*type}};
  return mvs_graph_add(graph, MVS_OP_reshape, &a, 1, &attr, span);
}

mvs_id mvs_build_slice(mvs_graph *graph, mvs_id a, int axis, int64_t start, int64_t length,
                       const mvs_segments *segments, mvs_span span) {
  int64_t total = mvs_graph_type(graph, a)->dims[axis].size;
  mvs_attr attr = {.slice = {axis, start, length, total, segments}};
  return mvs_graph_add(graph, MVS_OP_slice, &a, 1, &attr, span);
}

mvs_id mvs_build_concat(mvs_graph *graph, const mvs_id *parts, int count, int axis,
                        const mvs_segments *segments, mvs_span span) {
  mvs_attr attr = {.concat = {axis, segments}};
  return mvs_graph_add(graph, MVS_OP_concat, parts, count, &attr, span);
}

mvs_id mvs_build_get(mvs_graph *graph, mvs_id tuple, uint32_t index, mvs_span span) {
  mvs_attr attr = {.index = {index}};
  return mvs_graph_add(graph, MVS_OP_get, &tuple, 1, &attr, span);
}

mvs_id mvs_build_matmul(mvs_graph *graph, mvs_matmul_form form, mvs_id a, mvs_id b, mvs_id bias,
                        mvs_dtype dtype, mvs_span span) {
  mvs_attr attr = {.matmul = {form, dtype}};
  int count = bias == MVS_NONE ? 2 : 3;
  return mvs_graph_add(graph, MVS_OP_matmul, (mvs_id[]){a, b, bias}, count, &attr, span);
}
