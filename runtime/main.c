/* main.c: the prebuilt trainer. mvcc copies it and appends a compiled program, which it finds
 * here. */
#include <stdio.h>

#include "runtime/trainer.h"

int main(int argc, char **argv) {
  mvs_program *program;
  const char *reason = NULL;
  const char *name = argc > 0 ? argv[0] : "mvs-trainer";
  if (mvs_program_read_executable("/proc/self/exe", &program, &reason) != MVS_OK) {
    fprintf(stderr,
            "%s: %s; make one with: "
            "mvcc MODEL.mvs -o PROGRAM\n",
            name, reason ? reason : "there is no program in this executable");
    return 1;
  }
  int code = mvs_trainer_main(program, argc, argv);
  mvs_program_free(program);
  return code;
}
