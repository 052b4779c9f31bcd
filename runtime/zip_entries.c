/* zip_entries.c: minizip reads the directory (zip64 and all) and finds where the bytes of an
 * entry begin; it holds each local header against the directory's. What it says is checked
 * against the mapped file before anybody reads there. */
#include "runtime/zip_entries.h"

#include <errno.h>
#include <minizip/unzip.h>
#include <stdlib.h>

#include "runtime/fail.h"

#define ENCRYPTED 1 /* bit of the flags */

/* A stream of minizip's over the mapped file. */
typedef struct stream {
  const mvs_file_map *map;
  uint64_t at; /* at most the map's size */
} stream;

typedef struct lister {
  mvs_arena *arena;
  mvs_diag *diag;
  const char *path;
  const mvs_file_map *map;
  unzFile zip;
  mvs_zip_entries *out;
} lister;

/* Most often a download that stopped, so that is asked. */
static mvs_status damaged(const lister *in, const char *what) {
  return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: %s (is it cut short?)",
                  in->path, what);
}

/* minizip has the same answer for an archive that is damaged and for memory that runs out. What
 * fails there is told by malloc in errno, which was 0 before the call, and by nobody else:
 * files are read from the map. */
static mvs_status refused(const lister *in, const char *what) {
  if (errno != ENOMEM) return damaged(in, what);
  return MVS_FAIL(in->diag, MVS_ERR_MEMORY, "out of memory in the directory of '%s'", in->path);
}

/* --- the mapped file as minizip's stream; `opaque` is that stream --- */

static voidpf open_stream(voidpf opaque, const void *name, int mode) {
  (void)name, (void)mode; /* one file, and only read */
  ((stream *)opaque)->at = 0;
  return opaque;
}

static uLong read_stream(voidpf opaque, voidpf self, void *buffer, uLong size) {
  stream *from = self;
  (void)opaque;
  uint64_t left = from->map->size - from->at;
  if (size > left) size = (uLong)left;
  if (size) memcpy(buffer, from->map->bytes + from->at, size);
  from->at += size;
  return size;
}

static ZPOS64_T tell_stream(voidpf opaque, voidpf self) {
  (void)opaque;
  return ((const stream *)self)->at;
}

/* A place behind the end is none. */
static long seek_stream(voidpf opaque, voidpf self, ZPOS64_T offset, int origin) {
  stream *in = self;
  (void)opaque;
  uint64_t from = origin == ZLIB_FILEFUNC_SEEK_SET   ? 0
                  : origin == ZLIB_FILEFUNC_SEEK_CUR ? in->at
                                                     : in->map->size;
  if (offset > in->map->size - from) return -1;
  in->at = from + offset;
  return 0;
}

/* Neither closing nor reading can fail. */
static int no_error(voidpf opaque, voidpf self) {
  (void)opaque, (void)self;
  return 0;
}

/* --- */

/* The entry is open: minizip has compared both of its headers. */
static mvs_status add_open(const lister *in, const char *name, const unz_file_info64 *facts) {
  uint64_t begin = unzGetCurrentFileZStreamPos64(in->zip);
  uint64_t size = facts->uncompressed_size;
  if (begin > in->map->size || size > in->map->size - begin)
    return damaged(in, mvs_arena_format(in->arena, "entry '%s' lies outside the file", name));
  mvs_zip_entry entry = {mvs_arena_string(in->arena, name), in->map->bytes + begin,
                         (size_t)size};
  MVS_PUSH(in->arena, in->out, entry);
  return MVS_OK;
}

/* Opened raw, which reads the local header and no bytes. The name's buffer is what minizip may
 * write: a longer one would be cut and then name another entry. */
static mvs_status add_current(const lister *in) {
  char name[MVS_ZIP_LONGEST_NAME + 1] = "";
  unz_file_info64 facts;
  if (unzGetCurrentFileInfo64(in->zip, &facts, name, MVS_ZIP_LONGEST_NAME, NULL, 0, NULL, 0) !=
      UNZ_OK)
    return damaged(in, "its directory cannot be read");
  if (facts.size_filename > MVS_ZIP_LONGEST_NAME || strlen(name) != facts.size_filename)
    return damaged(in, "an entry has no sound name");
  if (facts.flag & ENCRYPTED)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s': entry '%s' is encrypted", in->path, name);
  if (facts.compression_method != 0 || facts.compressed_size != facts.uncompressed_size)
    return MVS_FAIL(
        in->diag, MVS_ERR_FORMAT,
        "'%s': entry '%s' is compressed; torch.save compresses nothing: save it anew", in->path,
        name);
  errno = 0;
  if (unzOpenCurrentFile2(in->zip, NULL, NULL, 1) != UNZ_OK)
    return refused(in, mvs_arena_format(in->arena, "entry '%s' has no sound header", name));
  mvs_status status = add_open(in, name, &facts);
  unzCloseCurrentFile(in->zip);
  return status;
}

static int by_name(const void *left, const void *right) {
  const mvs_zip_entry *a = left, *b = right;
  return strcmp(a->name, b->name);
}

/* A second entry of a name would be read by some readers and the first by others. */
static mvs_status check_names(const lister *in) {
  mvs_zip_entries *all = in->out;
  if (all->count) qsort(all->items, all->count, sizeof *all->items, by_name);
  for (size_t at = 1; at < all->count; at++)
    if (strcmp(all->items[at - 1].name, all->items[at].name) == 0)
      return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: entry '%s' is there twice",
                      in->path, all->items[at].name);
  return MVS_OK;
}

/* Entries that torch.save does not write are listed too: that none is there twice holds for
 * all. */
static mvs_status list_open(const lister *in) {
  int code = unzGoToFirstFile(in->zip);
  for (; code == UNZ_OK; code = unzGoToNextFile(in->zip)) MVS_TRY(add_current(in));
  if (code != UNZ_END_OF_LIST_OF_FILE) return damaged(in, "its directory cannot be read");
  return check_names(in);
}

/* Without memory to look for the directory of a large archive minizip goes on with that of a
 * small one, so errno counts also where it opens. */
mvs_status mvs_zip_list(mvs_arena *arena, mvs_diag *diag, const char *path,
                        const mvs_file_map *map, mvs_zip_entries *out) {
  *out = (mvs_zip_entries){0};
  stream bytes = {map, 0};
  zlib_filefunc64_def calls = {.zopen64_file = open_stream,
                               .zread_file = read_stream,
                               .ztell64_file = tell_stream,
                               .zseek64_file = seek_stream,
                               .zclose_file = no_error,
                               .zerror_file = no_error,
                               .opaque = &bytes};
  lister in = {.arena = arena, .diag = diag, .path = path, .map = map, .out = out};
  errno = 0;
  in.zip = unzOpen2_64(path, &calls);
  mvs_status status = in.zip && errno != ENOMEM
                          ? list_open(&in)
                          : refused(&in, "it has no directory of a zip archive");
  if (in.zip) unzClose(in.zip);
  return status;
}

const mvs_zip_entry *mvs_zip_find(const mvs_zip_entries *entries, const char *name) {
  mvs_zip_entry key = {.name = name};
  if (!entries->count) return NULL;
  return bsearch(&key, entries->items, entries->count, sizeof key, by_name);
}
