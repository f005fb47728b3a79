// SPDX-License-Identifier: Apache-2.0
// bf16 matrices on the host and on the device, for the tests of the forward part.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "support/gaussian.hpp"

namespace fpq_test {

inline void require_ok(fpq::cuda::status const& s) {
    INFO(s.text);
    REQUIRE(s.ok());
}

template <class T>
fpq::cuda::device_buffer<T> on_device(std::vector<T> const& from) {
    fpq::cuda::device_buffer<T> out;
    require_ok(out.resize(from.size()));
    require_ok(out.upload(from.data()));
    return out;
}

/// Device memory whose bytes are all ones: NaN in bf16 and float32.
template <class T>
fpq::cuda::device_buffer<T> poisoned(std::size_t size) {
    fpq::cuda::device_buffer<T> out;
    require_ok(out.resize(size));
    require_ok(out.fill(0xFF));
    return out;
}

template <class T>
std::vector<T> on_host(fpq::cuda::device_buffer<T> const& from) {
    std::vector<T> out(from.size());
    require_ok(from.download(out.data()));
    return out;
}

template <class T>
bool same_bytes(std::vector<T> const& a, std::vector<T> const& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline fpq::bf16 narrowed(fpq::bf16, float x) { return fpq::to_bf16(x); }
inline float narrowed(float, float x) { return x; }

/// N(0, sigma^2) in T.
template <class T>
std::vector<T> random_values(std::size_t size, std::uint64_t stream, float sigma = 1.0F) {
    std::vector<T> out(size);
    std::vector<float> const x = gaussian(size, 61, stream, sigma);
    for (std::size_t i = 0; i < size; ++i) {
        out[i] = narrowed(T{}, x[i]);
    }
    return out;
}

inline std::vector<float> widened(std::vector<fpq::bf16> const& x) {
    std::vector<float> out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        out[i] = fpq::to_float(x[i]);
    }
    return out;
}
inline std::vector<float> widened(std::vector<float> const& x) { return x; }

/// Values that are further from `want` than one rounding to bf16 (8 significant bits) and
/// slack * (|want| + size) on top.
inline std::size_t off_by_more_than_rounding(std::vector<float> const& found,
                                             std::vector<double> const& want, double slack,
                                             double size = 1) {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        double const most =
            std::ldexp(std::fabs(want[i]), -8) + slack * (std::fabs(want[i]) + size);
        // Not <=: a NaN is wrong.
        wrong += std::fabs(static_cast<double>(found[i]) - want[i]) <= most ? 0 : 1;
    }
    return wrong;
}

/// ||found - want|| / ||want||.
inline double relative_error(std::vector<float> const& found, std::vector<double> const& want) {
    double off = 0;
    double all = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        double const d = static_cast<double>(found[i]) - want[i];
        off += d * d;
        all += want[i] * want[i];
    }
    return std::sqrt(off / all);
}

}  // namespace fpq_test
