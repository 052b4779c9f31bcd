/* consumers.c: the list of those who see every step. */
#include "runtime/consumers.h"

void mvs_consumers_add(mvs_arena *arena, mvs_consumers *list, const mvs_consumer *consumer) {
  MVS_PUSH(arena, list, *consumer);
}

mvs_status mvs_consumers_take(const mvs_consumers *list, const mvs_observation *seen) {
  for (size_t at = 0; at < list->count; at++)
    MVS_TRY(list->items[at].take(list->items[at].self, seen));
  return MVS_OK;
}

mvs_status mvs_consumers_rewind(const mvs_consumers *list, int64_t step) {
  for (size_t at = 0; at < list->count; at++)
    if (list->items[at].rewind) MVS_TRY(list->items[at].rewind(list->items[at].self, step));
  return MVS_OK;
}

mvs_status mvs_consumers_sync(const mvs_consumers *list) {
  for (size_t at = 0; at < list->count; at++)
    if (list->items[at].sync) MVS_TRY(list->items[at].sync(list->items[at].self));
  return MVS_OK;
}

void mvs_consumers_close(mvs_consumers *list) {
  for (size_t at = 0; at < list->count; at++)
    if (list->items[at].close) list->items[at].close(list->items[at].self);
  list->count = 0;
}
