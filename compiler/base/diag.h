/* diag.h: source files, spans and the diagnostics of a run.
 * Libraries report here and return a status; only the command line prints.
 * Owner: the arena given to mvs_diag_new (session lifetime: spans outlive graphs). */
#ifndef MVS_BASE_DIAG_H
#define MVS_BASE_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/base/arena.h"
#include "compiler/base/status.h"
#include "compiler/base/text.h"

/* A source file held in memory. Embedded library files are named "std/NAME.mvs". */
typedef struct mvs_source {
  const char *name;
  const char *text; /* NUL-terminated */
  size_t length;
} mvs_source;

/* A stretch of source, by byte offsets; source NULL means "no place". */
typedef struct mvs_span {
  const mvs_source *source;
  uint32_t begin, end;
} mvs_span;

typedef struct mvs_diag mvs_diag;

/* Starts an empty list of diagnostics in `home`. */
mvs_diag *mvs_diag_new(mvs_arena *home);
/* Adds an error at `span`. After MVS_MAX_DIAGNOSTICS errors further ones are counted, not kept.
 */
void mvs_diag_error(mvs_diag *diag, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a note at another place to the newest error. */
void mvs_diag_note(mvs_diag *diag, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a hint (a surely right correction) to the newest error. */
void mvs_diag_hint(mvs_diag *diag, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Sets the words printed after the caret line of the newest error ("w is f32[3, 4]"). */
void mvs_diag_label(mvs_diag *diag, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds what another list holds, copied: how a thread's own list joins the run's. */
void mvs_diag_join(mvs_diag *diag, const mvs_diag *other);
/* Number of errors so far. */
size_t mvs_diag_errors(const mvs_diag *diag);
/* Appends the first error as one line without a place: its words, and behind "; " its hints. */
void mvs_diag_sentence(const mvs_diag *diag, mvs_text *out);
/* Renders all diagnostics as clang does: file:line:col, source line, caret under the span. */
void mvs_diag_render(const mvs_diag *diag, mvs_text *out);
/* The 1-based line and column of a span's begin. */
void mvs_span_position(mvs_span span, int *line, int *column);
/* The likeliest correct spelling of `name` among `count` candidates, or NULL when none is near.
 */
const char *mvs_suggest(const char *name, const char *const *candidates, size_t count);

#endif
