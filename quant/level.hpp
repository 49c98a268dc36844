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

// A group that is not full is filled up with zeros, and only what is real is written.
template <class Format, class Encode> INLINE void encode_rest(const Rows &rows, Py_ssize_t n, Encode encode, uint8_t *to) {
    alignas(64) float group[Format::WEIGHTS] = {};
    uint8_t blocks[Format::BYTES];
    widen(rows.source, rows.from, int(n), group);
    encode(group, blocks);
    memcpy(to, blocks, Format::BYTES * n / Format::WEIGHTS);
}

// All weights in groups that fill the lanes, whatever row they are of.
template <class Format> static void encode_all(Rows rows, uint8_t *to) {
    alignas(64) float group[Format::WEIGHTS];
    for (; rows.n >= Format::WEIGHTS; rows.skip(Format::WEIGHTS), to += Format::BYTES) {
        widen(rows.source, rows.from, Format::WEIGHTS, group);
        Format::encode(group, to);
    }
    if (rows.n > 0) encode_rest<Format>(rows, rows.n, [](const float *g, uint8_t *out) { Format::encode(g, out); }, to);
}

INLINE float mean_square(const Rows &row, Py_ssize_t columns) {
    alignas(64) float group[32];
    float squares = 0;
    for (Rows rest = row; rest.n > row.n - columns; rest.skip(32)) {
        widen(rest.source, rest.from, 32, group);
        for (float x : group) squares += x * x;
    }
    return squares / columns;
}

// Row by row, as the columns have importances.
template <class Format> static void encode_important(Rows rows, Importance matrix, uint8_t *to) {
    for (; rows.n > 0;) {
        const float square = Format::HEEDS_ROW ? mean_square(rows, matrix.columns) : 0;
        for (Py_ssize_t at = 0; at < matrix.columns;) {
            alignas(64) float importance[Format::WEIGHTS] = {};
            const Py_ssize_t left = matrix.columns - at, n = left < Format::WEIGHTS ? left : Format::WEIGHTS;
            memcpy(importance, matrix.of_column + at, n * sizeof(float));
            const auto encode = [&](const float *g, uint8_t *out) { Format::encode(g, importance, square, out); };
            encode_rest<Format>(rows, n, encode, to);
            rows.skip(n), at += n, to += Format::BYTES * n / Format::WEIGHTS;
        }
    }
}

template <class Format> static void encode_either(const Rows &rows, const Importance &matrix, uint8_t *to) {
    if (matrix.of_column)
        encode_important<Format>(rows, matrix, to);
    else
        encode_all<Format>(rows, to);
}

// ggml's Q8_0 takes no notice of an importance matrix.
template <> void encode_either<Q8_0>(const Rows &rows, const Importance &, uint8_t *to) { encode_all<Q8_0>(rows, to); }

// To add a format, add a row; the numbers are ggml's (ggml.h, ggml_type).
static Kernel kernel(int format) {
    switch (format) {
    case 2: return encode_either<Q4_0>;
    case 8: return encode_either<Q8_0>;
    case 12: return encode_either<Q4_K>;
    case 13: return encode_either<Q5_K>;
    case 14: return encode_either<Q6_K>;
    case 20: return encode_either<IQ4_NL>;
    case 23: return encode_either<IQ4_XS>;
    }
    return nullptr;
}
