/* exhausted.h: what happens when LLVM finds no memory. Its frames cannot be left by longjmp and
 * it knows no way back; by itself it aborts. */
#ifndef MVS_HOST_EXHAUSTED_H
#define MVS_HOST_EXHAUSTED_H

/* Has `leave` called then, on whichever thread it is; it must end the process. Once a process.
 */
void mvs_host_on_oom(void (*leave)(void));

#endif
