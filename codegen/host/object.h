/* object.h: from ELF objects to one position-independent block of code and constants, which a
 * program carries and maps anywhere; no linker is needed. */
#ifndef MVS_HOST_OBJECT_H
#define MVS_HOST_OBJECT_H

#include "compiler/base/diag.h"

/* Where the block starts must be a multiple of this (constants of 64 bytes are loaded aligned).
 */
#define MVS_BLOCK_ALIGNMENT 64

typedef struct mvs_symbol {
  const char *name;
  uint64_t address; /* from the block's start */
} mvs_symbol;
typedef MVS_LIST(mvs_symbol) mvs_symbols;

/* Appends the code and constants of an x86-64 ELF object to `block`, applies its relocations
 * and appends its global functions to `symbols` (in block->home). errors : MVS_ERR_INTERNAL
 * when the object needs something outside itself, has writable data or a relocation that is not
 * relative to its own place */
mvs_status mvs_object_place(mvs_diag *diag, const void *object, size_t size, mvs_text *block,
                            mvs_symbols *symbols);

#endif
