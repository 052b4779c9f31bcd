/* cuda_attention.c: the graphs of attention. Axes are (sample, head, token, feature) whatever
 * the order in memory. The backward is written out in 17 operations, in the one order and form
 * that cuDNN's engine takes and computes right; each line below was seen to matter. */
#include "runtime/cuda_attention.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "compiler/toolkit/cache.h"
#include "runtime/cuda_dnn.h"

#define MOST_HEAD_DIM 128
#define HEAD_DIM_STEP 8
#define ALIGNMENT     16 /* bytes */

/* Numbers of the tensors: operands first, in the kernel's order; INSIDE is what has no memory
 * of ours. */
#define X(name, heads, forward, gradient) name,
enum { INSIDE, MVS_ATTENTION_TABLE(X) SCALE, DELTA, ONE };
#undef X

typedef struct plan {
  struct plan *next;
  int64_t batch;
  mvs_dnn_graph graph;
  bool usable;
  float scale, one; /* by value: read at every launch */
  int64_t delta;    /* bytes of the row sums of dO * O, f32 [B, H, T]; the workspace follows */
  char why[MVS_CUDA_WORDS];
} plan;

/* Device memory that plans share: launches follow one another. One that became too small stays,
 * since captured launches name it. */
typedef struct room {
  struct room *next;
  mvs_cuda_address memory;
  int64_t bytes;
} room;

struct mvs_cuda_attention {
  mvs_cuda_place place;
  mvs_dnn dnn;
  char name[32];
  plan **plans;  /* per kernel */
  int64_t bytes; /* that the plans so far share */
  room *rooms;
};

/* The library loads 16 bytes at a time. */
static bool is_aligned(const Mvs__Kernel *kernel) {
  const Mvs__Attention *shape = kernel->attention;
  for (size_t at = 0; at < shape->n_strides; at++)
    if (shape->strides[at] % HEAD_DIM_STEP != 0) return false;
  for (size_t at = 0; at < kernel->n_arguments; at++)
    if (kernel->arguments[at]->alignment % ALIGNMENT != 0) return false;
  return true;
}

bool mvs_cuda_attention_fits(const Mvs__Kernel *kernel, char *why) {
  const Mvs__Attention *shape = kernel->attention;
  const char *reason = NULL;
  if (strcmp(shape->dtype, "bf16") != 0) reason = "cuDNN's attention takes bf16 alone";
  if (shape->heads != shape->kv_heads) reason = "grouped KV heads are not left to cuDNN";
  if (shape->head_dim > MOST_HEAD_DIM || shape->head_dim % HEAD_DIM_STEP != 0)
    reason = "cuDNN takes heads of 8, 16, ... 128 features";
  if (!reason && !is_aligned(kernel)) reason = "its tokens do not start on 16 bytes";
  if (reason) snprintf(why, MVS_CUDA_WORDS, "%s", reason);
  return !reason;
}

/* --- tensors --- */

typedef struct builder {
  mvs_dnn_graph *graph;
  int64_t batch, heads, tokens, features;
  const int64_t *strides; /* per operand: elements between tokens */
} builder;

/* [B, T, H, D] in memory, as the operand of that number lies; what is inside the graph only
 * (INSIDE) lies without gaps. */
static int64_t token_stride(const builder *b, int64_t number) {
  return number != INSIDE ? b->strides[number - Q] : b->heads * b->features;
}

static void *heads_tensor(const builder *b, int64_t number, mvs_dnn_type type) {
  int64_t row = token_stride(b, number);
  mvs_dnn_tensor tensor = {.number = number,
                           .type = type,
                           .size = {b->batch, b->heads, b->tokens, b->features},
                           .stride = {b->tokens * row, b->features, row, 1}};
  return mvs_dnn_tensor_new(b->graph, &tensor);
}

/* The same with tokens and features exchanged: its transpose for a matmul. */
static void *turned_tensor(const builder *b, int64_t number) {
  int64_t row = token_stride(b, number);
  mvs_dnn_tensor tensor = {.number = number,
                           .type = MVS_DNN_BF16,
                           .size = {b->batch, b->heads, b->features, b->tokens},
                           .stride = {b->tokens * row, b->features, 1, row}};
  return mvs_dnn_tensor_new(b->graph, &tensor);
}

/* A number for each query, f32. */
static void *row_tensor(const builder *b, int64_t number) {
  mvs_dnn_tensor tensor = {.number = number,
                           .type = MVS_DNN_F32,
                           .size = {b->batch, b->heads, b->tokens, 1},
                           .stride = {b->heads * b->tokens, b->tokens, 1, 1}};
  return mvs_dnn_tensor_new(b->graph, &tensor);
}

/* A number in host memory. */
static void *value_tensor(const builder *b, int64_t number) {
  mvs_dnn_tensor tensor = {.number = number,
                           .type = MVS_DNN_F32,
                           .by_value = true,
                           .size = {1, 1, 1, 1},
                           .stride = {1, 1, 1, 1}};
  return mvs_dnn_tensor_new(b->graph, &tensor);
}

/* A number for each query and key; turned: stored by keys, rounded to bf16. */
static void *score_tensor(const builder *b, bool turned) {
  int64_t t = b->tokens;
  mvs_dnn_tensor tensor = {.type = turned ? MVS_DNN_BF16 : MVS_DNN_F32,
                           .size = {b->batch, b->heads, t, t},
                           .stride = {b->heads * t * t, t * t, turned ? 1 : t, turned ? t : 1}};
  return mvs_dnn_tensor_new(b->graph, &tensor);
}

/* --- graphs --- */

/* The library has one operation for it, whose statistics are the logarithms of sums that our
 * own gradient wants too: kernels of both kinds can follow one another. */
static void build_forward(const builder *b) {
  mvs_dnn_attention(b->graph, heads_tensor(b, Q, MVS_DNN_BF16),
                    heads_tensor(b, K, MVS_DNN_BF16), heads_tensor(b, V, MVS_DNN_BF16),
                    heads_tensor(b, O, MVS_DNN_BF16), row_tensor(b, LSE),
                    value_tensor(b, SCALE));
}

/* delta = rowsum(dO * O). The product with one makes it a tensor in memory: without it the
 * engine reads wildly. */
static void *build_delta(const builder *b, void *gradient) {
  int64_t t = b->tokens, d = b->features;
  mvs_dnn_tensor products = {.type = MVS_DNN_F32,
                             .size = {b->batch, b->heads, t, d},
                             .stride = {b->heads * t * d, t * d, b->heads * d, 1}};
  void *product = mvs_dnn_tensor_new(b->graph, &products);
  void *sum = row_tensor(b, INSIDE), *delta = row_tensor(b, DELTA);
  mvs_dnn_pointwise(b->graph, MVS_DNN_MUL, gradient, heads_tensor(b, O, MVS_DNN_BF16), product);
  mvs_dnn_sum(b->graph, product, sum);
  mvs_dnn_pointwise(b->graph, MVS_DNN_MUL, sum, value_tensor(b, ONE), delta);
  return delta;
}

/* Operation by operation, which an engine of the library takes as one kernel: it must be given
 * in just this pattern. P and dS are turned, and with that rounded to bf16, for the products
 * over queries.
 *
 *   p = exp(scale q k' - lse)         dv = p' do
 *   ds = scale p (do v' - delta)      dk = ds' q         dq = ds k */
static void build_backward(const builder *b) {
  mvs_dnn_graph *graph = b->graph;
  void *q = heads_tensor(b, Q, MVS_DNN_BF16), *keys = turned_tensor(b, K);
  void *gradient = heads_tensor(b, DO, MVS_DNN_BF16), *scale = value_tensor(b, SCALE);
  void *delta = build_delta(b, gradient);
  void *scores = score_tensor(b, false), *scaled = score_tensor(b, false);
  void *shifted = score_tensor(b, false), *p = score_tensor(b, false);
  void *p_turned = score_tensor(b, true);
  mvs_dnn_matmul(graph, q, keys, scores);
  mvs_dnn_pointwise(graph, MVS_DNN_MUL, scores, scale, scaled);
  mvs_dnn_pointwise(graph, MVS_DNN_SUB, scaled, row_tensor(b, LSE), shifted);
  mvs_dnn_pointwise(graph, MVS_DNN_EXP, shifted, NULL, p);
  mvs_dnn_reshape(graph, p, p_turned);
  mvs_dnn_matmul(graph, p_turned, gradient, heads_tensor(b, DV, MVS_DNN_BF16));
  void *dp = score_tensor(b, false), *less = score_tensor(b, false);
  void *times_p = score_tensor(b, false), *ds = score_tensor(b, false);
  void *ds_turned = score_tensor(b, true);
  mvs_dnn_matmul(graph, gradient, turned_tensor(b, V), dp);
  mvs_dnn_pointwise(graph, MVS_DNN_SUB, dp, delta, less);
  mvs_dnn_pointwise(graph, MVS_DNN_MUL, less, p, times_p);
  mvs_dnn_pointwise(graph, MVS_DNN_MUL, times_p, scale, ds);
  mvs_dnn_reshape(graph, ds, ds_turned);
  mvs_dnn_matmul(graph, ds_turned, q, heads_tensor(b, DK, MVS_DNN_BF16));
  void *keys_again = heads_tensor(b, INSIDE, MVS_DNN_BF16);
  mvs_dnn_reshape(graph, keys, keys_again);
  mvs_dnn_matmul(graph, ds, keys_again, heads_tensor(b, DQ, MVS_DNN_BF16));
}

/* --- plans --- */

/* The shared memory, as large as the largest plan needs; NULL when there is none. */
static char *find_room(mvs_cuda_attention *attention) {
  const mvs_cuda_driver *driver = attention->place.driver;
  int64_t bytes = attention->bytes;
  if (!attention->rooms || attention->rooms->bytes < bytes) {
    room *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return NULL;
    if (driver->alloc(&fresh->memory, (size_t)bytes) != 0) {
      free(fresh);
      return NULL;
    }
    *fresh = (room){.next = attention->rooms, .memory = fresh->memory, .bytes = bytes};
    attention->rooms = fresh;
  }
  return (char *)(uintptr_t)attention->rooms->memory;
}

/* --- plans on disk --- */

/* GPU, driver, library and all of the kernel's shape. */
static mvs_cache_key key_of(const mvs_cuda_attention *attention, const Mvs__Attention *shape,
                            int64_t batch, mvs_arena *arena) {
  size_t size = mvs__attention__get_packed_size(shape);
  uint8_t *packed = MVS_ARRAY(arena, size + 1, uint8_t);
  mvs__attention__pack(shape, packed);
  mvs_text text = mvs_text_new(arena);
  mvs_text_addf(&text, "batch %" PRId64 " of ", batch);
  for (size_t at = 0; at < size; at++) mvs_text_addf(&text, "%02x", packed[at]);
  const char *parts[] = {"attention plan", attention->place.model, attention->place.driver_text,
                         attention->name, mvs_text_string(&text)};
  return mvs_cache_key_of(parts, sizeof parts / sizeof *parts);
}

/* A text that the library refuses leaves the graph empty. */
static bool read_plan(mvs_cuda_attention *attention, mvs_arena *arena, const char *folder,
                      mvs_cache_key key, plan *out) {
  mvs_cache_entry saved;
  mvs_dnn_begin(&out->graph, &attention->dnn);
  if (!mvs_cache_get(arena, folder, key, &saved)) return false;
  if (mvs_dnn_plan_from_text(&out->graph, saved.data, saved.size)) return true;
  mvs_dnn_end(&out->graph);
  return false;
}

/* A library that gives no text has its plan made again by the next process. */
static void write_plan(mvs_arena *arena, const char *folder, mvs_cache_key key,
                       const plan *of) {
  mvs_cache_entry saved = {0};
  saved.data = mvs_dnn_plan_text(&of->graph, arena, &saved.size);
  if (saved.data) mvs_cache_put(folder, key, &saved);
}

/* Its words go when the graph does, so they are copied first. */
static bool build_plan(mvs_cuda_attention *attention, const Mvs__Attention *shape, plan *out) {
  builder b = {&out->graph,   out->batch,      shape->heads,
               shape->tokens, shape->head_dim, shape->strides};
  mvs_dnn_begin(&out->graph, &attention->dnn);
  if (shape->gradient) {
    build_backward(&b);
  } else {
    build_forward(&b);
  }
  if (mvs_dnn_plan(&out->graph)) return true;
  snprintf(out->why, sizeof out->why, "generated: %s refuses: %.200s", attention->name,
           out->graph.words);
  mvs_dnn_end(&out->graph);
  return false;
}

/* Read from disk, or built and written there. */
static bool get_plan(mvs_cuda_attention *attention, const Mvs__Attention *shape, plan *out) {
  mvs_arena *arena = mvs_arena_new();
  const char *folder = mvs_cache_folder(arena);
  mvs_cache_key key = {0};
  if (folder) key = key_of(attention, shape, out->batch, arena);
  bool good = folder && read_plan(attention, arena, folder, key, out);
  if (!good) {
    good = build_plan(attention, shape, out);
    if (good && folder) write_plan(arena, folder, key, out);
  }
  mvs_arena_free(arena);
  return good;
}

/* The sums of dO * O stand in front of the library's workspace, both on 256 bytes. The room is
 * only noted here: it is taken at the first launch, when all plans of a step are known. */
static void make_plan(mvs_cuda_attention *attention, const Mvs__Kernel *kernel, plan *out) {
  const Mvs__Attention *shape = kernel->attention;
  char reason[MVS_CUDA_WORDS];
  if (!mvs_cuda_attention_fits(kernel, reason)) {
    snprintf(out->why, sizeof out->why, "generated: %.200s", reason);
    return;
  }
  out->scale = (float)shape->scale;
  out->one = 1;
  out->usable = get_plan(attention, shape, out);
  if (!out->usable) return;
  out->delta = out->batch * shape->heads * shape->tokens * (int64_t)sizeof(float);
  out->delta = (out->delta + 255) / 256 * 256;
  int64_t bytes = out->delta + out->graph.workspace + 256;
  if (bytes > attention->bytes) attention->bytes = bytes;
}

/* Also of one that the library refused: it is asked once. */
static plan *find_plan(mvs_cuda_attention *attention, uint32_t kernel, int64_t batch) {
  for (plan *at = attention->plans[kernel]; at; at = at->next)
    if (at->batch == batch) return at;
  plan *out = calloc(1, sizeof *out);
  if (!out) return NULL;
  out->batch = batch;
  out->next = attention->plans[kernel];
  attention->plans[kernel] = out;
  make_plan(attention, attention->place.program->kernels[kernel], out);
  return out;
}

/* --- opening and running --- */

mvs_cuda_taken mvs_cuda_attention_launch(mvs_cuda_attention *attention,
                                         const mvs_launch *launch, char *words) {
  int64_t numbers[ONE];
  void *addresses[ONE];
  plan *use = find_plan(attention, launch->kernel, launch->batch);
  if (!use || !use->usable) return MVS_CUDA_NOT_TAKEN;
  char *memory = find_room(attention);
  if (!memory) {
    snprintf(words, MVS_CUDA_WORDS,
             "there is no memory for the %" PRId64
             " bytes that %s works in; a smaller "
             "--micro-batch (or --batch) takes less",
             attention->bytes, attention->name);
    return MVS_CUDA_FAILED;
  }
  bool gradient = attention->place.program->kernels[launch->kernel]->attention->gradient;
  int count = mvs_attention_operands(gradient);
  for (int at = 0; at < count; at++) numbers[at] = Q + at, addresses[at] = launch->operands[at];
  numbers[count] = SCALE, addresses[count++] = &use->scale;
  if (gradient) numbers[count] = DELTA, addresses[count++] = memory;
  if (gradient) numbers[count] = ONE, addresses[count++] = &use->one;
  int status = mvs_dnn_run(&use->graph, count, numbers, addresses, memory + use->delta);
  if (!status) return MVS_CUDA_TAKEN;
  snprintf(words, MVS_CUDA_WORDS, "cudnnBackendExecute: error %d ", status);
  attention->dnn.last_error(words + strlen(words), MVS_CUDA_WORDS - strlen(words));
  return MVS_CUDA_FAILED;
}

void mvs_cuda_attention_prepare(mvs_cuda_attention *attention, uint32_t kernel, int64_t batch) {
  find_plan(attention, kernel, batch);
}

int64_t mvs_cuda_attention_held(const mvs_cuda_attention *attention) {
  return attention->bytes;
}

int64_t mvs_cuda_attention_taken(const mvs_cuda_attention *attention) {
  int64_t bytes = 0;
  for (const room *each = attention->rooms; each; each = each->next) bytes += each->bytes;
  return bytes;
}

void mvs_cuda_attention_how(mvs_cuda_attention *attention, uint32_t kernel, int64_t batch,
                            char *words) {
  const plan *use = find_plan(attention, kernel, batch);
  snprintf(words, MVS_CUDA_WORDS, "%s",
           !use          ? "generated: out of memory"
           : use->usable ? attention->name
                         : use->why);
}

mvs_cuda_attention *mvs_cuda_attention_open(const mvs_cuda_place *place, char *why) {
  mvs_cuda_attention *attention = calloc(1, sizeof *attention);
  snprintf(why, MVS_CUDA_WORDS, "out of memory");
  if (!attention) return NULL;
  attention->place = *place;
  attention->plans = calloc(place->program->n_kernels + 1, sizeof *attention->plans);
  if (!attention->plans || !mvs_dnn_load(place, &attention->dnn, why)) {
    mvs_cuda_attention_close(attention);
    return NULL;
  }
  size_t version = attention->dnn.version;
  snprintf(attention->name, sizeof attention->name, "cuDNN %zu.%zu.%zu", version / 10000,
           version / 100 % 100, version % 100);
  return attention;
}

void mvs_cuda_attention_close(mvs_cuda_attention *attention) {
  if (!attention) return;
  for (size_t at = 0; attention->plans && at < attention->place.program->n_kernels; at++) {
    for (plan *each = attention->plans[at], *next; each; each = next) {
      next = each->next;
      if (each->graph.dnn) mvs_dnn_end(&each->graph);
      free(each);
    }
  }
  for (room *each = attention->rooms, *next; each; each = next) {
    next = each->next;
    attention->place.driver->release(each->memory);
    free(each);
  }
  if (attention->dnn.handle) attention->dnn.handle_free(attention->dnn.handle);
  free(attention->plans);
  free(attention);
}
