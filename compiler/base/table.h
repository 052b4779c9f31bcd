/* table.h: a map from strings to pointers, for scopes and duplicate checks.
 * Owner: the arena given to mvs_table_new; keys are not copied and must live as long. */
#ifndef MVS_BASE_TABLE_H
#define MVS_BASE_TABLE_H

#include "compiler/base/arena.h"

typedef struct mvs_table mvs_table;

/* Makes an empty table. */
mvs_table *mvs_table_new(mvs_arena *home);
/* The value under `key`, or NULL. */
void *mvs_table_get(const mvs_table *table, const char *key);
/* Sets the value under `key` and returns the one it replaces, or NULL. */
void *mvs_table_set(mvs_table *table, const char *key, void *value);

#endif
