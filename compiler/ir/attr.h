/* attr.h: attributes compared, hashed and copied by their named fields, never by bytes: the
 * bytes of a union include padding and members of other kinds. */
#ifndef MVS_IR_ATTR_H
#define MVS_IR_ATTR_H

#include "compiler/ir/node.h"

/* Mixes a word into a hash. */
uint64_t mvs_attr_mix(uint64_t hash, uint64_t word);
/* Mixes a type into a hash. */
uint64_t mvs_type_hash(uint64_t hash, const mvs_type *type);
/* Mixes the fields of an attribute of that kind into a hash. */
uint64_t mvs_attr_hash(uint64_t hash, mvs_attr_kind kind, const mvs_attr *attr);
/* Same fields. Constants compare by bits: 0 and -0 differ, a NaN equals itself. */
bool mvs_attr_equal(mvs_attr_kind kind, const mvs_attr *a, const mvs_attr *b);
/* Copies the fields of an attribute; those that repeat the result's type are taken from
 * `result`, so that two ways to say the same are one node. */
void mvs_attr_canonical(mvs_attr_kind kind, const mvs_attr *attr, const mvs_type *result,
                        mvs_attr *out);

#endif
