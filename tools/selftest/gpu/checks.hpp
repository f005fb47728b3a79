// SPDX-License-Identifier: Apache-2.0
// The checks of fpq-selftest, which need a CUDA device.
#pragma once

namespace fpq::selftest {

/// Prints a line for each. Returns the exit code: 0 nothing failed, 1 something did. Throws
/// fpq::error (device) where there is no device.
int run_checks();

}  // namespace fpq::selftest
