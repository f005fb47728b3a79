// SPDX-License-Identifier: Apache-2.0
// fpq-inspect: what a checkpoint holds, how far its quantized tensors are from the original, and
// what a client would get wrong without saying so.
#include <filesystem>
#include <optional>

#include "common/command_line.hpp"
#include "common/console.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "inspect/gguf.hpp"
#include "inspect/name_filter.hpp"
#include "inspect/options.hpp"
#include "inspect/print.hpp"
#include "inspect/survey.hpp"
#include "inspect/verify.hpp"

namespace {

using namespace fpq::tools;

int inspect(inspect_options const& options) {
    if (std::optional<std::filesystem::path> const file = gguf_of(options.directory)) {
        return inspect_gguf(*file, options);
    }
    name_filter const filter(options.only);
    fpq::checkpoint source(options.directory);
    std::optional<fpq::checkpoint> original;
    if (!options.reference.empty()) {
        original.emplace(options.reference);
    }
    std::optional<verification> checked;
    if (options.verify) {
        checked = verify(source);
    }
    // What cannot be read is among the findings, and does not keep the rest from being seen.
    bool const tolerant = checked && checked->faulty;
    survey const found = survey_of(source, original ? &*original : nullptr, filter, tolerant);
    if (!options.only.empty() && found.linears.empty() && found.tensors.empty() && !tolerant) {
        fpq::fail_usage("--only", {}, "names of this checkpoint", options.only.front());
    }
    if (options.json) {
        print_json(found, checked, !options.summary);
    } else {
        print_survey(found, !options.summary);
        if (checked) {
            print_findings(*checked);
        }
    }
    return checked && checked->faulty ? static_cast<int>(fpq::error_category::input) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    return run_program("fpq-inspect", [&] {
        inspect_options options;
        return take_all(inspect_program(options), argc, argv, [&] { return inspect(options); });
    });
}
