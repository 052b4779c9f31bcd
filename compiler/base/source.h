/* source.h: reading whole files with a limit.
 * Owner: the arena passed in. Failure: mvs_status, the sentence is in the mvs_diag. */
#ifndef MVS_BASE_SOURCE_H
#define MVS_BASE_SOURCE_H

#include "compiler/base/diag.h"

/* Makes a source of text already in memory; the text is copied into `home`. */
mvs_source *mvs_source_new(mvs_arena *home, const char *name, const char *text, size_t length);
/* Reads a regular file of at most `limit` bytes; the source is named by `path` as given.
 * `from` is the place that asked for the file (or no place), shown with the error.
 * errors : MVS_ERR_IO, MVS_ERR_LIMIT; *out is NULL then. */
mvs_status mvs_source_read(mvs_arena *home, mvs_diag *diag, const char *path, size_t limit,
                           mvs_span from, mvs_source **out);

#endif
