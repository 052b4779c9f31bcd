/* ops_movement.c: test rows of sources, reductions, segments and views. */
#include "tests/unit/ops_rows.h"

#define EXACT \
  { .reason = "exact" }
/* 16 accumulators of up to 7 terms each, folded in 4 steps; over tokens and samples up to 33
 * terms: sums below 10 times a term, each rounded by 2^-24 of itself. */
#define SUMS \
  { 0, 1e-6, "partial sums of up to 100 terms, each rounded" }

/* --- sources --- */

static void pass_through(ops_suite *s, mvs_op op) {
  (void)op;
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    ops_function(s, "input_%s", mvs_dtype_name((mvs_dtype)dtype));
    ops_result(s, "y", ops_input(s, "x", ops_shared(s, (mvs_dtype)dtype, 3)));
    ops_function(s, "input_twice_%s", mvs_dtype_name((mvs_dtype)dtype));
    mvs_id x = ops_input(s, "x", ops_shared(s, (mvs_dtype)dtype, 5));
    ops_result(s, "y", x);
    ops_result(s, "z", x);
    ops_result(s, "minus", ops_unary(s, MVS_OP_neg, x));
  }
}
const ops_row ops_row_input = {pass_through, -9, 9, EXACT, false};

/* A parameter as it is, read by kernels, and the part of one layer. */
static void parameter(ops_suite *s, mvs_op op) {
  (void)op;
  for (int i = 0; i < OPS_SHAPES; i++) {
    mvs_type type = ops_shared(s, MVS_F32, i);
    const int64_t inner[] = {type.dims[2].size};
    ops_function(s, "param_%d", i);
    mvs_id p = ops_param(s, mvs_arena_format(s->arena, "p%d", i), 1, inner);
    mvs_id all = ops_stacked_param(s, mvs_arena_format(s->arena, "s.{i}.q%d", i), 3, 1, inner);
    ops_result(s, "p", p);
    ops_result(s, "all", all);
    ops_result(s, "less", ops_binary(s, MVS_OP_max, ops_input(s, "x", type), p));
    ops_result(s, "one", ops_unary(s, MVS_OP_neg, ops_slice(s, all, 0, 1, 1)));
  }
}
const ops_row ops_row_param = {parameter, -9, 9, EXACT, false};

static void number(ops_suite *s, mvs_op op) {
  (void)op;
  static const double values[] = {0, 1, -2.5, 3, 100000};
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    ops_function(s, "constant_%s", mvs_dtype_name((mvs_dtype)dtype));
    mvs_id x = ops_input(s, "x", ops_shared(s, (mvs_dtype)dtype, 3));
    for (int i = 0; i < 5; i++) {
      double value = dtype == MVS_I32 ? (int)values[i] : values[i];
      if (dtype == MVS_BF16) value = mvs_reference_bf16(value);
      mvs_id id = ops_constant(s, (mvs_dtype)dtype, value);
      ops_result(s, mvs_arena_format(s->arena, "y%d", i), id);
      ops_result(s, mvs_arena_format(s->arena, "z%d", i), ops_binary(s, MVS_OP_max, x, id));
    }
  }
}
const ops_row ops_row_constant = {number, -9, 9, EXACT, false};

static void count(ops_suite *s, mvs_op op) {
  for (int dtype = MVS_F32; dtype <= MVS_I32; dtype += MVS_I32 - MVS_F32) {
    for (int i = 0; i < OPS_SHAPES; i++) {
      if (!ops_tries(s, i)) continue;
      mvs_type type = ops_shared(s, (mvs_dtype)dtype, i);
      for (int axis = 0; axis < 3; axis++) {
        ops_function(s, "iota_%d_%d_%d", dtype, i, axis);
        mvs_attr attr = {.iota = {type, axis}};
        mvs_id y = ops_node(s, op, &attr, MVS_NONE);
        ops_result(s, "y", y);
        ops_result(s, "z", ops_binary(s, MVS_OP_max, y, ops_input(s, "x", type)));
      }
    }
    mvs_attr flat = {.iota = {ops_type((mvs_dtype)dtype, 1, (int64_t[]){37}), 0}};
    ops_function(s, "iota_%d_flat", dtype);
    ops_result(s, "y", ops_node(s, op, &flat, MVS_NONE));
  }
}
const ops_row ops_row_iota = {count, -9, 9, EXACT, false};

/* --- reductions --- */

/* Every single axis of a type. */
static void axes(ops_suite *s, mvs_op op, const char *name, mvs_type type) {
  for (int axis = 0; axis < type.rank; axis++) {
    ops_function(s, "%s_%s_%s_%d", mvs_ops[op].name, name, mvs_dtype_name(type.dtype), axis);
    mvs_attr attr = {.axes = {1u << axis}};
    ops_result(s, "y", ops_node(s, op, &attr, ops_input(s, "x", type), MVS_NONE));
  }
}

static void reduce(ops_suite *s, mvs_op op) {
  const ops_tolerance sums = s->tolerance;
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    /* f64 sums have errors below 1e-14, i32 sums none. */
    if (dtype == MVS_F64 && sums.whole > 0) s->tolerance = (ops_tolerance){0, 1e-14, "f64"};
    if (dtype == MVS_I32) s->tolerance = (ops_tolerance)EXACT;
    if (dtype <= MVS_BF16) s->tolerance = sums;
    for (int i = 0; i < OPS_SHAPES; i++) {
      bool rare = s->few || dtype > MVS_F32;
      if (rare && !ops_shapes[i].few) continue;
      axes(s, op, mvs_arena_format(s->arena, "t%d", i), ops_shared(s, (mvs_dtype)dtype, i));
    }
    axes(s, op, "flat", ops_type((mvs_dtype)dtype, 1, (int64_t[]){37}));
    if (dtype > MVS_F32) continue;
    axes(s, op, "batch", ops_type((mvs_dtype)dtype, 1, (int64_t[]){0}));
    axes(s, op, "matrix", ops_type((mvs_dtype)dtype, 2, (int64_t[]){19, 33}));
    axes(s, op, "many", ops_type((mvs_dtype)dtype, 4, (int64_t[]){0, 3, 2, 5}));
    axes(s, op, "long", ops_type((mvs_dtype)dtype, 2, (int64_t[]){0, 1024}));
  }
}
const ops_row ops_row_sum = {reduce, -2, 2, SUMS, false};
const ops_row ops_row_max_over = {reduce, -9, 9, EXACT, false};

static void inverse_rms(ops_suite *s, mvs_op op) {
  for (int dtype = 0; dtype <= MVS_BF16; dtype++) {
    for (int i = 0; i < OPS_SHAPES; i++) {
      if (!ops_tries(s, i)) continue;
      ops_function(s, "inv_rms_%d_%d", dtype, i);
      mvs_attr attr = {.epsilon = {i % 2 ? 1e-5 : 0.1}};
      mvs_id x = ops_input(s, "x", ops_shared(s, (mvs_dtype)dtype, i));
      ops_result(s, "y", ops_node(s, op, &attr, x, MVS_NONE));
    }
  }
}
const ops_row ops_row_inv_rms = {
    inverse_rms,
    -9,
    9,
    {6e-7, 0, "half the error of 100 squares, three more roundings"},
    false};

/* --- segments --- */

/* Token tensors of ranks 2, 3 and 4 with every table. */
static mvs_type token_type(ops_suite *s, mvs_dtype dtype, int lengths, int rank) {
  mvs_type type = ops_tokens(s, dtype, ops_lengths[lengths], rank == 2 ? 1 : 5 + 7 * lengths);
  type.rank = (uint8_t)rank;
  if (rank == 4) type.dims[3] = (mvs_dim){3, false};
  return type;
}

static void to_segments(ops_suite *s, mvs_op op) {
  for (int dtype = 0; dtype <= MVS_BF16; dtype++) {
    for (int lengths = 0; lengths < OPS_LENGTHS; lengths++) {
      for (int rank = 2; rank <= 4; rank++) {
        if (s->few && lengths % 3) continue;
        ops_function(s, "%s_%d_%d_%d", mvs_ops[op].name, dtype, lengths, rank);
        mvs_id x = ops_input(s, "x", token_type(s, (mvs_dtype)dtype, lengths, rank));
        ops_result(s, "y", ops_unary(s, op, x));
      }
    }
  }
}
const ops_row ops_row_segment_sum = {to_segments, -2, 2, SUMS, false};
const ops_row ops_row_segment_mean = {to_segments, -2, 2, SUMS, false};

static void to_tokens(ops_suite *s, mvs_op op) {
  for (int dtype = 0; dtype <= MVS_BF16; dtype++) {
    for (int lengths = 0; lengths < OPS_LENGTHS; lengths++) {
      for (int rank = 2; rank <= 4; rank++) {
        if (s->few && lengths % 3) continue;
        mvs_type type = token_type(s, (mvs_dtype)dtype, lengths, rank);
        mvs_attr attr = {.segments = {type.segments}};
        type.dims[1].size = type.segments->count;
        type.segments = NULL;
        ops_function(s, "%s_%d_%d_%d", mvs_ops[op].name, dtype, lengths, rank);
        ops_result(s, "y", ops_node(s, op, &attr, ops_input(s, "m", type), MVS_NONE));
      }
    }
  }
}
const ops_row ops_row_segment_broadcast = {to_tokens, -9, 9, EXACT, false};
const ops_row ops_row_segment_spread = {
    to_tokens, -9, 9, {OPS_ROUNDED_2, 0, "a product with a rounded inverse"}, false};

/* --- views --- */

/* A view of an input, of a computed value, and read by element work. */
static void around(ops_suite *s, mvs_op op, const mvs_attr *attr, mvs_type type) {
  mvs_id x = ops_input(s, "x", type);
  ops_result(s, "of_input", ops_node(s, op, attr, x, MVS_NONE));
  mvs_id bent = ops_unary(s, MVS_OP_abs, x);
  mvs_id y = ops_node(s, op, attr, bent, MVS_NONE);
  ops_result(s, "of_value", y);
  ops_result(s, "read", ops_unary(s, MVS_OP_floor, y));
}

static void reshape(ops_suite *s, mvs_op op) {
  static const struct {
    int from, to;
    int64_t extents[2][4];
  } pairs[] = {
      {3, 2, {{0, 3, 14}, {0, 42}}},
      {2, 3, {{0, 33}, {0, 3, 11}}},
      {3, 4, {{0, 7, 12}, {0, 7, 3, 4}}},
      {4, 3, {{0, 7, 3, 5}, {0, 7, 15}}},
      {2, 1, {{5, 6}, {30}}},
      {1, 3, {{30}, {2, 3, 5}}},
      {1, 0, {{1}, {0}}},
      {3, 3, {{0, 4, 6}, {0, 6, 4}}},
      {3, 1, {{0, 1, 1}, {0}}},
  };
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    for (int i = 0; i < (int)(sizeof pairs / sizeof *pairs); i++) {
      if ((s->few || dtype > MVS_BF16) && i > 1) continue;
      ops_function(s, "reshape_%d_%d", dtype, i);
      mvs_attr attr = {.shape = {ops_type(MVS_F32, pairs[i].to, pairs[i].extents[1])}};
      around(s, op, &attr, ops_type((mvs_dtype)dtype, pairs[i].from, pairs[i].extents[0]));
    }
  }
  for (int i = 0; i < OPS_SHAPES; i++) { /* the batch joins the tokens */
    mvs_type type = ops_shared(s, MVS_F32, i);
    mvs_dim rows[] = {{type.dims[1].size, true}, type.dims[2]};
    mvs_attr attr = {.shape = {mvs_type_make(MVS_F32, 2, rows)}};
    ops_function(s, "reshape_rows_%d", i);
    around(s, op, &attr, type);
    mvs_dim all[] = {{type.dims[1].size * type.dims[2].size, true}};
    attr.shape.type = mvs_type_make(MVS_F32, 1, all);
    ops_function(s, "reshape_flat_%d", i);
    around(s, op, &attr, type);
  }
}
const ops_row ops_row_reshape = {reshape, -9, 9, EXACT, false};

static void transpose(ops_suite *s, mvs_op op) {
  static const struct {
    int rank;
    uint8_t axis[4];
    int64_t extents[4];
  } orders[] = {
      {2, {1, 0}, {7, 33}},
      {2, {1, 0}, {16, 1}},
      {3, {0, 2, 1}, {0, 5, 17}},
      {3, {0, 1, 2}, {0, 5, 17}},
      {3, {2, 0, 1}, {3, 4, 5}},
      {4, {0, 2, 1, 3}, {0, 3, 2, 15}},
      {4, {0, 3, 2, 1}, {0, 3, 2, 5}},
      {4, {0, 2, 3, 1}, {0, 3, 2, 16}},
  };
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    for (int i = 0; i < (int)(sizeof orders / sizeof *orders); i++) {
      if ((s->few || dtype > MVS_BF16) && i % 3) continue;
      ops_function(s, "transpose_%d_%d", dtype, i);
      mvs_attr attr = {.permutation = {.rank = orders[i].rank}};
      memcpy(attr.permutation.axis, orders[i].axis, 4);
      around(s, op, &attr, ops_type((mvs_dtype)dtype, orders[i].rank, orders[i].extents));
    }
  }
}
const ops_row ops_row_transpose = {transpose, -9, 9, EXACT, false};

/* Windows of an axis: its first elements, some in the middle, its last, all. */
static void windows(ops_suite *s, mvs_op op, int axis, mvs_type type) {
  int64_t extent = type.dims[axis].size;
  const int64_t starts[][2] = {
      {0, 1}, {extent / 3, (extent + 1) / 2}, {extent - 1, 1}, {0, extent}};
  for (int i = 0; i < 4; i++) {
    mvs_attr attr = {.slice = {axis, starts[i][0], starts[i][1], extent, NULL}};
    if (op == MVS_OP_pad) type.dims[axis].size = starts[i][1];
    ops_function(s, "%s_%s_%d_of_%d_%d_%d", mvs_ops[op].name, mvs_dtype_name(type.dtype), axis,
                 type.rank, (int)extent, i);
    around(s, op, &attr, type);
  }
}

static void window(ops_suite *s, mvs_op op) {
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    if (s->few ? dtype != MVS_BF16 : dtype > MVS_BF16) continue;
    windows(s, op, 1, ops_type((mvs_dtype)dtype, 3, (int64_t[]){0, 7, 17}));
    windows(s, op, 2, ops_type((mvs_dtype)dtype, 3, (int64_t[]){0, 3, 33}));
    windows(s, op, 0, ops_type((mvs_dtype)dtype, 2, (int64_t[]){5, 16}));
    if (dtype != MVS_F32) continue;
    windows(s, op, 0, ops_type(MVS_F32, 1, (int64_t[]){100}));
    windows(s, op, 2, ops_type(MVS_F32, 4, (int64_t[]){0, 2, 4, 15}));
  }
}
const ops_row ops_row_slice = {window, -9, 9, EXACT, false};
const ops_row ops_row_pad = {window, -9, 9, EXACT, true};

/* Parts of lengths 1, 2, 7 and so on along an axis: inputs, values, one of them twice. */
static void join(ops_suite *s, mvs_op op, mvs_type type, int axis, const int *lengths) {
  mvs_id parts[8];
  int count = 0;
  for (; lengths[count]; count++) {
    type.dims[axis].size = lengths[count];
    parts[count] = ops_input(s, mvs_arena_format(s->arena, "x%d", count), type);
    if (count % 2)
      parts[count] = ops_cast(s, ops_unary(s, MVS_OP_abs, parts[count]), type.dtype);
  }
  parts[count] = parts[0];
  mvs_attr attr = {.concat = {axis, NULL}};
  mvs_id y = mvs_graph_add(s->graph, op, parts, count + 1, &attr, s->span);
  ops_result(s, "y", y);
  ops_result(s, "read", ops_unary(s, MVS_OP_floor, y));
  ops_result(s, "part", parts[1]);
}

static void concat(ops_suite *s, mvs_op op) {
  static const int lengths[][6] = {{1, 1}, {1, 2, 7},    {15, 16},
                                   {8, 8}, {33, 1, 100}, {2, 4, 6, 2, 2}};
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    for (int i = 0; i < 6; i++) {
      if ((s->few || dtype > MVS_F32) && i % 3 != dtype % 3) continue;
      ops_function(s, "concat_tokens_%d_%d", dtype, i);
      join(s, op, ops_type((mvs_dtype)dtype, 3, (int64_t[]){0, 1, 17}), 1, lengths[i]);
      ops_function(s, "concat_features_%d_%d", dtype, i);
      join(s, op, ops_type((mvs_dtype)dtype, 3, (int64_t[]){0, 3, 1}), 2, lengths[i]);
      ops_function(s, "concat_first_%d_%d", dtype, i);
      join(s, op, ops_type((mvs_dtype)dtype, 2, (int64_t[]){1, 5}), 0, lengths[i]);
    }
  }
}
const ops_row ops_row_concat = {concat, -9, 9, EXACT, false};
