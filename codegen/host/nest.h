/* nest.h: what the files that print ROWS and COLUMNS nests share. */
#ifndef MVS_HOST_NEST_H
#define MVS_HOST_NEST_H

#include "codegen/host/emit.h"

/* Rows of at most this many vectors are printed without an inner loop: each element value is
 * computed once and lives in registers through all phases. */
#define MVS_UNROLLED_CHUNKS 4

/* Rows printed at a time where reductions would wait for one another's latency. */
#define MVS_ROWS_TOGETHER 2

/* What is known of one row. */
typedef struct mvs_row {
  LLVMValueRef outer[MVS_MAX_AXES], segment;
  LLVMValueRef *bases;   /* per LOAD and STORE: pointer at inner index 0 */
  LLVMValueRef *scalars; /* values of uniform instructions */
} mvs_row;

/* A nest being printed. Instructions differ in what their values depend on:
 *   uniform  not on the inner index: a scalar, computed once per row (or per sequential step)
 *   moving   (COLUMNS) on the sequential index */
typedef struct mvs_nest_print {
  mvs_emit *e;
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  size_t count; /* of instructions */
  mvs_entry entry;
  LLVMValueRef *operands; /* base pointers, loaded on entry */
  mvs_phase_mask *needs;  /* mvs_nest_needs */
  bool *uniform, *moving;
  bool *rounded;     /* an f32 that is exact in bf16 */
  bool *staged;      /* kept in scratch from its first phase on */
  int64_t *stage_at; /* where, in bytes */
  int64_t scratch;   /* bytes */
  int vectors;       /* COLUMNS: side by side in one unit */
  bool turned;       /* COLUMNS of one column: the reduced axis runs innermost */
  mvs_row row; /* the one being printed */
  /* of the chunk of 16 inner elements being printed */
  LLVMValueRef *values;     /* NULL: not computed yet */
  LLVMValueRef inner, mask; /* first inner index; NULL mask: all lanes */
  LLVMValueRef sequential;  /* the sequential index (COLUMNS) */
  bool *stage_ready;        /* per instruction: scratch holds it in this phase */
} mvs_nest_print;

/* How a nest is divided into units (Nest in program.proto). */
typedef struct mvs_division {
  mvs_dim rows, inner;
  int64_t row_chunk, inner_chunk; /* 0: all */
} mvs_division;

/* Prints the nest as function `symbol`; fills the division and adds to *scratch what it needs.
 * errors : MVS_ERR_INTERNAL when an instruction has no host form; the reason in e->error. */
mvs_status mvs_host_print_nest(mvs_emit *e, const mvs_kernel *kernel, const mvs_nest *nest,
                               const char *symbol, mvs_division *division, int64_t *scratch);

/* --- between the files --- */
/* Works out needs, uniform, moving, rounded and staged. */
void mvs_nest_analyse(mvs_nest_print *p);
/* Sets the addresses of the row whose indices are in p->row; nothing else is known of it. */
void mvs_nest_addresses(mvs_nest_print *p);
/* The value of an instruction in the current chunk; computes what it needs on the way. */
LLVMValueRef mvs_nest_value(mvs_nest_print *p, size_t index);
/* Computes the uniform instructions (REDUCE excepted) of a phase that move, or do not. */
void mvs_nest_scalars(mvs_nest_print *p, int phase, bool moving);
/* Stores of the chunk in this phase. */
void mvs_nest_stores(mvs_nest_print *p, int phase, bool moving);
/* Forgets the values of the chunk. */
void mvs_nest_next_chunk(mvs_nest_print *p);
/* acc with one more value, by sum or max_over; lanes that are off keep their value. */
LLVMValueRef mvs_nest_accumulate(mvs_nest_print *p, size_t index, LLVMValueRef acc);
/* Two partial results of a reduction as one: their sum or the greater. */
LLVMValueRef mvs_nest_combine(mvs_nest_print *p, size_t index, LLVMValueRef acc,
                              LLVMValueRef value);
/* What a reduction starts from, as a vector. */
LLVMValueRef mvs_nest_identity(mvs_nest_print *p, size_t index);
/* An ARITH or RANDOM instruction on its arguments (scalars or vectors, mixed). */
LLVMValueRef mvs_nest_arith(mvs_emit *e, const mvs_instr *instr, LLVMValueRef *arguments,
                            int count);
/* A value as another dtype; to i32 it truncates and saturates, NaN becomes 0. */
LLVMValueRef mvs_nest_convert(mvs_emit *e, LLVMValueRef value, mvs_dtype to);
/* Rows that mvs_nest_rows may print together, at most MVS_ROWS_TOGETHER. */
int mvs_nest_together(const mvs_nest_print *p);
/* Prints the bodies of `count` rows, phase by phase, over inner indices from .. to. */
void mvs_nest_rows(mvs_nest_print *p, const mvs_row *rows, int count, LLVMValueRef from,
                   LLVMValueRef to);
/* The same for COLUMNS: inner indices in parallel, each through the sequential axis. Adds to
 * p->scratch. */
void mvs_nest_columns(mvs_nest_print *p, LLVMValueRef from, LLVMValueRef to);
/* A COLUMNS nest of one column with its reduced axis innermost; NULL for any other nest. */
const mvs_nest *mvs_nest_turned(mvs_arena *arena, const mvs_nest *nest);
/* True when every inner range of this nest is whole vectors. */
bool mvs_nest_whole_vectors(const mvs_nest *nest);

#endif
