/* memory.h: what the memory*.c files share. Not for other folders.
 *
 * Slots. A buffer has `slots` equal slots behind one another; layer l uses slot
 * (l + shift) mod slots. For a region of `count` layers:
 *
 *                                forward: 0, 1, ...    reverse: count-1, ..., 0
 *   carried   initial value      slot 0                slot count
 *             argument           shift 0               shift 1
 *             result             shift 1               shift 0
 *             final value        slot count            slot 0
 *   stacked output               shift D               shift 0
 *   read of it at distance d     shift D - d           shift d
 *   cleared slots                0 .. D-1              count .. count+D-1
 *
 * D is the longest distance at which the output is read, 0 where it is not; cleared slots stand
 * for layers that do not exist. Forward with D = 1, layer 2 stores in slot 3, and layer 3 reads
 * at distance 1 in slot 3; layer 0 reads slot 0, which is cleared. A carried value with two
 * slots goes to and fro between them, since argument and result are one slot apart.
 *
 * A carried value that is held (held.h) has one slot, in which it stays.
 *
 * A forward stacked output that is the carried argument or result has no buffer of its own: it
 * is the carried buffer at shift 0 or 1, whose slots are then all kept. One that is a read, as
 * the backward pass asks for, is the buffer of what is read at the read's shift, all kept. */
#ifndef MVS_PASSES_MEMORY_H
#define MVS_PASSES_MEMORY_H

#include "compiler/passes/plan.h"

/* A place that a value must be stored in, besides or instead of one of its own. */
typedef enum mvs_target_kind {
  MVS_TARGET_FINAL,   /* result of the graph: carried, stacked, function result */
  MVS_TARGET_INITIAL, /* first slot of a carried value; `region` takes it */
  MVS_TARGET_PART     /* place in a concat */
} mvs_target_kind;

typedef struct mvs_target {
  mvs_target_kind kind;
  mvs_place place;
  mvs_id user;  /* the region (INITIAL) or concat (PART) */
  mvs_id until; /* the region that overwrites the place, or MVS_NONE */
} mvs_target;

typedef MVS_LIST(mvs_target) mvs_target_list;

/* A store that no nest does yet. */
typedef struct mvs_copy {
  mvs_id id;
  mvs_target target;
} mvs_copy;

/* A second place of a stacked output, per layer, inside. */
typedef struct mvs_extra_output {
  uint32_t output;
  mvs_place place;
} mvs_extra_output;

/* What a region's parts are placed as; indices as in the region. */
typedef struct mvs_region_layout {
  mvs_id node; /* in the outer graph */
  struct mvs_region *region;
  mvs_schedule *body;
  uint32_t home;         /* number of the region in the function */
  uint32_t *carried;     /* buffers */
  bool *held;            /* carried values that are: one slot each, see held.h */
  mvs_place *invariants; /* as seen inside */
  mvs_place *stacked;
  mvs_place *outputs; /* stored there; buffer UINT32_MAX: nobody wants it */
  int64_t *distances; /* per stacked output: longest read, 0: none */
  int *shares;        /* per stacked output: the carried value whose buffer it has, -1 */
  int *passed;        /* per stacked output: the read that it merely passes on, -1 */
  MVS_LIST(mvs_extra_output) extras; /* stacked outputs that are stored once more */
} mvs_region_layout;

typedef struct mvs_layout {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_module *module;
  mvs_function_plan *function;
  MVS_LIST(mvs_region_layout *) regions; /* of the function, numbered as in the plan */
} mvs_layout;

/* Layout of one graph. */
typedef struct mvs_graph_layout {
  mvs_layout *layout;
  mvs_schedule *schedule;
  const mvs_graph *graph;
  mvs_id size;
  mvs_region_layout *inside; /* the region whose body it is, or NULL */
  mvs_target_list *targets;  /* per node */
  bool *whole;               /* per root: must lie in one stretch */
  bool *heads;               /* per node: attention reads or writes it, by rows of heads */
  bool *fixed;               /* per node: regions read it, so it needs a place without layers */
  int *writer;               /* per node: the group that stores it in its place, -1: none */
  int *last_reader;          /* per root: the last group that loads it, -1: none */
  MVS_LIST(mvs_region_layout *) regions; /* run by this graph, in its order */
  MVS_LIST(mvs_copy) copies;
} mvs_graph_layout;

/* --- memory.c --- */
/* Adds a buffer for values of that type: `slots` slots. */
uint32_t mvs_layout_buffer(mvs_layout *layout, mvs_buffer_kind kind, const mvs_type *type,
                           int64_t slots);
/* The place at the start of a buffer, row-major. */
mvs_place mvs_place_whole(uint32_t buffer, const mvs_type *type);
/* The same for one slot, chosen by the layer. */
mvs_place mvs_place_slot(uint32_t buffer, const mvs_type *type, int64_t shift);
/* Gives every materialised value of a graph its place. `inside` is the region whose body it is,
 * or NULL.
 * errors : MVS_ERR_INTERNAL when a place cannot be expressed */
mvs_status mvs_layout_graph(mvs_layout *layout, mvs_schedule *schedule,
                            mvs_region_layout *inside);
/* Asks for a value in a place; aliases hand the wish to their root where it fits. */
void mvs_layout_want(mvs_graph_layout *g, mvs_id id, mvs_target target);
/* What mvs_group_loads calls. */
typedef void mvs_load_visit(void *context, mvs_id root);
/* The node of a group that is a region or another heavy op has inputs; nests have leaves. Calls
 * `visit` with the root of everything that the group loads; concats that no kernel stores are
 * followed by their parts. */
void mvs_group_loads(const mvs_schedule *schedule, const mvs_group *group,
                     mvs_load_visit *visit, void *context);

/* --- memory_region.c --- */
/* Numbers the regions of a function and its bodies. */
void mvs_regions_number(mvs_layout *layout, mvs_schedule *schedule);
/* The layout of a region. */
mvs_region_layout *mvs_region_layout_of(const mvs_layout *layout,
                                        const struct mvs_region *region);
/* Makes the carried buffers of a graph's regions and wants their initial values there. */
void mvs_regions_start(mvs_graph_layout *g);
/* Places a result of a region in the outer graph and says where the body stores it. */
mvs_status mvs_region_result(mvs_graph_layout *g, mvs_id get);
/* Says where the body finds its arguments, once the outer graph has its places. */
mvs_status mvs_region_arguments(mvs_graph_layout *g, mvs_region_layout *region);
/* The place of an argument node of a body. */
mvs_place mvs_region_argument_place(const mvs_region_layout *region, const mvs_node *node);
/* Where the body must store its result `index`; buffer UINT32_MAX: nowhere in particular. */
mvs_place mvs_region_result_place(const mvs_region_layout *region, size_t index);

/* --- memory_copy.c --- */
/* Lists where every output is stored, adds the second places to the nests that compute the
 * values and groups for copies. */
void mvs_copies_insert(mvs_graph_layout *g);
/* The first group that loads the value or a concat that holds it; the number of groups when
 * none does. */
size_t mvs_first_reader(const mvs_graph_layout *g, mvs_id root);

/* --- memory_live.c --- */
/* Keeps a carried value for all layers: for the backward pass, or whole for others too. */
void mvs_layout_keep_carried(const mvs_layout *layout, const mvs_region_layout *region,
                             uint32_t index, bool whole);
/* Decides slots, marks groups to redo and finds live ranges. */
void mvs_layout_lives(mvs_layout *layout);

/* --- memory_redo.c --- */
/* Marks the groups that have to run again when blocks of the region are redone, and lists for
 * every value that then is not kept which of them make it. Nothing where no region redoes it.
 */
void mvs_layout_redo(const mvs_layout *layout, const mvs_region_layout *region);

#endif
