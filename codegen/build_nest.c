/* build_nest.c: groups of nests as kernels. */
#include <inttypes.h>

#include "codegen/build_draft.h"

/* Tries with changed axes; each one cuts or splits an axis, so more would mean a loop. */
#define MAX_TRIES 64

typedef struct nest_builder {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_schedule *schedule;
  const mvs_nest_plan *plan;
  mvs_kernel_class nest_class;
  mvs_launch *launch;
  MVS_LIST(mvs_axes) waiting; /* parts still to be built, last first */
} nest_builder;

static bool reduces_rows(mvs_op op) {
  return op == MVS_OP_sum || op == MVS_OP_max_over || op == MVS_OP_inv_rms;
}

/* The row that is reduced when the outputs themselves are scalars of rows. */
static int64_t row_length(const mvs_schedule *schedule, const mvs_nest_plan *plan) {
  int64_t length = 1;
  for (size_t i = 0; i < plan->interior.count; i++) {
    const mvs_node *node = mvs_graph_node(schedule->graph, plan->interior.items[i]);
    if (!reduces_rows(node->op)) continue;
    const mvs_type *type = mvs_graph_type(schedule->graph, node->inputs[0]);
    mvs_dim row = type->rank ? type->dims[type->rank - 1] : (mvs_dim){1, false};
    if (!row.per_batch && row.size > length) length = row.size;
  }
  return length;
}

static mvs_status tell(const nest_builder *b, const mvs_walk *walk) {
  mvs_diag_error(b->diag, mvs_graph_node(b->schedule->graph, walk->failed)->span,
                 "internal error: a kernel cannot be built: %s", walk->reason);
  return MVS_ERR_INTERNAL;
}

/* Changes *axes as an operand wished. False when that is not possible. */
static bool grant(nest_builder *b, const mvs_wish *wish, mvs_axes *axes) {
  if (wish->kind == MVS_WISH_SPLIT) return mvs_axes_split(axes, wish->slot, wish->at);
  if (wish->kind != MVS_WISH_CUT) return false;
  bool row = b->nest_class == MVS_KERNEL_ROWS && wish->slot == axes->inner;
  if (row && mvs_axes_refine(axes, wish->at)) return true;
  mvs_axes second;
  if (!mvs_axes_cut(axes, wish->slot, wish->at, &second)) return false;
  MVS_PUSH(b->arena, &b->waiting, second);
  return true;
}

/* Builds one part of the plan's space, with changed axes until every operand can be addressed.
 */
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
      MVS_TRY(mvs_draft_emit(&walk.draft, b->diag, &nest));
      MVS_PUSH(b->arena, &kernel->nests, nest);
      return MVS_OK;
    }
    if (status != MVS_ERR_INTERNAL) return status;
    if (!grant(b, &walk.wish, &axes)) return tell(b, &walk);
    kernel->operand_count = operands;
  }
  mvs_diag_error(b->diag, (mvs_span){0}, "internal error: a kernel's axes keep changing");
  return MVS_ERR_INTERNAL;
}

static mvs_status build_plan(nest_builder *b) {
  mvs_axes whole;
  int64_t length = b->nest_class == MVS_KERNEL_ROWS ? row_length(b->schedule, b->plan) : 1;
  mvs_status status = mvs_axes_start(b->plan, b->nest_class, length, &whole);
  if (status != MVS_OK) {
    mvs_diag_error(b->diag, (mvs_span){0}, "internal error: a nest's space has no segments");
    return status;
  }
  MVS_PUSH(b->arena, &b->waiting, whole);
  while (b->waiting.count > 0) {
    MVS_TRY(build_part(b, b->waiting.items[--b->waiting.count]));
  }
  return MVS_OK;
}

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
    MVS_TRY(build_plan(&b));
  }
  return MVS_OK;
}
