/* build_walk.h: what build_walk.c and build_reduce.c share. Private to them. */
#ifndef MVS_CODEGEN_BUILD_WALK_H
#define MVS_CODEGEN_BUILD_WALK_H

#include "codegen/build_draft.h"

#define NO_VALUE UINT16_MAX

/* A value already computed for a node at an index. */
typedef struct memo {
  mvs_index at;
  uint16_t value;
  struct memo *next;
} memo;

typedef struct walker {
  mvs_walk *walk;
  const mvs_graph *graph;
  memo **memos; /* per interior node */
  int depth;
  mvs_status status; /* the first failure; values are NO_VALUE from then on */
  mvs_id failed;
  const char *reason;
} walker;

/* The instruction that holds the value of a node at an index; NO_VALUE after a failure. */
uint16_t mvs_walk_value(walker *w, mvs_id id, const mvs_index *at);
/* The same for reductions and segment ops. */
uint16_t mvs_walk_reduction(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at);
/* Remembers that a node cannot be computed here; returns NO_VALUE. */
uint16_t mvs_walk_fail(walker *w, mvs_id id, const char *reason);
/* Adds an instruction, or finds the same one. */
uint16_t mvs_walk_push(walker *w, mvs_draft_instr *instr);
/* A number; the same one is one instruction. */
uint16_t mvs_walk_constant(walker *w, double value, mvs_dtype dtype);
/* The i32 value of an affine function of the axes. */
uint16_t mvs_walk_affine(walker *w, const mvs_affine *affine);
/* An elementwise op on values of its dtype; `dtype` is the result's. */
uint16_t mvs_walk_arith(walker *w, mvs_op op, mvs_dtype dtype, const uint16_t *arguments,
                        mvs_span span);
/* The same for two arguments, in their dtype. */
uint16_t mvs_walk_binary(walker *w, mvs_op op, uint16_t a, uint16_t b, mvs_span span);

#endif
