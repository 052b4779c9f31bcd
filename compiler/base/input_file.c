/* input_file.c: the checks are made on the open descriptor, since a name may come to stand for
 * something else between two calls. */
#include "compiler/base/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mvs_input_open(const char *path, int64_t *size, const char **why) {
  /* O_NONBLOCK keeps a named pipe from hanging the open; regular files do not know it. */
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) {
    *why = strerror(errno);
    if (file >= 0) close(file);
    return -1;
  }
  if (!S_ISREG(facts.st_mode)) {
    *why = S_ISDIR(facts.st_mode) ? "it is a directory" : "it is not a regular file";
    close(file);
    return -1;
  }
  *size = facts.st_size;
  return file;
}

FILE *mvs_input_stream(const char *path, const char **why) {
  int64_t size;
  int file = mvs_input_open(path, &size, why);
  if (file < 0) return NULL;
  FILE *stream = fdopen(file, "r");
  if (stream) return stream;
  *why = strerror(errno);
  close(file);
  return NULL;
}
