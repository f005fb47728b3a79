// SPDX-License-Identifier: Apache-2.0
// Floor 8. The events that a run raises on its way.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace fpq {

struct run_report;

/// Raised by a run: `done` of `total` steps of the same size, in the phase named, and `part` of the
/// next one. An event of a finished step has no part.
struct progress_event {
    std::string phase;
    std::size_t done = 0;
    std::size_t total = 0;
    std::string detail;
    double part = 0.0;  ///< from 0 to 1
    /// Behind each layer, what the run has found so far, until the call returns; else null.
    run_report const* found = nullptr;
};

using progress_sink = std::function<void(progress_event const&)>;

}  // namespace fpq
