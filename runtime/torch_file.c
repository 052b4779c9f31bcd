/* torch_file.c: from an archive to tensors.
 *
 * The pickle may name seven functions and types of torch and collections; what it builds with
 * them is data of ours, checked as it is made: a tensor comes into being only when its
 * farthest element lies in its storage, and a storage only when it is an entry of the archive
 * with as many bytes as it says. The tree of dicts is then walked once. A hostile pickle can
 * put one dict in many places, or in itself: depth, visits and letters are bounded. */
#include "runtime/torch_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/checked.h"
#include "compiler/base/input_file.h"
#include "runtime/fail.h"
#include "runtime/pickle.h"
#include "runtime/zip_entries.h"

#define MOST_PICKLE  ((size_t)16 << 20) /* some 100,000 tensors */
#define MOST_LETTERS ((size_t)64 << 20) /* of all names */
#define MOST_VISITS  ((size_t)1 << 20)  /* of places in dicts and lists */
#define LONGEST_KEY  1000

/* What may be asked for. Storages say the dtype, and are never called. */
typedef enum global { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE } global;

static const struct {
  const char *module, *name;
  global what;
  mvs_file_dtype dtype;
} globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0},
    {"torch", "FloatStorage", STORAGE, MVS_FILE_F32},
    {"torch", "HalfStorage", STORAGE, MVS_FILE_F16},
    {"torch", "BFloat16Storage", STORAGE, MVS_FILE_BF16},
    {"torch", "DoubleStorage", STORAGE, MVS_FILE_F64},
    {"torch", "LongStorage", STORAGE, MVS_FILE_I64},
    {"torch", "IntStorage", STORAGE, MVS_FILE_I32},
    {"torch", "ShortStorage", STORAGE, MVS_FILE_I16},
    {"torch", "CharStorage", STORAGE, MVS_FILE_I8},
    {"torch", "ByteStorage", STORAGE, MVS_FILE_U8},
    {"torch", "BoolStorage", STORAGE, MVS_FILE_BOOL},
};

/* What an OBJECT of the pickle is. */
enum { OBJECT_STORAGE, OBJECT_TENSOR };

typedef struct storage {
  mvs_file_dtype dtype;
  int64_t elements;
  const unsigned char *bytes;
} storage;

typedef struct reader {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_safetensors *file;
  mvs_zip_entries entries;
  const char *root; /* "NAME/", in front of all entries that count */
  MVS_LIST(mvs_file_tensor) tensors;
  size_t letters, visits;
} reader;

/* --- the pickle's requests --- */

/* Texts of a pickle have no NUL at their end. */
static bool same(const char *words, const char *text, size_t length) {
  return strlen(words) == length && memcmp(words, text, length) == 0;
}

/* Exact names alone: a table of a dozen rows needs no more, and nothing that only looks like
 * one of torch passes. */
static int find(const char *module, size_t module_length, const char *name,
                size_t name_length) {
  for (size_t at = 0; at < sizeof globals / sizeof *globals; at++)
    if (same(globals[at].module, module, module_length) &&
        same(globals[at].name, name, name_length))
      return (int)at;
  return -1;
}

/* So that a check is one line. */
static bool say(const char **why, const char *words) {
  *why = words;
  return false;
}

/* ("storage", TYPE, "KEY", "cpu", elements) */
static bool load(void *self, const mvs_pickle_value *id, mvs_pickle_value *out,
                 const char **why) {
  reader *in = self;
  const mvs_pickle_value *part = id->kind == MVS_PICKLE_TUPLE ? id->items->items : NULL;
  if (!part || id->items->count != 5 || !mvs_pickle_is_text(&part[0], "storage") ||
      part[1].kind != MVS_PICKLE_GLOBAL || globals[part[1].integer].what != STORAGE ||
      part[2].kind != MVS_PICKLE_TEXT || part[2].length > LONGEST_KEY ||
      part[4].kind != MVS_PICKLE_INTEGER || part[4].integer < 0)
    return say(why, "names no storage of a tensor");
  /* Not in the arena: a pickle may ask for one storage a million times. */
  char entry[LONGEST_KEY + MVS_ZIP_LONGEST_NAME];
  int length =
      snprintf(entry, sizeof entry, "%sdata/%.*s", in->root, (int)part[2].length, part[2].text);
  bool fits = length > 0 && (size_t)length < sizeof entry;
  const mvs_zip_entry *found = fits ? mvs_zip_find(&in->entries, entry) : NULL;
  if (!found) return say(why, "names a storage that is not in the archive");
  storage *made = MVS_NEW(in->arena, storage);
  *made = (storage){globals[part[1].integer].dtype, part[4].integer, found->bytes};
  int64_t bytes;
  if (!mvs_mul(made->elements, mvs_file_dtype_size(made->dtype), &bytes) ||
      (uint64_t)bytes != found->size)
    return say(why, "names a storage whose size is not that of its entry");
  *out =
      (mvs_pickle_value){.kind = MVS_PICKLE_OBJECT, .integer = OBJECT_STORAGE, .object = made};
  return true;
}

/* Natural numbers, at most as many as a tensor has axes. */
static bool extents_of(const mvs_pickle_value *value, int64_t *out, int *count) {
  if (value->kind != MVS_PICKLE_TUPLE || value->items->count > MVS_SAFETENSORS_MAX_RANK)
    return false;
  *count = (int)value->items->count;
  for (int at = 0; at < *count; at++) {
    const mvs_pickle_value *each = &value->items->items[at];
    if (each->kind != MVS_PICKLE_INTEGER || each->integer < 0) return false;
    out[at] = each->integer;
  }
  return true;
}

/* The index of the last element, within the storage. Extents and strides are natural. */
static bool lies_within(const mvs_file_tensor *tensor, const int64_t *strides, int64_t first,
                        int64_t elements) {
  int64_t last = first, step;
  if (tensor->elements == 0) return first <= elements;
  for (int axis = 0; axis < tensor->rank; axis++)
    if (!mvs_mul(tensor->shape[axis] - 1, strides[axis], &step) || !mvs_add(last, step, &last))
      return false;
  return last < elements;
}

/* Strides of rows that lie one behind the other; those of axes of extent 1 do not count. */
static bool is_contiguous(const mvs_file_tensor *tensor, const int64_t *strides) {
  int64_t wanted = 1;
  for (int axis = tensor->rank - 1; axis >= 0; axis--) {
    if (tensor->shape[axis] != 1 && strides[axis] != wanted) return false;
    wanted *= tensor->shape[axis];
  }
  return true;
}

/* (storage, offset, shape, strides, ...): what follows says nothing about values. */
static bool rebuild_tensor(reader *in, const mvs_pickle_items *arguments, mvs_pickle_value *out,
                           const char **why) {
  const mvs_pickle_value *part = arguments->items;
  int64_t strides[MVS_SAFETENSORS_MAX_RANK];
  int stride_count;
  mvs_file_tensor *tensor = MVS_NEW(in->arena, mvs_file_tensor);
  if (arguments->count < 4 || part[0].kind != MVS_PICKLE_OBJECT ||
      part[0].integer != OBJECT_STORAGE || part[1].kind != MVS_PICKLE_INTEGER ||
      part[1].integer < 0 || !extents_of(&part[2], tensor->shape, &tensor->rank) ||
      !extents_of(&part[3], strides, &stride_count) || stride_count != tensor->rank)
    return say(why, "makes no tensor of up to 8 axes");
  const storage *from = part[0].object;
  tensor->dtype = from->dtype;
  tensor->elements = 1;
  for (int at = 0; at < tensor->rank; at++)
    if (!mvs_mul(tensor->elements, tensor->shape[at], &tensor->elements))
      return say(why, "makes a tensor with more elements than 64 bits count");
  if (!lies_within(tensor, strides, part[1].integer, from->elements))
    return say(why, "makes a tensor that lies outside its storage");
  tensor->data = from->bytes + part[1].integer * mvs_file_dtype_size(from->dtype);
  if (tensor->elements > 0 && !is_contiguous(tensor, strides)) {
    int64_t *kept = MVS_ARRAY(in->arena, MVS_SAFETENSORS_MAX_RANK, int64_t);
    memcpy(kept, strides, sizeof strides[0] * (size_t)tensor->rank);
    tensor->strides = kept;
  }
  *out =
      (mvs_pickle_value){.kind = MVS_PICKLE_OBJECT, .integer = OBJECT_TENSOR, .object = tensor};
  return true;
}

/* A parameter is its tensor. An OrderedDict is made empty, or of a list of pairs by Python 2:
 * that one is not read. */
static bool call(void *self, int number, const mvs_pickle_value *arguments,
                 mvs_pickle_value *out, const char **why) {
  reader *in = self;
  const mvs_pickle_items *given = arguments->items;
  switch (globals[number].what) {
    case ORDERED_DICT:
      if (given->count > 0) return say(why, "fills an OrderedDict as it makes it");
      *out = (mvs_pickle_value){.kind = MVS_PICKLE_DICT,
                                .items = MVS_NEW(in->arena, mvs_pickle_items)};
      return true;
    case REBUILD_TENSOR:
      return rebuild_tensor(in, given, out, why);
    case REBUILD_PARAMETER:
      if (given->count < 1 || given->items[0].kind != MVS_PICKLE_OBJECT ||
          given->items[0].integer != OBJECT_TENSOR)
        return say(why, "makes a parameter of what is no tensor");
      *out = given->items[0];
      return true;
    default:
      return say(why, "calls a type of storages");
  }
}

/* --- names --- */

/* Dicts hold values that hold dicts. */
static mvs_status visit(reader *in, const char *prefix, int depth,
                        const mvs_pickle_value *value);

/* Keys are strings, or the numbers of an optimizer's states. NULL: no key that names. */
static const char *join(const reader *in, const char *prefix, const mvs_pickle_value *key) {
  const char *slash = *prefix ? "/" : "";
  if (key->kind == MVS_PICKLE_INTEGER)
    return mvs_arena_format(in->arena, "%s%s%" PRId64, prefix, slash, key->integer);
  if (key->kind != MVS_PICKLE_TEXT || key->length > LONGEST_KEY) return NULL;
  if (memchr(key->text, 0, key->length)) return NULL;
  return mvs_arena_format(in->arena, "%s%s%.*s", prefix, slash, (int)key->length, key->text);
}

/* A state_dict holds numbers beside tensors, and a checkpoint options and strings: those need
 * no key that names, and are passed over. */
static mvs_status visit_key(reader *in, const char *prefix, int depth,
                            const mvs_pickle_value *key, const mvs_pickle_value *value) {
  bool holds = value->kind == MVS_PICKLE_DICT || value->kind == MVS_PICKLE_LIST ||
               value->kind == MVS_PICKLE_TUPLE || value->kind == MVS_PICKLE_OBJECT;
  if (!holds) return MVS_OK;
  const char *name = join(in, prefix, key);
  if (!name)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT,
                    "'%s' is malformed: a key is neither a number nor up to %d letters",
                    in->file->path, LONGEST_KEY);
  in->letters += strlen(name);
  return visit(in, name, depth, value);
}

/* Lists and tuples count their items, as paths of an optimizer's state do. */
static mvs_status visit_items(reader *in, const char *prefix, int depth,
                              const mvs_pickle_value *of) {
  const mvs_pickle_items *all = of->items;
  size_t step = of->kind == MVS_PICKLE_DICT ? 2 : 1;
  in->visits += all->count;
  for (size_t at = 0; at + step <= all->count; at += step) {
    mvs_pickle_value place = {.kind = MVS_PICKLE_INTEGER, .integer = (int64_t)at};
    const mvs_pickle_value *key = step == 2 ? &all->items[at] : &place;
    MVS_TRY(visit_key(in, prefix, depth, key, &all->items[at + step - 1]));
  }
  return MVS_OK;
}

/* Limits are looked at on the way down, where a value that holds itself comes by each time. A
 * tensor of two names (tied weights) is there twice, with the same bytes. */
static mvs_status visit(reader *in, const char *prefix, int depth,
                        const mvs_pickle_value *value) {
  if (depth > MVS_MAX_NESTING || in->visits > MOST_VISITS || in->letters > MOST_LETTERS)
    return MVS_FAIL(in->diag, MVS_ERR_LIMIT,
                    "'%s' is malformed: its dicts nest too deeply or too often",
                    in->file->path);
  if (value->kind != MVS_PICKLE_OBJECT) return visit_items(in, prefix, depth + 1, value);
  if (value->integer != OBJECT_TENSOR) return MVS_OK;
  mvs_file_tensor tensor = *(const mvs_file_tensor *)value->object;
  tensor.name = *prefix ? prefix : "tensor";
  MVS_PUSH(in->arena, &in->tensors, tensor);
  return MVS_OK;
}

static int by_name(const void *left, const void *right) {
  const mvs_file_tensor *a = left, *b = right;
  return strcmp(a->name, b->name);
}

/* In the order in which they are found, and each name once. */
static mvs_status name_tensors(reader *in, const mvs_pickle_value *top) {
  bool holds = top->kind == MVS_PICKLE_DICT || top->kind == MVS_PICKLE_LIST ||
               top->kind == MVS_PICKLE_TUPLE || top->kind == MVS_PICKLE_OBJECT;
  if (holds) MVS_TRY(visit(in, "", 0, top));
  mvs_safetensors *file = in->file;
  file->tensors = in->tensors.items;
  file->count = in->tensors.count;
  if (!file->count)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' holds no tensors", file->path);
  qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
  for (size_t at = 1; at < file->count; at++)
    if (strcmp(file->tensors[at - 1].name, file->tensors[at].name) == 0)
      return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' is malformed: tensor '%s' is there twice",
                      file->path, file->tensors[at].name);
  return MVS_OK;
}

/* --- the archive --- */

/* All entries stand in one folder, called as the file was when it was written. */
static const mvs_zip_entry *find_pickle(reader *in) {
  static const char name[] = "/data.pkl";
  for (size_t at = 0; at < in->entries.count; at++) {
    const mvs_zip_entry *entry = &in->entries.items[at];
    const char *slash = strchr(entry->name, '/');
    if (!slash || strcmp(slash, name) != 0) continue;
    in->root = mvs_arena_copy(in->arena, entry->name, (size_t)(slash + 1 - entry->name));
    return entry;
  }
  return NULL;
}

/* Files of before PyTorch 2.0 do not say: those are little-endian. */
static mvs_status check_order(const reader *in) {
  static const char little[] = "little";
  const char *name = mvs_arena_format(in->arena, "%sbyteorder", in->root);
  const mvs_zip_entry *order = mvs_zip_find(&in->entries, name);
  if (!order || same(little, (const char *)order->bytes, order->size)) return MVS_OK;
  return MVS_FAIL(in->diag, MVS_ERR_FORMAT, "'%s' was written by a big-endian machine",
                  in->file->path);
}

/* Entries first, since the pickle's storages are looked up in them as they are made. */
static mvs_status read_archive(reader *in) {
  mvs_safetensors *file = in->file;
  MVS_TRY(mvs_zip_list(in->arena, in->diag, file->path, &file->map, &in->entries));
  const mvs_zip_entry *pickle = find_pickle(in);
  if (!pickle)
    return MVS_FAIL(in->diag, MVS_ERR_FORMAT,
                    "'%s' is a zip archive, but torch.save did not write it (no data.pkl)",
                    file->path);
  MVS_TRY(check_order(in));
  if (pickle->size > MOST_PICKLE)
    return MVS_FAIL(in->diag, MVS_ERR_LIMIT, "'%s': its pickle has %zu bytes, the limit is %zu",
                    file->path, pickle->size, MOST_PICKLE);
  const mvs_pickle_rules rules = {.self = in, .find = find, .call = call, .load = load};
  const char *name = mvs_arena_format(in->arena, "'%s'", file->path);
  mvs_pickle_value top;
  MVS_TRY(
      mvs_pickle_read(in->arena, in->diag, name, pickle->bytes, pickle->size, &rules, &top));
  return name_tensors(in, &top);
}

/* --- */

static const unsigned char zip_start[] = {'P', 'K', 3, 4};
/* A pickle of a number that torch.save wrote first, up to PyTorch 1.5. */
static const unsigned char old_start[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool starts_with(const void *bytes, size_t size, const void *start, size_t length) {
  return size >= length && memcmp(bytes, start, length) == 0;
}

/* A file that cannot be read is none: who opens it next will say why. */
bool mvs_torch_file_is(const char *path) {
  unsigned char start[sizeof old_start];
  int64_t bytes;
  const char *why;
  int descriptor = mvs_input_open(path, &bytes, &why);
  if (descriptor < 0) return false;
  ssize_t got = read(descriptor, start, sizeof start);
  close(descriptor);
  size_t size = got > 0 ? (size_t)got : 0;
  return starts_with(start, size, zip_start, sizeof zip_start) ||
         starts_with(start, size, old_start, sizeof old_start);
}

/* *out is NULL on every failure. */
mvs_status mvs_torch_file_open(mvs_arena *arena, mvs_diag *diag, const char *path,
                               mvs_safetensors **out) {
  *out = NULL;
  reader in = {.arena = arena, .diag = diag, .file = MVS_NEW(arena, mvs_safetensors)};
  mvs_safetensors *file = in.file;
  file->path = mvs_arena_string(arena, path);
  MVS_TRY(mvs_file_map_open(diag, path, &file->map));
  mvs_status status;
  if (starts_with(file->map.bytes, file->map.size, old_start, sizeof old_start)) {
    status = MVS_FAIL(diag, MVS_ERR_FORMAT,
                      "'%s' has the format of before PyTorch 1.6, which is not read", path);
    mvs_diag_hint(diag,
                  "load it in PyTorch and save it anew: torch.save(torch.load(OLD), NEW)");
  } else {
    status = read_archive(&in);
  }
  if (status == MVS_OK) {
    *out = file;
  } else {
    mvs_safetensors_close(file);
  }
  return status;
}
