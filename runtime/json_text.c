/* json_text.c: names of files and devices may hold anything. */
#include "runtime/json_text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compiler/base/input_file.h"
#include "runtime/fail.h"

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

/* The library says the same of a file that cannot be read as of one that is cut short. */
mvs_status mvs_json_read(mvs_diag *diag, const char *path, json_t **out) {
  json_error_t error;
  const char *why = NULL;
  FILE *file = mvs_input_stream(path, &why);
  *out = file ? json_loadf(file, JSON_REJECT_DUPLICATES, &error) : NULL;
  if (file && ferror(file)) why = strerror(errno);
  if (file) fclose(file);
  if (*out) return MVS_OK;
  if (why) return MVS_FAIL(diag, MVS_ERR_IO, "cannot read '%s': %s", path, why);
  return MVS_FAIL(diag, MVS_ERR_FORMAT, "'%s' is damaged: %s", path, error.text);
}
