// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What a launcher returns: a code and one line of text (what, expected, found). No
// exceptions and no allocation, so that an engine may call launchers from anywhere.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>

namespace fpq::cuda {

/// ok; an argument that the launcher refuses; a request that this build or device cannot serve;
/// an error of the CUDA runtime or of one of its libraries; numbers that cannot be used.
enum class status_code { ok, invalid_argument, unsupported, device, numeric };

/// The result of a launcher. `text` is empty when ok, else one line: "what: expected E, found F".
struct [[nodiscard]] status {
    status_code code = status_code::ok;
    char text[200] = {};

    [[nodiscard]] bool ok() const noexcept { return code == status_code::ok; }
};

/// An argument refused: "what: expected E, found F".
inline status refuse(char const* what, char const* expected, long long found) noexcept {
    status s{status_code::invalid_argument, {}};
    std::snprintf(s.text, sizeof s.text, "%s: expected %s, found %lld", what, expected, found);
    return s;
}

/// The same with a word for what was found.
inline status refuse(char const* what, char const* expected, char const* found) noexcept {
    status s{status_code::invalid_argument, {}};
    std::snprintf(s.text, sizeof s.text, "%s: expected %s, found %s", what, expected, found);
    return s;
}

/// Something that this build or device does not offer.
inline status unsupported(char const* what, char const* expected, char const* found) noexcept {
    status s = refuse(what, expected, found);
    s.code = status_code::unsupported;
    return s;
}

/// Numbers that cannot be used.
inline status refuse_numbers(char const* what, char const* expected, char const* found) noexcept {
    status s = refuse(what, expected, found);
    s.code = status_code::numeric;
    return s;
}

/// ok, or the CUDA runtime's own words.
inline status from_cuda(cudaError_t error, char const* what) noexcept {
    status s;
    if (error != cudaSuccess) {
        s.code = status_code::device;
        std::snprintf(s.text, sizeof s.text, "%s: expected cudaSuccess, found %s (%s)", what,
                      cudaGetErrorName(error), cudaGetErrorString(error));
    }
    return s;
}

/// The error of the launch just made, if any. It is taken away from the runtime.
inline status after_launch(char const* kernel) noexcept {
    return from_cuda(cudaGetLastError(), kernel);
}

}  // namespace fpq::cuda
