// SPDX-License-Identifier: Apache-2.0
// One of two units of one program, compiled with unlike flags: their types must have one size and
// their results must be the same bytes.
#include <cstdio>

#include "unlike_units.hpp"

int main() {
    unlike::facts const here = unlike::facts_of_this_unit();
    unlike::facts const there = unlike::facts_of_other_unit();
    int wrong = 0;
    for (std::size_t i = 0; i < here.sizes.size(); ++i) {
        if (here.sizes[i] != there.sizes[i]) {
            std::printf("sizeof(%s) is %zu here and %zu in the other unit\n",
                        here.sizes[i].first.c_str(), here.sizes[i].second, there.sizes[i].second);
            wrong = 1;
        }
    }
    for (std::size_t i = 0; i < here.results.size(); ++i) {
        if (here.results[i] != there.results[i]) {
            std::printf("%s: other bytes in the other unit\n", here.results[i].first.c_str());
            wrong = 1;
        }
    }
    return wrong;
}
