/* std_library.c: the files of models/std, held in the compiler itself, so that a model compiles
 * wherever mvcc is copied to. Their sources point into the program's data and are not freed;
 * each call makes a new mvs_source of the same text and name. */
#include "dsl/library.h"

/* Written by cmake/embed.cmake; ended by a row of NULLs. */
extern const struct {
  const char *name;
  const unsigned char *data;
  unsigned long size;
} mvs_library[];

/* The text needs no copy: it is constant data of the program, NUL-terminated. */
const mvs_source *mvs_library_at(mvs_arena *session, size_t index) {
  if (!mvs_library[index].name) return NULL;
  mvs_source *source = MVS_NEW(session, mvs_source);
  source->name = mvs_library[index].name;
  source->text = (const char *)mvs_library[index].data;
  source->length = mvs_library[index].size;
  return source;
}

const mvs_source *mvs_library_find(mvs_arena *session, const char *name) {
  for (size_t at = 0; mvs_library[at].name; at++)
    if (strcmp(mvs_library[at].name, name) == 0) return mvs_library_at(session, at);
  return NULL;
}
