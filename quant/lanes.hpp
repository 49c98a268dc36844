// Sixteen blocks side by side, one in each lane of a vector: every lane does what ggml does for one block, the
// same operations in the same order, so that the result is ggml's to the bit. Compile with -ffp-contract=off and
// without -ffast-math. GCC's and Clang's vector extensions make of it what the target has.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

constexpr int LANES = 16;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

INLINE Floats all(float x) { return Floats{} + x; }
INLINE Floats floats(Ints i) { return __builtin_convertvector(i, Floats); }
INLINE Ints truncated(Floats x) { return __builtin_convertvector(x, Ints); }
INLINE Ints bits(Floats x) { return (Ints)x; }
INLINE Floats magnitude(Floats x) { return (Floats)(bits(x) & 0x7fffffff); }
INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

INLINE Floats root(Floats x) {
    for (int lane = 0; lane < LANES; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
    return x;
}

// Rounds to the nearest integer, ties to even, as ggml's nearest_int does: exact up to 2^22, and beyond it the
// same low bits.
INLINE Ints nearest(Floats x) { return (bits(x + 12582912.0f) & 0x007fffff) - 0x00400000; }

INLINE Floats clamped(Ints i, int low, int high) {
    Floats x = floats(i);
    x = x < float(low) ? all(float(low)) : x;
    return x > float(high) ? all(float(high)) : x;
}

// Rounds halves away from zero, as C's roundf and a cast do; what is out of range stays what the cast makes of it.
INLINE Ints rounded(Floats x) {
    const Ints whole = truncated(x);
    const Floats rest = magnitude(x) < 1e6f ? x - floats(whole) : all(0.0f);
    const Ints up = rest >= 0.5f, down = rest <= -0.5f;
    return whole - up + down;  // a true lane is -1
}

// IEEE 754 binary16 from binary32, to the nearest, ties to even.
INLINE uint16_t half_from(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    const uint16_t sign = (b >> 16) & 0x8000;
    b &= 0x7fffffff;
    if (b > 0x7f800000) return sign | 0x7e00;
    if (b >= 0x477ff000) return sign | 0x7c00;
    if (b < 0x38800000) {  // the last place of a subnormal half is that of 0.5f
        float shifted = std::fabs(x) + 0.5f;
        memcpy(&b, &shifted, 4);
        return sign | uint16_t(b - 0x3f000000);
    }
    return sign | uint16_t((b + 0xfff + ((b >> 13) & 1) - (112u << 23)) >> 13);
}

INLINE float float_from_half(uint16_t h) {
    const uint32_t b = uint32_t(h & 0x7fff) << 13;
    float x;
    memcpy(&x, &b, 4);
    x *= 0x1p112f;  // moves the exponent, and makes subnormals normal
    return h & 0x8000 ? -x : x;
}

// N weights of sixteen blocks, weight by weight.
template <int N> struct Columns {
    Floats x[N];

    // Block k is at weights + N * k.
    INLINE void load(Columns &to, const float *weights) {
        float *out = (float *)to.x;
        for (int lane = 0; lane < LANES; ++lane)
            for (int i = 0; i < N; ++i) out[LANES * i + lane] = weights[N * lane + i];
    }
};

// The codes of sixteen blocks: code i of block k is at[i][k].
template <int N> struct Codes {
    uint8_t at[N][LANES];

    INLINE void set(Codes &codes, int i, Ints values) {
        typedef uint8_t Bytes __attribute__((vector_size(LANES)));
        const Bytes bytes = __builtin_convertvector(values, Bytes);
        memcpy(codes.at[i], &bytes, LANES);
    }
};
