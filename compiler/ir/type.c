/* type.c: dtypes, extents and tensor types as values. Types are compared field by field,
 * segment tables by pointer, so tables must be interned in one module (module.c). Unused dims
 * are not looked at and may hold anything. Extents are kept within MVS_MAX_EXTENT by the shape
 * rules; sums and products here rely on it and do not check. */
#include "compiler/ir/type.h"

#include <ctype.h>
#include <inttypes.h>

static const struct {
  const char *name;
  int size;
} dtypes[MVS_DTYPE_COUNT] = {[MVS_F32] = {"f32", 4},
                             [MVS_BF16] = {"bf16", 2},
                             [MVS_F64] = {"f64", 8},
                             [MVS_I32] = {"i32", 4}};

int mvs_dtype_size(mvs_dtype dtype) { return dtypes[dtype].size; }

const char *mvs_dtype_name(mvs_dtype dtype) { return dtypes[dtype].name; }

bool mvs_dtype_parse(const char *name, mvs_dtype *out) {
  for (int i = 0; i < MVS_DTYPE_COUNT; i++) {
    if (strcmp(dtypes[i].name, name) == 0) {
      *out = (mvs_dtype)i;
      return true;
    }
  }
  return false;
}

/* No segments: whoever has tokens sets the table. */
mvs_type mvs_type_make(mvs_dtype dtype, int rank, const mvs_dim *dims) {
  mvs_type type = {.dtype = dtype, .rank = (uint8_t)rank};
  for (int i = 0; i < rank; i++) type.dims[i] = dims[i];
  return type;
}

bool mvs_dim_equal(mvs_dim a, mvs_dim b) {
  return a.size == b.size && a.per_batch == b.per_batch;
}

/* The batch axis counts as an extent: B and 1 differ. */
bool mvs_type_same_shape(const mvs_type *a, const mvs_type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++) {
    if (!mvs_dim_equal(a->dims[i], b->dims[i])) return false;
  }
  return true;
}

/* Segments are compared as pointers, being interned. */
bool mvs_type_equal(const mvs_type *a, const mvs_type *b) {
  return a->dtype == b->dtype && a->segments == b->segments && mvs_type_same_shape(a, b);
}

/* One axis at most does. */
bool mvs_type_has_batch(const mvs_type *type) {
  bool per_batch;
  mvs_type_elements(type, &per_batch);
  return per_batch;
}

/* Within the limits that the shape rules hold the product cannot overflow. */
int64_t mvs_type_elements(const mvs_type *type, bool *per_batch) {
  int64_t total = 1;
  bool batched = false;
  for (int i = 0; i < type->rank; i++) {
    total *= type->dims[i].size;
    batched = batched || type->dims[i].per_batch;
  }
  if (per_batch) *per_batch = batched;
  return total;
}

/* For a batch known at run time. */
int64_t mvs_type_count(const mvs_type *type, int64_t batch) {
  bool per_batch;
  int64_t elements = mvs_type_elements(type, &per_batch);
  return per_batch ? elements * batch : elements;
}

int64_t mvs_segments_length(const mvs_segments *table) {
  int64_t total = 0;
  for (int i = 0; i < table->count; i++) total += table->items[i].length;
  return total;
}

/* By value, for interning; everywhere else tables are compared as pointers. */
bool mvs_segments_equal(const mvs_segments *a, const mvs_segments *b) {
  if (a->count != b->count) return false;
  for (int i = 0; i < a->count; i++) {
    const mvs_segment *x = &a->items[i], *y = &b->items[i];
    if (strcmp(x->name, y->name) != 0 || x->length != y->length || x->rows != y->rows ||
        x->columns != y->columns)
      return false;
  }
  return true;
}

/* Whether a name can stand in a dump without quotes and be read back as one word. */
static bool plain_name(const char *name) {
  if (!isalpha((unsigned char)*name) && *name != '_') return false;
  for (; *name; name++) {
    if (!isalnum((unsigned char)*name) && *name != '_' && *name != '.') return false;
  }
  return true;
}

/* What is quoted here read_text.c reads back byte by byte. */
void mvs_name_text(const char *name, mvs_text *out) {
  if (plain_name(name)) {
    mvs_text_add(out, name);
    return;
  }
  mvs_text_add(out, "\"");
  for (; *name; name++) {
    unsigned char letter = (unsigned char)*name;
    if (letter < ' ' || letter == '"' || letter == '\\' || letter == 127) {
      mvs_text_addf(out, "\\x%02x", letter);
    } else {
      mvs_text_add_bytes(out, name, 1);
    }
  }
  mvs_text_add(out, "\"");
}

void mvs_segments_text(const mvs_segments *table, mvs_text *out) {
  mvs_text_add(out, "{");
  for (int i = 0; i < table->count; i++) {
    const mvs_segment *segment = &table->items[i];
    if (i) mvs_text_add(out, ", ");
    mvs_name_text(segment->name, out);
    mvs_text_addf(out, ":%" PRId64, segment->length);
    if (segment->rows > 0) {
      mvs_text_addf(out, "(%" PRId64 "x%" PRId64 ")", segment->rows, segment->columns);
    }
  }
  mvs_text_add(out, "}");
}

/* "64", "B", or "29*B" where a reshape joined tokens and batch. */
void mvs_dim_text(mvs_dim dim, mvs_text *out) {
  if (!dim.per_batch) {
    mvs_text_addf(out, "%" PRId64, dim.size);
  } else if (dim.size == 1) {
    mvs_text_add(out, "B");
  } else {
    mvs_text_addf(out, "%" PRId64 "*B", dim.size);
  }
}

/* The form that read_text.c reads. */
void mvs_type_text(const mvs_type *type, mvs_text *out) {
  mvs_text_add(out, mvs_dtype_name(type->dtype));
  if (type->rank == 0) return;
  mvs_text_add(out, "[");
  for (int i = 0; i < type->rank; i++) {
    if (i) mvs_text_add(out, ", ");
    mvs_dim_text(type->dims[i], out);
    if (i == 1 && type->segments) mvs_segments_text(type->segments, out);
  }
  mvs_text_add(out, "]");
}

/* The extent of axis `axis` of a result of rank `rank`, seen from an operand that is aligned to
 * its right end: 1 where the operand has no such axis. */
static mvs_dim aligned_dim(const mvs_type *type, int rank, int axis) {
  int own = axis - (rank - type->rank);
  return own < 0 ? (mvs_dim){1, false} : type->dims[own];
}

/* Stretches in broadcasting. An extent of 1*B does not: it is the batch. */
static bool is_one(mvs_dim dim) { return dim.size == 1 && !dim.per_batch; }

/* The segments an operand contributes to a result of rank `rank`: only when the axis they
 * describe is axis 1 of the result too. */
static const mvs_segments *aligned_segments(const mvs_type *type, int rank) {
  return type->rank == rank ? type->segments : NULL;
}

/* An axis of B meets B or 1, never a number. Segments of the result are those of an operand of
 * full rank: in one of lower rank axis 1 is another axis. */
bool mvs_type_broadcast(const mvs_type *a, const mvs_type *b, mvs_type *out) {
  mvs_type result = {.dtype = a->dtype, .rank = a->rank > b->rank ? a->rank : b->rank};
  int batch_axes = 0;
  for (int i = 0; i < result.rank; i++) {
    mvs_dim x = aligned_dim(a, result.rank, i), y = aligned_dim(b, result.rank, i);
    if (!is_one(x) && !is_one(y) && !mvs_dim_equal(x, y)) return false;
    result.dims[i] = is_one(x) ? y : x;
    batch_axes += result.dims[i].per_batch;
  }
  const mvs_segments *left = aligned_segments(a, result.rank);
  const mvs_segments *right = aligned_segments(b, result.rank);
  if ((left && right && left != right) || batch_axes > 1) return false;
  result.segments = left ? left : right;
  *out = result;
  return true;
}
