/* ops_elements.c: test rows of elementwise ops. */
#include "tests/unit/ops_rows.h"

#define EXACT \
  { .reason = "exact" }
#define ONE_ROUND \
  { OPS_ROUNDED, 0, "one rounding" }
#define TWO_ROUNDS \
  { OPS_ROUNDED_2, 0, "two roundings" }
#define TWO_ULP \
  { 2 * 0x1p-23, 0x1p-126, "polynomials are within 2 ulp" }

static const ops_tolerance exact = EXACT;

/* --- operands --- */

static const char *const names[] = {"a", "b", "c"};

/* Sets the tolerance of the functions that follow, for a result of that dtype. */
static void set_tolerance(ops_suite *s, const ops_tolerance *row, mvs_dtype computed) {
  s->tolerance = computed == MVS_F64 || computed == MVS_I32 ? exact : *row;
}

/* op(a, b, c) of inputs of these types. */
static mvs_id apply(ops_suite *s, mvs_op op, const mvs_type *types) {
  mvs_id inputs[3];
  int count = mvs_ops[op].most_inputs;
  for (int i = 0; i < count; i++) inputs[i] = ops_input(s, names[i], types[i]);
  return mvs_graph_add(s->graph, op, inputs, count, NULL, s->span);
}

static void same_type(ops_suite *s, mvs_op op, mvs_type type) {
  ops_result(s, "y", apply(s, op, (mvs_type[]){type, type, type}));
}

/* --- shapes --- */

/* Shapes without tokens: a scalar, no batch, nothing but the batch, several elements of one
 * axis for each sample, many axes. */
static void plain_shapes(ops_suite *s, mvs_op op) {
  static const struct {
    int rank;
    int64_t extents[4];
  } shapes[] = {{0, {0}}, {1, {37}}, {1, {0}}, {2, {0, 33}}, {2, {4, 1}}, {4, {0, 3, 2, 5}}};
  int count = s->few ? 2 : (int)(sizeof shapes / sizeof *shapes);
  for (int i = 0; i < count; i++) {
    ops_function(s, "%s_plain%d", mvs_ops[op].name, i);
    same_type(s, op, ops_type(MVS_F32, shapes[i].rank, shapes[i].extents));
  }
  ops_function(s, "%s_flat", mvs_ops[op].name);
  same_type(s, op, mvs_type_make(MVS_F32, 1, (mvs_dim[]){{29, true}}));
}

static void token_shapes(ops_suite *s, mvs_op op) {
  for (int i = 0; i < OPS_SHAPES; i++) {
    if (!ops_tries(s, i)) continue;
    ops_function(s, "%s_tokens%d", mvs_ops[op].name, i);
    same_type(s, op, ops_shared(s, MVS_F32, i));
  }
}

/* One operand is stretched, each in its turn. */
static void stretched(ops_suite *s, mvs_op op) {
  static const int shapes[] = {1, 3, 5};
  for (int i = 0; i < (s->few ? 1 : 3); i++) {
    mvs_type full = ops_shared(s, MVS_F32, shapes[i]);
    int64_t tokens = full.dims[1].size, inner = full.dims[2].size;
    const mvs_type small[] = {
        ops_type(MVS_F32, 0, NULL),
        ops_type(MVS_F32, 1, (int64_t[]){inner}),
        ops_type(MVS_F32, 2, (int64_t[]){tokens, 1}),
        ops_type(MVS_F32, 3, (int64_t[]){0, 1, inner}),
        ops_type(MVS_F32, 3, (int64_t[]){0, tokens, 1}),
        ops_type(MVS_F32, 3, (int64_t[]){1, tokens, inner}),
    };
    for (int k = 0; k < 6; k++) {
      mvs_type types[3] = {full, full, full};
      types[k % mvs_ops[op].most_inputs] = small[k];
      ops_function(s, "%s_stretched%d_%d", mvs_ops[op].name, i, k);
      ops_result(s, "y", apply(s, op, types));
    }
  }
}

/* --- dtypes --- */

static void in_dtype(ops_suite *s, mvs_op op, mvs_dtype dtype) {
  for (int i = 0; i < OPS_SHAPES; i += 3) { /* 1, 15 and 33 features */
    if (!ops_tries(s, i)) continue;
    ops_function(s, "%s_%s%d", mvs_ops[op].name, mvs_dtype_name(dtype), i);
    same_type(s, op, ops_shared(s, dtype, i));
  }
}

static void to_bf16(ops_suite *s, mvs_op op) {
  s->tolerance = (ops_tolerance){OPS_BF16, 0, "a result next to a tie"};
  for (int i = 0; i < OPS_SHAPES; i += 3) {
    if (!ops_tries(s, i)) continue;
    mvs_type type = ops_shared(s, MVS_BF16, i);
    ops_function(s, "%s_to_bf16_%d", mvs_ops[op].name, i);
    ops_result(s, "y", ops_cast(s, apply(s, op, (mvs_type[]){type, type, type}), MVS_BF16));
  }
}

static void mixed(ops_suite *s, mvs_op op, const ops_tolerance *row) {
  static const mvs_dtype pairs[][2] = {{MVS_F32, MVS_BF16},
                                       {MVS_F32, MVS_I32},
                                       {MVS_F64, MVS_F32},
                                       {MVS_I32, MVS_F64},
                                       {MVS_BF16, MVS_I32}};
  if (mvs_ops[op].most_inputs < 2) return;
  for (int i = 0; i < 5; i++) {
    mvs_type a = ops_shared(s, pairs[i][0], 3), b = ops_shared(s, pairs[i][1], 3);
    bool wide = pairs[i][0] == MVS_F64 || pairs[i][1] == MVS_F64;
    set_tolerance(s, row, wide ? MVS_F64 : MVS_F32);
    ops_function(s, "%s_mixed%d", mvs_ops[op].name, i);
    ops_result(s, "y", apply(s, op, (mvs_type[]){a, b, a}));
  }
}

/* Where results overflow, vanish or have no value: multiples of 30 from the range. */
static void far_out(ops_suite *s, mvs_op op) {
  ops_function(s, "%s_far", mvs_ops[op].name);
  mvs_id x = ops_unary(s, MVS_OP_floor, ops_input(s, "x", ops_shared(s, MVS_F32, 7)));
  x = ops_binary(s, MVS_OP_mul, x, ops_constant(s, MVS_F32, 30));
  ops_result(s, "y", ops_unary(s, op, x));
}

/* Ops of f32 alone. */
static void real_element(ops_suite *s, mvs_op op) {
  token_shapes(s, op);
  if (mvs_ops[op].most_inputs == 1) far_out(s, op);
  plain_shapes(s, op);
  in_dtype(s, op, MVS_BF16);
  to_bf16(s, op);
}

/* Ops of f32 and f64. */
static void double_element(ops_suite *s, mvs_op op) {
  ops_tolerance row = s->tolerance;
  real_element(s, op);
  set_tolerance(s, &row, MVS_F64);
  in_dtype(s, op, MVS_F64);
}

/* Ops of every dtype, and of mixtures. */
static void any_element(ops_suite *s, mvs_op op) {
  ops_tolerance row = s->tolerance;
  if (mvs_ops[op].most_inputs > 1) stretched(s, op);
  double_element(s, op);
  set_tolerance(s, &row, MVS_I32);
  in_dtype(s, op, MVS_I32);
  mixed(s, op, &row);
}

/* Either operand is NaN in places, or both are: a where it is below nothing. */
static void undefined(ops_suite *s, mvs_op op) {
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    if (dtype == MVS_I32) continue;
    ops_function(s, "%s_undefined_%s", mvs_ops[op].name, mvs_dtype_name((mvs_dtype)dtype));
    mvs_id a = ops_input(s, "a", ops_shared(s, (mvs_dtype)dtype, 7));
    mvs_id b = ops_input(s, "b", ops_shared(s, (mvs_dtype)dtype, 7));
    mvs_id zero = ops_constant(s, MVS_F32, 0);
    mvs_id none = ops_binary(s, MVS_OP_div, zero, ops_binary(s, MVS_OP_max, a, zero));
    a = ops_binary(s, MVS_OP_add, a, none);
    ops_result(s, "left", ops_binary(s, op, a, b));
    ops_result(s, "right", ops_binary(s, op, b, a));
    ops_result(s, "both", ops_binary(s, op, a, a));
  }
}

/* Ops of every dtype that compare. */
static void comparison(ops_suite *s, mvs_op op) {
  any_element(s, op);
  s->tolerance = exact;
  undefined(s, op);
}

const ops_row ops_row_neg = {any_element, -9, 9, EXACT, false};
const ops_row ops_row_abs = {any_element, -9, 9, EXACT, false};
const ops_row ops_row_floor = {any_element, -9, 9, EXACT, false};
const ops_row ops_row_exp = {real_element, -9, 9, TWO_ULP, false};
const ops_row ops_row_log = {real_element, 0.01, 9, TWO_ULP, false};
const ops_row ops_row_sqrt = {double_element, 0.01, 9, ONE_ROUND, false};
const ops_row ops_row_sin = {real_element, -300, 300, TWO_ULP, false};
const ops_row ops_row_cos = {real_element, -300, 300, TWO_ULP, false};
const ops_row ops_row_tanh = {real_element, -9, 9, TWO_ULP, false};
const ops_row ops_row_sigmoid = {real_element, -9, 9, TWO_ULP, false};
const ops_row ops_row_add = {any_element, -9, 9, ONE_ROUND, false};
const ops_row ops_row_sub = {any_element, -9, 9, ONE_ROUND, false};
const ops_row ops_row_mul = {any_element, -9, 9, ONE_ROUND, false};
const ops_row ops_row_max = {comparison, -9, 9, EXACT, false};
const ops_row ops_row_min = {comparison, -9, 9, EXACT, false};
const ops_row ops_row_less = {comparison, -9, 9, EXACT, false};

/* 1 / sqrt in two steps, in f64 too, where the reference takes the same two. */
const ops_row ops_row_rsqrt = {double_element, 0.01, 9, TWO_ROUNDS, false};

/* --- ops with cases of their own --- */

/* Quotients of both signs, which round towards zero in whole numbers. */
static void divide(ops_suite *s, mvs_op op) {
  any_element(s, op);
  ops_function(s, "div_signs");
  mvs_type type = ops_shared(s, MVS_I32, 7);
  mvs_id a = ops_binary(s, MVS_OP_sub, ops_input(s, "a", type), ops_constant(s, MVS_I32, 20));
  ops_result(s, "y", ops_binary(s, op, a, ops_input(s, "b", type)));
}
const ops_row ops_row_div = {divide, 1, 40, ONE_ROUND, false};

/* Where a product and a summand nearly cancel, two roundings would be too far away. */
const ops_row ops_row_fma = {any_element, -9, 9, ONE_ROUND, false};

/* Values that are often equal. */
static void equal(ops_suite *s, mvs_op op) {
  comparison(s, op);
  ops_function(s, "equal_often");
  mvs_type type = ops_shared(s, MVS_F32, 7);
  mvs_id a = ops_unary(s, MVS_OP_floor, ops_input(s, "a", type));
  mvs_id b = ops_unary(s, MVS_OP_floor, ops_input(s, "b", type));
  ops_result(s, "y", ops_binary(s, op, a, b));
}
const ops_row ops_row_equal = {equal, -2, 2, EXACT, false};

/* Conditions of every dtype, zero in places. */
static void choose(ops_suite *s, mvs_op op) {
  any_element(s, op);
  for (int dtype = 0; dtype < MVS_DTYPE_COUNT; dtype++) {
    ops_function(s, "select_if_%s", mvs_dtype_name((mvs_dtype)dtype));
    mvs_type type = ops_shared(s, MVS_F32, 7);
    mvs_id a = ops_input(s, "a", ops_shared(s, (mvs_dtype)dtype, 7));
    mvs_id zero = ops_constant(s, MVS_I32, 0);
    a = ops_binary(s, MVS_OP_max, ops_unary(s, MVS_OP_floor, a), zero);
    mvs_id b = ops_input(s, "b", type), c = ops_input(s, "c", type);
    ops_result(s, "y", ops_node(s, op, NULL, a, b, c, MVS_NONE));
  }
}
const ops_row ops_row_select = {choose, -2, 2, EXACT, false};

static void cast(ops_suite *s, mvs_op op) {
  (void)op;
  ops_tolerance rounded = s->tolerance;
  for (int from = 0; from < MVS_DTYPE_COUNT; from++) {
    for (int to = 0; to < MVS_DTYPE_COUNT; to++) {
      for (int i = 0; i < OPS_SHAPES; i++) {
        if (s->few ? i > 0 : i % 2) continue;
        s->tolerance = from == MVS_F64 && to == MVS_F32 ? rounded : exact;
        const char *names_of[] = {mvs_dtype_name((mvs_dtype)from),
                                  mvs_dtype_name((mvs_dtype)to)};
        ops_function(s, "cast_%s_%s_%d", names_of[0], names_of[1], i);
        mvs_id x = ops_input(s, "x", ops_shared(s, (mvs_dtype)from, i));
        ops_result(s, "y", ops_cast(s, x, (mvs_dtype)to));
      }
    }
  }
}
/* Whole numbers from 256 on lie on ties of bf16. */
const ops_row ops_row_cast = {cast, -2000, 2000, ONE_ROUND, false};

/* The other inputs of a draw are whole numbers of the range. */
static void draw(ops_suite *s, mvs_op op) {
  const ops_tolerance normal = s->tolerance;
  mvs_type types[] = {ops_shared(s, MVS_F32, 1),
                      ops_shared(s, MVS_F32, 3),
                      ops_shared(s, MVS_F32, 7),
                      ops_type(MVS_F32, 1, (int64_t[]){0}),
                      ops_type(MVS_F32, 2, (int64_t[]){0, 33}),
                      ops_type(MVS_F32, 4, (int64_t[]){0, 3, 2, 5}),
                      ops_type(MVS_F32, 1, (int64_t[]){19})};
  for (int kind = MVS_RANDOM_UNIFORM; kind <= MVS_RANDOM_NORMAL; kind++) {
    for (int i = 0; i < 7; i++) {
      if (s->few ? i != 1 : kind == MVS_RANDOM_UNIFORM && i % 2) continue;
      s->tolerance = kind == MVS_RANDOM_NORMAL ? normal : exact;
      ops_function(s, "random_%d_%d", kind, i);
      int64_t ones[MVS_MAX_RANK] = {0, 1, 1, 1};
      mvs_type scalar = ops_type(MVS_I32, 0, NULL);
      mvs_type sample = i == 6 ? scalar : ops_type(MVS_I32, types[i].rank, ones);
      mvs_attr attr = {.random = {(mvs_random_kind)kind, (uint32_t)i, types[i]}};
      mvs_id seed = ops_input(s, "seed", scalar), step = ops_input(s, "step", scalar);
      mvs_id number = ops_input(s, "sample", sample);
      ops_result(s, "y", ops_node(s, op, &attr, seed, step, number, MVS_NONE));
    }
  }
}
/* The angle is rounded to f32 before the cosine, whose value may be near 0. */
const ops_row ops_row_random = {
    draw, -3, 100000, {0, 4e-6, "an angle of up to 2 pi rounded to f32, times 6"}, false};

static void stretch(ops_suite *s, mvs_op op) {
  for (int i = 0; i < OPS_SHAPES; i++) {
    if (!ops_tries(s, i)) continue;
    mvs_type full = ops_shared(s, MVS_F32, i);
    int64_t tokens = full.dims[1].size, inner = full.dims[2].size;
    const mvs_type small[] = {
        ops_type(MVS_F32, 0, NULL),
        ops_type(MVS_F32, 1, (int64_t[]){inner}),
        ops_type(MVS_BF16, 2, (int64_t[]){tokens, 1}),
        ops_type(MVS_F32, 3, (int64_t[]){0, 1, inner}),
        ops_type(MVS_I32, 3, (int64_t[]){0, tokens, 1}),
        ops_type(MVS_F64, 3, (int64_t[]){1, 1, inner}),
    };
    for (int k = 0; k < 6; k++) {
      ops_function(s, "broadcast_%d_%d", i, k);
      mvs_attr attr = {.shape = {full}};
      ops_result(s, "y", ops_node(s, op, &attr, ops_input(s, "x", small[k]), MVS_NONE));
    }
  }
}
const ops_row ops_row_broadcast = {stretch, -9, 9, EXACT, false};

static void normalize(ops_suite *s, mvs_op op) {
  for (int dtype = MVS_F32; dtype <= MVS_BF16; dtype++) {
    for (int i = 0; i < OPS_SHAPES; i++) {
      if (!ops_tries(s, i)) continue;
      mvs_type full = ops_shared(s, (mvs_dtype)dtype, i), one = full;
      one.dtype = MVS_F32;
      one.dims[2].size = 1;
      ops_function(s, "normalize_%d_%d", dtype, i);
      mvs_id x = ops_input(s, "x", full), r = ops_input(s, "r", one);
      ops_result(s, "y", ops_node(s, op, NULL, x, r, MVS_NONE));
    }
  }
}
const ops_row ops_row_normalize = {normalize, -9, 9, ONE_ROUND, false};
