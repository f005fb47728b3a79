// SPDX-License-Identifier: Apache-2.0
// Test support. What this program does to files, seen call by call, and stopped where a test says.
#pragma once

namespace fpq_test {

enum class disk_call { open, change, flush };

/// Called before each call that opens, changes, names or flushes a file, from any thread. False:
/// the call fails with EIO and does nothing. Null: nobody looks. To be set while nothing runs.
extern bool (*on_disk_call)(disk_call call);

}  // namespace fpq_test
