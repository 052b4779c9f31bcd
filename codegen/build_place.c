/* build_place.c: from places in buffers to the operands of a launch. */
#include "codegen/build_draft.h"

static bool same_operand(const mvs_operand *a, const mvs_operand *b) {
  return a->buffer == b->buffer && a->offset == b->offset && a->per_layer == b->per_layer &&
         a->shift == b->shift;
}

/* Beyond so many operands, slices of short rows share one, from whose start a constant leads to
 * each: a mix of many streams takes its weights one by one, and a kernel has 120 operands. The
 * first ones stay apart, because an operand of its own is known to be aligned. Where that is
 * not enough, as of nine streams and more, all slices of a value share one from the first
 * on. */
#define OWN_OPERANDS 16
#define SHORT_SLICED 128

bool mvs_launch_shared(const mvs_launch *launch, const mvs_operand *operand,
                       const mvs_type *type, mvs_draft_instr *instr) {
  const mvs_kernel *kernel = launch->kernel;
  bool small = type->rank > 0 && type->dims[type->rank - 1].size <= SHORT_SLICED;
  bool many = kernel->operand_count >= OWN_OPERANDS && small;
  if (!many && !launch->slices_share) return false;
  int found = -1;
  for (int i = 0; i < kernel->operand_count; i++) {
    mvs_operand moved = *operand;
    moved.offset = launch->operands[i].offset;
    if (kernel->operands[i] != type->dtype) continue;
    if (!same_operand(&launch->operands[i], &moved)) continue;
    if (moved.offset == operand->offset) return false; /* the very same */
    found = i;
  }
  if (found < 0) return false;
  int64_t behind = operand->offset - launch->operands[found].offset;
  instr->affine.constant = behind / mvs_dtype_size(type->dtype);
  instr->instr.access.operand = (uint16_t)found;
  return true;
}

static uint8_t power_of(int64_t elements, uint8_t most) {
  while (most > 1 && elements % most != 0) most /= 2;
  return most;
}

/* Buffers start on 64 bytes (runtime/device.h), 8 elements of any dtype, so offsets alone
 * decide. A slot's size counts only without the batch: with it, slots are rounded up. */
uint8_t mvs_operand_alignment(const mvs_schedule *schedule, mvs_id id,
                              const mvs_operand *operand) {
  mvs_dtype dtype = mvs_graph_type(schedule->graph, id)->dtype;
  uint8_t power = power_of(operand->offset / mvs_dtype_size(dtype), 8);
  if (!operand->per_layer) return power;
  /* Layers of a parameter lie behind one another, so the layer's size counts too. */
  mvs_id root = schedule->roots && schedule->roots[id] != MVS_NONE ? schedule->roots[id] : id;
  bool batched;
  int64_t elements = mvs_type_elements(mvs_graph_type(schedule->graph, root), &batched);
  return batched ? power : power_of(elements, power);
}

/* The same place in two dtypes is two operands; two values at one place share the least of what
 * is known of their alignment. */
int mvs_launch_operand(mvs_launch *launch, const mvs_operand *operand, mvs_dtype dtype,
                       uint8_t alignment) {
  mvs_kernel *kernel = launch->kernel;
  for (int i = 0; i < kernel->operand_count; i++) {
    if (!same_operand(&launch->operands[i], operand) || kernel->operands[i] != dtype) continue;
    if (alignment < kernel->alignment[i]) kernel->alignment[i] = alignment;
    return i;
  }
  if (kernel->operand_count == MVS_MAX_OPERANDS) {
    launch->full = true;
    return -1;
  }
  int index = kernel->operand_count++;
  launch->operands[index] = *operand;
  kernel->operands[index] = dtype;
  kernel->written[index] = false;
  kernel->alignment[index] = alignment;
  return index;
}

mvs_operand mvs_place_operand(const mvs_place *place, mvs_dtype dtype, int64_t constant) {
  return (mvs_operand){.buffer = place->buffer,
                       .offset = (place->offset + constant) * mvs_dtype_size(dtype),
                       .per_layer = place->per_layer,
                       .shift = place->shift};
}
