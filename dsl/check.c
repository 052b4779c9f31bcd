/* check.c: what the grammar leaves open: which statement may stand in which block, whether a
 * body has a value, names given twice in one file. The grammar has one kind of block, so that a
 * misplaced statement is told as such and not as a syntax error. This runs on trees without
 * gaps only: after a syntax error it would report the gaps. Names across files are unit.c's;
 * the meaning of names is lowering's. */
#include "compiler/base/table.h"
#include "dsl/parser.h"

typedef enum place { MODEL = 1, STACK = 2, LAYER = 4, RULE = 8, EDGE = 16 } place;

/* One row per kind of statement: its words in a message and the blocks that may hold it. */
static const struct {
  const char *name;
  unsigned allowed;
} rows[] = {
    [MVS_STMT_LET] = {"a definition", MODEL | STACK | LAYER | RULE | EDGE},
    [MVS_STMT_UPDATE] = {"an update", STACK},
    [MVS_STMT_PARAM] = {"`param`", MODEL | STACK | LAYER | RULE | EDGE},
    [MVS_STMT_CONSTANT] = {"`constant`", MODEL | STACK | LAYER | RULE | EDGE},
    [MVS_STMT_INPUT] = {"`input`", MODEL},
    [MVS_STMT_OUTPUT] = {"`output`", MODEL},
    [MVS_STMT_RESIDUAL] = {"`residual ... as`", MODEL},
    [MVS_STMT_STACK] = {"`stack`", MODEL},
    [MVS_STMT_RETURN] = {"a bare expression", LAYER | RULE | EDGE},
    [MVS_STMT_ENTRY] = {"`entry`", RULE},
    [MVS_STMT_EXIT] = {"`exit`", RULE},
    [MVS_STMT_AFTER] = {"`after`", RULE},
    [MVS_STMT_INIT] = {"`init`", MODEL | RULE},
    [MVS_STMT_GROUP] = {"`group`", MODEL | RULE},
    [MVS_STMT_IF] = {"`if`", MODEL | STACK | LAYER | RULE | EDGE},
    [MVS_STMT_FOR] = {"`for`", LAYER | RULE | EDGE},
    [MVS_STMT_SETTING] = {"a setting", 0},
};

/* The words for a kind of block in a message. */
static const char *place_text(place where) {
  switch (where) {
    case MODEL:
      return "a model";
    case STACK:
      return "a stack";
    case LAYER:
      return "a layer";
    case RULE:
      return "a residual rule";
    case EDGE:
      return "`entry`, `exit` or `after`";
  }
  return "this block";
}

/* Says what cannot stand where, and where it could. */
static void refuse(mvs_parser *parser, const mvs_stmt *stmt, place where) {
  mvs_parser_error(parser, stmt->span, "%s cannot stand in %s", rows[stmt->kind].name,
                   place_text(where));
  bool value = stmt->kind == MVS_STMT_RETURN;
  if (value) mvs_diag_hint(parser->diag, "give it a name, or delete it: its value is unused");
  if (stmt->kind == MVS_STMT_UPDATE && where == MODEL) {
    mvs_diag_hint(parser->diag, "updates stand in a `stack`; elsewhere write %s = ...",
                  stmt->names[0]);
  }
}

static void check_block(mvs_parser *parser, const mvs_block *block, place where);

/* A statement and the blocks in it. `if` takes on the place it stands in. */
static void check_stmt(mvs_parser *parser, const mvs_stmt *stmt, place where) {
  if (!(rows[stmt->kind].allowed & where)) {
    refuse(parser, stmt, where);
    return;
  }
  place inside = where;
  if (stmt->kind == MVS_STMT_STACK) inside = STACK;
  bool edge = stmt->kind == MVS_STMT_ENTRY || stmt->kind == MVS_STMT_EXIT;
  if (edge || stmt->kind == MVS_STMT_AFTER) inside = EDGE;
  check_block(parser, &stmt->body, inside);
  check_block(parser, &stmt->orelse, inside);
}

/* Statements in order. A bare expression ends a body, so it must come last; in an `if` it ends
 * the body too, which only lowering can know. */
static void check_block(mvs_parser *parser, const mvs_block *block, place where) {
  for (size_t at = 0; at < block->count; at++) {
    const mvs_stmt *stmt = block->items[at];
    check_stmt(parser, stmt, where);
    bool ends = stmt->kind == MVS_STMT_RETURN && (where & (LAYER | RULE | EDGE));
    if (!ends || at + 1 == block->count) continue;
    mvs_parser_error(parser, stmt->span, "a bare expression must be the last statement");
    mvs_diag_note(parser->diag, block->items[at + 1]->span, "but this one follows");
    mvs_diag_hint(parser->diag, "give the value a name: y = ...");
  }
}

/* True when every way through the block ends in a bare expression. */
static bool gives_value(const mvs_block *block) {
  if (block->count == 0) return false;
  const mvs_stmt *last = block->items[block->count - 1];
  if (last->kind == MVS_STMT_RETURN) return true;
  return last->kind == MVS_STMT_IF && gives_value(&last->body) && gives_value(&last->orelse);
}

/* In a rule x, x0 and f are the stream, its start and the branch: a formal of that name could
 * never be read.
 */
static void check_rule_formals(mvs_parser *parser, const mvs_definition *rule) {
  for (size_t at = 0; at < rule->formal_count; at++) {
    const mvs_formal *each = &rule->formals[at];
    bool taken = strcmp(each->name, "x") == 0 || strcmp(each->name, "f") == 0 ||
                 strcmp(each->name, "x0") == 0;
    if (!taken) continue;
    mvs_parser_error(parser, each->span, "a rule's parameter cannot be called '%s'",
                     each->name);
    mvs_diag_hint(parser->diag, "in a rule x is the stream, x0 its start and f the branch");
  }
}

/* A layer or rule as a whole. */
static void check_definition(mvs_parser *parser, const mvs_definition *definition) {
  if (definition->residual) check_rule_formals(parser, definition);
  check_block(parser, &definition->body, definition->residual ? RULE : LAYER);
  if (gives_value(&definition->body)) return;
  const char *noun = definition->residual ? "rule" : "layer";
  mvs_parser_error(parser, definition->name_span, "the %s '%s' has no value", noun,
                   definition->name);
  mvs_diag_hint(parser->diag, "end its body with an expression");
}

/* Layers and rules have names of their own: a layer may be called as a rule is. */
static void check_duplicates(mvs_parser *parser, mvs_file *file) {
  mvs_table *seen[2] = {mvs_table_new(parser->session), mvs_table_new(parser->session)};
  for (size_t at = 0; at < file->definition_count; at++) {
    mvs_definition *each = &file->definitions[at];
    const mvs_definition *first = mvs_table_set(seen[each->residual], each->name, each);
    if (!first) continue;
    mvs_parser_error(parser, each->name_span, "the %s '%s' is defined twice in this file",
                     each->residual ? "rule" : "layer", each->name);
    mvs_diag_note(parser->diag, first->name_span, "first defined here");
  }
}

/* Pairs are not statements: only their names can clash. */
static void check_settings(mvs_parser *parser, const mvs_block *block) {
  mvs_table *seen = mvs_table_new(parser->session);
  for (size_t at = 0; at < block->count; at++) {
    mvs_stmt *each = block->items[at];
    const mvs_stmt *first = mvs_table_set(seen, each->names[0], each);
    if (!first) continue;
    mvs_parser_error(parser, each->name_spans[0], "'%s' is set twice", each->names[0]);
    mvs_diag_note(parser->diag, first->name_spans[0], "first set here");
  }
}

/* All that can be wrong with one file alone; each check reports and goes on. */
void mvs_check_file(mvs_parser *parser) {
  mvs_file *file = parser->file;
  for (size_t at = 0; at < file->definition_count; at++)
    check_definition(parser, &file->definitions[at]);
  check_duplicates(parser, file);
  check_block(parser, &file->model, MODEL);
  check_settings(parser, &file->train);
  check_settings(parser, &file->sample);
}
