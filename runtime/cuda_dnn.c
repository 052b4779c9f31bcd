/* cuda_dnn.c: cuDNN's backend API. It has one kind of object, the descriptor: created by kind,
 * set by (name, type, count, values), finished, and from then on immutable. A graph of
 * operations is a descriptor that holds others; the library's heuristics answer it with
 * engines, and an engine with a handle is a plan. Its headers are not needed: the enumerations
 * below are part of its binary interface.
 *
 * source : NVIDIA, cuDNN backend API, its descriptors and enumerations */
#include "runtime/cuda_dnn.h"

#include <dlfcn.h>
#include <stdio.h>

/* cudnnBackendDescriptorType_t */
enum {
  POINTWISE = 0,
  ENGINE_CONFIG = 3,
  HEURISTICS = 4,
  PLAN = 5,
  POINTWISE_STEP = 13,
  GRAPH = 15,
  PACK = 16,
  TENSOR = 17,
  MATMUL = 18,
  MATMUL_STEP = 19,
  REDUCTION = 21,
  REDUCTION_STEP = 22,
  RESHAPE_STEP = 31,
  ATTENTION_STEP = 41
};

/* cudnnBackendAttributeType_t */
enum {
  IS_HANDLE = 0,
  IS_DATA_TYPE = 1,
  IS_BOOLEAN = 2,
  IS_INT64 = 3,
  IS_POINTER = 6,
  IS_HEURISTIC = 8,
  IS_MODE = 14,
  IS_DESCRIPTOR = 15,
  IS_REDUCTION = 18,
  IS_CHAR = 24
};

/* cudnnBackendAttributeName_t */
enum {
  POINTWISE_MODE = 0,
  POINTWISE_TYPE = 1,
  HEURISTICS_MODE = 200,
  HEURISTICS_GRAPH = 201,
  HEURISTICS_RESULTS = 202,
  PLAN_HANDLE = 400,
  PLAN_CONFIG = 401,
  PLAN_WORKSPACE = 402,
  PLAN_TEXT = 405, /* JSON */
  POINTWISE_STEP_DESC = 750,
  POINTWISE_STEP_X = 751,
  POINTWISE_STEP_B = 752,
  POINTWISE_STEP_Y = 753,
  GRAPH_HANDLE = 800,
  GRAPH_STEPS = 801,
  TENSOR_ALIGNMENT = 900,
  TENSOR_TYPE = 901,
  TENSOR_SIZES = 902,
  TENSOR_STRIDES = 903,
  TENSOR_NUMBER = 906,
  TENSOR_VIRTUAL = 907,
  TENSOR_BY_VALUE = 908,
  PACK_NUMBERS = 1000,
  PACK_ADDRESSES = 1001,
  PACK_WORKSPACE = 1003,
  MATMUL_TYPE = 1500,
  MATMUL_STEP_A = 1520,
  MATMUL_STEP_B = 1521,
  MATMUL_STEP_C = 1522,
  MATMUL_STEP_DESC = 1523,
  REDUCTION_OPERATOR = 1600,
  REDUCTION_TYPE = 1601,
  REDUCTION_STEP_X = 1610,
  REDUCTION_STEP_Y = 1611,
  REDUCTION_STEP_DESC = 1612,
  RESHAPE_STEP_X = 2200,
  RESHAPE_STEP_Y = 2201,
  ATTENTION_Q = 2800,
  ATTENTION_K = 2801,
  ATTENTION_V = 2802,
  ATTENTION_O = 2803,
  ATTENTION_STATS = 2804,
  ATTENTION_SCALE = 2805
};

enum { HEURISTIC_A = 3, SUM = 0 };

#define ALIGNMENT     16
#define FIRST_VIRTUAL 1000
/* The first whose backward graph was seen to be right. */
#define LEAST_VERSION 91400

/* --- loading --- */

/* *missing names the last call that the library lacks; NULL when all are there. Addresses are
 * copied as bytes, since C has no cast from an object to a function. */
static void find_calls(void *library, mvs_dnn *out, int (**create)(void **),
                       int (**stream)(void *, void *), size_t (**version)(void),
                       const char **missing) {
  const struct {
    const char *name;
    void *place;
  } calls[] = {{"cudnnCreate", create},
               {"cudnnSetStream", stream},
               {"cudnnGetVersion", version},
               {"cudnnDestroy", &out->handle_free},
               {"cudnnGetLastErrorString", &out->last_error},
               {"cudnnBackendCreateDescriptor", &out->create},
               {"cudnnBackendDestroyDescriptor", &out->destroy},
               {"cudnnBackendSetAttribute", &out->set},
               {"cudnnBackendGetAttribute", &out->get},
               {"cudnnBackendFinalize", &out->finish},
               {"cudnnBackendExecute", &out->execute}};
  *missing = NULL;
  for (size_t at = 0; at < sizeof calls / sizeof *calls; at++) {
    void *address = dlsym(library, calls[at].name);
    memcpy(calls[at].place, &address, sizeof address);
    if (!address) *missing = calls[at].name;
  }
}

bool mvs_dnn_load(const mvs_cuda_place *place, mvs_dnn *out, char *why) {
  static const char *const names[] = {"libcudnn.so.9", NULL};
  static const char *const compiler[] = {"libnvrtc.so.13", "libnvrtc.so.12", NULL};
  const char *missing;
  int (*create)(void **), (*stream)(void *, void *);
  size_t (*version)(void);
  *out = (mvs_dnn){0};
  /* cuDNN's fused engines look for NVRTC by its name alone: one that is loaded is found. */
  mvs_cuda_library(compiler);
  void *library = mvs_cuda_library(names);
  if (!library) {
    snprintf(why, MVS_CUDA_WORDS, "libcudnn.so.9 was not found");
    return false;
  }
  find_calls(library, out, &create, &stream, &version, &missing);
  if (missing) {
    snprintf(why, MVS_CUDA_WORDS, "the cuDNN found has no %s", missing);
    return false;
  }
  out->version = version();
  if (out->version < LEAST_VERSION) {
    snprintf(why, MVS_CUDA_WORDS, "cuDNN %zu.%zu is older than 9.14", out->version / 10000,
             out->version / 100 % 100);
    return false;
  }
  int status = create(&out->handle);
  if (!status) status = stream(out->handle, place->stream);
  if (status) snprintf(why, MVS_CUDA_WORDS, "cudnnCreate: error %d", status);
  return status == 0;
}

/* --- building --- */

/* The first failure is the cause; those behind it come of using what was not made. The library
 * appends a trace of its own calls, of which one line is for people. */
static void note(mvs_dnn_graph *graph, const char *what, int status) {
  if (!status || graph->failed) return;
  char words[1024] = "";
  graph->failed = true;
  graph->dnn->last_error(words, sizeof words);
  words[strcspn(words, "\n")] = 0;
  snprintf(graph->words, sizeof graph->words, "%s: error %d %.180s", what, status, words);
}

void mvs_dnn_begin(mvs_dnn_graph *graph, const mvs_dnn *dnn) {
  *graph = (mvs_dnn_graph){.dnn = dnn, .next_virtual = FIRST_VIRTUAL};
}

/* The last made goes first: a descriptor may point into those that it was made of. */
void mvs_dnn_end(mvs_dnn_graph *graph) {
  while (graph->part_count > 0) graph->dnn->destroy(graph->parts[--graph->part_count]);
  graph->plan = NULL;
}

/* The graph owns it from here on, also where a later setting fails. */
static void *new_part(mvs_dnn_graph *graph, int kind, const char *what) {
  void *part = NULL;
  if (graph->part_count == MVS_DNN_MOST_PARTS) note(graph, "too many descriptors", -1);
  if (graph->failed) return NULL;
  note(graph, what, graph->dnn->create(kind, &part));
  if (!graph->failed) graph->parts[graph->part_count++] = part;
  return part;
}

/* Calls behind a failure do nothing, so that builders need no test after each of a hundred. */
static void set(mvs_dnn_graph *graph, void *part, int name, int type, int64_t count,
                const void *values) {
  if (!graph->failed)
    note(graph, "a setting", graph->dnn->set(part, name, type, count, values));
}

/* Descriptors are passed by the address of the pointer, as an array of one. */
static void set_part(mvs_dnn_graph *graph, void *part, int name, void *value) {
  set(graph, part, name, IS_DESCRIPTOR, 1, &value);
}

static void set_int(mvs_dnn_graph *graph, void *part, int name, int type, int value) {
  set(graph, part, name, type, 1, &value);
}

static void finish(mvs_dnn_graph *graph, void *part, const char *what) {
  if (!graph->failed) note(graph, what, graph->dnn->finish(part));
}

/* Engines match patterns of operations, so the order in which they are added counts. */
static void add_step(mvs_dnn_graph *graph, void *step, const char *what) {
  finish(graph, step, what);
  if (graph->step_count == MVS_DNN_MOST_STEPS) note(graph, "too many operations", -1);
  if (!graph->failed) graph->steps[graph->step_count++] = step;
}

/* What lives inside the graph needs a number as well, one that no launch gives an address. The
 * alignment is promised for all: cuda_attention.c has looked at it. */
void *mvs_dnn_tensor_new(mvs_dnn_graph *graph, const mvs_dnn_tensor *tensor) {
  bool inside = tensor->number == 0;
  int64_t number = inside ? ++graph->next_virtual : tensor->number, alignment = ALIGNMENT;
  void *part = new_part(graph, TENSOR, "a tensor");
  set_int(graph, part, TENSOR_TYPE, IS_DATA_TYPE, (int)tensor->type);
  set(graph, part, TENSOR_SIZES, IS_INT64, 4, tensor->size);
  set(graph, part, TENSOR_STRIDES, IS_INT64, 4, tensor->stride);
  set(graph, part, TENSOR_NUMBER, IS_INT64, 1, &number);
  set(graph, part, TENSOR_ALIGNMENT, IS_INT64, 1, &alignment);
  set(graph, part, TENSOR_VIRTUAL, IS_BOOLEAN, 1, &inside);
  if (tensor->by_value) set(graph, part, TENSOR_BY_VALUE, IS_BOOLEAN, 1, &tensor->by_value);
  finish(graph, part, "a tensor");
  return part;
}

/* An operation is two descriptors: what is done, and to which tensors. */
void mvs_dnn_matmul(mvs_dnn_graph *graph, void *a, void *b, void *c) {
  void *matmul = new_part(graph, MATMUL, "a matmul");
  void *step = new_part(graph, MATMUL_STEP, "a matmul");
  set_int(graph, matmul, MATMUL_TYPE, IS_DATA_TYPE, MVS_DNN_F32);
  finish(graph, matmul, "a matmul");
  set_part(graph, step, MATMUL_STEP_A, a);
  set_part(graph, step, MATMUL_STEP_B, b);
  set_part(graph, step, MATMUL_STEP_C, c);
  set_part(graph, step, MATMUL_STEP_DESC, matmul);
  add_step(graph, step, "a matmul");
}

void mvs_dnn_pointwise(mvs_dnn_graph *graph, mvs_dnn_mode mode, void *x, void *b, void *y) {
  void *pointwise = new_part(graph, POINTWISE, "a pointwise operation");
  void *step = new_part(graph, POINTWISE_STEP, "a pointwise operation");
  set_int(graph, pointwise, POINTWISE_MODE, IS_MODE, (int)mode);
  set_int(graph, pointwise, POINTWISE_TYPE, IS_DATA_TYPE, MVS_DNN_F32);
  finish(graph, pointwise, "a pointwise operation");
  set_part(graph, step, POINTWISE_STEP_DESC, pointwise);
  set_part(graph, step, POINTWISE_STEP_X, x);
  if (b) set_part(graph, step, POINTWISE_STEP_B, b);
  set_part(graph, step, POINTWISE_STEP_Y, y);
  add_step(graph, step, "a pointwise operation");
}

void mvs_dnn_sum(mvs_dnn_graph *graph, void *x, void *y) {
  void *reduction = new_part(graph, REDUCTION, "a reduction");
  void *step = new_part(graph, REDUCTION_STEP, "a reduction");
  set_int(graph, reduction, REDUCTION_OPERATOR, IS_REDUCTION, SUM);
  set_int(graph, reduction, REDUCTION_TYPE, IS_DATA_TYPE, MVS_DNN_F32);
  finish(graph, reduction, "a reduction");
  set_part(graph, step, REDUCTION_STEP_DESC, reduction);
  set_part(graph, step, REDUCTION_STEP_X, x);
  set_part(graph, step, REDUCTION_STEP_Y, y);
  add_step(graph, step, "a reduction");
}

void mvs_dnn_reshape(mvs_dnn_graph *graph, void *x, void *y) {
  void *step = new_part(graph, RESHAPE_STEP, "a reshape");
  set_part(graph, step, RESHAPE_STEP_X, x);
  set_part(graph, step, RESHAPE_STEP_Y, y);
  add_step(graph, step, "a reshape");
}

void mvs_dnn_attention(mvs_dnn_graph *graph, void *q, void *k, void *v, void *o, void *stats,
                       void *scale) {
  void *step = new_part(graph, ATTENTION_STEP, "attention");
  set_part(graph, step, ATTENTION_Q, q);
  set_part(graph, step, ATTENTION_K, k);
  set_part(graph, step, ATTENTION_V, v);
  set_part(graph, step, ATTENTION_O, o);
  set_part(graph, step, ATTENTION_STATS, stats);
  set_part(graph, step, ATTENTION_SCALE, scale);
  add_step(graph, step, "attention");
}

/* The plan's settings are there; what is left is the same for both origins. */
/* A plan may need memory, which the launch gives: 0 bytes to some megabytes. */
static bool finish_plan(mvs_dnn_graph *graph, void *plan) {
  int64_t count = 0;
  finish(graph, plan, "the plan");
  if (!graph->failed)
    note(graph, "the plan's workspace",
         graph->dnn->get(plan, PLAN_WORKSPACE, IS_INT64, 1, &count, &graph->workspace));
  if (!graph->failed) graph->plan = plan;
  return !graph->failed;
}

/* One configuration is asked for: the heuristics' first. The engine's descriptor is made
 * before, since the library fills in what it is given. */
bool mvs_dnn_plan(mvs_dnn_graph *graph) {
  const mvs_dnn *dnn = graph->dnn;
  int64_t count = 0;
  void *whole = new_part(graph, GRAPH, "the graph");
  set(graph, whole, GRAPH_STEPS, IS_DESCRIPTOR, graph->step_count, graph->steps);
  set(graph, whole, GRAPH_HANDLE, IS_HANDLE, 1, &dnn->handle);
  finish(graph, whole, "the graph");
  void *heuristics = new_part(graph, HEURISTICS, "the heuristics");
  set_part(graph, heuristics, HEURISTICS_GRAPH, whole);
  set_int(graph, heuristics, HEURISTICS_MODE, IS_HEURISTIC, HEURISTIC_A);
  finish(graph, heuristics, "the heuristics");
  void *config = new_part(graph, ENGINE_CONFIG, "the engine");
  if (!graph->failed)
    note(graph, "the heuristics",
         dnn->get(heuristics, HEURISTICS_RESULTS, IS_DESCRIPTOR, 1, &count, &config));
  if (!graph->failed && count < 1) note(graph, "no engine takes it", -1);
  void *plan = new_part(graph, PLAN, "the plan");
  set(graph, plan, PLAN_HANDLE, IS_HANDLE, 1, &dnn->handle);
  set_part(graph, plan, PLAN_CONFIG, config);
  return finish_plan(graph, plan);
}

/* --- plans as text --- */

/* Asked for twice: the first call, with room for none, says how long it is. */
const char *mvs_dnn_plan_text(const mvs_dnn_graph *graph, mvs_arena *arena, size_t *size) {
  const mvs_dnn *dnn = graph->dnn;
  int64_t bytes = 0, written = 0;
  if (dnn->get(graph->plan, PLAN_TEXT, IS_CHAR, 0, &bytes, NULL) != 0 || bytes <= 0)
    return NULL;
  char *text = MVS_ARRAY(arena, (size_t)bytes, char);
  if (dnn->get(graph->plan, PLAN_TEXT, IS_CHAR, bytes, &written, text) != 0) return NULL;
  *size = (size_t)bytes;
  return text;
}

/* The library checks that the text fits its own version and this GPU, and refuses it else. */
bool mvs_dnn_plan_from_text(mvs_dnn_graph *graph, const char *text, size_t size) {
  void *plan = new_part(graph, PLAN, "a saved plan");
  set(graph, plan, PLAN_HANDLE, IS_HANDLE, 1, &graph->dnn->handle);
  set(graph, plan, PLAN_TEXT, IS_CHAR, (int64_t)size, text);
  return finish_plan(graph, plan);
}

/* Addresses are a descriptor too, which lives for one launch: the plan reads them while it
 * enqueues, and a captured launch keeps what it read. */
int mvs_dnn_run(const mvs_dnn_graph *graph, int count, const int64_t *numbers,
                void *const *addresses, void *workspace) {
  const mvs_dnn *dnn = graph->dnn;
  void *pack = NULL;
  int status = dnn->create(PACK, &pack);
  if (!status) status = dnn->set(pack, PACK_NUMBERS, IS_INT64, count, numbers);
  if (!status) status = dnn->set(pack, PACK_ADDRESSES, IS_POINTER, count, addresses);
  if (!status) status = dnn->set(pack, PACK_WORKSPACE, IS_POINTER, 1, &workspace);
  if (!status) status = dnn->finish(pack);
  if (!status) status = dnn->execute(dnn->handle, graph->plan, pack);
  if (pack) dnn->destroy(pack);
  return status;
}
