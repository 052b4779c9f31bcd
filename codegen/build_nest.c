/* build_nest.c: groups of nests as kernels.
 *
 * A nest is drawn up over the axes of its space. When an operand cannot be addressed by an
 * affine function of them, the walk ends with a wish (build_draft.h); the axes are changed and
 * all is drawn up anew. What is tried, in this order:
 *
 *   rows in equal pieces inside one nest      halves of a rotated head
 *   cuts, each part a nest of the kernel      tokens of a concat, from one source each
 *
 * Fusion has seen to it that this is enough: it stores what would ask for the digits of an
 * index, for several segments in one sum, or for more pieces than MVS_MOST_PIECES; but the
 * borders of a pad may ask for any number, and its rows are cut. A kernel that has no room for
 * its operands is drawn up with one for all slices of a value.
 *
 * Drawing up again costs little beside compiling the kernel, and each try takes an axis further
 * apart, so it ends. Operands that a failed try added are forgotten with it. */
#include <inttypes.h>

#include "codegen/build_draft.h"

/* Tries with changed axes; each one takes an axis further apart, so more would mean a loop. */
#define MAX_TRIES 64

typedef struct nest_builder {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_schedule *schedule;
  const mvs_nest_plan *plan;
  mvs_kernel_class nest_class;
  mvs_launch *launch;
  MVS_LIST(mvs_axes) waiting; /* parts still to be built, last first */
  mvs_id failed;              /* after MVS_ERR_INTERNAL: where and why */
  const char *reason;
} nest_builder;

/* The length of the row that a node reduces; 1 when it reduces none. */
static int64_t reduced_row(const mvs_schedule *schedule, mvs_id id) {
  const mvs_node *node = mvs_graph_node(schedule->graph, id);
  if (node->op != MVS_OP_sum && node->op != MVS_OP_max_over && node->op != MVS_OP_inv_rms) {
    return 1;
  }
  const mvs_type *type = mvs_graph_type(schedule->graph, node->inputs[0]);
  if (type->rank == 0 || type->dims[type->rank - 1].per_batch) return 1;
  bool last = node->op == MVS_OP_inv_rms || node->attr.axes.mask >> (type->rank - 1) & 1;
  return last ? type->dims[type->rank - 1].size : 1;
}

/* The longest row that is reduced: the space itself may be of scalars of rows. */
static int64_t row_length(const mvs_schedule *schedule, const mvs_nest_plan *plan) {
  int64_t length = 1;
  for (size_t i = 0; i < plan->interior.count; i++) {
    int64_t row = reduced_row(schedule, plan->interior.items[i]);
    if (row > length) length = row;
  }
  return length;
}

/* Such rows may be taken in pieces, whose sums are added, but not cut into nests. */
static bool reduces_in_rows(const nest_builder *b) {
  return b->nest_class == MVS_KERNEL_ROWS && row_length(b->schedule, b->plan) > 1;
}

static mvs_status tell(const nest_builder *b) {
  mvs_diag_error(b->diag, mvs_graph_node(b->schedule->graph, b->failed)->span,
                 "internal error: a kernel cannot be built: %s", b->reason);
  return MVS_ERR_INTERNAL;
}

/* Changes *axes as an operand wished. False when that is not possible. A cut of the row becomes
 * pieces inside the nest, or separate nests where no reduction needs the row as a whole. */
static bool grant(nest_builder *b, const mvs_wish *wish, mvs_axes *axes) {
  if (!wish->given) return false;
  bool row = b->nest_class == MVS_KERNEL_ROWS && wish->slot == axes->inner;
  if (row && mvs_axes_refine(axes, wish->at)) return true;
  mvs_axes second;
  if ((row && reduces_in_rows(b)) || !mvs_axes_cut(axes, wish->slot, wish->at, &second)) {
    return false;
  }
  MVS_PUSH(b->arena, &b->waiting, second);
  return true;
}

/* Builds one part of the plan's space, with changed axes until every operand can be addressed.
 * errors : MVS_ERR_INTERNAL, told by the caller from b->failed */
static mvs_status build_part(nest_builder *b, mvs_axes axes) {
  mvs_kernel *kernel = b->launch->kernel;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    int operands = kernel->operand_count;
    mvs_walk walk = {
        .arena = b->arena,
        .diag = b->diag,
        .schedule = b->schedule,
        .plan = b->plan,
        .launch = b->launch,
        .draft = {
            .arena = b->arena, .nest_class = b->nest_class, .axes = axes, .segment_slot = -1}};
    mvs_status status = mvs_walk_nest(&walk);
    if (status == MVS_OK) {
      mvs_nest nest;
      b->failed = b->plan->outputs.items[0];
      status = mvs_draft_emit(&walk.draft, &nest, &b->reason);
      if (b->nest_class == MVS_KERNEL_COLUMNS) nest.lanes = mvs_column_lanes(b->plan);
      if (status == MVS_OK) MVS_PUSH(b->arena, &kernel->nests, nest);
      return status;
    }
    b->failed = walk.failed;
    b->reason = walk.reason;
    if (b->launch->full && !b->launch->slices_share) {
      b->launch->slices_share = true;
      kernel->operand_count = operands;
      continue;
    }
    if (status != MVS_ERR_INTERNAL || !grant(b, &walk.wish, &axes)) return status;
    kernel->operand_count = operands;
  }
  return MVS_ERR_INTERNAL;
}

/* Parts that cuts leave are built one after the other, into nests of the same kernel: they
 * write different elements of the same outputs. */
static mvs_status build_plan(nest_builder *b) {
  mvs_axes whole;
  int64_t length = b->nest_class == MVS_KERNEL_ROWS ? row_length(b->schedule, b->plan) : 1;
  b->failed = b->plan->outputs.items[0];
  b->reason = "its space has no segments";
  MVS_TRY(mvs_axes_start(b->plan, b->nest_class, length, &whole));
  b->waiting.count = 0;
  MVS_PUSH(b->arena, &b->waiting, whole);
  while (b->waiting.count > 0) {
    MVS_TRY(build_part(b, b->waiting.items[--b->waiting.count]));
  }
  return MVS_OK;
}

/* All nests of a group share the operands of one launch. */
mvs_status mvs_nests_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                           const mvs_group *group, mvs_launch *launch) {
  bool rows = group->group_class == MVS_GROUP_ROWS;
  launch->kernel->kernel_class = rows ? MVS_KERNEL_ROWS : MVS_KERNEL_COLUMNS;
  for (size_t i = 0; i < group->nests.count; i++) {
    nest_builder b = {.arena = arena,
                      .diag = diag,
                      .schedule = schedule,
                      .plan = &group->nests.items[i],
                      .nest_class = launch->kernel->kernel_class,
                      .launch = launch};
    mvs_status status = build_plan(&b);
    if (status == MVS_ERR_INTERNAL) return tell(&b);
    MVS_TRY(status);
  }
  return MVS_OK;
}
