/* pickle.c: the machine. Its text is hostile: every length is checked against what is left,
 * every pop against the stack, every memo number against the memo. The instructions are those
 * that picklers of Python write for dicts, lists, tuples, strings and numbers, and the three
 * through which a pickle reaches out (GLOBAL, REDUCE, BINPERSID), which the caller answers. No
 * instruction sets attributes of anything: BUILD on a dict is what an OrderedDict with
 * attributes has, and is dropped. */
#include "runtime/pickle.h"

#include <inttypes.h>

#include "runtime/fail.h"

#define NEWEST_PROTOCOL 5
#define LONGEST_NAME    200 /* of a global: what a message shows */
#define DEEPEST_STACK   (1 << 16)
/* An instruction is one byte at least and makes up to 100 bytes. A tensor takes about 30, so
 * these are some 140,000 tensors. */
#define MOST_INSTRUCTIONS (1 << 22)

typedef MVS_LIST(mvs_pickle_value) value_list;

typedef struct machine {
  mvs_arena *arena;
  mvs_diag *diag;
  const char *name;
  const unsigned char *bytes;
  size_t size, at, begin; /* the next byte; where the instruction began */
  const mvs_pickle_rules *rules;
  value_list stack, memo;
} machine;

/* Every message has the place. */
#define WRONG(m, ...)                                                                          \
  MVS_FAIL((m)->diag, MVS_ERR_FORMAT, "%s is malformed: byte %zu of its pickle %s", (m)->name, \
           (m)->begin, mvs_arena_format((m)->arena, __VA_ARGS__))
#define REFUSED(m, ...)                                                                \
  MVS_FAIL((m)->diag, MVS_ERR_FORMAT,                                                  \
           "%s is not read: byte %zu of its pickle %s; only tensors and plain values " \
           "are read, nothing is run",                                                 \
           (m)->name, (m)->begin, mvs_arena_format((m)->arena, __VA_ARGS__))

bool mvs_pickle_is_text(const mvs_pickle_value *value, const char *words) {
  return value->kind == MVS_PICKLE_TEXT && value->length == strlen(words) &&
         memcmp(value->text, words, value->length) == 0;
}

/* --- the text --- */

/* The next `count` bytes, or NULL when the text ends before. */
static const unsigned char *take(machine *m, uint64_t count) {
  if (count > m->size - m->at) return NULL;
  const unsigned char *place = m->bytes + m->at;
  m->at += (size_t)count;
  return place;
}

/* The instruction began within the text and ends beyond it. */
static mvs_status cut(const machine *m) { return WRONG(m, "is cut short"); }

/* A number of `count` bytes, little-endian, without sign. */
static mvs_status take_count(machine *m, int count, uint64_t *out) {
  const unsigned char *from = take(m, (uint64_t)count);
  if (!from) return cut(m);
  *out = 0;
  for (int at = count - 1; at >= 0; at--) *out = *out << 8 | from[at];
  return MVS_OK;
}

/* Up to the end of its line, as GLOBAL has them. */
static mvs_status take_line(machine *m, const char **out, size_t *length) {
  const unsigned char *from = m->bytes + m->at;
  const unsigned char *end = m->at < m->size ? memchr(from, '\n', m->size - m->at) : NULL;
  if (!end) return cut(m);
  *out = (const char *)from;
  *length = (size_t)(end - from);
  m->at += *length + 1;
  return MVS_OK;
}

/* --- the stack --- */

static mvs_status push(machine *m, mvs_pickle_value value) {
  if (m->stack.count == DEEPEST_STACK)
    return WRONG(m, "piles up more than %d values", DEEPEST_STACK);
  MVS_PUSH(m->arena, &m->stack, value);
  return MVS_OK;
}

/* A mark is no value. */
static mvs_status pop(machine *m, mvs_pickle_value *out) {
  if (m->stack.count == 0) return WRONG(m, "takes a value from an empty stack");
  *out = m->stack.items[--m->stack.count];
  return out->kind == MVS_PICKLE_MARK ? WRONG(m, "takes a mark for a value") : MVS_OK;
}

/* What stands behind the last mark, which goes with it. Valid until the next push. */
static mvs_status pop_marked(machine *m, const mvs_pickle_value **items, size_t *count) {
  size_t at = m->stack.count;
  while (at > 0 && m->stack.items[at - 1].kind != MVS_PICKLE_MARK) at--;
  if (at == 0) return WRONG(m, "needs a mark, and there is none");
  *items = m->stack.items + at;
  *count = m->stack.count - at;
  m->stack.count = at - 1;
  return MVS_OK;
}

/* The value on top, which stays: a list or a dict that takes more. */
static mvs_status top(machine *m, mvs_pickle_kind kind, mvs_pickle_value **out) {
  if (m->stack.count == 0 || m->stack.items[m->stack.count - 1].kind != kind)
    return WRONG(m, "adds to what is no %s", kind == MVS_PICKLE_LIST ? "list" : "dict");
  *out = &m->stack.items[m->stack.count - 1];
  return MVS_OK;
}

/* --- values --- */

/* Values that are no more than their kind and a number. */
static mvs_status push_kind(machine *m, mvs_pickle_kind kind, int64_t integer) {
  return push(m, (mvs_pickle_value){.kind = kind, .integer = integer});
}

/* Its items are shared by all that name the value: a list that is remembered and appended to
 * later is longer wherever it stands. */
static mvs_status push_empty(machine *m, mvs_pickle_kind kind) {
  return push(m,
              (mvs_pickle_value){.kind = kind, .items = MVS_NEW(m->arena, mvs_pickle_items)});
}

/* The first room is exact: there may be millions of tuples, and hardly any list grows. */
static void add_items(machine *m, mvs_pickle_items *into, const mvs_pickle_value *items,
                      size_t count) {
  size_t wanted = into->count + count;
  if (count == 0) return;
  if (wanted > into->capacity) {
    size_t room = wanted > 2 * into->capacity ? wanted : 2 * into->capacity;
    mvs_pickle_value *place = MVS_ARRAY(m->arena, room, mvs_pickle_value);
    if (into->count) memcpy(place, into->items, into->count * sizeof *place);
    into->items = place, into->capacity = room;
  }
  memcpy(into->items + into->count, items, count * sizeof *items);
  into->count = wanted;
}

/* Nothing can be added to a tuple. */
static mvs_status push_tuple(machine *m, const mvs_pickle_value *items, size_t count) {
  mvs_pickle_items *tuple = MVS_NEW(m->arena, mvs_pickle_items);
  add_items(m, tuple, items, count);
  return push(m, (mvs_pickle_value){.kind = MVS_PICKLE_TUPLE, .items = tuple});
}

/* TUPLE1 to TUPLE3. */
static mvs_status short_tuple(machine *m, size_t count) {
  mvs_pickle_value items[3];
  for (size_t at = count; at-- > 0;) MVS_TRY(pop(m, &items[at]));
  return push_tuple(m, items, count);
}

/* The marked values are copied before the tuple is pushed over them. */
static mvs_status marked_tuple(machine *m) {
  const mvs_pickle_value *items;
  size_t count;
  MVS_TRY(pop_marked(m, &items, &count));
  return push_tuple(m, items, count);
}

/* BININT is signed, its shorter forms are not. */
static mvs_status integer(machine *m, int bytes) {
  uint64_t value;
  MVS_TRY(take_count(m, bytes, &value));
  return push_kind(m, MVS_PICKLE_INTEGER,
                   bytes == 4 ? (int32_t)(uint32_t)value : (int64_t)value);
}

/* Two's complement in as many bytes as it takes; sizes of tensors take at most 8. */
static mvs_status long_integer(machine *m) {
  uint64_t count;
  MVS_TRY(take_count(m, 1, &count));
  if (count > 8) return WRONG(m, "has an integer of %d bytes", (int)count);
  uint64_t value = 0;
  MVS_TRY(take_count(m, (int)count, &value));
  bool negative = count > 0 && value >> (8 * count - 1) & 1;
  if (negative && count < 8) value |= ~UINT64_C(0) << (8 * count);
  return push_kind(m, MVS_PICKLE_INTEGER, (int64_t)value);
}

/* Read as a value whose number nobody asks for. */
static mvs_status binary_float(machine *m) {
  return take(m, 8) ? push_kind(m, MVS_PICKLE_FLOAT, 0) : cut(m);
}

/* UTF-8, by the format; not looked at, since keys are compared as bytes and messages of them
 * are made printable where they are printed. */
static mvs_status text(machine *m, int length_bytes) {
  uint64_t length;
  MVS_TRY(take_count(m, length_bytes, &length));
  const unsigned char *from = take(m, length);
  if (!from) return cut(m);
  return push(
      m, (mvs_pickle_value){
             .kind = MVS_PICKLE_TEXT, .text = (const char *)from, .length = (size_t)length});
}

/* --- lists and dicts --- */

/* APPENDS and SETITEMS: what picklers write, a thousand items at a time. */
static mvs_status append_marked(machine *m, mvs_pickle_kind kind) {
  const mvs_pickle_value *items;
  mvs_pickle_value *into;
  size_t count;
  MVS_TRY(pop_marked(m, &items, &count));
  MVS_TRY(top(m, kind, &into));
  if (kind == MVS_PICKLE_DICT && count % 2 != 0) return WRONG(m, "adds a key without a value");
  add_items(m, into->items, items, count);
  return MVS_OK;
}

/* APPEND and SETITEM. A list may be put into itself: who walks values bounds the depth. */
static mvs_status append_last(machine *m, mvs_pickle_kind kind) {
  mvs_pickle_value items[2], *into;
  size_t count = kind == MVS_PICKLE_DICT ? 2 : 1;
  for (size_t at = count; at-- > 0;) MVS_TRY(pop(m, &items[at]));
  MVS_TRY(top(m, kind, &into));
  add_items(m, into->items, items, count);
  return MVS_OK;
}

/* --- the memo --- */

/* Picklers number what they remember one after the other, so a number names no gap: a memo of
 * 2^32 places cannot be asked for in five bytes. */
static mvs_status put(machine *m, uint64_t index) {
  if (m->stack.count == 0) return WRONG(m, "remembers nothing");
  if (index > m->memo.count)
    return WRONG(m, "remembers as number %" PRIu64 ", and %zu are known", index, m->memo.count);
  mvs_pickle_value value = m->stack.items[m->stack.count - 1];
  if (value.kind == MVS_PICKLE_MARK) return WRONG(m, "takes a mark for a value");
  if (index < m->memo.count) {
    m->memo.items[index] = value;
  } else {
    MVS_PUSH(m->arena, &m->memo, value);
  }
  return MVS_OK;
}

/* BINPUT and LONG_BINPUT. */
static mvs_status binary_put(machine *m, int bytes) {
  uint64_t index;
  MVS_TRY(take_count(m, bytes, &index));
  return put(m, index);
}

/* BINGET and LONG_BINGET. The value is shared, not copied. */
static mvs_status binary_get(machine *m, int bytes) {
  uint64_t index;
  MVS_TRY(take_count(m, bytes, &index));
  if (index >= m->memo.count)
    return WRONG(m, "recalls number %" PRIu64 ", and %zu are known", index, m->memo.count);
  return push(m, m->memo.items[index]);
}

/* --- what reaches out --- */

/* Names may hold anything: only letters are shown. */
static const char *shown(machine *m, const char *name, size_t length) {
  char *copy = mvs_arena_copy(m->arena, name, length < LONGEST_NAME ? length : LONGEST_NAME);
  for (char *at = copy; *at; at++)
    if (*at < ' ' || *at > '~') *at = '?';
  return copy;
}

static mvs_status find_global(machine *m, const char *module, size_t module_length,
                              const char *name, size_t name_length) {
  int global = m->rules->find(module, module_length, name, name_length);
  if (global >= 0) return push_kind(m, MVS_PICKLE_GLOBAL, global);
  mvs_status status = REFUSED(m, "asks for '%s.%s'", shown(m, module, module_length),
                              shown(m, name, name_length));
  mvs_diag_hint(m->diag, "save the weights alone: torch.save(model.state_dict(), FILE)");
  return status;
}

/* GLOBAL, of protocols before 4: two lines. */
static mvs_status global(machine *m) {
  const char *module, *name;
  size_t module_length, name_length;
  MVS_TRY(take_line(m, &module, &module_length));
  MVS_TRY(take_line(m, &name, &name_length));
  return find_global(m, module, module_length, name, name_length);
}

/* STACK_GLOBAL: two strings that were pushed. */
static mvs_status stack_global(machine *m) {
  mvs_pickle_value module, name;
  MVS_TRY(pop(m, &name));
  MVS_TRY(pop(m, &module));
  if (module.kind != MVS_PICKLE_TEXT || name.kind != MVS_PICKLE_TEXT)
    return WRONG(m, "asks for what has no name");
  return find_global(m, module.text, module.length, name.text, name.length);
}

/* REDUCE is what makes pickles dangerous: it calls whatever was named. Here it can only name
 * what `find` knows, and `call` makes data. */
static mvs_status reduce(machine *m) {
  mvs_pickle_value arguments, callee, made = {0};
  const char *why = "";
  MVS_TRY(pop(m, &arguments));
  MVS_TRY(pop(m, &callee));
  if (callee.kind != MVS_PICKLE_GLOBAL || arguments.kind != MVS_PICKLE_TUPLE)
    return WRONG(m, "calls what is no function");
  if (!m->rules->call(m->rules->self, (int)callee.integer, &arguments, &made, &why))
    return WRONG(m, "%s", why);
  return push(m, made);
}

/* BINPERSID: torch names its storages so. */
static mvs_status persistent(machine *m) {
  mvs_pickle_value id, made = {0};
  const char *why = "";
  MVS_TRY(pop(m, &id));
  if (!m->rules->load(m->rules->self, &id, &made, &why)) return WRONG(m, "%s", why);
  return push(m, made);
}

/* Attributes of an OrderedDict, such as a state_dict's versions of modules. */
static mvs_status build(machine *m) {
  mvs_pickle_value state, *of;
  MVS_TRY(pop(m, &state));
  if (state.kind != MVS_PICKLE_DICT) return REFUSED(m, "sets the state of an object");
  return top(m, MVS_PICKLE_DICT, &of);
}

/* --- instructions --- */

static mvs_status protocol(machine *m) {
  uint64_t number;
  MVS_TRY(take_count(m, 1, &number));
  if (number >= 2 && number <= NEWEST_PROTOCOL) return MVS_OK;
  return WRONG(m, "has protocol %d; 2 to %d are read", (int)number, NEWEST_PROTOCOL);
}

/* A frame says how much to read ahead, which is all there anyway. */
static mvs_status frame(machine *m) {
  uint64_t length;
  MVS_TRY(take_count(m, 8, &length));
  return length <= m->size - m->at ? MVS_OK : cut(m);
}

/* The letters are pickletools'. */
static mvs_status run_one(machine *m, unsigned char code) {
  switch (code) {
    case 0x80:
      return protocol(m);
    case 0x95:
      return frame(m);
    case '(':
      return push_kind(m, MVS_PICKLE_MARK, 0);
    case 'N':
      return push_kind(m, MVS_PICKLE_NONE, 0);
    case 0x88:
      return push_kind(m, MVS_PICKLE_BOOL, 1);
    case 0x89:
      return push_kind(m, MVS_PICKLE_BOOL, 0);
    case 'K':
      return integer(m, 1);
    case 'M':
      return integer(m, 2);
    case 'J':
      return integer(m, 4);
    case 0x8a:
      return long_integer(m);
    case 'G':
      return binary_float(m);
    case 0x8c:
      return text(m, 1);
    case 'X':
      return text(m, 4);
    case 0x8d:
      return text(m, 8);
    case ')':
      return push_empty(m, MVS_PICKLE_TUPLE);
    case ']':
      return push_empty(m, MVS_PICKLE_LIST);
    case '}':
      return push_empty(m, MVS_PICKLE_DICT);
    case 0x85:
      return short_tuple(m, 1);
    case 0x86:
      return short_tuple(m, 2);
    case 0x87:
      return short_tuple(m, 3);
    case 't':
      return marked_tuple(m);
    case 'a':
      return append_last(m, MVS_PICKLE_LIST);
    case 'e':
      return append_marked(m, MVS_PICKLE_LIST);
    case 's':
      return append_last(m, MVS_PICKLE_DICT);
    case 'u':
      return append_marked(m, MVS_PICKLE_DICT);
    case 'q':
      return binary_put(m, 1);
    case 'r':
      return binary_put(m, 4);
    case 0x94:
      return put(m, m->memo.count);
    case 'h':
      return binary_get(m, 1);
    case 'j':
      return binary_get(m, 4);
    case 'c':
      return global(m);
    case 0x93:
      return stack_global(m);
    case 'R':
      return reduce(m);
    case 'Q':
      return persistent(m);
    case 'b':
      return build(m);
    default:
      return REFUSED(m, "has the instruction 0x%02x", code);
  }
}

/* Ends at STOP, behind which nothing may stand. */
mvs_status mvs_pickle_read(mvs_arena *arena, mvs_diag *diag, const char *name,
                           const unsigned char *bytes, size_t size,
                           const mvs_pickle_rules *rules, mvs_pickle_value *out) {
  machine m = {
      .arena = arena, .diag = diag, .name = name, .bytes = bytes, .size = size, .rules = rules};
  for (int done = 0;; done++) {
    m.begin = m.at;
    if (done == MOST_INSTRUCTIONS)
      return WRONG(&m, "goes on behind %d instructions", MOST_INSTRUCTIONS);
    const unsigned char *code = take(&m, 1);
    if (!code) return cut(&m);
    if (*code == '.') break;
    MVS_TRY(run_one(&m, *code));
  }
  MVS_TRY(pop(&m, out));
  if (m.stack.count > 0) return WRONG(&m, "leaves more than one value");
  return m.at == size ? MVS_OK : WRONG(&m, "is followed by %zu bytes", size - m.at);
}
