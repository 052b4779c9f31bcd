/* ops_suite.h: small functions through the whole back end, against the float64 reference.
 *
 * A suite is one module. A test adds functions (cases) to it, compiles them together and checks
 * each at a batch: the results of one and of two threads, and of kept and redone blocks, have
 * the same bits; they are near the reference; nothing outside the results is written. Fresh
 * memory of the device is full of NaN, so that what reads more than was written shows.
 * Owner: the suite has an arena of its own, ended by ops_suite_free.
 * Failure: a wrong result is told and counted, so that one run names all wrong cases;
 * ops_suite_end fails the test then. Failures of the compiler fail it at once. */
#ifndef MVS_TESTS_OPS_SUITE_H
#define MVS_TESTS_OPS_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "codegen/host/host.h"
#include "runtime/executor.h"
#include "tests/reference/reference.h"

/* How far an element may be from the reference: each * |wanted| + whole * max(1, the largest
 * |wanted| of the tensor). */
typedef struct ops_tolerance {
  double each, whole;
  const char *reason;
} ops_tolerance;

/* One function of the module. Inputs and parameters lie in [low, high]. */
typedef struct ops_case {
  const char *name;
  const mvs_graph *graph;  /* as it was built, the meaning */
  const mvs_graph *rounds; /* NULL: it says what is rounded, too; else that one does */
  ops_tolerance tolerance;
  double low, high;
} ops_case;

typedef struct ops_suite {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_module *module;
  mvs_compilation compilation;
  MVS_LIST(ops_case) cases;
  mvs_graph *graph; /* of the function being built */
  mvs_span span;
  const char *level; /* instruction set that it was compiled for; NULL: this machine's best */
  bool few;          /* builders may leave out shapes: the other level was tried with all */
  bool quick;        /* machine code that is fast to make and slow to run; the same bits */
  bool measured;     /* instead of tolerances: what rounding is seen to do (ops_margins.h) */
  bool every_plan;   /* also each number of values redone between none and all */
  mvs_build *build;
  mvs_dtype storage; /* of what composites store */
  int shape;         /* shared shape that stacks have */
  const char *stack; /* what their names begin with, where a function has several */
  mvs_id total;      /* of a loss with several parts; MVS_NONE: none so far */
  bool loss;         /* the function being built is "loss" */
  int failures;
  bool beyond;  /* of measured tolerances: some case has values that f32 cannot hold */
  double worst; /* of measured tolerances: the largest share of what was allowed */
  /* for the functions added from now on */
  ops_tolerance tolerance;
  double low, high;
} ops_suite;

/* An empty suite with exact tolerance and inputs in [-1, 1]. */
ops_suite *ops_suite_new(void);
void ops_suite_free(ops_suite *s);
/* Fails the test when a case was wrong, and frees the suite. */
void ops_suite_end(ops_suite *s);
/* Starts a function; its name is formatted. */
void ops_function(ops_suite *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Names a result of it. */
void ops_result(ops_suite *s, const char *name, mvs_id id);
/* Fails the test with the words of the diag unless the status is MVS_OK. */
void ops_good(ops_suite *s, mvs_status status, const char *after);
/* Compiles the module as it stands: fuse, schedule, memory, kernels, machine code. */
void ops_compile_raw(ops_suite *s);
/* Compiles it through all passes, "loss" becoming "grad". */
void ops_compile(ops_suite *s);
/* Checks one case, or all, at a batch. */
void ops_check_case(ops_suite *s, const ops_case *each, int64_t batch);
void ops_check(ops_suite *s, int64_t batch);
/* The same at batches 1, 2, 3 and 5. */
void ops_check_batches(ops_suite *s);
/* Checks that one, two and three threads give the same bits, at a batch large enough that
 * kernels are divided among them. */
void ops_check_threads(ops_suite *s, int64_t batch);
/* Checks that two functions give the same bits for the results whose names both have. */
void ops_check_same_bits(ops_suite *s, const char *a, const char *b, int64_t batch);
/* After ops_compile: checks the meaning of "grad" against finite differences of the graph that
 * "loss" was, in float64, at `most` elements of each parameter. */
void ops_check_gradients(ops_suite *s, const mvs_graph *loss, int64_t batch, int64_t most);
/* Adds a case for a function that lowering made, or, with NULL for its graph, for one that a
 * pass will make. */
void ops_add_case(ops_suite *s, const char *name, const mvs_graph *graph);
/* Fills the inputs and parameters of a graph as a case gets them. */
void ops_fill(mvs_arena *arena, const ops_case *each, int64_t batch, mvs_tensor_map *given);
/* True when this machine runs the suite's instruction set. */
bool ops_level_runs(const char *level);

/* --- words for building; all add to the suite's current graph --- */

/* A type; extent 0 stands for the batch, and extents end at the rank. */
mvs_type ops_type(mvs_dtype dtype, int rank, const int64_t *extents);
/* One of several divisions of a token axis: by segments of these lengths, ended by 0. */
const mvs_segments *ops_segments(ops_suite *s, const int *lengths);
/* [B, T, inner] with segments. */
mvs_type ops_tokens(ops_suite *s, mvs_dtype dtype, const int *lengths, int64_t inner);
mvs_id ops_input(ops_suite *s, const char *name, mvs_type type);
mvs_id ops_param(ops_suite *s, const char *name, int rank, const int64_t *extents);
/* One per layer; the name holds {i}. The value has the layer's axis in front. */
mvs_id ops_stacked_param(ops_suite *s, const char *name, int64_t layers, int rank,
                         const int64_t *extents);
/* A parameter where a loss is built, else an input. */
mvs_id ops_weight(ops_suite *s, const char *name, int rank, const int64_t *extents);
/* Starts "loss"; `y` of any shape then becomes its result. */
const mvs_graph *ops_loss_start(ops_suite *s);
void ops_loss(ops_suite *s, mvs_id y);
mvs_id ops_constant(ops_suite *s, mvs_dtype dtype, double value);
/* An op of any number of inputs, ended by MVS_NONE. */
mvs_id ops_node(ops_suite *s, mvs_op op, const mvs_attr *attr, ...);
mvs_id ops_unary(ops_suite *s, mvs_op op, mvs_id a);
mvs_id ops_binary(ops_suite *s, mvs_op op, mvs_id a, mvs_id b);
mvs_id ops_cast(ops_suite *s, mvs_id a, mvs_dtype dtype);
mvs_id ops_sum(ops_suite *s, mvs_id a, uint32_t mask);
mvs_id ops_slice(ops_suite *s, mvs_id a, int axis, int64_t start, int64_t length);
mvs_id ops_reshape(ops_suite *s, mvs_id a, int rank, const int64_t *extents);
mvs_id ops_transpose(ops_suite *s, mvs_id a, const int *axes);
/* Segment lengths that tests share, each ended by 0. */
extern const int ops_lengths[][5];
#define OPS_LENGTHS 7
/* The token shapes that tests share: which lengths, how many features. */
typedef struct ops_shape {
  int lengths;
  int64_t inner;
  bool few; /* part of the short list too */
} ops_shape;
extern const ops_shape ops_shapes[];
#define OPS_SHAPES 8
/* The type of a shared shape. */
mvs_type ops_shared(ops_suite *s, mvs_dtype dtype, int shape);
/* True when the suite tries that shape. */
bool ops_tries(const ops_suite *s, int shape);

#endif
