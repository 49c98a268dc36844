// All kernels of one instruction set. Included in its namespace, with VECTOR_BYTES set.

#include "lanes.hpp"

#include "formats.hpp"

INLINE void widen(int source, const uint8_t *from, int n, float *to) {
    const auto *halves = (const uint16_t *)from;
    if (source == F32) memcpy(to, from, 4 * n);
    if (source == F16)
        for (int i = 0; i < n; ++i) to[i] = float_from_half(halves[i]);
    if (source == BF16)
        for (int i = 0; i < n; ++i) {
            const uint32_t b = uint32_t(halves[i]) << 16;
            memcpy(to + i, &b, 4);
        }
}

// All weights in groups that fill the lanes; the last group is filled up with zeros.
template <class Format> static void encode_all(int source, const uint8_t *from, Py_ssize_t n, uint8_t *to) {
    alignas(64) float group[Format::WEIGHTS];
    for (; n >= Format::WEIGHTS; n -= Format::WEIGHTS, to += Format::BYTES) {
        widen(source, from, Format::WEIGHTS, group);
        from += bytes_of(source) * Format::WEIGHTS;
        Format::encode(group, to);
    }
    if (n > 0) {
        uint8_t rest[Format::BYTES];
        memset(group, 0, sizeof group);
        widen(source, from, int(n), group);
        Format::encode(group, rest);
        memcpy(to, rest, Format::BYTES * n / Format::WEIGHTS);
    }
}

// To add a format, add a row; the numbers are ggml's (ggml.h, ggml_type).
static Kernel kernel(int format) {
    switch (format) {
    case 2: return encode_all<Q4_0>;
    case 8: return encode_all<Q8_0>;
    case 12: return encode_all<Q4_K>;
    case 13: return encode_all<Q5_K>;
    case 14: return encode_all<Q6_K>;
    }
    return nullptr;
}
