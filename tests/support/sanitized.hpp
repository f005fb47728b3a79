// SPDX-License-Identifier: Apache-2.0
// Test support. FPQ_TEST_SANITIZED: under address or thread sanitizer, where no child is forked:
// that of a program with threads may find a lock of theirs held for ever.
#pragma once

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define FPQ_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define FPQ_TEST_SANITIZED
#endif
#endif
