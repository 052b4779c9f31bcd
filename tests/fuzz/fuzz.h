/* fuzz.h: what the fuzz targets share. A target gives bytes to one reader as its file or text
 * and uses what it took; the sanitizers and asserts say what went wrong, `fuzz_judge` the rest.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "compiler/base/diag.h"

/* libFuzzer's entry: one input. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A folder of this process in memory; it goes when the process ends. */
const char *fuzz_folder(void);
/* Writes the bytes as a file of that name in the folder; gives its path, until the next call.
 */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* Ends the process when an input was refused without a word, or by an internal error: neither
 * is an answer to a user. */
void fuzz_judge(mvs_status status, const mvs_diag *diag);

#endif
