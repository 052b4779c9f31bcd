/* read_text.c: words, numbers, names and types of a dump. Every call skips blanks and comments
 * first, so callers never do. `at` only moves over what was taken; after an error it stands at
 * the byte that the error is about. Bytes are read through peek, which ends at the length and
 * not at a NUL: the text may hold any byte. Numbers are bounded as they are read, so no count
 * or extent from here overflows what uses it. */
#include "compiler/ir/read_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

/* The byte `ahead` of the next one, -1 at the end of the text. */
static int peek(const mvs_reader *reader, size_t ahead) {
  size_t at = reader->at + ahead;
  return at < reader->source->length ? (unsigned char)reader->source->text[at] : -1;
}

/* Letters of bare names and of numbers: a dot is one, as in labels. */
static bool in_word(int letter) {
  return letter >= 0 && (isalnum(letter) || letter == '_' || letter == '.');
}

mvs_span mvs_read_span(const mvs_reader *reader, size_t begin) {
  size_t end = reader->at > begin ? reader->at : begin + 1;
  return (mvs_span){reader->source, (uint32_t)begin, (uint32_t)end};
}

mvs_status mvs_read_error(mvs_reader *reader, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const char *words = mvs_arena_format_list(reader->arena, format, list);
  va_end(list);
  mvs_diag_error(reader->diag, mvs_read_span(reader, reader->at), "%s", words);
  return MVS_ERR_SYNTAX;
}

/* A comment ends with its line. */
bool mvs_read_end(mvs_reader *reader) {
  for (;;) {
    int letter = peek(reader, 0);
    if (letter < 0) return true;
    if (letter == '#') {
      while (peek(reader, 0) >= 0 && peek(reader, 0) != '\n') reader->at++;
    } else if (isspace(letter)) {
      reader->at++;
    } else {
      return false;
    }
  }
}

/* "pass" does not take the beginning of "passes". */
bool mvs_read_accept(mvs_reader *reader, const char *mark) {
  mvs_read_end(reader);
  size_t length = strlen(mark);
  if (reader->source->length - reader->at < length) return false;
  if (memcmp(reader->source->text + reader->at, mark, length) != 0) return false;
  if (in_word((unsigned char)mark[length - 1]) && in_word(peek(reader, length))) return false;
  reader->at += length;
  return true;
}

mvs_status mvs_read_expect(mvs_reader *reader, const char *mark) {
  if (mvs_read_accept(reader, mark)) return MVS_OK;
  return mvs_read_error(reader, "expected '%s'", mark);
}

/* A digit as dumps write them, in lower case; -1 for any other byte. */
static int hex_value(int letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  return -1;
}

/* The rest of a quoted name, after its first quote. */
static mvs_status quoted(mvs_reader *reader, const char **out) {
  mvs_text name = mvs_text_new(reader->arena);
  for (;;) {
    int letter = peek(reader, 0);
    if (letter < ' ') return mvs_read_error(reader, "the name is not closed");
    reader->at++;
    if (letter == '"') break;
    char byte = (char)letter;
    if (letter == '\\') {
      int high = hex_value(peek(reader, 1));
      int low = high < 0 ? -1 : hex_value(peek(reader, 2));
      if (peek(reader, 0) != 'x' || low < 0 || high + low == 0) {
        return mvs_read_error(reader, "expected xNN after the backslash");
      }
      byte = (char)(high * 16 + low);
      reader->at += 3;
    }
    mvs_text_add_bytes(&name, &byte, 1);
  }
  *out = mvs_arena_string(reader->arena, mvs_text_string(&name));
  return MVS_OK;
}

mvs_status mvs_read_name(mvs_reader *reader, const char **out) {
  if (mvs_read_end(reader)) return mvs_read_error(reader, "expected a name");
  if (peek(reader, 0) == '"') {
    reader->at++;
    return quoted(reader, out);
  }
  size_t begin = reader->at;
  if (isdigit(peek(reader, 0)) || !in_word(peek(reader, 0))) {
    return mvs_read_error(reader, "expected a name");
  }
  while (in_word(peek(reader, 0))) reader->at++;
  *out = mvs_arena_copy(reader->arena, reader->source->text + begin, reader->at - begin);
  return MVS_OK;
}

/* --- numbers --- */

/* Digits beyond int64_t are taken too and count as the largest value, so that the range check
 * refuses them in one place. */
mvs_status mvs_read_integer(mvs_reader *reader, int64_t least, int64_t most, int64_t *out) {
  mvs_read_end(reader);
  size_t begin = reader->at;
  bool negative = peek(reader, 0) == '-';
  int64_t value = 0;
  if (negative) reader->at++;
  if (!isdigit(peek(reader, 0))) return mvs_read_error(reader, "expected an integer");
  for (; isdigit(peek(reader, 0)); reader->at++) {
    int digit = peek(reader, 0) - '0';
    if (!mvs_mul(value, 10, &value) || !mvs_add(value, digit, &value)) value = INT64_MAX;
  }
  if (negative) value = -value;
  if (value >= least && value <= most) {
    *out = value;
    return MVS_OK;
  }
  mvs_diag_error(reader->diag, mvs_read_span(reader, begin),
                 "expected an integer from %" PRId64 " to %" PRId64, least, most);
  return MVS_ERR_LIMIT;
}

mvs_status mvs_read_index(mvs_reader *reader, uint32_t *out) {
  int64_t value;
  MVS_TRY(mvs_read_integer(reader, 0, UINT32_MAX, &value));
  *out = (uint32_t)value;
  return MVS_OK;
}

/* strtod gets a copy: the text need not end where the number does. */
mvs_status mvs_read_number(mvs_reader *reader, double *out) {
  char digits[64];
  size_t length = 0;
  mvs_read_end(reader);
  for (int letter = peek(reader, 0); in_word(letter) || letter == '-' || letter == '+';
       letter = peek(reader, length)) {
    if (length + 1 >= sizeof digits) return mvs_read_error(reader, "the number is too long");
    digits[length++] = (char)letter;
  }
  digits[length] = '\0';
  char *end;
  double value = strtod(digits, &end);
  if (length == 0 || *end) return mvs_read_error(reader, "expected a number");
  reader->at += length;
  *out = value;
  return MVS_OK;
}

mvs_status mvs_read_id(mvs_reader *reader, mvs_id *out) {
  MVS_TRY(mvs_read_expect(reader, "%"));
  return mvs_read_index(reader, out);
}

/* --- types --- */

/* "image:64(8x8)" or "text:16". That the grid fills the segment is a rule of the verifier. */
static mvs_status read_segment(mvs_reader *reader, mvs_segment *out) {
  MVS_TRY(mvs_read_name(reader, &out->name));
  MVS_TRY(mvs_read_expect(reader, ":"));
  MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_EXTENT, &out->length));
  out->rows = out->columns = 0;
  if (!mvs_read_accept(reader, "(")) return MVS_OK;
  MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_EXTENT, &out->rows));
  /* "4x6" is one word to the eye but three marks here, so the x is taken by hand. */
  if (peek(reader, 0) != 'x') return mvs_read_error(reader, "expected 'x'");
  reader->at++;
  MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_EXTENT, &out->columns));
  return mvs_read_expect(reader, ")");
}

/* The rest of a table of segments, after its brace. */
static mvs_status read_segments(mvs_reader *reader, const mvs_segments **out) {
  mvs_segments table = {0};
  do {
    if (table.count == MVS_MAX_SEGMENTS) {
      mvs_read_error(reader, "more than %d segments", MVS_MAX_SEGMENTS);
      return MVS_ERR_LIMIT;
    }
    MVS_TRY(read_segment(reader, &table.items[table.count++]));
  } while (mvs_read_accept(reader, ","));
  MVS_TRY(mvs_read_expect(reader, "}"));
  *out = mvs_module_segments(reader->module, &table);
  return MVS_OK;
}

/* "4", "B" or "29*B". */
static mvs_status read_dim(mvs_reader *reader, mvs_dim *out) {
  *out = (mvs_dim){1, true};
  if (mvs_read_accept(reader, "B")) return MVS_OK;
  MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_EXTENT, &out->size));
  out->per_batch = mvs_read_accept(reader, "*");
  return out->per_batch ? mvs_read_expect(reader, "B") : MVS_OK;
}

/* The extents up to the bracket; segments stand behind axis 1, the token axis. */
static mvs_status read_dims(mvs_reader *reader, mvs_type *type) {
  do {
    if (type->rank == MVS_MAX_RANK) {
      mvs_read_error(reader, "more than %d axes", MVS_MAX_RANK);
      return MVS_ERR_LIMIT;
    }
    MVS_TRY(read_dim(reader, &type->dims[type->rank++]));
    if (type->rank == 2 && mvs_read_accept(reader, "{")) {
      MVS_TRY(read_segments(reader, &type->segments));
    }
  } while (mvs_read_accept(reader, ","));
  return mvs_read_expect(reader, "]");
}

/* Reads what mvs_type_text writes. */
mvs_status mvs_read_type(mvs_reader *reader, mvs_type *out) {
  const char *name;
  mvs_type type = {0};
  MVS_TRY(mvs_read_name(reader, &name));
  if (!mvs_dtype_parse(name, &type.dtype)) {
    return mvs_read_error(reader, "'%s' is no dtype", name);
  }
  if (mvs_read_accept(reader, "[")) MVS_TRY(read_dims(reader, &type));
  *out = type;
  return MVS_OK;
}
