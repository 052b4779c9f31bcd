/* any_model_text.c: whole models: inputs, a sequence of one to three segments, a rule of the
 * library or of its own, one or two stacks, an output. */
#include "tests/unit/any_model_words.h"

/* What a residual line says, and what the rule makes of the features of x. */
typedef struct rule {
  const char *line;
  int streams;
} rule;

typedef struct model {
  any_writer *w;
  mvs_text body;
  any_scope scope; /* outside of stacks */
  int width, channels, rows, columns, patch;
} model;

/* What every model has beside the library: norms that need no name. */
static const char *const head =
    "layer unit(x) { x * rsqrt(mean_features(x * x) + 0.05) }\n"
    "layer soft(x) {\n"
    "  e = exp(x - max_features(x))\n"
    "  e / sum_features(e)\n"
    "}\n";

/* --- rules --- */

/* Each with numbers that keep its parts alive. */
static const rule library[] = {{"plain", 1},
                               {"prenorm", 1},
                               {"mvsplit(alpha = 0.3, beta = 0.7, eps = 0.01)", 1},
                               {"layerscale(gamma = 0.3)", 1},
                               {"rezero(gate = 0.5)", 1},
                               {"deepnorm", 1},
                               {"sandwich(eps = 0.01)", 1},
                               {"mvsplit_on(on = \"b1\")", 1},
                               {"mvsplit(rate = 0)", 1},
                               {"skipinit(gate = 0.5)", 1},
                               {"fixup(before = 0.1)", 1},
                               {"lnscale", 1},
                               {"keel", 1},
                               {"hardcenter", 1},
                               {"laurel", 1},
                               {"laurel_lowrank(rank = 2)", 1},
                               {"orthogonal", 1},
                               {"scalargate", 1},
                               {"evenstep(part = center)", 1},
                               {"denseformer(reach = 2, dilation = 1)", 1},
                               {"laurel_previous(reach = 2, rank = 2)", 1},
                               {"hyper(n = 2)", 2},
                               {"hyper(n = 3)", 3},
                               {"hyper_dynamic(n = 2, eps = 0.01)", 2},
                               {"mhc(n = 2, times = 2, eps = 0.01)", 2},
                               {"attnres(groups = 2, eps = 0.01)", 1},
                               {"attnres(size = 1, eps = 0.01)", 1},
                               {"denseformer_full(eps = 0.01)", 1}};

/* Gains and numbers of a rule, as formals and as words. */
static void add_formals(any_writer *w, any_scope *s, mvs_text *formals, int features) {
  for (int count = any_pick(w, 4); count > 0; count--) {
    bool gain = any_pick(w, 2) == 0;
    const char *name = any_name(w, gain ? "g" : "s");
    const char *kind = gain ? ": gain = 0.4" : any_pick(w, 4) ? ": scalar = 0.5" : " = 0.7";
    mvs_text_addf(formals, "%s%s%s", formals->length ? ", " : "", name, kind);
    any_add_word(w, s, name, gain ? ANY_VECTOR : ANY_NUMBER, gain ? features : 1);
  }
}

static void add_block_words(any_writer *w, any_scope *s) {
  s->earlier = true;
  any_add_word(w, s, "layer", ANY_NUMBER, 1);
  any_add_word(w, s, "(1 / (1 + layer))", ANY_NUMBER, 1);
  any_add_word(w, s, "sin(layer)", ANY_NUMBER, 1);
  any_add_word(w, s, "where(layer < 1, 0.5, 1)", ANY_NUMBER, 1);
  any_add_word(w, s, "(layer / depth)", ANY_NUMBER, 1);
}

/* Streams h[0], h[1], ... made by the entry, joined by the exit, or one that both change: the
 * exit sees what updates hold of `entered`. */
static void add_borders(any_writer *w, mvs_text *text, int streams, int width,
                        const char *held) {
  if (streams > 1) {
    const char *other = any_pick(w, 2) ? "0 * x" : "tanh(x)";
    mvs_text_addf(text, "  entry { concat_features([if i > 0 then %s else x for i in %d]) }\n",
                  other, streams);
    mvs_text_addf(text, "  exit { %s(sum(streams(x, %d))) }\n",
                  any_pick(w, 2) ? "unit" : "tanh", streams);
  } else if (held || any_pick(w, 4) == 3) {
    any_scope s = {.labels = true};
    any_add_word(w, &s, "x", ANY_TOKENS, width);
    mvs_text_addf(text, "  entry { %s }\n", any_tokens(w, &s, width, 1));
    if (held) any_add_word(w, &s, "x0", ANY_TOKENS, width);
    if (held) any_add_word(w, &s, held, ANY_TOKENS, width);
    mvs_text_addf(text, "  exit { %s }\n", any_tokens(w, &s, width, 1));
  }
}

static void add_after(any_writer *w, mvs_text *text, int features) {
  any_scope s = {.labels = true};
  any_add_word(w, &s, "x", ANY_TOKENS, features);
  any_add_word(w, &s, "x0", ANY_TOKENS, features);
  any_add_word(w, &s, "entered", ANY_TOKENS, features);
  any_add_word(w, &s, "a", ANY_VECTOR, features);
  add_block_words(w, &s);
  mvs_text_addf(text, "  after {\n    param a : f32[%d] = 0.3\n    0.5 * x + %s\n  }\n",
                features, any_tokens(w, &s, features, 2));
}

/* The streams after the update: sums of those before, what the branch gave, and more. */
static void add_mix(any_writer *w, any_scope *s, mvs_text *text, int streams, int width) {
  mvs_text_addf(text, "    concat_features([");
  for (int i = 0; i < streams; i++) {
    mvs_text_addf(text, "%s0.5 * h[%d] + %s", i ? ", " : "", any_pick(w, streams),
                  any_tokens(w, s, width, 2));
  }
  mvs_text_add(text, "])\n");
}

/* What the exit reads of `entered` an update has to read, too. NULL: it reads nothing. */
static const char *add_held(any_writer *w, any_scope *s, mvs_text *text, int streams,
                            int width) {
  static const char *const held[] = {"at_block(entered, depth - 1)", "first(entered)",
                                     "max_over(history(entered), 0)"};
  if (streams > 1 || any_pick(w, 4) < 3) return NULL;
  const char *read = ANY_OF(w, held), *name = any_name(w, "held");
  mvs_text_addf(text, "    %s = %s\n", name, read);
  any_add_word(w, s, name, ANY_TOKENS, width);
  return read;
}

static rule own_rule(any_writer *w, int width) {
  int streams = any_pick(w, 3) == 2 ? 2 + any_pick(w, 2) : 1;
  const char *name = any_name(w, "rule");
  any_scope s = {.labels = true};
  mvs_text formals = mvs_text_new(w->arena), text = mvs_text_new(w->arena);
  mvs_text held_line = mvs_text_new(w->arena);
  any_add_word(w, &s, "x", ANY_TOKENS, width * streams);
  any_add_word(w, &s, "x0", ANY_TOKENS, width * streams);
  any_add_word(w, &s, "entered", ANY_TOKENS, width * streams);
  add_block_words(w, &s);
  add_formals(w, &s, &formals, width * streams);
  const char *held = add_held(w, &s, &held_line, streams, width);
  add_borders(w, &text, streams, width, held);
  if (any_pick(w, 5) == 4) add_after(w, &text, width * streams);
  if (any_pick(w, 5) == 4) mvs_text_add(&text, "  group gains : lr = 0\n");
  if (streams > 1) mvs_text_addf(&text, "    h = streams(x, %d)\n", streams);
  mvs_text_add(&text, mvs_text_string(&held_line));
  for (int i = 0; streams > 1 && i < streams; i++)
    any_add_word(w, &s, any_format(w, "h[%d]", i), ANY_TOKENS, width);
  any_bindings(w, &s, &text, width, 2);
  const char *given =
      any_pick(w, 2) ? any_format(w, "f(%s)", any_tokens(w, &s, width, 2)) : "f";
  if (streams > 1 && !strcmp(given, "f")) given = "f(h[0])";
  mvs_text_addf(&text, "    y = %s\n", given);
  any_add_word(w, &s, "y", ANY_TOKENS, width);
  any_bindings(w, &s, &text, width, 2);
  if (streams > 1) {
    add_mix(w, &s, &text, streams, width);
  } else if (any_pick(w, 6) == 5) {
    mvs_text_addf(&text, "    if update == updates { unit(x + y) } else { %s + y }\n",
                  any_tokens(w, &s, width, 2));
  } else {
    mvs_text_addf(&text, "    %s + y\n", any_tokens(w, &s, width, 2));
  }
  const char *list = mvs_text_string(&formals);
  mvs_text_addf(&w->items, "residual %s%s%s%s {\n%s}\n", name, *list ? "(" : "", list,
                *list ? ")" : "", mvs_text_string(&text));
  return (rule){name, streams};
}

/* --- stacks --- */

/* A branch: one layer of the library, or any expression with parameters. */
static const char *branch(model *m, const any_scope *block) {
  any_writer *w = m->w;
  return any_tokens(w, block, m->width, 1 + any_pick(w, 3));
}

/* A second value may be carried beside x; where the rule widens x, it does not read x. */
static void add_block(model *m, const rule *r, const char *memory) {
  any_writer *w = m->w;
  any_scope block = {.labels = true};
  any_add_word(w, &block, "x", ANY_TOKENS, m->width);
  add_block_words(w, &block);
  if (memory) any_add_word(w, &block, memory, ANY_TOKENS, m->width);
  int updates = 1 + any_pick(w, 3);
  for (int i = 1; i <= updates; i++) {
    mvs_text_addf(&m->body, "    x <- %s as b%d\n", branch(m, &block), i);
    if (memory && i == 1 && r->streams == 1)
      mvs_text_addf(&m->body, "    %s = 0.5 * %s + tanh(%s)\n", memory, memory,
                    any_tokens(w, &block, m->width, 1));
  }
  if (memory && r->streams > 1)
    mvs_text_addf(&m->body, "    %s = cos(%s) * 0.7\n", memory, memory);
}

static void add_stack(model *m, const char *label) {
  any_writer *w = m->w;
  rule r = any_pick(w, 2) ? own_rule(w, m->width) : ANY_OF(w, library);
  const char *memory = NULL;
  if (any_pick(w, 3) == 2) {
    memory = any_name(w, "memory");
    mvs_text_addf(&m->body, "  %s = 0.5 * x\n", memory);
  }
  mvs_text_addf(&m->body, "  residual %s as join_%s\n", r.line, label);
  mvs_text_addf(&m->body, "  stack %d as %s {\n", 1 + any_pick(w, 4), label);
  add_block(m, &r, memory);
  mvs_text_add(&m->body, "  }\n");
  if (memory) any_add_word(w, &m->scope, memory, ANY_TOKENS, m->width);
}

/* --- models --- */

static const int widths[] = {4, 8, 3, 6, 1, 2, 5, 7, 12, 16, 17};
static const int lengths[] = {1, 2, 3, 5, 4};

/* A segment that is not the image: tokens of some width, or of a class. */
static int add_segment(model *m, int number) {
  any_writer *w = m->w;
  const char *name = any_part_names[number];
  int length = ANY_OF(w, lengths), features = 1 + any_pick(w, 6);
  if (any_pick(w, 4) == 3) {
    mvs_text_addf(&m->body, "  input class%d : i32[] = 2\n", number);
    mvs_text_addf(&m->body, "  %s = embed(class%d, 3, %d, %d) as embed_%s\n", name, number,
                  length, m->width, name);
  } else {
    mvs_text_addf(&m->body, "  input c%d : f32[%d, %d]\n", number, length, features);
    mvs_text_addf(&m->body, "  %s = project(c%d, %d) as %s_proj\n", name, number, m->width,
                  name);
  }
  return length;
}

static void add_inputs(model *m) {
  any_writer *w = m->w;
  m->width = ANY_OF(w, widths);
  m->channels = 1 + any_pick(w, 3);
  m->patch = 1 + any_pick(w, 2);
  m->rows = 1 + any_pick(w, 3), m->columns = 1 + any_pick(w, 3);
  mvs_text_addf(&m->body, "  input z : f32[%d, %d, %d]\n", m->channels, m->rows * m->patch,
                m->columns * m->patch);
  w->parts = 1 + any_pick(w, ANY_MOST_PARTS);
  w->rows = m->rows * m->columns;
  mvs_text_addf(&m->body, "  image = patch_embed(z, %d, %d) as patch_embed\n", m->patch,
                m->width);
  for (int i = 1; i < w->parts; i++) w->rows += add_segment(m, i);
  static const char *const joins[] = {"image", "concat(image, text)",
                                      "concat(image, text, more)"};
  mvs_text_addf(&m->body, "  x = %s\n", joins[w->parts - 1]);
  any_add_word(w, &m->scope, "x", ANY_TOKENS, m->width);
  m->scope.labels = true;
}

static void add_output(model *m) {
  any_writer *w = m->w;
  mvs_text_addf(&m->body, "  y = %s\n", any_tokens(w, &m->scope, m->width, any_pick(w, 3)));
  mvs_text_addf(&m->body, "  output velocity : unpatchify(linear(y%s, %d) as final_proj, %d)\n",
                w->parts > 1 ? ".image" : "", m->patch * m->patch * m->channels, m->patch);
}

const char *any_model_text(mvs_arena *arena, any_choices *choices) {
  any_writer w = {.arena = arena, .choices = choices, .items = mvs_text_new(arena)};
  model m = {.w = &w, .body = mvs_text_new(arena)};
  add_inputs(&m);
  if (any_pick(&w, 4) == 3)
    mvs_text_addf(&m.body, "  x = %s\n", any_tokens(&w, &m.scope, m.width, 2));
  add_stack(&m, "blocks");
  if (any_pick(&w, 5) == 4) add_stack(&m, "more_blocks");
  add_output(&m);
  if (any_pick(&w, 8) == 7) mvs_text_add(&m.body, "  group patch_embed : lr = 0\n");
  const char *precision = any_pick(&w, 8) == 7 ? "bf16" : "f32";
  mvs_text text = mvs_text_new(arena);
  if (any_pick(&w, 6) == 5) mvs_text_addf(&text, "%s\n", ANY_MEANS_WRITER);
  mvs_text_addf(&text, "%s%smodel m {\n%s}\n", head, mvs_text_string(&w.items),
                mvs_text_string(&m.body));
  mvs_text_addf(&text,
                "train { objective rectified_flow optimizer adamw(lr = 1e-3) batch 4 "
                "precision %s }\n",
                precision);
  return mvs_text_string(&text);
}
