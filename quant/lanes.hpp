// Sixteen blocks side by side, one in each lane of a vector: every lane does what ggml does for one block, the
// same operations in the same order, so that the result is ggml's to the bit. Compile with -ffp-contract=off and
// without -ffast-math.
//
// Included once for each instruction set, in a namespace of its own; VECTOR_BYTES is the width of its registers, and
// sixteen lanes are as many of these as it takes.

constexpr int LANES = 16, PARTS = 4 * LANES / VECTOR_BYTES, LANES_IN_PART = LANES / PARTS;

typedef float FloatPart __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t IntPart __attribute__((vector_size(VECTOR_BYTES)));

// Whole numbers, or the truth of a comparison: -1 or 0.
struct Ints {
    IntPart part[PARTS];

    Ints() = default;
    INLINE_MEMBER Ints(int n) {
        for (IntPart &p : part) p = IntPart{} + n;
    }
    INLINE_MEMBER int operator[](int lane) const { return part[lane / LANES_IN_PART][lane % LANES_IN_PART]; }
};

struct Floats {
    FloatPart part[PARTS];

    Floats() = default;
    INLINE_MEMBER Floats(float x) {
        for (FloatPart &p : part) p = FloatPart{} + x;
    }
    INLINE_MEMBER float operator[](int lane) const { return part[lane / LANES_IN_PART][lane % LANES_IN_PART]; }
    INLINE_MEMBER void to(float *memory) const { memcpy(memory, part, sizeof part); }
};

INLINE Floats floats_at(const float *memory) {
    Floats x;
    memcpy(x.part, memory, sizeof x.part);
    return x;
}

#define LANEWISE(Result, operation, Left, Right)                                              \
    INLINE Result operator operation(const Left &a, const Right &b) {                         \
        Result r;                                                                             \
        for (int p = 0; p < PARTS; ++p) r.part[p] = a.part[p] operation b.part[p];            \
        return r;                                                                             \
    }
LANEWISE(Floats, +, Floats, Floats)
LANEWISE(Floats, -, Floats, Floats)
LANEWISE(Floats, *, Floats, Floats)
LANEWISE(Floats, /, Floats, Floats)
LANEWISE(Ints, <, Floats, Floats)
LANEWISE(Ints, >, Floats, Floats)
LANEWISE(Ints, <=, Floats, Floats)
LANEWISE(Ints, >=, Floats, Floats)
LANEWISE(Ints, ==, Floats, Floats)
LANEWISE(Ints, !=, Floats, Floats)
LANEWISE(Ints, +, Ints, Ints)
LANEWISE(Ints, -, Ints, Ints)
LANEWISE(Ints, &, Ints, Ints)
#undef LANEWISE

#define OF_EACH_PART(Result, name, Argument, expression)                     \
    INLINE Result name(const Argument &a) {                                  \
        Result r;                                                            \
        for (int p = 0; p < PARTS; ++p) {                                    \
            const auto part = a.part[p];                                     \
            r.part[p] = expression;                                          \
        }                                                                    \
        return r;                                                            \
    }
OF_EACH_PART(Floats, negative, Floats, -part)
OF_EACH_PART(Floats, magnitude, Floats, (FloatPart)((IntPart)part & 0x7fffffff))
OF_EACH_PART(Ints, bits, Floats, (IntPart)part)
OF_EACH_PART(Floats, floats, Ints, __builtin_convertvector(part, FloatPart))
OF_EACH_PART(Ints, truncated, Floats, __builtin_convertvector(part, IntPart))
OF_EACH_PART(Ints, as_int8, Ints, part << 24 >> 24)
#undef OF_EACH_PART

INLINE Floats choose(const Ints &where, const Floats &a, const Floats &b) {
    Floats r;
    for (int p = 0; p < PARTS; ++p) r.part[p] = where.part[p] ? a.part[p] : b.part[p];
    return r;
}

INLINE Floats larger(const Floats &a, const Floats &b) { return choose(a > b, a, b); }

INLINE Floats root(const Floats &x) {
    float lanes[LANES];
    x.to(lanes);
    for (float &lane : lanes) lane = __builtin_sqrtf(lane);
    return floats_at(lanes);
}

// Rounds to the nearest integer, ties to even, as ggml's nearest_int does: exact up to 2^22, and beyond it the
// same low bits.
INLINE Ints nearest(const Floats &x) { return (bits(x + 12582912.0f) & 0x007fffff) - 0x00400000; }

INLINE int nearest(float x) {
    int32_t b;
    x += 12582912.0f;
    memcpy(&b, &x, 4);
    return (b & 0x007fffff) - 0x00400000;
}

INLINE Floats clamped(const Floats &x, float low, float high) {
    const Floats above = choose(x < low, low, x);
    return choose(above > high, high, above);
}

INLINE Floats code_of(const Floats &x, float low, float high) { return clamped(floats(nearest(x)), low, high); }

// Rounds halves away from zero, as C's roundf and a cast do; what is out of range stays what the cast makes of it.
INLINE Ints rounded(const Floats &x) {
    const Ints whole = truncated(x);
    const Floats rest = choose(magnitude(x) < 1e6f, x - floats(whole), 0.0f);
    return whole - (rest >= 0.5f) + (rest <= -0.5f);
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
        const float shifted = std::fabs(x) + 0.5f;
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

    Columns() = default;

    // Block k is at weights + N * k.
    INLINE_MEMBER explicit Columns(const float *weights) {
        float *out = (float *)x;
        for (int lane = 0; lane < LANES; ++lane)
            for (int i = 0; i < N; ++i) out[LANES * i + lane] = weights[N * lane + i];
    }
};

// The codes of sixteen blocks: code i of block k is at[i][k].
template <int N> struct Codes {
    uint8_t at[N][LANES];

    INLINE_MEMBER void set(int i, const Ints &values) {
        typedef uint8_t Bytes __attribute__((vector_size(LANES_IN_PART)));
        for (int p = 0; p < PARTS; ++p) {
            const Bytes bytes = __builtin_convertvector(values.part[p], Bytes);
            memcpy(at[i] + LANES_IN_PART * p, &bytes, LANES_IN_PART);
        }
    }
};
