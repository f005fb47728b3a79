// SPDX-License-Identifier: Apache-2.0
// The other of the two units of unlike_units_main.cpp: the macros that once chose a layout or a
// body, and those that users set for libraries beside fpq. Its instruction set is CMakeLists.txt's.
#define FPQ_NO_X86_KERNELS
#define FPQ_USE_BLAS
#define EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_VECTORIZE
#if defined(NDEBUG)
#undef NDEBUG
#else
#define NDEBUG
#endif
#include "unlike_units.hpp"

unlike::facts unlike::facts_of_other_unit() { return facts_of_this_unit(); }
