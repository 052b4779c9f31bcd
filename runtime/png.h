/* png.h: samples as a picture: a grid of images. */
#ifndef MVS_RUNTIME_PNG_H
#define MVS_RUNTIME_PNG_H

#include <stdint.h>

#include "compiler/base/diag.h"

/* Writes images [count, channels, height, width] with values from -1 (black) to 1 (white) as a
 * grid, about as wide as high; small images are enlarged by a whole factor.
 * errors : MVS_ERR_SHAPE unless channels is 1 or 3, MVS_ERR_LIMIT, MVS_ERR_IO */
mvs_status mvs_png_write_grid(mvs_diag *diag, const char *path, const float *images,
                              int64_t count, int64_t channels, int64_t height, int64_t width);
/* Whether such a grid is small enough for a picture, asked before the images are made.
 * errors : MVS_ERR_LIMIT */
mvs_status mvs_png_check_grid(mvs_diag *diag, int64_t count, int64_t height, int64_t width);

#endif
