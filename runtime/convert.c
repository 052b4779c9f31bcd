/* convert.c: file dtypes to the program's. Values are read byte-wise: a file aligns nothing.
 * Every conversion to f32 is exact but that from f64, which rounds to nearest; integers
 * convert to nothing but i32, since a label read as a float or a weight as an integer is a
 * mistake worth a sentence. */
#include "runtime/safetensors.h"

/* memcpy is the one way that C allows; it costs nothing. */
static float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* IEEE half to single; exact, since every half is a single. */
static float float_of_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1F,
           fraction = half & 0x3FF;
  if (exponent == 0x1F) return float_of_bits(sign | 0x7F800000 | fraction << 13);
  if (exponent != 0) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  /* A subnormal half is fraction * 2^-24. */
  float magnitude = (float)fraction * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

/* Through memcpy, as all reads here: the address may be odd. */
static float half_at(const unsigned char *from) {
  uint16_t bits;
  memcpy(&bits, from, sizeof bits);
  return float_of_half(bits);
}

/* A bf16 is the upper half of an f32. */
static float bfloat_at(const unsigned char *from) {
  uint16_t bits;
  memcpy(&bits, from, sizeof bits);
  return float_of_bits((uint32_t)bits << 16);
}

/* Beyond the range of f32 it becomes infinite, which checks of finiteness then see. */
static float double_at(const unsigned char *from) {
  double value;
  memcpy(&value, from, sizeof value);
  return (float)value;
}

/* One element of a tensor with strides, as a tensor of its own. */
static mvs_file_tensor element_of(const mvs_file_tensor *tensor, int64_t index) {
  mvs_file_tensor one = {.dtype = tensor->dtype, .elements = 1};
  int64_t place = 0;
  for (int axis = tensor->rank - 1; axis >= 0; axis--) {
    place += index % tensor->shape[axis] * tensor->strides[axis];
    index /= tensor->shape[axis];
  }
  one.data = tensor->data + place * mvs_file_dtype_size(tensor->dtype);
  return one;
}

/* Inner loops per dtype, so that none is chosen per element. */
bool mvs_file_tensor_to_f32(const mvs_file_tensor *tensor, int64_t first, int64_t count,
                            float *out) {
  int size = mvs_file_dtype_size(tensor->dtype);
  bool good = true;
  for (int64_t at = 0; tensor->strides && good && at < count; at++) {
    mvs_file_tensor one = element_of(tensor, first + at);
    good = mvs_file_tensor_to_f32(&one, 0, 1, out + at);
  }
  if (tensor->strides) return good;
  const unsigned char *from = tensor->data + first * size;
  switch (tensor->dtype) {
    case MVS_FILE_F32:
      if (count) memcpy(out, from, (size_t)count * sizeof *out);
      return true;
    case MVS_FILE_BF16:
      for (int64_t at = 0; at < count; at++) out[at] = bfloat_at(from + at * size);
      return true;
    case MVS_FILE_F16:
      for (int64_t at = 0; at < count; at++) out[at] = half_at(from + at * size);
      return true;
    case MVS_FILE_F64:
      for (int64_t at = 0; at < count; at++) out[at] = double_at(from + at * size);
      return true;
    default:
      return false;
  }
}

/* Of any integer dtype. */
static int64_t integer_at(mvs_file_dtype dtype, const unsigned char *from) {
  int64_t wide;
  int32_t word;
  int16_t half;
  switch (dtype) {
    case MVS_FILE_I64:
      memcpy(&wide, from, sizeof wide);
      return wide;
    case MVS_FILE_I32:
      memcpy(&word, from, sizeof word);
      return word;
    case MVS_FILE_I16:
      memcpy(&half, from, sizeof half);
      return half;
    case MVS_FILE_I8:
      return (int8_t)*from;
    default:
      return *from;
  }
}

/* I64 is what most writers of labels use; values that fit are as good. */
bool mvs_file_tensor_to_i32(const mvs_file_tensor *tensor, int64_t first, int64_t count,
                            int32_t *out) {
  if (!mvs_file_dtype_is_integer(tensor->dtype)) return false;
  int size = mvs_file_dtype_size(tensor->dtype);
  for (int64_t at = first; at < first + count; at++) {
    const unsigned char *from =
        tensor->strides ? element_of(tensor, at).data : tensor->data + at * size;
    int64_t value = integer_at(tensor->dtype, from);
    if (value < INT32_MIN || value > INT32_MAX) return false;
    out[at - first] = (int32_t)value;
  }
  return true;
}
