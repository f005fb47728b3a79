# SPDX-License-Identifier: Apache-2.0
# Our own .cu files (tests, benchmarks): the language, the cards, the flags. Never exported.
# FPQ_HAVE_CUDA says whether kernels can be compiled here.
set(FPQ_BUILD_CUDA AUTO CACHE STRING "Compile the kernels for tests and benchmarks: AUTO, ON, OFF")
set_property(CACHE FPQ_BUILD_CUDA PROPERTY STRINGS AUTO ON OFF)
set(FPQ_CUDA_ARCHITECTURES "80;90a;120f" CACHE STRING "Cards that the kernels are compiled for")

set(FPQ_HAVE_CUDA FALSE)
if(NOT FPQ_BUILD_CUDA STREQUAL "OFF")
    include(CheckLanguage)
    # The cards are named in flags of our own: CMake 3.25 does not know 120f.
    set(CMAKE_CUDA_ARCHITECTURES OFF)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cudart)
        if(FPQ_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
            set(CMAKE_CUDA_COMPILER_LAUNCHER "${FPQ_CCACHE}")
        endif()
        enable_language(CUDA)
        set(FPQ_HAVE_CUDA TRUE)
    elseif(FPQ_BUILD_CUDA STREQUAL "ON")
        message(FATAL_ERROR "FPQ_BUILD_CUDA is ON, but nvcc or the CUDA toolkit was not found")
    else()
        message(WARNING "SKIPPED: the kernels are not compiled; nvcc or the CUDA toolkit was not found")
    endif()
endif()

# Where warnings are errors, a kernel that spills registers does not build.
add_library(fpq_own_cuda INTERFACE)
# The dialect is a flag of our own as well: CMake 3.25 has none for nvcc 13.
set(fpq_gencode "")
foreach(arch IN LISTS FPQ_CUDA_ARCHITECTURES)
    list(APPEND fpq_gencode "SHELL:-gencode arch=compute_${arch},code=sm_${arch}")
endforeach()
target_compile_options(fpq_own_cuda INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;${fpq_gencode};SHELL:-Xptxas --warn-on-spills>")
if(FPQ_WARNINGS_AS_ERRORS)
    target_compile_options(fpq_own_cuda INTERFACE
        "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
endif()

# fpq_kernels(part): static library fpq_kernels_<part> of tests/cuda/kernels_<part>.cu.
function(fpq_kernels part)
    add_library(fpq_kernels_${part} STATIC "${PROJECT_SOURCE_DIR}/tests/cuda/kernels_${part}.cu")
    target_link_libraries(fpq_kernels_${part} PUBLIC fpq::cuda PRIVATE fpq_own_cuda)
endfunction()
if(FPQ_HAVE_CUDA AND (FPQ_BUILD_TESTS OR FPQ_BUILD_BENCH OR FPQ_BUILD_TOOLS))
    foreach(part IN ITEMS quantize gemm gptq two_sided forward backward observe)
        fpq_kernels(${part})
    endforeach()
    target_link_libraries(fpq_kernels_two_sided PUBLIC fpq_kernels_gptq)  # factors
    target_link_libraries(fpq_kernels_observe PUBLIC fpq_kernels_quantize)  # global_amax
endif()
