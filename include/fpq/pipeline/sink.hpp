// SPDX-License-Identifier: Apache-2.0
// Floor 8. Where quantized linears go: into a checkpoint of the plan's layout, or nowhere. What
// was written is opened again and compared before the run counts as done.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/dialect/carried_files.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/dialect/verify.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// One linear as fpq represents it; every dialect is written from this.
struct quantized_linear {
    std::string module;
    packed_matrix weight;             // (out, in), in the transformed basis
    float input_global_scale = 1.0F;  // divisor style; read only when inputs are quantized
    block_transform const* transform = nullptr;  // null: none
};

/// Bytes of a linear's codes, scales, zero points and global scale.
inline std::uint64_t packed_size(packed_matrix const& w) {
    return w.codes.size() + w.scales.size() + w.zeros.size() + (w.format.has_global ? 4 : 0);
}

template <class B>
class quantized_sink {
public:
    /// Reserves the output when the plan has one. All references outlive the sink.
    quantized_sink(run_plan const& plan, opened_model<B> const& model)
        : plan_(plan), source_(model.source()), graph_(model.graph()) {
        if (!plan.output) {
            return;
        }
        planned_output const& out = *plan.output;
        require_distinct(source_.directory(), out.directory);
        writer_.emplace(out.directory, out.tensors, out.max_shard_size);
        for (export_linear const& linear : out.linears.linears) {
            planned_.emplace(linear.module, &linear);
        }
    }

    void write(quantized_linear const& linear) {
        if (!writer_) {
            return;
        }
        linear_record record;
        record.module = linear.module;
        record.weight = linear.weight.view();
        record.act_global_scale = linear.input_global_scale;
        if (linear.transform != nullptr) {
            // The client multiplies gradients by the second matrix; its writer stores the first.
            record.forward_matrix = linear.transform->matrix().data();
            record.backward_matrix = linear.transform->matrix().data();
            record.transform_block = linear.transform->block();
        }
        planned_output const& out = *plan_.output;
        for (tensor_data const& tensor :
             out.layout->write(out.linears, *planned_.at(linear.module), record)) {
            fingerprints_[tensor.name] = fingerprint(tensor.bytes);
            writer_->write(tensor);
        }
    }

    /// Copies what was not quantized and the other files, publishes, reopens and verifies.
    void finish(run_report& report) {
        if (!writer_) {
            return;
        }
        for (plan_entry const& entry : plan_.entries) {
            if (entry.action == tensor_action::copy) {
                writer_->write(entry.tensor, source_.at(entry.tensor).bytes,
                               [&](auto piece) { source_.release(entry.tensor, piece); });
            }
        }
        planned_output const& out = *plan_.output;
        for (named_json const& file : out.layout->files(out.linears, source_.config())) {
            writer_->add_json(file.name, file.content);
        }
        for (std::string const& name : carried_files(source_.directory())) {
            writer_->copy_file(source_.directory() / name, name);
        }
        writer_->finish();
        verify(report);
    }

private:
    /// To notice a byte that did not arrive, not an adversary. Four interleaved chains of words;
    /// each step is one to one in the word, so that one wrong word always shows.
    static std::uint64_t fingerprint(std::span<std::byte const> bytes) {
        constexpr std::uint64_t prime = 0x9E3779B97F4A7C15u;
        std::array<std::uint64_t, 4> chain{1, 2, 3, 4};
        std::array<std::uint64_t, 4> word{};
        std::size_t at = 0;
        for (; at + sizeof word <= bytes.size(); at += sizeof word) {
            std::memcpy(word.data(), bytes.data() + at, sizeof word);
            for (std::size_t i = 0; i < chain.size(); ++i) {
                chain[i] = std::rotl(chain[i] ^ word[i], 29) * prime;
            }
        }
        std::uint64_t hash = bytes.size();
        for (std::uint64_t const c : chain) {
            hash = (hash ^ c) * prime;
        }
        for (; at < bytes.size(); ++at) {
            hash = (hash ^ static_cast<std::uint64_t>(bytes[at])) * prime;
        }
        return hash;
    }

    void verify(run_report& report) const {
        checkpoint const written(plan_.output->directory);
        std::vector<std::pair<std::string, std::uint64_t>> const expected(fingerprints_.begin(),
                                                                          fingerprints_.end());
        parallel_for(expected.size(), 1, plan_.threads, [&](std::size_t i, std::size_t) {
            auto const& [name, print] = expected[i];
            if (fingerprint(written.at(name).bytes) != print) {
                fail_input("written tensor differs", plan_.output->directory.string() + ": " + name,
                           "the bytes that were written", "others");
            }
            written.release(name);
        });
        for (plan_entry const& entry : plan_.entries) {
            if (entry.action == tensor_action::copy) {
                compare_copy(written, entry.tensor);
            }
        }
        for (std::string const& finding : verify_checkpoint(written, &graph_)) {
            report.notes.push_back("verify: " + finding);
        }
    }

    void compare_copy(checkpoint const& written, std::string const& name) const {
        std::span<std::byte const> const a = source_.at(name).bytes;
        std::span<std::byte const> const b = written.at(name).bytes;
        bool equal = a.size() == b.size();
        detail::for_each_piece(a, [&](std::span<std::byte const> piece) {
            std::size_t const skip = static_cast<std::size_t>(piece.data() - a.data());
            equal = equal && std::memcmp(piece.data(), b.data() + skip, piece.size()) == 0;
            source_.release(name, piece);
            written.release(name, equal ? b.subspan(skip, piece.size()) : b);
        });
        if (!equal) {
            fail_input("written tensor differs", plan_.output->directory.string() + ": " + name,
                       "the bytes of the source", "others");
        }
    }

    run_plan const& plan_;
    checkpoint const& source_;
    model_graph const& graph_;
    std::optional<checkpoint_writer> writer_;
    std::map<std::string, export_linear const*> planned_;  // by module
    std::map<std::string, std::uint64_t> fingerprints_;
};

}  // namespace fpq
