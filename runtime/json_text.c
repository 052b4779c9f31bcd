/* json_text.c: names of files and devices may hold anything. */
#include "runtime/json_text.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

/* The library knows what is UTF-8 and what must be escaped. */
void mvs_json_string(mvs_text *out, const char *string) {
  json_t *value = json_string(string);
  if (!value) {
    char *plain = mvs_arena_string(out->home, string);
    for (char *at = plain; *at; at++)
      if ((unsigned char)*at >= 0x80) *at = '?';
    value = json_string(plain);
  }
  char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
  mvs_text_add(out, text ? text : "\"?\"");
  free(text);
  json_decref(value);
}

void mvs_json_number(mvs_text *out, double value, int digits) {
  if (isfinite(value)) {
    mvs_text_addf(out, "%.*g", digits, value);
  } else {
    mvs_text_add(out, "null");
  }
}
