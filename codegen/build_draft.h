/* build_draft.h: a nest while it is being built: instructions whose addresses are affine
 * functions of the axes. Private to the build*.c files.
 *
 * A slot is one axis of the nest. The index of axis a of the nest's space is
 *     begin[a] + its slot,
 * so that an axis can be cut (begin, a shorter slot) when an operand asks for it. Two more
 * slots stand for the number of the segment that holds a token (ROWS) and for the token that a
 * segment's reduction has reached (COLUMNS). */
#ifndef MVS_CODEGEN_BUILD_DRAFT_H
#define MVS_CODEGEN_BUILD_DRAFT_H

#include "codegen/kernel.h"

/* The space's axes, and one of extent 1 where none of them can run innermost. */
#define MVS_AXIS_SLOTS   (MVS_MAX_RANK + 1)
#define MVS_SLOT_SEGMENT MVS_AXIS_SLOTS       /* ROWS: the segment, from the nest's first on */
#define MVS_SLOT_TOKEN   (MVS_AXIS_SLOTS + 1) /* COLUMNS by segment: the token reached */
#define MVS_SLOTS        (MVS_AXIS_SLOTS + 2)

/* constant + sum of slot[i] * (index of slot i). */
typedef struct mvs_affine {
  int64_t constant;
  int64_t slot[MVS_SLOTS];
} mvs_affine;

/* Where an element of a tensor is read: one affine per axis. */
typedef struct mvs_index {
  mvs_affine axis[MVS_MAX_RANK];
} mvs_index;

typedef enum mvs_role {
  MVS_ROLE_NONE,
  MVS_ROLE_PARALLEL,
  MVS_ROLE_INNER,
  MVS_ROLE_SEQUENTIAL
} mvs_role;

typedef struct mvs_slot {
  mvs_role role;
  mvs_dim dim;
  int axis; /* of the nest's space, -1: of none */
} mvs_slot;

/* The axes of a nest. A nest is built anew with other axes when an operand asks for a change.
 */
typedef struct mvs_axes {
  mvs_slot slots[MVS_SLOTS]; /* axis slots in order of the space, slowest first */
  int count;                 /* axis slots in use */
  int inner;                 /* the slot with the role INNER */
  int64_t begin[MVS_MAX_RANK];
  int pieces;      /* ROWS: equal parts of the last axis; inner runs over one of them */
  bool row_is_cut; /* the nest has only some elements of each row */
} mvs_axes;

/* What an operand asked for when it could not be addressed: a cut of a slot. */
typedef struct mvs_wish {
  bool given;
  int slot;
  int64_t at; /* the first index of the second part */
} mvs_wish;

/* An instruction whose address or index is still a function of slots: axes may merge before
 * strides are written down. */
typedef struct mvs_draft_instr {
  mvs_instr instr;
  bool is_affine; /* the i32 value of `affine`; else it is the address of a LOAD or STORE */
  mvs_affine affine;
  bool reduced;          /* it is or follows a REDUCE */
  uint32_t before_batch; /* slots along which the address grows with the batch */
} mvs_draft_instr;

typedef struct mvs_draft {
  mvs_arena *arena;
  mvs_kernel_class nest_class;
  mvs_axes axes;
  MVS_LIST(mvs_draft_instr) instrs;
  const mvs_segments *segments; /* of the segment slot, NULL: not used */
  int segment_slot; /* ROWS: the slot that counts tokens; COLUMNS: segments; -1: none */
} mvs_draft;

/* The operands of a launch; the kernel holds their dtypes. */
typedef struct mvs_operand {
  uint32_t buffer;
  int64_t offset; /* bytes from the slot's start */
  bool per_layer;
  int64_t shift;
} mvs_operand;

typedef struct mvs_launch {
  mvs_kernel *kernel;
  mvs_operand operands[MVS_MAX_OPERANDS];
  bool full;         /* an operand had no room */
  bool slices_share; /* all slices of a value are one operand */
} mvs_launch;

/* --- build_affine.c --- */

/* A function that does not move. */
mvs_affine mvs_affine_constant(int64_t value);
/* a + factor * b. */
mvs_affine mvs_affine_add(const mvs_affine *a, const mvs_affine *b, int64_t factor);
/* Same constant and factors. */
bool mvs_affine_equal(const mvs_affine *a, const mvs_affine *b);
/* The slot if it is the only one in use, -1 when there is none, -2 when there are several. */
int mvs_affine_only_slot(const mvs_affine *affine);
/* Least and greatest value over all indices; greatest is huge when the batch takes part. */
void mvs_affine_range(const mvs_affine *affine, const mvs_axes *axes, int64_t *least,
                      int64_t *greatest);
/* Whether `affine` stays below `bound` (1), never goes below (0), or both happen (-1, with a
 * wish). */
int mvs_affine_below(const mvs_affine *affine, int64_t bound, const mvs_axes *axes,
                     mvs_wish *wish);
/* From the index of an element in shape `from` to its index in shape `to` (row-major order of
 * both is the same), where each axis of `to` is one or several of `from`. False elsewhere. */
bool mvs_index_reshape(const mvs_index *at, const mvs_type *from, const mvs_type *to,
                       mvs_index *out);

/* --- build_axes.c --- */

/* The axes of a nest plan before any wish. errors : MVS_ERR_INTERNAL when it sums by segment
 * over a space without segments */
mvs_status mvs_axes_start(const mvs_nest_plan *plan, mvs_kernel_class nest_class,
                          int64_t row_length, mvs_axes *out);
/* The index of axis `axis` of the space. */
mvs_affine mvs_axes_index(const mvs_axes *axes, int axis);
/* Divides the row into equal pieces so that a boundary at `at` falls between two of them. False
 * when the pieces would be too many. */
bool mvs_axes_refine(mvs_axes *axes, int64_t at);
/* Cuts a slot in two: *axes keeps the indices below `at`, *second gets the others. */
bool mvs_axes_cut(mvs_axes *axes, int slot, int64_t at, mvs_axes *second);

/* --- build_place.c: operands of a launch --- */

/* True when the kernel has so many operands that a slice shares one, behind whose start it then
 * is read. */
bool mvs_launch_shared(const mvs_launch *launch, const mvs_operand *operand,
                       const mvs_type *type, mvs_draft_instr *instr);
/* Remembers an operand, or finds the same one. -1 when the kernel has too many. */
int mvs_launch_operand(mvs_launch *launch, const mvs_operand *operand, mvs_dtype dtype,
                       uint8_t alignment);
/* The largest power of two, up to 8 elements, on which the operand of a value starts in every
 * layer: what a vector access may assume besides the strides. */
uint8_t mvs_operand_alignment(const mvs_schedule *schedule, mvs_id id,
                              const mvs_operand *operand);
/* The operand at `constant` elements from a place. */
mvs_operand mvs_place_operand(const mvs_place *place, mvs_dtype dtype, int64_t constant);

/* --- build_walk.c: from the graph to a draft --- */

/* Where a walk starts and what it fills. */
typedef struct mvs_walk {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_schedule *schedule;
  const mvs_nest_plan *plan;
  mvs_launch *launch; /* operands are added */
  mvs_draft draft;    /* its axes are given */
  /* After MVS_ERR_INTERNAL: what could not be addressed, why, and which other axes would help.
   */
  mvs_id failed;
  const char *reason;
  mvs_wish wish;
} mvs_walk;
/* Draws up the instructions of a nest plan over the axes of walk->draft.
 * errors : MVS_ERR_INTERNAL (the caller tells it, or grants the wish and tries again),
 * MVS_ERR_LIMIT (told in diag) */
mvs_status mvs_walk_nest(mvs_walk *walk);

/* --- build_emit.c: from a draft to a nest --- */

/* Merges axes that every access walks as one, chooses the inner axis, works out levels and
 * phases and writes the nest. errors : MVS_ERR_INTERNAL when the axes do not fit a nest;
 * *reason says why */
mvs_status mvs_draft_emit(mvs_draft *draft, mvs_nest *out, const char **reason);

/* --- build_nest.c: groups of nests --- */

/* Builds the kernel of a ROWS or COLUMNS group and the operands of its launch. */
mvs_status mvs_nests_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                           const mvs_group *group, mvs_launch *launch);

/* --- build.c --- */

/* As mvs_kernel_build, with the operands of the launch. */
mvs_status mvs_launch_build(mvs_arena *arena, mvs_diag *diag, const mvs_schedule *schedule,
                            const mvs_group *group, mvs_launch **out);

#endif
