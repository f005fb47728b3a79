// SPDX-License-Identifier: Apache-2.0
// Floor 8. Reads layers one ahead, in another thread beside the work on the one before where that
// work is queued.
#pragma once

#include <cstddef>
#include <functional>
#include <future>
#include <system_error>
#include <utility>

#include "fpq/backend/backend.hpp"

namespace fpq::detail {

/// Reads layers in their order, one ahead. `Layer`: what reading one gives.
template <class B, class Layer>
class layer_reader {
public:
    /// read(b, index) reads one of `layers`; it is called in another thread, with a backend for
    /// that.
    layer_reader(B const& b, std::size_t layers, std::function<Layer(B const&, std::size_t)> read)
        : backend_(b), layers_(layers), read_(std::move(read)) {}

    /// Layer `index`, which was perhaps begun before.
    [[nodiscard]] Layer take(std::size_t index) {
        return ahead_.valid() ? ahead_.get() : read_(backend_, index);
    }

    /// Begins to read layer `index`, once: nothing when one is on its way or there is none.
    void begin(std::size_t index) {
        if constexpr (B::is_queued) {
            if (ahead_.valid() || index >= layers_) {
                return;
            }
            try {
                ahead_ = std::async(std::launch::async,
                                    [this, index] { return read_(beside(backend_), index); });
            } catch (std::system_error const&) {
                // No thread to be had: take() will read it.
            }
        }
    }

private:
    B backend_;
    std::size_t layers_;
    std::function<Layer(B const&, std::size_t)> read_;
    std::future<Layer> ahead_;  // last: its destructor waits while the others still live
};

}  // namespace fpq::detail
