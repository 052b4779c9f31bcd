/* ops_programs.h: suites as files for a machine with a GPU, which has no compiler of ours.
 *
 * With OPS_PROGRAMS=FOLDER in the environment the tests of a suite compile and check nothing:
 * each suite becomes a file FOLDER/NUMBER-FIRST_CASE.ops, which tests/gpu/ops.c runs on the GPU
 * and on the host. A file holds lines, then the packed program with code for the host and
 * cubins:
 *
 *   case NAME LOW HIGH EACH WHOLE     a function, the range of its inputs, its tolerance
 *   program BYTES */
#ifndef MVS_TESTS_OPS_PROGRAMS_H
#define MVS_TESTS_OPS_PROGRAMS_H

#include "tests/unit/ops_suite.h"

/* The folder, or NULL: suites are checked as usual. */
const char *ops_programs_folder(void);
/* Compiles the suite's build for both and writes its file. Fails the test where it cannot. */
void ops_programs_write(ops_suite *s, const char *folder);

#endif
