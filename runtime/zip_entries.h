/* zip_entries.h: the entries of a zip archive whose bytes stand in it as they are (torch.save
 * compresses nothing), as places in the mapped file. Owner: the arena given. */
#ifndef MVS_RUNTIME_ZIP_ENTRIES_H
#define MVS_RUNTIME_ZIP_ENTRIES_H

#include "runtime/file_map.h"

#define MVS_ZIP_LONGEST_NAME 1024

typedef struct mvs_zip_entry {
  const char *name;
  const unsigned char *bytes; /* in the map */
  size_t size;
} mvs_zip_entry;

typedef struct mvs_zip_entries {
  mvs_zip_entry *items; /* by name, each once */
  size_t count, capacity;
} mvs_zip_entries;

/* Lists the entries of the archive at `path`, which `map` holds.
 * errors : MVS_ERR_FORMAT for what is damaged, compressed, encrypted or there twice,
 *          MVS_ERR_MEMORY */
mvs_status mvs_zip_list(mvs_arena *arena, mvs_diag *diag, const char *path,
                        const mvs_file_map *map, mvs_zip_entries *out);
/* The entry of that name, or NULL. */
const mvs_zip_entry *mvs_zip_find(const mvs_zip_entries *entries, const char *name);

#endif
