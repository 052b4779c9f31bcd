/* pickle.h: values out of Python's pickle format, protocols 2 to 5, without running anything. A
 * pickle is a program for a machine with a stack; this machine knows the instructions that
 * build plain values, and what a pickle asks to import or to call is answered by the caller's
 * table or refused. Memory is bounded by the length of the text, since an instruction makes one
 * value, and their number by a limit. Owner: the arena given; strings point into the text. */
#ifndef MVS_RUNTIME_PICKLE_H
#define MVS_RUNTIME_PICKLE_H

#include <stdbool.h>

#include "compiler/base/diag.h"

typedef enum mvs_pickle_kind {
  MVS_PICKLE_NONE,
  MVS_PICKLE_BOOL,
  MVS_PICKLE_INTEGER,
  MVS_PICKLE_FLOAT,
  MVS_PICKLE_TEXT,
  MVS_PICKLE_TUPLE,
  MVS_PICKLE_LIST,
  MVS_PICKLE_DICT,   /* keys and values in turn */
  MVS_PICKLE_GLOBAL, /* `integer`: its number in the caller's table */
  MVS_PICKLE_OBJECT, /* made by the caller; `integer` says what it is */
  MVS_PICKLE_MARK    /* on the stack alone */
} mvs_pickle_kind;

typedef struct mvs_pickle_items mvs_pickle_items;

typedef struct mvs_pickle_value {
  mvs_pickle_kind kind;
  int64_t integer; /* BOOL: 0 or 1 */
  const char *text;
  size_t length;           /* of the text, which has no NUL at its end */
  mvs_pickle_items *items; /* TUPLE, LIST, DICT: shared by all that name the same one */
  void *object;
} mvs_pickle_value;

struct mvs_pickle_items {
  mvs_pickle_value *items;
  size_t count, capacity;
};

/* The caller's part. Calls that refuse say why in `why`, a sentence without its subject. */
typedef struct mvs_pickle_rules {
  void *self;
  /* The number of a global; negative: it is refused by name. */
  int (*find)(const char *module, size_t module_length, const char *name, size_t name_length);
  /* What calling a global gives. */
  bool (*call)(void *self, int global, const mvs_pickle_value *arguments, mvs_pickle_value *out,
               const char **why);
  /* What a persistent id stands for. */
  bool (*load)(void *self, const mvs_pickle_value *id, mvs_pickle_value *out, const char **why);
} mvs_pickle_rules;

/* Reads a whole pickle. `name` is what messages call it ("'w.pt'"); they give the offset.
 * errors : MVS_ERR_FORMAT */
mvs_status mvs_pickle_read(mvs_arena *arena, mvs_diag *diag, const char *name,
                           const unsigned char *bytes, size_t size,
                           const mvs_pickle_rules *rules, mvs_pickle_value *out);
/* True for a TEXT of these words. */
bool mvs_pickle_is_text(const mvs_pickle_value *value, const char *words);

#endif
