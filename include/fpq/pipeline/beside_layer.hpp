// SPDX-License-Identifier: Apache-2.0
// Floor 8. What other threads do beside the work on a layer, where that work is queued: the next
// layer is read and the last one written. Where it is not, the calling thread does both in their
// turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/sink.hpp"

namespace fpq::detail {

/// Reads layers in their order, one ahead.
template <class B>
class layer_reader {
public:
    /// `model` outlives the reader.
    layer_reader(B const& b, opened_model<B> const& model) : backend_(b), model_(model) {}

    /// Layer `index`, which was perhaps begun before.
    [[nodiscard]] decoder_layer<B> take(std::size_t index) {
        return ahead_.valid() ? ahead_.get() : read(backend_, index);
    }

    /// Begins to read layer `index`, once: nothing when one is on its way or there is none.
    void begin(std::size_t index) {
        if constexpr (B::is_queued) {
            if (ahead_.valid() || index >= model_.graph().layers()) {
                return;
            }
            try {
                ahead_ = std::async(std::launch::async,
                                    [this, index] { return read(beside(backend_), index); });
            } catch (std::system_error const&) {
                // No thread to be had: take() will read it.
            }
        }
    }

private:
    decoder_layer<B> read(B const& b, std::size_t index) const {
        return load_layer(b, model_.source(), model_.graph(), index);
    }

    B backend_;
    opened_model<B> const& model_;
    std::future<decoder_layer<B>> ahead_;  // last: its destructor waits while the others still live
};

/// Hands solved layers to a sink, one behind.
template <class B>
class layer_writer {
public:
    /// `sink` outlives the writer.
    layer_writer(B const& b, quantized_sink<B>& sink) : backend_(b), sink_(sink) {}

    /// A solved layer, its lines of the report and its bytes. Waits for the one before.
    void write(std::size_t index, std::vector<quantized_linear> solved,
               std::vector<linear_report> lines, std::uint64_t bytes) {
        finish();
        written_ = std::move(solved);
        auto const all = [this, index, lines = std::move(lines), bytes] {
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
