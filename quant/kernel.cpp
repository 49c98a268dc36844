// The module _kernel: rows of floats, halves or bfloat16 -> ggml's blocks, at the width of the processor.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE_MEMBER inline __attribute__((always_inline))
#define INLINE static INLINE_MEMBER

// How the weights come; the numbers are ggml's (ggml.h, ggml_type).
enum Source { F32 = 0, F16 = 1, BF16 = 30 };

INLINE int bytes_of(int source) { return source == F32 ? 4 : 2; }

// n weights of whole rows.
struct Rows {
    int source;
    const uint8_t *from;
    Py_ssize_t n;

    INLINE_MEMBER void skip(Py_ssize_t weights) { from += bytes_of(source) * weights, n -= weights; }
};

// What an importance matrix says of each column of a row; of_column is null where there is none.
struct Importance {
    const float *of_column;
    Py_ssize_t columns;
};

typedef void (*Kernel)(const Rows &rows, const Importance &matrix, uint8_t *to);

// One module has one set of flags; GCC's pragmas give each namespace the instructions that it may use.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HAS_LEVELS 1
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
namespace avx512 {
#define VECTOR_BYTES 64
#include "level.hpp"
#undef VECTOR_BYTES
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
#define VECTOR_BYTES 32
#include "level.hpp"
#undef VECTOR_BYTES
}
#pragma GCC pop_options
#endif

namespace baseline {
#define VECTOR_BYTES 16
#include "level.hpp"
#undef VECTOR_BYTES
}

struct Level {
    const char *title;
    bool usable;
    Kernel (*kernel)(int format);
};

static const Level *levels() {
#ifdef HAS_LEVELS
    static const Level found[] = {
        {"AVX-512",
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl"),
         avx512::kernel},
        {"AVX2", bool(__builtin_cpu_supports("avx2")), avx2::kernel},
        {"baseline", true, baseline::kernel},
        {nullptr, false, nullptr},
    };
#else
    static const Level found[] = {{"baseline", true, baseline::kernel}, {nullptr, false, nullptr}};
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
    Py_buffer from, to, matrix;
    if (!PyArg_ParseTuple(args, "siiny*z*w*", &title, &source, &format, &n, &from, &matrix, &to)) return nullptr;
    const bool known = source == F32 || source == F16 || source == BF16;
    const Kernel kernel = known ? find_kernel(title, format) : nullptr;
    if (kernel) {
        const Rows rows = {source, (const uint8_t *)from.buf, n};
        const Importance importance = {(const float *)matrix.buf, matrix.buf ? matrix.len / Py_ssize_t(sizeof(float)) : 0};
        Py_BEGIN_ALLOW_THREADS
        kernel(rows, importance, (uint8_t *)to.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&matrix);
    PyBuffer_Release(&to);
    return PyBool_FromLong(kernel != nullptr);
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS,
     "encode(instructions, source_type, type, n_weights, rows, importance, blocks) -> bool\n\n"
     "Quantize n_weights weights; False if there is no such kernel. importance is None or F32, one for each column.\n"
     "The caller checks the sizes of the buffers."},
    {"instructions", instructions, METH_NOARGS, "The instruction sets that this processor can use, the widest first."},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "ggml's quantizers in vector lanes.", -1, methods,
                             nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__kernel() { return PyModule_Create(&module); }
