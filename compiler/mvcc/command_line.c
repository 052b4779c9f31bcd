/* command_line.c: arguments to one struct, through a table with a row per option.
 *
 * A row names the option, its value if it has one, the rule that reads it and its line of
 * help; the loop that reads arguments knows no option by name. Everything after FILE that is
 * no option of ours belongs to the trainer's command (`mvcc run`), which has a parser of its
 * own. Expressions of --set and --residual are parsed here, so that a mistake in one shows a
 * caret under the command line's text as it would under a file's. What makes sense together
 * is checked at the end, when all is known. */
#include "compiler/mvcc/command_line.h"

#include <ctype.h>

#include "compiler/base/processor.h"
#include "compiler/passes/pass.h"
#include "runtime/options.h"

/* What the rules share: where we are in argv and what was read so far. */
typedef struct reader {
  mvs_arena *session;
  mvs_diag *diag;
  int argc;
  char **argv;
  int at; /* of the argument being read */
  mvs_command_line *options;
} reader;

typedef mvs_status option_rule(reader *r, const char *value);

static mvs_status usage(const reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A mistake on the command line has no source span; the sentence must say enough by itself. */
static mvs_status usage(const reader *r, const char *format, ...) {
  va_list list;
  va_start(list, format);
  mvs_diag_error(r->diag, (mvs_span){0}, "%s", mvs_arena_format_list(r->session, format, list));
  va_end(list);
  return MVS_ERR_NAME;
}

/* --- one rule per option --- */

/* Whether OUT can be written is found out by whoever writes it. */
static mvs_status read_output(reader *r, const char *value) {
  if (!*value) return usage(r, "-o needs the name of a file");
  r->options->output = value;
  return MVS_OK;
}

/* A name of the language: letters, digits and underscores, no digit first. */
static bool is_name(const char *text, size_t length) {
  if (length == 0 || isdigit((unsigned char)text[0])) return false;
  for (size_t i = 0; i < length; i++) {
    if (!isalnum((unsigned char)text[i]) && text[i] != '_') return false;
  }
  return true;
}

/* Later overrides win over earlier ones, so a script may append its own. */
static mvs_status read_set(reader *r, const char *value) {
  const char *equals = strchr(value, '=');
  if (!equals || !is_name(value, (size_t)(equals - value))) {
    return usage(r, "--set needs NAME=EXPR, got '%s'", value);
  }
  mvs_override override = {.name = mvs_arena_copy(r->session, value, (size_t)(equals - value))};
  const char *shown = mvs_arena_format(r->session, "--set %s", override.name);
  MVS_TRY(mvs_parse_expr(r->session, r->diag, shown, equals + 1, &override.value));
  MVS_PUSH(r->session, &r->options->overrides, override);
  return MVS_OK;
}

/* An override without a name is the residual line. */
static mvs_status read_residual(reader *r, const char *value) {
  mvs_override override = {0};
  MVS_TRY(mvs_parse_expr(r->session, r->diag, "--residual", value, &override.value));
  MVS_PUSH(r->session, &r->options->overrides, override);
  return MVS_OK;
}

static const struct stage {
  const char *name;
  mvs_emit_stage stage;
} stages[] = {{"ast", MVS_EMIT_AST},   {"graph", MVS_EMIT_GRAPH},     {"dot", MVS_EMIT_DOT},
              {"plan", MVS_EMIT_PLAN}, {"kernels", MVS_EMIT_KERNELS}, {"llvm", MVS_EMIT_LLVM},
              {"cuda", MVS_EMIT_CUDA}};

/* The stages stand in the order of compilation; the last three need kernels. */
static mvs_status read_emit(reader *r, const char *value) {
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    if (strcmp(stages[i].name, value) != 0) continue;
    r->options->emit = stages[i].stage;
    return MVS_OK;
  }
  return usage(r, "--emit knows ast, graph, dot, plan, kernels, llvm and cuda, not '%s'",
               value);
}

/* The name is checked by the pipeline, which knows its passes. */
static mvs_status read_until(reader *r, const char *value) {
  r->options->until = value;
  return MVS_OK;
}

/* Only levels that the host printer has variants for. */
static mvs_status read_cpu(reader *r, const char *value) {
  if (mvs_cpu_of_name(value) == MVS_CPU_LEVELS) {
    return usage(r, "--cpu knows %s, not '%s'", MVS_CPU_NAMES, value);
  }
  r->options->cpu_level = value;
  return MVS_OK;
}

/* Names of architectures are NVRTC's to check; empty ones between commas are refused here. */
static mvs_status read_gpu(reader *r, const char *value) {
  while (*value) {
    size_t length = strcspn(value, ",");
    if (length == 0) return usage(r, "--gpu needs architectures such as sm_90a,sm_80");
    MVS_PUSH(r->session, &r->options->architectures,
             (const char *)mvs_arena_copy(r->session, value, length));
    value += length + (value[length] == ',');
  }
  return MVS_OK;
}

/* Explaining changes no output but adds to it. */
static mvs_status read_explain(reader *r, const char *value) {
  (void)value;
  r->options->explain = true;
  return MVS_OK;
}

/* Which is faster depends on the model; docs/performance.md has what was measured. */
static mvs_status read_means(reader *r, const char *value) {
  r->options->means_of_writer = strcmp(value, "writer") == 0;
  if (r->options->means_of_writer || strcmp(value, "exact") == 0) return MVS_OK;
  return usage(r, "--means is exact or writer, not '%s'", value);
}

/* --- of `mvcc compare` --- */

/* Named limits rather than none: a slip of the keyboard should not start a million runs. */
#define MOST_SEEDS   1000
#define MOST_JOBS    1000
#define MOST_SAMPLES 10000

/* Options of one command are no options of another. */
static mvs_status only_compare(const reader *r, const char *name) {
  if (r->options->compare) return MVS_OK;
  return usage(r, "%s belongs to `mvcc compare`", name);
}

static mvs_status read_count(const reader *r, const char *name, const char *value,
                             int64_t least, int64_t most, int64_t *out) {
  MVS_TRY(only_compare(r, name));
  if (mvs_parse_integer(value, out) && *out >= least && *out <= most) return MVS_OK;
  return usage(r, "%s needs a whole number from %lld to %lld, not '%s'", name, (long long)least,
               (long long)most, value);
}

/* Where the next ';' outside of strings stands, or the end. */
static const char *end_of_part(const char *text) {
  bool quoted = false;
  for (; *text && (quoted || *text != ';'); text++) {
    if (*text == '\\' && quoted && text[1])
      text++;
    else if (*text == '"')
      quoted = !quoted;
  }
  return text;
}

/* `NAME = A, B` of --vary. */
static mvs_status read_varied(const reader *r, const char *part, mvs_variation *out) {
  part += strspn(part, " ");
  const char *equals = strchr(part, '=');
  size_t length = equals ? (size_t)(equals - part) : 0;
  while (length > 0 && part[length - 1] == ' ') length--;
  if (!is_name(part, length)) return usage(r, "--vary needs NAME=A,B,..., got '%s'", part);
  const char *name = mvs_arena_copy(r->session, part, length);
  const char *shown = mvs_arena_format(r->session, "--vary %s", name);
  mvs_expr *values;
  MVS_TRY(mvs_parse_expr(r->session, r->diag, shown, equals + 1, &values));
  if (values->kind != MVS_EXPR_TUPLE || values->argument_count < 2)
    return usage(r, "--vary %s has one value; --set sets one", name);
  size_t count = values->argument_count;
  if (out->count > 0 && out->items[0].values->argument_count != count)
    return usage(r, "--vary changes '%s' and '%s' together, but they have %zu and %zu values",
                 out->items[0].name ? out->items[0].name : "residual", name,
                 out->items[0].values->argument_count, count);
  mvs_varied varied = {strcmp(name, "residual") == 0 ? NULL : name, values};
  MVS_PUSH(r->session, out, varied);
  return MVS_OK;
}

/* What changes together stands in one --vary, divided by ';'. */
static mvs_status read_vary(reader *r, const char *value) {
  mvs_variation variation = {0};
  MVS_TRY(only_compare(r, "--vary"));
  for (const char *at = value;;) {
    const char *end = end_of_part(at);
    const char *part = mvs_arena_copy(r->session, at, (size_t)(end - at));
    MVS_TRY(read_varied(r, part, &variation));
    if (!*end) break;
    at = end + 1;
  }
  MVS_PUSH(r->session, &r->options->variations, variation);
  return MVS_OK;
}

static mvs_status read_seeds(reader *r, const char *value) {
  return read_count(r, "--seeds", value, 1, MOST_SEEDS, &r->options->seeds);
}

static mvs_status read_jobs(reader *r, const char *value) {
  return read_count(r, "--jobs", value, 1, MOST_JOBS, &r->options->jobs);
}

static mvs_status read_samples(reader *r, const char *value) {
  return read_count(r, "--samples", value, 0, MOST_SAMPLES, &r->options->samples);
}

static mvs_status read_resume(reader *r, const char *value) {
  (void)value;
  MVS_TRY(only_compare(r, "--resume"));
  r->options->resume = true;
  return MVS_OK;
}

/* Kept for later, so that --help wins wherever it stands. */
static mvs_status read_help(reader *r, const char *value) {
  (void)value;
  r->options->help = true;
  return MVS_OK;
}

/* The same as --help: nothing else is then done. */
static mvs_status read_version(reader *r, const char *value) {
  (void)value;
  r->options->version = true;
  return MVS_OK;
}

static const struct option {
  const char *name, *value; /* value NULL: takes none */
  option_rule *rule;
  const char *summary;
} table[] = {
    {"-o", "OUT", read_output, "write an executable (or, with --emit, the text) to OUT"},
    {"--set", "NAME=EXPR", read_set,
     "override a `let` of the model file; A,B: compile it for both"},
    {"--residual", "EXPR", read_residual, "override the residual line: 'mvsplit(beta = 0.03)'"},
    {"--emit", "STAGE", read_emit, "print ast, graph, dot, plan, kernels, llvm or cuda"},
    {"--until", "PASS", read_until, "stop after a pass and print what it made"},
    {"--explain", NULL, read_explain,
     "say what was fused, by which rules, and the bytes moved"},
    {"--cpu", "LEVEL", read_cpu,
     "compile for x86-64-v3, -v4, -v4-bf16 or -v4-amx alone (default: for all)"},
    {"--gpu", "ARCHS", read_gpu, "add CUDA kernels for architectures: sm_90a,sm_80"},
    {"--means", "HOW", read_means,
     "token means of a branch: exact (default), or through its writer in f32"},
    {"--vary", "NAME=A,B", read_vary,
     "compare: a `let` by value, each with each rule; 'width=32,64; depth=8,4': together"},
    {"--seeds", "N", read_seeds, "compare: train every rule with N seeds (default 1)"},
    {"--jobs", "N", read_jobs, "compare: runs side by side (default: one per 8 cores)"},
    {"--samples", "N", read_samples, "compare: sample N pictures of every run (default 40)"},
    {"--resume", NULL, read_resume, "compare: go on with the runs in OUT that have not ended"},
    {"--help", NULL, read_help, "print this"},
    {"--version", NULL, read_version, "print the version"},
};
#define OPTION_COUNT (sizeof table / sizeof *table)

/* --- reading --- */

/* Nearest option by edit distance, where one is near enough. */
static mvs_status unknown_option(const reader *r, const char *name) {
  const char *names[OPTION_COUNT];
  for (size_t i = 0; i < OPTION_COUNT; i++) names[i] = table[i].name;
  usage(r, "there is no option '%s'", name);
  const char *near = mvs_suggest(name, names, OPTION_COUNT);
  if (near) mvs_diag_hint(r->diag, "did you mean '%s'?", near);
  return MVS_ERR_NAME;
}

/* Reads `--name value`, `--name=value` or a flag. */
static mvs_status read_option(reader *r) {
  const char *argument = r->argv[r->at];
  size_t length = strcspn(argument, "=");
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    if (strlen(table[i].name) != length || strncmp(table[i].name, argument, length) != 0) {
      continue;
    }
    const char *value = argument[length] ? argument + length + 1 : NULL;
    if (!table[i].value && value) return usage(r, "%s takes no value", table[i].name);
    if (table[i].value && !value && ++r->at < r->argc) value = r->argv[r->at];
    if (table[i].value && !value) {
      return usage(r, "%s needs a value: %s", table[i].name, table[i].value);
    }
    return table[i].rule(r, value);
  }
  return unknown_option(r, mvs_arena_copy(r->session, argument, length));
}

/* A single dash is a file's name to most programs, and so it is here. */
static bool is_option(const char *argument) { return argument[0] == '-' && argument[1]; }

/* From the first word after FILE of `mvcc run` that is no option of ours, all is the trainer's;
 * help after FILE is about its commands. */
static bool take_rest(reader *r) {
  const char *argument = r->argv[r->at];
  if (!r->options->run || !r->options->input) return false;
  if (is_option(argument) && strcmp(argument, "--help") != 0) return false;
  r->options->rest = r->argv + r->at;
  r->options->rest_count = r->argc - r->at;
  return true;
}

/* `mvcc compare` says by "--" where its own options end. */
static bool take_behind_dashes(reader *r) {
  if (!r->options->compare || strcmp(r->argv[r->at], "--") != 0) return false;
  r->options->rest = r->argv + r->at + 1;
  r->options->rest_count = r->argc - r->at - 1;
  return true;
}

/* One model file; `mvcc run` stops at the command's first word. */
static mvs_status read_all(reader *r) {
  for (; r->at < r->argc; r->at++) {
    if (take_rest(r) || take_behind_dashes(r)) break;
    if (is_option(r->argv[r->at])) {
      MVS_TRY(read_option(r));
    } else if (r->options->input) {
      return usage(r, "one model file at a time: '%s' and '%s'", r->options->input,
                   r->argv[r->at]);
    } else {
      r->options->input = r->argv[r->at];
    }
  }
  return MVS_OK;
}

/* What the runs are called and where they go is for us to say. */
static mvs_status check_compare(const reader *r) {
  const mvs_command_line *options = r->options;
  if (options->emit || options->until || options->explain)
    return usage(r, "`mvcc compare` emits and explains nothing");
  if (options->rest_count < 1 || strcmp(options->rest[0], "train") != 0)
    return usage(r, "`mvcc compare FILE ... -- train [OPTION...]`: what to do is missing");
  static const char *const ours[] = {"--out", "--resume"};
  for (int i = 1; i < options->rest_count; i++) {
    for (size_t k = 0; k < sizeof ours / sizeof *ours; k++) {
      size_t length = strlen(ours[k]);
      if (strncmp(options->rest[i], ours[k], length) != 0) continue;
      if (options->rest[i][length] != '\0' && options->rest[i][length] != '=') continue;
      return usage(r, "`mvcc compare` gives every run its %s; use %s before the --", ours[k],
                   k == 0 ? "-o DIR" : "--resume");
    }
  }
  return MVS_OK;
}

/* What an option needs of the others. */
static mvs_status check(const reader *r) {
  const mvs_command_line *options = r->options;
  if (options->help || options->version) return MVS_OK;
  if (!options->input) return usage(r, "no model file is given; see mvcc --help");
  if (options->compare) return check_compare(r);
  if (options->run) {
    if (options->output || options->emit || options->until) {
      return usage(r, "`mvcc run` writes no file and emits nothing");
    }
    return MVS_OK;
  }
  if (!options->output && !options->emit && !options->until && !options->explain) {
    return usage(r,
                 "nothing to do: name an executable with -o OUT, or use --emit or --explain");
  }
  return MVS_OK;
}

/* `run` and `compare` are words only in the first place: a model file of such a name can be
 * given as ./run. */
mvs_status mvs_command_line_read(mvs_arena *session, mvs_diag *diag, int argc, char **argv,
                                 mvs_command_line *out) {
  *out = (mvs_command_line){.seeds = -1, .jobs = -1, .samples = -1};
  reader r = {
      .session = session, .diag = diag, .argc = argc, .argv = argv, .at = 1, .options = out};
  if (argc > 1 && strcmp(argv[1], "run") == 0) {
    out->run = true;
    r.at = 2;
  } else if (argc > 1 && strcmp(argv[1], "compare") == 0) {
    out->compare = true;
    r.at = 2;
  }
  MVS_TRY(read_all(&r));
  return check(&r);
}

/* Options and passes come from their tables and so are never out of date. */
void mvs_command_line_help(mvs_text *out) {
  mvs_text_add(out,
               "usage: mvcc FILE.mvs -o OUT [OPTION...]\n"
               "       mvcc run FILE.mvs [OPTION...] COMMAND [ARGUMENT...]\n"
               "       mvcc compare FILE.mvs --residual A --residual B ... [--vary NAME=A,B] "
               "[-o DIR]\n                    -- train [ARGUMENT...]\n\n"
               "Compiles a model to one executable that trains, samples and diagnoses it, "
               "runs a\ncommand of it at once, or trains one model under several residual "
               "rules or settings\nand writes a table and a page over all. Commands: `mvcc run "
               "FILE.mvs --help`.\n\n");
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    const char *name = table[i].value
                           ? mvs_arena_format(out->home, "%s %s", table[i].name, table[i].value)
                           : table[i].name;
    mvs_text_addf(out, "  %-18s %s\n", name, table[i].summary);
  }
  mvs_text_add(out, "\npasses for --until: lower, then\n");
  for (const mvs_pass *pass = mvs_pipeline; pass->name; pass++) {
    mvs_text_addf(out, "  %-18s %s\n", pass->name, pass->summary);
  }
}
