/* data_shards.c: a folder of safetensors files (or one file) with x0 [N, ...] and
 * conditioning tensors [N, ...] of the same N. Files are mapped, so only what is read takes
 * memory.
 *
 * Samples are numbered through the shards in the order of their names. Shapes, dtypes and
 * integers of every shard are checked before the first step: a run must not fail at its
 * second epoch for what could be seen at once. Values are converted as they are copied into
 * the batch. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/data.h"
#include "runtime/inputs.h"

typedef struct shard {
  mvs_safetensors *file;
  int64_t first, count; /* samples before it, and in it */
} shard;

typedef struct shards {
  mvs_data source;
  mvs_session *session;
  MVS_LIST(shard) list;
} shards;

typedef MVS_LIST(const char *) name_list;

/* Binary search for the last shard that starts at or before the sample. */
static const shard *shard_of(const shards *all, int64_t sample) {
  size_t low = 0, high = all->list.count;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (all->list.items[middle].first <= sample) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return &all->list.items[low];
}

/* Tensors were checked: what is no float is an integer that fits. */
static void fill(mvs_data *data, const char *name, const int64_t *index, int64_t count,
                 void *out) {
  const shards *all = (const shards *)data;
  char *to = out;
  for (int64_t at = 0; at < count; at++) {
    const shard *from = shard_of(all, index[at]);
    const mvs_file_tensor *tensor = mvs_safetensors_find(from->file, name);
    int64_t elements = tensor->elements / from->count;
    int64_t first = (index[at] - from->first) * elements;
    if (!mvs_file_tensor_to_f32(tensor, first, elements, (float *)(void *)to))
      mvs_file_tensor_to_i32(tensor, first, elements, (int32_t *)(void *)to);
    to += elements * 4; /* f32 and i32 alike */
  }
}

/* [count] followed by the shape of one sample. */
static bool same_shape(const mvs_file_tensor *tensor, int64_t count, int rank,
                       const int64_t *shape) {
  if (tensor->rank != rank + 1 || tensor->shape[0] != count) return false;
  for (int at = 0; at < rank; at++)
    if (tensor->shape[at + 1] != shape[at]) return false;
  return true;
}

/* One sentence for floats where integers are wanted, the reverse, and integers that do not
 * fit. */
static mvs_status wrong_dtype(const shards *all, const shard *each,
                              const mvs_file_tensor *tensor, const char *wanted) {
  return MVS_FAIL(all->session->diag, MVS_ERR_SHAPE,
                  "'%s': tensor '%s' has dtype %s, the model needs %s", each->file->path,
                  tensor->name, mvs_file_dtype_name(tensor->dtype), wanted);
}

/* Integers are looked at now: a value that does not fit must not appear at step 40,000. */
static mvs_status check_integers(const shards *all, const shard *each,
                                 const mvs_file_tensor *tensor) {
  for (int64_t at = 0; at < tensor->elements; at++) {
    int32_t value;
    if (!mvs_file_tensor_to_i32(tensor, at, 1, &value))
      return wrong_dtype(all, each, tensor, "32-bit integers");
    MVS_TRY(mvs_inputs_check_labels(all->session, each->file, tensor, tensor->name, &value, 1));
  }
  return MVS_OK;
}

/* x0's leading extent is the shard's count; every other tensor must agree with it. */
static mvs_status check_shard(const shards *all, const shard *each, mvs_diag *diag,
                              const char *name, const char *dtype, int rank,
                              const int64_t *shape) {
  const mvs_file_tensor *tensor;
  mvs_arena *arena = all->session->arena;
  MVS_TRY(mvs_inputs_find(all->session, each->file, "", name, &tensor));
  if (!same_shape(tensor, each->count, rank, shape))
    return MVS_FAIL(diag, MVS_ERR_SHAPE,
                    "'%s': tensor '%s' is %s, the model needs %" PRId64 " samples of %s",
                    each->file->path, name, mvs_shape_text(arena, tensor->rank, tensor->shape),
                    each->count, mvs_shape_text(arena, rank, shape));
  bool wants_integers = strcmp(dtype, "i32") == 0;
  bool integers = mvs_file_dtype_is_integer(tensor->dtype);
  if (wants_integers != integers)
    return wrong_dtype(all, each, tensor, wants_integers ? "32-bit integers" : "floats");
  return integers ? check_integers(all, each, tensor) : MVS_OK;
}

/* Every shard, so that the message names the one at fault. */
static mvs_status check(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                        int rank, const int64_t *shape) {
  const shards *all = (const shards *)data;
  for (size_t at = 0; at < all->list.count; at++)
    MVS_TRY(check_shard(all, &all->list.items[at], diag, tensor, dtype, rank, shape));
  return MVS_OK;
}

/* Harmless when called twice. */
static void close_shards(mvs_data *data) {
  shards *all = (shards *)data;
  for (size_t at = 0; at < all->list.count; at++)
    mvs_safetensors_close(all->list.items[at].file);
  all->list.count = 0;
}

/* The shard is listed before it is complete, so that the closing of the list closes its file.
 */
static mvs_status add_shard(shards *all, const char *path) {
  mvs_session *session = all->session;
  mvs_safetensors *file;
  const mvs_file_tensor *x0;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &file));
  shard next = {.file = file, .first = all->source.count};
  MVS_PUSH(session->arena, &all->list, next);
  MVS_TRY(mvs_inputs_find(session, file, "", "x0", &x0));
  if (x0->rank < 1 || x0->shape[0] < 1)
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE, "'%s': tensor 'x0' holds no samples", path);
  all->list.items[all->list.count - 1].count = x0->shape[0];
  all->source.count += x0->shape[0];
  return MVS_OK;
}

/* Bytes, not the locale's order: the same on every machine. */
static int by_name(const void *left, const void *right) {
  return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The folder's *.safetensors by name, so that the numbering does not depend on the file system.
 */
static mvs_status list_folder(mvs_session *session, const char *path, name_list *names) {
  static const char suffix[] = ".safetensors";
  DIR *open = opendir(path);
  if (!open)
    return MVS_FAIL(session->diag, MVS_ERR_IO, "cannot read the folder '%s': %s", path,
                    strerror(errno));
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    size_t length = strlen(entry->d_name), tail = sizeof suffix - 1;
    if (entry->d_name[0] == '.' || length <= tail) continue;
    if (strcmp(entry->d_name + length - tail, suffix) != 0) continue;
    MVS_PUSH(session->arena, names,
             mvs_arena_format(session->arena, "%s/%s", path, entry->d_name));
  }
  closedir(open);
  if (!names->count)
    return MVS_FAIL(session->diag, MVS_ERR_IO, "the folder '%s' holds no .safetensors files",
                    path);
  qsort(names->items, names->count, sizeof *names->items, by_name);
  return MVS_OK;
}

/* On failure the shards opened so far are closed. */
mvs_status mvs_data_open_shards(mvs_session *session, const char *path, mvs_data **out) {
  shards *all = MVS_NEW(session->arena, shards);
  name_list names = {0};
  struct stat facts;
  *all = (shards){.session = session};
  all->source = (mvs_data){.name = path, .fill = fill, .check = check, .close = close_shards};
  if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode)) {
    MVS_TRY(list_folder(session, path, &names));
  } else {
    MVS_PUSH(session->arena, &names, path);
  }
  mvs_status status = MVS_OK;
  for (size_t at = 0; status == MVS_OK && at < names.count; at++)
    status = add_shard(all, names.items[at]);
  if (status != MVS_OK) {
    close_shards(&all->source);
    return status;
  }
  *out = &all->source;
  return MVS_OK;
}
