/* json_text.h: strings and numbers of JSON, and files of it. */
#ifndef MVS_RUNTIME_JSON_TEXT_H
#define MVS_RUNTIME_JSON_TEXT_H

#include "compiler/base/diag.h"

struct json_t;

/* Appends a string in quotes; bytes that are no UTF-8 become question marks. */
void mvs_json_string(mvs_text *out, const char *string);
/* Appends a number with so many significant digits, or null: JSON knows no infinities and no
 * NaN. Nine digits give every float32 back exactly. */
void mvs_json_number(mvs_text *out, double value, int digits);
/* Reads a file of one value, without duplicate keys. Owner: the caller, by json_decref.
 * errors : MVS_ERR_IO, also when it is not there; MVS_ERR_FORMAT for what is no JSON */
mvs_status mvs_json_read(mvs_diag *diag, const char *path, struct json_t **out);

#endif
