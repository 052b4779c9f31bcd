/* input_file.h: opening what is to be read. A path may name a pipe that nobody writes to, or a
 * device without end: only regular files are opened, and opening one never waits. */
#ifndef MVS_BASE_INPUT_FILE_H
#define MVS_BASE_INPUT_FILE_H

#include <stdint.h>
#include <stdio.h>

/* Opens a regular file: its descriptor and size, or -1 with the reason in *why ("it is a
 * directory", "No such file or directory"), which holds until the next call. */
int mvs_input_open(const char *path, int64_t *size, const char **why);
/* The same as a stream; NULL with the reason. */
FILE *mvs_input_stream(const char *path, const char **why);

#endif
