/* arena.c: a list of zeroed chunks with a bump pointer in the newest. Nothing is freed alone
 * and nothing moves, except a list that MVS_PUSH grows: it is extended where it stands as long
 * as it is the newest allocation, so that a text built in one go costs its length once, and
 * copied to a new place otherwise; the old place stays allocated. Lists double, so the waste is
 * at most what is used. Chunks come from calloc: big ones are zero pages that cost nothing
 * until they are touched. Running out is a longjmp, so no caller tests for NULL; what must be
 * released on the way (files, threads) is the business of whoever named the place. It is named
 * by thread and not by arena: an arena for one step or one file is made in a hundred places,
 * and each of them would have to hand on where its caller wants to go. */
#include "compiler/base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The first chunk is small because most arenas of the tests hold a few nodes only; chunks
 * double up to the largest so that a big graph needs few of them. */
#define FIRST_CHUNK    ((size_t)1 << 14)
#define LARGEST_CHUNK  ((size_t)1 << 22)
#define ALIGNMENT      _Alignof(max_align_t)
#define FIRST_CAPACITY 8

typedef struct chunk {
  struct chunk *next;
  size_t size, used;
  max_align_t data[];
} chunk;

struct mvs_arena {
  chunk *newest;
  size_t next_size;
};

/* Where to go when memory runs out, and what could not be had. */
static _Thread_local jmp_buf *on_oom;
static _Thread_local size_t oom_bytes;

jmp_buf *mvs_arena_on_oom(jmp_buf *where) {
  jmp_buf *before = on_oom;
  on_oom = where;
  return before;
}

size_t mvs_arena_oom_bytes(void) { return oom_bytes; }

/* Leaves by the longjmp the thread named: callers never see a failed allocation. */
static _Noreturn void out_of_memory(size_t bytes) {
  oom_bytes = bytes;
  if (on_oom) longjmp(*on_oom, 1);
  fputs("out of memory\n", stderr);
  abort();
}

void *mvs_malloc(size_t bytes) {
  void *memory = malloc(bytes + (bytes == 0));
  if (!memory) out_of_memory(bytes);
  return memory;
}

mvs_arena *mvs_arena_new(void) {
  mvs_arena *arena = calloc(1, sizeof *arena);
  if (!arena) out_of_memory(sizeof *arena);
  arena->next_size = FIRST_CHUNK;
  return arena;
}

void mvs_arena_free(mvs_arena *arena) {
  if (!arena) return;
  for (chunk *next, *each = arena->newest; each; each = next) {
    next = each->next;
    free(each);
  }
  free(arena);
}

/* A zeroed chunk that holds `size` bytes; the caller links it in. */
static chunk *chunk_new(size_t size) {
  if (size > SIZE_MAX - sizeof(chunk)) out_of_memory(size);
  chunk *fresh = calloc(1, sizeof(chunk) + size);
  if (!fresh) out_of_memory(size);
  fresh->size = size;
  return fresh;
}

/* Allocates what does not fit the newest chunk. A request that would fill most of a chunk gets
 * one of its own behind the newest, whose free rest stays in use. */
static void *alloc_slow(mvs_arena *arena, size_t size) {
  if (arena->newest && size > arena->next_size / 4) {
    chunk *own = chunk_new(size);
    own->used = size;
    own->next = arena->newest->next;
    arena->newest->next = own;
    return own->data;
  }
  chunk *fresh = chunk_new(size > arena->next_size ? size : arena->next_size);
  fresh->used = size;
  fresh->next = arena->newest;
  arena->newest = fresh;
  if (arena->next_size < LARGEST_CHUNK) arena->next_size *= 2;
  return fresh->data;
}

/* Sizes are rounded up to the alignment, so the bump pointer stays aligned; 0 bytes become one
 * unit, so that two allocations never share a place. */
void *mvs_arena_alloc(mvs_arena *arena, size_t size) {
  if (size > SIZE_MAX - ALIGNMENT) out_of_memory(size);
  size = (size + (size == 0) + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
  chunk *top = arena->newest;
  if (!top || size > top->size - top->used) return alloc_slow(arena, size);
  void *place = (char *)top->data + top->used;
  top->used += size;
  return place;
}

void *mvs_arena_array(mvs_arena *arena, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) out_of_memory(SIZE_MAX);
  return mvs_arena_alloc(arena, bytes);
}

char *mvs_arena_copy(mvs_arena *arena, const char *text, size_t length) {
  if (length == SIZE_MAX) out_of_memory(length);
  char *copy = mvs_arena_alloc(arena, length + 1);
  if (length) memcpy(copy, text, length);
  return copy;
}

char *mvs_arena_string(mvs_arena *arena, const char *text) {
  return mvs_arena_copy(arena, text, strlen(text));
}

char *mvs_arena_format_list(mvs_arena *arena, const char *format, va_list list) {
  va_list again;
  va_copy(again, list);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) return mvs_arena_string(arena, format);
  char *text = mvs_arena_alloc(arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, list);
  return text;
}

char *mvs_arena_format(mvs_arena *arena, const char *format, ...) {
  va_list list;
  va_start(list, format);
  char *text = mvs_arena_format_list(arena, format, list);
  va_end(list);
  return text;
}

/* Extends the newest allocation where it stands; false when other memory follows it. */
static bool grow_in_place(mvs_arena *arena, void *items, size_t old, size_t fresh) {
  chunk *top = arena->newest;
  size_t rounded = (old + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
  if (!top || rounded > top->used) return false;
  size_t begin = top->used - rounded;
  if ((char *)top->data + begin != (char *)items) return false;
  if (fresh > top->size - begin) return false;
  rounded = (fresh + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
  if (rounded > top->size - begin) return false;
  top->used = begin + rounded;
  return true;
}

/* A capacity of 0 starts at FIRST_CAPACITY, any other doubles; `old` is the bytes in use
 * before, which are all that may be copied. */
void *mvs_arena_grow(mvs_arena *arena, void *items, size_t item_size, size_t count,
                     size_t *capacity) {
  if (count < *capacity) return items;
  size_t wanted = *capacity < FIRST_CAPACITY ? FIRST_CAPACITY : *capacity, bytes;
  if (wanted > SIZE_MAX / 2 || count == SIZE_MAX) out_of_memory(SIZE_MAX);
  wanted = *capacity < FIRST_CAPACITY ? wanted : wanted * 2;
  if (wanted < count + 1) wanted = count + 1;
  if (__builtin_mul_overflow(wanted, item_size, &bytes)) out_of_memory(SIZE_MAX);
  size_t old = *capacity * item_size;
  if (!items || !old || !grow_in_place(arena, items, old, bytes)) {
    void *place = mvs_arena_alloc(arena, bytes);
    if (old) memcpy(place, items, old);
    items = place;
  }
  *capacity = wanted;
  return items;
}
