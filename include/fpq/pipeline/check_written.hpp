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

namespace detail {

/// The same of a layout that is one file: quantized tensors have the fingerprints of what was
/// written, the others what the layout makes of the model's, and its verifier finds no fault.
inline void check_single_file(run_plan const& plan, checkpoint const& source,
                              std::filesystem::path const& written_to,
                              tensor_prints const& fingerprints, run_report& report) {
    planned_output const& out = *plan.output;
    single_file const& file = *out.layout->file;
    tensor_prints expected = fingerprints;
    for (plan_entry const& entry : plan.entries) {
        if (entry.action == tensor_action::copy) {
            tensor_data const copy = file.copy(out.linears, source.at(entry.tensor));
            expected[copy.name] = fingerprint(copy.bytes);
            source.release(entry.tensor);
        }
    }
    for (tensor_data const& made : file.made(out.linears)) {
        expected[made.name] = fingerprint(made.bytes);
    }
    std::filesystem::path const path = written_to / file.name;
    std::string const place = (out.directory / file.name).string();
    file.for_each_tensor(path, [&](std::string const& name, std::span<std::byte const> bytes) {
        auto const at = expected.find(name);
        if (at == expected.end() || at->second != fingerprint(bytes)) {
            fail_input(
                "written tensor differs", place + ": " + name,
                at == expected.end() ? "no tensor of this name" : "the bytes that were written",
                "others");
        }
        expected.erase(at);
    });
    if (!expected.empty()) {
        fail_input("written tensor differs", place, expected.begin()->first, "none");
    }
    for (std::string const& finding : file.verify(path)) {
        if (!finding.starts_with("warning: ")) {
            fail_input("written file has a fault", place, "none", finding);
        }
        report.notes.push_back("verify: " + finding);
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
    if (plan.output->layout->file != nullptr) {
        detail::check_single_file(plan, model.source(), written_to, fingerprints, report);
        return;
    }
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
