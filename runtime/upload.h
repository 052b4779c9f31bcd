/* upload.h: much data to device memory in parts, each made on the host while the one before it
 * is on its way. Owner: the session. */
#ifndef MVS_RUNTIME_UPLOAD_H
#define MVS_RUNTIME_UPLOAD_H

#include "runtime/session.h"

typedef struct mvs_upload mvs_upload;

/* Prepares for parts of at most `bytes`. What is sent comes behind all work given so far.
 * errors : MVS_ERR_MEMORY */
mvs_status mvs_upload_new(mvs_session *session, int64_t bytes, mvs_upload **out);
/* Where the next part is to be written: host memory, once what it held has left.
 * errors : MVS_ERR_DEVICE */
mvs_status mvs_upload_open(mvs_upload *upload, void **part);
/* Sends the first `bytes` of the part written since. */
void mvs_upload_send(mvs_upload *upload, void *to, int64_t bytes);
/* Work given from now on finds everything in its place. */
void mvs_upload_end(mvs_upload *upload);

#endif
