/* file_map.h: a whole file of tensors, mapped read-only: of a large one only what is used comes
 * into memory. Owner: whoever opened it. */
#ifndef MVS_RUNTIME_FILE_MAP_H
#define MVS_RUNTIME_FILE_MAP_H

#include <stddef.h>

#include "compiler/base/diag.h"

typedef struct mvs_file_map {
  const unsigned char *bytes; /* NULL when there are none */
  size_t size;
} mvs_file_map;

/* Maps a regular file; an empty one has no bytes. errors : MVS_ERR_IO, naming the file */
mvs_status mvs_file_map_open(mvs_diag *diag, const char *path, mvs_file_map *out);
/* Gives the mapping up. A second call does nothing. */
void mvs_file_map_close(mvs_file_map *map);

#endif
