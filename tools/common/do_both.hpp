// SPDX-License-Identifier: Apache-2.0
// Two things that a program does at its end, neither of which may cost the other.
#pragma once

#include <exception>

namespace fpq::tools {

/// first(), then, whatever that threw, second(). Throws what the first has thrown.
template <class First, class Second>
void do_both(First const& first, Second const& second) {
    std::exception_ptr why;
    try {
        first();
    } catch (...) {
        why = std::current_exception();
    }
    second();
    if (why) {
        std::rethrow_exception(why);
    }
}

}  // namespace fpq::tools
