#include "compiler/toolkit/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "compiler/base/input_file.h"

#define LONGEST_PATH 4096
#define MOST_BYTES   (64u << 20) /* of an entry: a kernel has some tens of kilobytes */

static const char magic[8] = "MVSCUDA1";

/* What stands before an entry's bytes. The checksum covers the rest of the head and the bytes:
 * a file cut short by a full disk, or damaged, is compiled again. */
typedef struct head {
  char magic[8];
  uint64_t checksum;
  mvs_cache_key key;
  uint64_t size;
  int32_t registers, spill_bytes;
} head;
_Static_assert(sizeof(head) == 48, "a head has no padding");

const char *mvs_cache_folder(mvs_arena *arena) {
  const char *own = getenv("MVCC_CACHE"), *cache = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  if (own && strcmp(own, "off") == 0) return NULL;
  if (own && *own) return mvs_arena_string(arena, own);
  if (cache && *cache == '/') return mvs_arena_format(arena, "%s/mvcc", cache);
  return home && *home ? mvs_arena_format(arena, "%s/.cache/mvcc", home) : NULL;
}

mvs_cache_key mvs_cache_key_of(const char *const *parts, size_t count) {
  XXH3_state_t *state = XXH3_createState();
  mvs_cache_key key = {0};
  if (!state) abort(); /* as an arena without memory */
  XXH3_128bits_reset(state);
  for (size_t at = 0; at < count; at++)
    XXH3_128bits_update(state, parts[at], strlen(parts[at]) + 1);
  XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  key.low = hash.low64;
  key.high = hash.high64;
  return key;
}

static uint64_t checksum(const head *front, const void *data) {
  const size_t from = offsetof(head, key);
  uint64_t first = XXH3_64bits((const char *)front + from, sizeof *front - from);
  return XXH3_64bits_withSeed(data, front->size, first);
}

static bool entry_path(char *path, const char *folder, mvs_cache_key key) {
  return snprintf(path, LONGEST_PATH, "%s/%016" PRIx64 "%016" PRIx64, folder, key.high,
                  key.low) < LONGEST_PATH;
}

/* --- reading --- */

static bool read_entry(FILE *file, mvs_arena *arena, mvs_cache_key key, mvs_cache_entry *out) {
  head front;
  if (fread(&front, sizeof front, 1, file) != 1) return false;
  if (memcmp(front.magic, magic, sizeof magic) != 0) return false;
  if (front.key.low != key.low || front.key.high != key.high) return false;
  if (front.size == 0 || front.size > MOST_BYTES) return false;
  void *data = mvs_arena_alloc(arena, front.size);
  if (fread(data, front.size, 1, file) != 1 || fgetc(file) != EOF) return false;
  if (checksum(&front, data) != front.checksum) return false;
  *out = (mvs_cache_entry){data, front.size, front.registers, front.spill_bytes};
  return true;
}

bool mvs_cache_get(mvs_arena *arena, const char *folder, mvs_cache_key key,
                   mvs_cache_entry *out) {
  char path[LONGEST_PATH];
  const char *why;
  FILE *file = entry_path(path, folder, key) ? mvs_input_stream(path, &why) : NULL;
  if (!file) return false;
  bool good = read_entry(file, arena, key, out);
  fclose(file);
  return good;
}

/* --- writing --- */

/* The folder and what leads to it; a cache is its user's alone. */
static bool make_folders(const char *folder) {
  char path[LONGEST_PATH];
  if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) return false;
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return false;
    *slash = '/';
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool write_entry(int handle, const head *front, const void *data) {
  FILE *file = fdopen(handle, "w");
  if (!file) {
    close(handle);
    return false;
  }
  bool good =
      fwrite(front, sizeof *front, 1, file) == 1 && fwrite(data, front->size, 1, file) == 1;
  return fclose(file) == 0 && good;
}

void mvs_cache_put(const char *folder, mvs_cache_key key, const mvs_cache_entry *entry) {
  char path[LONGEST_PATH], temporary[LONGEST_PATH + 8];
  head front = {.key = key,
                .size = entry->size,
                .registers = entry->registers,
                .spill_bytes = entry->spill_bytes};
  memcpy(front.magic, magic, sizeof magic);
  front.checksum = checksum(&front, entry->data);
  if (entry->size == 0 || entry->size > MOST_BYTES) return;
  if (!make_folders(folder) || !entry_path(path, folder, key)) return;
  snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  int handle = mkostemp(temporary, O_CLOEXEC);
  if (handle < 0) return;
  if (!write_entry(handle, &front, entry->data) || rename(temporary, path) != 0)
    unlink(temporary);
}
