// SPDX-License-Identifier: Apache-2.0
// The report of a run on standard output.
#pragma once

#include <string>

namespace fpq {
struct run_report;
}

namespace fpq::tools {

void print_report(run_report const& report, std::string const& products, bool verbose);

}  // namespace fpq::tools
