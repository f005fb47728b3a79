// SPDX-License-Identifier: Apache-2.0
#include "inspect/options.hpp"

#include <string>

#include "common/flag_kinds.hpp"
#include "common/foreign.hpp"
#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

namespace {

flag_spec only_flag(inspect_options& o) {
    return {"only",
            "NAME",
            "show these modules and tensors alone: a part of the name (layers.0, q_proj), "
            "wildcards, or re: and a regular expression",
            {},
            [&o](std::string const& text) {
                if (text.empty()) {
                    fail_usage("--only", {}, "a name or a pattern", "nothing");
                }
                o.only.push_back(text);
            },
            true};
}

}  // namespace

program_spec inspect_program(inspect_options& o) {
    return {"fpq-inspect",
            "Tensors, formats, errors and faults of a checkpoint.",
            {{"What to look at",
              {required(path_flag("<directory>", o.directory, {},
                                  "checkpoint directory, or a GGUF file")),
               path_flag("reference", o.reference, "DIR",
                         "the original checkpoint: adds the error of each linear"),
               only_flag(o)}},
             {"What to print",
              {switch_flag("summary", o.summary, true, "the summary alone, without the tables"),
               switch_flag("json", o.json, true, "all of it as one JSON object")}},
             {"Checks",
              {switch_flag("verify", o.verify, true,
                           "check what clients do not; exit code 3 on a fault")}}},
            {"fpq-inspect OUT", "fpq-inspect OUT --reference MODEL --only layers.0",
             "fpq-inspect OUT --verify && echo fine"},
            inspect_foreign()};
}

}  // namespace fpq::tools
