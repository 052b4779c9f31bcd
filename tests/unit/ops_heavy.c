/* ops_heavy.c: test rows of matmul, attention, regions and the ops that belong to them. */
#include "compiler/passes/region_builder.h"
#include "tests/unit/ops_rows.h"

#define EXACT \
  { .reason = "exact" }

/* --- matmul --- */

/* Sizes m, n, k. Rows of a batched operand are m for each sample. */
static const int64_t sizes[][3] = {{1, 1, 1},   {2, 7, 15},  {7, 2, 16},   {15, 16, 17},
                                   {16, 33, 7}, {17, 15, 2}, {33, 100, 1}, {100, 17, 33},
                                   {5, 64, 64}, {3, 1, 100}};
#define SIZES 10

typedef struct product {
  mvs_matmul_form form;
  mvs_dtype in, out;
  bool batched, bias, weight; /* the second operand is a parameter */
} product;

/* The second operand, as a parameter where it is to be one: those are f32. */
static mvs_id second(ops_suite *s, const product *p, const int64_t *extents) {
  if (!p->weight) return ops_input(s, "b", ops_type(p->in, 2, extents));
  mvs_id w =
      ops_param(s, mvs_arena_format(s->arena, "w%zu", s->module->params.count), 2, extents);
  return p->in == MVS_F32 ? w : ops_cast(s, w, p->in);
}

static void product_of(ops_suite *s, const product *p, const int64_t *size, const char *name) {
  int64_t m = size[0], n = size[1], k = size[2];
  ops_function(s, "matmul_%s_%d%d%d%d_%dx%dx%d", name, p->in, p->out, p->batched, p->bias,
               (int)m, (int)n, (int)k);
  int64_t rows = p->form == MVS_MATMUL_TN ? k : m, columns = p->form == MVS_MATMUL_TN ? m : k;
  int64_t a_extents[] = {0, rows, columns}, b_extents[] = {0, rows, n};
  int skip = !p->batched;
  mvs_id a = ops_input(s, "a", ops_type(p->in, 3 - skip, a_extents + skip)), b;
  if (p->form == MVS_MATMUL_TN) {
    b = ops_input(s, "b", ops_type(p->in, 3 - skip, b_extents + skip));
  } else {
    b = second(s, p, p->form == MVS_MATMUL_NT ? (int64_t[]){n, k} : (int64_t[]){k, n});
  }
  mvs_id bias = p->bias ? ops_input(s, "bias", ops_type(p->out, 1, &n)) : MVS_NONE;
  ops_result(s, "y", mvs_build_matmul(s->graph, p->form, a, b, bias, p->out, s->span));
}

static void matmul(ops_suite *s, mvs_op op) {
  (void)op;
  static const char *const forms[] = {"nt", "nn", "tn"};
  static const product kinds[] = {
      {MVS_MATMUL_NT, MVS_F32, MVS_F32, true, false, true},
      {MVS_MATMUL_NT, MVS_F32, MVS_F32, true, true, true},
      {MVS_MATMUL_NT, MVS_BF16, MVS_BF16, true, true, true},
      {MVS_MATMUL_NT, MVS_BF16, MVS_F32, false, false, false},
      {MVS_MATMUL_NN, MVS_F32, MVS_F32, true, false, true},
      {MVS_MATMUL_NN, MVS_BF16, MVS_BF16, true, false, false},
      {MVS_MATMUL_NN, MVS_F32, MVS_F32, false, false, false},
      {MVS_MATMUL_TN, MVS_F32, MVS_F32, true, false, false},
      {MVS_MATMUL_TN, MVS_BF16, MVS_F32, true, false, false},
      {MVS_MATMUL_TN, MVS_F32, MVS_F32, false, false, false},
  };
  const ops_tolerance sums = s->tolerance;
  for (int kind = 0; kind < (int)(sizeof kinds / sizeof *kinds); kind++) {
    for (int i = 0; i < SIZES; i++) {
      if (s->few && (i + kind) % 5) continue;
      s->tolerance = sums;
      if (kinds[kind].out == MVS_BF16)
        s->tolerance = (ops_tolerance){OPS_BF16, 1e-6, "a sum next to a tie of bf16"};
      product_of(s, &kinds[kind], sizes[i], forms[kinds[kind].form]);
    }
  }
}
const ops_row ops_row_matmul = {
    matmul, -1, 1, {0, 4e-6, "up to 500 terms in one f32 sum, each step rounded"}, false};

/* --- attention --- */

typedef struct heads {
  int64_t tokens, heads, groups, width;
} heads;

static const heads shapes[] = {{1, 1, 1, 1},   {2, 4, 2, 7},  {7, 3, 1, 15}, {17, 6, 3, 16},
                               {33, 2, 2, 33}, {5, 2, 1, 64}, {70, 1, 1, 2}, {9, 8, 2, 17}};
#define HEADS 8

/* Queries, keys and values of a shape. */
static void operands(ops_suite *s, const heads *h, mvs_dtype dtype, mvs_id *qkv) {
  const int64_t q[] = {0, h->tokens, h->heads, h->width};
  const int64_t k[] = {0, h->tokens, h->groups, h->width};
  qkv[0] = ops_input(s, "q", ops_type(dtype, 4, q));
  qkv[1] = ops_input(s, "k", ops_type(dtype, 4, k));
  qkv[2] = ops_input(s, "v", ops_type(dtype, 4, k));
}

static double scale_of(const heads *h) { return h->width > 2 ? 0.25 : 1; }

static void results(ops_suite *s, mvs_id tuple, int count) {
  static const char *const names[] = {"r0", "r1", "r2"};
  for (int i = 0; i < count; i++) {
    ops_result(s, names[i], mvs_build_get(s->graph, tuple, (uint32_t)i, s->span));
  }
}

static void attention(ops_suite *s, mvs_op op) {
  const ops_tolerance f32 = s->tolerance;
  for (int dtype = MVS_F32; dtype <= MVS_BF16; dtype++) {
    for (int i = 0; i < HEADS; i++) {
      if (s->few && i % 3) continue;
      s->tolerance = f32;
      if (dtype == MVS_BF16)
        s->tolerance = (ops_tolerance){OPS_BF16, 4e-3, "weights may be rounded to bf16"};
      mvs_id qkv[3];
      ops_function(s, "attention_%d_%d", dtype, i);
      operands(s, &shapes[i], (mvs_dtype)dtype, qkv);
      mvs_attr attr = {.attention = {scale_of(&shapes[i])}};
      results(s, mvs_graph_add(s->graph, op, qkv, 3, &attr, s->span), 2);
    }
  }
}
const ops_row ops_row_attention = {
    attention, -2, 2, {0, 4e-6, "an exponential, sums of up to 70 terms"}, false};

/* o and lse come from the forward op: the gradient may rely on them. */
static void attention_grad(ops_suite *s, mvs_op op) {
  const ops_tolerance f32 = s->tolerance;
  for (int dtype = MVS_F32; dtype <= MVS_BF16; dtype++) {
    for (int i = 0; i < HEADS; i++) {
      if (s->few && i % 3) continue;
      s->tolerance = f32;
      if (dtype == MVS_BF16)
        s->tolerance = (ops_tolerance){OPS_BF16, 8e-3, "o is bf16, weights may be rounded"};
      mvs_id in[6];
      ops_function(s, "attention_grad_%d_%d", dtype, i);
      operands(s, &shapes[i], (mvs_dtype)dtype, in);
      mvs_attr attr = {.attention = {scale_of(&shapes[i])}};
      mvs_id forward = mvs_graph_add(s->graph, MVS_OP_attention, in, 3, &attr, s->span);
      in[3] = mvs_build_get(s->graph, forward, 0, s->span);
      in[4] = mvs_build_get(s->graph, forward, 1, s->span);
      in[5] = ops_input(s, "do", *mvs_graph_type(s->graph, in[0]));
      results(s, mvs_graph_add(s->graph, op, in, 6, &attr, s->span), 3);
    }
  }
}
const ops_row ops_row_attention_grad = {
    attention_grad, -2, 2, {0, 1e-5, "differences of weights, sums of up to 70 terms"}, false};

/* Some results of an op are taken, others are not, one of them twice. */
static void take(ops_suite *s, mvs_op op) {
  (void)op;
  for (int which = 1; which < 4; which++) {
    mvs_id qkv[3];
    ops_function(s, "get_%d", which);
    operands(s, &shapes[3], MVS_F32, qkv);
    mvs_attr attr = {.attention = {0.25}};
    mvs_id tuple = mvs_graph_add(s->graph, MVS_OP_attention, qkv, 3, &attr, s->span);
    for (uint32_t i = 0; i < 2; i++) {
      if (!(which >> i & 1)) continue;
      mvs_id y = mvs_build_get(s->graph, tuple, i, s->span);
      ops_result(s, i ? "lse" : "o", y);
      ops_result(s, i ? "lse_again" : "o_again", y);
      ops_result(s, i ? "minus_lse" : "minus_o", ops_unary(s, MVS_OP_neg, y));
    }
  }
}
const ops_row ops_row_get = {take, -2, 2, {0, 4e-6, "that of attention"}, false};

/* --- regions: their parts one by one; ops_regions.c has them together --- */

static mvs_region_builder *region_of(ops_suite *s, int64_t count, bool reverse) {
  mvs_region like = {.label = "s", .count = count};
  return mvs_region_builder_new(s->graph, &like, reverse);
}

/* x' = max(x, w_l) + l - previous minimum, all outputs collected. */
static void small_region(ops_suite *s, mvs_type type, int64_t count, bool reverse) {
  mvs_type stacked = type;
  stacked.segments = NULL;
  stacked.rank++;
  for (int i = type.rank; i > 0; i--) stacked.dims[i] = type.dims[i - 1];
  stacked.dims[0] = (mvs_dim){count, false};
  mvs_region_builder *b = region_of(s, count, reverse);
  mvs_graph *body = b->region->body;
  mvs_id x = mvs_region_builder_carried(b, ops_input(s, "x", type));
  mvs_id w = mvs_region_builder_stacked(b, ops_input(s, "w", stacked), &type);
  mvs_id fixed = mvs_region_builder_invariant(b, ops_input(s, "fixed", type));
  mvs_id before = mvs_region_builder_read(b, 0, 1, &type);
  mvs_id layer = mvs_build_cast(body, mvs_region_builder_layer(b), MVS_F32, s->span);
  mvs_id y = mvs_build_binary(body, MVS_OP_max, x, w, s->span);
  y = mvs_build_binary(body, MVS_OP_add, y, layer, s->span);
  y = mvs_build_binary(body, MVS_OP_sub, y, before, s->span);
  mvs_region_builder_output(b, mvs_build_binary(body, MVS_OP_min, x, fixed, s->span));
  mvs_region_builder_next(b, 0, y);
  mvs_id node = mvs_region_builder_finish(b);
  ops_result(s, "last", mvs_build_get(s->graph, node, 0, s->span));
  ops_result(s, "all", mvs_build_get(s->graph, node, 1, s->span));
}

static void region(ops_suite *s, mvs_op op) {
  (void)op;
  static const int64_t counts[] = {1, 2, 5};
  for (int i = 0; i < OPS_SHAPES; i++) {
    if (!ops_tries(s, i)) continue;
    for (int reverse = 0; reverse < 2; reverse++) {
      ops_function(s, "region_%d_%d", i, reverse);
      small_region(s, ops_shared(s, MVS_F32, i), counts[i % 3], reverse);
    }
  }
}
const ops_row ops_row_region = {
    region, -9, 9, {0, 1e-6, "a few roundings for each of five layers"}, false};

/* Each kind of argument, taken as it is. */
static void argument(ops_suite *s, mvs_op op) {
  (void)op;
  for (int i = 0; i < OPS_SHAPES; i++) {
    if (!ops_tries(s, i)) continue;
    mvs_type type = ops_shared(s, MVS_F32, i);
    ops_function(s, "argument_%d", i);
    mvs_region_builder *b = region_of(s, 4, i % 2);
    mvs_graph *body = b->region->body;
    mvs_id x = mvs_region_builder_carried(b, ops_input(s, "x", type));
    mvs_id y = mvs_region_builder_carried(b, ops_input(s, "y", type));
    mvs_region_builder_next(b, 0, y);
    mvs_region_builder_next(b, 1, x);
    mvs_region_builder_output(b, x);
    mvs_region_builder_output(b, mvs_region_builder_layer(b));
    mvs_region_builder_output(b, mvs_region_builder_read(b, 0, 2, &type));
    mvs_id fixed = mvs_region_builder_invariant(b, ops_input(s, "fixed", type));
    mvs_region_builder_output(b, mvs_build_unary(body, MVS_OP_neg, fixed, s->span));
    mvs_id node = mvs_region_builder_finish(b);
    for (uint32_t k = 0; k < 6; k++) {
      ops_result(s, mvs_arena_format(s->arena, "r%u", k),
                 mvs_build_get(s->graph, node, k, s->span));
    }
  }
}
const ops_row ops_row_argument = {argument, -9, 9, EXACT, false};
