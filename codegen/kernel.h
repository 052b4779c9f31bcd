/* kernel.h: the kernel form, the one loop-level description that both printers read.
 *
 * A kernel is a list of nests, all independent and run in one launch. A nest is
 *
 *   for each index of the parallel axes            (rows; in any order, on any thread or block)
 *     ROWS:    for phase = 0 .. phases-1
 *                for i in inner: the ELEMENT instructions that this phase needs;
 *                                REDUCE instructions of the phase take one element
 *                then the ROW instructions that become ready: scalars of the row
 *     COLUMNS: for i in inner (in parallel):
 *                for s in the sequential axis: phase 0 instructions, of which REDUCE takes
 *                                one element
 *                then the phase 1 instructions once per i
 *
 * Instructions are SSA in order: arguments stand before their users. An instruction has a
 * level:
 *   ROW      one value per row: constants, loads that stay along inner, a REDUCE's result
 *   ELEMENT  one value per inner element
 * and a phase: the first in which it can be computed (0 unless it depends on a REDUCE). A
 * printer may compute an ELEMENT value again in a later phase or keep it (staging): `keep` says
 * that it is dear (holds a transcendental) and the row fits `inner`.
 *
 * Phases in detail: a REDUCE of phase p takes its elements in phase p; whatever depends on its
 * result has a phase of p + 1 or more, ROW instructions too. So a printer does, for p = 0 ..
 * phases-1: the ROW instructions of phase p (REDUCE excepted), then, when any element work is
 * needed in p, the loop over inner. Every phase is less than `phases`; the last may have no
 * element work.
 *
 * Segments in detail. ROWS: the index of outer axis `segment_axis` is a token t;
 * `access.segment` is the stride per number of the segment that holds t. COLUMNS: the index of
 * outer axis `segment_axis` is a segment number s; the sequential index runs over that
 * segment's tokens, from its first to its last, counted from the start of the whole token axis
 * (so `sequential` strides and INDEX of MVS_SEQUENTIAL see token numbers); `access.segment` is
 * 0. Sums of x [B, 29, 64] by segment, as dumps have them (kernel_dump.c explains the rest):
 *
 *   nest columns outer [B, 2] inner 64 segments on 1 {image:24(4x6), text:5} lanes 16 phases 2
 *     %0 = load #0[1856, 0; 1; sequential 64]    of segment 1: tokens 24 to 28
 *     %1 = reduce sum %0
 *     store #1[128, 64; 1] %1                    once, in phase 1
 *
 * COLUMNS: a ROW instruction depends on neither the inner nor the sequential index. With
 * sequential_batch and sequential > 0 the reduced axis is the collapsed pair (batch,
 * sequential) and its extent is B * sequential.
 *
 * Reduction trees are fixed by op and shape. ROWS on the host: element i adds to lane i mod 64
 * in order of i, then halves fold (32, 16, .. 1). ROWS in CUDA: see docs/numerics.md. COLUMNS,
 * everywhere: the k-th element of the reduced axis (of a segment: from its first token) adds
 * to lane k mod `lanes` in order of k, then halves fold: lane j takes lane j + lanes/2, and so
 * on down to one. A lane starts from +0 (a maximum: from the least number) and a sum that
 * starts so is never -0, so a lane that got nothing may be folded or left out: the bits are
 * the same.
 *
 * Arithmetic: f32 unless the instruction's dtype says f64 or i32; no contraction, fma is
 * explicit. bf16 lives only in memory: LOAD widens; a cast to bf16 rounds to nearest even and
 * widens again. */
#ifndef MVS_CODEGEN_KERNEL_H
#define MVS_CODEGEN_KERNEL_H

#include "codegen/attention_operands.h"
#include "compiler/passes/plan.h"

#define MVS_MAX_AXES 7

typedef enum mvs_kernel_class {
  MVS_KERNEL_ROWS, MVS_KERNEL_COLUMNS, MVS_KERNEL_MATMUL, MVS_KERNEL_ATTENTION,
  MVS_KERNEL_ATTENTION_GRAD
} mvs_kernel_class;

typedef enum mvs_instr_kind {
  MVS_INSTR_CONSTANT, /* value */
  MVS_INSTR_LOAD,     /* access */
  MVS_INSTR_STORE,    /* access, arguments[0]; level says where */
  MVS_INSTR_ARITH,    /* op: any ELEMENT op of ops.def but random, broadcast and normalize */
  MVS_INSTR_RANDOM,   /* op random: arguments seed, step, sample, position (i32) */
  MVS_INSTR_REDUCE,   /* op sum or max_over of arguments[0]; result at ROW level (ROWS nests),
                         at ELEMENT level of phase 1 (COLUMNS nests) */
  MVS_INSTR_INDEX,    /* i32 index along `axis`: 0.. outer axes, MVS_INNER or MVS_SEQUENTIAL */
  MVS_INSTR_LAYER     /* i32 number of the layer being run */
} mvs_instr_kind;

#define MVS_INNER (-1)
#define MVS_SEQUENTIAL (-2)

/* A set of phases, bit by bit; so a nest has at most MVS_MAX_PHASES. A chain of reductions over
 * rows of a few elements, as normalising a small matrix in turns is, has one phase each. */
typedef uint64_t mvs_phase_mask;
#define MVS_MAX_PHASES 64
#define MVS_PHASE(phase) ((mvs_phase_mask)1 << (phase))

typedef enum mvs_level { MVS_LEVEL_ROW, MVS_LEVEL_ELEMENT } mvs_level;

/* Element address in an operand: the sum of index * stride over axes. The operand's own offset
 * is in the launch, so kernels are shared between places. */
typedef struct mvs_access {
  uint16_t operand;
  int64_t outer[MVS_MAX_AXES]; /* stride per parallel axis */
  int64_t segment;             /* stride per segment number, when the nest has segments */
  int64_t sequential;          /* stride of the sequential axis (COLUMNS) */
  int64_t inner;               /* stride of the inner axis: 0, 1 or any */
  int64_t constant;            /* from the operand's start, where slices share one; else 0 */
} mvs_access;

typedef struct mvs_instr {
  mvs_instr_kind kind;
  mvs_op op;
  mvs_dtype dtype;             /* of the result: f32, f64 or i32; bf16 only as `to` below */
  mvs_level level;
  uint8_t phase;
  bool keep;
  uint16_t arguments[4];
  double value;                /* CONSTANT */
  mvs_dtype to;                /* ARITH cast: the target, bf16 included */
  int axis;                    /* INDEX */
  mvs_random_kind random;      /* RANDOM */
  uint32_t stream;
  mvs_access access;           /* LOAD, STORE */
  mvs_span span;
} mvs_instr;

typedef struct mvs_nest {
  mvs_kernel_class nest_class; /* ROWS or COLUMNS */
  int outer_count;
  mvs_dim outer[MVS_MAX_AXES]; /* parallel axes, slowest first; a per_batch axis only as [0] */
  mvs_dim inner;               /* per_batch only where outer_count is 0 (collapsed nests) */
  int64_t sequential;          /* COLUMNS: extent of the reduced axis; 0: sequential_batch */
  bool sequential_batch;       /* COLUMNS: the reduced axis is the batch (extent B) */
  int lanes;                   /* COLUMNS: of the reductions' tree, mvs_column_lanes */
  /* Segments. ROWS: outer axis `segment_axis` counts tokens; the segment number follows from
   * it. COLUMNS: outer axis `segment_axis` counts segments and the sequential axis runs over
   * that segment's tokens. -1: none. */
  int segment_axis;
  const mvs_segments *segments;
  int phases;
  MVS_LIST(mvs_instr) instrs;
} mvs_nest;

/* matmul, forms as in graph.h: C[M, N] = A x B (+ bias). Row-major, contiguous. */
typedef struct mvs_matmul_shape {
  mvs_matmul_form form;
  mvs_dim m, k; /* per_batch: M of NT and NN, K of TN, when the activations are batched */
  int64_t n;
  mvs_dtype a, b, c;
  bool bias; /* operands: a, b, c, [bias of dtype c], workspace last on the host */
} mvs_matmul_shape;

/* Whose heads an operand of attention has: H, G, or none. */
typedef enum mvs_heads_of { MVS_HEADS_QUERIES, MVS_HEADS_KEYS, MVS_HEADS_NONE } mvs_heads_of;

typedef struct mvs_attention_row {
  const char *name; /* "DQ" */
  mvs_heads_of heads;
  bool written[2]; /* by the forward pass, by the gradient */
} mvs_attention_row;

/* The table of attention_operands.h. */
extern const mvs_attention_row mvs_attention_rows[MVS_ATTENTION_OPERANDS];

/* attention over q [B,T,H,D], k, v [B,T,G,D] */
typedef struct mvs_attention_shape {
  int64_t tokens, heads, kv_heads, head_dim;
  double scale;
  mvs_dtype dtype; /* of q, k, v, o and their gradients; lse is f32 [B,H,T], contiguous */
  /* Per operand: elements from one token to the next; samples are T such steps apart, and the
   * heads of a token side by side. 0 for lse and what is no operand. */
  int64_t strides[MVS_ATTENTION_OPERANDS];
} mvs_attention_shape;

typedef struct mvs_kernel {
  const char *name;            /* "k12_rows": unique in the program, a C identifier */
  mvs_kernel_class kernel_class;
  MVS_LIST(mvs_nest) nests;
  mvs_matmul_shape matmul;
  mvs_attention_shape attention;
  int operand_count;
  mvs_dtype operands[MVS_MAX_OPERANDS]; /* dtype of each */
  bool written[MVS_MAX_OPERANDS];       /* which operands it stores to */
  /* Operands start on multiples of so many elements (1 to 8). */
  uint8_t alignment[MVS_MAX_OPERANDS];
  const char *why;             /* for --explain and the CUDA comment: ops and source lines */
} mvs_kernel;

typedef MVS_LIST(mvs_kernel *) mvs_kernel_list;

/* How many of `arguments` an instruction uses. */
int mvs_instr_argument_count(const mvs_instr *instr);
/* A LOAD or a STORE. */
bool mvs_instr_uses_memory(const mvs_instr *instr);
/* The lanes of every reduction of a COLUMNS plan, a power of two: from the shapes alone.
 * Results of many columns have threads enough with 16 lanes each. A result that has few columns
 * and no batch is one long sum (of the loss, of a norm over all rows): 1024 lanes keep a whole
 * block of GPU threads loading. */
int mvs_column_lanes(const mvs_nest_plan *plan);
/* The most elements that a sum of a COLUMNS nest takes; INT64_MAX with the batch. */
int64_t mvs_nest_longest_sum(const mvs_nest *nest);
/* The lanes of a COLUMNS nest that can get an element, a power of two: a printer may leave out
 * the others. */
int mvs_nest_busy_lanes(const mvs_nest *nest);
/* Writes a kernel as text: --emit kernels, golden dumps, and the key that finds equal
 * kernels. */
void mvs_kernel_dump(const mvs_kernel *kernel, mvs_text *out);
/* Checks the invariants above. errors: MVS_ERR_INTERNAL, with the broken rule in diag. */
mvs_status mvs_kernel_verify(const mvs_kernel *kernel, mvs_diag *diag);
/* True for many reductions behind one another over rows of a few elements, such as the turns of
 * normalising a small matrix. A thread holds such rows, so each of their values is computed
 * once, when it can be, and reductions wait for their users; longer rows are walked once a
 * phase. */
bool mvs_nest_is_chain(const mvs_nest *nest);
/* The phases in which an ELEMENT instruction is needed (bit p: by a REDUCE of phase p or by a
 * STORE of phase p), as masks per instruction, into `masks` [instrs.count]. Shared by the
 * printers. */
void mvs_nest_needs(const mvs_nest *nest, mvs_phase_mask *masks);

#endif
