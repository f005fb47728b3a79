// SPDX-License-Identifier: Apache-2.0
// The one place that knows which Catch2 is installed: versions 2 and 3 look alike behind it.
// Test sources include "catch.hpp" and nothing else of Catch2; main comes from the library.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
