/* text.h: a growing string in an arena, for dumps and generated sources. */
#ifndef MVS_BASE_TEXT_H
#define MVS_BASE_TEXT_H

#include "compiler/base/arena.h"

typedef struct mvs_text {
  mvs_arena *home;
  char *data; /* NUL-terminated once anything was added; NULL before */
  size_t length, capacity;
} mvs_text;

/* Starts an empty text in `home`. */
mvs_text mvs_text_new(mvs_arena *home);
/* Appends a NUL-terminated string. */
void mvs_text_add(mvs_text *text, const char *string);
/* Appends `length` bytes. */
void mvs_text_add_bytes(mvs_text *text, const char *bytes, size_t length);
/* Appends like printf. */
void mvs_text_addf(mvs_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends the shortest of the decimals of 15 to 17 digits that reads back as the same number.
 */
void mvs_text_add_number(mvs_text *text, double value);
/* The text so far, never NULL. */
const char *mvs_text_string(const mvs_text *text);

#endif
