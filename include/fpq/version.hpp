// SPDX-License-Identifier: Apache-2.0
// The version of fpq: three numbers and their text. This is its only home; CMake, the package
// files and the tools read it from here. Floor 0, no includes. Not an ABI tag.
#pragma once

#define FPQ_VERSION_MAJOR 0
#define FPQ_VERSION_MINOR 1
#define FPQ_VERSION_PATCH 0

/// The version as text, "major.minor.patch".
#define FPQ_VERSION_STRING "0.1.0"
