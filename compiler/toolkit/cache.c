/* cache.c: an entry is a file of its own, read and written whole. Its time of change is that of
 * its last use, which is what pruning goes by: reading sets it. */
#include "compiler/toolkit/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "compiler/base/input_file.h"
#include "compiler/base/text.h"

#define LONGEST_PATH 4096
#define MOST_BYTES   (64u << 20) /* of an entry: a kernel has some tens of kilobytes */

/* A process looks at the folder when it first writes to it, then each time that it has written
 * so much: a sixteenth of what may stand there. */
#define BYTES_BETWEEN_PRUNES (MVS_CACHE_BYTES / 16)
#define PAGE                 4096
#define NAME_DIGITS          32
/* How long a writer may take before its temporary file counts as left behind. */
#define SECONDS_OF_A_WRITER 3600

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
  mvs_arena *scratch = mvs_arena_new();
  mvs_text all = mvs_text_new(scratch);
  for (size_t at = 0; at < count; at++)
    mvs_text_add_bytes(&all, parts[at], strlen(parts[at]) + 1);
  XXH128_hash_t hash = XXH3_128bits(all.data, all.length);
  mvs_arena_free(scratch);
  return (mvs_cache_key){hash.low64, hash.high64};
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
  if (good) futimens(fileno(file), NULL); /* where it is not ours it is as old as it is */
  fclose(file);
  return good;
}

/* --- pruning --- */

typedef struct kept_entry {
  const char *name;
  uint64_t bytes;
  struct timespec used;
} kept_entry;

typedef MVS_LIST(kept_entry) entry_list;

/* The letters of entry_path. */
static size_t digits_of(const char *name) { return strspn(name, "0123456789abcdef"); }

/* ".XXXXXX" behind the name of an entry. */
static bool is_temporary(const char *name) {
  return digits_of(name) == NAME_DIGITS && name[NAME_DIGITS] == '.' &&
         strlen(name) == NAME_DIGITS + sizeof ".XXXXXX" - 1;
}

/* Adds an entry to the list; removes a temporary file of a process that must be gone. */
static void look_at(mvs_arena *arena, int folder, const char *name, entry_list *list) {
  struct stat facts;
  bool temporary = is_temporary(name);
  if (!temporary && (digits_of(name) != NAME_DIGITS || name[NAME_DIGITS])) return;
  if (fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(facts.st_mode))
    return;
  if (temporary) {
    if (time(NULL) - facts.st_mtime > SECONDS_OF_A_WRITER) unlinkat(folder, name, 0);
    return;
  }
  uint64_t pages = ((uint64_t)facts.st_size + PAGE - 1) / PAGE;
  kept_entry entry = {mvs_arena_string(arena, name), pages * PAGE, facts.st_mtim};
  MVS_PUSH(arena, list, entry);
}

/* By name among equals, so that two processes remove the same ones. */
static int oldest_first(const void *left, const void *right) {
  const kept_entry *a = left, *b = right;
  if (a->used.tv_sec != b->used.tv_sec) return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
  if (a->used.tv_nsec != b->used.tv_nsec) return a->used.tv_nsec < b->used.tv_nsec ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* Another process may be reading what goes: it holds the file, and reads on. */
void mvs_cache_prune(const char *folder, uint64_t most) {
  DIR *open = opendir(folder);
  if (!open) return;
  mvs_arena *scratch = mvs_arena_new();
  entry_list list = {0};
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open))
    look_at(scratch, dirfd(open), entry->d_name, &list);
  uint64_t all = 0, left;
  for (size_t at = 0; at < list.count; at++) all += list.items[at].bytes;
  left = all;
  if (all > most) qsort(list.items, list.count, sizeof *list.items, oldest_first);
  for (size_t at = 0; all > most && left > most / 4 * 3 && at < list.count; at++) {
    unlinkat(dirfd(open), list.items[at].name, 0);
    left -= list.items[at].bytes;
  }
  closedir(open);
  mvs_arena_free(scratch);
}

/* Several threads write at once; one of them prunes. */
static void prune_at_times(const char *folder, uint64_t written) {
  static _Atomic uint64_t since = BYTES_BETWEEN_PRUNES;
  if (atomic_fetch_add(&since, written) < BYTES_BETWEEN_PRUNES) return;
  if (atomic_exchange(&since, 0) >= BYTES_BETWEEN_PRUNES)
    mvs_cache_prune(folder, MVS_CACHE_BYTES);
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
  prune_at_times(folder, sizeof front + front.size);
}
