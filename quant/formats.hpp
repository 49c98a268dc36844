// The formats of ggml (ggml-common.h) and how their scales are searched (ggml-quants.c, quantize_row_*_ref).
// Each has the number of weights that its sixteen lanes take, the bytes that these become, and `encode`.
// Included after lanes.hpp, in the same namespace.

// Q8_0: blocks of 32, a half as scale, signed bytes.
struct Q8_0 {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 34 * LANES;

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        Floats largest{};
        for (const Floats &x : w.x) largest = larger(largest, magnitude(x));
        const Floats d = largest / 127.0f;
        const Floats inverse = choose(d != 0.0f, 1.0f / d, 0.0f);
        Codes<32> codes;
        for (int i = 0; i < 32; ++i) codes.set(i, rounded(w.x[i] * inverse));
        for (int lane = 0; lane < LANES; ++lane, out += 34) {
            const uint16_t scale = half_from(d[lane]);
            memcpy(out, &scale, 2);
            for (int i = 0; i < 32; ++i) out[2 + i] = codes.at[i][lane];
        }
    }
};

// Q4_0: blocks of 32, a half as scale, codes 0 to 15 that stand for -8 to 7.
struct Q4_0 {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 18 * LANES;

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        Floats largest{}, signed_largest{};
        for (const Floats &x : w.x) {
            const Ints more = largest < magnitude(x);
            largest = choose(more, magnitude(x), largest);
            signed_largest = choose(more, x, signed_largest);
        }
        const Floats d = signed_largest / -8.0f;
        const Floats inverse = choose(d != 0.0f, 1.0f / d, 0.0f);
        Codes<32> codes;
        for (int i = 0; i < 32; ++i) {
            const Floats code = floats(as_int8(truncated(w.x[i] * inverse + 8.5f)));  // ggml casts to int8_t
            codes.set(i, truncated(choose(code > 15.0f, 15.0f, code)));
        }
        for (int lane = 0; lane < LANES; ++lane, out += 18) {
            const uint16_t scale = half_from(d[lane]);
            memcpy(out, &scale, 2);
            for (int i = 0; i < 16; ++i) out[2 + i] = codes.at[i][lane] | codes.at[i + 16][lane] << 4;
        }
    }
};

// weight = scale * code + minimum, for sixteen blocks of 32; and how the codes of the best try were made.
struct Affine {
    Floats scale, minimum, tried_inverse, tried_minimum;
};

// The weighted least squares search for Q4_K and Q5_K (make_qkx2_quants): STEPS + 1 tries of the scale, each fitted.
template <int MOST, int STEPS>
INLINE Affine search_affine(const Columns<32> &w, float first_step) {
    Floats squares{};
    for (const Floats &x : w.x) squares = squares + x * x;
    const Floats base = root(squares / 32.0f);

    Floats low = w.x[0], high = w.x[0];
    Floats sum_w = base + magnitude(w.x[0]), sum_x = sum_w * w.x[0];
    for (int i = 1; i < 32; ++i) {
        const Floats x = w.x[i], weight = base + magnitude(x);
        low = choose(x < low, x, low);
        high = choose(x > high, x, high);
        sum_w = sum_w + weight;
        sum_x = sum_x + weight * x;
    }
    low = choose(low > 0.0f, 0.0f, low);
    const Ints flat = high == low;

    Floats inverse = float(MOST) / (high - low);
    Affine best = {1.0f / inverse, low, inverse, low};
    Floats best_error{};
    for (const Floats &x : w.x) {
        const Floats code = code_of(inverse * (x - low), 0, MOST);
        const Floats off = best.scale * code + low - x;
        best_error = best_error + (base + magnitude(x)) * (off * off);
    }
    for (int step = 0; step <= STEPS; ++step) {
        inverse = (first_step + 0.1f * step + MOST) / (high - best.minimum);
        Floats codes[32], sum_l{}, sum_l2{}, sum_xl{};
        for (int i = 0; i < 32; ++i) {
            const Floats x = w.x[i], weight = base + magnitude(x);
            const Floats code = code_of(inverse * (x - best.minimum), 0, MOST);
            codes[i] = code;
            const Floats weighted = weight * code;
            sum_l = sum_l + weighted;
            sum_l2 = sum_l2 + weighted * code;
            sum_xl = sum_xl + weighted * x;
        }
        const Floats determinant = sum_w * sum_l2 - sum_l * sum_l;
        Floats scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        Floats minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        const Ints positive = minimum > 0.0f;
        scale = choose(positive, sum_xl / sum_l2, scale);
        minimum = choose(positive, 0.0f, minimum);
        Floats error{};
        for (int i = 0; i < 32; ++i) {
            const Floats off = scale * codes[i] + minimum - w.x[i];
            error = error + (base + magnitude(w.x[i])) * (off * off);
        }
        error = choose(determinant > 0.0f, error, INFINITY);
        const Ints better = error < best_error;
        best_error = choose(better, error, best_error);
        best.tried_inverse = choose(better, inverse, best.tried_inverse);
        best.tried_minimum = choose(better, best.minimum, best.tried_minimum);
        best.scale = choose(better, scale, best.scale);
        best.minimum = choose(better, minimum, best.minimum);
    }
    best.scale = choose(flat, 0.0f, best.scale);
    best.minimum = negative(choose(flat, low, best.minimum));
    best.tried_inverse = choose(flat, 0.0f, best.tried_inverse);
    best.tried_minimum = choose(flat, 0.0f, best.tried_minimum);
    return best;
}

// The head of Q4_K and Q5_K: the scales and minima of eight blocks in six bits each, and a half for each kind.
// Writes 16 bytes, and what the scales of the blocks are after that.
INLINE void pack_scales(const float *scales, const float *minima, uint8_t *out, float *d, float *dm) {
    float max_scale = 0, max_minimum = 0;
    for (int j = 0; j < 8; ++j) {
        if (scales[j] > max_scale) max_scale = scales[j];
        if (minima[j] > max_minimum) max_minimum = minima[j];
    }
    const float per_scale = max_scale > 0 ? 63.0f / max_scale : 0.0f;
    const float per_minimum = max_minimum > 0 ? 63.0f / max_minimum : 0.0f;
    float raw[16];
    for (int j = 0; j < 8; ++j) raw[j] = per_scale * scales[j], raw[8 + j] = per_minimum * minima[j];
    const Ints six = nearest(floats_at(raw));
    uint8_t codes[16];
    for (int j = 0; j < 16; ++j) {
        const uint8_t code = uint8_t(six[j]);
        codes[j] = code < 63 ? code : 63;
    }
    const uint16_t halves[2] = {half_from(max_scale / 63.0f), half_from(max_minimum / 63.0f)};
    memcpy(out, halves, 4);
    for (int j = 0; j < 4; ++j) {
        out[4 + j] = codes[j] | codes[4 + j] >> 4 << 6;
        out[8 + j] = codes[8 + j] | codes[12 + j] >> 4 << 6;
        out[12 + j] = (codes[4 + j] & 15) | (codes[12 + j] & 15) << 4;
    }
    for (int j = 0; j < 8; ++j) {
        d[j] = float_from_half(halves[0]) * codes[j];
        dm[j] = float_from_half(halves[1]) * codes[8 + j];
    }
}

// Sixteen blocks of 32 with six-bit scales: two super-blocks of 256.
template <int MOST, int STEPS, int SUPER_BYTES, void (*PACK)(const Codes<32> &, int, uint8_t *)>
struct SuperBlocks {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 2 * SUPER_BYTES;

    INLINE void encode_with(float first_step, const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        const Affine best = search_affine<MOST, STEPS>(w, first_step);
        float scales[LANES], minima[LANES], d[LANES], dm[LANES];
        best.scale.to(scales);
        best.minimum.to(minima);
        for (int half = 0; half < 2; ++half)
            pack_scales(scales + 8 * half, minima + 8 * half, out + SUPER_BYTES * half, d + 8 * half, dm + 8 * half);
        const Floats scale = floats_at(d), minimum = floats_at(dm);
        Codes<32> codes;
        for (int i = 0; i < 32; ++i) {
            const Floats searched = code_of(best.tried_inverse * (w.x[i] - best.tried_minimum), 0, MOST);
            const Floats fitted = code_of((w.x[i] + minimum) / scale, 0, MOST);
            codes.set(i, truncated(choose(scale == 0.0f, searched, fitted)));
        }
        for (int half = 0; half < 2; ++half) PACK(codes, 8 * half, out + SUPER_BYTES * half + 16);
    }
};

INLINE void pack_4_bits(const Codes<32> &codes, int first, uint8_t *out) {
    for (int pair = 0; pair < 4; ++pair)
        for (int i = 0; i < 32; ++i) {
            const uint8_t *two = codes.at[i] + first + 2 * pair;
            out[32 * pair + i] = (two[0] & 15) | two[1] << 4;
        }
}

INLINE void pack_5_bits(const Codes<32> &codes, int first, uint8_t *out) {
    for (int i = 0; i < 32; ++i) {
        uint8_t fifth = 0;
        for (int block = 0; block < 8; ++block) fifth |= (codes.at[i][first + block] >> 4) << block;
        out[i] = fifth;
    }
    pack_4_bits(codes, first, out + 32);
}

struct Q4_K : SuperBlocks<15, 20, 144, pack_4_bits> {
    INLINE void encode(const float *weights, uint8_t *out) { encode_with(-1.0f, weights, out); }
};

struct Q5_K : SuperBlocks<31, 15, 176, pack_5_bits> {
    INLINE void encode(const float *weights, uint8_t *out) { encode_with(-0.5f, weights, out); }
};

// Q6_K: one super-block of sixteen blocks of 16, scales in signed bytes, codes 0 to 63 that stand for -32 to 31.
struct Q6_K {
    static constexpr int WEIGHTS = 16 * LANES, BYTES = 210;
    static constexpr int MOST = 32;
    static constexpr float NOTHING = 1e-15f;  // GROUP_MAX_EPS

    // weight = scale * code, by least squares weighted with the squares of the weights (make_qx_quants).
    INLINE Floats search(const Columns<16> &w, Floats &tried_inverse, Ints &nothing) {
        Floats largest{}, signed_largest{};
        for (const Floats &x : w.x) {
            const Ints more = magnitude(x) > largest;
            largest = choose(more, magnitude(x), largest);
            signed_largest = choose(more, x, signed_largest);
        }
        nothing = largest < NOTHING;
        Floats scale{}, best{};
        for (int turn = 0; turn <= 18; ++turn) {
            const int step = turn == 0 ? 0 : turn <= 9 ? turn - 10 : turn - 9;  // 0, then -9 to 9 without it
            const Floats inverse = -(MOST + 0.1f * step) / signed_largest;
            Floats sum_lx{}, sum_l2{};
            for (const Floats &x : w.x) {
                const Floats code = code_of(inverse * x, -MOST, MOST - 1);
                const Floats weight = x * x;
                sum_lx = sum_lx + weight * x * code;
                sum_l2 = sum_l2 + weight * code * code;
            }
            if (turn == 0) {
                scale = choose(sum_l2 != 0.0f, sum_lx / sum_l2, 0.0f);
                best = scale * sum_lx;
                tried_inverse = inverse;
                continue;
            }
            const Floats gain = choose(sum_l2 > 0.0f, sum_lx * sum_lx, -INFINITY);
            const Ints better = gain > best * sum_l2;
            const Floats fitted = sum_lx / sum_l2;
            scale = choose(better, fitted, scale);
            best = choose(better, fitted * sum_lx, best);
            tried_inverse = choose(better, inverse, tried_inverse);
        }
        return choose(nothing, 0.0f, scale);
    }

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<16> w(weights);
        Floats tried_inverse{};
        Ints nothing{};
        const Floats scales = search(w, tried_inverse, nothing);
        float largest = 0, signed_largest = 0;
        for (int lane = 0; lane < LANES; ++lane)
            if (std::fabs(scales[lane]) > largest) largest = std::fabs(scales[lane]), signed_largest = scales[lane];
        if (largest < NOTHING) {
            memset(out, 0, BYTES);
            return;
        }
        const float inverse = -128.0f / signed_largest;
        const uint16_t d = half_from(1 / inverse);
        const Ints bytes = nearest(inverse * scales);
        float by_lane[LANES];
        for (int lane = 0; lane < LANES; ++lane) {
            const int8_t byte = int8_t(bytes[lane] < 127 ? bytes[lane] : 127);
            out[192 + lane] = uint8_t(byte);
            by_lane[lane] = float_from_half(d) * byte;
        }
        memcpy(out + 208, &d, 2);
        const Floats scale = floats_at(by_lane);
        Codes<16> codes;
        for (int i = 0; i < 16; ++i) {
            const Floats searched = choose(nothing, float(-MOST), code_of(tried_inverse * w.x[i], -MOST, MOST - 1));
            const Floats fitted = code_of(w.x[i] / scale, -MOST, MOST - 1);
            codes.set(i, truncated(choose(scale == 0.0f, searched, fitted)) + MOST);
        }
        pack(codes, out);
    }

    // Weight n of the super-block is weight n % 16 of block n / 16.
    INLINE void pack(const Codes<16> &codes, uint8_t *out) {
        for (int half = 0; half < 2; ++half) {
            uint8_t *low = out + 64 * half, *high = out + 128 + 32 * half;
            for (int i = 0; i < 32; ++i) {
                const uint8_t *at = codes.at[i % 16] + 8 * half + i / 16;
                low[i] = (at[0] & 15) | at[4] << 4;
                low[i + 32] = (at[2] & 15) | at[6] << 4;
                high[i] = at[0] >> 4 | at[2] >> 4 << 2 | at[4] >> 4 << 4 | at[6] >> 4 << 6;
            }
        }
    }
};
