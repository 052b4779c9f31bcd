/* diag.c: errors, notes, hints and labels of a run, and their rendering in clang's manner.
 * Entries are kept in the order reported: an error, then what belongs to it. Words are
 * formatted when they are reported, since their arguments may be gone later; positions are
 * worked out when they are rendered, since a span is two offsets and most spans are never
 * shown. Beyond MVS_MAX_DIAGNOSTICS errors only the count goes on, and with an error that is
 * not kept go its notes. Sources are arbitrary bytes: a caret line has one column for each
 * character of UTF-8, a tab or control byte is one column, and a long line is cut around the
 * span. */
#include "compiler/base/diag.h"

#include "compiler/base/checked.h"

/* A source line longer than this is shown in part, around the span. */
#define SHOWN_COLUMNS  160
#define CONTEXT_BEFORE 40

typedef enum diag_kind { DIAG_ERROR, DIAG_NOTE, DIAG_HINT } diag_kind;

typedef struct diag_entry {
  diag_kind kind;
  mvs_span span;
  const char *message;
  const char *label; /* words after the caret line, or NULL */
} diag_entry;

struct mvs_diag {
  mvs_arena *home;
  MVS_LIST(diag_entry) entries;
  size_t errors;       /* counted, kept or not */
  size_t newest_error; /* index of the newest kept error */
};

mvs_diag *mvs_diag_new(mvs_arena *home) {
  mvs_diag *diag = MVS_NEW(home, mvs_diag);
  diag->home = home;
  return diag;
}

/* Appends an entry; whether it may be kept is for the caller to know. Words may quote a file's:
 * control bytes in them could move a terminal's cursor or begin a line that is not ours. */
static void add(mvs_diag *diag, diag_kind kind, mvs_span span, char *message) {
  for (char *at = message; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7F) *at = '?';
  diag_entry entry = {.kind = kind, .span = span, .message = message};
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
  add(diag, DIAG_ERROR, span, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_note(mvs_diag *diag, mvs_span span, const char *format, ...) {
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  add(diag, DIAG_NOTE, span, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_hint(mvs_diag *diag, const char *format, ...) {
  if (!newest_is_kept(diag)) return;
  va_list list;
  va_start(list, format);
  add(diag, DIAG_HINT, (mvs_span){0}, mvs_arena_format_list(diag->home, format, list));
  va_end(list);
}

void mvs_diag_join(mvs_diag *diag, const mvs_diag *other) {
  for (size_t i = 0; i < other->entries.count; ++i) {
    const diag_entry *entry = &other->entries.items[i];
    if (entry->kind == DIAG_ERROR) {
      mvs_diag_error(diag, entry->span, "%s", entry->message);
      if (entry->label) mvs_diag_label(diag, "%s", entry->label);
    } else if (entry->kind == DIAG_NOTE) {
      mvs_diag_note(diag, entry->span, "%s", entry->message);
    } else {
      mvs_diag_hint(diag, "%s", entry->message);
    }
  }
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

/* What belongs to an error stands behind it. */
void mvs_diag_sentence(const mvs_diag *diag, mvs_text *out) {
  for (size_t i = 0; i < diag->entries.count; i++) {
    const diag_entry *entry = &diag->entries.items[i];
    if (i > 0 && entry->kind == DIAG_ERROR) return;
    if (i > 0 && entry->kind == DIAG_NOTE) continue;
    if (i > 0) mvs_text_add(out, "; ");
    mvs_text_add(out, entry->message);
  }
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

/* Rendering, in clang's manner. */

/* The part of one source line that is printed, and the span within it, as byte offsets. */
typedef struct excerpt {
  size_t begin, end;           /* printed bytes */
  size_t mark_begin, mark_end; /* marked bytes, within the above */
  bool cut_before, cut_after;  /* the line goes on outside */
} excerpt;

/* Finds the line of the span's begin and cuts it to SHOWN_COLUMNS around that byte. A span over
 * several lines is marked to the end of the first; an empty one gets one column. */
static excerpt excerpt_of(mvs_span span) {
  const char *text = span.source->text;
  size_t length = span.source->length;
  size_t mark = span.begin < length ? span.begin : length;
  size_t begin = mark, end = mark;
  while (begin > 0 && text[begin - 1] != '\n') begin--;
  while (end < length && text[end] != '\n') end++;
  while (end > mark && text[end - 1] == '\r') end--;
  excerpt part = {.begin = begin, .end = end, .mark_begin = mark};
  if (end - begin > SHOWN_COLUMNS) {
    if (mark - begin > SHOWN_COLUMNS - CONTEXT_BEFORE) part.begin = mark - CONTEXT_BEFORE;
    if (end - part.begin > SHOWN_COLUMNS) part.end = part.begin + SHOWN_COLUMNS;
    part.cut_before = part.begin != begin;
    part.cut_after = part.end != end;
  }
  part.mark_end = span.end < part.end ? span.end : part.end;
  if (part.mark_end <= mark) part.mark_end = mark + 1;
  return part;
}

/* False for the later bytes of a character in UTF-8, which take no column of their own. */
static bool starts_character(char byte) { return ((unsigned char)byte & 0xC0) != 0x80; }

/* Prints the line with each tab as one space and each control byte as '?', so that the caret
 * line under it needs one column per character. */
static void add_source_line(mvs_text *out, const char *text, excerpt part) {
  if (part.cut_before) mvs_text_add(out, "...");
  for (size_t at = part.begin; at < part.end; at++) {
    char byte = text[at];
    if (byte == '\t') byte = ' ';
    if ((unsigned char)byte < ' ' || byte == 0x7F) byte = '?';
    mvs_text_add_bytes(out, &byte, 1);
  }
  mvs_text_add(out, part.cut_after ? "...\n" : "\n");
}

/* The caret stands under the first character of the span, a tilde under each other. */
static void add_caret_line(mvs_text *out, const char *text, excerpt part, const char *label) {
  mvs_text_add(out, part.cut_before ? "      |    " : "      | ");
  for (size_t at = part.begin; at < part.mark_begin; at++)
    if (starts_character(text[at])) mvs_text_add(out, " ");
  mvs_text_add(out, "^");
  for (size_t at = part.mark_begin + 1; at < part.mark_end; at++)
    if (starts_character(text[at])) mvs_text_add(out, "~");
  if (label) mvs_text_addf(out, " %s", label);
  mvs_text_add(out, "\n");
}

/* An error or note without a place names the program instead, as a shell would. */
static void add_entry(mvs_text *out, const diag_entry *entry) {
  if (entry->kind == DIAG_HINT) {
    mvs_text_addf(out, "      = hint: %s\n", entry->message);
    return;
  }
  const char *word = entry->kind == DIAG_ERROR ? "error" : "note";
  if (!entry->span.source) {
    mvs_text_addf(out, "mvcc: %s: %s\n", word, entry->message);
    if (entry->label) mvs_text_addf(out, "      = %s\n", entry->label);
    return;
  }
  int line, column;
  mvs_span_position(entry->span, &line, &column);
  mvs_text_addf(out, "%s:%d:%d: %s: ", entry->span.source->name, line, column, word);
  mvs_text_addf(out, "%s\n%5d | ", entry->message, line);
  excerpt part = excerpt_of(entry->span);
  add_source_line(out, entry->span.source->text, part);
  add_caret_line(out, entry->span.source->text, part, entry->label);
}

void mvs_diag_render(const mvs_diag *diag, mvs_text *out) {
  for (size_t at = 0; at < diag->entries.count; at++) add_entry(out, &diag->entries.items[at]);
  if (diag->errors > MVS_MAX_DIAGNOSTICS) {
    mvs_text_add(out, "mvcc: error: too many errors, the rest is not shown\n");
  }
}
