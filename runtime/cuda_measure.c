/* cuda_measure.c: trying and timing. A way is run in bursts of about a millisecond, between two
 * events; its time is the median of some bursts. A dozen ways take 50 to 100 ms. */
#include "runtime/cuda_measure.h"

#include <stdlib.h>

#define ROUNDS 5
/* A burst, in milliseconds and in launches. */
#define BURST_TIME  1.0f
#define MOST_BURSTS 32
/* Copies of the operands are as large as the cache this many times, where so many fit. */
#define CACHES      3
#define MOST_COPIES 8
/* Slower than the fastest by this factor after one round: not looked at again. */
#define HOPELESS 1.25f
/* The first way stays unless another takes less than this share of its time. */
#define WORTH 0.98f
/* Random bytes are made once and repeated; not a power of two, so rows differ. */
#define PATTERN ((int64_t)1 << 20 | 4352)
#define ALIGNED 256
/* Of a result so many stretches are compared, spread over all of it. Ways differ in how they
 * split sums, which shows everywhere. */
#define STRETCHES     16
#define STRETCH_BYTES ((int64_t)64 << 10)

typedef struct bench {
  const mvs_cuda_place *place;
  const mvs_measure *of;
  mvs_cuda_address scratch;
  int64_t copy_bytes;
  int copies, next;
  void *begin, *end;   /* events */
  char *first, *other; /* stretches of results, on the host */
  bool compared;       /* `first` is there */
} bench;

typedef struct trial {
  bool runs;
  int launches; /* of a burst */
  float times[ROUNDS], median;
} trial;

/* Copies of operands start as the allocator's memory does, so no way sees a worse place. */
static int64_t aligned(int64_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

/* --- operands --- */

/* bf16 numbers between -2 and 2, most of them small. Two of them are also one f32. */
static bool fill(const bench *b, int64_t bytes) {
  const mvs_cuda_driver *driver = b->place->driver;
  uint16_t *pattern = malloc(PATTERN);
  uint32_t state = 1;
  if (!pattern) return false;
  for (int64_t at = 0; at < PATTERN / 2; at++) {
    float sum = 0;
    uint32_t bits;
    for (int part = 0; part < 4; part++) {
      state = state * 1664525u + 1013904223u;
      sum += (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    memcpy(&bits, &sum, sizeof bits);
    pattern[at] = (uint16_t)(bits >> 16);
  }
  int64_t have = PATTERN < bytes ? PATTERN : bytes;
  int failed = driver->to_device(b->scratch, pattern, (size_t)have, b->place->stream);
  for (int64_t part; have < bytes && !failed; have += part) {
    part = have < bytes - have ? have : bytes - have;
    failed = driver->within(b->scratch + (mvs_cuda_address)have, b->scratch, (size_t)part,
                            b->place->stream);
  }
  failed = driver->stream_wait(b->place->stream) || failed;
  free(pattern);
  return !failed;
}

/* One copy of the operands must fit; more are wanted where they stay in the cache. */
static bool make_operands(bench *b) {
  const mvs_cuda_driver *driver = b->place->driver;
  int cache = 0;
  for (int at = 0; at < b->of->operands; at++) b->copy_bytes += aligned(b->of->bytes[at]);
  if (driver->device_attribute(&cache, MVS_CUDA_ATTRIBUTE_CACHE, b->place->ordinal) != 0)
    return false;
  int64_t copies = (int64_t)cache * CACHES / b->copy_bytes + 1;
  for (b->copies = copies < MOST_COPIES ? (int)copies : MOST_COPIES; b->copies > 0;
       b->copies /= 2) {
    int64_t bytes = b->copy_bytes * b->copies;
    if (driver->alloc(&b->scratch, (size_t)bytes) == 0) return fill(b, bytes);
  }
  return false;
}

/* --- timing --- */

/* Runs a way on the next copy of the operands. */
static int launch(bench *b, int way) {
  void *operands[MVS_MEASURE_OPERANDS];
  mvs_cuda_address at =
      b->scratch + (mvs_cuda_address)(b->copy_bytes * (b->next++ % b->copies));
  for (int each = 0; each < b->of->operands; each++) {
    operands[each] = (void *)(uintptr_t)at;
    at += (mvs_cuda_address)aligned(b->of->bytes[each]);
  }
  return b->of->run(b->of->user, way, operands);
}

/* Milliseconds of a launch, as the mean of a burst; below 0 when one failed. */
static float burst(bench *b, int way, int launches) {
  const mvs_cuda_driver *driver = b->place->driver;
  float milliseconds = 0;
  int failed = driver->event_record(b->begin, b->place->stream);
  for (int at = 0; at < launches && !failed; at++) failed = launch(b, way);
  if (!failed) failed = driver->event_record(b->end, b->place->stream);
  failed = driver->stream_wait(b->place->stream) || failed;
  if (!failed) failed = driver->event_elapsed(&milliseconds, b->begin, b->end);
  return failed ? -1.0f : milliseconds / (float)launches;
}

/* Reads stretches of the result in the first copy of the operands. */
static bool read_result(const bench *b, char *to) {
  const mvs_cuda_driver *driver = b->place->driver;
  int64_t bytes = b->of->bytes[b->of->result], offset = 0;
  int64_t stretch = bytes < STRETCH_BYTES ? bytes : STRETCH_BYTES;
  int failed = 0;
  for (int at = 0; at < b->of->result; at++) offset += aligned(b->of->bytes[at]);
  for (int at = 0; at < STRETCHES && !failed; at++) {
    int64_t from = offset + (bytes - stretch) / (STRETCHES - 1) * at;
    failed = driver->to_host(to + at * STRETCH_BYTES, b->scratch + (mvs_cuda_address)from,
                             (size_t)stretch, b->place->stream);
  }
  return driver->stream_wait(b->place->stream) == 0 && !failed;
}

/* Whether a way that just ran has the bits of the first one that did. */
static bool agrees(bench *b) {
  if (!b->compared) return b->compared = read_result(b, b->first);
  return read_result(b, b->other) && memcmp(b->first, b->other, STRETCHES * STRETCH_BYTES) == 0;
}

/* The first launch loads code; the second says how many make a burst. */
static void warm_up(bench *b, trial *trials) {
  for (int way = 0; way < b->of->ways; way++) {
    b->next = 0;
    bool runs = burst(b, way, 1) >= 0 && agrees(b);
    float once = runs ? burst(b, way, 1) : -1;
    int launches = once > 0 ? (int)(BURST_TIME / once) + 1 : MOST_BURSTS;
    trials[way].runs = once >= 0;
    trials[way].launches = launches < MOST_BURSTS ? launches : MOST_BURSTS;
  }
}

/* Times are finite: a burst that failed took its way out before. */
static int by_time(const void *left, const void *right) {
  float a = *(const float *)left, b = *(const float *)right;
  return a < b ? -1 : a > b;
}

/* Hopeless ways drop out after the first round, so they have no median. */
static void time_all(bench *b, trial *trials) {
  float least = 0;
  for (int round = 0; round < ROUNDS; round++) {
    for (int way = 0; way < b->of->ways; way++) {
      trial *of = &trials[way];
      if (!of->runs) continue;
      float time = of->times[round] = burst(b, way, of->launches);
      if (time < 0) of->runs = false;
      if (round == 0 && time > 0 && (least == 0 || time < least)) least = time;
    }
    for (int way = 0; way < b->of->ways && round == 0; way++)
      if (trials[way].times[0] > HOPELESS * least) trials[way].runs = false;
  }
  for (int way = 0; way < b->of->ways; way++) {
    qsort(trials[way].times, ROUNDS, sizeof *trials[way].times, by_time);
    trials[way].median = trials[way].times[ROUNDS / 2];
  }
}

/* Within the noise the library's own first choice stays, so that two measurements agree. */
static int choose(const trial *trials, int ways) {
  int best = -1;
  for (int way = 0; way < ways; way++)
    if (trials[way].runs && (best < 0 || trials[way].median < trials[best].median)) best = way;
  bool stays = best > 0 && trials[0].runs && trials[best].median > WORTH * trials[0].median;
  return stays ? 0 : best;
}

int mvs_cuda_fastest(const mvs_cuda_place *place, const mvs_measure *of) {
  const mvs_cuda_driver *driver = place->driver;
  bench b = {.place = place, .of = of};
  trial trials[MVS_MEASURE_WAYS] = {{0}};
  int best = -1;
  b.first = calloc(STRETCHES, STRETCH_BYTES);
  b.other = calloc(STRETCHES, STRETCH_BYTES);
  bool ready = b.first && b.other && driver->event_new(&b.begin, 0) == 0 &&
               driver->event_new(&b.end, 0) == 0 && make_operands(&b);
  if (ready) {
    warm_up(&b, trials);
    time_all(&b, trials);
    best = choose(trials, of->ways);
  }
  if (b.begin) driver->event_free(b.begin);
  if (b.end) driver->event_free(b.end);
  if (b.scratch) driver->release(b.scratch);
  free(b.first);
  free(b.other);
  return best;
}
