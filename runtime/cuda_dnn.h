/* cuda_dnn.h: cuDNN's graph API as far as attention needs it: tensors, four kinds of
 * operations, an execution plan, a launch. Descriptors that a graph makes belong to it and go
 * with it. The first failure sticks: later calls do nothing, and the words tell it. */
#ifndef MVS_RUNTIME_CUDA_DNN_H
#define MVS_RUNTIME_CUDA_DNN_H

#include "runtime/cuda_library.h"

typedef struct mvs_dnn {
  void *handle;
  size_t version; /* 91400 is 9.14.0 */
  int (*last_error)(char *words, size_t size);
  int (*create)(int kind, void **descriptor);
  int (*destroy)(void *descriptor);
  int (*set)(void *descriptor, int name, int type, int64_t count, const void *values);
  int (*get)(void *descriptor, int name, int type, int64_t most, int64_t *count, void *values);
  int (*finish)(void *descriptor);
  int (*execute)(void *handle, void *plan, void *pack);
  int (*handle_free)(void *handle);
} mvs_dnn;

/* cudnnDataType_t */
typedef enum mvs_dnn_type { MVS_DNN_F32 = 0, MVS_DNN_BF16 = 9 } mvs_dnn_type;
/* cudnnPointwiseMode_t */
typedef enum mvs_dnn_mode { MVS_DNN_MUL = 1, MVS_DNN_SUB = 9, MVS_DNN_EXP = 13 } mvs_dnn_mode;

#define MVS_DNN_MOST_PARTS   160
#define MVS_DNN_MOST_STEPS   24
#define MVS_DNN_MOST_TENSORS 16

typedef struct mvs_dnn_graph {
  const mvs_dnn *dnn;
  void *parts[MVS_DNN_MOST_PARTS], *steps[MVS_DNN_MOST_STEPS];
  int part_count, step_count;
  int64_t next_virtual;
  void *plan;
  int64_t workspace; /* bytes */
  bool failed;
  char words[MVS_CUDA_WORDS];
} mvs_dnn_graph;

/* A tensor of four axes. number : which address of a launch it stands for, from 1; 0: it lives
 * inside the graph only. by_value : a number in host memory. */
typedef struct mvs_dnn_tensor {
  int64_t number;
  mvs_dnn_type type;
  bool by_value;
  int64_t size[4], stride[4];
} mvs_dnn_tensor;

/* Loads cuDNN and makes a handle on the stream; false with a sentence in `why`. */
bool mvs_dnn_load(const mvs_cuda_place *place, mvs_dnn *out, char *why);

/* An empty graph; operations are added in the order that the engine is to see them. */
void mvs_dnn_begin(mvs_dnn_graph *graph, const mvs_dnn *dnn);
/* Gives back all descriptors of a graph and its plan. */
void mvs_dnn_end(mvs_dnn_graph *graph);
/* A tensor of the graph, for the operations below; a failure is told by the plan. */
void *mvs_dnn_tensor_new(mvs_dnn_graph *graph, const mvs_dnn_tensor *tensor);
/* c = a @ b over the last two axes, f32 sums. */
void mvs_dnn_matmul(mvs_dnn_graph *graph, void *a, void *b, void *c);
/* y = mode(x, b) by elements, in f32; b is NULL for modes of one argument. */
void mvs_dnn_pointwise(mvs_dnn_graph *graph, mvs_dnn_mode mode, void *x, void *b, void *y);
/* y = the sum of x over the axes of size 1 in y. */
void mvs_dnn_sum(mvs_dnn_graph *graph, void *x, void *y);
/* y is x with other strides, and perhaps rounded. */
void mvs_dnn_reshape(mvs_dnn_graph *graph, void *x, void *y);
/* The forward of attention as one operation. */
void mvs_dnn_attention(mvs_dnn_graph *graph, void *q, void *k, void *v, void *o, void *stats,
                       void *scale);
/* Makes the plan that the library's heuristics put first. False when there is none. */
bool mvs_dnn_plan(mvs_dnn_graph *graph);
/* The plan as text, which the same version of the library on the same GPU reads in
 * milliseconds; making it takes up to a second. NULL when the library gives none. */
const char *mvs_dnn_plan_text(const mvs_dnn_graph *graph, mvs_arena *arena, size_t *size);
/* Makes the plan from such a text instead of operations. */
bool mvs_dnn_plan_from_text(mvs_dnn_graph *graph, const char *text, size_t size);
/* Launches the plan: `count` addresses for the tensors' numbers. Returns the library's status.
 */
int mvs_dnn_run(const mvs_dnn_graph *graph, int count, const int64_t *numbers,
                void *const *addresses, void *workspace);

#endif
