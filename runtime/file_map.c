/* file_map.c: the mapping is private, so nothing here can write to the file. A file that
 * another process cuts short meanwhile is the one thing that is not guarded against. */
#include "runtime/file_map.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler/base/input_file.h"
#include "runtime/fail.h"

static mvs_status map_open(mvs_diag *diag, const char *path, int descriptor, size_t size,
                           mvs_file_map *out) {
  if (size == 0) return MVS_OK;
  void *place = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (place == MAP_FAILED)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot map '%s': %s", path, strerror(errno));
  *out = (mvs_file_map){place, size};
  return MVS_OK;
}

/* The descriptor is closed again: the mapping holds the file. */
mvs_status mvs_file_map_open(mvs_diag *diag, const char *path, mvs_file_map *out) {
  *out = (mvs_file_map){NULL, 0};
  int64_t size;
  const char *why;
  int descriptor = mvs_input_open(path, &size, &why);
  if (descriptor < 0) return MVS_FAIL(diag, MVS_ERR_IO, "cannot open '%s': %s", path, why);
  mvs_status status = map_open(diag, path, descriptor, (size_t)size, out);
  close(descriptor);
  return status;
}

void mvs_file_map_close(mvs_file_map *map) {
  if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
  *map = (mvs_file_map){NULL, 0};
}
