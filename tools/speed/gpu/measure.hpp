// SPDX-License-Identifier: Apache-2.0
// The line of fpq-selftest: decoding and prefill of an engine on a CUDA device, shape by shape, in
// bf16, NVFP4 and MXFP4 (W4A16).
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fpq/model/resident_model.hpp"
#include "line/gpu.hpp"
#include "speed/shapes.hpp"
#include "speed/table.hpp"

namespace fpq::tools {

/// What is timed of every model.
struct speed_plan {
    std::vector<std::size_t> batches{1, 4, 16, 64};  ///< growing
    std::vector<std::size_t> contexts{1024, 8192};   ///< of decoding
    std::vector<std::size_t> prompts{1024, 2048, 4096, 8192, 16384, 32768};
};

/// Told after every line; the table so far.
using speed_sink = std::function<void(speed_table const&, std::string const& line)>;

/// A model whose rows are made: how it is called, and a step's bytes of weights.
struct speed_subject {
    std::string shape;
    std::string weights;
    double weight_bytes = 0;
};

/// Rows of a model that is on the device, and whose cache takes what is free. What has no room is
/// left out, and the table says so.
void time_model(gpu const& b, resident_model<gpu> model, speed_subject const& subject,
                speed_plan const& plan, speed_table& table, speed_sink const& say);

/// Rows of the shapes with random weights in each of the three, for the first device.
speed_table time_shapes(std::span<model_shape const> shapes, speed_plan const& plan,
                        speed_sink const& say);

}  // namespace fpq::tools
