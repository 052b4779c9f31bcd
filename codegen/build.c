/* build.c: one group of the plan as a kernel and the operands of its launch. Nests are drawn up
 * in build_nest.c; products and attentions are sizes and operands in the order of kernel.h,
 * which both printers, libraries and the runtime know by position. */
#include "codegen/build.h"

#include <inttypes.h>

#include "codegen/build_draft.h"
#include "compiler/passes/strides.h"

typedef struct launch_builder {
  mvs_diag *diag;
  const mvs_schedule *schedule;
  const mvs_graph *graph;
  mvs_launch *launch;
} launch_builder;

static mvs_status fail(const launch_builder *b, mvs_id id, const char *reason) {
  const mvs_node *node = mvs_graph_node(b->graph, id);
  mvs_diag_error(b->diag, node->span, "internal error: the kernel of %s cannot be built: %s",
                 mvs_ops[node->op].name, reason);
  return MVS_ERR_INTERNAL;
}

/* Elements between tokens of an operand of attention: [B, T, H, D] with the heads side by side.
 */
static int64_t token_stride(const mvs_place *place, const mvs_type *type) {
  return place->strides[0] / type->dims[1].size;
}

/* Adds a tensor as the next operand. The same place twice is two operands here: heavy kernels
 * know their operands by position. Attention alone takes tensors with gaps. */
static mvs_status add_tensor(const launch_builder *b, mvs_id owner, mvs_id id, bool written) {
  const mvs_type *type = mvs_graph_type(b->graph, id);
  const mvs_place *place = &b->schedule->places[id];
  if (place->buffer == UINT32_MAX) return fail(b, owner, "an operand is not in memory");
  if (mvs_is_heads(b->graph, owner, id)) {
    if (!mvs_strides_fit_heads(type, place->strides)) return fail(b, owner, "heads lie apart");
    b->launch->kernel->attention.strides[b->launch->kernel->operand_count] =
        token_stride(place, type);
  } else if (!mvs_strides_are_whole(type, place->strides)) {
    return fail(b, owner, "an operand has gaps");
  }
  mvs_kernel *kernel = b->launch->kernel;
  int index = kernel->operand_count++;
  mvs_operand *operand = &b->launch->operands[index];
  *operand = mvs_place_operand(place, type->dtype, 0);
  kernel->operands[index] = type->dtype;
  kernel->written[index] = written;
  kernel->alignment[index] = mvs_operand_alignment(b->schedule, id, operand);
  return MVS_OK;
}

static mvs_status add_input(const launch_builder *b, mvs_id id, int input) {
  return add_tensor(b, id, mvs_graph_node(b->graph, id)->inputs[input], false);
}

/* --- matmul --- */

/* Rows of a matrix: all axes but the last as one. */
static mvs_dim row_count(const mvs_type *type) {
  mvs_dim rows = {1, false};
  for (int i = 0; i + 1 < type->rank; i++) {
    rows.size *= type->dims[i].size;
    rows.per_batch = rows.per_batch || type->dims[i].per_batch;
  }
  return rows;
}

/* All leading axes of the left operand are one: rows of a product, or what it contracts (TN).
 *   NT, NN: m = rows, k = columns of A         TN: m = columns, k = rows of A */
static mvs_status build_matmul(const launch_builder *b, mvs_id id) {
  const mvs_node *node = mvs_graph_node(b->graph, id);
  const mvs_type *left = mvs_graph_type(b->graph, node->inputs[0]);
  const mvs_type *right = mvs_graph_type(b->graph, node->inputs[1]);
  mvs_matmul_shape *shape = &b->launch->kernel->matmul;
  mvs_dim rows = row_count(left), columns = left->dims[left->rank - 1];
  *shape = (mvs_matmul_shape){.form = node->attr.matmul.form,
                              .n = node->type.dims[node->type.rank - 1].size,
                              .a = left->dtype,
                              .b = right->dtype,
                              .c = node->type.dtype,
                              .bias = node->input_count == 3};
  bool contracts_rows = shape->form == MVS_MATMUL_TN;
  shape->m = contracts_rows ? columns : rows;
  shape->k = contracts_rows ? rows : columns;
  b->launch->kernel->kernel_class = MVS_KERNEL_MATMUL;
  MVS_TRY(add_input(b, id, 0));
  MVS_TRY(add_input(b, id, 1));
  MVS_TRY(add_tensor(b, id, id, true));
  return shape->bias ? add_input(b, id, 2) : MVS_OK;
}

/* --- attention --- */

/* The `get` nodes of a tuple's results, MVS_NONE where nobody takes one. */
static void find_results(const mvs_graph *graph, mvs_id tuple, mvs_id *results, int count) {
  for (int i = 0; i < count; i++) results[i] = MVS_NONE;
  for (mvs_id id = tuple + 1; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op != MVS_OP_get || node->inputs[0] != tuple) continue;
    if (node->attr.index.value < (uint32_t)count) results[node->attr.index.value] = id;
  }
}

static mvs_status add_results(const launch_builder *b, mvs_id id, int count) {
  mvs_id results[3];
  find_results(b->graph, id, results, count);
  for (int i = 0; i < count; i++) {
    if (results[i] == MVS_NONE) return fail(b, id, "one of its results has no place");
    MVS_TRY(add_tensor(b, id, results[i], true));
  }
  return MVS_OK;
}

/* Operands in the order of mvs_attention_shape: inputs of the op, then its results. */
static mvs_status build_attention(const launch_builder *b, mvs_id id) {
  const mvs_node *node = mvs_graph_node(b->graph, id);
  const mvs_type *q = mvs_graph_type(b->graph, node->inputs[0]);
  const mvs_type *k = mvs_graph_type(b->graph, node->inputs[1]);
  bool gradient = node->op == MVS_OP_attention_grad;
  b->launch->kernel->kernel_class = gradient ? MVS_KERNEL_ATTENTION_GRAD : MVS_KERNEL_ATTENTION;
  b->launch->kernel->attention = (mvs_attention_shape){.tokens = q->dims[1].size,
                                                       .heads = q->dims[2].size,
                                                       .kv_heads = k->dims[2].size,
                                                       .head_dim = q->dims[3].size,
                                                       .scale = node->attr.attention.scale,
                                                       .dtype = q->dtype};
  for (int i = 0; i < node->input_count; i++) MVS_TRY(add_input(b, id, i));
  return add_results(b, id, gradient ? 3 : 2);
}

/* --- reasons --- */

#define MOST_LINES 6

/* Source lines that asked for a kernel's nodes, each once. */
typedef struct line_list {
  const mvs_source *sources[MOST_LINES];
  int lines[MOST_LINES];
  int count;
} line_list;

static void add_line(line_list *list, mvs_span span) {
  if (!span.source || list->count == MOST_LINES) return;
  int line, column;
  mvs_span_position(span, &line, &column);
  for (int i = 0; i < list->count; i++) {
    if (list->sources[i] == span.source && list->lines[i] == line) return;
  }
  list->sources[list->count] = span.source;
  list->lines[list->count++] = line;
}

/* Views, casts and constants are in every kernel and say nothing about it. */
static bool is_named(mvs_op op) {
  return op != MVS_OP_constant && op != MVS_OP_argument && op != MVS_OP_cast &&
         mvs_ops[op].op_class != MVS_CLASS_VIEW;
}

static void describe_node(const mvs_schedule *schedule, mvs_id id, bool *seen, line_list *lines,
                          mvs_text *text) {
  const mvs_node *node = mvs_graph_node(schedule->graph, id);
  add_line(lines, node->span);
  if (seen[node->op] || !is_named(node->op)) return;
  seen[node->op] = true;
  mvs_text_addf(text, text->length ? " %s" : "%s", mvs_ops[node->op].name);
}

/* The ops of a group, each once, and its source lines: for --explain and comments. */
static const char *describe(mvs_arena *arena, const mvs_schedule *schedule,
                            const mvs_group *group) {
  bool seen[MVS_OP_COUNT] = {false};
  line_list lines = {0};
  mvs_text ops = mvs_text_new(arena), text = mvs_text_new(arena);
  for (size_t i = 0; i < group->nests.count; i++) {
    const mvs_nest_plan *nest = &group->nests.items[i];
    for (size_t k = 0; k < nest->interior.count; k++) {
      describe_node(schedule, nest->interior.items[k], seen, &lines, &ops);
    }
  }
  if (group->nests.count == 0) describe_node(schedule, group->heavy, seen, &lines, &ops);
  const char *words = group->why && *group->why ? group->why : mvs_text_string(&ops);
  mvs_text_add(&text, *words ? words : "copy");
  for (int i = 0; i < lines.count; i++) {
    mvs_text_addf(&text, "%s%s:%d", i ? ", " : " at ", lines.sources[i]->name, lines.lines[i]);
  }
  return mvs_text_string(&text);
}

/* The name is given when it is known whether there is an equal kernel (intern_kernel). */
mvs_status mvs_launch_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                            const mvs_group *group, mvs_launch **out) {
  *out = NULL;
  mvs_launch *launch = MVS_NEW(arena, mvs_launch);
  launch->kernel = MVS_NEW(arena, mvs_kernel);
  launch->kernel->name = "kernel";
  launch->kernel->why = describe(arena, schedule, group);
  launch_builder b = {diag, schedule, schedule->graph, launch};
  switch (group->group_class) {
    case MVS_GROUP_ROWS:
    case MVS_GROUP_COLUMNS:
      MVS_TRY(mvs_nests_build(arena, diag, schedule, group, launch));
      break;
    case MVS_GROUP_MATMUL:
      MVS_TRY(build_matmul(&b, group->heavy));
      break;
    case MVS_GROUP_ATTENTION:
    case MVS_GROUP_ATTENTION_GRAD:
      MVS_TRY(build_attention(&b, group->heavy));
      break;
    case MVS_GROUP_REGION:
      return fail(&b, group->heavy, "a loop is no kernel");
  }
  MVS_TRY(mvs_kernel_verify(launch->kernel, diag));
  *out = launch;
  return MVS_OK;
}

mvs_status mvs_kernel_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                            const mvs_group *group, mvs_kernel **out) {
  mvs_launch *launch;
  *out = NULL;
  MVS_TRY(mvs_launch_build(arena, diag, schedule, group, &launch));
  *out = launch->kernel;
  return MVS_OK;
}
