/* cuda_images.c: which of a program's images fit a GPU, by NVIDIA's rules for names.
 *
 *   sm_80      that GPU, and later ones of its generation (8.6, 8.9)
 *   sm_90a     that GPU alone, with all that it has
 *   sm_100f    its family: the generation, from that one on
 *   compute_80 PTX: any later GPU, once the driver has compiled it; compute_90a that one alone
 *
 * source : CUDA C++ Programming Guide, "Compute Capabilities" */
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

/* The more special code is the faster one, so it is the larger number. */
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

/* All or none: kernels of one step assume the same things about each other (cuda_waits). */
static bool holds_all(const mvs_program *program, const char *architecture) {
  for (size_t at = 0; at < program->n_kernels; at++)
    if (!mvs_cuda_find_image(program, architecture, program->kernels[at]->name)) return false;
  return true;
}

/* Among equals the first: --gpu names them in the order that the user prefers. */
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

/* For messages: an image a kernel, so each name comes many times. */
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
