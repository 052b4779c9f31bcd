/* png.c: samples as a picture: a grid of images, written through libpng's simplified
 * interface.
 *
 * The grid is laid out first, from the number and size of the images, so its size can be
 * refused before anything is drawn. Each pixel then finds the image that covers it. Values
 * are mapped like the released model's own pictures: from -1 .. 1 to 0 .. 255, cut off at
 * both ends and truncated. */
#include "runtime/png.h"

#include <math.h>
#include <png.h>

#include "compiler/base/checked.h"
#include "compiler/base/output_file.h"
#include "runtime/fail.h"

/* An image is enlarged to at least this many pixels a side, so that 8x8 digits can be seen. */
#define SHOWN_PIXELS 48
#define MOST_PIXELS  16000 /* a side of the grid */
#define GAP          4     /* between images, in pixels */
#define GAP_GRAY     64

/* `scale` repeats every pixel in both directions. */
typedef struct grid {
  const float *images;
  int64_t count, channels, height, width; /* of the images */
  int64_t columns, rows, scale;
  int64_t out_width, out_height;
} grid;

/* Sizes are far below 64 bits: counts are limited by the option, shapes by the model. */
static grid lay_out(const float *images, int64_t count, int64_t channels, int64_t height,
                    int64_t width) {
  grid all = {.images = images,
              .count = count,
              .channels = channels,
              .height = height,
              .width = width,
              .scale = 1};
  int64_t longer = height > width ? height : width;
  if (longer < SHOWN_PIXELS) all.scale = (SHOWN_PIXELS + longer - 1) / longer;
  /* Ten a row suits labels that cycle through ten classes; more images make the grid square. */
  all.columns = count < 10 ? count : 10;
  if (count > 100) all.columns = (int64_t)ceil(sqrt((double)count) / 10) * 10;
  all.rows = (count + all.columns - 1) / all.columns;
  all.out_width = all.columns * (width * all.scale + GAP) + GAP;
  all.out_height = all.rows * (height * all.scale + GAP) + GAP;
  return all;
}

/* x * 0.5 + 0.5, times 255, clamped, truncated: as the released model does. */
static unsigned char byte_of(float value) {
  float scaled = (value * 0.5f + 0.5f) * 255;
  return scaled >= 255 ? 255 : scaled > 0 ? (unsigned char)scaled : 0;
}

/* The gray between the images, or the pixel of the image that covers this place. */
static unsigned char pixel_at(const grid *all, int64_t y, int64_t x, int64_t channel) {
  int64_t cell_height = all->height * all->scale + GAP,
          cell_width = all->width * all->scale + GAP;
  int64_t row = (y - GAP) / cell_height, column = (x - GAP) / cell_width;
  int64_t inner_y = (y - GAP) % cell_height / all->scale;
  int64_t inner_x = (x - GAP) % cell_width / all->scale;
  int64_t image = row * all->columns + column;
  bool gap = y < GAP || x < GAP || inner_y >= all->height || inner_x >= all->width;
  if (gap || column >= all->columns || image >= all->count) return GAP_GRAY;
  int64_t plane = image * all->channels + channel;
  return byte_of(all->images[(plane * all->height + inner_y) * all->width + inner_x]);
}

/* Row by row, channels innermost, as libpng takes it. */
static void render(const grid *all, unsigned char *pixels) {
  for (int64_t y = 0; y < all->out_height; y++)
    for (int64_t x = 0; x < all->out_width; x++)
      for (int64_t channel = 0; channel < all->channels; channel++)
        *pixels++ = pixel_at(all, y, x, channel);
}

/* Encodes into memory, so that the file itself is written in one safe way. */
static mvs_status encode(mvs_arena *arena, mvs_diag *diag, const char *path, const grid *all,
                         const unsigned char *pixels) {
  png_image image;
  memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  image.width = (png_uint_32)all->out_width;
  image.height = (png_uint_32)all->out_height;
  image.format = all->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  unsigned char *file = mvs_arena_alloc(arena, size);
  if (!png_image_write_to_memory(&image, file, &size, 0, pixels, 0, NULL))
    return MVS_FAIL(diag, MVS_ERR_IO, "cannot encode '%s': %s", path, image.message);
  return mvs_output_write(arena, diag, path, file, (int64_t)size);
}

/* The number of channels does not matter to the size. */
mvs_status mvs_png_check_grid(mvs_diag *diag, int64_t count, int64_t height, int64_t width) {
  grid all = lay_out(NULL, count, 1, height, width);
  if (all.out_width <= MOST_PIXELS && all.out_height <= MOST_PIXELS) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_LIMIT,
                  "a grid of %lld images would have %lldx%lld pixels; write fewer, or a "
                  ".safetensors file",
                  (long long)count, (long long)all.out_width, (long long)all.out_height);
}

/* The arena for the pixels goes with this call. */
mvs_status mvs_png_write_grid(mvs_diag *diag, const char *path, const float *images,
                              int64_t count, int64_t channels, int64_t height, int64_t width) {
  if (channels != 1 && channels != 3)
    return MVS_FAIL(diag, MVS_ERR_SHAPE,
                    "samples have %lld channels, a picture has 1 or 3; write them to a "
                    ".safetensors file",
                    (long long)channels);
  MVS_TRY(mvs_png_check_grid(diag, count, height, width));
  grid all = lay_out(images, count, channels, height, width);
  size_t bytes = (size_t)(all.out_width * all.out_height * channels);
  mvs_arena *scratch = mvs_arena_new();
  unsigned char *pixels = mvs_arena_alloc(scratch, bytes);
  render(&all, pixels);
  mvs_status status = encode(scratch, diag, path, &all, pixels);
  mvs_arena_free(scratch);
  return status;
}
