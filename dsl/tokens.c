/* tokens.c: stands between scanner and grammar and decides which line ends are tokens. A line
 * end counts when the token before it can end a statement, the token after it cannot go on with
 * one, and no round or square bracket is open. So the grammar needs no semicolons, and a long
 * expression may be broken wherever it is visibly unfinished. It also keeps the brackets that
 * are open, for the rule above and for messages, and helps the grammar out of a broken
 * statement: indentation, which means nothing in a right file, tells after an error where a
 * forgotten bracket was meant to close. */
#include "dsl/parser.h"
#include "mvs.tab.h"

int mvs_scan_raw(MVS_YYSTYPE *value, mvs_span *span, void *scanner);

/* True for tokens after which a statement is still unfinished. */
static bool leaves_open(int kind) {
  switch (kind) {
    case 0:
    case MVS_TOKEN_START_FILE:
    case MVS_TOKEN_START_EXPR:
    case MVS_TOKEN_LINE:
    case MVS_TOKEN_ARROW:
    case MVS_TOKEN_LE:
    case MVS_TOKEN_GE:
    case MVS_TOKEN_EQ:
    case MVS_TOKEN_NE:
    case MVS_TOKEN_AND:
    case MVS_TOKEN_OR:
    case MVS_TOKEN_NOT:
    case MVS_TOKEN_AS:
    case MVS_TOKEN_WITH:
    case MVS_TOKEN_IF:
    case MVS_TOKEN_THEN:
    case MVS_TOKEN_ELSE:
    case MVS_TOKEN_USE:
    case MVS_TOKEN_LET:
    case MVS_TOKEN_STACK:
    case MVS_TOKEN_FOR:
    case MVS_TOKEN_IN:
      return true;
    default:
      return kind < 256 && strchr("+-*/%^<>=:,;.([{", kind);
  }
}

/* True for tokens that begin no statement: a line that starts with one goes on with the last.
 */
static bool continues(int kind) {
  switch (kind) {
    case MVS_TOKEN_ARROW:
    case MVS_TOKEN_LE:
    case MVS_TOKEN_GE:
    case MVS_TOKEN_EQ:
    case MVS_TOKEN_NE:
    case MVS_TOKEN_AND:
    case MVS_TOKEN_OR:
    case MVS_TOKEN_AS:
    case MVS_TOKEN_WITH:
    case MVS_TOKEN_THEN:
    case MVS_TOKEN_ELSE:
    case MVS_TOKEN_IN:
      return true;
    default:
      return kind > 0 && kind < 256 && strchr("+-*/%^<>=:,.{)]", kind);
  }
}

/* Whether a token after `previous` is the first of a statement: errors name its word. */
static bool starts_statement(int previous) {
  return previous == MVS_TOKEN_LINE || previous == MVS_TOKEN_START_FILE || previous == ';' ||
         previous == '{' || previous == '}';
}

/* Reads the next token that is not a line end, noting whether it is the first on its line. */
static void read_ahead(mvs_parser *parser) {
  if (parser->has_next) return;
  MVS_YYSTYPE value = {0};
  mvs_token *next = &parser->next;
  bool first = parser->last.kind == parser->start;
  for (;;) {
    mvs_span span = {parser->source, parser->offset, parser->offset};
    int kind = parser->stopped ? 0 : mvs_scan_raw(&value, &span, parser->scanner);
    *next = (mvs_token){.kind = kind, .span = span, .first = first};
    if (kind != MVS_TOKEN_LINE) break;
    parser->line_begin = span.end;
    first = true;
  }
  if (next->kind == 0) next->span.begin = next->span.end = parser->last.span.end;
  if (next->kind == MVS_TOKEN_NUMBER) next->expr = value.expr;
  if (next->kind == MVS_TOKEN_NAME || next->kind == MVS_TOKEN_STRING) next->text = value.text;
  next->indent = next->span.begin - parser->line_begin;
  parser->has_next = true;
}

/* Notes an opened bracket and the statement that it belongs to, for messages and recovery. */
static void open_bracket(mvs_parser *parser, const mvs_token *token) {
  if (parser->depth == MVS_MAX_NESTING) {
    mvs_parser_limit(parser, token->span, "brackets nest more than %d deep here",
                     MVS_MAX_NESTING);
    parser->stopped = true;
    parser->has_next = false;
    return;
  }
  mvs_opener *opener = &parser->openers[parser->depth++];
  *opener = (mvs_opener){.bracket = (char)token->kind, .span = token->span};
  opener->head_span = parser->head.span;
  opener->head = mvs_arena_copy(parser->session, parser->source->text + parser->head.span.begin,
                                parser->head.span.end - parser->head.span.begin);
  opener->indent = parser->head.indent;
}

/* Whether line ends are blanks here: between round or square brackets, up to a brace. */
static bool in_brackets(const mvs_parser *parser) {
  return parser->depth > 0 && parser->openers[parser->depth - 1].bracket != '{';
}

/* A '}' also closes what was left open within its block; any other wrong bracket is the
 * grammar's to report. */
static void close_bracket(mvs_parser *parser, int kind) {
  if (kind == '}')
    while (in_brackets(parser)) parser->depth--;
  if (parser->depth == 0) return;
  char open = parser->openers[parser->depth - 1].bracket;
  bool fits = kind == (open == '(' ? ')' : open == '[' ? ']' : '}');
  if (fits) parser->depth--;
}

/* Takes note of the brackets of the token handed out last. It is done one token late, so that
 * an error at a bracket still finds the brackets open before it. */
static void settle(mvs_parser *parser) {
  int kind = parser->last.kind;
  if (kind == '(' || kind == '[' || kind == '{') open_bracket(parser, &parser->last);
  if (kind == ')' || kind == ']' || kind == '}') close_bracket(parser, kind);
}

/* Passes over a block whose '{' was read, up to and with its '}'. */
static void skip_block(mvs_parser *parser) {
  for (size_t open = 1; open > 0;) {
    parser->has_next = false;
    read_ahead(parser);
    if (parser->next.kind == 0) return;
    if (parser->next.kind == '{') open++;
    if (parser->next.kind == '}') open--;
  }
  parser->last = parser->next;
  parser->has_next = false;
  read_ahead(parser);
}

/* True when `token` starts a line at or left of the statement that opened the bracket: then the
 * bracket was forgotten. Asked only after an error, so that a right file may be indented
 * freely. */
static bool outdented(const mvs_parser *parser, const mvs_token *token) {
  return in_brackets(parser) && token->first &&
         token->indent <= parser->openers[parser->depth - 1].indent &&
         !strchr(")]", token->kind < 256 ? token->kind : 1);
}

/* Gives up the round and square brackets that are open. */
static void drop_brackets(mvs_parser *parser) {
  while (in_brackets(parser)) parser->depth--;
}

/* Tokens up to the next line end are bison's to discard; a broken statement that ended already
 * needs none. */
void mvs_tokens_recover(mvs_parser *parser) {
  int kind = parser->last.kind;
  if (outdented(parser, &parser->last)) drop_brackets(parser);
  parser->recovering = kind != MVS_TOKEN_LINE && kind != ';' && kind != '}';
}

/* Moves on in a broken statement: its block is passed over whole, so that the statements in it
 * give no errors of their own. */
static void recover(mvs_parser *parser) {
  if (parser->last.kind == '{') {
    parser->depth--;
    skip_block(parser);
  } else if (parser->next.kind == '{') {
    skip_block(parser);
  }
  if (outdented(parser, &parser->next)) drop_brackets(parser);
}

/* The rule at the head of this file. */
static bool line_ends(const mvs_parser *parser) {
  const mvs_token *next = &parser->next;
  return next->first && next->kind != 0 && !in_brackets(parser) &&
         !leaves_open(parser->last.kind) && !continues(next->kind);
}

/* Gives a token to the grammar, and notes which statement it belongs to and whether it ends
 * one. */
static int hand_out(mvs_parser *parser, const mvs_token *token, MVS_YYSTYPE *value,
                    mvs_span *span) {
  if (starts_statement(parser->last.kind)) {
    parser->head = *token;
    parser->head_age = 0;
  }
  parser->head_age++;
  parser->last = *token;
  *span = token->span;
  if (token->kind == MVS_TOKEN_NUMBER) value->expr = token->expr;
  if (token->kind == MVS_TOKEN_NAME || token->kind == MVS_TOKEN_STRING) {
    value->text = token->text;
  }
  if (token->kind == MVS_TOKEN_LINE || token->kind == ';' || token->kind == '}') {
    parser->recovering = false;
  }
  return token->kind;
}

int mvs_yylex(MVS_YYSTYPE *value, mvs_span *span, mvs_parser *parser); /* mvs.y calls it */

/* The grammar's only source of tokens. One is read ahead, since whether a line end counts
 * depends on what follows it. */
int mvs_yylex(MVS_YYSTYPE *value, mvs_span *span, mvs_parser *parser) {
  if (!parser->last.kind) {
    mvs_span begin = {parser->source, 0, 0};
    return hand_out(parser, &(mvs_token){.kind = parser->start, .span = begin}, value, span);
  }
  settle(parser);
  read_ahead(parser);
  if (parser->recovering && !parser->stopped) recover(parser);
  if (line_ends(parser)) {
    mvs_span end = {parser->source, parser->last.span.end, parser->last.span.end + 1};
    return hand_out(parser, &(mvs_token){.kind = MVS_TOKEN_LINE, .span = end}, value, span);
  }
  parser->has_next = false;
  return hand_out(parser, &parser->next, value, span);
}
