// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Handles of cuBLAS and cuSOLVER with the scratch memory that they ask for, kept from
// call to call. Host code. Products in float32 stay in float32: TF32 is not allowed by default.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda {

inline status from_cublas(cublasStatus_t result, char const* what) noexcept {
    if (result == CUBLAS_STATUS_SUCCESS) {
        return {};
    }
    status s = refuse(what, "CUBLAS_STATUS_SUCCESS", cublasGetStatusName(result));
    s.code = status_code::device;
    return s;
}

inline status from_cusolver(cusolverStatus_t result, char const* what) noexcept {
    if (result == CUSOLVER_STATUS_SUCCESS) {
        return {};
    }
    status s = refuse(what, "CUSOLVER_STATUS_SUCCESS (0)", static_cast<long long>(result));
    s.code = status_code::device;
    return s;
}

/// Grows a buffer to at least `size` values; what it held is lost if it had to grow.
template <class T>
status ensure(device_buffer<T>& buffer, std::size_t size) noexcept {
    return buffer.size() >= size ? status{} : buffer.resize(size);
}

/// The same in the order of a stream's work.
template <class T>
status ensure(device_buffer<T>& buffer, std::size_t size, cudaStream_t stream) noexcept {
    return buffer.size() >= size ? status{} : buffer.resize(size, stream);
}

/// One of each handle, bound to the current device. Not for use from two threads at a time.
class linear_algebra {
public:
    linear_algebra() = default;
    linear_algebra(linear_algebra const&) = delete;
    linear_algebra& operator=(linear_algebra const&) = delete;
    ~linear_algebra() {
        if (params_ != nullptr) {
            static_cast<void>(cusolverDnDestroyParams(params_));
        }
        if (solver_ != nullptr) {
            static_cast<void>(cusolverDnDestroy(solver_));
        }
        if (blas_ != nullptr) {
            static_cast<void>(cublasDestroy(blas_));
        }
    }

    /// Makes the handles at the first call and sends what follows to `stream`.
    status use(cudaStream_t stream) noexcept {
        stream_ = stream;
        if (blas_ == nullptr) {
            if (status s = from_cublas(cublasCreate(&blas_), "cublasCreate"); !s.ok()) {
                return s;
            }
        }
        if (solver_ == nullptr) {
            if (status s = from_cusolver(cusolverDnCreate(&solver_), "cusolverDnCreate"); !s.ok()) {
                return s;
            }
        }
        if (params_ == nullptr) {
            if (status s =
                    from_cusolver(cusolverDnCreateParams(&params_), "cusolverDnCreateParams");
                !s.ok()) {
                return s;
            }
        }
        if (status s = from_cublas(cublasSetStream(blas_, stream), "cublasSetStream"); !s.ok()) {
            return s;
        }
        return from_cusolver(cusolverDnSetStream(solver_, stream), "cusolverDnSetStream");
    }

    [[nodiscard]] cublasHandle_t blas() const noexcept { return blas_; }
    [[nodiscard]] cusolverDnHandle_t solver() const noexcept { return solver_; }

    /// Factors a = u^T u in place, a (n, n) column-major, upper half, float or double. `info` is a
    /// device integer: 0, or the 1-based index of the first pivot that is not positive.
    template <class Work>
    status cholesky_upper(Work* a, std::size_t n, int* info) {
        constexpr cudaDataType type = sizeof(Work) == 8 ? CUDA_R_64F : CUDA_R_32F;
        auto const size = static_cast<std::int64_t>(n);
        std::size_t device_bytes = 0;
        std::size_t host_bytes = 0;
        status s = from_cusolver(
            cusolverDnXpotrf_bufferSize(solver_, params_, CUBLAS_FILL_MODE_UPPER, size, type, a,
                                        size, type, &device_bytes, &host_bytes),
            "cusolverDnXpotrf_bufferSize");
        if (!s.ok()) {
            return s;
        }
        if (s = ensure(device_scratch_, device_bytes, stream_); !s.ok()) {
            return s;
        }
        host_scratch_.resize(host_bytes);
        return from_cusolver(cusolverDnXpotrf(solver_, params_, CUBLAS_FILL_MODE_UPPER, size, type,
                                              a, size, type, device_scratch_.data(), device_bytes,
                                              host_scratch_.data(), host_bytes, info),
                             "cusolverDnXpotrf");
    }

    /// Scratch for a matrix that is factored in double, kept from call to call.
    [[nodiscard]] device_buffer<double>& wide() noexcept { return wide_; }

    /// Gives back the memory that was kept from call to call.
    void release() noexcept {
        device_scratch_ = {};
        wide_ = {};
    }

private:
    cudaStream_t stream_ = nullptr;
    cublasHandle_t blas_ = nullptr;
    cusolverDnHandle_t solver_ = nullptr;
    cusolverDnParams_t params_ = nullptr;
    device_buffer<unsigned char> device_scratch_;
    device_buffer<double> wide_;
    std::vector<unsigned char> host_scratch_;
};

}  // namespace fpq::cuda
