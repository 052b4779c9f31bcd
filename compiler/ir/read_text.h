/* read_text.h: words, numbers, names and types of a dump, with a place for every complaint. */
#ifndef MVS_IR_READ_TEXT_H
#define MVS_IR_READ_TEXT_H

#include "compiler/ir/module.h"

/* A text being read, and the module that grows from it. */
typedef struct mvs_reader {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_source *source;
  size_t at; /* the next byte, never past the length */
  mvs_module *module;
  int nesting; /* of regions */
} mvs_reader;

/* Reports at the next byte; returns MVS_ERR_SYNTAX. */
mvs_status mvs_read_error(mvs_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Skips blanks and comments; true when nothing is left. */
bool mvs_read_end(mvs_reader *reader);
/* Takes `mark` when it comes next. A mark that is a word must end where a word ends. */
bool mvs_read_accept(mvs_reader *reader, const char *mark);
/* Takes `mark` or complains. */
mvs_status mvs_read_expect(mvs_reader *reader, const char *mark);
/* A bare or quoted name. */
mvs_status mvs_read_name(mvs_reader *reader, const char **out);
/* An integer between `least` and `most`. */
mvs_status mvs_read_integer(mvs_reader *reader, int64_t least, int64_t most, int64_t *out);
/* An integer that fits an index. */
mvs_status mvs_read_index(mvs_reader *reader, uint32_t *out);
/* Any number that a dump writes, "inf" and "nan" too. */
mvs_status mvs_read_number(mvs_reader *reader, double *out);
/* A type; its segments are interned in the module. */
mvs_status mvs_read_type(mvs_reader *reader, mvs_type *out);
/* The number of a node, "%12". */
mvs_status mvs_read_id(mvs_reader *reader, mvs_id *out);
/* The place from `begin` to here. */
mvs_span mvs_read_span(const mvs_reader *reader, size_t begin);

#endif
