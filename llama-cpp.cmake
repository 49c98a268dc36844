# What llama-cpp-python need not build of llama.cpp, for CMAKE_ARGS=-DCMAKE_PROJECT_INCLUDE=THIS_FILE: CMake reads it after
# each project() line, and these settings win over llama-cpp-python's own, which has both on.
set(LLAVA_BUILD OFF)        # models that see and hear
set(LLAMA_BUILD_COMMON OFF) # what llama.cpp's programs share: 52 of 127 files

# The headers of the C++ library are most of its work to the compiler: they are read once.
if(PROJECT_NAME STREQUAL "llama.cpp")
    cmake_language(DEFER CALL target_precompile_headers llama PRIVATE
        "$<$<COMPILE_LANGUAGE:CXX>:${CMAKE_CURRENT_SOURCE_DIR}/src/llama-model.h>"
        "$<$<COMPILE_LANGUAGE:CXX>:${CMAKE_CURRENT_SOURCE_DIR}/src/llama-graph.h>")
endif()
