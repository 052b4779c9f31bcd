/* errors.c: sentences for what the scanner and the grammar refuse. Bison gives the token found
 * and the set of those expected there, up to dozens. A sentence names at most five things: what
 * belongs together is summed up ("an expression", "a statement"), operators are named only
 * where nothing else could follow, and labels only where they must stand. Notes show the
 * bracket or statement left open, hints the slip behind it, one at most: equality written `=`,
 * a reserved word as a name, chained comparisons, a misspelt statement word. */
#include "dsl/parser.h"

/* Longest piece of source repeated in a message. */
#define SHOWN_LETTERS 40
#define MAX_SHOWN     5

/* The status of a run is that of its first error. */
static void report(mvs_parser *parser, mvs_status status, mvs_span span, const char *message) {
  if (parser->status == MVS_OK) parser->status = status;
  mvs_diag_error(parser->diag, span, "%s", message);
  /* Nobody reads more: ending here bounds the time a hostile file can take. */
  if (mvs_diag_errors(parser->diag) > MVS_MAX_DIAGNOSTICS) parser->stopped = true;
}

void mvs_parser_error(mvs_parser *parser, mvs_span span, const char *format, ...) {
  va_list list;
  va_start(list, format);
  report(parser, MVS_ERR_SYNTAX, span, mvs_arena_format_list(parser->session, format, list));
  va_end(list);
}

void mvs_parser_limit(mvs_parser *parser, mvs_span span, const char *format, ...) {
  va_list list;
  va_start(list, format);
  report(parser, MVS_ERR_LIMIT, span, mvs_arena_format_list(parser->session, format, list));
  va_end(list);
}

/* Other languages' signs get the word that this one has for them. */
void mvs_parser_stray(mvs_parser *parser, mvs_span span, char byte) {
  if (parser->recovering) return;
  if ((unsigned char)byte >= 0x80) {
    mvs_parser_error(parser, span, "only ASCII may stand outside comments and strings");
  } else if (byte > ' ' && byte < 0x7F) {
    mvs_parser_error(parser, span, "the sign %c has no meaning here", byte);
  } else {
    mvs_parser_error(parser, span, "a control byte (0x%02x) stands here", (unsigned char)byte);
  }
  if (byte == '\'') mvs_diag_hint(parser->diag, "strings are written \"so\"");
  if (byte == '!') mvs_diag_hint(parser->diag, "negation is written `not`");
  if (byte == '&') mvs_diag_hint(parser->diag, "the conjunction is written `and`");
  if (byte == '|') mvs_diag_hint(parser->diag, "the disjunction is written `or`");
  if (byte == '?') mvs_diag_hint(parser->diag, "a choice is written `if a then b else c`");
}

/* Whether a symbol, spelt as in the grammar, is in the list. */
static bool has(const char *const *names, int count, const char *wanted) {
  for (int at = 0; at < count; at++)
    if (strcmp(names[at], wanted) == 0) return true;
  return false;
}

/* A keyword, as opposed to a class of tokens ("name") or a sign. */
static bool is_word(const char *symbol) {
  static const char *const classes[] = {"name", "number", "string", "end of line",
                                        "end of file"};
  return symbol[0] >= 'a' && symbol[0] <= 'z' && !has(classes, 5, symbol);
}

/* What may go on with a complete expression: named only when nothing else could follow. */
static bool is_operator(const char *symbol) {
  static const char *const all[] = {"'+'", "'-'", "'*'", "'/'", "'%'", "'^'",
                                    "'<'", "'>'", "<=",  ">=",  "==",  "!=",
                                    "and", "or",  "'.'", "'('", "'['", "for"};
  return has(all, (int)(sizeof all / sizeof *all), symbol);
}

/* Symbols that "an expression" sums up. */
static bool can_start_expression(const char *symbol) {
  static const char *const all[] = {
      "name",  "number", "string", "true",   "false", "not",    "'('",   "'['",  "'-'",  "if",
      "layer", "init",   "group",  "writer", "input", "output", "entry", "exit", "after"};
  return has(all, (int)(sizeof all / sizeof *all), symbol);
}

/* Operators that do not chain. */
static bool is_comparison(const char *symbol) {
  static const char *const all[] = {"'<'", "'>'", "<=", ">=", "==", "!="};
  return has(all, (int)(sizeof all / sizeof *all), symbol);
}

/* The list being put together: "',' or ')'". */
typedef struct choices {
  const char *items[MAX_SHOWN];
  int count;
} choices;

/* Adds to the list while there is room: a sentence with more choices helps nobody. */
static void choose(choices *list, const char *text) {
  if (list->count < MAX_SHOWN) list->items[list->count++] = text;
}

/* Whether the innermost block is a recipe's, where pairs stand and no statements. */
static bool in_settings(const mvs_parser *parser) {
  if (parser->depth == 0) return false;
  const char *head = parser->openers[parser->depth - 1].head;
  return strcmp(head, "train") == 0 || strcmp(head, "sample") == 0;
}

/* Sums up the kinds of thing that may stand here; what a summary covers is marked in `done`.
 * Only a file's top level has `model` without `stack`, only a block `stack` without `model`;
 * where any word may stand (labels, members) there are both. */
static void summarize(mvs_parser *parser, const char *const *expected, int count, bool *done,
                      choices *list) {
  bool model = has(expected, count, "model"), stack = has(expected, count, "stack");
  bool name = has(expected, count, "name"), number = has(expected, count, "number");
  bool operand_done = has(expected, count, "'+'");
  bool words = model || stack;
  if (model && !stack) {
    choose(list, "`use`, `let`, `layer`, `residual`, `model`, `train` or `sample`");
  } else if (stack && !model) {
    choose(list, "a statement");
  } else if (number) {
    choose(list, "an expression");
  } else if (name && !operand_done) {
    choose(list, in_settings(parser) ? "a setting" : "a name");
  }
  for (int at = 0; at < count; at++) {
    done[at] = (words && (is_word(expected[at]) || strcmp(expected[at], "';'") == 0)) ||
               ((words || number || name) && can_start_expression(expected[at])) ||
               (operand_done && is_operator(expected[at])) ||
               strcmp(expected[at], "end of file") == 0;
  }
}

/* How one symbol is written in a message; NULL leaves it out. */
static const char *symbol_text(mvs_parser *parser, const char *symbol, bool line,
                               const choices *list) {
  bool closes = strcmp(symbol, "'}'") == 0 || strcmp(symbol, "';'") == 0;
  if (line && closes && list->count == 0) return NULL;
  if (strcmp(symbol, "end of line") == 0) {
    return list->count > 0 ? NULL : "the end of the line";
  }
  if (symbol[0] == '\'') return strcmp(symbol, "';'") == 0 ? NULL : symbol;
  if (is_word(symbol)) return mvs_arena_format(parser->session, "`%s`", symbol);
  if (symbol[0] >= 'a' && symbol[0] <= 'z') {
    return mvs_arena_format(parser->session, "a %s", symbol);
  }
  return mvs_arena_format(parser->session, "'%s'", symbol);
}

/* The list of choices in words: summaries first, then what they do not cover. */
static const char *expected_text(mvs_parser *parser, const char *const *expected, int count) {
  bool done[256] = {false};
  choices list = {0};
  if (count > 256) count = 256;
  summarize(parser, expected, count, done, &list);
  bool line = has(expected, count, "end of line"), label = has(expected, count, "as");
  choices summed = list;
  for (int at = 0; at < count; at++) {
    bool as = strcmp(expected[at], "as") == 0;
    const char *text = done[at] || as ? NULL : symbol_text(parser, expected[at], line, &summed);
    if (text) choose(&list, text);
  }
  /* A label may follow nearly every value: worth a word only where it must. */
  if (label && list.count == 0) choose(&list, "`as` and a label");
  mvs_text text = mvs_text_new(parser->session);
  for (int at = 0; at < list.count; at++) {
    if (at > 0) mvs_text_add(&text, at + 1 == list.count ? " or " : ", ");
    mvs_text_add(&text, list.items[at]);
  }
  return mvs_text_string(&text);
}

/* What stands in the place, as the user wrote it. */
static const char *found_text(mvs_parser *parser, mvs_span span, const char *found) {
  if (strcmp(found, "end of line") == 0) return "the end of the line";
  if (strcmp(found, "end of file") == 0) return "the end of the file";
  uint32_t length = span.end - span.begin;
  const char *text = span.source->text + span.begin;
  if (length > SHOWN_LETTERS) {
    return mvs_arena_format(parser->session, "'%.*s...'", SHOWN_LETTERS, text);
  }
  if (is_word(found)) return mvs_arena_format(parser->session, "`%s`", found);
  return mvs_arena_format(parser->session, "'%.*s'", (int)length, text);
}

/* Names the bracket that is still open when its end is among what was expected. */
static void note_opener(mvs_parser *parser, const char *const *expected, int count,
                        bool at_end) {
  if (parser->depth == 0) return;
  const mvs_opener *opener = &parser->openers[parser->depth - 1];
  bool value_ends = has(expected, count, "'+'") && !at_end;
  if (opener->bracket == '{' && has(expected, count, "'}'") && !value_ends) {
    mvs_diag_note(parser->diag, opener->head_span, "the block of `%s` is opened here",
                  opener->head);
  } else if (opener->bracket == '(' && has(expected, count, "')'")) {
    mvs_diag_note(parser->diag, opener->span, "the '(' is opened here");
  } else if (opener->bracket == '[' && has(expected, count, "']'")) {
    mvs_diag_note(parser->diag, opener->span, "the '[' is opened here");
  }
}

/* Suggests the statement word that the first word of the statement may be meant to be. */
static void hint_misspelt_head(mvs_parser *parser) {
  static const char *const words[] = {
      "use",   "let",  "model", "layer", "residual", "train", "sample", "stack",
      "entry", "exit", "init",  "group", "param",    "input", "output", "constant"};
  const mvs_token *head = &parser->head;
  if (parser->head_age > 2 || !head->text) return;
  const char *near = mvs_suggest(head->text, words, sizeof words / sizeof *words);
  if (near) mvs_diag_hint(parser->diag, "did you mean `%s`?", near);
}

/* True when the token stands on a later line than the statement it was read as part of. */
static bool ran_over_line(const mvs_parser *parser, mvs_span span) {
  const char *begin = parser->source->text + parser->head.span.begin;
  return memchr(begin, '\n', span.begin - parser->head.span.begin) != NULL;
}

/* At most one note or hint, the most certain first. */
static void add_hints(mvs_parser *parser, mvs_span span, const char *found,
                      const char *const *expected, int count) {
  bool assigns = strcmp(found, "'='") == 0 || strcmp(found, "<-") == 0;
  if (assigns && parser->head_age > 2 && ran_over_line(parser, span)) {
    mvs_diag_note(parser->diag, parser->head.span,
                  "the statement that starts here is not finished on its line");
  } else if (strcmp(found, "'='") == 0 && has(expected, count, "==")) {
    mvs_diag_hint(parser->diag, "equality is written ==");
  } else if (is_word(found) && has(expected, count, "name") && !has(expected, count, found) &&
             !has(expected, count, "stack") && !in_settings(parser)) {
    mvs_diag_hint(parser->diag, "`%s` is a word of the language, choose another name", found);
  } else if (is_comparison(found) && has(expected, count, "'+'")) {
    mvs_diag_hint(parser->diag, "comparisons do not chain: write a < b and b < c");
  } else {
    hint_misspelt_head(parser);
  }
}

/* Bison calls this once per error and then discards tokens; recovery is prepared here, so that
 * what it discards is one statement. */
void mvs_parser_syntax(mvs_parser *parser, mvs_span span, const char *found,
                       const char *const *expected, int count) {
  if (parser->stopped) return;
  /* A file that breaks off after other errors mostly does so because of them. */
  parser->broken = true;
  bool at_end = found && strcmp(found, "end of file") == 0;
  if (at_end && parser->status != MVS_OK) return;
  found = found ? found : "end of file";
  if (strcmp(found, "stray") == 0) {
    mvs_tokens_recover(parser);
    return;
  }
  mvs_parser_error(parser, span, "expected %s, found %s",
                   expected_text(parser, expected, count), found_text(parser, span, found));
  note_opener(parser, expected, count, at_end);
  add_hints(parser, span, found, expected, count);
  mvs_tokens_recover(parser);
}
