/* any_model_words.c: expressions, each a choice among forms; form 0 is a word that is there. */
#include "tests/unit/any_model_words.h"

#include <stdarg.h>

const char *const any_part_names[ANY_MOST_PARTS] = {"image", "text", "more"};

const char *any_format(any_writer *w, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const char *text = mvs_arena_format_list(w->arena, format, list);
  va_end(list);
  return text;
}

int any_pick(any_writer *w, int bound) { return any_below(w->choices, bound); }

const char *any_name(any_writer *w, const char *prefix) {
  return any_format(w, "%s%d", prefix, ++w->serial);
}

void any_add_word(any_writer *w, any_scope *scope, const char *name, any_kind kind,
                  int features) {
  any_word word = {name, kind, features};
  MVS_PUSH(w->arena, &scope->words, word);
}

/* --- words --- */

static bool fits(const any_word *word, any_kind kind, int features) {
  return word->kind == kind &&
         (kind != ANY_TOKENS || !features || word->features == features) &&
         (kind != ANY_VECTOR || word->features == features);
}

/* A word of that kind; features 0: of sequences with any. NULL where there is none. */
static const any_word *find(any_writer *w, const any_scope *s, any_kind kind, int features) {
  int count = 0;
  for (size_t i = 0; i < s->words.count; i++) count += fits(&s->words.items[i], kind, features);
  int wanted = count ? any_pick(w, count) : -1;
  for (size_t i = s->words.count; i-- > 0 && wanted >= 0;) { /* the newest is 0 */
    if (fits(&s->words.items[i], kind, features) && wanted-- == 0) return &s->words.items[i];
  }
  return NULL;
}

static const char *leaf(any_writer *w, const any_scope *s, int features) {
  const any_word *word = find(w, s, ANY_TOKENS, features);
  if (word) return word->name;
  word = find(w, s, ANY_TOKENS, 0);
  if (word->features > features) {
    int first = any_pick(w, word->features - features + 1);
    return any_format(w, "slice_features(%s, %d, %d)", word->name, first, features);
  }
  return any_format(w, "(mean_features(%s) + 0.2 * index(%d))", word->name, features);
}

/* --- numbers, vectors, columns --- */

static const char *const literals[] = {"0.5", "0.1", "2", "1.5", "0.03", "1", "3"};

const char *any_number(any_writer *w, const any_scope *s) {
  const any_word *word = any_pick(w, 2) ? find(w, s, ANY_NUMBER, 0) : NULL;
  return word ? word->name : ANY_OF(w, literals);
}

/* Bounded where the argument is, smooth or with kinks. */
static const char *const functions[] = {"tanh(%s)",
                                        "sigmoid(%s)",
                                        "sin(%s)",
                                        "cos(%s)",
                                        "silu(%s)",
                                        "gelu(%s)",
                                        "relu(%s)",
                                        "abs(%s)",
                                        "(0.3 - %s)",
                                        "exp(tanh(%s))",
                                        "log(1 + exp(sin(%s)))",
                                        "sqrt(0.5 + tanh(%s) ^ 2)",
                                        "tanh(%s) ^ 3",
                                        "rsqrt(1.5 + sin(%s))",
                                        "(floor(4 * tanh(%s)) / 4)",
                                        "identity(%s)",
                                        "(tanh(%s) + 2) ^ -1",
                                        "cast(cast(%s, bf16), f32)",
                                        "cast(cast(%s, f64), f32)"};

/* A form with a word in its hole. */
static const char *fill(any_writer *w, const char *form, const char *word) {
  const char *hole = strstr(form, "%s");
  return any_format(w, "%.*s%s%s", (int)(hole - form), form, word, hole + 2);
}

static const char *apply(any_writer *w, const char *to) {
  return fill(w, ANY_OF(w, functions), to);
}

static const char *const operators[] = {"+", "*", "-", "max", "min"};

/* Two expressions joined; a divisor is at least a half. */
static const char *join(any_writer *w, const char *a, const char *b) {
  int which = any_pick(w, 6);
  if (which == 5) return any_format(w, "(%s / (1.5 + cos(%s)))", a, b);
  if (which > 2) return any_format(w, "%s(%s, %s)", operators[which], a, b);
  return any_format(w, "(%s %s %s)", a, operators[which], b);
}

const char *any_vector(any_writer *w, const any_scope *s, int features, int depth) {
  const any_word *word = find(w, s, ANY_VECTOR, features);
  switch (depth > 0 ? any_pick(w, 4) : 0) {
    case 0:
      break;
    case 1:
      return apply(w, any_vector(w, s, features, depth - 1));
    case 2:
      return join(w, any_vector(w, s, features, depth - 1),
                  any_vector(w, s, features, depth - 1));
    default:
      return any_format(w, "(%s * %s)", any_number(w, s),
                        any_vector(w, s, features, depth - 1));
  }
  if (word) return word->name;
  return any_format(w, "(index(%d) / %d)", features, features);
}

const char *any_column(any_writer *w, const any_scope *s, int depth) {
  const any_word *word = find(w, s, ANY_COLUMN, 0);
  const any_word *tokens = find(w, s, ANY_TOKENS, 0);
  int features = tokens->features;
  switch (any_pick(w, depth > 0 ? 9 : 4)) {
    case 0:
      if (word) return word->name;
      return any_format(w, "mean_features(%s)", tokens->name);
    case 1:
      return any_format(w, "max_features(%s)", tokens->name);
    case 2:
      return any_format(w, "slice_features(%s, %d, 1)", tokens->name, any_pick(w, features));
    case 3:
      return any_format(w, "(0.3 * row_index(%s) - 0.2 * column_index(%s))", tokens->name,
                        tokens->name);
    case 4:
      return apply(w, any_column(w, s, depth - 1));
    case 5:
      return join(w, any_column(w, s, depth - 1), any_column(w, s, depth - 1));
    case 6:
      return any_format(w, "(sum_features(%s) / %d)", any_tokens(w, s, features, depth - 1),
                        features);
    case 7:
      return any_format(w, "rsqrt(mean_features(%s * %s) + 0.1)", tokens->name, tokens->name);
    default:
      return any_format(w, "%s(mean_features(%s))", any_pick(w, 2) ? "center" : "mean",
                        any_tokens(w, s, features, depth - 1));
  }
}

/* --- sequences: a form gives NULL where it does not fit --- */

typedef const char *form(any_writer *w, const any_scope *s, int features, int depth);

static const char *applied(any_writer *w, const any_scope *s, int features, int depth) {
  return apply(w, any_tokens(w, s, features, depth));
}

static const char *joined(any_writer *w, const any_scope *s, int features, int depth) {
  const char *first = any_tokens(w, s, features, depth);
  return join(w, first, any_tokens(w, s, features, depth));
}

static const char *scaled(any_writer *w, const any_scope *s, int features, int depth) {
  const char *number = any_number(w, s);
  return any_format(w, "(%s * %s)", number, any_tokens(w, s, features, depth));
}

static const char *by_column(any_writer *w, const any_scope *s, int features, int depth) {
  const char *column = any_column(w, s, depth);
  return join(w, any_tokens(w, s, features, depth), column);
}

static const char *by_vector(any_writer *w, const any_scope *s, int features, int depth) {
  const char *vector = any_vector(w, s, features, depth);
  return join(w, any_tokens(w, s, features, depth), vector);
}

static const char *averaged(any_writer *w, const any_scope *s, int features, int depth) {
  const char *name = any_pick(w, 2) ? "center" : "mean";
  return any_format(w, "%s(%s)", name, any_tokens(w, s, features, depth));
}

/* Without parameters, so anywhere: `unit` and `soft` stand before every model. */
static const char *normed(any_writer *w, const any_scope *s, int features, int depth) {
  const char *name = any_pick(w, 3) ? "unit" : "soft";
  return any_format(w, "%s(%s)", name, any_tokens(w, s, features, depth));
}

static const char *trained_norm(any_writer *w, const any_scope *s, int features, int depth) {
  if (!s->labels) return NULL;
  const char *trained = any_pick(w, 2) ? "true" : "false";
  const char *inner = any_tokens(w, s, features, depth);
  return any_format(w, "(rmsnorm(%s, eps = 0.01, trained = %s) as %s)", inner, trained,
                    any_name(w, "n"));
}

static const char *selected(any_writer *w, const any_scope *s, int features, int depth) {
  const char *a = any_tokens(w, s, features, depth), *b = any_tokens(w, s, features, 0);
  const char *sign = any_pick(w, 2) ? "<" : ">=";
  return any_format(w, "where(%s %s %s, %s, 0.5 * %s)", a, sign, b, b,
                    any_tokens(w, s, features, 0));
}

/* The condition is known when the model is compiled, to the reader of the model at least. */
static const char *decided(any_writer *w, const any_scope *s, int features, int depth) {
  const char *yes = any_tokens(w, s, features, depth);
  return any_format(w, "(if features(%s) > %d then %s else %s)", s->words.items[0].name,
                    any_pick(w, 8), yes, any_tokens(w, s, features, depth));
}

static int other_width(any_writer *w) {
  static const int widths[] = {4, 1, 3, 8, 5, 2, 17};
  return ANY_OF(w, widths);
}

static const char *mapped(any_writer *w, const any_scope *s, int features, int depth) {
  if (!s->labels) return NULL;
  int inner = any_pick(w, 2) ? other_width(w) : features;
  const char *bias = any_pick(w, 3) ? "" : ", bias = true";
  return any_format(w, "(linear(%s, %d%s) as %s)", any_tokens(w, s, inner, depth), features,
                    bias, any_name(w, "l"));
}

static const char *side_by_side(any_writer *w, const any_scope *s, int features, int depth) {
  if (features < 2) return NULL;
  int left = 1 + any_pick(w, features - 1);
  const char *first = any_tokens(w, s, left, depth);
  return any_format(w, "concat_features(%s, %s)", first,
                    any_tokens(w, s, features - left, depth));
}

static const char *cut(any_writer *w, const any_scope *s, int features, int depth) {
  int more = 1 + any_pick(w, 4), first = any_pick(w, more + 1);
  return any_format(w, "slice_features(%s, %d, %d)", any_tokens(w, s, features + more, depth),
                    first, features);
}

/* A divisor of n that is not n, where there is one: 1 is. */
static int divisor(any_writer *w, int n) {
  int found[16], count = 0;
  for (int i = 1; i < n && count < 16; i++) {
    if (n % i == 0) found[count++] = i;
  }
  return count ? found[any_pick(w, count)] : 1;
}

static const char *by_heads(any_writer *w, const any_scope *s, int features, int depth) {
  int heads = divisor(w, features);
  const char *inner = any_tokens(w, s, features, depth);
  const char *split = any_format(w, "split_heads(%s, %d)", inner, heads);
  if (features / heads % 4 == 0 && any_pick(w, 2))
    return any_format(w, "merge_heads(rope2d(%s, base = 30))", split);
  if (any_pick(w, 2)) return any_format(w, "merge_heads(unit(%s))", split);
  return any_format(w, "merge_heads(%s)", apply(w, split));
}

static const char *turned(any_writer *w, const any_scope *s, int features, int depth) {
  int heads = divisor(w, features);
  const char *inner = any_tokens(w, s, features, depth);
  const char *there = any_format(w, "transpose(split_heads(%s, %d), [0, 2, 1])", inner, heads);
  if (any_pick(w, 2)) there = apply(w, there);
  return any_format(w, "reshape(%s, [%d, %d])", there, w->rows, features);
}

static const char *by_parts(any_writer *w, const any_scope *s, int features, int depth) {
  const any_word *word = find(w, s, ANY_TOKENS, features);
  if (w->parts < 2 || !word) return NULL;
  mvs_text text = mvs_text_new(w->arena);
  for (int i = 0; i < w->parts; i++) {
    const char *name = any_part_names[i];
    const char *part = any_format(w, "%s.%s", word->name, name);
    if (any_pick(w, 2)) part = apply(w, part);
    mvs_text_addf(&text, "%s%s = %s", i ? ", " : "", name, part);
  }
  (void)depth;
  return any_format(w, "concat(%s)", mvs_text_string(&text));
}

/* Of all blocks, each with a weight or the largest; of one by its number, which is `depth`'s to
 * bound. A layer of the model's own does not know the depth. */
static const char *const of_some_blocks[] = {
    "earlier(%s, 1)",
    "earlier(%s, 2)",
    "earlier(%s, 3)",
    "first(%s)",
    "max_over(history(%s), 0)",
    "at_block(%s, depth - 1)",
    "at_block(%s, floor(depth / 2))",
    "sum_over(reshape(cos(index(depth)), [depth, 1, 1]) * history(%s), 0)",
    "sum_over(where(reshape(index(depth), [depth, 1, 1]) < layer, 0.5, 0.1) * history(%s), 0)"};
enum { WITHOUT_DEPTH = 5, WITH_DEPTH = sizeof of_some_blocks / sizeof *of_some_blocks };

static const char *of_blocks(any_writer *w, const any_scope *s, int features, int depth) {
  if (!s->earlier) return NULL;
  any_scope inner = {0}; /* of x alone: what is remembered has to change from block to block */
  MVS_PUSH(w->arena, &inner.words, s->words.items[0]);
  const char *value = any_tokens(w, &inner, features, depth);
  return fill(w, of_some_blocks[any_pick(w, s->made ? WITHOUT_DEPTH : WITH_DEPTH)], value);
}

/* One row over all tokens of all segments, stretched. */
static const char *over_tokens(any_writer *w, const any_scope *s, int features, int depth) {
  const char *of = any_tokens(w, s, features, depth);
  const char *row = any_pick(w, 2) ? any_format(w, "max_over(%s, 0)", of)
                                   : any_format(w, "(sum_over(%s, 0) / %d)", of, w->rows);
  return join(w, any_tokens(w, s, features, depth),
              any_format(w, "reshape(%s, [1, %d])", row, features));
}

static const char *of_streams(any_writer *w, const any_scope *s, int features, int depth) {
  int count = 2 + any_pick(w, 2);
  const char *all = any_tokens(w, s, count * features, depth);
  if (any_pick(w, 2))
    return any_format(w, "streams(%s, %d)[%d]", all, count, any_pick(w, count));
  const char *item = apply(w, "part");
  return any_format(w, "sum([%s / %d for part in streams(%s, %d)])", item, count, all, count);
}

static const char *attended(any_writer *w, const any_scope *s, int features, int depth) {
  static const char *const more[] = {"",
                                     ", rope = rope2d(base = 20)",
                                     ", qk_norm = rms(eps = 0.1)",
                                     ", bias = true",
                                     ", mix = minus_identity",
                                     ", mix = identity_minus",
                                     ", mix = lazy(trained = true)",
                                     ", gate = token_gate",
                                     ", gate = token_gate(by_head = true)",
                                     ", values = value_residual",
                                     ", rope = rope2d, qk_norm = rms(eps = 0.1)"};
  if (!s->labels) return NULL;
  int heads = divisor(w, features),
      groups = heads % 2 == 0 && any_pick(w, 2) ? heads / 2 : heads;
  const char *options = ANY_OF(w, more);
  if (strstr(options, "rope") && features / heads % 4) options = "";
  if (strstr(options, "values") && !s->earlier) options = "";
  return any_format(w, "(attention(%s, %d, %d%s) as %s)", any_tokens(w, s, features, depth),
                    heads, groups, options, any_name(w, "a"));
}

static const char *fed_forward(any_writer *w, const any_scope *s, int features, int depth) {
  if (!s->labels) return NULL;
  const char *inner = any_tokens(w, s, features, depth);
  if (any_pick(w, 2)) /* of what is normed: its square would grow from update to update */
    return any_format(w, "(swiglu(unit(%s), %d) as %s)", inner, other_width(w),
                      any_name(w, "m"));
  return any_format(w, "(mlp(%s, %d) as %s)", inner, other_width(w), any_name(w, "m"));
}

static const char *of_own_layer(any_writer *w, const any_scope *s, int features, int depth);

static form *const forms[] = {applied,      joined,   joined,     scaled,   by_column,
                              by_vector,    averaged, normed,     selected, trained_norm,
                              side_by_side, cut,      by_heads,   turned,   by_parts,
                              of_blocks,    mapped,   of_streams, attended, fed_forward,
                              of_own_layer, decided,  over_tokens};

enum { FORMS = sizeof forms / sizeof *forms, LEAVES = 4 };

const char *any_tokens(any_writer *w, const any_scope *s, int features, int depth) {
  int which = depth > 0 ? any_pick(w, FORMS + LEAVES) - LEAVES : -1;
  const char *made = which < 0 ? NULL : forms[which](w, s, features, depth - 1);
  return made ? made : leaf(w, s, features);
}

/* --- layers of the model's own --- */

void any_bindings(any_writer *w, any_scope *scope, mvs_text *text, int features, int most) {
  for (int count = any_pick(w, most + 1); count > 0; count--) {
    const char *name = any_name(w, "v");
    if (any_pick(w, 4) == 3) {
      mvs_text_addf(text, "    %s = %s\n", name, any_column(w, scope, 2));
      any_add_word(w, scope, name, ANY_COLUMN, 1);
    } else {
      int width = any_pick(w, 4) == 3 ? other_width(w) : features;
      mvs_text_addf(text, "    %s = %s\n", name, any_tokens(w, scope, width, 2));
      any_add_word(w, scope, name, ANY_TOKENS, width);
    }
  }
}

/* A loop in whose turns a value is made anew of itself. */
static const char *loop(any_writer *w, any_scope *scope, mvs_text *text, int features) {
  const char *name = any_name(w, "v");
  mvs_text_addf(text, "    %s = %s\n", name, leaf(w, scope, features));
  any_add_word(w, scope, name, ANY_TOKENS, features);
  any_scope turn = *scope;
  turn.labels = turn.earlier = false;
  mvs_text_addf(text, "    for i in %d { %s = 0.5 * %s + 0.1 * i * tanh(%s) }\n",
                1 + any_pick(w, 3), name, any_tokens(w, &turn, features, 1), name);
  return name;
}

static const char *of_own_layer(any_writer *w, const any_scope *s, int features, int depth) {
  if (!s->labels || s->made) return NULL;
  const char *name = any_name(w, "own");
  any_scope inside = {.labels = true, .earlier = s->earlier, .made = true};
  any_add_word(w, &inside, "x", ANY_TOKENS, features);
  mvs_text body = mvs_text_new(w->arena);
  if (any_pick(w, 2)) {
    mvs_text_addf(&body, "    param g : f32[%d] = 0.3\n", features);
    any_add_word(w, &inside, "g", ANY_VECTOR, features);
  }
  any_bindings(w, &inside, &body, features, 2);
  if (any_pick(w, 3) == 2) loop(w, &inside, &body, features);
  mvs_text_addf(&body, "    %s\n", any_tokens(w, &inside, features, 2));
  mvs_text_addf(&w->items, "layer %s(x) {\n%s}\n", name, mvs_text_string(&body));
  return any_format(w, "(%s(%s) as %s)", name, any_tokens(w, s, features, depth),
                    any_name(w, "o"));
}
