/* kernel.c: what both printers ask of a nest. */
#include "codegen/kernel.h"

#include "compiler/passes/crossing.h"

/* Results of fewer columns than this, and without a batch, get the many lanes: with 64 columns
 * the few lanes keep 1024 accumulators busy too, as many as a block of GPU threads holds. Both
 * numbers are part of the numerics contract: they fix the order of sums. */
#define FEW_COLUMNS 64
#define FEW_LANES   16
#define MANY_LANES  1024

#define X(name, heads, forward, gradient) {#name, MVS_HEADS_##heads, {forward, gradient}},
const mvs_attention_row mvs_attention_rows[MVS_ATTENTION_OPERANDS] = {MVS_ATTENTION_TABLE(X)};
#undef X

bool mvs_instr_uses_memory(const mvs_instr *instr) {
  return instr->kind == MVS_INSTR_LOAD || instr->kind == MVS_INSTR_STORE;
}

int mvs_instr_argument_count(const mvs_instr *instr) {
  switch (instr->kind) {
    case MVS_INSTR_STORE:
    case MVS_INSTR_REDUCE:
      return 1;
    case MVS_INSTR_ARITH:
      return mvs_ops[instr->op].least_inputs;
    case MVS_INSTR_RANDOM:
      return 4;
    case MVS_INSTR_CONSTANT:
    case MVS_INSTR_LOAD:
    case MVS_INSTR_INDEX:
    case MVS_INSTR_LAYER:
      break;
  }
  return 0;
}

/* Phases from which on a nest of short rows is a chain: a softmax or a norm behind another has
 * four or less, one turn of normalising rows and columns of a matrix two. */
#define LONG_CHAIN 8

bool mvs_nest_is_chain(const mvs_nest *nest) {
  return nest->nest_class == MVS_KERNEL_ROWS && nest->phases > LONG_CHAIN &&
         !nest->inner.per_batch && nest->inner.size <= MVS_SHORT_ROW;
}

/* In the norm of kernel_dump.c the product %2 has the mask 3: phase 0 sums its square, phase 1
 * scales it. */
void mvs_nest_needs(const mvs_nest *nest, mvs_phase_mask *masks) {
  for (size_t i = 0; i < nest->instrs.count; i++) masks[i] = 0;
  /* Users stand behind their arguments, so one walk from the end sees every need. */
  for (size_t i = nest->instrs.count; i-- > 0;) {
    const mvs_instr *instr = &nest->instrs.items[i];
    bool takes = instr->kind == MVS_INSTR_REDUCE ||
                 (instr->kind == MVS_INSTR_STORE && instr->level == MVS_LEVEL_ELEMENT);
    if (takes) masks[i] |= MVS_PHASE(instr->phase);
    /* The result of a REDUCE is held, not computed again: only its own phase needs its operand.
     */
    mvs_phase_mask need = instr->kind == MVS_INSTR_REDUCE ? MVS_PHASE(instr->phase) : masks[i];
    if (need == 0) continue;
    for (int k = 0; k < mvs_instr_argument_count(instr); k++) {
      uint16_t argument = instr->arguments[k];
      if (nest->instrs.items[argument].level == MVS_LEVEL_ELEMENT) masks[argument] |= need;
    }
  }
}

/* From the shapes of the plan, not of the nest: cuts and merged axes must not change a sum. */
int mvs_column_lanes(const mvs_nest_plan *plan) {
  const mvs_type *space = &plan->space;
  int64_t columns = plan->by_segment && space->segments ? space->segments->count : 1;
  for (int i = 0; i < space->rank; i++) {
    if (plan->reduced_axes >> i & 1) continue;
    if (space->dims[i].per_batch || space->dims[i].size >= FEW_COLUMNS) return FEW_LANES;
    columns *= space->dims[i].size; /* below FEW_COLUMNS^rank: no overflow */
  }
  return columns < FEW_COLUMNS ? MANY_LANES : FEW_LANES;
}

int64_t mvs_nest_longest_sum(const mvs_nest *nest) {
  if (nest->sequential_batch) return INT64_MAX;
  if (nest->segment_axis < 0) return nest->sequential;
  int64_t longest = 0;
  for (int i = 0; i < nest->segments->count; i++) {
    int64_t length = nest->segments->items[i].length;
    if (length > longest) longest = length;
  }
  return longest;
}

/* The k-th element goes to lane k mod `lanes`, so a sum of n elements reaches the first n. */
int mvs_nest_busy_lanes(const mvs_nest *nest) {
  int64_t longest = mvs_nest_longest_sum(nest);
  int busy = 1;
  while (busy < nest->lanes && busy < longest) busy *= 2;
  return busy;
}
