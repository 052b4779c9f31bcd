/* type.h: dtypes, extents, segments and tensor types. Types are values; segment tables are
 * interned in the graph's module and compared by pointer. */
#ifndef MVS_IR_TYPE_H
#define MVS_IR_TYPE_H

#include "compiler/base/checked.h"
#include "compiler/base/diag.h"

typedef enum mvs_dtype { MVS_F32, MVS_BF16, MVS_F64, MVS_I32, MVS_DTYPE_COUNT } mvs_dtype;

#define MVS_MAX_RANK 8
#define MVS_MAX_SEGMENTS 8

/* An extent: size, or size times the batch when per_batch. The batch stays symbolic
 * everywhere. */
typedef struct mvs_dim {
  int64_t size;
  bool per_batch;
} mvs_dim;

/* One run of tokens. rows and columns are 0 where the segment has no grid (text). */
typedef struct mvs_segment {
  const char *name;
  int64_t length, rows, columns;
} mvs_segment;

/* How the token axis is divided. */
typedef struct mvs_segments {
  int count;
  mvs_segment items[MVS_MAX_SEGMENTS];
} mvs_segments;

/* A tensor type. By convention a batched tensor has {1, per_batch} as axis 0; a token tensor is
 * [B, T, ...] with `segments` describing axis 1 (NULL elsewhere). Rank 0 is a scalar.
 * Parameters of a stack have the layer as a leading plain axis outside the region. */
typedef struct mvs_type {
  mvs_dtype dtype;
  uint8_t rank;
  mvs_dim dims[MVS_MAX_RANK];
  const mvs_segments *segments;
} mvs_type;

/* Bytes of one element. */
int mvs_dtype_size(mvs_dtype dtype);
/* "f32", "bf16", "f64", "i32". */
const char *mvs_dtype_name(mvs_dtype dtype);
/* Finds a dtype by name; false when there is none. */
bool mvs_dtype_parse(const char *name, mvs_dtype *out);
/* Builds a type without segments from `rank` extents. */
mvs_type mvs_type_make(mvs_dtype dtype, int rank, const mvs_dim *dims);
/* Same dtype, rank, extents and segments. */
bool mvs_type_equal(const mvs_type *a, const mvs_type *b);
/* Same rank and extents, whatever the dtype and segments. */
bool mvs_type_same_shape(const mvs_type *a, const mvs_type *b);
/* Whether an extent depends on the batch. */
bool mvs_type_has_batch(const mvs_type *type);
/* Elements as fixed * (per_batch ? B : 1): returns the factor, says whether B takes part.
 * At most one axis of a type may be per_batch. */
int64_t mvs_type_elements(const mvs_type *type, bool *per_batch);
/* Elements for a given batch. */
int64_t mvs_type_count(const mvs_type *type, int64_t batch);
/* Writes one extent: "64", "B", or "29*B" where a reshape joined tokens and batch. */
void mvs_dim_text(mvs_dim dim, mvs_text *out);
/* Writes "f32[B, 80, 64]" ("f32" for rank 0), tokens as 80{image:64(8x8), text:16} and an
 * extent of several elements per sample as 29*B. */
void mvs_type_text(const mvs_type *type, mvs_text *out);
/* The common shape of two operands under right-aligned broadcasting (extent 1, not per_batch,
 * stretches). dtype is left to the caller; segments come from whichever side has axis 1 in
 * full. False when they do not fit. */
bool mvs_type_broadcast(const mvs_type *a, const mvs_type *b, mvs_type *out);
/* Same size and the same dependence on the batch. */
bool mvs_dim_equal(mvs_dim a, mvs_dim b);
/* Tokens of all segments together. */
int64_t mvs_segments_length(const mvs_segments *table);
/* Same names, lengths and grids, wherever the tables lie. */
bool mvs_segments_equal(const mvs_segments *a, const mvs_segments *b);
/* Writes a name: bare when it is a word of letters, digits, dots and underscores, else quoted,
 * with unprintable bytes, quotes and backslashes as \xNN. */
void mvs_name_text(const char *name, mvs_text *out);
/* Writes "{image:64(8x8), text:16}". */
void mvs_segments_text(const mvs_segments *table, mvs_text *out);

#endif
