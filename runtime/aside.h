/* aside.h: work that goes on beside the rest: calls that only read what other calls have left
 * in memory and write into memory of their own, as diagnostics do. They are given to a lane of
 * their own, behind all work so far; later work waits for them only before it overwrites what
 * they read. So small kernels of the one fill the gaps that small kernels of the other leave.
 * On a device that does all work in one order, nothing here does anything.
 * Owner: the executor. */
#ifndef MVS_RUNTIME_ASIDE_H
#define MVS_RUNTIME_ASIDE_H

#include "runtime/device.h"

typedef struct mvs_aside mvs_aside;

/* Takes events of the device with the first call; free it before the device is closed. */
mvs_aside *mvs_aside_new(mvs_arena *arena, mvs_device *device);
/* Gives the events back. */
void mvs_aside_free(mvs_aside *aside);
/* Work from now on is done aside, behind all that was given before.
 * errors : MVS_ERR_DEVICE, MVS_ERR_MEMORY */
mvs_status mvs_aside_begin(mvs_aside *aside, mvs_diag *diag);
/* The work being given reads these bytes: none of the other work may overwrite them before. */
void mvs_aside_reads(mvs_aside *aside, const void *from, int64_t bytes);
/* Ends what was begun: work is given to the common order again. */
void mvs_aside_end(mvs_aside *aside);
/* To be told of every write of the other work before it is given. */
void mvs_aside_before_write(mvs_aside *aside, const void *to, int64_t bytes);
/* Whether some work aside has not been waited for, so that writes matter. */
bool mvs_aside_is_open(const mvs_aside *aside);
/* Work from now on comes behind all that was given aside. */
void mvs_aside_join(mvs_aside *aside);

#endif
