// SPDX-License-Identifier: Apache-2.0
#include "inspect/options.hpp"

#include "common/flag_kinds.hpp"
#include "common/foreign.hpp"

namespace fpq::tools {

program_spec inspect_program(inspect_options& o) {
    return {"fpq-inspect",
            "Tensors, formats, errors and faults of a checkpoint.",
            {{"What to look at",
              {required(path_flag("<directory>", o.directory, {}, "checkpoint directory")),
               path_flag("reference", o.reference, "DIR",
                         "the original checkpoint: adds the error of each linear")}},
             {"Checks",
              {switch_flag("verify", o.verify, true,
                           "check what clients do not; exit code 3 on a fault")}}},
            {"fpq-inspect OUT", "fpq-inspect OUT --reference MODEL",
             "fpq-inspect OUT --verify && echo fine"},
            inspect_foreign()};
}

}  // namespace fpq::tools
