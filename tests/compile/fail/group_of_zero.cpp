// SPDX-License-Identifier: Apache-2.0
// A block format whose group holds no value does not exist.
// expect: static assertion|static_assert
#include "fpq/format.hpp"

#ifndef FPQ_WITHOUT_FAULT
using no_group = fpq::block_scaled<fpq::e2m1, fpq::scale_kind::e4m3, 0>;
#else
using no_group = fpq::block_scaled<fpq::e2m1, fpq::scale_kind::e4m3, 16>;
#endif
static_assert(no_group::row_bytes(16) == 8);
