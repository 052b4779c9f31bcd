/* state.c: texts in a checkpoint's metadata that are no tensors: what the watch knew and the
 * table of matmul algorithms; and an entry of the cache of kernels. The first byte says which.
 */
#include <stdio.h>

#include "compiler/toolkit/cache.h"
#include "runtime/cuda_algorithms.h"
#include "runtime/watch.h"
#include "tests/fuzz/fuzz.h"

static void watch(mvs_arena *arena, const char *text) {
  const mvs_watch_roles roles = {0};
  mvs_watch *known = mvs_watch_new(arena, &roles);
  mvs_alarms alarms = {0};
  mvs_watch_load(known, text);
  mvs_observation seen = mvs_observation_at(7);
  seen.loss = 1, seen.grad_norm = 2;
  mvs_watch_take(known, arena, &seen, &alarms);
  mvs_text again = mvs_text_new(arena);
  mvs_watch_save(known, &again);
}

static void algorithms(const char *text) {
  const mvs_cuda_place place = {.model = "G", .driver_text = "1"};
  char why[MVS_CUDA_WORDS];
  mvs_cuda_algorithms *table = mvs_cuda_algorithms_new(&place, "L");
  if (mvs_cuda_algorithms_adopt(table, text, why)) mvs_cuda_algorithms_text(table);
  mvs_cuda_algorithms_free(table);
}

/* An entry is found under its key, so the file takes the name that its bytes claim. */
static void cache(mvs_arena *arena, const uint8_t *data, size_t size) {
  mvs_cache_key key = {0, 0};
  mvs_cache_entry entry;
  char name[40];
  snprintf(name, sizeof name, "%032d", 0);
  fuzz_file(name, data, size);
  mvs_cache_get(arena, fuzz_folder(), key, &entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  mvs_arena *arena = mvs_arena_new();
  const char *text = mvs_arena_copy(arena, (const char *)data + 1, size - 1);
  if (data[0] % 3 == 0) watch(arena, text);
  if (data[0] % 3 == 1) algorithms(text);
  if (data[0] % 3 == 2) cache(arena, data + 1, size - 1);
  mvs_arena_free(arena);
  return 0;
}
