/* output_file.h: files that appear whole or not at all: written under a temporary name in the
 * same folder, made durable, then renamed. A failure leaves whatever stood there before. Owner:
 * every file begun is finished or abandoned. */
#ifndef MVS_RUNTIME_OUTPUT_FILE_H
#define MVS_RUNTIME_OUTPUT_FILE_H

#include <stdint.h>

#include "compiler/base/diag.h"

typedef struct mvs_output_file {
  mvs_diag *diag;
  const char *path, *temporary;
  int descriptor; /* -1 when not open */
} mvs_output_file;

/* Creates the temporary file. errors : MVS_ERR_IO, also when something other than a regular
 * file stands at `path` */
mvs_status mvs_output_begin(mvs_arena *arena, mvs_diag *diag, const char *path,
                            mvs_output_file *out);
/* Appends bytes. errors : MVS_ERR_IO; the temporary file is then gone */
mvs_status mvs_output_append(mvs_output_file *file, const void *data, int64_t bytes);
/* fsync, rename, fsync of the folder. errors : as append */
mvs_status mvs_output_finish(mvs_output_file *file);
/* Removes the temporary file. Harmless after finish. */
void mvs_output_abandon(mvs_output_file *file);
/* Writes a whole file in the same way. */
mvs_status mvs_output_write(mvs_arena *arena, mvs_diag *diag, const char *path,
                            const void *data, int64_t bytes);
/* Checks early, before long work, that a file can be made at `path`. errors : MVS_ERR_IO */
mvs_status mvs_output_check(mvs_arena *arena, mvs_diag *diag, const char *path);
/* The folder part of a path ("." when there is none). */
const char *mvs_path_folder(mvs_arena *arena, const char *path);
/* Makes a folder and its parents where they are missing. errors : MVS_ERR_IO */
mvs_status mvs_make_folders(mvs_arena *arena, mvs_diag *diag, const char *path);

#endif
