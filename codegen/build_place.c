/* build_place.c: from places in buffers to the operands of a launch. */
#include "codegen/build_draft.h"

#define MAX_OPERANDS 64

static bool same_operand(const mvs_operand *a, const mvs_operand *b) {
  return a->buffer == b->buffer && a->offset == b->offset && a->per_layer == b->per_layer &&
         a->shift == b->shift;
}

uint8_t mvs_operand_alignment(const mvs_operand *operand, mvs_dtype dtype) {
  int64_t elements = operand->offset / mvs_dtype_size(dtype);
  uint8_t power = 8;
  while (power > 1 && elements % power != 0) power /= 2;
  return power;
}

int mvs_launch_operand(mvs_launch *launch, const mvs_operand *operand, mvs_dtype dtype) {
  mvs_kernel *kernel = launch->kernel;
  for (int i = 0; i < kernel->operand_count; i++) {
    if (same_operand(&launch->operands[i], operand) && kernel->operands[i] == dtype) return i;
  }
  if (kernel->operand_count == MAX_OPERANDS) return -1;
  int index = kernel->operand_count++;
  launch->operands[index] = *operand;
  kernel->operands[index] = dtype;
  kernel->written[index] = false;
  kernel->alignment[index] = mvs_operand_alignment(operand, dtype);
  return index;
}

mvs_operand mvs_place_operand(const mvs_place *place, mvs_dtype dtype, int64_t constant) {
  return (mvs_operand){.buffer = place->buffer,
                       .offset = (place->offset + constant) * mvs_dtype_size(dtype),
                       .per_layer = place->per_layer,
                       .shift = place->shift};
}

bool mvs_place_contiguous(const mvs_place *place, const mvs_type *type) {
  int64_t stride = 1;
  for (int i = type->rank - 1; i >= 0; i--) {
    bool moves = type->dims[i].size > 1 || type->dims[i].per_batch;
    if (moves && place->strides[i] != stride) return false;
    stride *= type->dims[i].size;
  }
  return true;
}
