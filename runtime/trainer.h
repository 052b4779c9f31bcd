/* trainer.h: what a compiled program does: its commands. */
#ifndef MVS_RUNTIME_TRAINER_H
#define MVS_RUNTIME_TRAINER_H

#include "codegen/program.h"

/* Gives the program's kernels the forms for this processor (host_level.h), then runs argv[1]
 * (info, train, sample, …) with the options behind it; argv[0] is the program's name in
 * messages. Reports go to stdout, errors to stderr. Returns the exit status: 0, 1 for a
 * failure, 2 for a wrong command line, 3 for a run that `train --watch` stopped. */
int mvs_trainer_main(mvs_program *program, int argc, char **argv);

#endif
