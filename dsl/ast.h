/* ast.h: the tree of a model file, as written. It knows no ops and checks no shapes.
 * Owner: the session arena given to mvs_parse. Nodes are plain data, read freely.
 * The grammar is in docs/language.md. */
#ifndef MVS_DSL_AST_H
#define MVS_DSL_AST_H

#include "compiler/base/diag.h"

typedef struct mvs_expr mvs_expr;

typedef enum mvs_expr_kind {
  MVS_EXPR_NUMBER, /* 1, 0.5, 1e-5; integer says whether it was written without point or
                      exponent */
  MVS_EXPR_BOOL,   /* true, false */
  MVS_EXPR_STRING, /* "text" */
  MVS_EXPR_NAME,   /* width, f */
  MVS_EXPR_CALL,   /* callee(positional..., name = value...) [as label] */
  MVS_EXPR_UNARY,  /* -a, not a */
  MVS_EXPR_BINARY, /* a + b, a < b, a and b */
  MVS_EXPR_MEMBER, /* a.image */
  MVS_EXPR_TUPLE,  /* (a, b) */
  MVS_EXPR_LIST,   /* [a, b]: shapes, indices, streams */
  MVS_EXPR_EACH,   /* [a for NAME in b]: a list by rule */
  MVS_EXPR_INDEX,  /* a[b] */
  MVS_EXPR_IF      /* if c then a else b */
} mvs_expr_kind;

/* The operators of UNARY and BINARY expressions. What they mean for numbers and for tensors is
 * lowering's; `and` and `or` look at their second side only when they must. */
typedef enum mvs_operator {
  MVS_ADD,
  MVS_SUB,
  MVS_MUL,
  MVS_DIV,
  MVS_MOD,
  MVS_POW,
  MVS_LT,
  MVS_LE,
  MVS_GT,
  MVS_GE,
  MVS_EQ,
  MVS_NE,
  MVS_AND,
  MVS_OR,
  MVS_NOT,
  MVS_NEG
} mvs_operator;

/* An argument of a call, an item of a tuple or list, or an override of a `use`. Arguments by
 * position come before those by name: the parser has checked it, and that no name is twice. */
typedef struct mvs_argument {
  const char *name; /* NULL when positional */
  mvs_expr *value;
  mvs_span span;
} mvs_argument;

/* An expression. `kind` says which of the fields below the places are set; the others are zero.
 * Parentheses leave no trace: the tree is the grouping. */
struct mvs_expr {
  mvs_expr_kind kind;
  mvs_span span;     /* the whole expression, label included */
  const char *label; /* `as LABEL` (dotted labels joined with '.'), or NULL */
  mvs_span label_span;
  double number;           /* NUMBER */
  bool integer;            /* NUMBER */
  bool truth;              /* BOOL */
  const char *text;        /* NAME, STRING, MEMBER (the member), CALL (the callee), EACH */
  mvs_span text_span;      /* where `text` stands */
  mvs_operator op;         /* UNARY, BINARY */
  mvs_expr *a, *b, *c;     /* UNARY a; BINARY a b; MEMBER a; IF a b c; EACH a b; INDEX a b */
  mvs_argument *arguments; /* CALL; TUPLE and LIST use only .value */
  size_t argument_count;
  int height; /* 1 + that of the highest child; bounded, so that walks may recurse */
};

/* `alpha: gain = 0`, `heads`, `eps = 1e-5`: a parameter of a layer or rule. */
typedef struct mvs_formal {
  const char *name;
  const char *kind; /* "gain", "scalar" or NULL for an ordinary value */
  mvs_expr *value;  /* default, or NULL when required */
  mvs_span span;
} mvs_formal;

/* Statements of all blocks. Which may stand where is the table in check.c. */
typedef enum mvs_stmt_kind {
  MVS_STMT_LET,      /* NAME [, NAME ...] = EXPR    (also `let NAME = EXPR` at file level) */
  MVS_STMT_UPDATE,   /* NAME <- EXPR [as LABEL] */
  MVS_STMT_PARAM,    /* param NAME : DTYPE SHAPE [= INIT] [writer] */
  MVS_STMT_CONSTANT, /* constant NAME : DTYPE SHAPE = NUMBER */
  MVS_STMT_INPUT,    /* input NAME : DTYPE SHAPE [= UNCONDITIONAL] */
  MVS_STMT_OUTPUT,   /* output NAME : EXPR */
  MVS_STMT_RESIDUAL, /* residual EXPR as LABEL */
  MVS_STMT_STACK,    /* stack EXPR as LABEL { ... } */
  MVS_STMT_RETURN,   /* a bare expression: the value of the layer or rule body */
  MVS_STMT_ENTRY,    /* entry { ... }  in a rule */
  MVS_STMT_EXIT,     /* exit { ... }   in a rule */
  MVS_STMT_AFTER,    /* after { ... }  in a rule */
  MVS_STMT_INIT,     /* init SELECTOR [, SELECTOR ...] = EXPR (SELECTOR: writers, a.b, ...) */
  MVS_STMT_GROUP,    /* group SELECTOR [, ...] : lr = EXPR, decay = EXPR (value: a CALL) */
  MVS_STMT_IF,       /* if EXPR { ... } [else { ... }] */
  MVS_STMT_FOR,      /* for NAME in EXPR { ... } */
  MVS_STMT_SETTING   /* train/sample bodies: NAME VALUE, e.g. clip 1.0, optimizer adamw(...) */
} mvs_stmt_kind;

/* A list of statements in the order written. `else if` is an IF alone in the orelse of another.
 */
typedef struct mvs_stmt mvs_stmt;
typedef struct mvs_block {
  mvs_stmt **items;
  size_t count, capacity;
} mvs_block;

/* A statement. `kind` says which fields are set, as noted beside each; the others are zero. */
struct mvs_stmt {
  mvs_stmt_kind kind;
  mvs_span span;
  const char **names; /* LET, INIT and GROUP (several), else one; SETTING: the setting's name */
  mvs_span *name_spans;
  size_t name_count;
  const char *dtype; /* PARAM, CONSTANT, INPUT: "f32", "i32", ... */
  mvs_expr *shape;   /* same: a LIST expression */
  mvs_expr *value;   /* the expression, initial value, unconditional value or count */
  const char *label; /* UPDATE, RESIDUAL, STACK: `as LABEL` (UPDATE's also sits on value) */
  mvs_span label_span;
  bool writer;            /* PARAM: writes into the residual stream */
  mvs_expr *writer_if;    /* PARAM: `writer if EXPR`: only where EXPR holds; or NULL */
  mvs_block body, orelse; /* STACK, ENTRY, EXIT, AFTER, IF, FOR */
};

/* layer NAME(...) { ... } or residual NAME(...) { ... } at file level. */
typedef struct mvs_definition {
  const char *name;
  mvs_span name_span, span;
  bool residual;
  mvs_formal *formals;
  size_t formal_count;
  mvs_block body;
} mvs_definition;

/* One `use "file" with a = 1, residual rule(...)`. */
typedef struct mvs_use {
  mvs_span span, path_span;
  const char *path;
  mvs_argument *settings; /* overrides of lets, by name */
  size_t setting_count;
  mvs_expr *residual; /* `residual EXPR` among the overrides, or NULL */
} mvs_use;

/* One file as written, before anything that it uses is looked at. Parts that a file lacks are
 * empty lists; the order between lets and uses is that of their spans. */
typedef struct mvs_file {
  const mvs_source *source;
  mvs_use *uses;
  size_t use_count;
  mvs_block lets; /* MVS_STMT_LET, in order */
  mvs_definition *definitions;
  size_t definition_count;
  const char *model_name; /* NULL when the file has no model */
  mvs_span model_span;
  mvs_block model;
  bool has_train, has_sample;
  mvs_block train, sample; /* MVS_STMT_SETTING */
} mvs_file;

#endif
