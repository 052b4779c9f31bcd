/* reference.h: the meaning of every op, in float64 on the host, written to be obviously right
 * and never to be fast. The printers are tested against it, and gradients against finite
 * differences of it. Owner: the arena of the call; tensors given to it are only read. Failure:
 * mvs_status, details in diag. */
#ifndef MVS_TESTS_REFERENCE_H
#define MVS_TESTS_REFERENCE_H

#include "compiler/ir/module.h"

/* Values in row-major order; an axis of the batch has size * batch elements. Integers are
 * doubles too. The dtype says what the program would store. */
typedef struct mvs_tensor {
  mvs_type type;
  double *data;
} mvs_tensor;

typedef struct mvs_named_tensor {
  const char *name;
  mvs_tensor tensor;
} mvs_named_tensor;

/* Inputs by their names, parameters by those of the module ("blocks.{i}.w" with the layers in
 * front), results by theirs. */
typedef MVS_LIST(mvs_named_tensor) mvs_tensor_map;

typedef struct mvs_reference_options {
  bool round_bf16; /* values of type bf16 are rounded to it; else dtypes change nothing */
  bool round_f32;  /* the same of f32 */
  mvs_diag *diag;  /* may be NULL: no words then */
  uint64_t noise;  /* not 0: values are moved as rounding may move them, by draws that follow
                      from this number (rounding.c): how far apart results of several runs are
                      is how well the function can be computed at all */
  bool noise_f64;  /* with noise: as rounding to float64 may move them, which this evaluation
                      does itself */
  double *largest; /* with noise: becomes the largest size of a computed value, if larger */
} mvs_reference_options;

/* Evaluates a top-level graph for `batch` samples.
 * options : NULL for none
 * results : one entry for each result of the graph, appended; behind them, for each gradient
 *           "g/PACK" of a pack, those of its parts
 * errors  : MVS_ERR_NAME, MVS_ERR_SHAPE when something is not given or has another shape */
mvs_status mvs_reference_run(mvs_arena *arena, const mvs_graph *graph, int64_t batch,
                             const mvs_tensor_map *given, const mvs_reference_options *options,
                             mvs_tensor_map *results);

/* Copies a part of a pack, all layers of it, into the pack's values or out of them. */
void mvs_reference_part(const mvs_module *module, const mvs_param *part, double *pack,
                        double *values, bool out);
/* Elements of a tensor. */
int64_t mvs_tensor_count(const mvs_tensor *tensor, int64_t batch);
/* A tensor of zeros. */
mvs_tensor mvs_tensor_new(mvs_arena *arena, const mvs_type *type, int64_t batch);
/* Adds a tensor, or replaces the one of that name. */
void mvs_tensor_map_set(mvs_arena *arena, mvs_tensor_map *map, const char *name,
                        mvs_tensor tensor);
/* The tensor of that name, or NULL. */
mvs_tensor *mvs_tensor_map_find(const mvs_tensor_map *map, const char *name);
/* The nearest bf16, ties to even. */
double mvs_reference_bf16(double value);
/* One draw, by the contract of docs/numerics.md. */
double mvs_reference_random(mvs_random_kind kind, uint32_t seed, uint32_t stream,
                            uint32_t position, uint32_t sample, uint32_t step);
/* Philox-4x32-10: counter becomes the result. */
void mvs_reference_philox(uint32_t counter[4], const uint32_t key[2]);

/* Fills every named input of the graph and every parameter it uses that is not yet in the map
 * with values in [-1, 1) that follow from the name and `seed`; integers become 0, 1, 2, ... */
void mvs_reference_fill(mvs_arena *arena, const mvs_graph *graph, int64_t batch, uint32_t seed,
                        mvs_tensor_map *map);

/* A gradient to be checked: that of the scalar result `value` of `function` in `variable`,
 * which `gradient` of `grad` claims to be. Both graphs get the same tensors. */
typedef struct mvs_gradient_case {
  const mvs_graph *function;
  const char *value;
  const mvs_graph *grad;
  const char *gradient;
  const char *variable; /* an input or parameter */
  int64_t batch;
  const mvs_tensor_map *given;
  double step;  /* of the central difference; 0 means 1e-5 */
  int64_t most; /* elements probed, spread evenly; 0 means all */
} mvs_gradient_case;

typedef struct mvs_gradient_report {
  int64_t probed;
  double scale;               /* the largest difference quotient or claimed derivative */
  double worst;               /* the largest distance between the two, over the scale */
  int64_t element;            /* where that was, */
  double difference, claimed; /* and both values there */
} mvs_gradient_report;

/* Compares a gradient with central differences in float64.
 * errors : those of mvs_reference_run; MVS_ERR_NAME for an unknown variable or result */
mvs_status mvs_reference_check_gradient(mvs_arena *arena, const mvs_gradient_case *check,
                                        mvs_diag *diag, mvs_gradient_report *report);

#endif
