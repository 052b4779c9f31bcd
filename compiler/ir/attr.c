/* attr.c: attributes by named fields: hashing, comparing, and one spelling for each. An
 * attribute is a union tagged by its op's row, so every function here is a switch over the
 * kinds. Two nodes are one exactly when mvs_attr_equal says so (and op, inputs, type and pass
 * agree); the hash may leave fields out, and does so for types, which the node's own type
 * repeats. Floating-point fields count by their bits: interning must not merge 0 and -0, whose
 * reciprocals differ, and must find a NaN again. */
#include "compiler/ir/attr.h"

uint64_t mvs_attr_mix(uint64_t hash, uint64_t word) {
  /* The finaliser of SplitMix64: every bit of the word reaches every bit of the hash. */
  uint64_t mixed = (hash ^ word) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

uint64_t mvs_type_hash(uint64_t hash, const mvs_type *type) {
  hash = mvs_attr_mix(hash, (uint64_t)type->dtype << 8 | type->rank);
  for (int i = 0; i < type->rank; i++) {
    hash = mvs_attr_mix(hash, (uint64_t)type->dims[i].size << 1 | type->dims[i].per_batch);
  }
  return mvs_attr_mix(hash, (uintptr_t)type->segments);
}

/* The bits of a double: floating-point fields are hashed and compared by them. */
static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* Names of inputs are not interned, so their letters count and not their place. */
static uint64_t hash_name(uint64_t hash, const char *name) {
  for (; *name; name++) hash = mvs_attr_mix(hash, (unsigned char)*name);
  return hash;
}

/* Types that an attribute repeats are hashed with the node's own, so only the rest is here. */
uint64_t mvs_attr_hash(uint64_t hash, mvs_attr_kind kind, const mvs_attr *attr) {
  switch (kind) {
    case MVS_ATTR_input:
      return hash_name(hash, attr->input.name);
    case MVS_ATTR_param:
      return mvs_attr_mix(hash, attr->param.index);
    case MVS_ATTR_argument:
      return mvs_attr_mix(hash, (uint64_t)attr->argument.kind << 32 | attr->argument.index);
    case MVS_ATTR_constant:
      return mvs_attr_mix(hash, bits_of(attr->constant.value));
    case MVS_ATTR_iota:
      return mvs_attr_mix(hash, (uint64_t)attr->iota.axis);
    case MVS_ATTR_random:
      return mvs_attr_mix(hash, (uint64_t)attr->random.kind << 32 | attr->random.stream);
    case MVS_ATTR_axes:
      return mvs_attr_mix(hash, attr->axes.mask);
    case MVS_ATTR_epsilon:
      return mvs_attr_mix(hash, bits_of(attr->epsilon.value));
    case MVS_ATTR_permutation:
      for (int i = 0; i < attr->permutation.rank; i++) {
        hash = mvs_attr_mix(hash, attr->permutation.axis[i]);
      }
      return hash;
    case MVS_ATTR_slice:
      hash = mvs_attr_mix(hash, (uint64_t)attr->slice.axis);
      hash = mvs_attr_mix(hash, (uint64_t)attr->slice.start);
      return mvs_attr_mix(hash, (uint64_t)attr->slice.length);
    case MVS_ATTR_concat:
      return mvs_attr_mix(hash, (uint64_t)attr->concat.axis);
    case MVS_ATTR_index:
      return mvs_attr_mix(hash, attr->index.value);
    case MVS_ATTR_matmul:
      return mvs_attr_mix(hash, attr->matmul.form);
    case MVS_ATTR_attention:
      return mvs_attr_mix(hash, bits_of(attr->attention.scale));
    case MVS_ATTR_region:
      return mvs_attr_mix(hash, (uintptr_t)attr->region.body);
    case MVS_ATTR_none:
    case MVS_ATTR_cast:
    case MVS_ATTR_shape:
    case MVS_ATTR_segments:
      return hash;
  }
  return hash;
}

/* Axes beyond the rank are not set and do not count. */
static bool same_permutation(const mvs_attr *a, const mvs_attr *b) {
  if (a->permutation.rank != b->permutation.rank) return false;
  for (int i = 0; i < a->permutation.rank; i++) {
    if (a->permutation.axis[i] != b->permutation.axis[i]) return false;
  }
  return true;
}

/* The total counts although the input's type repeats it for a slice: for a pad it does not. */
static bool same_slice(const mvs_attr *a, const mvs_attr *b) {
  return a->slice.axis == b->slice.axis && a->slice.start == b->slice.start &&
         a->slice.length == b->slice.length && a->slice.total == b->slice.total &&
         a->slice.segments == b->slice.segments;
}

/* The kinds of ops without inputs, whose type stands in the attribute alone. */
static bool same_source(mvs_attr_kind kind, const mvs_attr *a, const mvs_attr *b) {
  switch (kind) {
    case MVS_ATTR_input:
      return strcmp(a->input.name, b->input.name) == 0 &&
             mvs_type_equal(&a->input.type, &b->input.type);
    case MVS_ATTR_param:
      return a->param.index == b->param.index && mvs_type_equal(&a->param.type, &b->param.type);
    case MVS_ATTR_argument:
      return a->argument.kind == b->argument.kind && a->argument.index == b->argument.index &&
             mvs_type_equal(&a->argument.type, &b->argument.type);
    case MVS_ATTR_constant:
      return bits_of(a->constant.value) == bits_of(b->constant.value) &&
             a->constant.dtype == b->constant.dtype;
    case MVS_ATTR_iota:
      return a->iota.axis == b->iota.axis && mvs_type_equal(&a->iota.type, &b->iota.type);
    case MVS_ATTR_random:
      return a->random.kind == b->random.kind && a->random.stream == b->random.stream &&
             mvs_type_equal(&a->random.type, &b->random.type);
    default:
      return false;
  }
}

bool mvs_attr_equal(mvs_attr_kind kind, const mvs_attr *a, const mvs_attr *b) {
  switch (kind) {
    case MVS_ATTR_none:
      return true;
    case MVS_ATTR_cast:
      return a->cast.dtype == b->cast.dtype;
    case MVS_ATTR_shape:
      return mvs_type_equal(&a->shape.type, &b->shape.type);
    case MVS_ATTR_axes:
      return a->axes.mask == b->axes.mask;
    case MVS_ATTR_epsilon:
      return bits_of(a->epsilon.value) == bits_of(b->epsilon.value);
    case MVS_ATTR_segments:
      return a->segments.table == b->segments.table;
    case MVS_ATTR_permutation:
      return same_permutation(a, b);
    case MVS_ATTR_slice:
      return same_slice(a, b);
    case MVS_ATTR_concat:
      return a->concat.axis == b->concat.axis && a->concat.segments == b->concat.segments;
    case MVS_ATTR_index:
      return a->index.value == b->index.value;
    case MVS_ATTR_matmul:
      return a->matmul.form == b->matmul.form && a->matmul.dtype == b->matmul.dtype;
    case MVS_ATTR_attention:
      return bits_of(a->attention.scale) == bits_of(b->attention.scale);
    case MVS_ATTR_region:
      return a->region.body == b->region.body;
    default:
      return same_source(kind, a, b);
  }
}

/* Builders may leave out what the result's type says (the dtype of a shape, the segments of a
 * slice); it is filled in from there. */
void mvs_attr_canonical(mvs_attr_kind kind, const mvs_attr *attr, const mvs_type *result,
                        mvs_attr *out) {
  if (kind == MVS_ATTR_none) return;
  *out = *attr;
  switch (kind) {
    case MVS_ATTR_shape:
      out->shape.type = *result;
      break;
    case MVS_ATTR_slice:
      out->slice.segments = result->segments;
      break;
    case MVS_ATTR_concat:
      out->concat.segments = result->segments;
      break;
    default:
      break;
  }
}
