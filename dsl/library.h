/* library.h: the language's own definitions (models/std), embedded in the compiler.
 * Not for other folders. */
#ifndef MVS_DSL_LIBRARY_H
#define MVS_DSL_LIBRARY_H

#include "compiler/base/diag.h"

/* The embedded file called `name` ("std/layers.mvs") as a source, or NULL. */
const mvs_source *mvs_library_find(mvs_arena *session, const char *name);
/* The embedded file at `index` as a source, or NULL behind the last. */
const mvs_source *mvs_library_at(mvs_arena *session, size_t index);

#endif
