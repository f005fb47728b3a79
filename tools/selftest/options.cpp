// SPDX-License-Identifier: Apache-2.0
#include "selftest/options.hpp"

#include <algorithm>

#include "common/flag_kinds.hpp"
#include "fpq/pipeline/words.hpp"
#include "speed/shapes.hpp"

namespace fpq::tools {

namespace {

/// "Qwen3-8B" to its place.
flag_spec shapes_flag(std::vector<std::size_t>& field) {
    std::vector<std::string_view> names;
    names.reserve(model_shapes.size());
    for (model_shape const& shape : model_shapes) {
        names.emplace_back(shape.name);
    }
    return {"shape",
            "NAME",
            "a shape to time: " + fpq::detail::listed(names) + "; may be repeated",
            "Qwen3-8B and Qwen3-14B",
            [&field, names](std::string const& text) {
                std::size_t const at = fpq::detail::read_word("--shape", names, {}, text);
                if (std::find(field.begin(), field.end(), at) == field.end()) {
                    field.push_back(at);
                }
            },
            true};
}

}  // namespace

program_spec selftest_program(selftest_options& o) {
    return {
        "fpq-selftest",
        "What to run first on a new card: checks of its instructions and products; or, with "
        "--line, how fast the engine is on it.",
        {{"Speed",
          {switch_flag("line", o.line, true,
                       "times decoding and prefill of bf16, NVFP4 and MXFP4 weights, random ones, "
                       "instead of the checks"),
           shapes_flag(o.shapes),
           path_flag("save_path", o.save_path, "DIR",
                     "for speed.json, decode.svg and prefill.svg (default fpq-speed)"),
           path_flag("charts", o.charts, "FILE",
                     "draws the charts of a speed.json again; needs no card")}}},
        {"fpq-selftest", "fpq-selftest --line",
         "fpq-selftest --charts fpq-speed/speed.json --save_path charts"},
        {}};
}

}  // namespace fpq::tools
