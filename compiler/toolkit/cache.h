/* cache.h: compiled kernels on disk, by content. An entry is named by a hash of all that went
 * into it, so it is never out of date; folder and entries may be deleted at any time. Several
 * processes may share the folder: entries appear whole, by rename. The folder stays within
 * MVS_CACHE_BYTES; what was not used for longest goes first.
 * Nothing here fails: what cannot be read is not there, what cannot be written is not kept. */
#ifndef MVS_TOOLKIT_CACHE_H
#define MVS_TOOLKIT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/base/arena.h"

/* Of all entries: those of some fifty models. A kernel has 50 KB, as cubin and PTX; dit400 has
 * 67 kernels. */
#define MVS_CACHE_BYTES ((uint64_t)256 << 20)

/* Names an entry: XXH3-128 of what it was made from. */
typedef struct mvs_cache_key {
  uint64_t low, high;
} mvs_cache_key;

typedef struct mvs_cache_entry {
  const void *data;
  size_t size;
  int32_t registers, spill_bytes; /* see mvs_nvrtc_image */
} mvs_cache_entry;

/* The folder: $MVCC_CACHE, or mvcc in $XDG_CACHE_HOME or ~/.cache. NULL with MVCC_CACHE=off or
 * where there is no home: nothing is then cached. */
const char *mvs_cache_folder(mvs_arena *arena);
/* Hashes `count` strings, their ends included. */
mvs_cache_key mvs_cache_key_of(const char *const *parts, size_t count);
/* Reads an entry into `arena`; false when there is none, or none whose checksum is right. */
bool mvs_cache_get(mvs_arena *arena, const char *folder, mvs_cache_key key,
                   mvs_cache_entry *out);
/* Writes an entry in place of what is there; makes the folder where it is missing. Now and then
 * prunes it. */
void mvs_cache_put(const char *folder, mvs_cache_key key, const mvs_cache_entry *entry);
/* Removes the entries that were not used for longest until those left, whose sizes count in
 * whole pages, take at most three quarters of `most` bytes; nothing while they take no more
 * than `most`. What other processes began to write and left for an hour goes too; files that
 * are called otherwise stay, whose folder ever it is. */
void mvs_cache_prune(const char *folder, uint64_t most);

#endif
