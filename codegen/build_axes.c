/* build_axes.c: the axes of a nest, and how they change when an operand asks.
 *
 *   refine  row of 64 as inner axis     ->   2 pieces, the inner axis 32 long
 *   cut     slot of 20                  ->   a nest with indices 0..15, another with 16..19 */
#include "codegen/build_draft.h"

static void add_slot(mvs_axes *axes, mvs_role role, mvs_dim dim, int axis) {
  axes->slots[axes->count++] = (mvs_slot){role, dim, axis};
}

/* Reduced axes run in sequence; of rows the reduced axis is the inner one, whose threads meet.
 * */
static mvs_role role_of(const mvs_nest_plan *plan, mvs_kernel_class nest_class, int axis) {
  if (nest_class == MVS_KERNEL_COLUMNS && (plan->reduced_axes >> axis & 1)) {
    bool segment_number = plan->by_segment && axis == 1;
    return segment_number ? MVS_ROLE_PARALLEL : MVS_ROLE_SEQUENTIAL;
  }
  return MVS_ROLE_PARALLEL;
}

/* The last parallel axis runs innermost. Without one, an axis of extent 1 does. A space of row
 * scalars [.., 1] whose rows are reduced has them as its inner axis all the same. */
static void choose_inner(mvs_axes *axes, const mvs_nest_plan *plan, mvs_kernel_class nest_class,
                         int64_t row_length) {
  int last = axes->count - 1;
  bool usable = last >= 0 && axes->slots[last].role == MVS_ROLE_PARALLEL &&
                !axes->slots[last].dim.per_batch && !(plan->by_segment && last == 1);
  if (nest_class == MVS_KERNEL_ROWS && usable && axes->slots[last].dim.size == 1) {
    axes->slots[last].dim.size = row_length;
  }
  if (!usable) {
    add_slot(axes, MVS_ROLE_PARALLEL, (mvs_dim){row_length, false}, -1);
    last = axes->count - 1;
  }
  axes->slots[last].role = MVS_ROLE_INNER;
  axes->inner = last;
}

/* One slot for each axis of the space. With sums by segment the axis of tokens becomes two: a
 * parallel one that counts segments, and MVS_SLOT_TOKEN, in sequence. */
mvs_status mvs_axes_start(const mvs_nest_plan *plan, mvs_kernel_class nest_class,
                          int64_t row_length, mvs_axes *out) {
  *out = (mvs_axes){.pieces = 1};
  const mvs_type *space = &plan->space;
  for (int i = 0; i < space->rank; i++) {
    mvs_dim dim = space->dims[i];
    if (plan->by_segment && i == 1) {
      if (!space->segments) return MVS_ERR_INTERNAL;
      out->slots[MVS_SLOT_TOKEN] = (mvs_slot){MVS_ROLE_SEQUENTIAL, dim, 1};
      dim = (mvs_dim){space->segments->count, false};
    }
    add_slot(out, role_of(plan, nest_class, i), dim, i);
  }
  choose_inner(out, plan, nest_class, row_length);
  return MVS_OK;
}

/* Axes of extent 1 do not appear, so that they neither block merging nor make an index move. */
mvs_affine mvs_axes_index(const mvs_axes *axes, int axis) {
  mvs_affine index = mvs_affine_constant(axes->begin[axis]);
  for (int i = 0; i < axes->count; i++) {
    mvs_dim dim = axes->slots[i].dim;
    bool moves = dim.per_batch || dim.size > 1;
    if (axes->slots[i].axis == axis && moves) index.slot[i] = 1;
  }
  return index;
}

/* All pieces are equally long, so that one inner loop serves them all: instructions are written
 * once for each piece, at the same inner index. */
bool mvs_axes_refine(mvs_axes *axes, int64_t at) {
  mvs_slot *inner = &axes->slots[axes->inner];
  int64_t part = mvs_common_divisor(inner->dim.size, at);
  int64_t pieces = axes->pieces * (inner->dim.size / part);
  if (axes->row_is_cut || part == inner->dim.size || pieces > MVS_MOST_PIECES) return false;
  axes->pieces = (int)pieces;
  inner->dim.size = part;
  return true;
}

/* Not along a reduced axis, whose sum would fall apart, nor along the batch, whose extent is
 * not known. */
bool mvs_axes_cut(mvs_axes *axes, int slot, int64_t at, mvs_axes *second) {
  if (slot >= axes->count || axes->slots[slot].dim.per_batch || axes->slots[slot].axis < 0 ||
      axes->slots[slot].role == MVS_ROLE_SEQUENTIAL || at < 1 ||
      (slot == axes->inner && axes->pieces > 1) || at >= axes->slots[slot].dim.size) {
    return false;
  }
  *second = *axes;
  mvs_slot *low = &axes->slots[slot], *high = &second->slots[slot];
  second->begin[high->axis] += at;
  high->dim.size -= at;
  low->dim.size = at;
  if (slot == axes->inner) axes->row_is_cut = second->row_is_cut = true;
  return true;
}
