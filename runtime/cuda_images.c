#include "runtime/cuda_images.h"

#include <stdlib.h>

#define EXACT_WITH_ALL 4
#define EXACT          3
#define SAME_MAJOR     2
#define BY_DRIVER      1

/* The first architecture whose code waits: as the prelude of every CUDA text has it. */
#define LEAST_WAITING 90

/* "sm_90a", "compute_90" or "sm_103a by NVRTC 13.0" to 90, 90, 103; 0: it is no architecture's
 * name. */
static long number_of(const char *architecture, char **suffix) {
  bool ptx = strncmp(architecture, "compute_", 8) == 0;
  if (!ptx && strncmp(architecture, "sm_", 3) != 0) return 0;
  return strtol(architecture + (ptx ? 8 : 3), suffix, 10);
}

bool mvs_cuda_waits(const char *architecture) {
  char *suffix;
  return number_of(architecture, &suffix) >= LEAST_WAITING;
}

int mvs_cuda_suits(const char *architecture, int major, int minor) {
  bool ptx = strncmp(architecture, "compute_", 8) == 0;
  char *suffix;
  long number = number_of(architecture, &suffix);
  if (number <= 0) return 0;
  long gpu = 10L * major + minor;
  bool same_major = number / 10 == major && number <= gpu;
  if (strcmp(suffix, "a") == 0) return number != gpu ? 0 : ptx ? BY_DRIVER : EXACT_WITH_ALL;
  if (strcmp(suffix, "f") == 0) return !same_major ? 0 : ptx ? BY_DRIVER : SAME_MAJOR;
  if (*suffix) return 0;
  if (ptx) return number <= gpu ? BY_DRIVER : 0;
  return number == gpu ? EXACT : same_major ? SAME_MAJOR : 0;
}

const Mvs__Image *mvs_cuda_find_image(const mvs_program *program, const char *architecture,
                                      const char *kernel) {
  for (size_t at = 0; at < program->n_images; at++)
    if (strcmp(program->images[at]->kernel, kernel) == 0 &&
        strcmp(program->images[at]->architecture, architecture) == 0)
      return program->images[at];
  return NULL;
}

static bool holds_all(const mvs_program *program, const char *architecture) {
  for (size_t at = 0; at < program->n_kernels; at++)
    if (!mvs_cuda_find_image(program, architecture, program->kernels[at]->name)) return false;
  return true;
}

const char *mvs_cuda_choose_architecture(const mvs_program *program, int major, int minor,
                                         bool ptx) {
  const char *best = NULL;
  int most = 0;
  for (size_t at = 0; at < program->n_images; at++) {
    const char *architecture = program->images[at]->architecture;
    int suits = mvs_cuda_suits(architecture, major, minor);
    if ((suits == BY_DRIVER) != ptx) continue;
    if (suits <= most || !holds_all(program, architecture)) continue;
    most = suits;
    best = architecture;
  }
  return best;
}

const char *mvs_cuda_list_architectures(mvs_arena *arena, const mvs_program *program) {
  mvs_text list = mvs_text_new(arena);
  for (size_t at = 0; at < program->n_images; at++) {
    const char *architecture = program->images[at]->architecture;
    bool known = false;
    for (size_t before = 0; before < at && !known; before++)
      known = strcmp(program->images[before]->architecture, architecture) == 0;
    if (!known) mvs_text_addf(&list, "%s%s", list.length ? ", " : "", architecture);
  }
  return mvs_text_string(&list);
}
