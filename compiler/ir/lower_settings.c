/* lower_settings.c: what `train { }` and `sample { }` say, one row for each number. A row holds
 * where the number goes in mvs_settings and what it may be. The rows of one method of a setting
 * stand together, in the order in which it takes arguments by position. Two settings are
 * words and not numbers, `precision` and `data`; they have rows for the sake of suggestions and
 * are read apart. Values may use lets. Settings that a file leaves out have the defaults below;
 * what the command line overrides is not known here. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"

typedef enum field_kind { REAL, WHOLE, PAIR } field_kind;

/* A setting `SETTING VALUE`, or one argument of `SETTING METHOD(ARGUMENT = VALUE)`. */
typedef struct row {
  const char *setting, *method, *argument;
  field_kind kind;
  size_t offset; /* in mvs_settings; a PAIR's second number follows its first */
  double least, most;
} row;

#define AT(field) offsetof(mvs_settings, field)
#define MANY      1e15 /* whole numbers up to here are exact in a double */

static const row train_rows[] = {
    {"objective", "rectified_flow", "shift", REAL, AT(timestep_shift), 1e-6, 1e6},
    {"objective", "rectified_flow", "dropout", REAL, AT(dropout), 0, 1},
    {"optimizer", "adamw", "lr", REAL, AT(lr), 0, 1e6},
    {"optimizer", "adamw", "betas", PAIR, AT(beta1), 0, 1},
    {"optimizer", "adamw", "eps", REAL, AT(adam_eps), 0, 1},
    {"optimizer", "adamw", "weight_decay", REAL, AT(weight_decay), 0, 1e6},
    {"optimizer", "muon", "lr", REAL, AT(lr), 0, 1e6},
    {"optimizer", "muon", "momentum", REAL, AT(momentum), 0, 1},
    {"optimizer", "muon", "weight_decay", REAL, AT(weight_decay), 0, 1e6},
    {"optimizer", "muon", "betas", PAIR, AT(beta1), 0, 1},
    {"optimizer", "muon", "eps", REAL, AT(adam_eps), 0, 1},
    {"schedule", "warmup", "steps", WHOLE, AT(warmup), 0, MANY},
    {"clip", NULL, NULL, REAL, AT(clip), 0, 1e30},
    {"batch", NULL, NULL, WHOLE, AT(batch), 1, MANY},
    {"ema", NULL, NULL, REAL, AT(ema), 0, 1},
    {"precision", NULL, NULL, REAL, 0, 0, 0}, /* a word; read apart */
    {"data", NULL, NULL, REAL, 0, 0, 0},
};
static const row sample_rows[] = {
    {"euler", "euler", "steps", WHOLE, AT(sample_steps), 1, MANY},
    {"euler", "euler", "cfg", REAL, AT(cfg), 0, 1e6},
    {"euler", "euler", "shift", REAL, AT(sample_shift), 1e-6, 1e6},
};
#define MOST_ROWS 24 /* more than either table has */

/* The settings of one block, and its word for messages. */
typedef struct table {
  const row *rows;
  size_t count;
  const char *block;
} table;

static const table train_table = {train_rows, sizeof train_rows / sizeof *train_rows, "train"};
static const table sample_table = {sample_rows, sizeof sample_rows / sizeof *sample_rows,
                                   "sample"};

/* lr and decay as PyTorch's AdamW has them; clip, guidance and steps as the paper. */
static const mvs_settings defaults = {.lr = 1e-3,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .adam_eps = 1e-8,
                                      .weight_decay = 0.01,
                                      .momentum = 0.95,
                                      .clip = 1,
                                      .timestep_shift = 1,
                                      .batch = 64,
                                      .precision = MVS_F32,
                                      .sample_steps = 35,
                                      .cfg = 2,
                                      .sample_shift = 1};

/* Checks a number against its row, whose bounds are those beyond which the formulas make no
 * sense. */
static mvs_status in_range(mvs_lowering *lo, const row *field, double number, mvs_span span) {
  if (number >= field->least && number <= field->most) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_LIMIT, span, "%s must lie between %.15g and %.15g",
                         field->argument ? field->argument : field->setting, field->least,
                         field->most);
}

/* Puts a number where its row says. WHOLE fields are int64_t in mvs_settings, all others
 * double. */
static mvs_status store_number(mvs_lowering *lo, const row *field, const mvs_value *value,
                               mvs_span span, size_t offset) {
  const char *name = field->argument ? field->argument : field->setting;
  char *place = (char *)&lo->module->settings + offset;
  if (field->kind == WHOLE) {
    return mvs_lower_whole(lo, value, (int64_t)field->least, (int64_t)field->most, name, span,
                           (int64_t *)place);
  }
  if (value->kind != MVS_VALUE_NUMBER) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s must be a number, not %s", name,
                           mvs_value_noun(value));
  }
  MVS_TRY(in_range(lo, field, value->number, span));
  *(double *)place = value->number;
  return MVS_OK;
}

/* Puts one number or a pair. */
static mvs_status store(mvs_lowering *lo, const row *field, const mvs_value *value,
                        mvs_span span) {
  if (field->kind != PAIR) return store_number(lo, field, value, span, field->offset);
  if (value->kind != MVS_VALUE_TUPLE || value->count != 2) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, span, "%s must be two numbers: (0.9, 0.999)",
                           field->argument);
  }
  MVS_TRY(store_number(lo, field, &value->items[0], span, field->offset));
  return store_number(lo, field, &value->items[1], span, field->offset + sizeof(double));
}

/* The arguments of `optimizer adamw(...)`, matched like those of a call; without parentheses
 * all keep their defaults. */
static mvs_status read_method(mvs_lowering *lo, const row *fields, size_t count,
                              const mvs_expr *expr) {
  const char *names[MOST_ROWS];
  const mvs_actual *matched[MOST_ROWS];
  mvs_actual *actuals = NULL;
  for (size_t i = 0; i < count; i++) names[i] = fields[i].argument;
  size_t given = expr->kind == MVS_EXPR_CALL ? expr->argument_count : 0;
  if (given > 0) MVS_TRY(mvs_lower_actuals(lo, lo->globals, expr, &actuals));
  MVS_TRY(mvs_lower_match(lo, "method", fields->method, names, count, actuals, given, matched));
  for (size_t i = 0; i < count; i++) {
    if (matched[i]) MVS_TRY(store(lo, &fields[i], matched[i]->value, matched[i]->span));
  }
  return MVS_OK;
}

/* `precision bf16`, or a name that holds the word. */
static mvs_status read_precision(mvs_lowering *lo, const mvs_stmt *stmt) {
  mvs_dtype *precision = &lo->module->settings.precision;
  const mvs_expr *expr = stmt->value;
  mvs_value value = {0};
  bool word = expr->kind == MVS_EXPR_NAME && mvs_dtype_parse(expr->text, precision);
  if (!word) MVS_TRY(mvs_lower_expr(lo, lo->globals, expr, &value));
  if (value.kind == MVS_VALUE_STRING) word = mvs_dtype_parse(value.text, precision);
  if (word && (*precision == MVS_F32 || *precision == MVS_BF16)) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_NAME, expr->span, "precision is f32 or bf16");
}

/* data "digits" */
static mvs_status read_data(mvs_lowering *lo, const mvs_stmt *stmt) {
  mvs_value value;
  MVS_TRY(mvs_lower_expr(lo, lo->globals, stmt->value, &value));
  if (value.kind != MVS_VALUE_STRING) {
    return mvs_lower_error(lo, MVS_ERR_NAME, stmt->value->span, "data is named by a string");
  }
  lo->module->settings.data = value.text;
  return MVS_OK;
}

/* A setting of no row. */
static mvs_status unknown_setting(mvs_lowering *lo, const table *known, const mvs_stmt *stmt) {
  const char *names[MOST_ROWS];
  for (size_t i = 0; i < known->count; i++) names[i] = known->rows[i].setting;
  mvs_lower_error(lo, MVS_ERR_NAME, stmt->name_spans[0], "unknown setting '%s' in %s",
                  stmt->names[0], known->block);
  mvs_lower_suggest(lo, stmt->names[0], names, known->count);
  return MVS_ERR_NAME;
}

/* The rows of one method of a setting; none of that name is told with those there are. */
static mvs_status find_method(mvs_lowering *lo, const table *known, const char *setting,
                              const mvs_expr *expr, const row **fields, size_t *count) {
  bool method = expr->kind == MVS_EXPR_CALL || expr->kind == MVS_EXPR_NAME;
  mvs_text there = mvs_text_new(lo->arena);
  const char *last = "";
  *count = 0;
  for (size_t i = 0; i < known->count; i++) {
    const row *each = &known->rows[i];
    if (strcmp(each->setting, setting) != 0) continue;
    if (strcmp(each->method, last) != 0) {
      mvs_text_addf(&there, "%s%s", *last ? ", " : "", each->method);
    }
    last = each->method;
    if (!method || strcmp(expr->text, each->method) != 0) continue;
    if (*count == 0) *fields = each;
    ++*count;
  }
  if (*count > 0) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_NAME, expr->span, "no %s of this name", setting);
  mvs_diag_hint(lo->diag, "there is: %s", mvs_text_string(&there));
  return MVS_ERR_NAME;
}

/* One setting, by its rows. */
static mvs_status read_setting(mvs_lowering *lo, const table *known, const mvs_stmt *stmt) {
  const char *name = stmt->names[0];
  const mvs_expr *expr = stmt->value;
  if (known == &train_table && strcmp(name, "precision") == 0) return read_precision(lo, stmt);
  if (known == &train_table && strcmp(name, "data") == 0) return read_data(lo, stmt);
  size_t first = 0, count;
  while (first < known->count && strcmp(known->rows[first].setting, name) != 0) first++;
  if (first == known->count) return unknown_setting(lo, known, stmt);
  const row *fields = &known->rows[first];
  if (!fields->method) {
    mvs_value value;
    MVS_TRY(mvs_lower_expr(lo, lo->globals, expr, &value));
    return store(lo, fields, &value, expr->span);
  }
  MVS_TRY(find_method(lo, known, name, expr, &fields, &count));
  if (strcmp(name, "objective") == 0) lo->objective_span = stmt->span;
  if (strcmp(name, "optimizer") == 0) {
    lo->module->settings.muon = strcmp(fields->method, "muon") == 0;
  }
  return read_method(lo, fields, count, expr);
}

/* Later settings of one name cannot occur: the parser and unit.c leave one of each. */
mvs_status mvs_lower_settings(mvs_lowering *lo) {
  lo->module->settings = defaults;
  const mvs_block *blocks[] = {lo->unit->train, lo->unit->sample};
  const table *tables[] = {&train_table, &sample_table};
  for (int b = 0; b < 2; b++) {
    for (size_t i = 0; blocks[b] && i < blocks[b]->count; i++) {
      MVS_TRY(read_setting(lo, tables[b], blocks[b]->items[i]));
    }
  }
  return MVS_OK;
}
