# SPDX-License-Identifier: Apache-2.0
# Units that compute little are compiled faster than they would run where the build takes longer than
# the tests: their optimization is half of a sanitizer build.
set(FPQ_LIGHT_FLAGS "" CACHE STRING "Flags of the programs' units that compute little, e.g. -O0")
set(FPQ_LIGHT_TEST_FLAGS "" CACHE STRING "Flags of the tests' units that compute little, e.g. -O0")

# fpq_line_first(TARGET): of two copies of an inline kernel the linker takes the first it meets. This
# is the line's, which is optimized, not a light unit's.
function(fpq_line_first target)
    target_link_options(${target} PRIVATE
        "LINKER:--whole-archive" "$<TARGET_FILE:fpq_line>" "LINKER:--no-whole-archive")
endfunction()
