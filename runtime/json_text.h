/* json_text.h: strings and numbers of JSON. */
#ifndef MVS_RUNTIME_JSON_TEXT_H
#define MVS_RUNTIME_JSON_TEXT_H

#include "compiler/base/text.h"

/* Appends a string in quotes; bytes that are no UTF-8 become question marks. */
void mvs_json_string(mvs_text *out, const char *string);
/* Appends a number with so many significant digits, or null: JSON knows no infinities and no
 * NaN. Nine digits give every float32 back exactly. */
void mvs_json_number(mvs_text *out, double value, int digits);

#endif
