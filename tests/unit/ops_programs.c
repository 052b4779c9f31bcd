/* ops_programs.c: see ops_programs.h. */
#include "tests/unit/ops_programs.h"

#include <stdio.h>
#include <stdlib.h>

#include "codegen/cuda/cuda.h"
#include "compiler/toolkit/nvrtc.h"

/* What the GPUs that these tests run on take; OPS_ARCHITECTURE names another. */
#define ARCHITECTURE "sm_90a"

const char *ops_programs_folder(void) {
  const char *folder = getenv("OPS_PROGRAMS");
  return folder && *folder ? folder : NULL;
}

/* Cubins alone: thousands of kernels that run once need no PTX for GPUs to come. */
static void add_cubins(ops_suite *s) {
  mvs_program *program = s->build->program;
  const char *other = getenv("OPS_ARCHITECTURE");
  size_t count = program->n_kernels;
  mvs_nvrtc_image *images = MVS_ARRAY(s->arena, count + 1, mvs_nvrtc_image);
  for (size_t i = 0; i < count; i++) {
    images[i] = (mvs_nvrtc_image){.name = program->kernels[i]->name,
                                  .text = program->kernels[i]->cuda,
                                  .architecture = other ? other : ARCHITECTURE};
  }
  ops_good(s, mvs_nvrtc_compile(s->arena, s->diag, images, count), "NVRTC");
  program->images = MVS_ARRAY(s->arena, count + 1, Mvs__Image *);
  program->n_images = count;
  for (size_t i = 0; i < count; i++) {
    if (images[i].spill_bytes) fail_msg("%s spills registers", images[i].name);
    Mvs__Image *image = program->images[i] = MVS_NEW(s->arena, Mvs__Image);
    mvs__image__init(image);
    image->architecture = (char *)images[i].architecture;
    image->kernel = (char *)images[i].name;
    image->data = (ProtobufCBinaryData){images[i].size, (uint8_t *)images[i].data};
    program->kernels[i]->cuda = NULL; /* is not carried: that halves the file */
  }
}

void ops_programs_write(ops_suite *s, const char *folder) {
  static int number;
  mvs_host_options options = {.cpu_level = s->level};
  ops_good(s, mvs_host_compile(s->arena, s->diag, s->build, &options), "host");
  ops_good(s, mvs_cuda_attach(s->arena, s->diag, s->build, NULL, 0), "cuda");
  add_cubins(s);
  mvs_text packed = mvs_text_new(s->arena), head = mvs_text_new(s->arena);
  ops_good(s, mvs_program_pack(s->build->program, &packed), "pack");
  for (size_t i = 0; i < s->cases.count; i++) {
    const ops_case *each = &s->cases.items[i];
    mvs_text_addf(&head, "case %s %a %a %a %a\n", each->name, each->low, each->high,
                  each->tolerance.each, each->tolerance.whole);
  }
  mvs_text_addf(&head, "program %zu\n", packed.length);
  const char *path =
      mvs_arena_format(s->arena, "%s/%03d-%s.ops", folder, number++, s->cases.items[0].name);
  FILE *file = fopen(path, "wb");
  if (!file) fail_msg("%s cannot be written", path);
  bool whole = fwrite(mvs_text_string(&head), 1, head.length, file) == head.length &&
               fwrite(mvs_text_string(&packed), 1, packed.length, file) == packed.length;
  if (fclose(file) != 0 || !whole) fail_msg("%s cannot be written", path);
}
