/* test_torch_file.c: files that PyTorch wrote (tests/data/write_torch.py). Files that lie are
 * tests/e2e/torch.sh's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka needs the four above first. */
#include <cmocka.h>

#include "runtime/torch_file.h"

typedef struct opened {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_safetensors *file;
  mvs_status status;
} opened;

static opened open_data(const char *name) {
  opened all = {.arena = mvs_arena_new()};
  all.diag = mvs_diag_new(all.arena);
  const char *path = mvs_arena_format(all.arena, MVS_SOURCE_DIR "/tests/data/%s", name);
  assert_true(mvs_torch_file_is(path));
  all.status = mvs_torch_file_open(all.arena, all.diag, path, &all.file);
  return all;
}

static const mvs_file_tensor *find(const opened *all, const char *name, mvs_file_dtype dtype,
                                   int64_t elements) {
  const mvs_file_tensor *tensor = mvs_safetensors_find(all->file, name);
  assert_non_null(tensor);
  assert_int_equal(tensor->dtype, dtype);
  assert_int_equal(tensor->elements, elements);
  return tensor;
}

static void floats_are(const opened *all, const char *name, const float *wanted, int count) {
  float values[24];
  const mvs_file_tensor *tensor = find(all, name, MVS_FILE_F32, count);
  assert_true(mvs_file_tensor_to_f32(tensor, 0, count, values));
  for (int at = 0; at < count; at++) assert_true(values[at] == wanted[at]);
}

/* Values are their indices. */
static void every_dtype_is_read(void **state) {
  static const struct {
    const char *name;
    mvs_file_dtype dtype;
  } rows[] = {{"float32", MVS_FILE_F32},   {"float64", MVS_FILE_F64}, {"float16", MVS_FILE_F16},
              {"bfloat16", MVS_FILE_BF16}, {"int64", MVS_FILE_I64},   {"int32", MVS_FILE_I32},
              {"int16", MVS_FILE_I16},     {"int8", MVS_FILE_I8},     {"uint8", MVS_FILE_U8}};
  opened all = open_data(*state);
  assert_int_equal(all.status, MVS_OK);
  for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
    const mvs_file_tensor *tensor = find(&all, rows[row].name, rows[row].dtype, 24);
    for (int at = 0; at < 24; at++) {
      float real;
      int32_t whole;
      bool integer = mvs_file_dtype_is_integer(tensor->dtype);
      assert_int_equal(mvs_file_tensor_to_f32(tensor, at, 1, &real), !integer);
      assert_int_equal(mvs_file_tensor_to_i32(tensor, at, 1, &whole), integer);
      assert_true((integer ? (float)whole : real) == (float)at);
    }
  }
  int32_t last;
  assert_true(mvs_file_tensor_to_i32(find(&all, "bool", MVS_FILE_BOOL, 24), 23, 1, &last));
  assert_int_equal(last, 1);
  mvs_safetensors_close(all.file);
  mvs_arena_free(all.arena);
}

/* In the order of the shape, whatever the strides. */
static void layouts_are_followed(void **state) {
  opened all = open_data(*state);
  float permuted[24];
  for (int c = 0, at = 0; c < 4; c++)
    for (int a = 0; a < 2; a++)
      for (int b = 0; b < 3; b++) permuted[at++] = (float)(12 * a + 4 * b + c);
  floats_are(&all, "permuted", permuted, 24);
  floats_are(&all, "part", (float[]){4, 6, 8, 10, 16, 18, 20, 22}, 8);
  floats_are(&all, "expanded", (float[]){5, 5, 5, 5, 5, 5}, 6);
  floats_are(&all, "number", (float[]){2.5f}, 1);
  find(&all, "empty", MVS_FILE_F32, 0);
  mvs_safetensors_close(all.file);
  mvs_arena_free(all.arena);
}

static void refused(const char *name, const char *words) {
  opened all = open_data(name);
  assert_int_equal(all.status, MVS_ERR_FORMAT);
  assert_null(all.file);
  mvs_text text = mvs_text_new(all.arena);
  mvs_diag_render(all.diag, &text);
  assert_non_null(strstr(mvs_text_string(&text), words));
  mvs_arena_free(all.arena);
}

static void other_files_are_refused(void **state) {
  (void)state;
  refused("legacy.pt", "has the format of before PyTorch 1.6, which is not read");
  refused("module.pt", "byte 2 of its pickle asks for 'torch.nn.modules.linear.Linear'");
}

int main(void) {
  static char two[] = "dtypes-2.pt", four[] = "dtypes-4.pt"; /* pickle protocols */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(every_dtype_is_read, two),
      cmocka_unit_test_prestate(every_dtype_is_read, four),
      cmocka_unit_test_prestate(layouts_are_followed, two),
      cmocka_unit_test_prestate(layouts_are_followed, four),
      cmocka_unit_test(other_files_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
