#!/bin/sh
# The thread pool under ThreadSanitizer: its tests as they are, and that the sanitizer would have seen a missing order;
# and its tests where every thread is late: it is put aside ahead of each look at what others write.
# Two files are compiled for it; what the pool's threads run besides is generated code, which is not instrumented.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$root"
# -Wno-tsan: the sanitizer knows no fences, but those of the pool order atomics alone.
build() { gcc -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=thread -Wno-tsan -I. tests/unit/test_pool.c "$1" -o "$2" -lcmocka -lpthread; }
export TSAN_OPTIONS=halt_on_error=1
build runtime/pool.c "$work/pool"
# Random addresses may lie where the sanitizer cannot have them; where they cannot be turned off it runs all the same.
plainly=; setarch -R true 2>/dev/null && plainly="setarch -R"
# shellcheck disable=SC2086  # none or two words
if $plainly "$work/pool" >"$work/log" 2>&1; then echo "ok no race in the thread pool"; else echo "not ok no race in the thread pool"; tail -30 "$work/log"; fi
sed 's/&own->done, done, memory_order_release/\&own->done, done, memory_order_relaxed/' runtime/pool.c >"$work/broken.c"
if cmp -s runtime/pool.c "$work/broken.c"; then echo "not ok there is an order to leave out"; exit 0; fi
build "$work/broken.c" "$work/broken"
# shellcheck disable=SC2086
if $plainly "$work/broken" >"$work/log" 2>&1; then echo "not ok a missing order is seen"
elif grep -q 'WARNING: ThreadSanitizer: data race' "$work/log"; then echo "ok a missing order is seen"
else echo "not ok a missing order is seen"; tail -30 "$work/log"; fi

cat >"$work/late.h" <<'END'
#include <sched.h>
#include <stdatomic.h>
#undef atomic_load_explicit
#define atomic_load_explicit(from, order) (sched_yield(), __atomic_load_n(from, order))
END
gcc -std=gnu11 -D_GNU_SOURCE -O1 -include "$work/late.h" -I. tests/unit/test_pool.c runtime/pool.c -o "$work/late" -lcmocka -lpthread
if "$work/late" >"$work/log" 2>&1; then echo "ok threads that are late do nothing wrong"; else echo "not ok threads that are late do nothing wrong"; tail -30 "$work/log"; fi
