/* text.c: strings that grow, on top of the arena's growing lists. The data is NUL-terminated
 * after every call and the capacity is always above the length. Texts are values that may be
 * copied, but only one copy may go on growing: the others keep the old place. */
#include "compiler/base/text.h"

#include <stdio.h>
#include <stdlib.h>

mvs_text mvs_text_new(mvs_arena *home) { return (mvs_text){.home = home}; }

/* One byte more than the text is asked for, so that the NUL always has room. */
void mvs_text_add_bytes(mvs_text *text, const char *bytes, size_t length) {
  text->data =
      mvs_arena_grow(text->home, text->data, 1, text->length + length, &text->capacity);
  if (length) memcpy(text->data + text->length, bytes, length);
  text->length += length;
  text->data[text->length] = '\0';
}

void mvs_text_add(mvs_text *text, const char *string) {
  mvs_text_add_bytes(text, string, strlen(string));
}

void mvs_text_addf(mvs_text *text, const char *format, ...) {
  /* A first try on the stack: most lines are short and need no copy in the arena. */
  char line[256];
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int length = vsnprintf(line, sizeof line, format, list);
  if (length >= 0 && (size_t)length < sizeof line) {
    mvs_text_add_bytes(text, line, (size_t)length);
  } else {
    mvs_text_add(text, mvs_arena_format_list(text->home, format, again));
  }
  va_end(again);
  va_end(list);
}

/* 17 digits always read back. */
void mvs_text_add_number(mvs_text *text, double value) {
  char digits[40];
  for (int precision = 15; precision <= 17; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, value);
    if (strtod(digits, NULL) == value) break;
  }
  mvs_text_add(text, digits);
}

const char *mvs_text_string(const mvs_text *text) { return text->data ? text->data : ""; }
