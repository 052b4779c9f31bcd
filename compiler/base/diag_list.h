/* diag_list.h: what diag.c and diag_render.c share. Not for other folders. */
#ifndef MVS_BASE_DIAG_LIST_H
#define MVS_BASE_DIAG_LIST_H

#include "compiler/base/diag.h"

typedef enum mvs_diag_kind { MVS_DIAG_ERROR, MVS_DIAG_NOTE, MVS_DIAG_HINT } mvs_diag_kind;

typedef struct mvs_diag_entry {
  mvs_diag_kind kind;
  mvs_span span;
  const char *message;
  const char *label; /* words after the caret line, or NULL */
} mvs_diag_entry;

struct mvs_diag {
  mvs_arena *home;
  MVS_LIST(mvs_diag_entry) entries;
  size_t errors;       /* counted, kept or not */
  size_t newest_error; /* index of the newest kept error */
};

#endif
