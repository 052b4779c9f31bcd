/* fuzz.c: a folder for readers that open their files themselves. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* In memory: an execution takes microseconds, a disk would take milliseconds. */
static char folder[] = "/dev/shm/mvcc-fuzz-XXXXXX";
static char path[256];
static char names[16][64];
static size_t count;

static void clean_up(void) {
  for (size_t at = 0; at < count; at++) {
    snprintf(path, sizeof path, "%s/%s", folder, names[at]);
    unlink(path);
  }
  rmdir(folder);
}

const char *fuzz_folder(void) {
  static int made;
  if (made++) return folder;
  if (!mkdtemp(folder)) abort();
  atexit(clean_up);
  return folder;
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
  size_t at = 0;
  while (at < count && strcmp(names[at], name) != 0) at++;
  if (at == count) snprintf(names[count++], sizeof *names, "%s", name);
  snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || write(file, data, size) != (ssize_t)size) abort();
  close(file);
  return path;
}

void fuzz_judge(mvs_status status, const mvs_diag *diag) {
  if (status == MVS_OK) return;
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  mvs_diag_render(diag, &text);
  if (mvs_diag_errors(diag) == 0 || status == MVS_ERR_INTERNAL) {
    fprintf(stderr, "status %d: %s\n", (int)status, mvs_text_string(&text));
    abort();
  }
  mvs_arena_free(arena);
}
