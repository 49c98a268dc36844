// The module _kernel: rows of floats, halves or bfloat16 -> ggml's blocks, at the width of the processor.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "formats.hpp"

// How the weights come; the numbers are ggml's (ggml.h, ggml_type).
enum Source { F32 = 0, F16 = 1, BF16 = 30 };

INLINE int bytes_of(int source) { return source == F32 ? 4 : 2; }

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

typedef void (*Kernel)(int source, const uint8_t *from, Py_ssize_t n, uint8_t *to);

// All weights in groups that fill the lanes; the last group is filled up with zeros.
template <class Format> INLINE void encode_all(int source, const uint8_t *from, Py_ssize_t n, uint8_t *to) {
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

// One set of flags compiles the module; the attributes give each function the instructions that it may use.
#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c")))
#define AVX2 __attribute__((target("avx2,f16c")))
#define FOR_EACH_LEVEL(X) X(avx512, AVX512, "AVX-512") X(avx2, AVX2, "AVX2") X(baseline, , "baseline")
#else
#define FOR_EACH_LEVEL(X) X(baseline, , "baseline")
#endif

#define FOR_EACH_FORMAT(X, level) X(2, Q4_0, level) X(8, Q8_0, level) X(12, Q4_K, level) X(13, Q5_K, level) X(14, Q6_K, level)
#define CASE(number, Format, level) \
    case number: return level<Format>;

#define DEFINE(level, ATTRIBUTE, title)                                                                   \
    template <class Format>                                                                               \
    ATTRIBUTE static void level(int source, const uint8_t *from, Py_ssize_t n, uint8_t *to) {             \
        encode_all<Format>(source, from, n, to);                                                          \
    }                                                                                                     \
    static Kernel kernel_##level(int format) {                                                            \
        switch (format) { FOR_EACH_FORMAT(CASE, level) }                                                  \
        return nullptr;                                                                                   \
    }
FOR_EACH_LEVEL(DEFINE)

struct Level {
    const char *title;
    bool usable;
    Kernel (*kernel)(int format);
};

static const Level *levels() {
#if defined(__x86_64__)
    static const Level found[] = {
        {"AVX-512",
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl"),
         kernel_avx512},
        {"AVX2", bool(__builtin_cpu_supports("avx2")), kernel_avx2},
        {"baseline", true, kernel_baseline},
        {nullptr, false, nullptr},
    };
#else
    static const Level found[] = {{"baseline", true, kernel_baseline}, {nullptr, false, nullptr}};
#endif
    return found;
}

static PyObject *instructions(PyObject *, PyObject *) {
    PyObject *titles = PyList_New(0);
    for (const Level *level = levels(); titles && level->title; ++level) {
        if (!level->usable) continue;
        PyObject *title = PyUnicode_FromString(level->title);
        if (!title || PyList_Append(titles, title) < 0) Py_CLEAR(titles);
        Py_XDECREF(title);
    }
    return titles;
}

static Kernel find_kernel(const char *title, int format) {
    for (const Level *level = levels(); level->title; ++level)
        if (level->usable && strcmp(level->title, title) == 0) return level->kernel(format);
    return nullptr;
}

static PyObject *encode(PyObject *, PyObject *args) {
    const char *title;
    int source, format;
    Py_ssize_t n;
    Py_buffer from, to;
    if (!PyArg_ParseTuple(args, "siiny*w*", &title, &source, &format, &n, &from, &to)) return nullptr;
    const bool known = source == F32 || source == F16 || source == BF16;
    const Kernel kernel = known ? find_kernel(title, format) : nullptr;
    if (kernel) {
        Py_BEGIN_ALLOW_THREADS
        kernel(source, (const uint8_t *)from.buf, n, (uint8_t *)to.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return PyBool_FromLong(kernel != nullptr);
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS,
     "encode(instructions, source_type, type, n_weights, rows, blocks) -> bool\n\n"
     "Quantize n_weights weights; False if there is no such kernel. The caller checks the sizes of the buffers."},
    {"instructions", instructions, METH_NOARGS, "The instruction sets that this processor can use, the widest first."},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "ggml's quantizers in vector lanes.", -1, methods,
                             nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__kernel() { return PyModule_Create(&module); }
