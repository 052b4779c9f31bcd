/* attention_operands.h: what attention and its gradient read and write, in the order of a
 * kernel's operands: those who build, check, price and print the kernels, and the runtime that
 * hands them to a library, follow this one table. The gradient reads what the forward pass read
 * and wrote, so its operands begin with those. */
#ifndef MVS_CODEGEN_ATTENTION_OPERANDS_H
#define MVS_CODEGEN_ATTENTION_OPERANDS_H

#include <stdbool.h>

/* name, the heads that it has, written by: the forward pass, the gradient */
#define MVS_ATTENTION_TABLE(X)   \
  X(Q, QUERIES, false, false)    \
  X(K, KEYS, false, false)       \
  X(V, KEYS, false, false)       \
  X(O, QUERIES, true, false)     \
  X(LSE, NONE, true, false)      \
  X(DO, QUERIES, false, false)   \
  X(DQ, QUERIES, false, true)    \
  X(DK, KEYS, false, true)       \
  X(DV, KEYS, false, true)

#define X(name, heads, forward, gradient) MVS_ATTENTION_##name,
typedef enum mvs_attention_operand {
  MVS_ATTENTION_TABLE(X) MVS_ATTENTION_OPERANDS
} mvs_attention_operand;
#undef X

/* Operands of the forward pass or of the gradient. */
static inline int mvs_attention_operands(bool gradient) {
  return gradient ? MVS_ATTENTION_OPERANDS : MVS_ATTENTION_LSE + 1;
}

#endif
