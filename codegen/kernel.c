/* kernel.c: what both printers ask of a nest. */
#include "codegen/kernel.h"

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

void mvs_nest_needs(const mvs_nest *nest, uint32_t *masks) {
  for (size_t i = 0; i < nest->instrs.count; i++) masks[i] = 0;
  /* Users stand behind their arguments, so one walk from the end sees every need. */
  for (size_t i = nest->instrs.count; i-- > 0;) {
    const mvs_instr *instr = &nest->instrs.items[i];
    bool takes = instr->kind == MVS_INSTR_REDUCE ||
                 (instr->kind == MVS_INSTR_STORE && instr->level == MVS_LEVEL_ELEMENT);
    if (takes) masks[i] |= 1u << instr->phase;
    /* The result of a REDUCE is held, not computed again: only its own phase needs its operand.
     */
    uint32_t need = instr->kind == MVS_INSTR_REDUCE ? 1u << instr->phase : masks[i];
    if (need == 0) continue;
    for (int k = 0; k < mvs_instr_argument_count(instr); k++) {
      uint16_t argument = instr->arguments[k];
      if (nest->instrs.items[argument].level == MVS_LEVEL_ELEMENT) masks[argument] |= need;
    }
  }
}
