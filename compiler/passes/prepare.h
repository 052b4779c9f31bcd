/* prepare.h: names of the values that prepare.c moves out of the functions. */
#ifndef MVS_PASSES_PREPARE_H
#define MVS_PASSES_PREPARE_H

#include "compiler/passes/pass.h"

/* The function that computes them. */
#define MVS_PREPARE "prepare"

/* True for "prepared/K", an input of a function or a result of "prepare"; gives K. `name` may
 * be NULL. */
bool mvs_prepared_number(const char *name, uint32_t *number);

#endif
