#include "dsl/library.h"

/* Written by cmake/embed.cmake; ended by a row of NULLs. */
extern const struct {
  const char *name;
  const unsigned char *data;
  unsigned long size;
} mvs_library[];

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

bool mvs_library_holds(const mvs_source *source) {
  for (size_t at = 0; mvs_library[at].name; at++)
    if (mvs_library[at].name == source->name) return true;
  return false;
}
