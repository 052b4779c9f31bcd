/* file_map.c: the mapping is private, so nothing here can write to the file. A file that
 * another process cuts short meanwhile is the one thing that is not guarded against. */
#include "runtime/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/fail.h"

static mvs_status map_open(mvs_diag *diag, const char *path, int descriptor,
                           mvs_file_map *out) {
  struct stat facts;
  if (fstat(descriptor, &facts) != 0)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
  if (!S_ISREG(facts.st_mode))
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot read '%s': it is %s", path,
                    S_ISDIR(facts.st_mode) ? "a directory" : "not a regular file");
  if (facts.st_size == 0) return MVS_OK;
  size_t size = (size_t)facts.st_size;
  void *place = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (place == MAP_FAILED)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot map '%s': %s", path, strerror(errno));
  *out = (mvs_file_map){place, size};
  return MVS_OK;
}

/* The descriptor is closed again: the mapping holds the file. */
mvs_status mvs_file_map_open(mvs_diag *diag, const char *path, mvs_file_map *out) {
  *out = (mvs_file_map){NULL, 0};
  /* O_NONBLOCK keeps a named pipe from hanging the open; the type check then refuses it. */
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
  mvs_status status = map_open(diag, path, descriptor, out);
  close(descriptor);
  return status;
}

void mvs_file_map_close(mvs_file_map *map) {
  if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
  *map = (mvs_file_map){NULL, 0};
}
