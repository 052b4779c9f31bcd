/* safetensors.h: reads and writes tensor files.
 * Format: 8 bytes little-endian header length, a JSON object naming each tensor's dtype, shape
 * and range of bytes, then the bytes. Tensors must cover the bytes without gaps or overlaps, so
 * a file that was cut short never reads as a whole one. Owner: an open file is closed by its
 * opener; names and shapes live in the arena given. */
#ifndef MVS_RUNTIME_SAFETENSORS_H
#define MVS_RUNTIME_SAFETENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/base/diag.h"
#include "runtime/file_map.h"

#define MVS_SAFETENSORS_MAX_HEADER ((uint64_t)100 << 20)
#define MVS_SAFETENSORS_MAX_RANK   8

typedef enum mvs_file_dtype {
  MVS_FILE_F32,
  MVS_FILE_BF16,
  MVS_FILE_F16,
  MVS_FILE_F64,
  MVS_FILE_I64,
  MVS_FILE_I32,
  MVS_FILE_I16,
  MVS_FILE_I8,
  MVS_FILE_U8,
  MVS_FILE_BOOL,
  MVS_FILE_DTYPE_COUNT
} mvs_file_dtype;

/* "F32", "BF16", ... */
const char *mvs_file_dtype_name(mvs_file_dtype dtype);
/* Bytes of one element. */
int mvs_file_dtype_size(mvs_file_dtype dtype);
/* True for those that are no floats. */
bool mvs_file_dtype_is_integer(mvs_file_dtype dtype);

typedef struct mvs_file_tensor {
  const char *name;
  mvs_file_dtype dtype;
  int rank;
  int64_t shape[MVS_SAFETENSORS_MAX_RANK];
  int64_t elements;
  const unsigned char *data; /* in the mapped file; any alignment */
  const int64_t *strides;    /* elements from one to the next by axis; NULL: without gaps */
} mvs_file_tensor;

typedef struct mvs_metadata {
  const char *key, *value;
} mvs_metadata;

/* An open file of tensors: torch_file.h gives one too. */
typedef struct mvs_safetensors {
  const char *path;
  size_t count;
  mvs_file_tensor *tensors; /* by name */
  size_t metadata_count;
  mvs_metadata *metadata;
  mvs_file_map map;
} mvs_safetensors;

/* Opens and checks a file.
 * errors : MVS_ERR_IO, MVS_ERR_FORMAT, each naming the file */
mvs_status mvs_safetensors_open(mvs_arena *arena, mvs_diag *diag, const char *path,
                                mvs_safetensors **out);
/* Unmaps it; its tensors are gone. NULL is allowed. */
void mvs_safetensors_close(mvs_safetensors *file);
/* The tensor of that name, or NULL. */
const mvs_file_tensor *mvs_safetensors_find(const mvs_safetensors *file, const char *name);
/* The metadata under `key`, or NULL. */
const char *mvs_safetensors_metadata(const mvs_safetensors *file, const char *key);
/* "[2, 128, 8, 8]" */
const char *mvs_shape_text(mvs_arena *arena, int rank, const int64_t *shape);

/* Copies elements first .. first+count-1, in the order of the shape, as float32. Integers are
 * not converted: false for them. */
bool mvs_file_tensor_to_f32(const mvs_file_tensor *tensor, int64_t first, int64_t count,
                            float *out);
/* Copies elements as int32; false for floats and for values that do not fit. */
bool mvs_file_tensor_to_i32(const mvs_file_tensor *tensor, int64_t first, int64_t count,
                            int32_t *out);

/* --- writing: declare all tensors, begin, write their bytes in that order, finish --- */

typedef struct mvs_safetensors_writer mvs_safetensors_writer;

/* Starts a file that will stand at `path`. Nothing is created yet. */
mvs_safetensors_writer *mvs_safetensors_writer_new(mvs_arena *arena, mvs_diag *diag,
                                                   const char *path);
/* Adds a tensor; the order is that of its bytes. */
void mvs_safetensors_declare(mvs_safetensors_writer *writer, const char *name,
                             mvs_file_dtype dtype, int rank, const int64_t *shape);
/* Adds a pair to the metadata. */
void mvs_safetensors_add_metadata(mvs_safetensors_writer *writer, const char *key,
                                  const char *value);
/* Creates a temporary file beside `path` and writes the header. errors : MVS_ERR_IO */
mvs_status mvs_safetensors_begin(mvs_safetensors_writer *writer);
/* Appends bytes of the tensors. errors : MVS_ERR_IO; the temporary file is then gone */
mvs_status mvs_safetensors_append(mvs_safetensors_writer *writer, const void *data,
                                  int64_t bytes);
/* Makes the file durable and gives it its name. errors : as append */
mvs_status mvs_safetensors_finish(mvs_safetensors_writer *writer);
/* Removes what begin created. Harmless after finish. */
void mvs_safetensors_abandon(mvs_safetensors_writer *writer);

#endif
