# Read by CMake after llama.cpp's own project() line (CMAKE_PROJECT_llama.cpp_INCLUDE in the Makefile).
# llama-cpp-python forces llama.cpp's `common` on: 52 of its 127 files, which nothing here uses.
set(LLAMA_BUILD_COMMON OFF)
