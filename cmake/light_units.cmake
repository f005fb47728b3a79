# SPDX-License-Identifier: Apache-2.0
# Units that compute little are compiled faster than they would run where the build takes longer than
# they do: their optimization is half of a sanitizer build. Of two copies of an inline function the
# linker takes the first it meets, so that optimized units come before light ones.
set(FPQ_LIGHT_FLAGS "" CACHE STRING "Flags of the programs' units that compute little, e.g. -O0")
set(FPQ_LIGHT_TEST_FLAGS "-O0" CACHE STRING "Flags of the tests' units that compute little")
set(FPQ_GPU_FLAGS "" CACHE STRING "Flags of host code that needs a CUDA device, e.g. -O0 where there is none")

# fpq_light_last(LIST REGEX FLAGS KIND NAME): the sources in it that match go to the end of the list, with
# FLAGS; those and the others are merged apart (cmake/merged_units.cmake, with KIND and NAME).
function(fpq_light_last list_name regex flags kind name)
    set(light ${${list_name}})
    list(FILTER light INCLUDE REGEX "${regex}")
    set(others ${${list_name}})
    list(FILTER others EXCLUDE REGEX "${regex}")
    fpq_merge_units(light ${kind} ${name}_light 8)
    fpq_merge_units(others ${kind} ${name} 8)
    set_source_files_properties(${light} PROPERTIES COMPILE_OPTIONS "${flags}")
    set(${list_name} ${others} ${light} PARENT_SCOPE)
endfunction()

# fpq_line_first(TARGET): links all of the line before the target's own units.
function(fpq_line_first target)
    target_link_options(${target} PRIVATE
        "LINKER:--whole-archive" "$<TARGET_FILE:fpq_line>" "LINKER:--no-whole-archive")
endfunction()
