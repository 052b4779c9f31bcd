/* options.c: the command line of one command, against a table of rows.
 *
 * Every value is checked for kind and range as it is read, so commands take values without a
 * second look; the text is kept beside the number, for messages and for run.json. The same
 * checks hold for values that --resume sets from a record. An option may be given once:
 * which of two would count is not for us to guess. Sizes are decimal (KB) or binary (K,
 * KiB). */
#include "runtime/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "compiler/base/checked.h"
#include "runtime/fail.h"

#define HELP_COLUMN 30

/* What was given for a row; `number` and `integer` by the row's kind. */
typedef struct option_value {
  const char *text; /* NULL: not given */
  double number;
  int64_t integer;
} option_value;

struct mvs_options {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_option_rows *rows;
  option_value *values; /* per row */
  MVS_LIST(const char *) operands;
};

/* Decimal digits with an optional minus, and nothing behind them. */
bool mvs_parse_integer(const char *text, int64_t *out) {
  char *end;
  if (!isdigit((unsigned char)*text) && *text != '-') return false;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || *end || end == text) return false;
  *out = value;
  return true;
}

/* No infinities and no NaN: no option has a use for them. */
bool mvs_parse_number(const char *text, double *out) {
  char *end;
  if (!*text || isspace((unsigned char)*text)) return false;
  double value = strtod(text, &end);
  if (*end || end == text || !isfinite(value)) return false;
  *out = value;
  return true;
}

/* Below 2^62, so that sums of a few cannot overflow. */
bool mvs_parse_bytes(const char *text, int64_t *out) {
  static const char units[] = "KMGT";
  char *end;
  if (!isdigit((unsigned char)*text)) return false;
  double value = strtod(text, &end);
  const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
  if (unit) {
    bool decimal = toupper((unsigned char)end[1]) == 'B';
    value *= pow(decimal ? 1000 : 1024, (double)(unit - units + 1));
    end++;
    if (*end == 'i') end++;
    if (toupper((unsigned char)*end) == 'B') end++;
  } else if (toupper((unsigned char)*end) == 'B') {
    end++;
  }
  if (*end || !(value >= 0 && value < 0x1p62)) return false;
  *out = (int64_t)value;
  return true;
}

/* Three digits are enough to compare by eye. */
const char *mvs_bytes_text(mvs_arena *arena, int64_t bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = (double)bytes;
  int unit = 0;
  for (; value >= 1024 && unit < 5; unit++) value /= 1024;
  int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return mvs_arena_format(arena, "%.*f %s", digits, value, units[unit]);
}

/* SIZE_MAX when there is none. */
static size_t row_of(const mvs_options *options, const char *name) {
  for (size_t at = 0; at < options->rows->count; at++)
    if (strcmp(options->rows->items[at].name, name) == 0) return at;
  return SIZE_MAX;
}

/* The nearest name as a hint, where one is near enough. */
static mvs_status unknown_option(const mvs_options *options, const char *name) {
  const char **names = MVS_ARRAY(options->arena, options->rows->count + 1, const char *);
  for (size_t at = 0; at < options->rows->count; at++)
    names[at] = options->rows->items[at].name;
  const char *near = mvs_suggest(name, names, options->rows->count);
  mvs_status status = MVS_FAIL(options->diag, MVS_ERR_NAME, "unknown option '--%s'", name);
  if (near) mvs_diag_hint(options->diag, "did you mean '--%s'?", near);
  return status;
}

/* `choices` are words divided by '|'; a word must match in full. */
static bool is_choice(const char *choices, const char *text) {
  size_t length = strlen(text);
  if (strchr(text, '|')) return false;
  for (const char *at = choices; at; at = strchr(at, '|')) {
    if (*at == '|') at++;
    if (length && strncmp(at, text, length) == 0 && (at[length] == '|' || !at[length]))
      return true;
  }
  return false;
}

/* Limits that only stand for "any size" are not worth telling. */
static mvs_status out_of_range(const mvs_options *options, const mvs_option_row *row,
                               const char *text) {
  if (row->most >= 0x1p60)
    return MVS_FAIL(options->diag, MVS_ERR_LIMIT, "--%s must be at least %.15g, not '%s'",
                    row->name, row->least, text);
  return MVS_FAIL(options->diag, MVS_ERR_LIMIT, "--%s must be within %.15g and %.15g, not '%s'",
                  row->name, row->least, row->most, text);
}

/* `what` is said in the words of the help: "a whole number", or the choices. */
static mvs_status bad_value(const mvs_options *options, const mvs_option_row *row,
                            const char *what, const char *text) {
  return MVS_FAIL(options->diag, MVS_ERR_FORMAT, "--%s needs %s, not '%s'", row->name, what,
                  text);
}

/* Checks kind and range; the text is kept for messages and run.json. */
static mvs_status read_value(mvs_options *options, size_t at, const char *text) {
  const mvs_option_row *row = &options->rows->items[at];
  option_value *value = &options->values[at];
  value->text = text;
  switch (row->kind) {
    case MVS_OPTION_INTEGER:
      if (!mvs_parse_integer(text, &value->integer))
        return bad_value(options, row, "a whole number", text);
      value->number = (double)value->integer;
      break;
    case MVS_OPTION_NUMBER:
      if (!mvs_parse_number(text, &value->number))
        return bad_value(options, row, "a number", text);
      break;
    case MVS_OPTION_BYTES:
      if (!mvs_parse_bytes(text, &value->integer))
        return bad_value(options, row, "a size such as 8GiB or 512M", text);
      return MVS_OK;
    case MVS_OPTION_CHOICE:
      if (!is_choice(row->values, text)) return bad_value(options, row, row->values, text);
      return MVS_OK;
    case MVS_OPTION_TEXT:
      return *text ? MVS_OK : bad_value(options, row, "a value", text);
    default:
      return MVS_OK;
  }
  bool inside = value->number >= row->least && value->number <= row->most;
  return inside ? MVS_OK : out_of_range(options, row, text);
}

/* The row that takes words without dashes, or NULL. */
static const mvs_option_row *operand_row(const mvs_options *options) {
  for (size_t at = 0; at < options->rows->count; at++)
    if (options->rows->items[at].kind == MVS_OPTION_OPERANDS) return &options->rows->items[at];
  return NULL;
}

/* A word that is no option: taken where the command wants such words. */
static mvs_status read_operand(mvs_options *options, const char *word) {
  const mvs_option_row *row = operand_row(options);
  if (!row || strncmp(word, "--", 2) == 0)
    return MVS_FAIL(options->diag, MVS_ERR_FORMAT,
                    "unexpected argument '%s': options start with --", word);
  if (!*word) return MVS_FAIL(options->diag, MVS_ERR_FORMAT, "an argument is empty");
  MVS_PUSH(options->arena, &options->operands, word);
  return MVS_OK;
}

/* When all are read. */
static mvs_status check_operands(const mvs_options *options) {
  const mvs_option_row *row = operand_row(options);
  double count = (double)options->operands.count;
  if (!row || (count >= row->least && count <= row->most)) return MVS_OK;
  return MVS_FAIL(options->diag, MVS_ERR_FORMAT,
                  count < row->least ? "%s is missing" : "too many arguments: %s is all",
                  row->values);
}

/* Reads one option at argv[*at] and moves *at behind it. */
static mvs_status read_option(mvs_options *options, int argc, char *const *argv, int *at) {
  const char *word = argv[(*at)++];
  if (strncmp(word, "--", 2) != 0 || !word[2]) return read_operand(options, word);
  const char *equals = strchr(word, '=');
  const char *name =
      equals ? mvs_arena_copy(options->arena, word + 2, (size_t)(equals - word) - 2) : word + 2;
  size_t row = row_of(options, name);
  if (row == SIZE_MAX || options->rows->items[row].kind == MVS_OPTION_OPERANDS)
    return unknown_option(options, name);
  if (options->values[row].text)
    return MVS_FAIL(options->diag, MVS_ERR_FORMAT, "--%s is given twice", name);
  if (options->rows->items[row].kind == MVS_OPTION_FLAG) {
    if (equals) return MVS_FAIL(options->diag, MVS_ERR_FORMAT, "--%s takes no value", name);
    options->values[row].text = "on";
    return MVS_OK;
  }
  if (equals) return read_value(options, row, equals + 1);
  bool missing = *at >= argc || (strncmp(argv[*at], "--", 2) == 0 && argv[*at][2]);
  if (missing)
    return MVS_FAIL(options->diag, MVS_ERR_FORMAT, "--%s needs a value (%s)", name,
                    options->rows->items[row].values);
  return read_value(options, row, argv[(*at)++]);
}

/* *out is set on success only; diag has the first mistake. */
mvs_status mvs_options_parse(mvs_arena *arena, mvs_diag *diag, const mvs_option_rows *rows,
                             int argc, char *const *argv, mvs_options **out) {
  *out = NULL;
  mvs_options *options = MVS_NEW(arena, mvs_options);
  *options = (mvs_options){.arena = arena, .diag = diag, .rows = rows};
  options->values = MVS_ARRAY(arena, rows->count, option_value);
  for (int at = 0; at < argc;) MVS_TRY(read_option(options, argc, argv, &at));
  MVS_TRY(check_operands(options));
  *out = options;
  return MVS_OK;
}

/* Asking for an option that the command does not have is our own mistake. */
static const option_value *value_of(const mvs_options *options, const char *name) {
  size_t row = row_of(options, name);
  assert(row != SIZE_MAX);
  return &options->values[row];
}

/* Also true for values that --resume set. */
bool mvs_option_given(const mvs_options *options, const char *name) {
  return value_of(options, name)->text != NULL;
}

/* The text as it was given, after its check. */
const char *mvs_option_text(const mvs_options *options, const char *name,
                            const char *fallback) {
  const char *text = value_of(options, name)->text;
  return text ? text : fallback;
}

/* For INTEGER and BYTES rows. */
int64_t mvs_option_integer(const mvs_options *options, const char *name, int64_t fallback) {
  const option_value *value = value_of(options, name);
  return value->text ? value->integer : fallback;
}

/* For NUMBER and INTEGER rows. */
double mvs_option_number(const mvs_options *options, const char *name, double fallback) {
  const option_value *value = value_of(options, name);
  return value->text ? value->number : fallback;
}

const char *const *mvs_option_operands(const mvs_options *options, size_t *count) {
  *count = options->operands.count;
  return options->operands.items;
}

/* The text is copied: values otherwise point into argv. */
mvs_status mvs_option_set(mvs_options *options, const char *name, const char *value) {
  size_t row = row_of(options, name);
  assert(row != SIZE_MAX);
  return read_value(options, row, mvs_arena_string(options->arena, value));
}

/* Two names of one file have the same device and number, whatever links lead there. */
static bool is_same_file(const struct stat *file, const char *path) {
  struct stat other;
  return path && stat(path, &other) == 0 && other.st_dev == file->st_dev &&
         other.st_ino == file->st_ino;
}

/* A path that names nothing yet is read by no one. */
const char *mvs_options_naming(const mvs_options *options, const char *path,
                               const char *except) {
  struct stat facts;
  if (stat(path, &facts) != 0) return NULL;
  for (size_t at = 0; at < options->rows->count; at++) {
    const mvs_option_row *row = &options->rows->items[at];
    if (row->kind != MVS_OPTION_TEXT || strcmp(row->name, except) == 0) continue;
    if (is_same_file(&facts, options->values[at].text)) return row->name;
  }
  return NULL;
}

/* Long names push their help to the right rather than onto a line of its own. */
void mvs_options_help(const mvs_option_rows *rows, mvs_text *out) {
  for (size_t at = 0; at < rows->count; at++) {
    const mvs_option_row *row = &rows->items[at];
    size_t before = out->length;
    bool operands = row->kind == MVS_OPTION_OPERANDS;
    mvs_text_addf(out, operands ? "  %s" : "  --%s", operands ? row->values : row->name);
    if (row->kind != MVS_OPTION_FLAG && !operands) mvs_text_addf(out, " %s", row->values);
    do mvs_text_add(out, " ");
    while (out->length - before < HELP_COLUMN);
    mvs_text_addf(out, "%s\n", row->help);
  }
}
