/* host_level.h: the instruction set that a process takes of those that a program has code for.
 */
#ifndef MVS_RUNTIME_HOST_LEVEL_H
#define MVS_RUNTIME_HOST_LEVEL_H

#include "codegen/program.h"

/* The best level that this processor and its kernel run, or the lower one that the environment
 * names in MVCC_CPU: the same in all calls of a process.
 * errors : MVS_ERR_NAME for a name that is none, MVS_ERR_DEVICE where the processor lacks what
 * the level needs or the program has no code for so low a one */
mvs_status mvs_host_level(const mvs_program *program, mvs_diag *diag, mvs_cpu_level *out);
/* Gives the program's kernels the forms of that level. Where there is none they stay, and
 * opening the host tells why. Once per program. */
void mvs_host_level_take(mvs_program *program);

#endif
