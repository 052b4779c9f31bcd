/* output_file.h: files that appear whole or not at all: written under a temporary name in the
 * same folder, made durable, then renamed. A failure leaves whatever stood there before; so
 * does a process that dies, and what it left under a temporary name goes with the next one that
 * writes there. Owner: every file begun is finished or abandoned. Between the two nothing may
 * be taken from an arena: memory that runs out would leave the temporary file. */
#ifndef MVS_BASE_OUTPUT_FILE_H
#define MVS_BASE_OUTPUT_FILE_H

#include <stdint.h>

#include "compiler/base/diag.h"

typedef struct mvs_output_file {
  mvs_diag *diag;
  const char *path, *folder, *temporary;
  int descriptor; /* -1 when not open; locked as long as it is */
} mvs_output_file;

/* Creates the temporary file with the rights `mode` less the process's mask.
 * errors : MVS_ERR_IO, also when something other than a regular file stands at `path` */
mvs_status mvs_output_begin(mvs_arena *arena, mvs_diag *diag, const char *path, unsigned mode,
                            mvs_output_file *out);
/* Appends bytes. errors : MVS_ERR_IO; the temporary file is then gone */
mvs_status mvs_output_append(mvs_output_file *file, const void *data, int64_t bytes);
/* fsync, rename, fsync of the folder. errors : as append. When only the last of these failed
 * the new file has its name, but may lose it should the machine stop. */
mvs_status mvs_output_finish(mvs_output_file *file);
/* Removes the temporary file. Harmless after finish. */
void mvs_output_abandon(mvs_output_file *file);
/* Writes a whole file in the same way. */
mvs_status mvs_output_write(mvs_arena *arena, mvs_diag *diag, const char *path,
                            const void *data, int64_t bytes);
/* Checks early, before long work, that a file can be made at `path`. errors : MVS_ERR_IO */
mvs_status mvs_output_check(mvs_arena *arena, mvs_diag *diag, const char *path);

/* Whether a file is called as temporary ones are. */
bool mvs_output_is_temporary(const char *name);
/* Removes the temporary files of a folder that no living process writes. */
void mvs_output_sweep(const char *folder);

/* All bytes to an open file; short writes and signals are gone over. false: errno says why */
bool mvs_write_all(int descriptor, const void *data, int64_t bytes);
/* Makes what was written durable; true also where the file system has no such call. false:
 * errno says why */
bool mvs_sync(int descriptor);
/* The folder part of a path ("." when there is none). */
const char *mvs_path_folder(mvs_arena *arena, const char *path);
/* The bytes that the disk of a folder has left for us, of the nearest one there is where it is
 * still to be made; -1 when the system does not say. */
int64_t mvs_free_bytes(mvs_arena *arena, const char *folder);
/* Makes a folder and its parents where they are missing, durably. errors : MVS_ERR_IO */
mvs_status mvs_make_folders(mvs_arena *arena, mvs_diag *diag, const char *path);

#endif
