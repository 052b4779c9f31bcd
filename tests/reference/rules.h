/* rules.h: inside of the reference evaluator: one evaluation rule per row of ops.def. */
#ifndef MVS_TESTS_RULES_H
#define MVS_TESTS_RULES_H

#include "tests/reference/reference.h"

/* What one call of mvs_reference_run holds constant. */
typedef struct mvs_evaluation {
  int64_t batch;
  const mvs_tensor_map *given;
  mvs_reference_options options;
} mvs_evaluation;

/* One layer's view of a region; NULL at the top. */
typedef struct mvs_layer {
  const mvs_region *region;
  int64_t number;
  const mvs_tensor *carried;
  const mvs_tensor *invariants;
  const mvs_tensor *stacked; /* whole, with the layer axis */
  const mvs_tensor *outputs; /* the same, filled as far as layers have run */
} mvs_layer;

/* One op to evaluate. results are allocated with their types; a rule may also point one at
 * values that exist. */
typedef struct mvs_evaluate_call {
  const mvs_evaluation *evaluation;
  mvs_arena *arena;
  const mvs_graph *graph;
  const mvs_layer *layer;
  const mvs_node *node;
  const mvs_tensor *const *inputs; /* of input i, all its results */
  mvs_tensor *results;
} mvs_evaluate_call;

typedef mvs_status mvs_evaluate_rule(const mvs_evaluate_call *call);
#define MVS_OP(id, least, most, class, attribute) mvs_evaluate_rule mvs_evaluate_##id;
#include "compiler/ir/ops.def"
#undef MVS_OP

/* With options.noise: the value as rounding may leave it where numbers of that size were added;
 * else the value. */
double mvs_evaluate_moved(const mvs_evaluate_call *call, double value, double size);
/* With options.noise: copies of what a sum takes, moved as rounding may move the terms; */
void mvs_evaluate_move_terms(mvs_evaluate_call *call);
/* and results moved as rounding may move them. */
void mvs_evaluate_move_results(const mvs_evaluate_call *call, uint32_t count);

/* Evaluates all nodes of a graph; `values` gets one array of results per node. */
mvs_status mvs_evaluate_graph(const mvs_evaluation *evaluation, mvs_arena *arena,
                              const mvs_graph *graph, const mvs_layer *layer,
                              mvs_tensor ***values);

/* The extent of an axis for this batch. */
int64_t mvs_evaluate_extent(const mvs_evaluate_call *call, const mvs_tensor *tensor, int axis);
/* The coordinates of an element. */
void mvs_evaluate_unravel(const mvs_evaluate_call *call, const mvs_tensor *tensor, int64_t flat,
                          int64_t *index);
/* The element at coordinates of a tensor of rank `rank`, seen under right-aligned broadcasting.
 */
int64_t mvs_evaluate_ravel(const mvs_evaluate_call *call, const mvs_tensor *tensor,
                           const int64_t *index, int rank);
/* Elements of the first result. */
int64_t mvs_evaluate_count(const mvs_evaluate_call *call);

#endif
