// SPDX-License-Identifier: Apache-2.0
// Floor 8. Writes solved layers, in another thread beside the work on the next one where that work
// is queued.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/sink.hpp"

namespace fpq::detail {

/// Hands solved layers to a sink, one behind.
template <class B>
class layer_writer {
public:
    /// `sink` outlives the writer.
    layer_writer(B const& b, quantized_sink<B>& sink) : backend_(b), sink_(sink) {}

    /// A solved layer, its lines of the report and its bytes, and what else of it was changed.
    /// Waits for the one before.
    void write(std::size_t index, std::vector<quantized_linear> solved,
               std::vector<linear_report> lines, std::uint64_t bytes,
               std::vector<tensor_data> folded = {}) {
        finish();
        written_ = std::move(solved);
        auto const all = [this, index, lines = std::move(lines), bytes,
                          folded = std::move(folded)] {
            for (tensor_data const& tensor : folded) {
                sink_.write(tensor);
            }
            for (quantized_linear const& linear : written_) {
                sink_.write(linear);
            }
            sink_.finish_layer(index, lines, bytes);
        };
        if constexpr (B::is_queued) {
            try {
                writing_ = std::async(std::launch::async, all);
                return;
            } catch (std::system_error const&) {
                // No thread to be had: this one does it.
            }
        }
        all();
        finish();
    }

    /// Waits for the layer that is being written. Throws what writing it threw.
    void finish() {
        if (writing_.valid()) {
            writing_.get();
        }
        for (quantized_linear& linear : written_) {
            recycle(backend_, std::move(linear.weight));
        }
        written_.clear();
    }

private:
    B backend_;
    quantized_sink<B>& sink_;
    std::vector<quantized_linear> written_;  // while it is written
    std::future<void> writing_;  // last: its destructor waits while the others still live
};

}  // namespace fpq::detail
