/* status.h: what a fallible call returns. The sentence for the user is in the mvs_diag. */
#ifndef MVS_BASE_STATUS_H
#define MVS_BASE_STATUS_H

typedef enum mvs_status {
  MVS_OK = 0,
  MVS_ERR_SYNTAX,  /* the model file does not parse */
  MVS_ERR_NAME,    /* an unknown, missing or duplicate name */
  MVS_ERR_SHAPE,   /* shapes, dtypes or segments do not fit */
  MVS_ERR_LIMIT,   /* a named limit or an arithmetic range was passed */
  MVS_ERR_FORMAT,  /* a data file is malformed */
  MVS_ERR_IO,      /* the operating system said no */
  MVS_ERR_MEMORY,  /* out of memory */
  MVS_ERR_STOPPED, /* a run that was watched fell, and was stopped */
  MVS_ERR_DEVICE,  /* a driver, compiler library or device call failed */
  MVS_ERR_INTERNAL /* a verifier rule failed: our mistake, not the user's */
} mvs_status;

/* Leaves the enclosing function with the status of `call` unless it is MVS_OK. */
#define MVS_TRY(call)                        \
  do {                                       \
    mvs_status mvs_try_ = (call);            \
    if (mvs_try_ != MVS_OK) return mvs_try_; \
  } while (0)

#endif
