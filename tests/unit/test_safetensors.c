/* test_safetensors.c: tensor files there and back, and files that lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/safetensors.h"

typedef struct place {
  mvs_arena *arena;
  mvs_diag *diag;
  char folder[64], path[96];
} place;

static int set_up(void **state) {
  place *here = calloc(1, sizeof *here);
  if (!here) return -1;
  here->arena = mvs_arena_new();
  here->diag = mvs_diag_new(here->arena);
  snprintf(here->folder, sizeof here->folder, "/tmp/mvs-tensors-XXXXXX");
  if (!mkdtemp(here->folder)) return -1;
  snprintf(here->path, sizeof here->path, "%s/a.safetensors", here->folder);
  *state = here;
  return 0;
}

static int tear_down(void **state) {
  place *here = *state;
  unlink(here->path);
  rmdir(here->folder);
  mvs_arena_free(here->arena);
  free(here);
  return 0;
}

static void write_bytes(const char *path, const void *bytes, size_t count) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  fclose(file);
}

/* A file with this header and `data` zero bytes. */
static void write_header(const char *path, const char *header, size_t data) {
  unsigned char bytes[2048] = {0};
  uint64_t length = strlen(header);
  assert_true(sizeof length + length + data <= sizeof bytes);
  memcpy(bytes, &length, sizeof length);
  memcpy(bytes + sizeof length, header, length);
  write_bytes(path, bytes, sizeof length + length + data);
}

static void there_and_back(void **state) {
  place *here = *state;
  const float values[6] = {1, -2, 3.5f, 0, INFINITY, 1e-40f};
  const int32_t labels[2] = {7, -1};
  const double total = 0.1;
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(here->arena, here->diag, here->path);
  mvs_safetensors_add_metadata(writer, "step", "7 \"quoted\" \n");
  mvs_safetensors_declare(writer, "b/values", MVS_FILE_F32, 2, (int64_t[]){2, 3});
  mvs_safetensors_declare(writer, "a", MVS_FILE_I32, 1, (int64_t[]){2});
  mvs_safetensors_declare(writer, "empty", MVS_FILE_F32, 1, (int64_t[]){0});
  mvs_safetensors_declare(writer, "total", MVS_FILE_F64, 0, NULL);
  assert_int_equal(mvs_safetensors_begin(writer), MVS_OK);
  assert_int_not_equal(access(here->path, F_OK), 0); /* no name before it is whole */
  assert_int_equal(mvs_safetensors_append(writer, values, 10), MVS_OK);
  assert_int_equal(mvs_safetensors_append(writer, (const char *)values + 10, 14), MVS_OK);
  assert_int_equal(mvs_safetensors_append(writer, labels, sizeof labels), MVS_OK);
  assert_int_equal(mvs_safetensors_append(writer, &total, sizeof total), MVS_OK);
  assert_int_equal(mvs_safetensors_finish(writer), MVS_OK);
  mvs_safetensors *file;
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->path, &file), MVS_OK);
  assert_int_equal(file->count, 4);
  assert_string_equal(mvs_safetensors_metadata(file, "step"), "7 \"quoted\" \n");
  assert_null(mvs_safetensors_metadata(file, "other"));
  const mvs_file_tensor *tensor = mvs_safetensors_find(file, "b/values");
  assert_non_null(tensor);
  assert_int_equal(tensor->rank, 2);
  assert_int_equal(tensor->shape[1], 3);
  float read[6];
  assert_true(mvs_file_tensor_to_f32(tensor, 0, 6, read));
  assert_memory_equal(read, values, sizeof values);
  int32_t integers[2];
  assert_true(mvs_file_tensor_to_i32(mvs_safetensors_find(file, "a"), 0, 2, integers));
  assert_memory_equal(integers, labels, sizeof labels);
  assert_false(mvs_file_tensor_to_f32(mvs_safetensors_find(file, "a"), 0, 2, read));
  assert_null(mvs_safetensors_find(file, "values"));
  mvs_safetensors_close(file);
}

static void halves_and_doubles(void **state) {
  place *here = *state;
  const uint16_t halves[6] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x7bff, 0x8000};
  const float as_floats[6] = {1, -2, 0x1p-24f, INFINITY, 65504, -0.0f};
  const uint16_t brains[2] = {0x3f80, 0xc040};
  const double wide[1] = {0.1};
  const int64_t longs[2] = {5, INT64_C(1) << 40};
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(here->arena, here->diag, here->path);
  mvs_safetensors_declare(writer, "h", MVS_FILE_F16, 1, (int64_t[]){6});
  mvs_safetensors_declare(writer, "b", MVS_FILE_BF16, 1, (int64_t[]){2});
  mvs_safetensors_declare(writer, "d", MVS_FILE_F64, 1, (int64_t[]){1});
  mvs_safetensors_declare(writer, "l", MVS_FILE_I64, 1, (int64_t[]){2});
  assert_int_equal(mvs_safetensors_begin(writer), MVS_OK);
  mvs_safetensors_append(writer, halves, sizeof halves);
  mvs_safetensors_append(writer, brains, sizeof brains);
  mvs_safetensors_append(writer, wide, sizeof wide);
  mvs_safetensors_append(writer, longs, sizeof longs);
  assert_int_equal(mvs_safetensors_finish(writer), MVS_OK);
  mvs_safetensors *file;
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->path, &file), MVS_OK);
  float read[6];
  int32_t integers[2];
  assert_true(mvs_file_tensor_to_f32(mvs_safetensors_find(file, "h"), 0, 6, read));
  assert_memory_equal(read, as_floats, sizeof as_floats);
  assert_true(mvs_file_tensor_to_f32(mvs_safetensors_find(file, "b"), 0, 2, read));
  assert_true(read[0] == 1 && read[1] == -3);
  assert_true(mvs_file_tensor_to_f32(mvs_safetensors_find(file, "d"), 0, 1, read));
  assert_true(read[0] == 0.1f);
  assert_true(mvs_file_tensor_to_i32(mvs_safetensors_find(file, "l"), 0, 1, integers));
  assert_int_equal(integers[0], 5);
  assert_false(mvs_file_tensor_to_i32(mvs_safetensors_find(file, "l"), 0, 2, integers));
  mvs_safetensors_close(file);
}

/* Every one of these is refused, with a sentence that names the file. */
static const struct {
  const char *header;
  size_t data;
  const char *message;
} lies[] = {
    {"", 0, "has a malformed header"},
    {"[]", 0, "has a header that is no object"},
    {"{\"a\":1}", 0, "tensor 'a' is not described by an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "has no dtype"},
    {"{\"a\":{\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "has dtype F8"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
     "no natural number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
     "no natural number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
     "more elements than 64 bits"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "more than 8 dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
     "does not fit its bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
     "lies outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
     "lies outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "4 bytes too many"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
     "behind unused bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     8, "overlaps another tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
     0, "duplicate object key"},
    {"{\"__metadata__\":3}", 0, "__metadata__ is no object"},
};

static void refuses_lies(void **state) {
  place *here = *state;
  for (size_t at = 0; at < sizeof lies / sizeof *lies; at++) {
    mvs_diag *diag = mvs_diag_new(here->arena);
    mvs_text text = mvs_text_new(here->arena);
    mvs_safetensors *file;
    write_header(here->path, lies[at].header, lies[at].data);
    assert_int_equal(mvs_safetensors_open(here->arena, diag, here->path, &file),
                     MVS_ERR_FORMAT);
    assert_null(file);
    mvs_diag_render(diag, &text);
    assert_non_null(strstr(mvs_text_string(&text), here->path));
    if (!strstr(mvs_text_string(&text), lies[at].message))
      fail_msg("'%s' does not say '%s'", mvs_text_string(&text), lies[at].message);
  }
}

static void refuses_no_files(void **state) {
  place *here = *state;
  mvs_safetensors *file;
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->path, &file),
                   MVS_ERR_IO);
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->folder, &file),
                   MVS_ERR_IO);
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, "/dev/null", &file),
                   MVS_ERR_IO);
  write_bytes(here->path, "abc", 3);
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->path, &file),
                   MVS_ERR_FORMAT);
  write_bytes(here->path, "\377\377\377\377\377\377\377\377{}", 10);
  assert_int_equal(mvs_safetensors_open(here->arena, here->diag, here->path, &file),
                   MVS_ERR_FORMAT);
}

/* Every truncation and 3,000 changed bytes of a good file: refused or read, but never a crash.
 */
static void survives_damage(void **state) {
  place *here = *state;
  static const char header[] =
      "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":"
      "[0,8]},\"b\":{\"dtype\":\"I64\",\"shape\":[1,1],\"data_offsets\":[8,16]}}";
  unsigned char good[256] = {0}, bad[256];
  size_t size = 8 + sizeof header - 1 + 16;
  good[0] = (unsigned char)(sizeof header - 1);
  memcpy(good + 8, header, sizeof header - 1);
  uint32_t random = 12345;
  for (size_t round = 0; round < size + 3000; round++) {
    mvs_arena *arena = mvs_arena_new();
    mvs_safetensors *file;
    size_t length = round < size ? round : size;
    memcpy(bad, good, sizeof bad);
    random = random * 1664525 + 1013904223;
    if (round >= size) bad[(random >> 8) % size] ^= (unsigned char)(1 + (random >> 24) % 255);
    write_bytes(here->path, bad, length);
    mvs_status status = mvs_safetensors_open(arena, mvs_diag_new(arena), here->path, &file);
    if (round < size) assert_int_not_equal(status, MVS_OK);
    if (status == MVS_OK) {
      float sum[2];
      for (size_t at = 0; at < file->count; at++)
        mvs_file_tensor_to_f32(&file->tensors[at], 0,
                               file->tensors[at].elements < 2 ? file->tensors[at].elements : 2,
                               sum);
    }
    mvs_safetensors_close(file);
    mvs_arena_free(arena);
  }
}

static void failure_leaves_the_old_file(void **state) {
  place *here = *state;
  write_bytes(here->path, "old", 3);
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(here->arena, here->diag, here->path);
  mvs_safetensors_declare(writer, "a", MVS_FILE_F32, 1, (int64_t[]){1});
  assert_int_equal(mvs_safetensors_begin(writer), MVS_OK);
  assert_int_equal(mvs_safetensors_finish(writer), MVS_ERR_INTERNAL); /* bytes are missing */
  struct stat facts;
  assert_int_equal(stat(here->path, &facts), 0);
  assert_int_equal(facts.st_size, 3);
  unlink(here->path);
  assert_int_equal(rmdir(here->folder), 0); /* nothing else was left in it */
  assert_int_equal(mkdir(here->folder, 0700), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(there_and_back),  TEST(halves_and_doubles),
                                     TEST(refuses_lies),    TEST(refuses_no_files),
                                     TEST(survives_damage), TEST(failure_leaves_the_old_file)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
