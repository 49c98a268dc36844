// The formats of ggml (ggml-common.h) and how their scales are searched (ggml-quants.c: quantize_row_*_ref, and
// quantize_row_*_impl where there is an importance matrix).
// Each has the number of weights that its sixteen lanes take, the bytes that these become, and `encode`; those that heed
// an importance matrix have a second `encode`, which takes the importance of each weight and, if it
// HEEDS_ROW, the mean of the squared weights of the row.
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

constexpr float NOTHING = 1e-15f;  // GROUP_MAX_EPS

// The importance of each weight with an importance matrix: the more, the larger the weight is.
template <int N> INLINE Columns<N> emphasized(const Columns<N> &w, Columns<N> importance, const Floats &mean_square) {
    for (int i = 0; i < N; ++i) importance.x[i] = importance.x[i] * root(mean_square + w.x[i] * w.x[i]);
    return importance;
}

// Twice the mean of the squares of each block's super-block.
INLINE Floats mean_squares_of_super_blocks(const float *weights) {
    float by_lane[LANES];
    for (int half = 0; half < 2; ++half) {
        float squares = 0;
        for (int i = 0; i < 256; ++i) squares += weights[256 * half + i] * weights[256 * half + i];
        for (int j = 0; j < 8; ++j) by_lane[8 * half + j] = 2 * squares / 256;
    }
    return floats_at(by_lane);
}

// weight = scale * code for sixteen blocks of N, codes -MOST to MOST - 1, by weighted least squares; and how the codes of
// the best of nineteen tries were made (make_qx_quants). Where a block holds nothing, its codes are all the lowest.
template <int N, int MOST> struct Symmetric {
    Floats scale, tried_inverse;
    Ints nothing;

    INLINE_MEMBER Symmetric(const Columns<N> &w, const Columns<N> &importance) {
        Floats largest{}, signed_largest{};
        for (const Floats &x : w.x) {
            const Ints more = magnitude(x) > largest;
            largest = choose(more, magnitude(x), largest);
            signed_largest = choose(more, x, signed_largest);
        }
        nothing = largest < NOTHING;
        Floats best{};
        for (int turn = 0; turn <= 18; ++turn) {
            const int step = turn == 0 ? 0 : turn <= 9 ? turn - 10 : turn - 9;  // 0, then -9 to 9 without it
            const Floats inverse = -(MOST + 0.1f * step) / signed_largest;
            Floats sum_lx{}, sum_l2{};
            for (int i = 0; i < N; ++i) {
                const Floats code = code_of(inverse * w.x[i], -MOST, MOST - 1);
                sum_lx = sum_lx + importance.x[i] * w.x[i] * code;
                sum_l2 = sum_l2 + importance.x[i] * code * code;
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
        scale = choose(nothing, 0.0f, scale);
    }

    INLINE_MEMBER Floats code(const Floats &x) const {
        return choose(nothing, float(-MOST), code_of(tried_inverse * x, -MOST, MOST - 1));
    }
};

// Q4_0: blocks of 32, a half as scale, codes 0 to 15 that stand for -8 to 7.
struct Q4_0 {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 18 * LANES;
    static constexpr bool HEEDS_ROW = true;

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
        pack(d, codes, out);
    }

    INLINE void encode(const float *weights, const float *importance, float mean_square, uint8_t *out) {
        const Columns<32> w(weights);
        const Symmetric<32, 8> best(w, emphasized(w, Columns<32>(importance), mean_square));
        Codes<32> codes;
        for (int i = 0; i < 32; ++i) codes.set(i, truncated(best.code(w.x[i])) + 8);
        pack(best.scale, codes, out);
    }

    INLINE void pack(const Floats &d, const Codes<32> &codes, uint8_t *out) {
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

// The weighted least squares search for Q4_K and Q5_K (make_qkx2_quants, make_qkx3_quants): tries of the scale, from
// MOST + first_step on, each fitted.
template <int MOST>
INLINE Affine search_affine(const Columns<32> &w, const Columns<32> &importance, float first_step, float step, int steps) {
    Floats low = w.x[0], high = w.x[0];
    Floats sum_w = importance.x[0], sum_x = sum_w * w.x[0];
    for (int i = 1; i < 32; ++i) {
        const Floats x = w.x[i];
        low = choose(x < low, x, low);
        high = choose(x > high, x, high);
        sum_w = sum_w + importance.x[i];
        sum_x = sum_x + importance.x[i] * x;
    }
    low = choose(low > 0.0f, 0.0f, low);
    const Ints flat = high == low;

    Floats inverse = float(MOST) / (high - low);
    Affine best = {1.0f / inverse, low, inverse, low};
    Floats best_error{};
    for (int i = 0; i < 32; ++i) {
        const Floats code = code_of(inverse * (w.x[i] - low), 0, MOST);
        const Floats off = best.scale * code + low - w.x[i];
        best_error = best_error + importance.x[i] * (off * off);
    }
    for (int turn = 0; turn <= steps; ++turn) {
        inverse = (first_step + step * turn + MOST) / (high - best.minimum);
        Floats codes[32], sum_l{}, sum_l2{}, sum_xl{};
        for (int i = 0; i < 32; ++i) {
            const Floats code = code_of(inverse * (w.x[i] - best.minimum), 0, MOST);
            codes[i] = code;
            const Floats weighted = importance.x[i] * code;
            sum_l = sum_l + weighted;
            sum_l2 = sum_l2 + weighted * code;
            sum_xl = sum_xl + weighted * w.x[i];
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
            error = error + importance.x[i] * (off * off);
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

// Eight scales (or minima) of a super-block in six bits each, and what they are multiples of.
struct Sixes {
    uint8_t codes[8];
    float d;
};

INLINE Sixes in_six_bits(const float *x) {
    float largest = 0;
    for (int j = 0; j < 8; ++j)
        if (x[j] > largest) largest = x[j];
    const float inverse = largest > 0 ? 63.0f / largest : 0.0f;
    Sixes found;
    found.d = largest / 63.0f;
    for (int j = 0; j < 8; ++j) {
        const uint8_t code = uint8_t(nearest(inverse * x[j]));
        found.codes[j] = code < 63 ? code : 63;
    }
    return found;
}

// The same by least squares, weighted with the sums of the importances (make_qp_quants).
INLINE Sixes searched_in_six_bits(const float *x, const float *importance) {
    constexpr int MOST = 63;
    Sixes found{};
    float largest = 0;
    for (int j = 0; j < 8; ++j)
        if (x[j] > largest) largest = x[j];
    if (largest < NOTHING) return found;
    float best_inverse = MOST / largest, best_error = 0;
    for (int turn = 0; turn <= 8; ++turn) {
        const int step = turn == 0 ? 0 : turn <= 4 ? turn - 5 : turn - 4;  // 0, then -4 to 4 without it
        const float inverse = step == 0 ? MOST / largest : (0.1f * step + MOST) / largest, scale = 1 / inverse;
        float error = 0;
        for (int j = 0; j < 8; ++j) {
            const int code = nearest(inverse * x[j]);
            const float off = x[j] - scale * (step == 0 ? uint8_t(code) : code < MOST ? code : MOST);
            error += importance[j] * off * off;
        }
        if (step == 0 || error < best_error) best_error = error, best_inverse = inverse;
    }
    float sum_lx = 0, sum_l2 = 0;
    for (int j = 0; j < 8; ++j) {
        const int code = nearest(best_inverse * x[j]), l = code < MOST ? code : MOST;
        found.codes[j] = uint8_t(l);
        sum_lx += importance[j] * x[j] * l;
        sum_l2 += importance[j] * l * l;
    }
    bool changed = true;
    for (int turn = 0; turn < 5 && changed; ++turn) {
        changed = false;
        for (int j = 0; j < 8; ++j) {
            const float weight = importance[j];
            float lx = sum_lx - weight * x[j] * found.codes[j];
            float l2 = sum_l2 - weight * found.codes[j] * found.codes[j];
            if (!(lx > 0 && l2 > 0)) continue;
            const int code = nearest(x[j] * l2 / lx), l = code < MOST ? code : MOST;
            if (l == found.codes[j]) continue;
            lx += weight * x[j] * l;
            l2 += weight * l * l;
            if (lx * lx * sum_l2 > sum_lx * sum_lx * l2) {
                found.codes[j] = uint8_t(l), sum_lx = lx, sum_l2 = l2;
                changed = true;
            }
        }
    }
    found.d = sum_l2 > 0.0f ? sum_lx / sum_l2 : 0.0f;
    return found;
}

// Writes the head of Q4_K and Q5_K in 16 bytes; reads back what the scales of the eight blocks are after that.
INLINE void pack_scales(const Sixes &scales, const Sixes &minima, uint8_t *out, float *d, float *dm) {
    const uint16_t halves[2] = {half_from(scales.d), half_from(minima.d)};
    const uint8_t *s = scales.codes, *m = minima.codes;
    memcpy(out, halves, 4);
    for (int j = 0; j < 4; ++j) {
        out[4 + j] = s[j] | s[4 + j] >> 4 << 6;
        out[8 + j] = m[j] | m[4 + j] >> 4 << 6;
        out[12 + j] = (s[4 + j] & 15) | (m[4 + j] & 15) << 4;
    }
    for (int j = 0; j < 4; ++j) {
        d[j] = float_from_half(halves[0]) * (out[4 + j] & 63);
        dm[j] = float_from_half(halves[1]) * (out[8 + j] & 63);
        d[4 + j] = float_from_half(halves[0]) * ((out[12 + j] & 15) | out[4 + j] >> 6 << 4);
        dm[4 + j] = float_from_half(halves[1]) * (out[12 + j] >> 4 | out[8 + j] >> 6 << 4);
    }
}

// Sixteen blocks of 32 with six-bit scales: two super-blocks of 256. UNBOUNDED: with an importance matrix, ggml lets six-bit
// codes that became negative wrap around.
template <int MOST, int STEPS, bool UNBOUNDED, int SUPER_BYTES, void (*PACK)(const Codes<32> &, int, uint8_t *)>
struct SuperBlocks {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 2 * SUPER_BYTES;
    static constexpr bool HEEDS_ROW = false;

    INLINE void encode_with(float first_step, const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        Floats squares{};
        for (const Floats &x : w.x) squares = squares + x * x;
        const Floats base = root(squares / 32.0f);
        Columns<32> importance;
        for (int i = 0; i < 32; ++i) importance.x[i] = base + magnitude(w.x[i]);
        const Affine best = search_affine<MOST>(w, importance, first_step, 0.1f, STEPS);
        float scales[LANES], minima[LANES];
        best.scale.to(scales);
        best.minimum.to(minima);
        const Sixes s[] = {in_six_bits(scales), in_six_bits(scales + 8)};
        const Sixes m[] = {in_six_bits(minima), in_six_bits(minima + 8)};
        write(w, best, s, m, out);
    }

    INLINE void encode(const float *weights, const float *matrix, float /* of the row */, uint8_t *out) {
        float scales[LANES], minima[LANES], sums[LANES];
        const Columns<32> w(weights);
        const Columns<32> importance = emphasized(w, Columns<32>(matrix), mean_squares_of_super_blocks(weights));
        const Affine best = search_affine<MOST>(w, importance, -0.9f, 0.05f, 36);
        Floats sum{};
        for (const Floats &x : importance.x) sum = sum + x;
        sum.to(sums);
        best.scale.to(scales);
        best.minimum.to(minima);
        Sixes s[2], m[2];
        for (int half = 0; half < 2; ++half) {
            s[half] = searched_in_six_bits(scales + 8 * half, sums + 8 * half);
            m[half] = searched_in_six_bits(minima + 8 * half, sums + 8 * half);
            for (int j = 0; j < 8 && !UNBOUNDED; ++j) {
                if (s[half].codes[j] > 63) s[half].codes[j] = 63;
                if (m[half].codes[j] > 63) m[half].codes[j] = 63;
            }
        }
        write(w, best, s, m, out);
    }

    INLINE void write(const Columns<32> &w, const Affine &best, const Sixes *scales, const Sixes *minima, uint8_t *out) {
        float d[LANES], dm[LANES];
        for (int half = 0; half < 2; ++half)
            pack_scales(scales[half], minima[half], out + SUPER_BYTES * half, d + 8 * half, dm + 8 * half);
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

struct Q4_K : SuperBlocks<15, 20, true, 144, pack_4_bits> {
    using SuperBlocks::encode;
    INLINE void encode(const float *weights, uint8_t *out) { encode_with(-1.0f, weights, out); }
};

struct Q5_K : SuperBlocks<31, 15, false, 176, pack_5_bits> {
    using SuperBlocks::encode;
    INLINE void encode(const float *weights, uint8_t *out) { encode_with(-0.5f, weights, out); }
};

// Q6_K: one super-block of sixteen blocks of 16, scales in signed bytes, codes 0 to 63 that stand for -32 to 31.
struct Q6_K {
    static constexpr int WEIGHTS = 16 * LANES, BYTES = 210;
    static constexpr bool HEEDS_ROW = false;
    static constexpr int MOST = 32;

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<16> w(weights);
        Columns<16> importance;
        for (int i = 0; i < 16; ++i) importance.x[i] = w.x[i] * w.x[i];
        encode(w, importance, out);
    }

    INLINE void encode(const float *weights, const float *importance, float, uint8_t *out) {
        encode(Columns<16>(weights), Columns<16>(importance), out);
    }

    INLINE void encode(const Columns<16> &w, const Columns<16> &importance, uint8_t *out) {
        const Symmetric<16, MOST> best(w, importance);
        const Floats scales = best.scale;
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
            const Floats searched = best.code(w.x[i]);
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

// IQ4_NL and IQ4_XS: codes that stand for sixteen uneven steps (kvalues_iq4nl).
constexpr int STEPS_OF_IQ4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The nearest step, or its number: of two that are as near the larger, as of what is not a number (best_index_int8).
template <bool NUMBER> INLINE Floats nearest_step(const Floats &x) {
    Floats found(NUMBER ? 0 : STEPS_OF_IQ4[0]);
    for (int i = 1; i < 16; ++i) {
        const Ints below = x < (STEPS_OF_IQ4[i - 1] + STEPS_OF_IQ4[i]) / 2.0f;
        found = choose(below, found, found + float(NUMBER ? 1 : STEPS_OF_IQ4[i] - STEPS_OF_IQ4[i - 1]));
    }
    return found;
}

// weight = scale * step, by weighted least squares: sixteen tries (quantize_row_iq4_nl_impl).
INLINE Floats search_steps(const Columns<32> &w, const Columns<32> &importance) {
    Floats largest{}, signed_largest{}, scale{}, best{};
    for (const Floats &x : w.x) {
        const Ints more = magnitude(x) > largest;
        largest = choose(more, magnitude(x), largest);
        signed_largest = choose(more, x, signed_largest);
    }
    for (int turn = -8; turn <= 7; ++turn) {
        const bool first = turn == -8;
        const Floats inverse = first ? 1.0f / (negative(signed_largest) / float(STEPS_OF_IQ4[0]))
                                     : float(turn + STEPS_OF_IQ4[0]) / signed_largest;
        Floats sum_qx{}, sum_q2{};
        for (int i = 0; i < 32; ++i) {
            const Floats step = nearest_step<false>(inverse * w.x[i]), weighted = importance.x[i] * step;
            sum_qx = sum_qx + weighted * w.x[i];
            sum_q2 = sum_q2 + weighted * step;
        }
        const Floats fitted = choose(sum_q2 > 0.0f, sum_qx / sum_q2, 0.0f);
        const Ints positive = sum_q2 > 0.0f;
        const Ints better = first ? largest >= 0.0f : (sum_qx * sum_qx > best * sum_q2) & positive;
        scale = choose(better, fitted, scale);
        best = choose(better, fitted * sum_qx, best);
    }
    return choose(largest < NOTHING, 0.0f, scale);
}

INLINE Columns<32> squared(const Columns<32> &w) {
    Columns<32> squares;
    for (int i = 0; i < 32; ++i) squares.x[i] = w.x[i] * w.x[i];
    return squares;
}

// The bytes of the codes of one block.
INLINE void pack_steps(const Codes<32> &codes, int lane, uint8_t *out) {
    for (int i = 0; i < 16; ++i) out[i] = codes.at[i][lane] | codes.at[i + 16][lane] << 4;
}

INLINE Codes<32> codes_of_steps(const Columns<32> &w, const Floats &scale) {
    const Floats inverse = choose(scale != 0.0f, 1.0f / scale, 0.0f);
    Codes<32> codes;
    for (int i = 0; i < 32; ++i) codes.set(i, truncated(nearest_step<true>(inverse * w.x[i])));
    return codes;
}

// IQ4_NL: blocks of 32, a half as scale.
struct IQ4_NL {
    static constexpr int WEIGHTS = 32 * LANES, BYTES = 18 * LANES;
    static constexpr bool HEEDS_ROW = false;

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        write(w, search_steps(w, squared(w)), out);
    }

    INLINE void encode(const float *weights, const float *importance, float /* of the row */, uint8_t *out) {
        const Columns<32> w(weights);
        Floats squares{};
        for (const Floats &x : w.x) squares = squares + x * x;
        write(w, search_steps(w, emphasized(w, Columns<32>(importance), squares * (2.0f / 32))), out);
    }

    INLINE void write(const Columns<32> &w, const Floats &scale, uint8_t *out) {
        const Codes<32> codes = codes_of_steps(w, scale);
        for (int lane = 0; lane < LANES; ++lane, out += 18) {
            const uint16_t half = half_from(scale[lane]);
            memcpy(out, &half, 2);
            pack_steps(codes, lane, out + 2);
        }
    }
};

// IQ4_XS: two super-blocks of eight blocks of 32, whose scales are multiples of a half in six bits.
struct IQ4_XS {
    static constexpr int WEIGHTS = 32 * LANES, SUPER_BYTES = 136, BYTES = 2 * SUPER_BYTES;
    static constexpr bool HEEDS_ROW = false;

    INLINE void encode(const float *weights, uint8_t *out) {
        const Columns<32> w(weights);
        write(w, search_steps(w, squared(w)), out);
    }

    INLINE void encode(const float *weights, const float *importance, float /* of the row */, uint8_t *out) {
        const Columns<32> w(weights);
        const Floats mean_square = mean_squares_of_super_blocks(weights);
        write(w, search_steps(w, emphasized(w, Columns<32>(importance), mean_square)), out);
    }

    INLINE void write(const Columns<32> &w, const Floats &found, uint8_t *out) {
        float by_lane[LANES];
        for (int half = 0; half < 2; ++half) pack_scales(found, 8 * half, by_lane + 8 * half, out + SUPER_BYTES * half);
        const Codes<32> codes = codes_of_steps(w, floats_at(by_lane));
        for (int lane = 0; lane < LANES; ++lane)
            pack_steps(codes, lane, out + SUPER_BYTES * (lane / 8) + 8 + 16 * (lane % 8));
    }

    // The head in 8 bytes; what the scales of the blocks are after that, before the half is rounded.
    INLINE void pack_scales(const Floats &found, int first, float *scales, uint8_t *out) {
        float largest = 0, signed_largest = 0;
        for (int j = 0; j < 8; ++j)
            if (std::fabs(found[first + j]) > largest) largest = std::fabs(signed_largest = found[first + j]);
        const float d = -signed_largest / 32, inverse = d != 0 ? 1 / d : 0;
        uint16_t head[2] = {half_from(d), 0};
        uint8_t low[4] = {};
        for (int j = 0; j < 8; ++j) {
            const int near = nearest(inverse * found[first + j]), code = near < -32 ? -32 : near > 31 ? 31 : near;
            scales[j] = d * code;
            low[j / 2] |= ((code + 32) & 15) << 4 * (j % 2);
            head[1] |= (code + 32) >> 4 << 2 * j;
        }
        memcpy(out, head, 4);
        memcpy(out + 4, low, 4);
    }
};
