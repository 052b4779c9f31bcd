/* parser.h: the state of one parse and the calls between the scanner (mvs.l), the line-end filter
 * (tokens.c), the grammar (mvs.y), the tree builders (build.c) and the messages (errors.c).
 * Not for other folders. Owner: everything lies in the session arena. */
#ifndef MVS_DSL_PARSER_H
#define MVS_DSL_PARSER_H

#include "compiler/base/checked.h"
#include "dsl/parse.h"

/* Highest tree of one expression. Brackets nest at most MVS_MAX_NESTING deep; this bounds chains
 * such as a + b + c + ..., which need no brackets, so that walks over the tree may recurse. */
#define MVS_MAX_HEIGHT 256

typedef MVS_LIST(mvs_argument) mvs_arguments;
typedef MVS_LIST(mvs_formal) mvs_formals;

/* A word with its place: names, labels. */
typedef struct mvs_word {
  const char *text; /* NULL: none */
  mvs_span span;
} mvs_word;
typedef MVS_LIST(mvs_word) mvs_words;

/* `writer [if EXPR]` after a param. */
typedef struct mvs_writer {
  bool present;
  mvs_expr *condition;
} mvs_writer;

/* An open bracket: its place, and what it belongs to ("stack", "call"). */
typedef struct mvs_opener {
  char bracket;
  mvs_span span;
  const char *owner;   /* shown: "the stack" */
  uint32_t line_begin; /* offset of the line in which its statement starts */
  uint32_t indent;     /* columns before that statement */
} mvs_opener;

typedef struct mvs_parser {
  mvs_arena *session;
  mvs_diag *diag;
  const mvs_source *source;
  mvs_file *file;       /* what a whole file is built into */
  mvs_expr *expression; /* what a single expression is built into */
  void *scanner;
  uint32_t offset; /* of the next byte to scan */
  mvs_status status;

  /* tokens.c */
  int mode;         /* first token handed to the grammar: file or expression */
  int previous;     /* kind of the token handed out last */
  mvs_span last;    /* its place */
  bool fresh_line;  /* the token handed out last is the first on its line */
  int pending;      /* kind of the token read ahead; 0: none */
  mvs_span pending_span;
  const void *pending_value; /* text or expr, by kind */
  bool pending_fresh;
  bool recovering; /* an error was reported in this statement */
  const char *head; /* word that starts the current statement: "stack" */
  mvs_span head_span;
  mvs_opener openers[MVS_MAX_NESTING];
  int depth;
  bool too_deep;
} mvs_parser;

/* mvs.l */
void mvs_scan_open(mvs_parser *parser, const char *text, size_t length);

/* errors.c */

/* Reports an error and remembers the status; the first status stays. */
void mvs_parser_error(mvs_parser *parser, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mvs_parser_limit(mvs_parser *parser, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports a byte that starts no token. */
void mvs_parser_stray(mvs_parser *parser, mvs_span span, char byte);
/* Reports that `found` stands where one of the `count` symbols of `expected` could. The names are
 * those of the grammar's tokens. */
void mvs_parser_syntax(mvs_parser *parser, mvs_span span, const char *found,
                       const char *const *expected, int count);

/* tokens.c: called by errors.c so that the next line end ends the broken statement. */
void mvs_tokens_recover(mvs_parser *parser);

/* check.c: what the grammar leaves open: which statement may stand where, duplicate formals. */
void mvs_check_file(mvs_parser *parser);

/* build.c: one call per rule of the grammar. */
mvs_expr *mvs_build_number(mvs_parser *parser, mvs_span span, const char *digits);
mvs_expr *mvs_build_zero(mvs_parser *parser, mvs_span span);
const char *mvs_build_string(mvs_parser *parser, mvs_span span, const char *quoted,
                             size_t length);
mvs_expr *mvs_build_bool(mvs_parser *parser, mvs_span span, bool truth);
mvs_expr *mvs_build_text(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                         const char *text);
mvs_expr *mvs_build_call(mvs_parser *parser, mvs_span span, mvs_word callee,
                         mvs_arguments arguments);
mvs_expr *mvs_build_group(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                          mvs_arguments items);
mvs_expr *mvs_build_member(mvs_parser *parser, mvs_span span, mvs_expr *of, mvs_word member);
/* `b` is NULL for unary operators. */
mvs_expr *mvs_build_operation(mvs_parser *parser, mvs_span span, mvs_operator op, mvs_expr *a,
                              mvs_expr *b);
mvs_expr *mvs_build_if(mvs_parser *parser, mvs_span span, mvs_expr *condition, mvs_expr *yes,
                       mvs_expr *no);
/* Puts `as LABEL` on an expression; reports an error unless it is a call. */
mvs_expr *mvs_build_label(mvs_parser *parser, mvs_span span, mvs_expr *expr, mvs_word label);
/* a.b.c as one label. */
mvs_word mvs_build_dotted(mvs_parser *parser, mvs_span span, mvs_word first, mvs_word next);

mvs_stmt *mvs_build_stmt(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind);
mvs_stmt *mvs_build_let(mvs_parser *parser, mvs_span span, mvs_words names, mvs_expr *value);
/* UPDATE, OUTPUT, INIT, SETTING: a name and a value. */
mvs_stmt *mvs_build_named(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_expr *value);
/* PARAM, CONSTANT, INPUT: a name, a type and perhaps a value. */
mvs_stmt *mvs_build_typed(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_word dtype, mvs_expr *shape, mvs_expr *value);
/* RESIDUAL, STACK: a value and a label. */
mvs_stmt *mvs_build_labelled(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind,
                             mvs_expr *value, mvs_word label);

/* Files the parts of the file; each reports a duplicate that the grammar cannot see. */
void mvs_build_definition(mvs_parser *parser, mvs_span span, bool residual, mvs_word name,
                          mvs_formals formals, mvs_block body);
void mvs_build_model(mvs_parser *parser, mvs_span span, mvs_word name, mvs_block body);
void mvs_build_settings(mvs_parser *parser, mvs_span span, bool sample, mvs_block body);
void mvs_build_use(mvs_parser *parser, mvs_span span, mvs_word path, mvs_arguments settings);

#endif
