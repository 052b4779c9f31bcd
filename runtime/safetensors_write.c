/* safetensors_write.c: the writer: declare all tensors, begin, append their bytes in that
 * order, finish.
 *
 * The header needs every shape before the first byte of data, so sizes are declared first
 * and the bytes are counted against them at the end: a file with too few or too many is our
 * own mistake and is not renamed into place. Names and metadata are escaped as JSON; the
 * header is padded so that the data starts aligned, which lets readers map it. */
#include <assert.h>
#include <inttypes.h>

#include "compiler/base/checked.h"
#include "compiler/base/output_file.h"
#include "runtime/fail.h"
#include "runtime/safetensors.h"

/* The header is padded with spaces so that the tensors' bytes start aligned. */
#define HEADER_ALIGNMENT 64

typedef struct declared {
  const char *name;
  mvs_file_dtype dtype;
  int rank;
  int64_t shape[MVS_SAFETENSORS_MAX_RANK];
  int64_t bytes;
} declared;

struct mvs_safetensors_writer {
  mvs_arena *arena;
  mvs_diag *diag;
  const char *path;
  MVS_LIST(declared) tensors;
  MVS_LIST(mvs_metadata) metadata;
  mvs_output_file file;
  int64_t total, written;
};

/* Everything it holds is in the arena: an abandoned writer needs no freeing. */
mvs_safetensors_writer *mvs_safetensors_writer_new(mvs_arena *arena, mvs_diag *diag,
                                                   const char *path) {
  mvs_safetensors_writer *writer = MVS_NEW(arena, mvs_safetensors_writer);
  writer->arena = arena;
  writer->diag = diag;
  writer->path = mvs_arena_string(arena, path);
  writer->file.descriptor = -1;
  return writer;
}

/* Shapes are the program's own and were checked; only an assert guards them. */
void mvs_safetensors_declare(mvs_safetensors_writer *writer, const char *name,
                             mvs_file_dtype dtype, int rank, const int64_t *shape) {
  assert(rank >= 0 && rank <= MVS_SAFETENSORS_MAX_RANK);
  declared tensor = {.name = mvs_arena_string(writer->arena, name),
                     .dtype = dtype,
                     .rank = rank,
                     .bytes = mvs_file_dtype_size(dtype)};
  for (int at = 0; at < rank; at++) {
    tensor.shape[at] = shape[at];
    bool fits = mvs_mul(tensor.bytes, shape[at], &tensor.bytes);
    assert(fits);
    (void)fits;
  }
  writer->total += tensor.bytes;
  MVS_PUSH(writer->arena, &writer->tensors, tensor);
}

/* Keys are ours and distinct. */
void mvs_safetensors_add_metadata(mvs_safetensors_writer *writer, const char *key,
                                  const char *value) {
  mvs_metadata pair = {.key = mvs_arena_string(writer->arena, key),
                       .value = mvs_arena_string(writer->arena, value)};
  MVS_PUSH(writer->arena, &writer->metadata, pair);
}

/* Names are UTF-8 and pass as they are; quotes, backslashes and control bytes are escaped. */
static void add_json_string(mvs_text *out, const char *string) {
  mvs_text_add(out, "\"");
  for (const unsigned char *at = (const unsigned char *)string; *at; at++) {
    if (*at == '"' || *at == '\\') {
      mvs_text_addf(out, "\\%c", *at);
    } else if (*at < ' ') {
      mvs_text_addf(out, "\\u%04x", *at);
    } else {
      mvs_text_add_bytes(out, (const char *)at, 1);
    }
  }
  mvs_text_add(out, "\"");
}

/* The format wants it in the header as an object of strings. */
static void add_metadata(const mvs_safetensors_writer *writer, mvs_text *out) {
  mvs_text_add(out, "\"__metadata__\":{");
  for (size_t at = 0; at < writer->metadata.count; at++) {
    if (at) mvs_text_add(out, ",");
    add_json_string(out, writer->metadata.items[at].key);
    mvs_text_add(out, ":");
    add_json_string(out, writer->metadata.items[at].value);
  }
  mvs_text_add(out, "}");
}

/* Compact JSON, padded with spaces, which JSON allows behind the object. */
static mvs_text header_of(const mvs_safetensors_writer *writer) {
  mvs_text out = mvs_text_new(writer->arena);
  int64_t offset = 0;
  mvs_text_add(&out, "{");
  if (writer->metadata.count) add_metadata(writer, &out);
  for (size_t at = 0; at < writer->tensors.count; at++) {
    const declared *tensor = &writer->tensors.items[at];
    if (at || writer->metadata.count) mvs_text_add(&out, ",");
    add_json_string(&out, tensor->name);
    mvs_text_addf(&out, ":{\"dtype\":\"%s\",\"shape\":[", mvs_file_dtype_name(tensor->dtype));
    for (int axis = 0; axis < tensor->rank; axis++)
      mvs_text_addf(&out, "%s%" PRId64, axis ? "," : "", tensor->shape[axis]);
    mvs_text_addf(&out, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", offset,
                  offset + tensor->bytes);
    offset += tensor->bytes;
  }
  mvs_text_add(&out, "}");
  while ((out.length + sizeof(uint64_t)) % HEADER_ALIGNMENT) mvs_text_add(&out, " ");
  return out;
}

/* The declared order is that of the data. */
mvs_status mvs_safetensors_begin(mvs_safetensors_writer *writer) {
  mvs_text header = header_of(writer); /* before there is a file that could be left behind */
  MVS_TRY(mvs_output_begin(writer->arena, writer->diag, writer->path, 0666, &writer->file));
  uint64_t length = header.length; /* x86 is little-endian, as the format is */
  MVS_TRY(mvs_output_append(&writer->file, &length, sizeof length));
  return mvs_output_append(&writer->file, header.data, (int64_t)header.length);
}

/* Parts need not end where tensors do. */
mvs_status mvs_safetensors_append(mvs_safetensors_writer *writer, const void *data,
                                  int64_t bytes) {
  MVS_TRY(mvs_output_append(&writer->file, data, bytes));
  writer->written += bytes;
  return MVS_OK;
}

/* Only now does the name appear. */
mvs_status mvs_safetensors_finish(mvs_safetensors_writer *writer) {
  if (writer->written != writer->total) {
    mvs_safetensors_abandon(writer);
    return MVS_FAIL(writer->diag, MVS_ERR_INTERNAL,
                    "internal: '%s' was given %" PRId64 " bytes of %" PRId64, writer->path,
                    writer->written, writer->total);
  }
  return mvs_output_finish(&writer->file);
}

/* Also before begin, and after finish. */
void mvs_safetensors_abandon(mvs_safetensors_writer *writer) {
  mvs_output_abandon(&writer->file);
}
