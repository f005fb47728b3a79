// SPDX-License-Identifier: Apache-2.0
// The other of the two files of two_files_main.cpp.
#include "fpq/fpq.hpp"

std::uint8_t (*encode_of_other_file())(fpq::element_kind, float) { return &fpq::encode_element; }
