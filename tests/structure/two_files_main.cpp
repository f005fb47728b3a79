// SPDX-License-Identifier: Apache-2.0
// One of two files that include everything; together they must link and agree on an address, so a
// function that is not inline fails at link time and an internal-linkage one at run time.
#include <cstdio>

#include "fpq/fpq.hpp"

using encode_function = std::uint8_t (*)(fpq::element_kind, float);
encode_function encode_of_other_file();

int main() {
    encode_function const here = &fpq::encode_element;
    if (here != encode_of_other_file()) {
        std::puts("fpq::encode_element is two functions; it should be one inline function");
        return 1;
    }
    return here(fpq::element_kind::e2m1, 6.0F) == 7 ? 0 : 1;
}
