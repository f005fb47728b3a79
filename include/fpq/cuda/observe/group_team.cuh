// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Sixteen lanes that hold one group: its values, and sums over them in the order of the
// CPU's group_error (16 lanes in float, chunks of 1024 values in double), so that both find the
// same scale. Device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/quantize/load_input.cuh"

namespace fpq::cuda {

inline constexpr int team_lanes = 16;
/// Values summed in float before the sum moves to double.
inline constexpr std::uint32_t team_chunk = 1024;
/// Groups up to this length are kept in shared memory.
inline constexpr std::uint32_t team_room = 128;

/// |d|^2.4 as fpq::power_2_4 makes it, operation by operation.
__device__ inline float team_power_2_4(float d) {
    float const x = mul_rn(d, d);
    float const guess = add_rn(
        1278009344.0F,
        -mul_rn(0.2F, static_cast<float>(static_cast<std::int32_t>(bits_of<std::uint32_t>(x)))));
    float z = bits_of<float>(static_cast<std::uint32_t>(static_cast<std::int32_t>(guess)));
    for (int step = 0; step < 3; ++step) {
        float const z2 = mul_rn(z, z);
        float const cube = mul_rn(mul_rn(mul_rn(x, z2), z2), z);
        z = mul_rn(z, add_rn(1.2F, -mul_rn(0.2F, cube)));
    }
    float const z2 = mul_rn(z, z);
    return mul_rn(x, mul_rn(mul_rn(x, z2), z2));
}

/// One group. All 16 lanes call every member together.
class group_team {
public:
    /// `shared`: team_room floats of this team, and as many for weights.
    __device__ group_team(float* shared, float* shared_weights)
        : shared_(shared),
          shared_weights_(shared_weights),
          lane_(threadIdx.x % team_lanes),
          mask_(0xFFFFu << (threadIdx.x % 32 / team_lanes * team_lanes)) {}

    /// Takes `count` values from element `at` of `data`; weights may be null.
    __device__ void load(void const* data, float_type type, std::size_t at, std::uint32_t count,
                         float const* weights) {
        data_ = data;
        type_ = type;
        at_ = at;
        count_ = count;
        weights_ = weights;
        unit_ = 1.0F;
        __syncwarp(mask_);  // nobody reads the last group any more
        float least = 0.0F;
        float most = 0.0F;
        for (std::uint32_t i = lane_; i < count; i += team_lanes) {
            float const v = load_float(data, type, at + i);
            least = v < least ? v : least;
            most = v > most ? v : most;
            if (count <= team_room) {
                shared_[i] = v;
                if (weights != nullptr) {
                    shared_weights_[i] = weights[i];
                }
            }
        }
        for (int width = team_lanes / 2; width > 0; width /= 2) {
            float const l = __shfl_xor_sync(mask_, least, width, team_lanes);
            float const m = __shfl_xor_sync(mask_, most, width, team_lanes);
            least = l < least ? l : least;
            most = m > most ? m : most;
        }
        least_ = least;
        most_ = most;
        amax_ = magnitude(-least > most ? -least : most);
        __syncwarp(mask_);
    }

    [[nodiscard]] __device__ std::uint32_t lane() const { return lane_; }
    [[nodiscard]] __device__ std::uint32_t count() const { return count_; }
    [[nodiscard]] __device__ float least() const { return least_; }
    [[nodiscard]] __device__ float most() const { return most_; }
    [[nodiscard]] __device__ float amax() const { return amax_; }
    [[nodiscard]] __device__ float unit() const { return unit_; }
    [[nodiscard]] __device__ bool weighted() const { return weights_ != nullptr; }

    /// From now on values are divided by the power of two of the maximum.
    __device__ void normalise() {
        int const e = floor_log2(amax_);
        unit_ = exp2_int(-(e < -126 ? -126 : e > 126 ? 126 : e));
    }

    [[nodiscard]] __device__ float value(std::uint32_t i) const {
        float const v = count_ <= team_room ? shared_[i] : load_float(data_, type_, at_ + i);
        return mul_rn(v, unit_);
    }

    /// Sum over the group of f(value), weighted where there are weights and `Weigh`.
    template <bool Weigh, class F>
    [[nodiscard]] __device__ double sum(F f) const {
        double total = 0.0;
        for (std::uint32_t begin = 0; begin < count_; begin += team_chunk) {
            std::uint32_t const end = begin + team_chunk < count_ ? begin + team_chunk : count_;
            float own = 0.0F;
            for (std::uint32_t i = begin + lane_; i < end; i += team_lanes) {
                float loss = f(value(i));
                if (Weigh && weights_ != nullptr) {
                    loss = mul_rn(loss, count_ <= team_room ? shared_weights_[i] : weights_[i]);
                }
                own = add_rn(own, loss);
            }
            for (int width = team_lanes / 2; width > 0; width /= 2) {
                own = add_rn(own, __shfl_down_sync(mask_, own, width, team_lanes));
            }
            total += static_cast<double>(__shfl_sync(mask_, own, 0, team_lanes));
        }
        return total;
    }

private:
    float* shared_;
    float* shared_weights_;
    std::uint32_t lane_;
    std::uint32_t mask_;
    void const* data_ = nullptr;
    float_type type_ = float_type::fp32;
    std::size_t at_ = 0;
    std::uint32_t count_ = 0;
    float const* weights_ = nullptr;
    float least_ = 0.0F;  // of the group, at most 0
    float most_ = 0.0F;   // of the group, at least 0
    float amax_ = 0.0F;
    float unit_ = 1.0F;
};

}  // namespace fpq::cuda
