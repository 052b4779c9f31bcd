/* diag.c: the list of diagnostics; diag_render.c prints it. */
#include "compiler/base/diag.h"

#include "compiler/base/checked.h"
#include "compiler/base/diag_list.h"

mvs_diag *mvs_diag_new(mvs_arena *home) {
  mvs_diag *diag = MVS_NEW(home, mvs_diag);
  diag->home = home;
  return diag;
}

static void add(mvs_diag *diag, mvs_diag_kind kind, mvs_span span, const char *message) {
  mvs_diag_entry entry = {.kind = kind, .span = span, .message = message};
  MVS_PUSH(diag->home, &diag->entries, entry);
}

/* Notes, hints and labels belong to the newest error: they go when it was only counted. */
static bool newest_is_kept(const mvs_diag *diag) {
  return diag->errors > 0 && diag->errors <= MVS_MAX_DIAGNOSTICS;
}

void mvs_diag_error(mvs_diag *diag, mvs_span span, const char *format, ...) {
  diag->errors++;
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  diag->newest_error = diag->entries.count;
  add(diag, MVS_DIAG_ERROR, span, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_note(mvs_diag *diag, mvs_span span, const char *format, ...) {
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  add(diag, MVS_DIAG_NOTE, span, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_hint(mvs_diag *diag, const char *format, ...) {
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  add(diag, MVS_DIAG_HINT, (mvs_span){0}, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_label(mvs_diag *diag, const char *format, ...) {
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  diag->entries.items[diag->newest_error].label =
      mvs_arena_format_list(diag->home, format, list);
  va_end(list);
}

size_t mvs_diag_errors(const mvs_diag *diag) { return diag->errors; }

mvs_span mvs_span_join(mvs_span a, mvs_span b) {
  if (!a.source || (b.source && a.source != b.source)) return b.source ? b : a;
  if (!b.source) return a;
  a.begin = b.begin < a.begin ? b.begin : a.begin;
  a.end = b.end > a.end ? b.end : a.end;
  return a;
}

void mvs_span_position(mvs_span span, int *line, int *column) {
  *line = 1, *column = 1;
  if (!span.source) return;
  size_t end = span.begin < span.source->length ? span.begin : span.source->length;
  for (size_t at = 0; at < end; at++) {
    if (span.source->text[at] == '\n') {
      ++*line, *column = 1;
    } else {
      ++*column;
    }
  }
}
