# SPDX-License-Identifier: Apache-2.0
# Flags for our own tools, tests and examples. Never exported, never seen by whoever links fpq.
# No contraction: a fused multiply-add where a scale or a code is decided would change bytes.
# Warnings show when fpq is the project itself; they are errors only where we ask for it (CI).
option(FPQ_WARNINGS_AS_ERRORS "Warnings in fpq's own tools, tests and kernels are errors" OFF)
add_library(fpq_own_sources INTERFACE)
target_compile_options(fpq_own_sources INTERFACE -ffp-contract=off)
if(PROJECT_IS_TOP_LEVEL)
    target_compile_options(fpq_own_sources INTERFACE
        -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow)
endif()
if(FPQ_WARNINGS_AS_ERRORS)
    target_compile_options(fpq_own_sources INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 reports an overlap in every `"text" + std::string` that it inlines (GCC bug 105651).
    target_compile_options(fpq_own_sources INTERFACE -Wno-restrict)
endif()
