/* forms.h: for which levels of processors each kernel is compiled. */
#ifndef MVS_HOST_FORMS_H
#define MVS_HOST_FORMS_H

#include "codegen/build.h"
#include "compiler/base/processor.h"

/* Where an array of all kernels' forms holds that of a level. */
size_t mvs_form_at(size_t kernel, mvs_cpu_level level);
/* Which forms of which kernels a program that runs on levels `least` to `most` has, in `arena`.
 * Every kernel has one for `least`. */
bool *mvs_choose_forms(mvs_arena *arena, const mvs_build *build, mvs_cpu_level least,
                       mvs_cpu_level most);

#endif
