/* safetensors.c: the reader. The file is hostile until every range has been checked.
 *
 * The header's length, its JSON, every shape, product and range are checked against the
 * file's size before a tensor can be seen; tensors must tile the data exactly, in any order.
 * From then on reading needs no checks: a tensor's pointer and element count are sound for
 * as long as the file stays mapped. */
#include "runtime/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "compiler/base/checked.h"
#include "runtime/fail.h"

#define LENGTH_BYTES 8

static const struct {
  const char *name;
  int size;
  bool integer;
} dtypes[MVS_FILE_DTYPE_COUNT] = {
    [MVS_FILE_F32] = {"F32", 4, false}, [MVS_FILE_BF16] = {"BF16", 2, false},
    [MVS_FILE_F16] = {"F16", 2, false}, [MVS_FILE_F64] = {"F64", 8, false},
    [MVS_FILE_I64] = {"I64", 8, true},  [MVS_FILE_I32] = {"I32", 4, true},
    [MVS_FILE_I16] = {"I16", 2, true},  [MVS_FILE_I8] = {"I8", 1, true},
    [MVS_FILE_U8] = {"U8", 1, true},    [MVS_FILE_BOOL] = {"BOOL", 1, true},
};

/* What the steps of opening share. */
typedef struct reader {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_safetensors *file;
  const unsigned char *data; /* behind the header */
  int64_t data_bytes;
} reader;

/* As the format spells it. */
const char *mvs_file_dtype_name(mvs_file_dtype dtype) { return dtypes[dtype].name; }

/* Of 8 bits only integers are read, and nothing smaller. */
int mvs_file_dtype_size(mvs_file_dtype dtype) { return dtypes[dtype].size; }

bool mvs_file_dtype_is_integer(mvs_file_dtype dtype) { return dtypes[dtype].integer; }

/* A scalar is "[]". */
const char *mvs_shape_text(mvs_arena *arena, int rank, const int64_t *shape) {
  mvs_text text = mvs_text_new(arena);
  mvs_text_add(&text, "[");
  for (int at = 0; at < rank; at++)
    mvs_text_addf(&text, "%s%" PRId64, at ? ", " : "", shape[at]);
  mvs_text_add(&text, "]");
  return mvs_text_string(&text);
}

/* --- the header --- */

/* One form for all that is wrong with a tensor: file, tensor, what. */
static mvs_status malformed(const reader *in, const char *tensor, const char *what) {
  return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: tensor '%s' %s", in->file->path,
                  tensor, what);
}

/* Products are checked: 2^32 x 2^32 must not look like 0 elements. */
static mvs_status read_shape(const reader *in, mvs_file_tensor *tensor, const json_t *shape) {
  if (!json_is_array(shape)) return malformed(in, tensor->name, "has no shape");
  if (json_array_size(shape) > MVS_SAFETENSORS_MAX_RANK)
    return malformed(in, tensor->name, "has more than 8 dimensions");
  tensor->rank = (int)json_array_size(shape);
  tensor->elements = 1;
  for (int at = 0; at < tensor->rank; at++) {
    const json_t *extent = json_array_get(shape, (size_t)at);
    if (!json_is_integer(extent) || json_integer_value(extent) < 0)
      return malformed(in, tensor->name, "has a dimension that is no natural number");
    tensor->shape[at] = json_integer_value(extent);
    if (!mvs_mul(tensor->elements, tensor->shape[at], &tensor->elements))
      return malformed(in, tensor->name, "has more elements than 64 bits count");
  }
  return MVS_OK;
}

/* The dtypes that are read are told, since the file may well be sound otherwise. */
static mvs_status read_dtype(const reader *in, mvs_file_tensor *tensor, const json_t *dtype) {
  const char *name = json_string_value(dtype);
  if (!name) return malformed(in, tensor->name, "has no dtype");
  for (int at = 0; at < MVS_FILE_DTYPE_COUNT; at++) {
    if (strcmp(name, dtypes[at].name) != 0) continue;
    tensor->dtype = (mvs_file_dtype)at;
    return MVS_OK;
  }
  return MVS_FAIL(
      in->diag, MVS_ERR_FORMAT,
      "'%s': tensor '%s' has dtype %.20s; F32, BF16, F16, F64, I64, I32, I16, I8, U8 and BOOL "
      "are read",
      in->file->path, tensor->name, name);
}

/* Offsets count from the end of the header. */
static mvs_status read_range(const reader *in, mvs_file_tensor *tensor, const json_t *range) {
  const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);
  if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(last))
    return malformed(in, tensor->name, "has no data_offsets");
  int64_t begin = json_integer_value(first), end = json_integer_value(last), bytes;
  if (begin < 0 || end < begin || end > in->data_bytes)
    return malformed(in, tensor->name, "lies outside the file (is the file cut short?)");
  if (!mvs_mul(tensor->elements, dtypes[tensor->dtype].size, &bytes) || bytes != end - begin)
    return malformed(in, tensor->name, "has a shape that does not fit its bytes");
  tensor->data = in->data + begin;
  return MVS_OK;
}

/* The tensor counts only once it is sound. */
static mvs_status read_tensor(const reader *in, const char *name, const json_t *entry) {
  mvs_file_tensor *tensor = &in->file->tensors[in->file->count];
  *tensor = (mvs_file_tensor){.name = mvs_arena_string(in->arena, name)};
  if (!json_is_object(entry)) return malformed(in, name, "is not described by an object");
  MVS_TRY(read_dtype(in, tensor, json_object_get(entry, "dtype")));
  MVS_TRY(read_shape(in, tensor, json_object_get(entry, "shape")));
  MVS_TRY(read_range(in, tensor, json_object_get(entry, "data_offsets")));
  in->file->count++;
  return MVS_OK;
}

/* Values that are no strings are passed over, as the format allows none. */
static mvs_status read_metadata(const reader *in, json_t *entries) {
  mvs_safetensors *file = in->file;
  if (!json_is_object(entries))
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: __metadata__ is no object",
                    file->path);
  file->metadata = MVS_ARRAY(in->arena, json_object_size(entries), mvs_metadata);
  const char *key;
  json_t *value;
  json_object_foreach(entries, key, value) {
    if (!json_is_string(value)) continue;
    file->metadata[file->metadata_count++] =
        (mvs_metadata){.key = mvs_arena_string(in->arena, key),
                       .value = mvs_arena_string(in->arena, json_string_value(value))};
  }
  return MVS_OK;
}

/* Empty tensors stand before the one that starts at the same byte. */
static int by_place(const void *left, const void *right) {
  const mvs_file_tensor *a = left, *b = right;
  if (a->data != b->data) return a->data < b->data ? -1 : 1;
  return a->elements == b->elements ? 0 : a->elements < b->elements ? -1 : 1;
}

/* Names are unique: the JSON reader refuses duplicates. */
static int by_name(const void *left, const void *right) {
  const mvs_file_tensor *a = left, *b = right;
  return strcmp(a->name, b->name);
}

/* Every byte behind the header belongs to exactly one tensor. */
static mvs_status check_cover(const reader *in) {
  mvs_safetensors *file = in->file;
  const unsigned char *end = in->data;
  if (file->count) qsort(file->tensors, file->count, sizeof *file->tensors, by_place);
  for (size_t at = 0; at < file->count; at++) {
    const mvs_file_tensor *tensor = &file->tensors[at];
    if (tensor->data < end) return malformed(in, tensor->name, "overlaps another tensor");
    if (tensor->data > end) return malformed(in, tensor->name, "stands behind unused bytes");
    end = tensor->data + tensor->elements * dtypes[tensor->dtype].size;
  }
  if (end != in->data + in->data_bytes)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: %" PRId64 " bytes too many",
                    file->path, (int64_t)(in->data + in->data_bytes - end));
  if (file->count) qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
  return MVS_OK;
}

/* Ranges of single tensors first, then how they lie together. */
static mvs_status read_entries(const reader *in, json_t *header) {
  const char *name;
  json_t *entry;
  in->file->tensors = MVS_ARRAY(in->arena, json_object_size(header), mvs_file_tensor);
  json_object_foreach(header, name, entry) {
    if (strcmp(name, "__metadata__") == 0) {
      MVS_TRY(read_metadata(in, entry));
    } else {
      MVS_TRY(read_tensor(in, name, entry));
    }
  }
  return check_cover(in);
}

/* The length is hostile until it is known to fit the file. */
static mvs_status read_header(reader *in) {
  mvs_safetensors *file = in->file;
  const unsigned char *bytes = file->map.bytes;
  uint64_t length = 0;
  if (file->map.size < LENGTH_BYTES)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT,
                    "'%s' is not a safetensors file: it has only %zu bytes", file->path,
                    file->map.size);
  for (int at = LENGTH_BYTES - 1; at >= 0; at--) length = length << 8 | bytes[at];
  if (length > MVS_SAFETENSORS_MAX_HEADER || length > file->map.size - LENGTH_BYTES) {
    bool zip = memcmp(bytes, "PK\3\4", 4) == 0;
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is not a safetensors file: %s", file->path,
                    zip ? "it looks like a PyTorch or zip archive"
                        : "its header would not fit the file (is it cut short?)");
  }
  in->data = bytes + LENGTH_BYTES + length;
  in->data_bytes = (int64_t)(file->map.size - LENGTH_BYTES - length);
  json_error_t error;
  json_t *header = json_loadb((const char *)bytes + LENGTH_BYTES, (size_t)length,
                              JSON_REJECT_DUPLICATES, &error);
  if (!header)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' has a malformed header: %s", file->path,
                    error.text);
  mvs_status status = json_is_object(header)
                          ? read_entries(in, header)
                          : MVS_FAIL(in->diag, MVS_ERR_FORMAT,
                                     "'%s' has a header that is no object", file->path);
  json_decref(header);
  return status;
}

/* *out is NULL on every failure. */
mvs_status mvs_safetensors_open(mvs_arena *arena, mvs_diag *diag, const char *path,
                                mvs_safetensors **out) {
  *out = NULL;
  reader in = {.arena = arena, .diag = diag, .file = MVS_NEW(arena, mvs_safetensors)};
  in.file->path = mvs_arena_string(arena, path);
  mvs_status status = mvs_file_map_open(diag, path, &in.file->map);
  if (status == MVS_OK) status = read_header(&in);
  if (status != MVS_OK) {
    mvs_safetensors_close(in.file);
    return status;
  }
  *out = in.file;
  return MVS_OK;
}

/* A second call does nothing. */
void mvs_safetensors_close(mvs_safetensors *file) {
  if (!file) return;
  mvs_file_map_close(&file->map);
  file->count = 0;
}

/* By halving: names of deep models go into the tens of thousands. */
const mvs_file_tensor *mvs_safetensors_find(const mvs_safetensors *file, const char *name) {
  mvs_file_tensor key = {.name = name};
  if (!file->count) return NULL;
  return bsearch(&key, file->tensors, file->count, sizeof key, by_name);
}

/* A handful of pairs, in the file's order. */
const char *mvs_safetensors_metadata(const mvs_safetensors *file, const char *key) {
  for (size_t at = 0; at < file->metadata_count; at++)
    if (strcmp(file->metadata[at].key, key) == 0) return file->metadata[at].value;
  return NULL;
}
