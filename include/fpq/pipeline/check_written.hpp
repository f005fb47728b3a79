// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run wrote is opened again and compared, before it is published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/dialect/verify.hpp"
#include "fpq/graph/architecture.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/model/settle.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

namespace detail {

/// Refuses tensor `name` of `written` unless it holds the bytes of `source`.
inline void compare_copy(checkpoint const& source, checkpoint const& written,
                         std::string const& name, std::filesystem::path const& directory) {
    std::span<std::byte const> const a = source.at(name).bytes;
    std::span<std::byte const> const b = written.at(name).bytes;
    bool equal = a.size() == b.size();
    for_each_piece(a, [&](std::span<std::byte const> piece) {
        std::size_t const skip = static_cast<std::size_t>(piece.data() - a.data());
        equal = equal && std::memcmp(piece.data(), b.data() + skip, piece.size()) == 0;
        source.release(name, piece);
        written.release(name, equal ? b.subspan(skip, piece.size()) : b);
    });
    if (!equal) {
        fail_input("written tensor differs", directory.string() + ": " + name,
                   "the bytes of the source", "others");
    }
}

}  // namespace detail

/// Opens the files of a plan, which lie in `written_to`: quantized tensors have the fingerprints of
/// what was written, the others the bytes of the model, and all agree with each other as a reader
/// of the files finds them. Warnings go to the report. Throws fpq::error (input), for a fault, too.
template <class B>
void check_written(run_plan const& plan, opened_model<B> const& model,
                   std::filesystem::path const& written_to, tensor_prints const& fingerprints,
                   run_report& report) {
    checkpoint written(written_to);
    std::filesystem::path const& directory = plan.output->directory;
    std::vector<std::pair<std::string, std::uint64_t>> const expected(fingerprints.begin(),
                                                                      fingerprints.end());
    parallel_for(expected.size(), 1, plan.threads, [&](std::size_t i, std::size_t) {
        auto const& [name, print] = expected[i];
        if (fingerprint(written.at(name).bytes) != print) {
            fail_input("written tensor differs", directory.string() + ": " + name,
                       "the bytes that were written", "others");
        }
        written.release(name);
    });
    for (plan_entry const& entry : plan.entries) {
        if (entry.action == tensor_action::copy) {
            detail::compare_copy(model.source(), written, entry.tensor, directory);
        }
    }
    architecture const* const family = model.config().family;
    model_graph const graph(settle_model(written, architecture_list(&family, 1)));
    for (std::string const& finding : verify_checkpoint(written, &graph)) {
        if (!finding.starts_with("warning: ")) {
            fail_input("written checkpoint has a fault", directory.string(), "none", finding);
        }
        report.notes.push_back("verify: " + finding);
    }
}

}  // namespace fpq
