// SPDX-License-Identifier: Apache-2.0
// Floor 0. The host/device macros and nothing else: no option here changes a type or a layout.
#pragma once

#if defined(__CUDACC__)
#define FPQ_HD __host__ __device__
#define FPQ_UNROLL _Pragma("unroll")
// Before a function template that calls what it is given: host code may give host-only callables.
#define FPQ_CALLS_ARGUMENT _Pragma("nv_exec_check_disable")
#else
#define FPQ_HD
#define FPQ_UNROLL
#define FPQ_CALLS_ARGUMENT
#endif
