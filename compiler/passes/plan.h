/* plan.h: what fuse, schedule and memory decide: which nodes make one kernel, in which order
 * the kernels run, and in which buffer each materialised value lives. Codegen turns groups into
 * the kernel form and the rest into the program's tables; it decides nothing of this again.
 *
 * Materialised: a value that has a place in memory. All others exist only inside a kernel.
 * Aliases (no kernel, no bytes): reshape and get of a materialised value; concat, whose parts
 * are written into their places in it. A slice of a materialised value may be read in place. */
#ifndef MVS_PASSES_PLAN_H
#define MVS_PASSES_PLAN_H

#include "compiler/passes/pass.h"

/* Operands of one kernel; the executor has room for its workspace besides. */
#define MVS_MAX_OPERANDS 120
/* Equal parts into which a kernel may cut the last axis of its space: each is unrolled in
 * it. */
#define MVS_MOST_PIECES 8
/* Batch at which passes compare bytes: large enough that values per sample outweigh parameters,
 * as they do in training. */
#define MVS_NOMINAL_BATCH 32

typedef enum mvs_group_class {
  MVS_GROUP_ROWS,     /* rows in parallel; element work and reductions over the last axis */
  MVS_GROUP_COLUMNS,  /* reduces outer axes (tokens of a segment, batch): inner in parallel */
  MVS_GROUP_MATMUL,
  MVS_GROUP_ATTENTION,
  MVS_GROUP_ATTENTION_GRAD,
  MVS_GROUP_REGION    /* the loop over layers: its own groups are in the body's schedule */
} mvs_group_class;

/* Where one materialised value is: element strides into a buffer. A per_layer access of a top-
 * level step takes 0 for the layer: shift alone names the slot, as the first and the last slot
 * of a carried value (shift 0 and shift = count). */
typedef struct mvs_place {
  uint32_t buffer;          /* UINT32_MAX: not materialised */
  int64_t offset;           /* elements from the slot's start */
  int64_t shift;            /* slot = (layer + shift) mod slots, when the access is per layer */
  bool per_layer;
  int64_t strides[MVS_MAX_RANK]; /* in elements, per axis of the value's type */
} mvs_place;

/* Part of a group with one index space. A kernel is a list of nests (horizontal fusion): e.g.
 * RoPE + QK-norm of q (H heads) and of k (G heads) are two nests of one kernel. ROWS: the space
 * is the common shape of the outputs (row scalars [.., 1] may be outputs too); all nodes needed
 * are computed per element from leaves; reductions over the last axis are phases. COLUMNS:
 * `space` is the shape of the reduced operand, `reduced_axes` its reduced axes; outputs are
 * results of reduce/segment nodes of the same space, or elements computed from such results
 * (and other values of the result's shape). No last-axis reduction inside. A value may be
 * computed in several nests; it is stored by one. */
typedef struct mvs_nest_plan {
  mvs_type space;
  uint32_t reduced_axes;           /* COLUMNS: mask over space; axis 1 with by_segment */
  bool by_segment;                 /* COLUMNS: axis 1 is reduced per segment */
  MVS_LIST(mvs_id) outputs;        /* materialised here. A node that must lie in two places is
                                      listed twice */
  MVS_LIST(struct mvs_place) store_places; /* set by memory, one per output: where it is stored.
                                      The first listing of a node has its own place; others, and
                                      outputs that are leaves (copies), have the copy's */
  MVS_LIST(mvs_id) leaves;         /* materialised values that it loads, in id order */
  MVS_LIST(mvs_id) interior;       /* all nodes computed or address-mapped inside, in id order,
                                      outputs included, leaves excluded. A concat along the
                                      last axis may be inside: its parts are equal multiples of
                                      a piece of the row */
} mvs_nest_plan;

typedef struct mvs_group {
  mvs_group_class group_class;
  MVS_LIST(mvs_nest_plan) nests;   /* ROWS, COLUMNS */
  mvs_id heavy;                    /* the node, for the HEAVY classes */
  struct mvs_region *region;       /* REGION */
  bool redo;                       /* in a forward body: runs again when the block is redone */
  const char *why;                 /* for --explain */
} mvs_group;

/* Where values of one graph live. */
typedef enum mvs_buffer_kind {
  MVS_BUFFER_INPUT,    /* given by the caller */
  MVS_BUFFER_OUTPUT,   /* returned to the caller */
  MVS_BUFFER_PARAM,    /* in the flat parameter buffer; bf16: in the copy of it in bf16 */
  MVS_BUFFER_GRAD,     /* in the flat gradient buffer */
  MVS_BUFFER_PREPARED, /* kept between calls: written by "prepare", read by the others */
  MVS_BUFFER_TEMP      /* placed by the runtime from the live range */
} mvs_buffer_kind;

/* A buffer holds `slots` equal slots. Inside a region an access at layer l uses slot
 * (l + shift) mod slots. The runtime chooses between slots_kept and slots_least:
 *   carried value:    kept count+1 and crossing where the backward reads it or starts from it,
 *                     else 2; least 2 (ping-pong); one that is held (held.h): 1, 1
 *   crossing value:   kept count, least 1 (block redone before its backward)
 *   value in a body:  1, 1;   value outside regions: 1, 1
 *   output read at distance d: count + d, least d + 1 (all when reverse), first d slots (last d
 *                     when reverse) zeroed
 *   stacked result used outside the region: count, count; its slots lie behind one another, so
 *                     the whole is row-major from slot `shift` on
 * memory.h has the arithmetic of slots. */
typedef struct mvs_buffer {
  mvs_buffer_kind kind;
  const char *name;         /* INPUT, OUTPUT; NULL else */
  uint32_t param;           /* PARAM, GRAD: index in the module; PREPARED: the value's number */
  mvs_dtype dtype;
  int64_t fixed, per_batch; /* bytes of one slot = fixed + per_batch * B, before alignment */
  int64_t slots_kept, slots_least;
  int64_t zero_slots;       /* cleared before the region starts */
  bool zero_at_end;         /* the cleared slots are the last ones (reverse regions) */
  bool crossing;            /* written by a forward region, read by its backward */
  int first_step, last_step; /* live range over the function's top-level steps, both included */
  int body_first, body_last; /* of a value inside one body: range over its steps, else -1 */
  uint32_t home;             /* the region (in plan order) whose body it is in, or UINT32_MAX */
} mvs_buffer;

/* What may be done with a crossing value instead of keeping it for every layer: groups of its
 * body run again, just before the backward of their layer. What the region carries is kept in
 * any case. A set of values is redone by the union of their own groups, in order. */
typedef struct mvs_alternative {
  uint32_t buffer;               /* crossing, with slots_least 1 */
  mvs_id value;                  /* that lies in it */
  MVS_LIST(uint32_t) groups;     /* from nothing but carried values */
  MVS_LIST(uint32_t) own_groups; /* from carried and other crossing values */
} mvs_alternative;

/* The schedule of one graph (a function or a region's body). */
typedef struct mvs_schedule {
  const mvs_graph *graph;
  struct mvs_schedule *parent;      /* the graph that holds the region, NULL for a function */
  struct mvs_region *region;
  MVS_LIST(mvs_group) groups;       /* in execution order */
  mvs_place *places;                /* one per node of the graph */
  mvs_id *roots;                    /* per node: whose bytes it names, its own or through
                                       reshape, get and slice another's; MVS_NONE: none */
  bool *gathered;                   /* per node: a concat that no kernel stores; it is there
                                       when its parts are. One that a kernel stores whole is a
                                       value like others, whether or not its parts have places,
                                       too */
  MVS_LIST(struct mvs_schedule *) bodies; /* one per REGION group, in order */
  MVS_LIST(mvs_alternative) alternatives; /* of a body whose blocks may be redone */
} mvs_schedule;

typedef struct mvs_function_plan {
  const char *name;
  mvs_schedule *top;
  MVS_LIST(mvs_buffer) buffers;     /* of this function, bodies included */
} mvs_function_plan;

typedef struct mvs_plan {
  MVS_LIST(mvs_function_plan) functions;
} mvs_plan;

/* Checks a finished plan against the table of rules in verify_plan.c.
 * errors : MVS_ERR_INTERNAL, naming the rule, the function, the group and the value */
mvs_status mvs_plan_verify(mvs_arena *arena, const mvs_plan *plan, mvs_diag *diag);
/* Notes for each node the group that stores it, results of heavy ops included; -1: none, as for
 * what comes from outside and for a concat that several groups fill. */
void mvs_schedule_writers(const mvs_schedule *schedule, int *writer);
/* True when a nest before `nest` loads the leaf too: the kernel moves its bytes once. */
bool mvs_group_loaded_before(const mvs_group *group, size_t nest, mvs_id leaf);
/* Bytes that a group moves: inputs once, outputs once (fixed, and per batch element). */
void mvs_group_bytes(const mvs_schedule *schedule, const mvs_group *group, int64_t *fixed,
                     int64_t *per_batch);
/* The same for a list of its groups. */
void mvs_groups_bytes(const mvs_schedule *schedule, const uint32_t *groups, size_t count,
                      int64_t *fixed, int64_t *per_batch);
/* Writes the plan as text, for --emit plan and golden dumps. */
void mvs_plan_dump(const mvs_plan *plan, mvs_text *out);
/* Writes per kernel: class, source lines, rules that fired, bytes moved and the least
 * possible. */
void mvs_plan_explain(const mvs_plan *plan, mvs_text *out);

#endif
