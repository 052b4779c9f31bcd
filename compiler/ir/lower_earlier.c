/* lower_earlier.c: values of earlier blocks. Both functions speak of "this very expression in
 * another block": the block is lowered once, so a value is known by its node.
 *
 * earlier(x, d) collects x over the layers as a stacked output of the region and reads it d
 * layers back: one store and one load a block, whatever the depth. first(x) would need a read
 * whose distance grows; it carries the value instead, from block to block beside the stream,
 * taking x where the layer is 0. What is asked for twice is made once. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

/* A value of the body that differs from block to block, which is what there are several of. */
static mvs_status need_own(mvs_lowering *lo, const mvs_builtin_call *call) {
  const char *name = call->builtin->name;
  MVS_TRY(mvs_lower_need_tensor(lo, &call->values[0], name, call->spans[0]));
  if (!lo->stack) {
    return mvs_lower_error(lo, MVS_ERR_NAME, call->span,
                           "'%s' speaks of other blocks: it is known inside a stack only",
                           name);
  }
  if (call->values[0].graph == lo->stack->region->body) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_NAME, call->spans[0],
                         "this value is the same in every block: there is no earlier one");
}

/* The number of the stacked output that collects a value. */
static uint32_t output_of(mvs_lowering *lo, mvs_id value) {
  mvs_stack_state *stack = lo->stack;
  for (size_t i = 0; i < stack->collected.count; i++) {
    if (stack->collected.items[i] == value) return (uint32_t)i;
  }
  MVS_PUSH(lo->arena, &stack->collected, value);
  return stack->region->output_count++;
}

/* The read of that output at that distance, made once. */
static mvs_status read_of(mvs_lowering *lo, uint32_t output, int64_t distance, mvs_span span,
                          uint32_t *out) {
  mvs_region *region = lo->stack->region;
  for (*out = 0; *out < region->read_count; (*out)++) {
    const mvs_read *read = &region->reads[*out];
    if (read->output == output && read->distance == distance) return MVS_OK;
  }
  if (region->read_count == MVS_MAX_READS / 2) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span,
                           "the stack reads more than %d earlier values", MVS_MAX_READS / 2);
  }
  region->reads[region->read_count++] = (mvs_read){output, distance};
  return MVS_OK;
}

/* x of `distance` blocks ago; zeros in the first blocks, which have none. */
mvs_status mvs_builtin_earlier(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  int64_t distance = 1;
  uint32_t read;
  MVS_TRY(need_own(lo, call));
  if (call->values[1].kind != MVS_VALUE_ABSENT) {
    MVS_TRY(mvs_lower_whole(lo, &call->values[1], 1, MVS_MAX_DEPTH, "the distance",
                            call->spans[1], &distance));
  }
  const mvs_type *type = mvs_value_type(&call->values[0]);
  if (type->rank == MVS_MAX_RANK) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, call->spans[0],
                           "%s has no room for an axis of blocks",
                           mvs_lower_type_text(lo, type));
  }
  uint32_t output = output_of(lo, call->values[0].id);
  MVS_TRY(read_of(lo, output, distance, call->span, &read));
  mvs_region *region = lo->stack->region;
  *out = mvs_value_tensor(region->body,
                          mvs_region_argument(region, MVS_ARG_READ, read, type, call->span));
  return MVS_OK;
}

/* Zeros of that type in the outer graph: what the first block is handed and never looks at. */
static mvs_id nothing(mvs_lowering *lo, const mvs_type *type, mvs_span span) {
  mvs_attr zero = {.constant = {0, type->dtype}}, shape = {.shape = {*type}};
  mvs_id id = mvs_graph_add(lo->top, MVS_OP_constant, NULL, 0, &zero, span);
  return mvs_graph_add(lo->top, MVS_OP_broadcast, &id, 1, &shape, span);
}

/* x of the first block, in every block. */
mvs_status mvs_builtin_first(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  MVS_TRY(need_own(lo, call));
  mvs_stack_state *stack = lo->stack;
  mvs_value x = call->values[0], layer;
  for (size_t i = 0; i < stack->firsts.count; i++) {
    if (stack->firsts.items[i].source != x.id) continue;
    *out = mvs_value_tensor(x.graph, stack->firsts.items[i].next);
    return MVS_OK;
  }
  const mvs_type *type = mvs_value_type(&x);
  mvs_first first = {.source = x.id, .initial = nothing(lo, type, call->span)};
  uint32_t index = stack->region->carried_count++;
  mvs_id held = mvs_region_argument(stack->region, MVS_ARG_CARRIED, index, type, call->span);
  MVS_TRY(mvs_lower_layer(lo, call->span, &layer));
  mvs_value choice[] = {layer, mvs_value_tensor(x.graph, held), x};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_select, choice, 3, NULL, call->span, out));
  MVS_TRY(mvs_lower_cast(lo, *out, type->dtype, call->span, out));
  first.next = out->id;
  MVS_PUSH(lo->arena, &stack->firsts, first);
  return MVS_OK;
}

/* What the block hands to the next one for `first`, and what it collects for `earlier`: the
 * results of the body after those that the stack's own names carry. */
void mvs_lower_finish_earlier(mvs_lowering *lo) {
  const mvs_stack_state *stack = lo->stack;
  mvs_graph *body = stack->region->body;
  for (size_t i = 0; i < stack->firsts.count; i++) {
    mvs_result result = {NULL, stack->firsts.items[i].next};
    MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
  }
  for (size_t i = 0; i < stack->collected.count; i++) {
    mvs_result result = {NULL, stack->collected.items[i]};
    MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
  }
}
