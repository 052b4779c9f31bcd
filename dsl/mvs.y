/* mvs.y: the grammar of model files; docs/language.md is its manual. Every action is one call
 * of build.c. Line ends arrive from tokens.c only where they can separate statements. */
%require "3.8"
%define api.pure full
%define api.prefix {mvs_yy}
%define api.token.prefix {MVS_TOKEN_}
%define api.location.type {mvs_span}
%define parse.error custom
%define parse.lac full
%define lr.type ielr
%locations
%param { mvs_parser *parser }
%expect 0

%code requires {
#include "dsl/parser.h"
}

%union {
  const char *text;
  mvs_word word;
  mvs_words words;
  mvs_expr *expr;
  mvs_argument argument;
  mvs_arguments arguments;
  mvs_formal formal;
  mvs_formals formals;
  mvs_writer writer;
  mvs_stmt *stmt;
  mvs_block block;
}

%code {
/* Depth of the grammar's stack: reached by chains that need no brackets, such as `- - - 1`. */
#define YYMAXDEPTH 4000
#define YYLLOC_DEFAULT(whole, parts, count)                        \
  do {                                                             \
    (whole) = YYRHSLOC(parts, (count) ? 1 : 0);                    \
    if (count) (whole).end = YYRHSLOC(parts, count).end;           \
    else (whole).begin = (whole).end;                              \
  } while (0)
#define HOME parser->session
#define ADD(list, value) MVS_PUSH(HOME, &(list), value)

int mvs_yylex(MVS_YYSTYPE *value, mvs_span *span, mvs_parser *parser);
static void yyerror(const mvs_span *span, mvs_parser *parser, const char *message);
}

%initial-action { @$ = (mvs_span){parser->source, 0, 0}; }

%token END 0 "end of file"
%token START_FILE START_EXPR
%token LINE "end of line"
%token STRAY "stray" /* reported by the scanner, fits nowhere */
%token <text> NAME "name" STRING "string"
%token <expr> NUMBER "number"
%token USE "use" WITH "with" LET "let" MODEL "model" LAYER "layer" RESIDUAL "residual"
%token TRAIN "train" SAMPLE "sample" STACK "stack" ENTRY "entry" EXIT "exit" INIT "init"
%token GROUP "group"
%token PARAM "param" WRITER "writer" CONSTANT "constant" INPUT "input" OUTPUT "output"
%token AFTER "after" FOR "for" IN "in"
%token AS "as" IF "if" THEN "then" ELSE "else" AND "and" OR "or" NOT "not"
%token TRUE "true" FALSE "false" ARROW "<-" LE "<=" GE ">=" EQ "==" NE "!="

%precedence NO_LABEL
%precedence AS
%left OR
%left AND
%precedence NOT
%nonassoc '<' LE '>' GE EQ NE
%left '+' '-'
%left '*' '/' '%'
%precedence NEGATE
%right '^'

%type <word> name word label
%type <words> names selectors
%type <expr> expr labelled primary type_shape value init_opt
%type <argument> argument override
%type <arguments> arguments argument_list items item_list overrides
%type <formal> formal
%type <formals> formals formal_list
%type <writer> writer
%type <stmt> stmt if_stmt binding setting
%type <block> block stmts let settings setting_block

%%

start:
  START_FILE file
| START_EXPR labelled { parser->expression = $labelled; }
| START_EXPR labelled[first] ',' item_list {
    mvs_arguments all = {0};
    ADD(all, ((mvs_argument){.value = $first, .span = @first}));
    for (size_t at = 0; at < $item_list.count; at++) ADD(all, $item_list.items[at]);
    parser->expression = mvs_build_group(parser, @$, MVS_EXPR_TUPLE, all);
  }
;

/* Files. */

file: file_line | file sep file_line;
sep: LINE { yyerrok; } | ';' { yyerrok; };

file_line:
  %empty
| USE STRING {
    mvs_build_use(parser, @$, (mvs_word){$STRING, @STRING}, (mvs_arguments){0});
  }
| USE STRING WITH overrides {
    mvs_build_use(parser, @$, (mvs_word){$STRING, @STRING}, $overrides);
  }
| let {
    for (size_t at = 0; at < $let.count; at++) ADD(parser->file->lets, $let.items[at]);
  }
| LAYER NAME formals block {
    mvs_build_definition(parser, @$, false, (mvs_word){$NAME, @NAME}, $formals, $block);
  }
| RESIDUAL NAME formals block {
    mvs_build_definition(parser, @$, true, (mvs_word){$NAME, @NAME}, $formals, $block);
  }
| MODEL NAME block { mvs_build_model(parser, (mvs_word){$NAME, @NAME}, $block); }
| TRAIN setting_block { mvs_build_settings(parser, @TRAIN, false, $setting_block); }
| SAMPLE setting_block { mvs_build_settings(parser, @SAMPLE, true, $setting_block); }
| error
;

overrides:
  override { $$ = (mvs_arguments){0}; ADD($$, $override); }
| overrides[list] ',' override { $$ = $list; ADD($$, $override); }
;
override:
  name '=' expr { $$ = (mvs_argument){$name.text, $expr, @$}; }
| RESIDUAL expr { $$ = (mvs_argument){NULL, $expr, @$}; }
;

let:
  LET binding { $$ = (mvs_block){0}; ADD($$, $binding); }
| let[list] ',' binding { $$ = $list; ADD($$, $binding); }
;
binding:
  NAME '=' labelled {
    mvs_words names = {0};
    ADD(names, ((mvs_word){$NAME, @NAME}));
    $$ = mvs_build_let(parser, @$, names, $labelled);
  }
;

formals:
  %empty { $$ = (mvs_formals){0}; }
| '(' ')' { $$ = (mvs_formals){0}; }
| '(' formal_list ')' { $$ = $formal_list; }
| '(' formal_list ',' ')' { $$ = $formal_list; }
;
formal_list:
  formal { $$ = (mvs_formals){0}; ADD($$, $formal); }
| formal_list[list] ',' formal { $$ = $list; ADD($$, $formal); }
;
formal:
  name { $$ = (mvs_formal){$name.text, NULL, NULL, @$}; }
| name '=' expr { $$ = (mvs_formal){$name.text, NULL, $expr, @$}; }
| name ':' NAME[kind] { $$ = (mvs_formal){$name.text, $kind, NULL, @$}; }
| name ':' NAME[kind] '=' expr { $$ = (mvs_formal){$name.text, $kind, $expr, @$}; }
;

setting_block:
  '{' settings '}' { $$ = $settings; yyerrok; }
| '{' settings error '}' { $$ = $settings; yyerrok; }
;
settings:
  %empty { $$ = (mvs_block){0}; }
| settings[list] sep { $$ = $list; }
| settings[list] error sep { $$ = $list; }
| settings[list] setting { $$ = $list; ADD($$, $setting); }
;
setting:
  NAME value {
    mvs_word name = {$NAME, @NAME};
    $$ = mvs_build_named(parser, @$, MVS_STMT_SETTING, name, $value);
  }
| NAME '(' arguments ')' {
    mvs_word name = {$NAME, @NAME};
    mvs_expr *call = mvs_build_call(parser, @$, name, $arguments);
    $$ = mvs_build_named(parser, @$, MVS_STMT_SETTING, name, call);
  }
;
value:
  NUMBER
| '-' NUMBER { $$ = mvs_build_operation(parser, @$, MVS_NEG, $NUMBER, NULL); }
| STRING { $$ = mvs_build_text(parser, @$, MVS_EXPR_STRING, $STRING); }
| TRUE { $$ = mvs_build_bool(parser, @$, true); }
| FALSE { $$ = mvs_build_bool(parser, @$, false); }
| NAME { $$ = mvs_build_text(parser, @$, MVS_EXPR_NAME, $NAME); }
| NAME '(' arguments ')' {
    $$ = mvs_build_call(parser, @$, (mvs_word){$NAME, @NAME}, $arguments);
  }
| '[' items ']' { $$ = mvs_build_group(parser, @$, MVS_EXPR_LIST, $items); }
;

/* Statements. */

block: '{' stmts '}' { $$ = $stmts; yyerrok; };
stmts:
  %empty { $$ = (mvs_block){0}; }
| stmt { $$ = (mvs_block){0}; ADD($$, $stmt); }
| let { $$ = $let; }
| error { $$ = (mvs_block){0}; }
| stmts[list] sep { $$ = $list; }
| stmts[list] sep stmt { $$ = $list; ADD($$, $stmt); }
| stmts[list] sep let {
    $$ = $list;
    for (size_t at = 0; at < $let.count; at++) ADD($$, $let.items[at]);
  }
| stmts[list] sep error { $$ = $list; }
;

stmt:
  names '=' labelled { $$ = mvs_build_let(parser, @$, $names, $labelled); }
| NAME ARROW expr {
    mvs_word name = {$NAME, @NAME};
    $$ = mvs_build_named(parser, @$, MVS_STMT_UPDATE, name, $expr);
  }
| NAME ARROW expr AS label {
    mvs_word name = {$NAME, @NAME};
    $$ = mvs_build_named(parser, @$, MVS_STMT_UPDATE, name, $expr);
    $$->label = $expr->label = $label.text;
    $$->label_span = $expr->label_span = @label;
    $expr->span.end = @label.end;
  }
| PARAM name ':' NAME[dtype] type_shape init_opt writer {
    mvs_word dtype = {$dtype, @dtype};
    $$ = mvs_build_typed(parser, @$, MVS_STMT_PARAM, $name, dtype, $type_shape, $init_opt);
    $$->writer = $writer.present;
    $$->writer_if = $writer.condition;
  }
| CONSTANT name ':' NAME[dtype] type_shape '=' expr {
    mvs_word dtype = {$dtype, @dtype};
    $$ = mvs_build_typed(parser, @$, MVS_STMT_CONSTANT, $name, dtype, $type_shape, $expr);
  }
| INPUT name ':' NAME[dtype] type_shape init_opt {
    mvs_word dtype = {$dtype, @dtype};
    $$ = mvs_build_typed(parser, @$, MVS_STMT_INPUT, $name, dtype, $type_shape, $init_opt);
  }
| OUTPUT name ':' labelled {
    $$ = mvs_build_named(parser, @$, MVS_STMT_OUTPUT, $name, $labelled);
  }
| INIT selectors '=' expr {
    $$ = mvs_build_let(parser, @$, $selectors, $expr);
    $$->kind = MVS_STMT_INIT;
  }
| GROUP selectors ':' argument_list {
    mvs_word word = {"group", @GROUP};
    mvs_expr *factors = mvs_build_call(parser, @argument_list, word, $argument_list);
    $$ = mvs_build_let(parser, @$, $selectors, factors);
    $$->kind = MVS_STMT_GROUP;
  }
| RESIDUAL expr AS label {
    $$ = mvs_build_labelled(parser, @$, MVS_STMT_RESIDUAL, $expr, $label);
  }
| STACK expr AS label block {
    $$ = mvs_build_labelled(parser, @$, MVS_STMT_STACK, $expr, $label);
    $$->body = $block;
  }
| ENTRY block { $$ = mvs_build_stmt(parser, @$, MVS_STMT_ENTRY); $$->body = $block; }
| EXIT block { $$ = mvs_build_stmt(parser, @$, MVS_STMT_EXIT); $$->body = $block; }
| AFTER block { $$ = mvs_build_stmt(parser, @$, MVS_STMT_AFTER); $$->body = $block; }
| FOR NAME IN expr block {
    mvs_word name = {$NAME, @NAME};
    $$ = mvs_build_named(parser, @$, MVS_STMT_FOR, name, $expr);
    $$->body = $block;
  }
| if_stmt
| labelled { $$ = mvs_build_stmt(parser, @$, MVS_STMT_RETURN); $$->value = $labelled; }
;

if_stmt:
  IF expr block {
    $$ = mvs_build_stmt(parser, @$, MVS_STMT_IF);
    $$->value = $expr;
    $$->body = $block;
  }
| IF expr block[yes] ELSE block[no] {
    $$ = mvs_build_stmt(parser, @$, MVS_STMT_IF);
    $$->value = $expr;
    $$->body = $yes;
    $$->orelse = $no;
  }
| IF expr block ELSE if_stmt[chain] {
    $$ = mvs_build_stmt(parser, @$, MVS_STMT_IF);
    $$->value = $expr;
    $$->body = $block;
    ADD($$->orelse, $chain);
  }
;

names:
  NAME { $$ = (mvs_words){0}; ADD($$, ((mvs_word){$NAME, @NAME})); }
| names[list] ',' NAME { $$ = $list; ADD($$, ((mvs_word){$NAME, @NAME})); }
;
selectors:
  label { $$ = (mvs_words){0}; ADD($$, $label); }
| selectors[list] ',' label { $$ = $list; ADD($$, $label); }
;
type_shape: '[' items ']' { $$ = mvs_build_group(parser, @$, MVS_EXPR_LIST, $items); };
init_opt: %empty { $$ = NULL; } | '=' expr { $$ = $expr; };
writer:
  %empty { $$ = (mvs_writer){false, NULL}; }
| WRITER { $$ = (mvs_writer){true, NULL}; }
| WRITER IF expr { $$ = (mvs_writer){true, $expr}; }
;

/* Expressions. */

labelled:
  expr %prec NO_LABEL
| expr AS label { $$ = mvs_build_label(parser, @$, $expr, $label); }
;

expr:
  primary
| '-' expr[a] %prec NEGATE { $$ = mvs_build_operation(parser, @$, MVS_NEG, $a, NULL); }
| NOT expr[a] { $$ = mvs_build_operation(parser, @$, MVS_NOT, $a, NULL); }
| expr[a] '+' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_ADD, $a, $b); }
| expr[a] '-' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_SUB, $a, $b); }
| expr[a] '*' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_MUL, $a, $b); }
| expr[a] '/' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_DIV, $a, $b); }
| expr[a] '%' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_MOD, $a, $b); }
| expr[a] '^' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_POW, $a, $b); }
| expr[a] '<' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_LT, $a, $b); }
| expr[a] LE expr[b] { $$ = mvs_build_operation(parser, @$, MVS_LE, $a, $b); }
| expr[a] '>' expr[b] { $$ = mvs_build_operation(parser, @$, MVS_GT, $a, $b); }
| expr[a] GE expr[b] { $$ = mvs_build_operation(parser, @$, MVS_GE, $a, $b); }
| expr[a] EQ expr[b] { $$ = mvs_build_operation(parser, @$, MVS_EQ, $a, $b); }
| expr[a] NE expr[b] { $$ = mvs_build_operation(parser, @$, MVS_NE, $a, $b); }
| expr[a] AND expr[b] { $$ = mvs_build_operation(parser, @$, MVS_AND, $a, $b); }
| expr[a] OR expr[b] { $$ = mvs_build_operation(parser, @$, MVS_OR, $a, $b); }
| IF expr[c] THEN labelled[yes] ELSE labelled[no] {
    $$ = mvs_build_if(parser, @$, $c, $yes, $no);
  }
;

primary:
  NUMBER
| STRING { $$ = mvs_build_text(parser, @$, MVS_EXPR_STRING, $STRING); }
| TRUE { $$ = mvs_build_bool(parser, @$, true); }
| FALSE { $$ = mvs_build_bool(parser, @$, false); }
| name { $$ = mvs_build_text(parser, @$, MVS_EXPR_NAME, $name.text); }
| name '(' arguments ')' { $$ = mvs_build_call(parser, @$, $name, $arguments); }
| primary[of] '.' word { $$ = mvs_build_member(parser, @$, $of, $word); }
| '(' labelled ')' { $$ = $labelled; }
| '(' labelled[first] ',' item_list ')' {
    mvs_arguments all = {0};
    ADD(all, ((mvs_argument){.value = $first, .span = @first}));
    for (size_t at = 0; at < $item_list.count; at++) ADD(all, $item_list.items[at]);
    $$ = mvs_build_group(parser, @$, MVS_EXPR_TUPLE, all);
  }
| '[' items ']' { $$ = mvs_build_group(parser, @$, MVS_EXPR_LIST, $items); }
| '[' labelled[body] FOR NAME IN expr ']' {
    $$ = mvs_build_each(parser, @$, $body, (mvs_word){$NAME, @NAME}, $expr);
  }
| primary[of] '[' expr[at] ']' { $$ = mvs_build_index(parser, @$, $of, $at); }
;

arguments:
  %empty { $$ = (mvs_arguments){0}; }
| argument_list
| argument_list ',' { $$ = $argument_list; }
;
argument_list:
  argument { $$ = (mvs_arguments){0}; ADD($$, $argument); }
| argument_list[list] ',' argument { $$ = $list; ADD($$, $argument); }
;
argument:
  labelled { $$ = (mvs_argument){NULL, $labelled, @$}; }
| name '=' labelled { $$ = (mvs_argument){$name.text, $labelled, @$}; }
;

items:
  %empty { $$ = (mvs_arguments){0}; }
| item_list
| item_list ',' { $$ = $item_list; }
;
item_list:
  labelled { $$ = (mvs_arguments){0}; ADD($$, ((mvs_argument){NULL, $labelled, @$})); }
| item_list[list] ',' labelled {
    $$ = $list;
    ADD($$, ((mvs_argument){NULL, $labelled, @labelled}));
  }
;

label: word | label[of] '.' word { $$ = mvs_build_dotted(parser, @$, $of, $word); };

/* Words of the language that cannot be mistaken where a value is wanted may serve as names: a
 * rule sees `layer`, a formal may be called `init`. */
name:
  NAME { $$ = (mvs_word){$NAME, @$}; }
| LAYER { $$ = (mvs_word){"layer", @$}; }
| INIT { $$ = (mvs_word){"init", @$}; }
| GROUP { $$ = (mvs_word){"group", @$}; }
| WRITER { $$ = (mvs_word){"writer", @$}; }
| INPUT { $$ = (mvs_word){"input", @$}; }
| OUTPUT { $$ = (mvs_word){"output", @$}; }
| ENTRY { $$ = (mvs_word){"entry", @$}; }
| EXIT { $$ = (mvs_word){"exit", @$}; }
| AFTER { $$ = (mvs_word){"after", @$}; }
;
word:
  name
| USE { $$ = (mvs_word){"use", @$}; }
| LET { $$ = (mvs_word){"let", @$}; }
| MODEL { $$ = (mvs_word){"model", @$}; }
| RESIDUAL { $$ = (mvs_word){"residual", @$}; }
| TRAIN { $$ = (mvs_word){"train", @$}; }
| SAMPLE { $$ = (mvs_word){"sample", @$}; }
| STACK { $$ = (mvs_word){"stack", @$}; }
| PARAM { $$ = (mvs_word){"param", @$}; }
| CONSTANT { $$ = (mvs_word){"constant", @$}; }
| FOR { $$ = (mvs_word){"for", @$}; }
| IN { $$ = (mvs_word){"in", @$}; }
;

%%

/* Called for what is not a syntax error: a stack beyond YYMAXDEPTH. */
static void yyerror(const mvs_span *span, mvs_parser *parser, const char *message) {
  (void)message;
  if (!parser->stopped) mvs_parser_limit(parser, *span, "the statement nests too deeply here");
  parser->stopped = true;
}

static int yyreport_syntax_error(const yypcontext_t *context, mvs_parser *parser) {
  yysymbol_kind_t expected[YYNTOKENS];
  const char *names[YYNTOKENS];
  int count = yypcontext_expected_tokens(context, expected, YYNTOKENS);
  for (int at = 0; at < count; at++) names[at] = yysymbol_name(expected[at]);
  const char *found = yysymbol_name(yypcontext_token(context));
  mvs_parser_syntax(parser, *yypcontext_location(context), found, names, count);
  return 0;
}
