/* graph.h: the tensor graph. Append-only, topologically ordered (inputs have smaller ids),
 * nodes interned: the same op, inputs, attribute and pass give the same id. Nodes never move or
 * change.
 * Owner: the arena given to mvs_graph_new.
 * Failure: mvs_graph_add asserts on its own callers' mistakes; the front end checks user shapes
 * first through mvs_graph_infer, which explains in the diag. */
#ifndef MVS_IR_GRAPH_H
#define MVS_IR_GRAPH_H

#include "compiler/ir/node.h"

struct mvs_region;
struct mvs_module;

typedef struct mvs_graph mvs_graph;

/* An empty graph of `module`. For a region's body, `region` is its region, else NULL. */
mvs_graph *mvs_graph_new(mvs_arena *home, struct mvs_module *module, struct mvs_region *region);
/* The module of a graph. */
struct mvs_module *mvs_graph_module(const mvs_graph *graph);
/* The enclosing region, NULL at the top. */
struct mvs_region *mvs_graph_region(const mvs_graph *graph);
/* The arena that owns it. */
mvs_arena *mvs_graph_arena(const mvs_graph *graph);
/* Number of nodes; ids run from 0. */
mvs_id mvs_graph_size(const mvs_graph *graph);
/* A node; the pointer stays valid for the graph's life. */
const mvs_node *mvs_graph_node(const mvs_graph *graph, mvs_id id);
/* The type of a node. */
const mvs_type *mvs_graph_type(const mvs_graph *graph, mvs_id id);

/* Works out the type an op would have, by its shape rule.
 * errors : MVS_ERR_SHAPE, explained at `span` in diag (which may be NULL: no words then) */
mvs_status mvs_graph_infer(const mvs_graph *graph, mvs_op op, const mvs_id *inputs, int count,
                           const mvs_attr *attr, mvs_span span, mvs_diag *diag, mvs_type *out);
/* Adds a node, or finds the one interned. Asserts that its types fit. attr may be NULL for
 * none. */
mvs_id mvs_graph_add(mvs_graph *graph, mvs_op op, const mvs_id *inputs, int count,
                     const mvs_attr *attr, mvs_span span);
/* The interned node with the op, inputs, attribute, type and pass of `key`, or MVS_NONE. */
mvs_id mvs_graph_find(const mvs_graph *graph, const mvs_node *key);
/* Sets the pass that nodes added from now on carry (the recompute mark). */
void mvs_graph_set_pass(mvs_graph *graph, uint8_t pass);
/* Sets the name of the rewrite that nodes added from now on carry. */
void mvs_graph_set_rule(mvs_graph *graph, const char *rule);
/* The type of result `index` of a HEAVY node with several results; index 0 of any other is its
 * type. */
mvs_type mvs_node_result_type(const mvs_graph *graph, mvs_id id, uint32_t index);
/* Number of results of a node (1 for all but attention, attention_grad and region). */
uint32_t mvs_node_result_count(const mvs_graph *graph, mvs_id id);

/* Named results of a top-level graph, or the results of a region's body (see region.h). */
typedef struct mvs_result {
  const char *name;
  mvs_id id;
} mvs_result;
typedef MVS_LIST(mvs_result) mvs_results;
/* The result list; passes append to it and replace it. */
mvs_results *mvs_graph_results(mvs_graph *graph);
/* The same, to read only. */
const mvs_results *mvs_graph_result_list(const mvs_graph *graph);

/* What a marked value is to the update that it belongs to: what diagnostics ask for. */
typedef enum mvs_mark_kind {
  MVS_MARK_STREAM,          /* x before the update */
  MVS_MARK_BRANCH,          /* f, what the rule adds to it */
  MVS_MARK_QUERY,           /* of an attention inside the branch */
  MVS_MARK_KEY,
  MVS_MARK_READ,            /* what a writer multiplies */
  MVS_MARK_WRITTEN,         /* its product, before anything is added to it */
  MVS_MARK_WEIGHT,          /* the writer itself */
  MVS_MARK_DELTA,           /* in a backward body: the cotangent of WRITTEN */
  MVS_MARK_WEIGHT_GRADIENT, /* the cotangent of WEIGHT */
  MVS_MARK_COUNT
} mvs_mark_kind;

/* A name for a value that diagnostics look at. It is no use of the value: passes carry it to
 * whatever the value becomes, and it is gone where the value is. So marks change no graph. */
typedef struct mvs_mark {
  mvs_mark_kind kind;
  uint32_t site; /* index into the module's sites */
  mvs_id id;
} mvs_mark;
typedef MVS_LIST(mvs_mark) mvs_marks;
/* The marks of a graph, in the order of marking. */
const mvs_marks *mvs_graph_marks(const mvs_graph *graph);
/* Marks a value; the same twice is once. */
void mvs_graph_add_mark(mvs_graph *graph, mvs_mark_kind kind, uint32_t site, mvs_id id);
/* The value of that kind and site, or MVS_NONE. */
mvs_id mvs_graph_marked(const mvs_graph *graph, mvs_mark_kind kind, uint32_t site);

/* --- shorthands used by all builders --- */

/* One f32 number. */
mvs_id mvs_build_constant(mvs_graph *graph, double value);
/* An op without attribute on one value. */
mvs_id mvs_build_unary(mvs_graph *graph, mvs_op op, mvs_id a, mvs_span span);
/* The same on two values. */
mvs_id mvs_build_binary(mvs_graph *graph, mvs_op op, mvs_id a, mvs_id b, mvs_span span);
/* A cast, also to the dtype it has: simplify drops those. */
mvs_id mvs_build_cast(mvs_graph *graph, mvs_id a, mvs_dtype dtype, mvs_span span);
/* The sum over the axes whose bits are set. */
mvs_id mvs_build_sum(mvs_graph *graph, mvs_id a, uint32_t axes_mask, mvs_span span);
/* The same elements as `type` shapes them; its dtype is ignored. */
mvs_id mvs_build_reshape(mvs_graph *graph, mvs_id a, const mvs_type *type, mvs_span span);
/* `length` elements from `start` on; segments are those of the result's token axis or NULL. */
mvs_id mvs_build_slice(mvs_graph *graph, mvs_id a, int axis, int64_t start, int64_t length,
                       const mvs_segments *segments, mvs_span span);
/* The parts one after the other along an axis. */
mvs_id mvs_build_concat(mvs_graph *graph, const mvs_id *parts, int count, int axis,
                        const mvs_segments *segments, mvs_span span);
/* One result of an op that has several. */
mvs_id mvs_build_get(mvs_graph *graph, mvs_id tuple, uint32_t index, mvs_span span);
/* A product; `bias` may be MVS_NONE. */
mvs_id mvs_build_matmul(mvs_graph *graph, mvs_matmul_form form, mvs_id a, mvs_id b, mvs_id bias,
                        mvs_dtype dtype, mvs_span span);

#endif
