/* torch.c: a file of torch.save; every element of every tensor is read. Odd first bytes take
 * the rest as the pickle alone, for which an archive is made: few mutations of an archive
 * survive its checksums and offsets. */
#include "runtime/torch_file.h"
#include "tests/fuzz/fuzz.h"

static volatile float sink;

/* Strides may name one element a million times: the first and the last thousand will do. */
static void touch(const mvs_file_tensor *tensor) {
  const int64_t most = 1000;
  for (int64_t at = 0; at < tensor->elements; at++) {
    float value = 0;
    int32_t whole = 0;
    if (at == most && tensor->elements > 2 * most) at = tensor->elements - most;
    if (!mvs_file_tensor_to_f32(tensor, at, 1, &value))
      if (mvs_file_tensor_to_i32(tensor, at, 1, &whole)) value = (float)whole;
    sink = value;
  }
}

static void put16(uint8_t **at, unsigned value) {
  *(*at)++ = (uint8_t)value;
  *(*at)++ = (uint8_t)(value >> 8);
}

static void put32(uint8_t **at, uint32_t value) {
  put16(at, value & 0xffff);
  put16(at, value >> 16);
}

/* The fields that both headers of an entry share, from the version on. */
static void put_facts(uint8_t **at, const char *name, size_t size) {
  put16(at, 20), put16(at, 0), put16(at, 0), put16(at, 0), put16(at, 0);
  put32(at, 0), put32(at, (uint32_t)size), put32(at, (uint32_t)size);
  put16(at, (unsigned)strlen(name)), put16(at, 0);
}

static void put_bytes(uint8_t **at, const void *bytes, size_t size) {
  if (size) memcpy(*at, bytes, size);
  *at += size;
}

/* An archive of the pickle and of a storage of 64 bytes. */
static size_t archive(uint8_t *out, const uint8_t *pickle, size_t size) {
  static const uint8_t zeros[64];
  const struct {
    const char *name;
    const void *bytes;
    size_t size;
  } entries[] = {{"a/data.pkl", pickle, size}, {"a/data/0", zeros, sizeof zeros}};
  uint32_t places[2];
  uint8_t *at = out;
  for (int i = 0; i < 2; i++) {
    places[i] = (uint32_t)(at - out);
    put32(&at, 0x04034b50), put_facts(&at, entries[i].name, entries[i].size);
    put_bytes(&at, entries[i].name, strlen(entries[i].name));
    put_bytes(&at, entries[i].bytes, entries[i].size);
  }
  uint32_t directory = (uint32_t)(at - out);
  for (int i = 0; i < 2; i++) {
    put32(&at, 0x02014b50), put16(&at, 20), put_facts(&at, entries[i].name, entries[i].size);
    put16(&at, 0), put16(&at, 0), put16(&at, 0), put32(&at, 0), put32(&at, places[i]);
    put_bytes(&at, entries[i].name, strlen(entries[i].name));
  }
  uint32_t length = (uint32_t)(at - out) - directory;
  put32(&at, 0x06054b50), put16(&at, 0), put16(&at, 0), put16(&at, 2), put16(&at, 2);
  put32(&at, length), put32(&at, directory), put16(&at, 0);
  return (size_t)(at - out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  const void *bytes = data + 1;
  size_t length = size - 1;
  if (data[0] % 2) {
    uint8_t *made = mvs_arena_alloc(arena, size + 512);
    length = archive(made, data + 1, size - 1);
    bytes = made;
  }
  mvs_safetensors *file;
  mvs_status status = mvs_torch_file_open(arena, diag, fuzz_file("w.pt", bytes, length), &file);
  if (status == MVS_OK) {
    for (size_t at = 0; at < file->count; at++) touch(&file->tensors[at]);
    mvs_safetensors_close(file);
  }
  fuzz_judge(status, diag);
  mvs_arena_free(arena);
  return 0;
}
