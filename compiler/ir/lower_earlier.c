/* lower_earlier.c: values of earlier blocks. All functions here speak of "this very expression
 * in another block": the block is lowered once, so a value is known by its node.
 *
 * earlier(x, d) collects x over the layers as a stacked output of the region and reads it d
 * layers back: one store and one load a block, whatever the depth. at_block(x, k), first(x) =
 * at_block(x, 0) and history(x), which is all of them side by side, would need reads whose
 * distance grows. They hold values instead: carried beside the stream, each part taken from x
 * in one block and the same ever after, which is why the backward pass needs one copy of it and
 * not one a block (passes/held.h). What is asked for twice is made once. */
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

/* --- held values: first, at_block, history --- */

/* Zeros of that type in the outer graph: what a value is before its block, where nobody
 * looks. */
static mvs_id nothing(mvs_lowering *lo, const mvs_type *type, mvs_span span) {
  mvs_attr zero = {.constant = {0, type->dtype}}, shape = {.shape = {*type}};
  mvs_id id = mvs_graph_add(lo->top, MVS_OP_constant, NULL, 0, &zero, span);
  return mvs_graph_add(lo->top, MVS_OP_broadcast, &id, 1, &shape, span);
}

/* The blocks of the rows of a history: 0, 1, ... as f32[count, 1, ...], so that it meets a
 * value of that type. */
static mvs_status rows_of(mvs_lowering *lo, const mvs_type *type, mvs_span span,
                          mvs_value *out) {
  mvs_type row = {.dtype = MVS_F32, .rank = (uint8_t)(type->rank - 1)};
  for (int i = 0; i < row.rank; i++) row.dims[i] = (mvs_dim){1, false};
  row.dims[0] = type->dims[1];
  mvs_attr attr = {.iota = {row, 0}};
  return mvs_lower_node(lo, MVS_OP_iota, NULL, 0, &attr, span, out);
}

/* x [B, ...] -> [B, 1, ...], to stand in a row of the history [B, count, ...] of that type. */
static mvs_status as_row(mvs_lowering *lo, const mvs_value *x, const mvs_type *history,
                         mvs_span span, mvs_value *out) {
  mvs_type type = *history;
  type.dims[1] = (mvs_dim){1, false};
  return mvs_lower_reshape(lo, *x, &type, span, out);
}

/* Carries a value of `type` that takes `source` in the blocks that `blocks` names, a number or
 * a tensor of them, and shows zeros before. passes/held.h knows it by this form. */
static mvs_status hold(mvs_lowering *lo, const mvs_value *source, const mvs_value *blocks,
                       const mvs_type *type, mvs_held *held, mvs_span span) {
  mvs_stack_state *stack = lo->stack;
  mvs_value layer, now, before, kept;
  held->initial = nothing(lo, type, span);
  uint32_t index = stack->region->carried_count++;
  mvs_id argument = mvs_region_argument(stack->region, MVS_ARG_CARRIED, index, type, span);
  MVS_TRY(mvs_lower_layer(lo, span, &layer));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_equal, layer, *blocks, span, &now));
  mvs_value choice[] = {now, *source, mvs_value_tensor(stack->region->body, argument)};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_select, choice, 3, NULL, span, &kept));
  MVS_TRY(mvs_lower_cast(lo, kept, type->dtype, span, &kept));
  MVS_TRY(mvs_lower_node2(lo, MVS_OP_less, layer, *blocks, span, &before));
  mvs_value shown[] = {before, mvs_value_number(0), kept};
  MVS_TRY(mvs_lower_node(lo, MVS_OP_select, shown, 3, NULL, span, &held->value));
  MVS_TRY(mvs_lower_cast(lo, held->value, type->dtype, span, &held->value));
  held->next = kept.id;
  MVS_PUSH(lo->arena, &stack->held, *held);
  return MVS_OK;
}

/* The value that is held of x since that block, or of all blocks; made once. */
static const mvs_held *held_of(const mvs_held_list *list, mvs_id source, int64_t block) {
  for (size_t i = 0; i < list->count; i++) {
    const mvs_held *held = &list->items[i];
    if (held->source == source && held->block == block) return held;
  }
  return NULL;
}

static mvs_status since_block(mvs_lowering *lo, const mvs_builtin_call *call, int64_t block,
                              mvs_value *out) {
  const mvs_value *x = &call->values[0], number = mvs_value_number((double)block);
  const mvs_held *known = held_of(&lo->stack->held, x->id, block);
  mvs_held held = {.source = x->id, .block = block};
  if (!known) MVS_TRY(hold(lo, x, &number, mvs_value_type(x), &held, call->span));
  *out = known ? known->value : held.value;
  return MVS_OK;
}

/* `entered` behind the stack: what its blocks held of it is among the results of the region. */
static mvs_status after_stack(mvs_lowering *lo, const mvs_builtin_call *call, int64_t block,
                              mvs_value *out) {
  const mvs_past *past = call->values[0].past;
  const mvs_held *held = held_of(&past->held, past->source, block);
  if (held) {
    uint32_t index = past->first_held + (uint32_t)(held - past->held.items);
    *out = mvs_value_tensor(lo->top, mvs_build_get(lo->top, past->region, index, call->span));
    return MVS_OK;
  }
  const char *wanted = "history(entered)";
  if (block != MVS_EVERY_BLOCK)
    wanted = mvs_arena_format(lo->arena, "at_block(entered, %" PRId64 ")", block);
  mvs_lower_error(lo, MVS_ERR_NAME, call->span, "the stack does not hold %s for its exit",
                  wanted);
  mvs_diag_hint(lo->diag, "an update has to read %s itself", wanted);
  return MVS_ERR_NAME;
}

/* x of the first block, in every block. */
mvs_status mvs_builtin_first(mvs_lowering *lo, const mvs_builtin_call *call, mvs_value *out) {
  if (call->values[0].kind == MVS_VALUE_PAST) return after_stack(lo, call, 0, out);
  MVS_TRY(need_own(lo, call));
  return since_block(lo, call, 0, out);
}

/* x of block `block`, from that block on; zeros before it. */
mvs_status mvs_builtin_at_block(mvs_lowering *lo, const mvs_builtin_call *call,
                                mvs_value *out) {
  int64_t block;
  bool past = call->values[0].kind == MVS_VALUE_PAST;
  if (!past) MVS_TRY(need_own(lo, call));
  int64_t count = past ? call->values[0].past->count : lo->stack->region->count;
  MVS_TRY(mvs_lower_whole(lo, &call->values[1], 0, count - 1, "the block", call->spans[1],
                          &block));
  return past ? after_stack(lo, call, block, out) : since_block(lo, call, block, out);
}

/* [count, ...]: row i is x of block i; the rows of blocks to come are zeros. */
mvs_status mvs_builtin_history(mvs_lowering *lo, const mvs_builtin_call *call,
                               mvs_value *out) {
  if (call->values[0].kind == MVS_VALUE_PAST)
    return after_stack(lo, call, MVS_EVERY_BLOCK, out);
  MVS_TRY(need_own(lo, call));
  const mvs_value *x = &call->values[0];
  mvs_type type = *mvs_value_type(x);
  if (type.rank == MVS_MAX_RANK || type.rank < 2 || !type.dims[0].per_batch) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, call->spans[0],
                           "history needs samples of one axis or more with room for another, "
                           "not %s",
                           mvs_lower_type_text(lo, &type));
  }
  const mvs_held *known = held_of(&lo->stack->held, x->id, MVS_EVERY_BLOCK);
  mvs_held held = {.source = x->id, .block = MVS_EVERY_BLOCK};
  if (!known) {
    mvs_value rows, row;
    for (int i = type.rank++; i > 1; i--) type.dims[i] = type.dims[i - 1];
    type.dims[1] = (mvs_dim){lo->stack->region->count, false};
    type.segments = NULL;
    MVS_TRY(rows_of(lo, &type, call->span, &rows));
    MVS_TRY(as_row(lo, x, &type, call->span, &row));
    MVS_TRY(hold(lo, &row, &rows, &type, &held, call->span));
  }
  *out = known ? known->value : held.value;
  return MVS_OK;
}

/* What the block hands to the next one of what is held, and what it collects for `earlier`: the
 * results of the body after those that the stack's own names carry. */
void mvs_lower_finish_earlier(mvs_lowering *lo) {
  const mvs_stack_state *stack = lo->stack;
  mvs_graph *body = stack->region->body;
  for (size_t i = 0; i < stack->held.count; i++) {
    mvs_result result = {NULL, stack->held.items[i].next};
    MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
  }
  for (size_t i = 0; i < stack->collected.count; i++) {
    mvs_result result = {NULL, stack->collected.items[i]};
    MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
  }
}
