/* feed.h: blocks of host data on their way to the device, ahead of the work that reads them.
 *
 * A block is written in staging memory, sent to a landing place beside the work in hand, and
 * taken: copied to the one place that the work reads, so that its addresses never change. There
 * are two slots of each, used in turn: one block can be written and sent while the work reads
 * the block before it. Blocks are taken in the order in which they were sent, whatever the
 * timing. Owner: the session. */
#ifndef MVS_RUNTIME_FEED_H
#define MVS_RUNTIME_FEED_H

#include "runtime/session.h"

/* Landing places, and blocks of staging memory. */
#define MVS_FEED_SLOTS 2

typedef struct mvs_feed mvs_feed;

/* Makes a feed of blocks of `bytes`. Device memory: three times that. errors : MVS_ERR_MEMORY
 */
mvs_status mvs_feed_new(mvs_session *session, int64_t bytes, mvs_feed **out);
/* Where the next block is to be written: host memory, once the block that it held has left. At
 * most one block may be sent and not yet taken. errors : MVS_ERR_DEVICE */
mvs_status mvs_feed_open(mvs_feed *feed, char **out);
/* Sends the block written since. */
void mvs_feed_send(mvs_feed *feed);
/* Work given to the device from now on finds the oldest block that was sent and not yet taken
 * in mvs_feed_place. */
void mvs_feed_take(mvs_feed *feed);
/* Device memory: the block taken last. */
char *mvs_feed_place(const mvs_feed *feed);

#endif
