/* turns.c: what turns mean for a step. */
#include "runtime/turns.h"

/* A turn holds from the step that it went back to, so that the steps in between, which come
 * again, are taken the new way. */
double mvs_turns_rate(const mvs_turns *turns, int64_t step) {
  double rate = 1;
  for (size_t at = 0; at < turns->count; at++)
    if (turns->items[at].to <= step) rate *= turns->items[at].rate;
  return rate;
}

/* Turns that keep the order do not count: the next one that changes it takes the next seed. */
int mvs_turns_order(const mvs_turns *turns, int64_t step) {
  int order = 0;
  for (size_t at = 0; at < turns->count; at++)
    order += turns->items[at].to <= step && turns->items[at].reorders ? 1 : 0;
  return order;
}
