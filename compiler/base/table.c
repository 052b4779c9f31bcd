/* table.c: open addressing with linear probing, at most half full. Entries are never removed,
 * so a probe may stop at the first free slot. The table doubles when the next entry would fill
 * more than half; the old slots stay in the arena, which costs as much again as the last table.
 * A key whose value is NULL cannot be told from one that is not there: callers store pointers,
 * or numbers from 1 on. */
#include "compiler/base/table.h"

#include <stdint.h>

#define FIRST_SLOTS 16

typedef struct slot {
  const char *key;
  void *value;
} slot;

struct mvs_table {
  mvs_arena *home;
  slot *slots;
  size_t slot_count, used; /* slot_count is a power of two */
};

mvs_table *mvs_table_new(mvs_arena *home) {
  mvs_table *table = MVS_NEW(home, mvs_table);
  table->home = home;
  table->slots = MVS_ARRAY(home, FIRST_SLOTS, slot);
  table->slot_count = FIRST_SLOTS;
  return table;
}

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *key) {
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  for (; *key; key++) sum = (sum ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
  return sum ^ (sum >> 32);
}

/* The slot that holds `key` or, when it is not there, the free one where it belongs. */
static slot *find(const mvs_table *table, const char *key) {
  size_t mask = table->slot_count - 1, at = (size_t)hash(key) & mask;
  while (table->slots[at].key && strcmp(table->slots[at].key, key) != 0) at = (at + 1) & mask;
  return &table->slots[at];
}

void *mvs_table_get(const mvs_table *table, const char *key) { return find(table, key)->value; }

/* Doubles the slots and enters all again, since the place of a key depends on their number. */
static void grow(mvs_table *table) {
  slot *old = table->slots;
  size_t old_count = table->slot_count;
  table->slots = MVS_ARRAY(table->home, old_count * 2, slot);
  table->slot_count = old_count * 2;
  for (size_t at = 0; at < old_count; at++)
    if (old[at].key) *find(table, old[at].key) = old[at];
}

/* A new key may make the table grow, and then its place is another. */
void *mvs_table_set(mvs_table *table, const char *key, void *value) {
  slot *place = find(table, key);
  void *before = place->value;
  if (!place->key) {
    if (2 * (table->used + 1) > table->slot_count) {
      grow(table);
      place = find(table, key);
    }
    table->used++;
    place->key = key;
  }
  place->value = value;
  return before;
}
