# SPDX-License-Identifier: Apache-2.0
# Flags for our own tools, tests and examples. Never exported, never seen by whoever links fpq.
# No contraction: a fused multiply-add where a scale or a code is decided would change bytes.
add_library(fpq_own_sources INTERFACE)
target_compile_options(fpq_own_sources INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Werror -ffp-contract=off)
