/* cuda_algorithms.c: entries are few (one for each shape of product), so they stand in a list.
 *
 * As text: the GPU and library in the first line, then a line for each entry, the product and
 * its algorithm in hexadecimal, then their checksum. The driver is not in it: it does not
 * change what a kernel of the library computes. What is cached is keyed by the driver too,
 * since it may change what is fast. */
#include "runtime/cuda_algorithms.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "compiler/toolkit/cache.h"

#define WORDS       (sizeof(mvs_cuda_algorithm) / sizeof(uint64_t))
#define HEX         16 /* digits of a word */
#define CHECKED     "checksum "
#define LONGEST_KEY 256

typedef struct entry {
  const char *product;
  mvs_cuda_algorithm algorithm;
  mvs_cuda_origin origin;
} entry;

struct mvs_cuda_algorithms {
  mvs_arena *arena;
  const char *good_for, *driver; /* GPU and library; the driver's version */
  const char *folder;            /* of the cache; NULL: none */
  MVS_LIST(entry) entries;
};

mvs_cuda_algorithms *mvs_cuda_algorithms_new(const mvs_cuda_place *place, const char *library) {
  mvs_arena *arena = mvs_arena_new();
  mvs_cuda_algorithms *table = MVS_NEW(arena, mvs_cuda_algorithms);
  table->arena = arena;
  table->good_for = mvs_arena_format(arena, "%s, %s", place->model, library);
  table->driver = mvs_arena_string(arena, place->driver_text);
  table->folder = mvs_cache_folder(arena);
  return table;
}

void mvs_cuda_algorithms_free(mvs_cuda_algorithms *table) {
  if (table) mvs_arena_free(table->arena);
}

/* --- entries --- */

/* By the product's line, which holds all that the choice may depend on. */
static entry *find(mvs_cuda_algorithms *table, const char *product) {
  for (size_t at = 0; at < table->entries.count; at++)
    if (strcmp(table->entries.items[at].product, product) == 0)
      return &table->entries.items[at];
  return NULL;
}

static mvs_cache_key key_of(const mvs_cuda_algorithms *table, const char *product) {
  const char *parts[] = {"matmul algorithm", table->good_for, table->driver, product};
  return mvs_cache_key_of(parts, sizeof parts / sizeof *parts);
}

/* What this run has stands before what the cache has: a resumed run keeps its bits. */
bool mvs_cuda_algorithms_find(mvs_cuda_algorithms *table, const char *product,
                              mvs_cuda_algorithm *out, mvs_cuda_origin *origin) {
  const entry *known = find(table, product);
  mvs_cache_entry cached;
  if (known) {
    *out = known->algorithm;
    *origin = known->origin;
    return true;
  }
  if (!table->folder ||
      !mvs_cache_get(table->arena, table->folder, key_of(table, product), &cached) ||
      cached.size != sizeof *out)
    return false;
  memcpy(out, cached.data, sizeof *out);
  *origin = MVS_CUDA_CACHED;
  return true;
}

/* Only what was measured here is worth keeping for others. */
void mvs_cuda_algorithms_add(mvs_cuda_algorithms *table, const char *product,
                             const mvs_cuda_algorithm *algorithm, mvs_cuda_origin origin) {
  entry *old = find(table, product);
  entry fresh = {mvs_arena_string(table->arena, product), *algorithm, origin};
  if (old) {
    *old = fresh;
  } else {
    MVS_PUSH(table->arena, &table->entries, fresh);
  }
  const mvs_cache_entry cached = {algorithm, sizeof *algorithm, 0, 0};
  if (table->folder && origin == MVS_CUDA_MEASURED)
    mvs_cache_put(table->folder, key_of(table, product), &cached);
}

/* --- text --- */

const char *mvs_cuda_algorithms_text(mvs_cuda_algorithms *table) {
  mvs_text out = mvs_text_new(table->arena);
  mvs_text_addf(&out, "%s\n", table->good_for);
  for (size_t at = 0; at < table->entries.count; at++) {
    const entry *each = &table->entries.items[at];
    mvs_text_addf(&out, "%s ", each->product);
    for (size_t word = 0; word < WORDS; word++)
      mvs_text_addf(&out, "%016" PRIx64, each->algorithm.data[word]);
    mvs_text_add(&out, "\n");
  }
  const char *text = mvs_text_string(&out);
  return mvs_arena_format(table->arena, "%s" CHECKED "%016" PRIx64 "\n", text,
                          XXH3_64bits(text, strlen(text)));
}

/* Exactly so many digits, nothing else. */
static bool read_hex(const char *text, uint64_t *out) {
  *out = 0;
  for (int at = 0; at < HEX; at++) {
    const char *digits = "0123456789abcdef", *digit = strchr(digits, text[at]);
    if (!text[at] || !digit) return false;
    *out = *out << 4 | (uint64_t)(digit - digits);
  }
  return true;
}

/* A line of the text without its end: product, space, digits. */
static bool read_line(mvs_arena *arena, const char *line, size_t length, entry *out) {
  if (length < WORDS * HEX + 2 || length > LONGEST_KEY + WORDS * HEX) return false;
  size_t key = length - WORDS * HEX;
  for (size_t word = 0; word < WORDS; word++)
    if (!read_hex(line + key + word * HEX, &out->algorithm.data[word])) return false;
  out->product = mvs_arena_copy(arena, line, key - 1);
  out->origin = MVS_CUDA_OF_RUN;
  return line[key - 1] == ' ';
}

/* Where the checksum stands, or NULL when it is not that of what stands before it. */
static const char *checked_end(const char *text) {
  const char *end = strstr(text, "\n" CHECKED);
  uint64_t sum;
  if (!end || !read_hex(end + sizeof CHECKED, &sum)) return NULL;
  end++;
  return XXH3_64bits(text, (size_t)(end - text)) == sum ? end : NULL;
}

/* All entries or none: half a table would give other bits than the run had. */
bool mvs_cuda_algorithms_adopt(mvs_cuda_algorithms *table, const char *text, char *why) {
  const char *end = checked_end(text), *line = strchr(text, '\n');
  MVS_LIST(entry) taken = {0};
  snprintf(why, MVS_CUDA_WORDS, "the run's table of matmul algorithms is damaged");
  if (!end || !line) return false;
  size_t first = (size_t)(line - text);
  if (first != strlen(table->good_for) || strncmp(text, table->good_for, first) != 0) {
    snprintf(why, MVS_CUDA_WORDS, "the run's matmul algorithms are of %.*s, not of %s",
             first < 100 ? (int)first : 100, text, table->good_for);
    return false;
  }
  for (line++; line < end; line += strcspn(line, "\n") + 1) {
    entry each;
    if (!read_line(table->arena, line, strcspn(line, "\n"), &each)) return false;
    MVS_PUSH(table->arena, &taken, each);
  }
  for (size_t at = 0; at < taken.count; at++)
    mvs_cuda_algorithms_add(table, taken.items[at].product, &taken.items[at].algorithm,
                            MVS_CUDA_OF_RUN);
  return true;
}
