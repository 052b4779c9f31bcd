/* arena.h: bump allocation with one lifetime. Everything in an arena is freed together.
 * Owner: whoever called mvs_arena_new. Memory handed out is zeroed.
 * Failure: nothing here returns NULL. When the system has no memory left, control leaves by
 * longjmp to the place that the thread named with mvs_arena_on_oom; without one the process
 * aborts. */
#ifndef MVS_BASE_ARENA_H
#define MVS_BASE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

typedef struct mvs_arena mvs_arena;

/* Makes an empty arena. */
mvs_arena *mvs_arena_new(void);
/* Frees the arena and all that was allocated in it. NULL is allowed. */
void mvs_arena_free(mvs_arena *arena);
/* Names where control of this thread goes when memory runs out (longjmp with value 1), from any
 * arena; NULL: nowhere. Returns what was named before. A thread that has arenas names a place
 * of its own, since no jump leads from one thread to another. */
jmp_buf *mvs_arena_on_oom(jmp_buf *where);
/* malloc that leaves likewise instead of returning NULL: for libraries that take an allocator
 * and whose own words for a lack of memory are many or none. Freed with free. */
void *mvs_malloc(size_t bytes);
/* The bytes asked for by the request of this thread that failed last. */
size_t mvs_arena_oom_bytes(void);
/* Returns `size` zeroed bytes aligned for any type. */
void *mvs_arena_alloc(mvs_arena *arena, size_t size);
/* Returns count * size zeroed bytes; a product that overflows counts as out of memory. */
void *mvs_arena_array(mvs_arena *arena, size_t count, size_t size);
/* Copies `length` bytes of `text` and ends them with a NUL. */
char *mvs_arena_copy(mvs_arena *arena, const char *text, size_t length);
/* Copies a NUL-terminated string. */
char *mvs_arena_string(mvs_arena *arena, const char *text);
/* Formats into the arena like printf. */
char *mvs_arena_format(mvs_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same with the arguments as a list. */
char *mvs_arena_format_list(mvs_arena *arena, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));
/* Grows an array to hold at least count + 1 items; returns its (perhaps new) place. Items keep
 * their values; `*capacity` is updated. Use through MVS_PUSH. */
void *mvs_arena_grow(mvs_arena *arena, void *items, size_t item_size, size_t count,
                     size_t *capacity);

#define MVS_NEW(arena, type)          ((type *)mvs_arena_alloc((arena), sizeof(type)))
#define MVS_ARRAY(arena, count, type) ((type *)mvs_arena_array((arena), (count), sizeof(type)))
/* Appends `value` to the list {items, count, capacity} named `list`, all in `arena`. */
#define MVS_PUSH(arena, list, value)                                              \
  do {                                                                            \
    (list)->items = mvs_arena_grow((arena), (list)->items, sizeof *(list)->items, \
                                   (list)->count, &(list)->capacity);             \
    (list)->items[(list)->count++] = (value);                                     \
  } while (0)
/* Declares a growable list type for MVS_PUSH. */
#define MVS_LIST(type)      \
  struct {                  \
    type *items;            \
    size_t count, capacity; \
  }

#endif
