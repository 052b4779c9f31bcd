/* parse.c: one source or one expression from text to tree. Both share the grammar; the first
 * token that tokens.c hands out says which of the two it is. A tree is handed out only when
 * nothing at all was reported: later stages need not expect gaps. */
#include "dsl/parse.h"

#include "dsl/parser.h"
#include "mvs.tab.h"

/* Refuses what the scanner need not see: files too large and NUL bytes. */
static void check_text(mvs_parser *parser, const char *text, size_t length) {
  mvs_span begin = {parser->source, 0, 0};
  if (length > MVS_MAX_SOURCE_BYTES) {
    mvs_parser_limit(parser, begin, "the file has %zu bytes, the limit is %d", length,
                     MVS_MAX_SOURCE_BYTES);
    return;
  }
  const char *nul = length ? memchr(text, '\0', length) : NULL;
  if (!nul) return;
  begin.begin = (uint32_t)(nul - text);
  begin.end = begin.begin + 1;
  mvs_parser_error(parser, begin, "a NUL byte stands here: this is not a text file");
}

/* Parses from the start symbol; every way in which that can fail ends in parser->status. */
static mvs_status run(mvs_parser *parser, int start) {
  check_text(parser, parser->source->text, parser->source->length);
  if (parser->status != MVS_OK) return parser->status;
  parser->start = start;
  mvs_scan_open(parser, parser->source->text, parser->source->length);
  int result = mvs_yyparse(parser);
  if (result == 2 && parser->status == MVS_OK) parser->status = MVS_ERR_MEMORY;
  if (result != 0 && parser->status == MVS_OK) parser->status = MVS_ERR_SYNTAX;
  return parser->status;
}

/* Names and places are only checked on a tree without gaps. */
mvs_status mvs_parse(mvs_arena *session, mvs_diag *diag, const mvs_source *source,
                     mvs_file **out) {
  *out = NULL;
  mvs_parser *parser = MVS_NEW(session, mvs_parser);
  parser->session = session;
  parser->diag = diag;
  parser->source = source;
  parser->file = MVS_NEW(session, mvs_file);
  parser->file->source = source;
  run(parser, MVS_TOKEN_START_FILE);
  if (!parser->broken && !parser->stopped) mvs_check_file(parser);
  if (parser->status == MVS_OK) *out = parser->file;
  return parser->status;
}

/* The text gets a source of its own under `name`, so that errors in it can show it. */
mvs_status mvs_parse_expr(mvs_arena *session, mvs_diag *diag, const char *name,
                          const char *text, mvs_expr **out) {
  *out = NULL;
  mvs_source *source = MVS_NEW(session, mvs_source);
  source->name = mvs_arena_string(session, name);
  source->text = mvs_arena_string(session, text);
  source->length = strlen(text);
  mvs_parser *parser = MVS_NEW(session, mvs_parser);
  parser->session = session;
  parser->diag = diag;
  parser->source = source;
  if (run(parser, MVS_TOKEN_START_EXPR) == MVS_OK) *out = parser->expression;
  return parser->status;
}
