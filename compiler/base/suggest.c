/* suggest.c: the likeliest correct spelling of a name, for hints. The nearest candidate by edit
 * distance, where one insertion, deletion, change or swap of neighbours counts as one mistake.
 * A hint is only worth printing when it is surely right, so the distance allowed grows slowly
 * with the name and never reaches its whole length. Of equally near candidates the first wins:
 * callers list the innermost scope first. */
#include "compiler/base/diag.h"

#define LONGEST_NAME 63

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edit distance with swaps of neighbours (optimal string alignment), in three rows. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
  size_t rows[3][LONGEST_NAME + 1];
  for (size_t j = 0; j <= b_length; j++) rows[0][j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = least(change, least(above[j], row[j - 1]) + 1);
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = least(row[j], higher[j - 2] + 1);
    }
  }
  return rows[a_length % 3][b_length];
}

const char *mvs_suggest(const char *name, const char *const *candidates, size_t count) {
  size_t length = strlen(name);
  if (length == 0 || length > LONGEST_NAME) return NULL;
  /* One mistake in three letters: more than that is another word, not a misspelling. */
  size_t allowed = length < 4 ? 1 : length / 3;
  const char *best = NULL;
  for (size_t at = 0; at < count; at++) {
    size_t other = strlen(candidates[at]);
    if (other == 0 || other > LONGEST_NAME) continue;
    size_t distance = edit_distance(name, length, candidates[at], other);
    if (distance > allowed || distance >= other || distance >= length) continue;
    if (best && distance == allowed) continue;
    best = candidates[at];
    allowed = distance;
    if (distance == 0) break;
  }
  return best;
}
