/* print_nest.c: a nest as one function over units: how it is divided, and the walk through
 * the units, their rows and the indices of the parallel axes.
 *
 * A unit is a chunk of rows by a chunk of the inner axis; the runtime hands ranges of units
 * to threads and knows only the two chunk sizes (mvs_nest_units). Division follows a rough
 * count of cycles, so that a unit is worth handing out and there are enough for all threads;
 * no choice made here changes a bit. Within a unit the row's indices advance like an
 * odometer. */
#include "codegen/host/nest.h"

/* A unit should take a few microseconds: long enough to hide handing it out. Counted in vector
 * operations of about a cycle. */
#define UNIT_COST 8192
/* Units to aim for when the number of rows is known: several per thread, for balance. */
#define LEAST_UNITS 16
/* Inner columns that one unit of a COLUMNS nest sums: fewer where that leaves threads idle,
 * since the sums of one vector take as long as those of four. */
#define COLUMN_CHUNK       64
#define LEAST_COLUMN_UNITS 4

/* --- division --- */

/* Cycles of an instruction for 16 elements, roughly: only the size of units depends on it. */
static int64_t instr_cost(const mvs_instr *instr) {
  switch (instr->kind) {
    case MVS_INSTR_CONSTANT:
    case MVS_INSTR_LAYER:
      return 0;
    case MVS_INSTR_LOAD:
    case MVS_INSTR_STORE:
      return 2;
    case MVS_INSTR_RANDOM:
      return 100;
    case MVS_INSTR_ARITH:
      break;
    default:
      return 1;
  }
  if (mvs_op_is_dear(instr->op)) return 20;
  switch (instr->op) {
    case MVS_OP_div:
    case MVS_OP_sqrt:
    case MVS_OP_rsqrt:
      return 10;
    default:
      return 1;
  }
}

/* Cycles for 16 elements through all instructions. */
static int64_t chunk_cost(const mvs_nest *nest) {
  int64_t cost = 1;
  for (size_t i = 0; i < nest->instrs.count; ++i) cost += instr_cost(&nest->instrs.items[i]);
  return cost;
}

/* The product of the parallel axes; the batch is one of them, if any. */
static mvs_dim row_count(const mvs_nest *nest) {
  mvs_dim rows = {1, false};
  for (int axis = 0; axis < nest->outer_count; ++axis) {
    rows.size *= nest->outer[axis].size;
    rows.per_batch |= nest->outer[axis].per_batch;
  }
  return rows;
}

/* The greater of the two. */
static int64_t at_least(int64_t value, int64_t least) { return value < least ? least : value; }

/* A row that is divided would store its scalars once per unit. */
static bool has_row_store(const mvs_nest_print *p) {
  for (size_t i = 0; i < p->count; ++i) {
    if (p->uniform[i] && p->nest->instrs.items[i].kind == MVS_INSTR_STORE) return true;
  }
  return false;
}

/* Vectors along the reduced axis, guessed where they depend on the batch or segment. */
static int64_t sequential_length(const mvs_nest_print *p) {
  const mvs_nest *nest = p->nest;
  int64_t length = at_least(nest->sequential, nest->sequential_batch ? 256 : 1);
  if (nest->segment_axis >= 0) length = nest->segments->items[0].length;
  return p->turned ? (length + MVS_LANES - 1) / MVS_LANES : length;
}

/* Halved while there would be too few units, down to one vector. */
static int64_t column_chunk(const mvs_nest *nest, mvs_dim rows) {
  int64_t chunk = COLUMN_CHUNK;
  if (rows.per_batch) return chunk;
  while (chunk > MVS_LANES &&
         rows.size * ((nest->inner.size + chunk - 1) / chunk) < LEAST_COLUMN_UNITS) {
    chunk /= 2;
  }
  return chunk;
}

/* Rows with reductions stay whole; others may be cut along inner. Neither changes any bits. */
static mvs_division divide(const mvs_nest_print *p) {
  const mvs_nest *nest = p->nest;
  mvs_division division = {.rows = row_count(nest), .inner = nest->inner};
  int64_t cost = chunk_cost(nest), width = nest->inner.size;
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    division.inner_chunk = column_chunk(nest, division.rows);
    if (width > division.inner_chunk) width = division.inner_chunk;
    cost *= sequential_length(p);
  } else if (nest->phases == 1 && !has_row_store(p)) {
    int64_t chunk = at_least(UNIT_COST / cost, 1) * MVS_LANES;
    if (nest->inner.per_batch || nest->inner.size >= 2 * chunk) {
      division.inner_chunk = chunk;
      width = chunk;
    }
  }
  int64_t row_cost = at_least(cost * ((width + MVS_LANES - 1) / MVS_LANES), 1);
  division.row_chunk = at_least(UNIT_COST / row_cost, 1);
  if (!division.rows.per_batch) {
    int64_t share = at_least(division.rows.size / LEAST_UNITS, 1);
    if (division.row_chunk > share) division.row_chunk = share;
  }
  return division;
}

/* --- rows --- */

/* Splits a row number into the indices of the parallel axes; axis 0 takes what is left. */
static void split_row(mvs_nest_print *p, LLVMValueRef row, LLVMValueRef *variables) {
  mvs_emit *e = p->e;
  for (int axis = p->nest->outer_count - 1; axis >= 0; --axis) {
    LLVMValueRef extent = mvs_emit_i64(e, p->nest->outer[axis].size);
    LLVMValueRef index = axis == 0 ? row : LLVMBuildURem(e->builder, row, extent, "");
    mvs_emit_set(e, variables[axis], index);
    if (axis > 0) row = LLVMBuildUDiv(e->builder, row, extent, "");
  }
}

/* Adds one to the indices like an odometer: no division per row. */
static void next_row(mvs_nest_print *p, LLVMValueRef *variables) {
  mvs_emit *e = p->e;
  LLVMValueRef carry = mvs_emit_int(e->i1, 1);
  for (int axis = p->nest->outer_count - 1; axis >= 0; --axis) {
    LLVMValueRef step = LLVMBuildZExt(e->builder, carry, e->i64, "");
    LLVMValueRef next = LLVMBuildNSWAdd(e->builder, p->row.outer[axis], step, "");
    if (axis > 0) {
      LLVMValueRef extent = mvs_emit_i64(e, p->nest->outer[axis].size);
      carry = LLVMBuildICmp(e->builder, LLVMIntEQ, next, extent, "");
      next = mvs_emit_select(e, carry, mvs_emit_i64(e, 0), next);
    }
    mvs_emit_set(e, variables[axis], next);
  }
}

/* ROWS: the segment that the token lies in, by comparing with every end but the last.
 * COLUMNS: the axis counts segments itself. */
static void find_segment(mvs_nest_print *p) {
  mvs_emit *e = p->e;
  const mvs_nest *nest = p->nest;
  if (nest->segment_axis < 0) return;
  LLVMValueRef index = p->row.outer[nest->segment_axis];
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    p->row.segment = index;
    return;
  }
  int64_t end = 0;
  p->row.segment = mvs_emit_i64(e, 0);
  for (int s = 0; s + 1 < nest->segments->count; ++s) {
    end += nest->segments->items[s].length;
    LLVMValueRef after = LLVMBuildICmp(e->builder, LLVMIntSGE, index, mvs_emit_i64(e, end), "");
    LLVMValueRef one = LLVMBuildZExt(e->builder, after, e->i64, "");
    p->row.segment = LLVMBuildNSWAdd(e->builder, p->row.segment, one, "");
  }
}

/* Makes the row that the variables name the current one and moves them to the next. The
 * indices are read into plain values, so that the row's code does not reload them. */
static void open_row(mvs_nest_print *p, LLVMValueRef *variables) {
  for (int axis = 0; axis < p->nest->outer_count; ++axis) {
    p->row.outer[axis] = mvs_emit_get(p->e, variables[axis]);
  }
  find_segment(p);
  mvs_nest_addresses(p);
  next_row(p, variables);
}

/* Rows from .. below to, `together` at a time; returns the first that is left. */
static LLVMValueRef print_rows(mvs_nest_print *p, LLVMValueRef *variables,
                               const LLVMValueRef *rows, const LLVMValueRef *inner,
                               int together) {
  mvs_emit *e = p->e;
  LLVMValueRef size = LLVMBuildNSWSub(e->builder, rows[1], rows[0], "");
  LLVMValueRef whole = LLVMBuildAnd(e->builder, size, mvs_emit_i64(e, -together), "");
  LLVMValueRef end = mvs_emit_add(e, rows[0], whole);
  mvs_loop loop = mvs_emit_loop(e, rows[0], end, together);
  mvs_row opened[MVS_ROWS_TOGETHER];
  for (int r = 0; r < together; ++r) {
    open_row(p, variables);
    opened[r] = p->row;
  }
  if (p->nest->nest_class == MVS_KERNEL_COLUMNS) {
    mvs_nest_columns(p, inner[0], inner[1]);
  } else {
    mvs_nest_rows(p, opened, together, inner[0], inner[1]);
  }
  mvs_emit_loop_end(e, &loop);
  return end;
}

/* --- units --- */

/* An axis as the call has it: where it begins, and how much there is of it. */
typedef struct stretch {
  LLVMValueRef first, extent;
} stretch;

/* A call may leave out rows, or inner elements of a nest without rows. */
static stretch stretch_of(mvs_nest_print *p, mvs_dim dim, bool cut) {
  stretch s = {mvs_emit_i64(p->e, 0), mvs_emit_extent(p->e, &p->entry, dim)};
  if (cut) s.extent = mvs_emit_rows_left(p->e, &p->entry, s.extent, &s.first);
  return s;
}

/* The range of chunk `number` of an axis: [number * chunk, at most the extent), counted from
 * its first. */
static void range(mvs_emit *e, LLVMValueRef number, int64_t chunk, const stretch *of,
                  LLVMValueRef *from, LLVMValueRef *to) {
  *from = mvs_emit_i64(e, 0);
  *to = of->extent;
  if (chunk > 0) {
    LLVMValueRef size = mvs_emit_i64(e, chunk);
    *from = LLVMBuildNSWMul(e->builder, number, size, "");
    *to = mvs_emit_smaller(e, LLVMBuildNSWAdd(e->builder, *from, size, ""), of->extent);
  }
  *from = mvs_emit_add(e, *from, of->first);
  *to = mvs_emit_add(e, *to, of->first);
}

/* The body of the loop over units. */
static void print_unit(mvs_nest_print *p, const mvs_division *division, LLVMValueRef unit,
                       LLVMValueRef *variables) {
  mvs_emit *e = p->e;
  bool flat = division->inner.per_batch;
  stretch rows = stretch_of(p, division->rows, !flat);
  stretch inner = stretch_of(p, division->inner, flat);
  LLVMValueRef row_number = unit, inner_number = mvs_emit_i64(e, 0);
  if (division->inner_chunk > 0) {
    LLVMValueRef across = mvs_emit_ceil_div(e, inner.extent, division->inner_chunk);
    row_number = LLVMBuildUDiv(e->builder, unit, across, "");
    inner_number = LLVMBuildURem(e->builder, unit, across, "");
  }
  LLVMValueRef row_range[2], inner_range[2];
  range(e, row_number, division->row_chunk, &rows, &row_range[0], &row_range[1]);
  range(e, inner_number, division->inner_chunk, &inner, &inner_range[0], &inner_range[1]);
  split_row(p, row_range[0], variables);
  int together = mvs_nest_together(p);
  if (together > 1) {
    row_range[0] = print_rows(p, variables, row_range, inner_range, together);
  }
  print_rows(p, variables, row_range, inner_range, 1);
}

/* Base pointers, once per function; operands of other nests of the kernel are not touched. */
static void load_operands(mvs_nest_print *p) {
  p->operands = MVS_ARRAY(p->e->arena, (size_t)p->kernel->operand_count, LLVMValueRef);
  for (size_t i = 0; i < p->count; ++i) {
    const mvs_instr *instr = &p->nest->instrs.items[i];
    if (!mvs_instr_uses_memory(instr)) continue;
    int operand = instr->access.operand;
    if (!p->operands[operand]) {
      p->operands[operand] = mvs_emit_operand(p->e, &p->entry, operand);
    }
  }
}

/* The analysis comes before the division, which needs to know what a row stores. */
mvs_status mvs_host_print_nest(mvs_emit *e, const mvs_kernel *kernel, const mvs_nest *nest,
                               const char *symbol, mvs_division *division, int64_t *scratch) {
  const mvs_nest *turned = mvs_nest_turned(e->arena, nest);
  mvs_nest_print p = {.e = e, .kernel = kernel, .nest = turned ? turned : nest};
  p.turned = turned != NULL;
  LLVMValueRef variables[MVS_MAX_AXES];
  mvs_nest_analyse(&p);
  *division = divide(&p);
  p.vectors = (int)(division->inner_chunk / MVS_LANES);
  p.entry = mvs_emit_entry(e, symbol);
  load_operands(&p);
  for (int axis = 0; axis < nest->outer_count; ++axis) {
    variables[axis] = mvs_emit_variable(e, e->i64);
  }
  mvs_loop units = mvs_emit_loop(e, p.entry.begin, p.entry.end, 1);
  print_unit(&p, division, units.index, variables);
  mvs_emit_loop_end(e, &units);
  LLVMBuildRetVoid(e->builder);
  if (p.scratch > *scratch) *scratch = p.scratch;
  return e->error ? MVS_ERR_INTERNAL : MVS_OK;
}
