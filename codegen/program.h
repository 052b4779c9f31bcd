/* program.h: the compiled program, the one header of codegen that the runtime sees. The tables
 * are program.proto's, read and written by protobuf-c; this adds the host kernels' calling
 * convention and the envelope that makes an executable. */
#ifndef MVS_CODEGEN_PROGRAM_H
#define MVS_CODEGEN_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "codegen/attention_operands.h"
#include "codegen/program.pb-c.h"
#include "compiler/base/diag.h"
#include "compiler/base/processor.h"

typedef Mvs__Program mvs_program;

/* What a host kernel is called with. Host code calls nothing and touches nothing else. */
typedef struct mvs_host_call {
  void *const *operands; /* in the kernel's order; the workspace is last where it has one */
  int64_t batch;
  int64_t layer;
  void *scratch;         /* this thread's, 64-byte aligned */
  /* Rows that are left out at the beginning and at the end: the kernel's units count the others
   * (Nest.axes in program.proto). */
  int64_t before, behind;
} mvs_host_call;

/* Does units begin .. end-1 of one nest. Units touch disjoint outputs. */
typedef void mvs_host_kernel(const mvs_host_call *call, int64_t begin, int64_t end);

/* Units of a nest at a batch (see Nest in program.proto). */
int64_t mvs_nest_units(const Mvs__Nest *nest, int64_t batch);
/* Rows of a nest at a batch, of which a call may leave some out: inner elements where there is
 * no row to speak of. */
int64_t mvs_nest_rows_at(const Mvs__Nest *nest, int64_t batch);
/* Units of `rows` of them. */
int64_t mvs_nest_units_of(const Mvs__Nest *nest, int64_t batch, int64_t rows);

/* Makes a kernel's host code that of `form`, whose fields become what the kernel had. */
void mvs_kernel_take_form(Mvs__Kernel *kernel, Mvs__HostForm *form);
/* Gives every kernel the last of its forms that `level` runs; without one its code stays. Once
 * per program, before devices are opened. */
void mvs_program_take_forms(mvs_program *program, mvs_cpu_level level);

/* Packs a program with its checksum: magic, length, XXH3 of the bytes, bytes. */
mvs_status mvs_program_pack(const mvs_program *program, mvs_text *out);
/* Reads a packed program. The result is protobuf-c's: free with mvs_program_free.
 * errors : MVS_ERR_FORMAT with a sentence in *reason (static). */
mvs_status mvs_program_unpack(const void *data, size_t size, mvs_program **out,
                              const char **reason);
/* Frees a program that mvs_program_unpack or _read_executable gave; NULL is allowed. */
void mvs_program_free(mvs_program *program);

/* Writes `trainer`'s bytes followed by the packed program to `path` (temporary name, then
 * rename), executable. A linker is not needed: see docs/program_format.md.
 * errors : MVS_ERR_IO, told in diag. */
mvs_status mvs_program_write_executable(const mvs_program *program, const char *trainer,
                                        const char *path, mvs_diag *diag);
/* Finds the program appended to the executable at `path` (normally /proc/self/exe).
 * errors : MVS_ERR_FORMAT, MVS_ERR_IO with *reason. */
mvs_status mvs_program_read_executable(const char *path, mvs_program **out,
                                       const char **reason);

#endif
