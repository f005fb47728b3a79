// SPDX-License-Identifier: Apache-2.0
// Floor 2. The compiler's vectors of float and double by their size: g++ takes no vector_size of
// what depends on a template.
#pragma once

namespace fpq::kernels {

template <class Scalar, int Bytes>
struct vector_type;
template <>
struct vector_type<float, 16> {
    using type = float __attribute__((vector_size(16)));
};
template <>
struct vector_type<float, 32> {
    using type = float __attribute__((vector_size(32)));
};
template <>
struct vector_type<float, 64> {
    using type = float __attribute__((vector_size(64)));
};
template <>
struct vector_type<double, 16> {
    using type = double __attribute__((vector_size(16)));
};
template <>
struct vector_type<double, 32> {
    using type = double __attribute__((vector_size(32)));
};
template <>
struct vector_type<double, 64> {
    using type = double __attribute__((vector_size(64)));
};

/// Scalar vectors of Bytes bytes, with the arithmetic of the language.
template <class Scalar, int Bytes>
using vector_of = typename vector_type<Scalar, Bytes>::type;

}  // namespace fpq::kernels
