# SPDX-License-Identifier: Apache-2.0
# Flags for our own tools, tests and examples. Never exported, never seen by whoever links fpq.
# No contraction: a fused multiply-add where a scale or a code is decided would change bytes.
add_library(fpq_own_sources INTERFACE)
target_compile_options(fpq_own_sources INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Werror -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 reports an overlap in every `"text" + std::string` that it inlines (GCC bug 105651).
    target_compile_options(fpq_own_sources INTERFACE -Wno-restrict)
endif()
