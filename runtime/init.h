/* init.h: parameters before the first step. */
#ifndef MVS_RUNTIME_INIT_H
#define MVS_RUNTIME_INIT_H

#include "runtime/session.h"

/* Fills the flat buffer by each parameter's rule. Element e of layer l of parameter number p is
 * drawn at position e of {seed, stream 2^31 + p, sample l}: streams of training draws are far
 * below. errors : MVS_ERR_LIMIT, MVS_ERR_INTERNAL for an unknown rule, MVS_ERR_MEMORY */
mvs_status mvs_init_params(mvs_session *session, uint32_t seed, float *flat);

#endif
