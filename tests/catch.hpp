// SPDX-License-Identifier: Apache-2.0
// The one place that knows which Catch2 is installed: versions 2 and 3 look alike behind it.
// Test sources include "catch.hpp" and nothing else of Catch2; main comes from the library.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#include <string>
using Catch::Approx;
namespace Catch {
/// Version 2's name and place; version 3's Matchers::Contains is about ranges.
inline auto Contains(std::string const& text) { return Matchers::ContainsSubstring(text); }
}  // namespace Catch
#else
#include <catch2/catch.hpp>
#endif
