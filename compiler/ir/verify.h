/* verify.h: the table of rules that every graph obeys, run between passes. A broken rule is our
 * mistake: MVS_ERR_INTERNAL with the rule's name, the node's dump line and the pass before. */
#ifndef MVS_IR_VERIFY_H
#define MVS_IR_VERIFY_H

#include "compiler/ir/module.h"

/* Checks all functions of the module (regions included). `after` names the pass just run. */
mvs_status mvs_module_verify(const mvs_module *module, const char *after, mvs_diag *diag);
/* How many rules there are. */
size_t mvs_verify_rule_count(void);
/* What rule `index` says. */
const char *mvs_verify_rule_name(size_t index);

#endif
