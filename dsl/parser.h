/* parser.h: the state of one parse and the calls between the scanner (mvs.l), the line-end
 * filter (tokens.c), the grammar (mvs.y), the tree builders (build.c) and the messages
 * (errors.c). Not for other folders. Owner: everything lies in the session arena. */
#ifndef MVS_DSL_PARSER_H
#define MVS_DSL_PARSER_H

#include "compiler/base/checked.h"
#include "dsl/ast.h"

/* Highest tree of one expression. Brackets nest at most MVS_MAX_NESTING deep; this bounds
 * chains such as a + b + c + ..., which need no brackets, so that walks over the tree may
 * recurse. */
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

/* An open bracket and the word that starts its statement ("stack", "train"). */
typedef struct mvs_opener {
  char bracket;
  mvs_span span;
  const char *head;
  mvs_span head_span;
  uint32_t indent; /* columns before that word */
} mvs_opener;

/* A token read ahead of the grammar. */
typedef struct mvs_token {
  int kind;
  mvs_span span;
  const char *text; /* names and strings */
  mvs_expr *expr;   /* numbers */
  bool first;       /* the first on its line */
  uint32_t indent;  /* columns before it */
} mvs_token;

/* The state of one parse. The grammar's actions, the scanner and the messages all get it; there
 * is no other state, so parses may nest and run beside each other. */
typedef struct mvs_parser {
  mvs_arena *session;
  mvs_diag *diag;
  const mvs_source *source;
  mvs_status status;                        /* of the first error */
  mvs_file *file;                           /* what a whole file is built into */
  mvs_expr *expression;                     /* what a single expression is built into */
  size_t use_capacity, definition_capacity; /* of the file's lists */
  mvs_span train_span, sample_span;         /* for reporting a second one */
  void *scanner;
  uint32_t offset; /* of the next byte to scan */

  /* tokens.c */
  int start;      /* the token handed out first: it picks file or expression */
  mvs_token last; /* handed out last */
  mvs_token next; /* read ahead when has_next */
  bool has_next;
  uint32_t line_begin; /* offset of the line being scanned */
  mvs_token head;      /* first of the current statement */
  int head_age;        /* tokens handed out since */
  mvs_opener openers[MVS_MAX_NESTING];
  int depth;
  bool recovering;  /* the grammar is skipping the rest of a broken statement */
  bool broken;      /* the grammar refused something: the tree has gaps */
  bool told_height; /* MVS_MAX_HEIGHT was reported */
  bool stopped;     /* a limit was passed: nothing but the end of the file comes now */
} mvs_parser;

/* mvs.l: starts scanning `length` bytes of `text`, which are copied. */
void mvs_scan_open(mvs_parser *parser, const char *text, size_t length);

/* errors.c */

/* Reports a syntax error and remembers the status; the first status stays. */
void mvs_parser_error(mvs_parser *parser, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports that a named limit was passed. */
void mvs_parser_limit(mvs_parser *parser, mvs_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports a byte that starts no token, unless it lies in a statement given up already. */
void mvs_parser_stray(mvs_parser *parser, mvs_span span, char byte);
/* Reports that `found` stands where one of the `count` symbols of `expected` could. The names
 * are those of the grammar's tokens. */
void mvs_parser_syntax(mvs_parser *parser, mvs_span span, const char *found,
                       const char *const *expected, int count);

/* tokens.c: gives the grammar a way out of a broken statement: the block that it opens is
 * passed over, and brackets that it left open end at the next line of its own indentation. */
void mvs_tokens_recover(mvs_parser *parser);

/* check.c: what the grammar leaves open: which statement may stand where, duplicate names. */
void mvs_check_file(mvs_parser *parser);

/* build.c: one call per rule of the grammar. `span` is the whole construct. */

/* NUMBER from its digits; reports values that a double cannot hold. */
mvs_expr *mvs_build_number(mvs_parser *parser, mvs_span span, const char *digits);
/* NUMBER 0: stands in for a malformed one. */
mvs_expr *mvs_build_zero(mvs_parser *parser, mvs_span span);
/* The text of a quoted string, its backslashes resolved. */
const char *mvs_build_string(mvs_parser *parser, mvs_span span, const char *quoted,
                             size_t length);
/* BOOL. */
mvs_expr *mvs_build_bool(mvs_parser *parser, mvs_span span, bool truth);
/* NAME or STRING. */
mvs_expr *mvs_build_text(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                         const char *text);
/* CALL; reports arguments given twice or out of order. */
mvs_expr *mvs_build_call(mvs_parser *parser, mvs_span span, mvs_word callee,
                         mvs_arguments arguments);
/* TUPLE or LIST. */
mvs_expr *mvs_build_group(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                          mvs_arguments items);
/* MEMBER. */
mvs_expr *mvs_build_member(mvs_parser *parser, mvs_span span, mvs_expr *of, mvs_word member);
/* INDEX. */
mvs_expr *mvs_build_index(mvs_parser *parser, mvs_span span, mvs_expr *of, mvs_expr *at);
/* EACH: the list of `body` for each item of `over`. */
mvs_expr *mvs_build_each(mvs_parser *parser, mvs_span span, mvs_expr *body, mvs_word name,
                         mvs_expr *over);
/* UNARY when `b` is NULL, else BINARY. */
mvs_expr *mvs_build_operation(mvs_parser *parser, mvs_span span, mvs_operator op, mvs_expr *a,
                              mvs_expr *b);
/* IF. */
mvs_expr *mvs_build_if(mvs_parser *parser, mvs_span span, mvs_expr *condition, mvs_expr *yes,
                       mvs_expr *no);
/* Puts `as LABEL` on an expression; reports an error unless it is a call without one. */
mvs_expr *mvs_build_label(mvs_parser *parser, mvs_span span, mvs_expr *expr, mvs_word label);
/* `first.next` as one label. */
mvs_word mvs_build_dotted(mvs_parser *parser, mvs_span span, mvs_word first, mvs_word next);

/* A statement without parts. */
mvs_stmt *mvs_build_stmt(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind);
/* LET; INIT and GROUP, whose names are selectors. */
mvs_stmt *mvs_build_let(mvs_parser *parser, mvs_span span, mvs_words names, mvs_expr *value);
/* UPDATE, OUTPUT, SETTING: a name and a value. */
mvs_stmt *mvs_build_named(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_expr *value);
/* PARAM, CONSTANT, INPUT: a name, a type and perhaps a value. */
mvs_stmt *mvs_build_typed(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_word dtype, mvs_expr *shape, mvs_expr *value);
/* RESIDUAL, STACK: a value and a label. */
mvs_stmt *mvs_build_labelled(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind,
                             mvs_expr *value, mvs_word label);

/* build_file.c: files the parts of the file under parser->file. */

/* A layer or rule; reports formals declared twice. */
void mvs_build_definition(mvs_parser *parser, mvs_span span, bool residual, mvs_word name,
                          mvs_formals formals, mvs_block body);
/* The model; reports a second one. */
void mvs_build_model(mvs_parser *parser, mvs_word name, mvs_block body);
/* `train` or `sample`, at the word `span`; reports a second one. */
void mvs_build_settings(mvs_parser *parser, mvs_span span, bool sample, mvs_block body);
/* `use`; a setting without a name is the override of the residual line. */
void mvs_build_use(mvs_parser *parser, mvs_span span, mvs_word path, mvs_arguments settings);

#endif
