/* test_data.c: the order of samples, the digits, and shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/data.h"
#include "runtime/safetensors.h"

static mvs_session new_session(void) {
  static const mvs_program no_inputs = MVS__PROGRAM__INIT;
  mvs_session session = {.program = &no_inputs, .arena = mvs_arena_new()};
  session.diag = mvs_diag_new(session.arena);
  return session;
}

static void epochs_are_permutations(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  mvs_arena *arena = mvs_arena_new();
  mvs_order *order = mvs_order_new(arena, COUNT, 5), *again = mvs_order_new(arena, COUNT, 5);
  mvs_order *other = mvs_order_new(arena, COUNT, 6);
  int64_t first[COUNT], same = 0, same_seed = 0;
  for (int epoch = 0; epoch < 3; epoch++) {
    bool seen[COUNT] = {false};
    for (int at = 0; at < COUNT; at++) {
      int64_t sample = mvs_order_sample(order, (int64_t)epoch * COUNT + at);
      assert_true(sample >= 0 && sample < COUNT && !seen[sample]);
      seen[sample] = true;
      if (epoch == 0) first[at] = sample;
      if (epoch == 1) same += first[at] == sample;
    }
  }
  for (int at = 0; at < COUNT; at++) {
    /* Any place can be asked for without those before it. */
    assert_int_equal(mvs_order_sample(again, COUNT - 1 - at), first[COUNT - 1 - at]);
    same_seed += mvs_order_sample(other, at) == first[at];
  }
  assert_true(same < 10 && same_seed < 10);
  mvs_arena_free(arena);
}

static void digits(void **state) {
  (void)state;
  mvs_session session = new_session();
  mvs_data *data;
  assert_int_equal(mvs_data_open(&session, "digits", &data), MVS_OK);
  assert_int_equal(data->count, 1797);
  const int64_t index[2] = {0, 1796}, image[3] = {1, 8, 8};
  float x0[128];
  int32_t labels[2];
  assert_int_equal(data->check(data, session.diag, "x0", "f32", 3, image), MVS_OK);
  assert_int_equal(data->check(data, session.diag, "label", "i32", 0, NULL), MVS_OK);
  data->fill(data, "x0", index, 2, x0);
  data->fill(data, "label", index, 2, labels);
  assert_true(x0[0] == -1 && x0[2] == 5.0f / 8 - 1);
  assert_int_equal(labels[0], 0);
  assert_int_equal(labels[1], 8);
  for (int at = 0; at < 128; at++) assert_true(x0[at] >= -1 && x0[at] <= 1);
  assert_int_not_equal(data->check(data, session.diag, "x0", "f32", 2, image), MVS_OK);
  assert_int_not_equal(data->check(data, session.diag, "context", "f32", 1, image), MVS_OK);
  data->close(data);
  mvs_arena_free(session.arena);
}

static void write_shard(mvs_session *session, const char *path, int64_t count, float base) {
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(session->arena, session->diag, path);
  mvs_safetensors_declare(writer, "x0", MVS_FILE_F32, 2, (int64_t[]){count, 2});
  mvs_safetensors_declare(writer, "label", MVS_FILE_I64, 1, (int64_t[]){count});
  assert_int_equal(mvs_safetensors_begin(writer), MVS_OK);
  for (int64_t at = 0; at < count; at++) {
    float row[2] = {base + (float)at, -base - (float)at};
    mvs_safetensors_append(writer, row, sizeof row);
  }
  for (int64_t at = 0; at < count; at++)
    mvs_safetensors_append(writer, &(int64_t){(int64_t)base + at}, sizeof(int64_t));
  assert_int_equal(mvs_safetensors_finish(writer), MVS_OK);
}

static void shards(void **state) {
  (void)state;
  mvs_session session = new_session();
  char folder[] = "/tmp/mvs-shards-XXXXXX";
  assert_non_null(mkdtemp(folder));
  mvs_data *data;
  assert_int_equal(mvs_data_open(&session, folder, &data), MVS_ERR_IO); /* it is empty */
  const char *a = mvs_arena_format(session.arena, "%s/a.safetensors", folder);
  const char *b = mvs_arena_format(session.arena, "%s/b.safetensors", folder);
  write_shard(&session, b, 2, 100);
  write_shard(&session, a, 3, 0);
  assert_int_equal(mvs_data_open(&session, folder, &data), MVS_OK);
  assert_int_equal(data->count, 5);
  const int64_t two[1] = {2}, three[1] = {3}, index[3] = {4, 0, 3};
  assert_int_equal(data->check(data, session.diag, "x0", "f32", 1, two), MVS_OK);
  assert_int_equal(data->check(data, session.diag, "label", "i32", 0, NULL), MVS_OK);
  assert_int_equal(data->check(data, session.diag, "x0", "f32", 1, three), MVS_ERR_SHAPE);
  assert_int_equal(data->check(data, session.diag, "x0", "i32", 1, two), MVS_ERR_SHAPE);
  assert_int_equal(data->check(data, session.diag, "context", "f32", 1, two), MVS_ERR_NAME);
  float x0[6];
  int32_t labels[3];
  data->fill(data, "x0", index, 3, x0);
  data->fill(data, "label", index, 3, labels);
  assert_true(x0[0] == 101 && x0[1] == -101 && x0[2] == 0 && x0[4] == 100);
  assert_true(labels[0] == 101 && labels[1] == 0 && labels[2] == 100);
  data->close(data);
  unlink(a), unlink(b), rmdir(folder);
  mvs_arena_free(session.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(epochs_are_permutations),
                                     cmocka_unit_test(digits), cmocka_unit_test(shards)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
