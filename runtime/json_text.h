/* json_text.h: strings of JSON. */
#ifndef MVS_RUNTIME_JSON_TEXT_H
#define MVS_RUNTIME_JSON_TEXT_H

#include "compiler/base/text.h"

/* Appends a string in quotes; bytes that are no UTF-8 become question marks. */
void mvs_json_string(mvs_text *out, const char *string);

#endif
