/* library.c: where NVIDIA's libraries are. Toolkits, distributions and pip each have folders of
 * their own, and pip's are in no search path; they are tried in that order. A library is opened
 * by its whole path, so that those beside it which it opens itself are its own. */
#include "compiler/toolkit/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#define LONGEST_PATH 4096

/* The first name that is there: callers list the newest version first. */
static void *open_in(const char *folder, const char *const *names) {
  void *library = NULL;
  char path[LONGEST_PATH];
  for (; !library && *names; names++)
    if (snprintf(path, sizeof path, "%s/%s", folder, *names) < (int)sizeof path)
      library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return library;
}

/* A pattern that matches nothing is a name: folders may have brackets in theirs. */
static void *open_matching(const char *pattern, const char *const *names) {
  void *library = NULL;
  glob_t found;
  if (glob(pattern, GLOB_NOCHECK, NULL, &found) != 0) return NULL;
  for (size_t each = 0; !library && each < found.gl_pathc; each++)
    library = open_in(found.gl_pathv[each], names);
  globfree(&found);
  return library;
}

/* A toolkit's own folders, then those of `pip install --target ROOT`: a folder per package. */
static void *open_under(const char *root, const char *const *names) {
  static const char *const folders[] = {"", "/lib64", "/lib", "/targets/x86_64-linux/lib",
                                        "/nvidia/*/lib"};
  void *library = NULL;
  char pattern[LONGEST_PATH];
  for (size_t at = 0; root && !library && at < sizeof folders / sizeof *folders; at++)
    if (snprintf(pattern, sizeof pattern, "%s%s", root, folders[at]) < (int)sizeof pattern)
      library = open_matching(pattern, names);
  return library;
}

/* Where pip puts NVIDIA's packages: of an active environment, of the user, of the machine. */
static void *open_in_packages(const char *const *names) {
  static const char *const roots[] = {"/usr/local", "/usr", "/opt/*", "/opt/*/.venv",
                                      "/opt/*/venv"};
  static const char *const kinds[] = {"site-packages", "dist-packages"};
  const char *home = getenv("HOME"), *environment = getenv("VIRTUAL_ENV");
  void *library = NULL;
  for (size_t at = 0; !library && at < 2 + sizeof roots / sizeof *roots; at++) {
    const char *root = at == 0 ? environment : at == 1 ? home : roots[at - 2];
    for (size_t kind = 0; root && !library && kind < 2; kind++) {
      char pattern[LONGEST_PATH];
      if (snprintf(pattern, sizeof pattern, "%s%s/lib/python3*/%s/nvidia/*/lib", root,
                   at == 1 ? "/.local" : "", kinds[kind]) < (int)sizeof pattern)
        library = open_matching(pattern, names);
    }
  }
  return library;
}

/* NULL unless the user named a folder: an empty variable is none. */
static const char *named_folder(void) {
  const char *named = getenv("MVCC_CUDA_PATH");
  return named && *named ? named : NULL;
}

/* A folder that was named is the only one: libraries of two toolkits must not be mixed. */
void *mvs_cuda_library(const char *const *names) {
  if (named_folder()) return open_under(named_folder(), names);
  void *library = NULL;
  for (const char *const *name = names; !library && *name; name++)
    library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
  if (!library) library = open_under(getenv("CUDA_HOME"), names);
  if (!library) library = open_under("/usr/local/cuda", names);
  if (!library) library = open_in_packages(names);
  return library;
}

const char *mvs_cuda_library_places(mvs_arena *arena) {
  const char *home = getenv("CUDA_HOME");
  if (named_folder()) return mvs_arena_format(arena, "MVCC_CUDA_PATH (%s)", named_folder());
  return mvs_arena_format(arena, "the library path, %s%s/usr/local/cuda and pip's folders",
                          home ? home : "", home ? ", " : "");
}
