/* prepared.h: what a program's function "prepare" computes of the weights alone: where its
 * values lie between calls. The executor computes them anew when weights have changed. Owner:
 * the arena given; device memory is the executor's. */
#ifndef MVS_RUNTIME_PREPARED_H
#define MVS_RUNTIME_PREPARED_H

#include "runtime/device.h"

typedef struct mvs_prepared {
  const mvs_program *program;    /* the view whose "prepare" it is */
  const Mvs__Function *function; /* NULL: the program prepares nothing */
  int64_t *offsets;          /* per value: bytes from the start of `memory` */
  int64_t bytes;             /* of all of them */
  bool of_weights;           /* false: constants alone decide, so once is enough */
  char *memory;              /* NULL until the first run */
  uint64_t version;          /* of the weights that the values are of; 0: not computed yet */
  struct mvs_call *call;     /* of the function, NULL until another reads its values */
  struct mvs_prepared *next; /* of the executor's others, one per view */
} mvs_prepared;

/* Lays out the values of a program. */
mvs_prepared *mvs_prepared_new(mvs_arena *arena, const mvs_program *program);
/* Bytes of the copy of the flat weights in bf16; 0 where no function reads it. */
int64_t mvs_rounded_bytes(const mvs_program *program);

#endif
