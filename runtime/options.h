/* options.h: the command line of one command, parsed strictly against a table of rows.
 * Forms: --name VALUE, --name=VALUE, --flag, and words by themselves where a row of kind
 * OPERANDS asks for them. Anything else, an unknown name, a name given
 * twice, or a value of the wrong kind or out of range is an error with a sentence. Owner: the
 * arena given; values point into argv. */
#ifndef MVS_RUNTIME_OPTIONS_H
#define MVS_RUNTIME_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/base/diag.h"

typedef enum mvs_option_kind {
  MVS_OPTION_FLAG,    /* no value */
  MVS_OPTION_TEXT,    /* any value but an empty one */
  MVS_OPTION_PREFIX,  /* any value, an empty one too */
  MVS_OPTION_INTEGER, /* a whole number within least .. most */
  MVS_OPTION_NUMBER,  /* a finite number within least .. most */
  MVS_OPTION_BYTES,   /* 512M, 8GiB, 16GB, 1000 */
  MVS_OPTION_CHOICE,  /* one of the words in `values`, divided by '|' */
  MVS_OPTION_OPERANDS /* least .. most words without dashes; `values` says what they are */
} mvs_option_kind;

typedef struct mvs_option_row {
  const char *name; /* without the dashes */
  mvs_option_kind kind;
  const char *values; /* CHOICE: the words; else the placeholder in the help ("FILE") */
  double least, most; /* INTEGER, NUMBER */
  const char *help;   /* one line; says the default */
} mvs_option_row;

typedef struct mvs_options mvs_options;
typedef MVS_LIST(mvs_option_row) mvs_option_rows;

/* Parses argv[0 .. argc-1] (the words behind the command).
 * errors : MVS_ERR_NAME, MVS_ERR_FORMAT, MVS_ERR_LIMIT */
mvs_status mvs_options_parse(mvs_arena *arena, mvs_diag *diag, const mvs_option_rows *rows,
                             int argc, char *const *argv, mvs_options **out);
/* Whether the option was given. Asking for a name that is in no row is our mistake. */
bool mvs_option_given(const mvs_options *options, const char *name);
/* The value, or `fallback` when the option was not given. */
const char *mvs_option_text(const mvs_options *options, const char *name, const char *fallback);
/* The same for whole numbers and sizes in bytes. */
int64_t mvs_option_integer(const mvs_options *options, const char *name, int64_t fallback);
/* The same for numbers. */
double mvs_option_number(const mvs_options *options, const char *name, double fallback);
/* The words that stood by themselves, and how many. */
const char *const *mvs_option_operands(const mvs_options *options, size_t *count);
/* Sets a value as if it had been given (used by --resume). errors : as mvs_options_parse */
mvs_status mvs_option_set(mvs_options *options, const char *name, const char *value);
/* The name of an option other than `except` whose value names the file that stands at `path`,
 * or NULL: what is written must not be what is read. */
const char *mvs_options_naming(const mvs_options *options, const char *path,
                               const char *except);
/* Writes one line per row: the option, its placeholder and its help. */
void mvs_options_help(const mvs_option_rows *rows, mvs_text *out);

/* Reads a whole number that fills the text; false otherwise. */
bool mvs_parse_integer(const char *text, int64_t *out);
/* The same for finite numbers. */
bool mvs_parse_number(const char *text, double *out);
/* Reads a size with an optional unit: K, M, G, T and KiB.. are powers of 1024, KB.. of 1000. */
bool mvs_parse_bytes(const char *text, int64_t *out);
/* Writes bytes for people: "1.50 GiB", "312 MiB". */
const char *mvs_bytes_text(mvs_arena *arena, int64_t bytes);

#endif
