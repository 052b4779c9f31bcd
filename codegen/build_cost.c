/* build_cost.c: bytes a kernel moves and operations it does, as linear functions of the batch.
 * They are the least that the kernel form needs, an element once however often a printer loads
 * it, so that a time beside them is a share of the roofline; the runtime weighs what to redo by
 * them. */
#include "codegen/build_tables.h"

static void add_count(mvs_linear *sum, mvs_dim count, double factor) {
  if (count.per_batch) {
    sum->per_batch += (double)count.size * factor;
  } else {
    sum->fixed += (double)count.size * factor;
  }
}

/* The batch enters a count once: it is one axis of any value. */
static void multiply(mvs_dim *count, mvs_dim by) {
  count->size *= by.size;
  count->per_batch = count->per_batch || by.per_batch;
}

/* --- nests --- */

/* Steps of the reduced axis, summed over segments where there are some. */
static mvs_dim sequential_extent(const mvs_nest *nest) {
  if (nest->segment_axis >= 0) {
    return (mvs_dim){mvs_segments_length(nest->segments), false};
  }
  int64_t size = nest->sequential > 0 ? nest->sequential : 1;
  return (mvs_dim){size, nest->sequential_batch};
}

/* Different elements that an access touches: the product of the extents of the axes that it
 * moves along. A gain [C] read by all B T rows counts C. */
static mvs_dim touched(const mvs_nest *nest, const mvs_access *access) {
  mvs_dim count = {1, false};
  bool columns = nest->nest_class == MVS_KERNEL_COLUMNS;
  for (int i = 0; i < nest->outer_count; i++) {
    bool in_sequence = columns && i == nest->segment_axis && access->sequential;
    if (access->outer[i] && !in_sequence) multiply(&count, nest->outer[i]);
  }
  if (access->inner) multiply(&count, nest->inner);
  if (access->sequential) multiply(&count, sequential_extent(nest));
  if (access->segment) count.size *= nest->segments->count;
  return count;
}

static bool larger(mvs_dim a, mvs_dim b) {
  return a.per_batch != b.per_batch ? a.per_batch : a.size > b.size;
}

/* The largest access of each operand stands for all that touch it: q in three phases, or by two
 * nests, is one tensor to memory. */
static void find_traffic(const mvs_kernel *kernel, mvs_cost *cost) {
  mvs_dim read[MVS_MAX_OPERANDS] = {{0, false}}, written[MVS_MAX_OPERANDS] = {{0, false}};
  for (size_t i = 0; i < kernel->nests.count; i++) {
    const mvs_nest *nest = &kernel->nests.items[i];
    for (size_t k = 0; k < nest->instrs.count; k++) {
      const mvs_instr *instr = &nest->instrs.items[k];
      bool store = instr->kind == MVS_INSTR_STORE;
      if (!store && instr->kind != MVS_INSTR_LOAD) continue;
      mvs_dim *most = &(store ? written : read)[instr->access.operand];
      mvs_dim count = touched(nest, &instr->access);
      if (larger(count, *most)) *most = count;
    }
  }
  for (int i = 0; i < kernel->operand_count; i++) {
    double size = mvs_dtype_size(kernel->operands[i]);
    add_count(&cost->operands[i].read, read[i], size);
    add_count(&cost->operands[i].write, written[i], size);
  }
}

/* One operation for each ARITH and each term of a sum, dear functions as well: rooflines of
 * such kernels are those of memory. */
static void add_nest_operations(const mvs_nest *nest, mvs_linear *flops) {
  mvs_dim rows = {1, false}, early;
  for (int i = 0; i < nest->outer_count; i++) multiply(&rows, nest->outer[i]);
  mvs_dim late = rows;
  multiply(&late, nest->inner);
  early = late;
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    if (nest->segment_axis >= 0) early.size /= nest->segments->count;
    multiply(&early, sequential_extent(nest));
  }
  for (size_t i = 0; i < nest->instrs.count; i++) {
    const mvs_instr *instr = &nest->instrs.items[i];
    bool reduce = instr->kind == MVS_INSTR_REDUCE;
    if (instr->kind != MVS_INSTR_ARITH && !reduce) continue;
    mvs_dim element = instr->phase == 0 ? early : late;
    add_count(flops, reduce || instr->level == MVS_LEVEL_ELEMENT ? element : rows, 1);
  }
}

/* --- heavy kernels --- */

/* Operands: a, b, c, [bias], which has the dtype of c. */
static void matmul_cost(const mvs_matmul_shape *shape, mvs_cost *cost) {
  mvs_dim product = shape->m, a = shape->m, c = shape->m, b = shape->k;
  multiply(&product, shape->k);
  multiply(&a, shape->k);
  c.size *= shape->n;
  b.size *= shape->n;
  add_count(&cost->flops, product, 2.0 * (double)shape->n);
  add_count(&cost->operands[0].read, a, mvs_dtype_size(shape->a));
  add_count(&cost->operands[1].read, b, mvs_dtype_size(shape->b));
  add_count(&cost->operands[2].write, c, mvs_dtype_size(shape->c));
  if (shape->bias)
    cost->operands[3].read.fixed += (double)(mvs_dtype_size(shape->c) * shape->n);
}

/* Each operand once. Two products forward; five in the gradient, which computes the scores
 * again. */
static void attention_cost(const mvs_attention_shape *shape, bool gradient, mvs_cost *cost) {
  double tokens = (double)shape->tokens, width = (double)(shape->heads * shape->head_dim);
  double kv_width = (double)(shape->kv_heads * shape->head_dim);
  double size = mvs_dtype_size(shape->dtype);
  const double bytes[] = {[MVS_HEADS_QUERIES] = tokens * width * size,
                          [MVS_HEADS_KEYS] = tokens * kv_width * size,
                          [MVS_HEADS_NONE] = 4.0 * tokens * (double)shape->heads};
  cost->flops.per_batch += (gradient ? 10.0 : 4.0) * tokens * tokens * width;
  for (int i = 0; i < mvs_attention_operands(gradient); i++) {
    const mvs_attention_row *row = &mvs_attention_rows[i];
    mvs_traffic *traffic = &cost->operands[i];
    (row->written[gradient] ? &traffic->write : &traffic->read)->per_batch += bytes[row->heads];
  }
}

void mvs_kernel_cost(const mvs_kernel *kernel, mvs_cost *out) {
  *out = (mvs_cost){0};
  switch (kernel->kernel_class) {
    case MVS_KERNEL_ROWS:
    case MVS_KERNEL_COLUMNS:
      find_traffic(kernel, out);
      for (size_t i = 0; i < kernel->nests.count; i++) {
        add_nest_operations(&kernel->nests.items[i], &out->flops);
      }
      break;
    case MVS_KERNEL_MATMUL:
      matmul_cost(&kernel->matmul, out);
      break;
    case MVS_KERNEL_ATTENTION:
    case MVS_KERNEL_ATTENTION_GRAD:
      attention_cost(&kernel->attention, kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD,
                     out);
      break;
  }
}
