/* data_digits.c: the 1,797 handwritten digits of UCI's test set, 8x8 pixels with values
 * 0..16, held in the program. x0 is [1, 8, 8] in -1 .. 1, the label 0 .. 9.
 *
 * The file is a gzipped CSV, 64 pixels and a class a line, unpacked and parsed when it is
 * opened: half a megabyte of floats. It is part of the program, so a fault in it is our own,
 * not the user's. */
#include <stdlib.h>
#include <zlib.h>

#include "runtime/data.h"
#include "runtime/safetensors.h"

#define PIXELS     64
#define COLUMNS    (PIXELS + 1)
#define MOST_BYTES ((size_t)16 << 20) /* the file has 265 kB */

/* Made by cmake/embed.cmake. */
extern const struct {
  const char *name;
  const unsigned char *data;
  unsigned long size;
} mvs_datasets[];

typedef struct digits {
  mvs_data source;
  float *pixels;   /* [count, 64] */
  int32_t *labels; /* [count] */
} digits;

/* Samples are copied as they lie; labels one by one. */
static void fill(mvs_data *data, const char *tensor, const int64_t *index, int64_t count,
                 void *out) {
  const digits *all = (const digits *)data;
  for (int64_t at = 0; at < count; at++) {
    if (strcmp(tensor, "x0") == 0) {
      memcpy((float *)out + at * PIXELS, all->pixels + index[at] * PIXELS,
             PIXELS * sizeof(float));
    } else {
      ((int32_t *)out)[at] = all->labels[index[at]];
    }
  }
}

/* Any integer input with one element per sample takes the label. */
static mvs_status check(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                        int rank, const int64_t *shape) {
  (void)data;
  int64_t elements = 1;
  for (int at = 0; at < rank; at++) elements *= shape[at];
  if (strcmp(tensor, "x0") != 0) {
    if (strcmp(dtype, "i32") == 0 && elements == 1) return MVS_OK;
    return MVS_FAIL(
        diag, MVS_ERR_NAME,
        "data 'digits' has x0 and an integer label, but the model is conditioned on "
        "'%s' (%s)",
        tensor, dtype);
  }
  bool fits = rank == 3 && shape[0] == 1 && shape[1] == 8 && shape[2] == 8;
  if (fits && strcmp(dtype, "f32") == 0) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_SHAPE,
                  "data 'digits' has x0 f32[1, 8, 8], the model needs %s with %lld elements",
                  dtype, (long long)elements);
}

/* Also takes one that was only half parsed. */
static void close_digits(mvs_data *data) {
  digits *all = (digits *)data;
  free(all->pixels);
  free(all->labels);
  free(all);
}

/* Unpacks the embedded gzip into a text of its own; NULL when it is damaged or memory is out.
 */
static char *unpack(const unsigned char *data, size_t size) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  char *text = malloc(MOST_BYTES + 1);
  if (!text || inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    free(text);
    return NULL;
  }
  stream.next_in = (Bytef *)(uintptr_t)data;
  stream.avail_in = (uInt)size;
  stream.next_out = (Bytef *)text;
  stream.avail_out = (uInt)MOST_BYTES;
  int result = inflate(&stream, Z_FINISH);
  text[stream.total_out] = '\0';
  inflateEnd(&stream);
  if (result == Z_STREAM_END) return text;
  free(text);
  return NULL;
}

/* Each line ends with a newline, the last one too. */
static int64_t count_lines(const char *text) {
  int64_t lines = 0;
  for (; *text; text++) lines += *text == '\n';
  return lines;
}

/* Reads one row of 65 numbers; NULL when it is malformed. */
static const char *read_row(const char *at, float *pixels, int32_t *label) {
  for (int column = 0; column < COLUMNS; column++) {
    char *end;
    long value = strtol(at, &end, 10);
    if (end == at || value < 0 || value > 16) return NULL;
    if (column < PIXELS) {
      pixels[column] = (float)value / 8 - 1;
    } else {
      *label = (int32_t)value;
    }
    at = *end == ',' || *end == '\n' ? end + 1 : end;
  }
  return at;
}

/* False on the first malformed row; what was read so far is freed by the caller. */
static bool parse(digits *all, const char *text) {
  int64_t rows = count_lines(text);
  all->pixels = malloc((size_t)rows * PIXELS * sizeof *all->pixels + 1);
  all->labels = malloc((size_t)rows * sizeof *all->labels + 1);
  if (!all->pixels || !all->labels) return false;
  for (; all->source.count < rows; all->source.count++) {
    int64_t row = all->source.count;
    text = read_row(text, all->pixels + row * PIXELS, all->labels + row);
    if (!text) return false;
  }
  return rows > 0;
}

/* From the heap, not the arena: the source is closed before the session ends. */
mvs_status mvs_data_open_digits(mvs_session *session, mvs_data **out) {
  digits *all = calloc(1, sizeof *all);
  char *text = NULL;
  for (int at = 0; mvs_datasets[at].name; at++)
    if (strcmp(mvs_datasets[at].name, "digits.csv.gz") == 0)
      text = unpack(mvs_datasets[at].data, mvs_datasets[at].size);
  if (!all || !text || !parse(all, text)) {
    free(text);
    if (all) close_digits(&all->source);
    return MVS_FAIL(session->diag, MVS_ERR_INTERNAL, "internal: the digits do not unpack");
  }
  free(text);
  all->source.name = "digits";
  all->source.fill = fill;
  all->source.check = check;
  all->source.close = close_digits;
  *out = &all->source;
  return MVS_OK;
}
