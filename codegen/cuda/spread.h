/* spread.h: how a ROWS nest is spread over the threads of a GPU.
 *
 * `threads` threads share a row; of it each takes `chunks` vectors of `vector` consecutive
 * elements, `threads` vectors apart. It does so for `rows` neighbours along the last outer axis
 * at once: loads that do not move along that axis serve them all. A nest without reductions may
 * cut its rows into `tiles`, each for other blocks.
 *
 * The rows of the outer axes from `split` on are spread together, `groups` of them (a group is
 * `rows` rows of a thread), over whole blocks; the axes before it count such sets of blocks. So
 * index arithmetic has constant divisors and 32 bits, and is the same for a whole block before
 * `split`. With split 0 all axes are in one space.
 *
 * In a nest with reductions `vector` and `threads` follow from the length of the row alone:
 * they are the tree of the reduction (docs/numerics.md). The rest is free. */
#ifndef MVS_CUDA_SPREAD_H
#define MVS_CUDA_SPREAD_H

#include "codegen/cuda/printer.h"

/* Chunks up to which loops over them are unrolled whole. In longer ones nothing can be kept:
 * what is indexed by the loop would lie in memory. */
#define MVS_CUDA_UNROLLED 8

typedef struct mvs_cuda_spread {
  int vector;  /* 8, 4, 2 or 1; up to 4 with a reduction */
  int threads; /* a power of two up to MVS_CUDA_BLOCK */
  int64_t chunks;
  int rows; /* 1, 2 or 4 */
  bool reduces;
  int64_t tiles;  /* of a row; 0: as many as the batch asks for (inner is per batch) */
  int split;      /* outer axis */
  mvs_dim groups; /* in the axes from `split` on */
  int64_t blocks; /* that hold `groups`, when split > 0 */
  mvs_phase_mask *needs; /* per instruction: the phases that need it, given what is kept */
  bool *varies;    /* per instruction: differs between the rows that a thread takes at once */
  bool *kept;      /* per instruction: stays in registers from its first phase on */
} mvs_cuda_spread;

/* Chooses the spread; its arrays live in `arena`. */
mvs_cuda_spread mvs_cuda_spread_nest(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest);
/* How many elements one access of the operand moves: 16 bytes at most, a divisor of `vector`,
 * and such that every vector starts on a multiple of it. 1 where inner elements are apart. */
int mvs_cuda_access_width(const mvs_kernel *kernel, const mvs_nest *nest,
                          const mvs_access *access, int vector);
/* Groups of rows in one block. */
int mvs_cuda_groups_per_block(const mvs_cuda_spread *spread);
/* The blocks of a ROWS nest. */
mvs_cuda_blocks mvs_cuda_rows_blocks(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest);

/* Of the values that several phases need, chooses which stay in registers: the cheapest set
 * from which the later phases can be computed, `rows` copies of what varies counted. Dear
 * values (transcendentals, random numbers) are never computed twice. Returns its bytes per
 * element. */
int64_t mvs_cuda_choose_kept(mvs_arena *arena, const mvs_kernel *kernel, const mvs_nest *nest,
                             const mvs_cuda_spread *spread, bool *kept);

#endif
