/* safetensors.c: a tensor file (weights, inputs, data, checkpoints); every element is read. */
#include "runtime/safetensors.h"

#include "tests/fuzz/fuzz.h"

static volatile float sink;

static void touch(const mvs_file_tensor *tensor) {
  float value = 0;
  int32_t whole = 0;
  for (int64_t at = 0; at < tensor->elements; at++)
    if (!mvs_file_tensor_to_f32(tensor, at, 1, &value))
      if (mvs_file_tensor_to_i32(tensor, at, 1, &whole)) value = (float)whole;
  sink = value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_safetensors *file;
  mvs_status status =
      mvs_safetensors_open(arena, diag, fuzz_file("w.safetensors", data, size), &file);
  if (status == MVS_OK) {
    for (size_t at = 0; at < file->count; at++) touch(&file->tensors[at]);
    mvs_safetensors_metadata(file, "mvcc.step");
    mvs_safetensors_close(file);
  }
  fuzz_judge(status, diag);
  mvs_arena_free(arena);
  return 0;
}
