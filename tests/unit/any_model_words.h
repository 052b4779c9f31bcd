/* any_model_words.h: expressions of the language, made of the words that are in scope. */
#ifndef MVS_TESTS_ANY_MODEL_WORDS_H
#define MVS_TESTS_ANY_MODEL_WORDS_H

#include "tests/unit/any_model.h"

/* What a word holds, the batch left out. */
typedef enum any_kind {
  ANY_TOKENS, /* [T, features] of the whole sequence */
  ANY_COLUMN, /* [T, 1] */
  ANY_VECTOR, /* [features] */
  ANY_NUMBER  /* a number, or a tensor of one element */
} any_kind;

typedef struct any_word {
  const char *name;
  any_kind kind;
  int features;
} any_word;

/* What may be written at a place. */
typedef struct any_scope {
  MVS_LIST(any_word) words; /* the first is a sequence */
  bool labels;              /* calls with parameters: nothing runs this place twice */
  bool earlier;             /* in a stack */
  bool made;                /* within a layer of the model's own */
} any_scope;

enum { ANY_MOST_PARTS = 3 };

/* A text in the making. */
typedef struct any_writer {
  mvs_arena *arena;
  any_choices *choices;
  mvs_text items; /* layers and rules */
  int serial;     /* of labels and names */
  int parts;      /* segments of the sequence; its parts have names when there are several */
  int rows;       /* tokens of all */
} any_writer;

extern const char *const any_part_names[ANY_MOST_PARTS];

/* Formats into the writer's arena. */
const char *any_format(any_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int any_pick(any_writer *w, int bound);
/* A name that no other has: the prefix and a number. */
const char *any_name(any_writer *w, const char *prefix);
void any_add_word(any_writer *w, any_scope *scope, const char *name, any_kind kind,
                  int features);
/* Expressions at most `depth` operations deep, or a little more. */
const char *any_tokens(any_writer *w, const any_scope *scope, int features, int depth);
const char *any_column(any_writer *w, const any_scope *scope, int depth);
const char *any_vector(any_writer *w, const any_scope *scope, int features, int depth);
const char *any_number(any_writer *w, const any_scope *scope);
/* Lines "v3 = ..." into `text`, up to `most`; the names join the scope. */
void any_bindings(any_writer *w, any_scope *scope, mvs_text *text, int features, int most);
/* Any of several texts. */
#define ANY_OF(w, list) ((list)[any_pick((w), (int)(sizeof(list) / sizeof *(list)))])

#endif
