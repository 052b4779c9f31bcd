/* main.c: the prebuilt trainer. mvcc copies it and appends a compiled program, which it
 * finds here by reading its own executable; a copy may be renamed and moved as the user
 * likes. It links no compiler: what a program needs is in its payload. */
#include <setjmp.h>
#include <stdio.h>

#include "runtime/trainer.h"

/* Without a program (the bare trainer, a file cut short) there is nothing to run but a
 * sentence. */
int main(int argc, char **argv) {
  mvs_program *program;
  const char *reason = NULL;
  const char *name = argc > 0 ? argv[0] : "mvs-trainer";
  jmp_buf exhausted;
  mvs_arena_on_oom(&exhausted);
  if (setjmp(exhausted)) {
    fprintf(stderr, "%s: error: out of memory: %zu bytes for its program could not be had\n",
            name, mvs_arena_oom_bytes());
    return 1;
  }
  mvs_status status = mvs_program_read_executable("/proc/self/exe", &program, &reason);
  if (status != MVS_OK) {
    fprintf(stderr, "%s: error: %s%s\n", name,
            reason ? reason : "there is no program in this executable",
            status == MVS_ERR_IO ? "" : "; make one with: mvcc MODEL.mvs -o PROGRAM");
    return 1;
  }
  int code = mvs_trainer_main(program, argc, argv);
  mvs_program_free(program);
  return code;
}
