/* fuse.h: what the fuse_*.c files share. Not for other folders.
 *
 * How a graph becomes kernels:
 *   values   what each node is, which nodes must lie in memory (fuse_values.c)
 *   levels   when each value can be there, counted in kernels from the start; on the way,
 *            values that cannot be computed inside their users get a place (fuse_levels.c)
 *   kernels  stored values of one level and one space make one kernel (fuse_kernels.c)
 *   merge    kernels wait for later ones of their space where nothing needs them before
 *            (fuse_merge.c); values that several kernels would compute again get a place where
 *            that moves fewer bytes (fuse_share.c); kernels that run side by side anyway become
 *            nests of one launch (mvs_fuse_gather)
 * Levels keep it free of cycles: a kernel loads only what kernels of lower levels stored.
 *
 * The merge of a branch with its mean and the norm of it, h, w and x given, y the result:
 *                                   kind     level  outside  made by
 *   %f = matmul NT %h, %w           HEAVY      1       1     MATMUL, level 0
 *   %m = segment_mean %f            COLUMN     2       2     COLUMNS, level 1
 *   %b = segment_broadcast %m       VIEW       2       2     (an address)
 *   %z = add %x, %b                 ELEMENT    2       2     whoever takes it
 *   %r = inv_rms %z                 ROW        2      (3)    ROWS, level 2
 *   %y = normalize %z, %r           ELEMENT    2       3     the same, which stores it
 * Another kernel of these rows could compute %y for itself, at level 2. One of another space
 * does not hold the rows that %r reduces: it loads %y, or %r where that has a place too. */
#ifndef MVS_PASSES_FUSE_H
#define MVS_PASSES_FUSE_H

#include "compiler/passes/plan.h"

typedef enum mvs_value_kind {
  MVS_VALUE_UNUSED,
  MVS_VALUE_FREE,   /* constant, iota, the layer's number: computed where it is used */
  MVS_VALUE_PLACED, /* input, parameter, argument: has its place from outside */
  MVS_VALUE_TUPLE,  /* attention, its gradient, region: results are taken by get */
  MVS_VALUE_HEAVY,  /* matmul, and get of a tuple */
  MVS_VALUE_ALIAS, /* reshape; slice of whole outer rows of a placed value, or of what attention
                      reads row by row */
  MVS_VALUE_CONCAT,  /* a buffer whose parts are stored by their own kernels */
  MVS_VALUE_ELEMENT, /* computed per element */
  MVS_VALUE_VIEW,    /* changes the address: slice, transpose, segment to token, inner concat */
  MVS_VALUE_ROW,     /* reduction over the last axis */
  MVS_VALUE_COLUMN   /* reduction over another axis or over segments */
} mvs_value_kind;

typedef struct mvs_value {
  mvs_value_kind kind;
  bool stored;   /* has a place in memory */
  bool apart;    /* stored because kernels that take it cannot compute it */
  uint32_t uses; /* by needed nodes and results */
  mvs_id root;   /* the value whose bytes it names; itself but for an ALIAS */
  /* While computed inside its own space: the level of a kernel that does so. */
  int level;
  /* The lowest level of a kernel of another space that takes it (loading what is stored). */
  int outside;
  const mvs_type *rows;      /* shape of the operand of row reductions it depends on, or NULL */
  const mvs_segments *table; /* of segment views it depends on, or NULL */
  /* Inner concats and pieces of rows cut the last axis of its space into equal parts of so many
   * elements; the whole extent when nothing cuts it. */
  int64_t grain;
  int chain;  /* row reductions, one behind the other, in a kernel that computes it */
  int kernel; /* that stores it, or -1 */
} mvs_value;

typedef MVS_LIST(mvs_id) mvs_id_list;

typedef struct mvs_fuse_kernel {
  mvs_group_class group_class;
  int level;
  const mvs_type *space; /* ROWS, COLUMNS */
  uint32_t reduced_axes;
  bool by_segment;
  const mvs_segments *table; /* of segment views inside, or NULL */
  int64_t grain;             /* of the last axis, as of values */
  mvs_id heavy;              /* HEAVY classes, else MVS_NONE */
  mvs_id_list sinks;         /* stored here, in id order */
  mvs_id_list leaves, interior;
  int into;  /* merged into that kernel, or -1 */
  int group; /* kernels of one group run as nests of one launch */
} mvs_fuse_kernel;

typedef struct mvs_fuse {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_graph *graph;
  mvs_id size;
  mvs_value *values;
  MVS_LIST(mvs_fuse_kernel) kernels;
  uint32_t *stamps; /* per node: the last walk that met it */
  uint32_t walk;
} mvs_fuse;

/* Works out kinds, uses, roots and what must be stored. The graph may get `get` nodes for
 * results of attention that nobody takes, because the kernel writes them all the same.
 * errors : MVS_ERR_INTERNAL for a sum over several axes */
mvs_status mvs_fuse_values(mvs_fuse *fuse);
/* Works out levels, row spaces and segment tables; stores what has to be stored for that. */
void mvs_fuse_levels(mvs_fuse *fuse);
/* Gives every stored value a kernel and finds what each kernel computes and loads. */
void mvs_fuse_kernels(mvs_fuse *fuse);
/* Lets kernels wait for later ones of their space, and puts nests of one launch together. */
void mvs_fuse_merge(mvs_fuse *fuse);
/* Stores values that several kernels would compute again, where that moves fewer bytes. */
void mvs_fuse_share(mvs_fuse *fuse);
/* Kernels that feed one heavy op, or reduce the same values, become nests of one launch. */
void mvs_fuse_gather(mvs_fuse *fuse);

/* --- helpers over values and kernels --- */

/* Elements of the last axis; 1 for rank 0 and a batch axis. */
int64_t mvs_type_last_extent(const mvs_type *type);
/* True for kinds that a kernel computes inside: not yet stored ones have no place. */
bool mvs_value_is_computed(const mvs_value *value);
/* True for a slice that lies in one stretch: its outer axes all have extent 1. */
bool mvs_slice_is_contiguous(const mvs_node *node);
/* True for a reduction over axes of extent 1: its result is its operand. */
bool mvs_reduces_nothing(const mvs_graph *graph, const mvs_node *node);
/* Marks a value as stored; an alias passes the mark to its root. */
void mvs_fuse_store(mvs_fuse *fuse, mvs_id id);
/* The space in which a node is computed: its rows or its own shape. */
const mvs_type *mvs_fuse_space(const mvs_fuse *fuse, mvs_id id);
/* Walks anew: stamps of earlier walks no longer count. */
void mvs_fuse_walk(mvs_fuse *fuse);
/* True the first time that the walk meets the node. */
bool mvs_fuse_meets(mvs_fuse *fuse, mvs_id id);
/* True when the kernel loads the value rather than computing it. */
bool mvs_fuse_is_loaded(const mvs_fuse *fuse, int kernel, mvs_id id);
/* Finds what the kernel computes and loads, from its sinks down. */
void mvs_fuse_cone(mvs_fuse *fuse, int kernel);
/* Walks anew and stamps what the kernel takes at another index than its own, through a view. A
 * kernel that computes such a value for itself as well would compute it twice, or reduce no
 * whole rows. */
void mvs_fuse_stamp_moved(mvs_fuse *fuse, const mvs_fuse_kernel *kernel);
/* True when both could be one nest, levels aside. */
bool mvs_fuse_same_nest(const mvs_fuse_kernel *a, const mvs_fuse_kernel *b);
/* True when both together have few enough operands for one kernel. */
bool mvs_fuse_has_room(mvs_fuse *fuse, const mvs_fuse_kernel *a, const mvs_fuse_kernel *b);
/* Moves the sinks of one kernel into another. */
void mvs_fuse_join(mvs_fuse *fuse, int from, int into);
/* What mvs_fuse_producers calls: `producer` is the index of a kernel. */
typedef void mvs_fuse_visit(void *context, int producer);
/* Calls `visit` with every kernel that must have run before the value can be loaded. */
void mvs_fuse_producers(mvs_fuse *fuse, mvs_id id, mvs_fuse_visit *visit, void *context);
/* Bytes of a value at the batch that choices are made for. */
int64_t mvs_fuse_bytes(const mvs_fuse *fuse, mvs_id id);

/* How a shape lies in a row space. */
typedef enum mvs_row_fit {
  MVS_ROW_NONE,  /* not at all */
  MVS_ROW_FULL,  /* the same shape */
  MVS_ROW_PART,  /* the last axis is a piece of the row */
  MVS_ROW_SCALAR /* one per row: the last axis has extent 1 */
} mvs_row_fit;
/* The best fit: an axis of extent 1 in both counts as FULL. */
mvs_row_fit mvs_type_row_fit(const mvs_type *rows, const mvs_type *type);

#endif
